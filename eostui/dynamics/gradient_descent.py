"""Gradient descent with weight decay (MATH §1)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eostui.dynamics.dynamics import Dynamics
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
    if weight_decay == 0.0:
        return torch.add(theta, gradient, alpha=-eta)
    if decayed is None:
        return (theta * (1.0 - eta * weight_decay)).add_(gradient, alpha=-eta)
    return (theta * (1.0 - eta * weight_decay * decayed)).add_(gradient, alpha=-eta)


class GradientDescent(Dynamics):
    """θ⁺ = θ − η(∇L + λθ), where decay acts on the decayed parameters: the paper's dynamics."""

    name = "gradient-descent"
    stability = GRADIENT_DESCENT

    def step(self, theta: Tensor, gradient: Tensor, controls: Mapping[str, float]) -> Tensor:
        """Return θ_{t+1}, shape (P,); nothing is carried on."""
        eta, weight_decay = controls["eta"], controls["weight_decay"]
        return descend(theta, gradient, eta, weight_decay, self.problem.decayed)
