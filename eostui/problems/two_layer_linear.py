"""The two-layer linear network on ±1 labels in which REV §5 explains progressive sharpening (MATH §5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from eostui import toys
from eostui.problems.losses import half_squared_error
from eostui.problems.problem import Problem

_DOUBLE = torch.float64


class TwoLayerLinearNetwork(nn.Module):
    """f(x) = AᵀWx/√m, without biases; θ = (W, A), W row by row.

    Attributes:
        hidden: W, shape (m, d).
        output: A, shape (m,).
    """

    def __init__(self, hidden: Tensor, output: Tensor) -> None:
        super().__init__()
        self.hidden, self.output = nn.Parameter(hidden), nn.Parameter(output)

    def forward(self, x: Tensor) -> Tensor:
        """Return f of samples of shape (n, d), as shape (n, 1)."""
        return (x @ self.hidden.T @ self.output / math.sqrt(len(self.output)))[:, None]


def two_layer_linear(arguments: toys.TwoLayerLinear, like: Tensor) -> Problem:
    """Return the network on N samples with labels ±1, all drawn in float64 by torch's own seed.

    The inputs are drawn first, then labels, W and A: the data are the same for every width and start.
    """
    inputs = _inputs(arguments)
    targets = _labels(arguments, inputs)
    hidden, output = _start(arguments)
    return Problem.from_module(
        TwoLayerLinearNetwork(hidden.to(like), output.to(like)),
        half_squared_error,
        inputs.to(like),
        targets[:, None].to(like),
        convention="½ squared error, mean over samples: half of REV's ‖D‖²/n",
    )


def _inputs(arguments: toys.TwoLayerLinear) -> Tensor:
    """Return Xᵀ, shape (N, d)."""
    normal = torch.randn(arguments.points, arguments.inputs, dtype=_DOUBLE)
    if arguments.spectrum == "gaussian":
        return normal
    left, _, right = torch.linalg.svd(normal, full_matrices=False)
    rank = torch.arange(left.shape[1], dtype=_DOUBLE)
    singular = torch.sqrt(arguments.points * arguments.gap**-rank)
    return torch.mm(left * singular, right)


def _labels(arguments: toys.TwoLayerLinear, inputs: Tensor) -> Tensor:
    """Return Y, shape (N,): no 0 among them."""
    if arguments.labels == "random":
        scores = torch.randn(arguments.points, dtype=_DOUBLE)
    else:
        scores = inputs @ torch.randn(arguments.inputs, dtype=_DOUBLE)
    return torch.where(scores < 0, -1.0, 1.0).to(_DOUBLE)


def _start(arguments: toys.TwoLayerLinear) -> tuple[Tensor, Tensor]:
    """Return W and A at step 0."""
    width, count = arguments.width, arguments.inputs
    halved = arguments.start == "symmetric"
    hidden = torch.randn(width // 2 if halved else width, count, dtype=_DOUBLE)
    output = torch.randn(len(hidden), dtype=_DOUBLE)
    if halved:
        hidden, output = torch.cat([hidden, hidden]), torch.cat([output, -output])
    if arguments.start == "rank-one":
        unit, along = output / output.norm(), hidden[0] / hidden[0].norm()
        hidden, output = math.sqrt(width) * torch.outer(unit, along), math.sqrt(width) * unit
    return arguments.hidden_scale * hidden / math.sqrt(count), arguments.output_scale * output
