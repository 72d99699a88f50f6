"""Sharpness at a radius: the largest curvature that gradients a distance apart tell of (MATH §2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from eostui.curvature.host import read
from eostui.curvature.point import LossFunction, Point, plain_gradient

#: A search is over once its value rises by less than this share of it.
TOLERANCE = 1e-3
#: Steps of a search from each start at most, by gradients alone, and then by Hessian products too.
STEPS, REFINEMENTS = 12, 4
#: How much weight the direction there is has, as a share of the largest curvature met, tried in turn.
WEIGHTS = (0.0, 1.0, 4.0)
#: Points are told apart where rounding them moves each by less than this share of the radius.
ROUNDED = 0.1


@dataclass(frozen=True)
class RadiusSharpness:
    """The largest secant curvature found at a radius.

    Attributes:
        value: S_δ, in L/θ²: what was found along `direction`, so that no less than this is there.
        direction: the unit vector v, shape (P,).
        residual: half the gradient of the quotient across v, as a share of it: 0 where it rises no more.
            In the limit δ → 0 it is ‖Hv − Sv‖/S.
        gradients: gradients spent, those of `products` among them.
        products: Hessian products spent.
    """

    value: float
    direction: Tensor
    residual: float
    gradients: int
    products: int


def sharpness_at_radius(
    loss: LossFunction,
    centre: Tensor,
    radius: float,
    starts: Sequence[Tensor],
    *,
    tolerance: float = TOLERANCE,
    steps: int = STEPS,
    refinements: int = REFINEMENTS,
) -> RadiusSharpness | None:
    """Search S_δ = max over unit v of ⟨v, ∇L(m + δv) − ∇L(m − δv)⟩/(2δ) (MATH §2).

    The quotient f(v) = ⟨v, G(v)⟩, with G(v) the difference over 2δ, is raised from each start by
    v ← G(v) normalised, two gradients a step. That ends where v is along G(v), which is where the second
    difference of the loss is largest, and f nearly. From the best of these it goes on by v ← G(v) + H̄v
    normalised, H̄ the mean of the Hessians at both points, which is the way that f rises: that ends at a
    maximum of f where L is smooth. A step that lowers f much is tried with more weight on v, which keeps
    it from the most negative curvature. What is told is the largest f met, the starts' among them.

    On ReLU networks f has many maxima, and small jumps where a kink is met: two starts may end apart,
    and the value is what was found, a lower bound.

    Args:
        loss: θ ↦ L(θ).
        centre: m, shape (P,).
        radius: δ > 0, in θ.
        starts: directions of shape (P,), none of them zero.
        tolerance: a search ends once f rises by less than this share of it.
        steps: from each start at most, two gradients each.
        refinements: of those that take a Hessian product at both points too, at most.

    Returns:
        What was found; None where m ± δv can't be told apart in θ's precision, or ∇L isn't finite there.
    """
    search = _Search(loss, centre, radius, tolerance)
    try:
        found = [search.climb(search.at(start), steps) for start in starts]
        best = search.refine(max(found, key=lambda each: each.value), refinements)
        return RadiusSharpness(
            best.value, best.direction, search.residual, search.gradients, search.products
        )
    except _UntoldError:
        return None


class _UntoldError(Exception):
    """There is no secant curvature to be told here."""


@dataclass(frozen=True)
class _Secant:
    """f and G along a direction that two points really lie apart in."""

    value: float
    direction: Tensor
    difference: Tensor
    ends: tuple[Tensor, Tensor]


class _Search:
    """Where it looks, and what that took."""

    def __init__(self, loss: LossFunction, centre: Tensor, radius: float, tolerance: float) -> None:
        self._loss, self._centre, self._radius, self._tolerance = loss, centre, radius, tolerance
        self.gradients = self.products = 0
        self.residual = float("nan")
        self._largest = 0.0  # |G| so far, about the largest size of an eigenvalue

    def at(self, direction: Tensor) -> _Secant:
        """Return the quotient along a direction of any length.

        It is that of the points as they are rounded: their difference is exact.
        """
        arm = (direction * (self._radius / direction.norm())).to(self._centre)
        ahead, behind = self._centre + arm, self._centre - arm
        apart = _accurate(ahead - behind)
        change = _accurate(self._gradient(ahead)) - _accurate(self._gradient(behind))
        missed = (apart - 2 * _accurate(arm)).norm()
        numbers = torch.stack([apart @ apart, apart @ change, change @ change, missed])
        square, product, changed, off = read(numbers)[0].tolist()
        if not (math.isfinite(product) and square > 0 and off <= 2 * ROUNDED * self._radius):
            raise _UntoldError
        length = square**0.5
        self._largest = max(self._largest, changed**0.5 / length)
        return _Secant(product / square, apart / length, change / length, (ahead, behind))

    def climb(self, start: _Secant, steps: int) -> _Secant:
        """Raise f by v ← G(v), until it rises no more."""
        best = start
        for _ in range(steps):
            higher = self._higher(best, best.difference)
            if higher is None:
                break
            risen, best = higher.value - best.value, higher
            if risen < self._tolerance * abs(best.value):
                break
        return best

    def refine(self, best: _Secant, steps: int) -> _Secant:
        """Raise f by its gradient, until it rises no more, and see how much of that is left."""
        for left in range(steps, -1, -1):
            half_gradient = (best.difference + self._mean_product(best)) / 2
            across = half_gradient - (half_gradient @ best.direction) * best.direction
            self.residual = float(across.norm()) / abs(best.value) if best.value else 0.0
            higher = self._higher(best, half_gradient) if left else None
            if higher is None or higher.value - best.value < self._tolerance * abs(best.value):
                break
            best = higher
        return best

    def _higher(self, best: _Secant, towards: Tensor) -> _Secant | None:
        """Return the quotient towards a direction from the best one, if it is higher there.

        Where it is much lower, that is the way to the eigenvalue of the largest size, a negative one:
        then the best direction is given more weight.
        """
        if not towards.norm() > 0:
            return None
        for weight in WEIGHTS:
            found = self.at(towards + weight * self._largest * best.direction)
            if found.value > best.value:
                return found
            if best.value - found.value < self._tolerance * abs(best.value):
                return None
        return None

    def _mean_product(self, secant: _Secant) -> Tensor:
        """Return H̄v, one point in memory at a time."""
        total = torch.zeros_like(secant.direction)
        for end in secant.ends:
            point = Point(self._loss, end)
            total += _accurate(point.hessian_product(secant.direction.to(end)))
            point.release()
        self.gradients += 2
        self.products += 2
        return total / 2

    def _gradient(self, theta: Tensor) -> Tensor:
        self.gradients += 1
        return plain_gradient(self._loss, theta)[1]


def _accurate(vector: Tensor) -> Tensor:
    """Return the vector in float64 where the device has it."""
    return vector if vector.device.type == "mps" else vector.double()
