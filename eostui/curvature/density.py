"""The density of a spectrum by stochastic Lanczos quadrature, from products alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.linalg import vector_norm

from eostui.curvature.basis import NotFiniteError
from eostui.curvature.host import FloatArray, read

#: A Lanczos vector shorter than this share of the largest entry of T carries only rounding, by the
#: precision of the products: what a start reaches is exhausted there.
_EXHAUSTED = {torch.float64: 1e-12, torch.float32: 1e-5}
#: Nodes of all draws are one eigenvalue if they agree to this share of what parts them from others.
AGREE = 0.02


@dataclass(frozen=True)
class Quadrature:
    """Nodes and weights of several random starts z: Σ weight·f(node) estimates tr f(H)/P.

    Attributes:
        nodes: Ritz values in rising order, shape (draws, steps), in the units of H. A start that reaches
            fewer directions has NaN beyond them.
        weights: of the nodes, shape (draws, steps), 0 or more; each row sums to 1.
        size: P, the number of eigenvalues there are.
        products: Hessian products spent.
    """

    nodes: FloatArray
    weights: FloatArray
    size: int
    products: int = 0

    def moment(self, order: int) -> tuple[float, float]:
        """Return tr H^order and the standard error of that over the draws, NaN of one draw.

        A rule of m steps integrates polynomials of degree 2m − 1 exactly, so that each draw's moment is
        zᵀH^order z, as Hutchinson's estimate has it, up to that order.
        """
        each = self.size * np.nansum(self.weights * self.nodes**order, axis=1)
        return mean_and_error(each)

    def outliers(self) -> FloatArray:
        """Return the eigenvalues that stand alone, on which all draws agree, in falling order.

        Lanczos finds eigenvalues that stand apart first, whatever it starts from, while its nodes in the
        bulk lie elsewhere in each draw: counted from either end, what every draw has at one place, to
        AGREE of the distance to its next node, is an eigenvalue, down to the first that isn't. None from
        fewer than three draws, of which two agree by chance.
        """
        falling = [row[~np.isnan(row)][::-1] for row in self.nodes]
        length = min(map(len, falling))
        if len(falling) < 3 or length < 2:
            return np.empty(0)
        from_above = _agreed(np.array([row[:length] for row in falling]))
        from_below = _agreed(-np.array([row[::-1][:length] for row in falling]))
        if len(from_above) + len(from_below) >= length:  # there is no bulk between them
            return from_above
        return np.concatenate([from_above, -from_below[::-1]])


def _agreed(falling: FloatArray) -> FloatArray:
    """Return the values on which all rows agree, from the first on, of rows that fall."""
    apart = falling[:, :-1] - falling[:, 1:]
    gaps = np.minimum(
        np.pad(apart, ((0, 0), (1, 0)), constant_values=np.inf),
        np.pad(apart, ((0, 0), (0, 1)), constant_values=np.inf),
    )
    spread = falling.max(axis=0) - falling.min(axis=0)
    agree = spread <= AGREE * gaps.min(axis=0)
    count = len(agree) if agree.all() else int(agree.argmin())
    return np.asarray(falling[:, :count].mean(axis=0))


def lanczos_quadrature(
    product: Callable[[Tensor], Tensor],
    start: Callable[[int], Tensor],
    draws: int,
    steps: int,
) -> Quadrature:
    """Return the quadrature of the spectrum of a symmetric operator (Ubaru, Chen and Saad 2017, §3).

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
    basis[0] = start / vector_norm(start)
    diagonal, beside = [], []
    for step in range(steps):
        following = product(basis[step])
        before = basis[: step + 1]
        overlaps = before @ following
        diagonal.append(overlaps[-1])
        following = following - overlaps @ before
        following = following - (before @ following) @ before
        length = vector_norm(following)
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


def mean_and_error(values: FloatArray) -> tuple[float, float]:
    """Return the mean of independent draws and its standard error, NaN of one draw."""
    count = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else math.nan
    return float(np.mean(values)), error
