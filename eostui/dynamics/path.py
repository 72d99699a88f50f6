"""What the steps of any dynamics meet: the curvature along each, and the one before (MATH §2)."""

from __future__ import annotations

import torch
from torch import Tensor


def path_curvature(
    gradient_after: Tensor,
    gradient_before: Tensor,
    displacement: Tensor,
    preconditioner: Tensor | None = None,
) -> Tensor:
    """Return κ = ⟨∇L(θ⁺) − ∇L(θ), Δθ⟩/‖Δθ‖², a scalar; NaN for a step of length 0 (MATH §2).

    With the diagonal of a `preconditioner` P, shape (P,), it is over ⟨Δθ, PΔθ⟩: the curvature met in the
    coordinates P^{1/2}θ.
    """
    measured = displacement if preconditioner is None else preconditioner * displacement
    return torch.dot(gradient_after - gradient_before, displacement) / torch.dot(
        displacement, measured
    )


def step_cosine(displacement: Tensor, before: Tensor, norm: Tensor, norm_before: Tensor) -> Tensor:
    """Return ⟨Δθ_t, Δθ_{t−1}⟩/(‖Δθ_t‖‖Δθ_{t−1}‖), a scalar; NaN for a step of length 0 (MATH §2).

    Args:
        displacement: Δθ_t, shape (P,), in the precision in which the product is summed.
        before: Δθ_{t−1}, shape (P,).
        norm: ‖Δθ_t‖, a scalar.
        norm_before: ‖Δθ_{t−1}‖, a scalar.
    """
    return (torch.dot(displacement, before) / norm / norm_before).clamp(-1.0, 1.0)
