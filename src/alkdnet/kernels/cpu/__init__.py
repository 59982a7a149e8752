"""Fast forms of layers on a CPU."""
