"""Weyl's inequality between sharpness and the largest eigenvalue of the NTK, on the whole batch.

H = G + R, with the Gauss–Newton matrix G = Jᵀ H_out J. For half squared error, mean over samples, G is
JᵀJ/N and has the eigenvalues of the full NTK K = J Jᵀ/N on the same samples, so that by Weyl
|λ₁(H) − λ₁(K)| ≤ ‖R‖₂ (WD eq. 5 and 6; MATH §5). Of other losses, other forms of K and other samples it
isn't so.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from eostui.curvature.point import Point
from eostui.problems.batch import Chunk, LossFunction, parts_of

#: Errors of the loss's Hessian in the outputs, as a share of it, up to which it is what it should be.
_ROUNDING = 1e-4


def kernel_product(point: Point) -> Callable[[Tensor], Tensor]:
    """Return v ↦ JᵀJ v/N over the whole batch: the eigenvalues of the full NTK, without its N·C rows."""
    samples = len(point.outputs())

    def product(vector: Tensor) -> Tensor:
        return point.output_pullback(point.output_product(vector)) / samples

    return product


def residual_product(point: Point) -> Callable[[Tensor], Tensor]:
    """Return v ↦ R v = H v − G v."""

    def product(vector: Tensor) -> Tensor:
        return point.hessian_product(vector) - point.gauss_newton_product(vector)

    return product


def is_half_squared_error(loss: LossFunction, theta: Tensor) -> bool:
    """Return whether L's Hessian in the outputs is 1/N here, as that of 1/(2N) Σ‖f(x) − y‖² is.

    It is tried on one direction in the outputs, and where they are twice what they are.
    """
    parts = parts_of(loss)
    chunks = [part for part in parts if isinstance(part, Chunk)]
    if len(chunks) < len(parts):
        return False
    generator = torch.Generator().manual_seed(0)
    samples = 0
    found: list[tuple[Tensor, Tensor]] = []
    for chunk in chunks:
        with torch.no_grad():
            outputs = chunk.outputs(theta)
        samples += len(outputs)
        direction = torch.randn(outputs.shape, generator=generator, dtype=torch.float64).to(outputs)
        for scale in (1.0, 2.0):
            at = (scale * outputs).requires_grad_()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(
                    chunk.output_loss(at), at, create_graph=True, materialize_grads=True
                )
            if not slope.requires_grad:
                return False
            (curved,) = torch.autograd.grad(slope, at, direction, materialize_grads=True)
            found.append((curved, direction))
    return all(
        bool((curved * samples - direction).norm() <= _ROUNDING * direction.norm())
        for curved, direction in found
    )
