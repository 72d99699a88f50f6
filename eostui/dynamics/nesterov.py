"""Gradient descent with decay and Nesterov's momentum (Nesterov, 1983; as torch's SGD has it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from eostui.dynamics.dynamics import Factor, ProgramDynamics
from eostui.dynamics.gradient_descent import add_scaled, descend_by, descent_factors
from eostui.stability import NESTEROV


class Nesterov(ProgramDynamics):
    """x⁺ = θ − η(∇L(θ) + λθ), θ⁺ = x⁺ + μ(x⁺ − x): the gradient is taken ahead, at θ, and rows have that.

    From x₀ = θ₀ on it is `torch.optim.SGD` with `nesterov=True`, whose parameters are θ too.

    **Up to which sharpness it is stable.** On a direction of curvature s, with c = η(s + λ),
    x_{t+1} = (1 − c) θ_t, so θ_{t+1} = (1 + μ)(1 − c) θ_t − μ(1 − c) θ_{t−1}: powers of the roots of

        p(z) = z² − (1 + μ)(1 − c) z + μ(1 − c).

    Both lie within the unit circle exactly where |p(0)| < 1, p(1) > 0 and p(−1) > 0 (Schur, Cohn, Jury):

        |μ(1 − c)| < 1,   c > 0   and   1 + (1 + 2μ)(1 − c) > 0.

    For 0 ≤ μ < 1 the last one ends first, at c = (2 + 2μ)/(1 + 2μ), where one root is −1. So the
    threshold of the sharpness is **(2 + 2μ)/((1 + 2μ)η) − λ**, as Cohen et al. (arXiv 2103.00065, §2 and
    appendix N) have it: below that of gradient descent, where heavy ball's is above.
    """

    name = "nesterov"
    stability = NESTEROV

    _behind: Tensor | None = None

    def factors(self, controls: Mapping[str, float]) -> tuple[float, ...]:
        """Return −η, what decay takes, and μ."""
        descent = descent_factors(controls["eta"], controls["weight_decay"], self.problem.decayed)
        return *descent, controls["momentum"]

    def move(self, theta: Tensor, gradient: Tensor, factors: Sequence[Factor]) -> Tensor:
        """Return θ_{t+1}, shape (P,), and keep x_{t+1} for the step after it."""
        *descent, momentum = factors
        behind = theta if self._behind is None else self._behind
        self._behind = descend_by(theta, gradient, descent, self.problem.decayed)
        if isinstance(momentum, float) and not momentum:
            return self._behind
        return add_scaled(self._behind, self._behind - behind, momentum)

    def carried(self) -> tuple[Tensor, ...]:
        """Return x_t; nothing before the first step, where it is θ."""
        return () if self._behind is None else (self._behind,)

    def carry(self, carried: tuple[Tensor, ...]) -> None:
        """Take up what `carried` returned."""
        (self._behind,) = carried or (None,)

    def state(self) -> dict[str, Any]:
        """Return x_t, None before the first step."""
        return {"behind": self._behind}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self._behind = state["behind"]
