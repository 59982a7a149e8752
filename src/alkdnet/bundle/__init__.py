"""Trainings on a host without network, DVC or MLflow: packed here, trained there, taken in here."""
