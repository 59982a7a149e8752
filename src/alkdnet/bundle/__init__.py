"""Training on a host without network, DVC or MLflow: pack a bundle, train it there, import the results."""
