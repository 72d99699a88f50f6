"""An example of a problem of one's own, used by own-problem.toml."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from eostui.problems import Problem


def sine(
    *,
    device: torch.device,
    dtype: torch.dtype,
    samples: int,
    width: int,
    chunk_size: int | Literal["auto"],
) -> Problem:
    """Fit y = sin(πx) on [−1, 1] with a network of two hidden tanh layers.

    The engine has seeded torch, so the initial weights are drawn here and are the same in every run
    with this seed. `device`, `dtype` and `chunk_size` come from the preset's settings of these names
    (`chunk_size` may be left out here, if the whole batch fits); the other arguments from its
    `problem_arguments`.
    """
    network = nn.Sequential(
        nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
    ).to(device=device, dtype=dtype)
    x = torch.linspace(-1, 1, samples, device=device, dtype=dtype)[:, None]
    between = (x[1:] + x[:-1]) / 2

    def half_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
        return 0.5 * (outputs - targets).square().sum() / len(outputs)

    return Problem.from_module(
        network,
        half_squared_error,
        x,
        torch.sin(math.pi * x),
        test=(between, torch.sin(math.pi * between)),
        convention="½ squared error, mean over samples",
        chunk_size=chunk_size,
    )
