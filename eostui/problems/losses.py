"""The losses, with their conventions in words: they fix every curvature scale (MATH §1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Loss(NamedTuple):
    """A loss (outputs, targets) ↦ scalar, the line that states its convention, and what of mean
    targets, shape (1, C), is the constant output for which it is least."""

    function: Callable[[Tensor, Tensor], Tensor]
    convention: str
    constant: Callable[[Tensor], Tensor]

    def of_chance(self, targets: Tensor) -> float:
        """Return the loss of the best constant prediction; targets of shape (N, C)."""
        targets = targets.double()
        return float(
            self.function(self.constant(targets.mean(0, keepdim=True)).expand_as(targets), targets)
        )


def half_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return 1/(2N) Σ‖f(x) − y‖²; outputs and targets of shape (N, C)."""
    return 0.5 * (outputs - targets).square().sum() / len(outputs)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy; logits and one-hot targets of shape (N, C)."""
    return -(targets * functional.log_softmax(outputs, dim=1)).sum() / len(outputs)


LOSSES = {
    "mse": Loss(
        half_squared_error,
        "½ squared error, sum over outputs, mean over samples",
        lambda mean: mean,
    ),
    # log 0 of a class that no sample has would be −∞ times 0
    "cross-entropy": Loss(
        cross_entropy,
        "cross-entropy, mean over samples",
        lambda mean: mean.clamp(min=torch.finfo(mean.dtype).tiny).log(),
    ),
}


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of samples whose largest output is their class; targets one-hot (N, C)."""
    # by max, which finds the same as argmax in half the time; a target is 1 at its class and 0 elsewhere
    right = targets.gather(1, outputs.max(1).indices[:, None])
    return right.to(torch.float32 if outputs.device.type == "mps" else torch.float64).mean()
