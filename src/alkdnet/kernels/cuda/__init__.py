"""Fast forms of layers on a CUDA device; triton is imported where a kernel is used, not before."""
