"""Data sets: where they come from, exact low-resolution images, packed patches."""
