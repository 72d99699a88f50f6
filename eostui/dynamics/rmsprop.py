"""RMSProp with decoupled decay (Tieleman & Hinton, 2012)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from eostui.dynamics.dynamics import Factor
from eostui.dynamics.preconditioned import Preconditioned, mean_square
from eostui.stability import RMSPROP


class RMSProp(Preconditioned):
    """θ⁺ = (1 − ηλ)θ − η P⁻¹∇L with P = diag(√v + ε) and v⁺ = β₂v + (1 − β₂)∇L², from v = 0.

    Without decay it is `torch.optim.RMSprop` with `alpha` β₂; that one couples its decay.

    **Up to which sharpness it is stable.** With P held, on an eigendirection of P^{-1/2} H P^{-1/2} of
    curvature s, θ⁺ = (1 − ηλ − ηs)θ: stable while s < **2/η − λ** (Cohen et al., arXiv 2207.14484, §3).
    """

    name = "rmsprop"
    stability = RMSPROP

    def first(self, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return v = 0."""
        return (torch.zeros_like(gradient),)

    def remembered(
        self, gradient: Tensor, carried: tuple[Tensor, ...], factors: Sequence[Factor]
    ) -> tuple[Tensor, ...]:
        """Return v."""
        del factors
        return (mean_square(carried[0], gradient, self.config.beta2),)

    def direction(self, gradient: Tensor, carried: tuple[Tensor, ...]) -> Tensor:
        """Return ∇L."""
        del carried
        return gradient

    def preconditioner_of(self, carried: tuple[Tensor, ...]) -> Tensor:
        """Return √v + ε."""
        return carried[0].sqrt() + self.config.epsilon
