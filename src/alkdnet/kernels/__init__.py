"""Fast forms of layers, exchanged from outside; the plain PyTorch layers define the results."""
