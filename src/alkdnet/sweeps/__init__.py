"""Experiments over a grid of parameters: which keys differ, which experiment is best, and by how much."""
