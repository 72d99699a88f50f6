"""A network whose loss doesn't change with the length of its weights, for digits-sphere.toml."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from eostui.config import RunConfig
from eostui.problems import Problem
from eostui.problems.datasets import load_dataset
from eostui.problems.losses import accuracy


class Normalised(nn.Module):
    """x ↦ xWᵀ/‖W‖ · √outputs: the same for every length of W."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, shape (N, outputs)."""
        length = self.weight.square().sum().sqrt()
        return nn.functional.linear(x, self.weight) * (len(self.weight) ** 0.5 / length)


def digits(
    *,
    device: torch.device,
    dtype: torch.dtype,
    samples: int,
    width: int,
    chunk_size: int | Literal["auto"],
) -> Problem:
    """Fit classes of handwritten digits by two hidden tanh layers and a last one that isn't trained."""
    config = RunConfig(samples=samples)
    data = load_dataset(config, Path(), print)  # one mean and one deviation, as in digits-mlp
    assert data.test_x is not None
    assert data.test_y is not None
    x, y, test_x, test_y = (
        each.flatten(1).to(device=device, dtype=dtype)
        for each in (data.x, data.y, data.test_x, data.test_y)
    )
    last = nn.Linear(width, 10, bias=False).requires_grad_(requires_grad=False)
    network = nn.Sequential(
        Normalised(64, width), nn.Tanh(), Normalised(width, width), nn.Tanh(), last
    ).to(device=device, dtype=dtype)

    def half_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (outputs - targets).square().sum() / len(outputs)

    return Problem.from_module(
        network,
        half_squared_error,
        x,
        y,
        test=(test_x, test_y),
        accuracy=accuracy,
        convention="½ squared error, mean over samples",
        chunk_size=chunk_size,
    )
