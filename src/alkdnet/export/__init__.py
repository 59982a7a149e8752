"""Trained networks for other programs: files, names, descriptions. No stage depends on it."""
