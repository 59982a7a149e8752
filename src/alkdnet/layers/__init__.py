"""Layers that several networks share; plain PyTorch, importing nothing else of this library."""
