"""The evaluation protocol: scores of upscaled images."""
