"""Descent in a metric of its own: steps by P⁻¹∇L, whose sharpness is that of P^{-1/2} H P^{-1/2}.

In the coordinates ϕ = P^{1/2}θ, with P held as it is at a step, a step by P⁻¹∇L is one of plain descent,
and the Hessian there is P^{-1/2} H P^{-1/2}. Its largest eigenvalue, that of P⁻¹H too, is the
preconditioned sharpness (Cohen et al., arXiv 2207.14484, §3): all of S, its eigenvector, the drives and κ
is taken in these coordinates.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from eostui.curvature.point import Point
from eostui.dynamics.dynamics import Factor, ProgramDynamics
from eostui.dynamics.gradient_descent import add_scaled, descend_by, descent_factors


class Preconditioned(ProgramDynamics):
    """θ⁺ = (1 − ηλ)θ − η P⁻¹ m: decoupled decay, where it acts, and P by a mean of squared gradients.

    What it carries is all in the precision of θ, on its device: no look at a value is needed.
    """

    _carried: tuple[Tensor, ...] = ()

    @abstractmethod
    def first(self, gradient: Tensor) -> tuple[Tensor, ...]:
        """Return what is carried before the first step."""

    @abstractmethod
    def remembered(
        self, gradient: Tensor, carried: tuple[Tensor, ...], factors: Sequence[Factor]
    ) -> tuple[Tensor, ...]:
        """Return what is carried once a gradient was seen, by the factors beyond those of descent."""

    @abstractmethod
    def direction(self, gradient: Tensor, carried: tuple[Tensor, ...]) -> Tensor:
        """Return m, shape (P,)."""

    @abstractmethod
    def preconditioner_of(self, carried: tuple[Tensor, ...]) -> Tensor:
        """Return the diagonal of P, shape (P,), all of it above 0."""

    def factors(self, controls: Mapping[str, float]) -> tuple[float, ...]:
        """Return −η, and what decay takes."""
        return descent_factors(controls["eta"], controls["weight_decay"], self.problem.decayed)

    def move(self, theta: Tensor, gradient: Tensor, factors: Sequence[Factor]) -> Tensor:
        """Return θ_{t+1}, shape (P,), and keep the means for the step after it."""
        descent, further = factors[:2], factors[2:]
        self._carried = self.remembered(gradient, self._carried or self.first(gradient), further)
        update = self.direction(gradient, self._carried) / self.preconditioner_of(self._carried)
        return descend_by(theta, update, descent, self.problem.decayed)

    def preconditioner(self) -> Tensor | None:
        """Return the diagonal of the P of the newest step, shape (P,); None before the first."""
        return self.preconditioner_of(self._carried) if self._carried else None

    def operator(self, point: Point) -> Callable[[Tensor], Tensor]:
        """Return v ↦ P^{-1/2} H P^{-1/2} v with the P of the newest step, that of which θ is measured."""
        metric = self.preconditioner()
        if metric is None:
            return point.hessian_product
        return scaled_hessian(metric.rsqrt())(point)

    def carried(self) -> tuple[Tensor, ...]:
        """Return the means; nothing before the first step."""
        return self._carried

    def carry(self, carried: tuple[Tensor, ...]) -> None:
        """Take up what `carried` returned."""
        self._carried = carried

    def state(self) -> dict[str, Any]:
        """Return what is carried by number, nothing before the first step."""
        return {f"carried_{number}": each for number, each in enumerate(self._carried)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self._carried = tuple(state[f"carried_{number}"] for number in range(len(state)))


def scaled_hessian(scale: Tensor) -> Callable[[Point], Callable[[Tensor], Tensor]]:
    """Return the operator P^{-1/2} H P^{-1/2} at any point, of the diagonal of P^{-1/2}, shape (P,)."""
    return lambda point: lambda vector: scale * point.hessian_product(scale * vector)


def mean_square(before: Tensor, gradient: Tensor, kept: float) -> Tensor:
    """Return the running mean of squared gradients, kept · before + (1 − kept) g², shape (P,)."""
    return torch.addcmul(before * kept, gradient, gradient, value=1 - kept)


def mean(before: Tensor, gradient: Tensor, new: Factor) -> Tensor:
    """Return the running mean before + new · (g − before), shape (P,)."""
    return add_scaled(before, gradient - before, new)
