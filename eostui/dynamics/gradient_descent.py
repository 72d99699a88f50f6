"""Gradient descent with weight decay (MATH §1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eostui.dynamics.dynamics import Factor, ProgramDynamics
from eostui.stability import GRADIENT_DESCENT


@torch.no_grad()
def descend(
    theta: Tensor,
    gradient: Tensor,
    eta: float,
    weight_decay: float,
    decayed: Tensor | None = None,
) -> Tensor:
    """Return θ⁺ = (1 − ηλ)θ − η∇L(θ), shape (P,) (WD, eq. of §4.1 before reduction).

    Args:
        theta: θ, shape (P,).
        gradient: ∇L(θ), shape (P,), of the unregularised loss.
        eta: learning rate η.
        weight_decay: λ.
        decayed: 1 where decay acts and 0 elsewhere, shape (P,); None for everywhere.
    """
    return descend_by(theta, gradient, descent_factors(eta, weight_decay, decayed), decayed)


def descent_factors(eta: float, weight_decay: float, decayed: Tensor | None) -> tuple[float, float]:
    """Return −η, and what decay takes: 1 − ηλ for all parameters, or ηλ of those that are decayed."""
    decay = eta * weight_decay
    return -eta, 1.0 - decay if decayed is None else decay


def descend_by(
    theta: Tensor, gradient: Tensor, factors: Sequence[Factor], decayed: Tensor | None
) -> Tensor:
    """Return θ⁺ as `descend` does, by its factors, be they the host's or the device's."""
    minus_eta, decay = factors
    if isinstance(decay, float) and decay == (1.0 if decayed is None else 0.0):
        return add_scaled(theta, gradient, minus_eta)
    kept = theta * decay if decayed is None else theta * (1.0 - decay * decayed)
    return add_scaled(kept, gradient, minus_eta, out=kept)


def add_scaled(
    onto: Tensor, direction: Tensor, factor: Factor, *, out: Tensor | None = None
) -> Tensor:
    """Return onto + factor · direction, rounded once: the same to the bit by either kind of factor."""
    if isinstance(factor, Tensor):
        return torch.addcmul(onto, direction, factor, out=out)
    return torch.add(onto, direction, alpha=factor, out=out)


class GradientDescent(ProgramDynamics):
    """θ⁺ = θ − η(∇L + λθ), where decay acts on the decayed parameters: the paper's dynamics."""

    name = "gradient-descent"
    stability = GRADIENT_DESCENT

    def factors(self, controls: Mapping[str, float]) -> tuple[float, ...]:
        """Return −η, and what decay takes."""
        return descent_factors(controls["eta"], controls["weight_decay"], self.problem.decayed)

    def move(self, theta: Tensor, gradient: Tensor, factors: Sequence[Factor]) -> Tensor:
        """Return θ_{t+1}, shape (P,); nothing is carried on."""
        return descend_by(theta, gradient, factors, self.problem.decayed)
