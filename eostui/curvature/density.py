"""The density of a spectrum by stochastic Lanczos quadrature, from products alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from eostui.curvature.basis import NotFiniteError
from eostui.curvature.host import FloatArray, read
from eostui.curvature.sums import accurate_norm, inner_products
from eostui.quadrature import Quadrature

#: A Lanczos vector shorter than this share of the largest entry of T carries only rounding, by the
#: precision of the products: what a start reaches is exhausted there.
_EXHAUSTED = {torch.float64: 1e-12, torch.float32: 1e-5}


def lanczos_quadrature(
    product: Callable[[Tensor], Tensor],
    start: Callable[[int], Tensor],
    draws: int,
    steps: int,
) -> Quadrature:
    """Return the quadrature of the spectrum of a symmetric operator [SLQ].

    Lanczos from z/‖z‖ ends in a tridiagonal T of `steps` rows; the eigenvalues of T are the nodes, the
    squares of the first entries of its eigenvectors the weights. Every vector is made orthogonal to all
    before it, twice, so that no node comes twice. It takes the memory of `steps` vectors.

    Args:
        product: v ↦ Hv on vectors of shape (P,).
        start: number ↦ a random vector z of shape (P,) with E zzᵀ = I: of signs, or normal.
        draws: how many starts.
        steps: of Lanczos from each; P where that is less.

    Raises:
        NotFiniteError: if a product isn't finite.
        ValueError: if there is nothing to draw.
    """
    if draws < 1 or steps < 1:
        raise ValueError("a quadrature needs at least one draw of at least one step")
    nodes, weights = np.full((draws, steps), np.nan), np.zeros((draws, steps))
    size = spent = 0
    for draw in range(draws):
        z = start(draw)
        size = z.numel()
        diagonal, beside = _tridiagonal(product, z, min(steps, size))
        spent += len(diagonal)
        if not np.isfinite(diagonal).all():
            raise NotFiniteError("a Hessian product isn't finite here: no density")
        reached = _reached(diagonal, beside, z.dtype)
        matrix = np.diag(diagonal[:reached])
        matrix += np.diag(beside[: reached - 1], 1) + np.diag(beside[: reached - 1], -1)
        nodes[draw, :reached], vectors = np.linalg.eigh(matrix)
        weights[draw, :reached] = vectors[0] ** 2
    return Quadrature(nodes, weights, size, spent)


def _tridiagonal(
    product: Callable[[Tensor], Tensor], start: Tensor, steps: int
) -> tuple[FloatArray, FloatArray]:
    """Return the diagonal of T, and what stands beside it, each of `steps` numbers, read at the end."""
    basis = start.new_zeros(steps, start.numel())
    basis[0] = start / accurate_norm(start)
    diagonal, beside = [], []
    for step in range(steps):
        following = product(basis[step])
        before = basis[: step + 1]
        (overlaps,) = inner_products(following[None], before)
        diagonal.append(overlaps[-1])
        following = following - overlaps.to(before.dtype) @ before
        following = following - (before @ following) @ before
        length = accurate_norm(following)
        beside.append(length)
        if step + 1 < steps:
            # what is left of a zero vector is zeros, and what comes of that is left out at the end
            basis[step + 1] = torch.where(length > 0, following / length, 0.0)
    return tuple(read(torch.stack(diagonal), torch.stack(beside)))  # type: ignore[return-value]


def _reached(diagonal: FloatArray, beside: FloatArray, dtype: torch.dtype) -> int:
    """Return how many rows of T are of directions that the start reaches."""
    scale = np.maximum.accumulate(np.maximum(np.abs(diagonal), beside))
    ended = np.flatnonzero(beside <= _EXHAUSTED[dtype] * scale)
    return int(ended[0]) + 1 if len(ended) else len(diagonal)
