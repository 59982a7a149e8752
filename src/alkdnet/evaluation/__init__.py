"""The evaluation protocol and its statistics."""
