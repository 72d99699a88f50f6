"""Gradient descent with decay and heavy-ball momentum (Polyak, 1964)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from eostui.dynamics.dynamics import Factor, ProgramDynamics
from eostui.dynamics.gradient_descent import add_scaled, descend_by, descent_factors
from eostui.stability import HEAVY_BALL


class HeavyBall(ProgramDynamics):
    """θ⁺ = θ − η(∇L + λθ) + μ(θ − θ⁻), where decay acts on the decayed parameters and θ⁻ is the θ before.

    **Up to which sharpness it is stable.** On a quadratic each eigendirection of the Hessian moves by
    itself. Let s be its curvature and c = η(s + λ): then θ_{t+1} = (1 + μ − c) θ_t − μ θ_{t−1}, whose
    solutions are made of powers of the roots of

        p(z) = z² − (1 + μ − c) z + μ.

    Both roots lie within the unit circle exactly where |p(0)| < 1, p(1) > 0 and p(−1) > 0 (the conditions
    of Schur, Cohn and Jury), that is, for 0 ≤ μ < 1, where

        c > 0   and   2 + 2μ − c > 0.

    At c = 2 + 2μ one root is −1 and the other −μ: beyond it the motion grows and changes its side at
    every step, as that of gradient descent does. So the threshold of the sharpness is **(2 + 2μ)/η − λ**,
    that of μ constant in time. At it trained the networks of Cohen et al. (arXiv 2103.00065, §2 and
    appendix N).

    The first step has no θ⁻, and is one of gradient descent.
    """

    name = "heavy-ball"
    stability = HEAVY_BALL

    _previous: Tensor | None = None

    def factors(self, controls: Mapping[str, float]) -> tuple[float, ...]:
        """Return −η, what decay takes, and μ."""
        descent = descent_factors(controls["eta"], controls["weight_decay"], self.problem.decayed)
        return *descent, controls["momentum"]

    def move(self, theta: Tensor, gradient: Tensor, factors: Sequence[Factor]) -> Tensor:
        """Return θ_{t+1}, shape (P,), and keep θ_t for the step after it."""
        *descent, momentum = factors
        moved = descend_by(theta, gradient, descent, self.problem.decayed)
        if self._previous is not None and (isinstance(momentum, Tensor) or momentum):
            moved = add_scaled(moved, theta - self._previous, momentum, out=moved)
        self._previous = theta
        return moved

    def carried(self) -> tuple[Tensor, ...]:
        """Return θ⁻; nothing before the first step."""
        return () if self._previous is None else (self._previous,)

    def carry(self, carried: tuple[Tensor, ...]) -> None:
        """Take up what `carried` returned."""
        (self._previous,) = carried or (None,)

    def state(self) -> dict[str, Any]:
        """Return θ⁻, None before the first step."""
        return {"previous": self._previous}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self._previous = state["previous"]
