"""Learning rates as pure functions of the iteration."""

import math

from alkdnet.config.params import Recipe


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """Return the learning rate at `iteration` (counted from 0).

    During the warm-up it rises in a line, to `learning_rate` in the last of its iterations. After it come the
    steps at the milestones, or one cosine period, at the end of which it would be `final_learning_rate`.

    Source of the cosine without warm-up: section 4.2 of the paper (1e-3 to 1e-7 in 10^6 iterations).
    """
    initial = recipe.learning_rate
    if iteration < recipe.warmup:
        return initial * (iteration + 1) / recipe.warmup
    if recipe.gamma is not None:
        return initial * recipe.gamma ** sum(iteration >= milestone for milestone in recipe.milestones)
    final = recipe.final_learning_rate or 0.0
    done, period = iteration - recipe.warmup, recipe.iterations - recipe.warmup
    return final + 0.5 * (initial - final) * (1 + math.cos(math.pi * done / period))
