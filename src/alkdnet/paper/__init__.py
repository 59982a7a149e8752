"""The paper's published numbers, and their audit."""
