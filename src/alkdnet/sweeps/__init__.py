"""Reports on sweeps: experiments over a grid of parameters."""
