"""The learning rate as a pure function of the iteration."""

import math


def learning_rate(iteration: int, *, iterations: int, initial: float, final: float) -> float:
    """Return Adam's step size at `iteration` (counted from 0): one cosine period without warm-up or restart.

    It is `initial` at iteration 0 and would be `final` at `iterations`, one after the last.

    Source: section 4.2 of the paper (1e-3 to 1e-7 in 10^6 iterations), as in the released options.
    """
    return final + 0.5 * (initial - final) * (1 + math.cos(math.pi * iteration / iterations))
