"""Typed parameters with their checks, and the paths of a pipeline's outputs."""
