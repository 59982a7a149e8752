"""The optimisers that a recipe may name: PyTorch's own where it has them, and Adan."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from alkdnet.config.params import Recipe


def make_optimizer(recipe: Recipe, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the recipe's optimiser with its learning rate, decays and weight decay."""
    rate, betas = recipe.learning_rate, (recipe.beta1, recipe.beta2)
    if recipe.beta3 is not None:
        return Adan(parameters, rate, betas=(*betas, recipe.beta3), weight_decay=recipe.weight_decay)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, rate, betas=betas, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.Adam(parameters, rate, betas=betas, fused=True)


class Adan(torch.optim.Optimizer):
    """Adaptive Nesterov momentum: Adam that also follows how the gradient changes from step to step.

    No step looks at the value of a tensor, and all that changes is in tensors: a CUDA graph can record it.

    Args:
        parameters: the weights.
        lr: learning rate.
        betas: decays of the mean gradient, of its mean change, and of the mean of (gradient + beta2 * change)
            squared. (The article writes 1 - beta for each.)
        weight_decay: decoupled, by the article's proximal step: weights are divided by 1 + lr * weight_decay.
        eps: keeps the division by the root of the mean square finite.

    Source: Xie, Zhou, Li, Lin, Yan, "Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep
    Models", TPAMI 2024 (arXiv 2208.06677), Algorithm 1 without restarts; the means are corrected for their
    start at zero, and the change is zero in the first step, as in the authors' code.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        *,
        betas: tuple[float, float, float],
        weight_decay: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": eps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Change the weights by their gradients."""
        for group in self.param_groups:
            parameters: list[Tensor] = [each for each in group["params"] if each.grad is not None]
            for parameter in parameters:
                if not self.state[parameter]:
                    self.state[parameter] = _initial_state(parameter)
            if parameters:
                _update(parameters, [self.state[parameter] for parameter in parameters], group)


def _initial_state(parameter: Tensor) -> dict[str, Tensor]:
    assert parameter.grad is not None
    return {
        "step": torch.zeros((), device=parameter.device),
        "mean": torch.zeros_like(parameter),
        "mean_change": torch.zeros_like(parameter),
        "mean_square": torch.zeros_like(parameter),
        "previous_gradient": parameter.grad.clone(memory_format=torch.preserve_format),
    }


def _update(parameters: list[Tensor], states: list[dict[str, Tensor]], group: dict[str, Any]) -> None:
    beta1, beta2, beta3 = group["betas"]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    steps, means, changes, squares, previous = (
        [state[name] for state in states]
        for name in ("step", "mean", "mean_change", "mean_square", "previous_gradient")
    )
    torch._foreach_add_(steps, 1)
    step = steps[0]  # all of them have taken as many
    change = torch._foreach_sub(gradients, previous)
    torch._foreach_copy_(previous, gradients)
    torch._foreach_lerp_(means, gradients, 1 - beta1)
    torch._foreach_lerp_(changes, change, 1 - beta2)
    ahead = torch._foreach_add(gradients, change, alpha=beta2)
    torch._foreach_mul_(squares, beta3)
    torch._foreach_addcmul_(squares, ahead, ahead, value=1 - beta3)

    direction = torch._foreach_div(means, 1 - beta1**step)
    torch._foreach_add_(direction, torch._foreach_mul(changes, beta2 / (1 - beta2**step)))
    size = torch._foreach_sqrt(torch._foreach_div(squares, 1 - beta3**step))
    torch._foreach_add_(size, group["eps"])
    torch._foreach_div_(direction, size)
    torch._foreach_mul_(direction, group["lr"])
    torch._foreach_sub_(parameters, direction)
    if group["weight_decay"]:
        torch._foreach_div_(parameters, 1 + group["lr"] * group["weight_decay"])
