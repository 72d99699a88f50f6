"""Gradient descent with weight decay, and what its steps met: curvature, each other (MATH §1, §2)."""

from __future__ import annotations

import torch
from torch import Tensor


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


@torch.no_grad()
def path_curvature(gradient_after: Tensor, gradient_before: Tensor, displacement: Tensor) -> Tensor:
    """Return κ = ⟨∇L(θ⁺) − ∇L(θ), Δθ⟩/‖Δθ‖², a scalar; NaN for a step of length 0 (MATH §2)."""
    return torch.dot(gradient_after - gradient_before, displacement) / torch.dot(
        displacement, displacement
    )


@torch.no_grad()
def step_cosine(
    displacement: Tensor, displacement_before: Tensor, precision: torch.dtype
) -> Tensor:
    """Return ⟨Δθ_t, Δθ_{t−1}⟩/(‖Δθ_t‖‖Δθ_{t−1}‖), a scalar; NaN for a step of length 0 (MATH §2).

    Args:
        displacement: Δθ_t, shape (P,).
        displacement_before: Δθ_{t−1}, shape (P,).
        precision: in which it is computed, and given back.
    """
    now, before = displacement.to(precision), displacement_before.to(precision)
    # each by its own length first: a product of two small lengths may be 0
    cosine = torch.dot(
        now / torch.linalg.vector_norm(now), before / torch.linalg.vector_norm(before)
    )
    return cosine.clamp(-1.0, 1.0)
