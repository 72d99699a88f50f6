"""AdamW: Adam with decoupled decay (Loshchilov & Hutter, arXiv 1711.05101)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from eostui.dynamics.dynamics import Factor
from eostui.dynamics.preconditioned import Preconditioned, mean, mean_square
from eostui.stability import ADAMW


class AdamW(Preconditioned):
    """θ⁺ = (1 − ηλ)θ − η P⁻¹m: `torch.optim.AdamW`, its corrections of both means' start taken into P.

    m⁺ = β₁m + (1 − β₁)∇L, v⁺ = β₂v + (1 − β₂)∇L², both from 0, and
    P = (1 − β₁ᵗ)(diag √(v/(1 − β₂ᵗ)) + ε). Where β₁ is steered, β₁ᵗ is the product of what it was.

    **Up to which sharpness it is stable.** With P held, on an eigendirection of P^{-1/2} H P^{-1/2} of
    curvature s and with a = 1 − ηλ, ηm_t = aθ_{t−1} − θ_t, so
    θ_{t+1} = (a + β₁ − (1 − β₁)ηs) θ_t − aβ₁ θ_{t−1}: powers of the roots of

        p(z) = z² − (a + β₁ − (1 − β₁)ηs) z + aβ₁.

    Both lie within the unit circle exactly where |aβ₁| < 1, p(1) = (1 − β₁)(ηλ + ηs) > 0 and
    p(−1) = (1 + a)(1 + β₁) − (1 − β₁)ηs > 0 (Schur, Cohn, Jury). So the threshold of the preconditioned
    sharpness is **(2/η − λ)(1 + β₁)/(1 − β₁)**: 38/η for β₁ = 0.9 without decay (Cohen et al., arXiv
    2207.14484, §3).
    """

    name = "adamw"
    stability = ADAMW

    def factors(self, controls: Mapping[str, float]) -> tuple[float, ...]:
        """Return −η, what decay takes, 1 − β₁ and log β₁."""
        beta = controls["beta1"]
        return *super().factors(controls), 1 - beta, _log(beta)

    def first(self, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return m, v, log β₁⁰ and log β₂⁰, all 0."""
        nothing, none = torch.zeros_like(gradient), gradient.new_zeros(())
        return nothing, nothing, none, none

    def remembered(
        self, gradient: Tensor, carried: tuple[Tensor, ...], factors: Sequence[Factor]
    ) -> tuple[Tensor, ...]:
        """Return m, v, and log β₁ᵗ and log β₂ᵗ: 1 less a power is had from these to rounding."""
        first, second, first_log, second_log = carried
        new, log = factors
        return (
            mean(first, gradient, new),
            mean_square(second, gradient, self.config.beta2),
            first_log + log,
            second_log + _log(self.config.beta2),
        )

    def direction(self, gradient: Tensor, carried: tuple[Tensor, ...]) -> Tensor:
        """Return m."""
        del gradient
        return carried[0]

    def preconditioner_of(self, carried: tuple[Tensor, ...]) -> Tensor:
        """Return (1 − β₁ᵗ)(√(v/(1 − β₂ᵗ)) + ε)."""
        _, second, first_log, second_log = carried
        root = second.sqrt() / (-torch.expm1(second_log)).sqrt()
        return -torch.expm1(first_log) * (root + self.config.epsilon)


def _log(share: float) -> float:
    return math.log(share) if share else -math.inf
