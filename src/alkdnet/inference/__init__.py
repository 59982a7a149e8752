"""From an image to its super-resolution."""
