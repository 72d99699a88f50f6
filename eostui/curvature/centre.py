"""A prediction that lasts: the centre of a bounce and its radius, moved on by themselves (MATH §3.5).

With θ_t = c_t + (−1)^t ρ_t v_t, ‖v‖ = 1, the mean of two mirrored descents and their distance obey

    c⁺ = (1 − ηλ)c − (η/2)(∇L(c + ρv) + ∇L(c − ρv)),    ρ⁺ = ρ|1 − η(q + λ)|,

where q = ⟨v, ∇L(c + ρv) − ∇L(c − ρv)⟩/(2ρ) is the secant curvature of the bounce. Nothing is expanded,
so this holds in networks with kinks too; every 2-cycle of gradient descent is a fixed point of it.

v is kept on the leading direction: each step turns it by the secant operator, whose two gradients are
those of the step, and once more by the Hessian at c. Near the edge two such turns weigh a curvature A by
(ηA/2)² ≈ ηA − 1, which is how descent itself makes the bounce grow along one direction and die along
another: the bounce neither jumps to a direction that has just come to lead, nor lags behind. Slow
directions, which descent would let stay in v for ever, are taken out of it.

Along v the centre takes half a step. A whole one, by 1 − ηS ≈ −1, would let c bounce by itself, out of
rounding too; with half a step, by 1 − ηS/2 ≈ 0, it is at once where ∇L balances along v, which is where
the mean of a bounce is. Fixed points are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eostui.curvature.point import Point
from eostui.curvature.sums import accurate_norm

#: θ ↦ ∇L(θ), shape (P,).
Gradient = Callable[[Tensor], Tensor]
#: θ ↦ the derivatives there.
PointAt = Callable[[Tensor], Point]

#: A bounce below so many times the precision of θ is too short for a difference of gradients.
_SHORT = 64.0


@dataclass(frozen=True)
class Bounce:
    """Where a bouncing descent is, by its centre.

    Attributes:
        centre: c, shape (P,).
        direction: v of length 1, shape (P,).
        radius: ρ, a scalar.
        secant: q of the step that led here, a scalar; NaN before the first.
    """

    centre: Tensor
    direction: Tensor
    radius: Tensor
    secant: Tensor

    @classmethod
    def about(cls, before: Tensor, here: Tensor, after: Tensor) -> Bounce:
        """Return that of three successive θ, each of shape (P,), at the second of them.

        The centre is (θ_{t−1} + 2θ_t + θ_{t+1})/4, free of the alternation; the rest is the bounce.
        """
        centre = (before + 2 * here + after) / 4
        away = (2 * here - before - after) / 4
        radius = accurate_norm(away)
        direction = away / radius if float(radius) > 0 else _anywhere(away)
        return cls(centre, direction, radius, torch.full_like(radius, torch.nan))

    @property
    def finite(self) -> bool:
        """Whether it is still anywhere."""
        return math.isfinite(float(self.radius + self.centre.sum()))

    @property
    def products(self) -> int:
        """Hessian products that its next step takes."""
        return 2 if self._is_short else 1

    @property
    def _is_short(self) -> bool:
        return not float(self.radius) > _SHORT * self._precision

    @property
    def _precision(self) -> float:
        """What rounding of c amounts to."""
        return torch.finfo(self.centre.dtype).eps * float(accurate_norm(self.centre))

    def unbegun(self, direction: Tensor) -> Bounce:
        """Return it before it began, to grow along a unit vector: out of rounding, that is.

        Until then what departs from the centre is the bend of the path, which doesn't grow.
        """
        return replace(
            self, direction=direction.to(self.direction), radius=torch.zeros_like(self.radius)
        )

    def moved(
        self,
        eta: float,
        weight_decay: float,
        gradient: Gradient,
        point_at: PointAt,
        decayed: Tensor | None = None,
    ) -> Bounce:
        """Return it one step further.

        That takes two gradients, and one Hessian product at the centre. Where the bounce is shorter than
        a difference of gradients can tell, the Hessian stands for the secant. The radius never falls
        below what rounding of c is along any one direction, as it keeps that of a network.

        Args:
            eta: η of the step.
            weight_decay: λ of the step.
            gradient: ∇L.
            point_at: the point at a θ, for Hessian products; it is released.
            decayed: 1 where a parameter decays and 0 elsewhere, shape (P,); None if all do.
        """
        centre, direction, radius = self.centre, self.direction, self.radius
        point = point_at(centre)
        if self._is_short:
            slope, change = point.gradient, point.hessian_product(direction)
        else:
            ahead = gradient(centre + radius * direction)
            behind = gradient(centre - radius * direction)
            slope, change = (ahead + behind) / 2, (ahead - behind) / (2 * radius)
        secant = torch.dot(direction, change)
        turned = point.hessian_product(_unit(change, direction))
        point.release()
        mask = 1.0 if decayed is None else decayed
        decay = weight_decay * torch.dot(direction, direction * mask)
        move = eta * (slope + weight_decay * centre * mask)
        return Bounce(
            centre - move + direction * torch.dot(direction, move) / 2,
            _unit(turned, direction),
            (radius * torch.abs(1 - eta * (secant + decay))).clamp(
                min=self._precision / centre.numel() ** 0.5
            ),
            secant,
        )


def _unit(vector: Tensor, otherwise: Tensor) -> Tensor:
    """Return a vector at length 1, on the side of another one; that where it has no length."""
    length = math.copysign(float(accurate_norm(vector)), float(vector @ otherwise))
    return vector / length if length else otherwise


def _anywhere(like: Tensor) -> Tensor:
    return torch.full_like(like, like.numel() ** -0.5)
