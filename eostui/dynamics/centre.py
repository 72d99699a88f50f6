"""A prediction that lasts: the centre of a bounce and its radius, moved on by themselves (MATH §3.5).

With θ_t = c_t + (−1)^t ρ_t v_t, ‖v‖ = 1, the mean of two mirrored descents and their distance obey

    c⁺ = (1 − ηλ)c − (η/2)(∇L(c + ρv) + ∇L(c − ρv)),    ρ⁺ = ρ|1 − η(q + λ)|,

where q = ⟨v, ∇L(c + ρv) − ∇L(c − ρv)⟩/(2ρ) is the secant curvature of the bounce. Nothing is expanded,
so this holds in networks with kinks too; every 2-cycle of gradient descent is a fixed point of it. v is
kept on the secant operator's leading direction by one iteration a step, v ← ∇L(c + ρv) − ∇L(c − ρv)
normalised, whose two gradients are those of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: θ ↦ ∇L(θ), shape (P,).
Gradient = Callable[[Tensor], Tensor]
#: θ, v ↦ ∇L(θ) and the product of the Hessian there with v, each of shape (P,).
GradientAndProduct = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

#: A radius below so many times the square root of the precision of θ is too short for a difference of
#: gradients: rounding is more of it than curvature.
_SHORT = 4.0


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
        radius = torch.linalg.vector_norm(away)
        direction = away / radius if float(radius) > 0 else _anywhere(away)
        return cls(centre, direction, radius, torch.full_like(radius, torch.nan))

    def moved(
        self,
        eta: float,
        weight_decay: float,
        gradient: Gradient,
        gradient_and_product: GradientAndProduct,
        decayed: Tensor | None = None,
    ) -> Bounce:
        """Return it one step further.

        Where the bounce is shorter than a difference of gradients can tell, the Hessian at the centre
        stands for the secant: one gradient and one product, in place of two gradients. It never becomes
        shorter than the precision of c, as rounding keeps that of a network.

        Args:
            eta: η of the step.
            weight_decay: λ of the step.
            gradient: ∇L.
            gradient_and_product: ∇L and a Hessian product at once.
            decayed: 1 where a parameter decays and 0 elsewhere, shape (P,); None if all do.
        """
        centre, direction, radius = self.centre, self.direction, self.radius
        precision = torch.finfo(centre.dtype).eps
        size = torch.linalg.vector_norm(centre)
        if float(radius) > _SHORT * precision**0.5 * float(size):
            ahead, behind = (
                gradient(centre + radius * direction),
                gradient(centre - radius * direction),
            )
            slope, change = (ahead + behind) / 2, (ahead - behind) / (2 * radius)
        else:
            slope, change = gradient_and_product(centre, direction)
        secant = torch.dot(direction, change)
        mask = 1.0 if decayed is None else decayed
        keeps = weight_decay * torch.dot(direction, direction * mask)
        length = torch.linalg.vector_norm(change)
        follows = change / length * torch.sign(secant) if float(length) > 0 else direction
        return Bounce(
            centre - eta * slope - eta * weight_decay * centre * mask,
            follows,
            (radius * torch.abs(1 - eta * (secant + keeps))).clamp(min=precision * float(size)),
            secant,
        )


def _anywhere(like: Tensor) -> Tensor:
    direction = torch.ones_like(like)
    return direction / torch.linalg.vector_norm(direction)
