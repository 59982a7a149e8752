"""Weights on disk: safetensors of this library, and files released by authors."""
