"""Optimisers: PyTorch's with the recipe's settings, and Adan by its algorithm."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from alkdnet.config.params import Recipe
from alkdnet.training.optimizers import Adan, make_optimizer
from alkdnet.training.runtime.session import load_optimizer
from tests.training.test_arithmetic import Looks
from tests.training.trainer import RECIPE

ADAN = dataclasses.replace(RECIPE, optimizer="adan", beta1=0.98, beta2=0.92, beta3=0.99, weight_decay=0.02)


def _minimise(recipe: Recipe, steps: int) -> list[float]:
    """Take steps on sum((weight - 1)^4) from 0 and return the weight after each."""
    weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = make_optimizer(recipe, [weight])
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        (weight - 1).pow(4).sum().backward()
        optimizer.step()
        found.append(weight[1].item())
    return found


def test_the_recipe_decides_the_optimizer() -> None:
    weight = nn.Parameter(torch.zeros(1))
    adam = make_optimizer(RECIPE, [weight])
    assert type(adam) is torch.optim.Adam
    assert adam.defaults["betas"] == (RECIPE.beta1, RECIPE.beta2)
    adamw = make_optimizer(dataclasses.replace(RECIPE, optimizer="adamw", weight_decay=0.1), [weight])
    assert type(adamw) is torch.optim.AdamW
    assert adamw.defaults["weight_decay"] == 0.1


def test_weight_decay_takes_a_part_of_the_weights_off() -> None:
    """Without a gradient nothing else moves them."""
    for optimizer, after in (("adamw", 1 - 1e-3 * 0.5), ("adan", 1 / (1 + 1e-3 * 0.5))):
        beta3 = 0.99 if optimizer == "adan" else None
        recipe = dataclasses.replace(RECIPE, optimizer=optimizer, beta3=beta3, weight_decay=0.5)
        weight = nn.Parameter(torch.ones(2, dtype=torch.float64))
        weight.grad = torch.zeros(2, dtype=torch.float64)
        make_optimizer(recipe, [weight]).step()
        assert weight[0].item() == pytest.approx(after, rel=1e-9)


def test_adan_by_its_algorithm() -> None:
    """Algorithm 1 of the article for one number, with decays and corrected means as in the authors' code."""
    rate, decay = ADAN.learning_rate, ADAN.weight_decay
    beta1, beta2, beta3 = ADAN.beta1, ADAN.beta2, 0.99
    weight = mean = change = square = 0.0
    previous = 4 * (weight - 1) ** 3
    expected = []
    for step in range(1, 8):
        gradient = 4 * (weight - 1) ** 3
        difference = gradient - previous
        mean = beta1 * mean + (1 - beta1) * gradient
        change = beta2 * change + (1 - beta2) * difference
        square = beta3 * square + (1 - beta3) * (gradient + beta2 * difference) ** 2
        root = math.sqrt(square / (1 - beta3**step)) + 1e-8
        ahead = mean / (1 - beta1**step) + beta2 * change / (1 - beta2**step)
        weight = (weight - rate * ahead / root) / (1 + rate * decay)
        previous = gradient
        expected.append(weight)
    assert _minimise(ADAN, 7) == pytest.approx(expected, rel=1e-6)


def test_adan_finds_the_minimum() -> None:
    recipe = dataclasses.replace(ADAN, learning_rate=0.05, weight_decay=0.0)
    assert _minimise(recipe, 300)[-1] == pytest.approx(1, abs=0.1)


def test_adan_looks_at_no_number() -> None:
    """What looks would wait for a GPU, and could not be recorded in a CUDA graph."""
    weight = nn.Parameter(torch.zeros(3))
    optimizer = make_optimizer(ADAN, [weight])
    assert isinstance(optimizer, Adan)
    with Looks() as looks:
        for _ in range(3):
            weight.grad = torch.ones(3)
            optimizer.step()
    assert looks.count == 0
    assert all(torch.is_tensor(value) for value in optimizer.state[weight].values())


def test_adan_takes_a_learning_rate_in_a_tensor() -> None:
    """As a step on CUDA sets it."""
    found = []
    for rate in (0.01, torch.tensor(0.01)):
        weight = nn.Parameter(torch.ones(3))
        optimizer = make_optimizer(ADAN, [weight])
        optimizer.param_groups[0]["lr"] = rate
        for gradient in (1.0, 2.0):
            weight.grad = torch.full((3,), gradient)
            optimizer.step()
        found.append(weight.detach().clone())
    assert torch.equal(found[0], found[1])


def test_a_state_is_continued_on_the_device_of_the_weights() -> None:
    """A checkpoint is read to the CPU."""
    for recipe in (RECIPE, ADAN):
        weight = nn.Parameter(torch.zeros(3))
        weight.grad = torch.ones(3)
        optimizer = make_optimizer(recipe, [weight])
        optimizer.step()
        elsewhere = nn.Parameter(torch.zeros(3, device="meta"))
        continued = make_optimizer(recipe, [elsewhere])
        load_optimizer(continued, optimizer.state_dict())
        assert {tensor.device.type for tensor in continued.state[elsewhere].values()} == {"meta"}
