"""The trace of an operator that is known only by its products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eostui.curvature.basis import NotFiniteError
from eostui.curvature.host import like, read
from eostui.quadrature import mean_and_error


@dataclass(frozen=True)
class Trace:
    """tr H as it was estimated.

    Attributes:
        value: the estimate, in the units of H.
        error: its standard error over the draws; NaN of one draw, 0 where nothing is left to draw.
        products: Hessian products spent.
    """

    value: float
    error: float
    products: int


def hutchinson(
    product: Callable[[Tensor], Tensor],
    draw: Callable[[int], Tensor],
    draws: int,
    leading: Tensor | None = None,
) -> Trace:
    """Estimate tr H by Hutchinson's zᵀHz, on what is orthogonal to some directions.

    With Q of orthonormal rows, tr H = tr QHQᵀ + tr (I − QᵀQ)H(I − QᵀQ) whatever Q is: the first is
    exact, and the second varies less the more of the large eigenvalues Q has, since the variance of zᵀHz
    is 2(‖H‖²_F − Σ Hᵢᵢ²) for signs z. It is the idea of Hutch++ (Meyer, Musco, Musco and Woodruff 2021),
    which spends a third of the products on Q = orth(HZ); leading eigenvectors that are there already cost
    their one product and hold the largest eigenvalues better.

    Args:
        product: v ↦ Hv on vectors of shape (P,).
        draw: number ↦ a random vector z of shape (P,) with E zzᵀ = I.
        draws: how many.
        leading: directions taken exactly, shape (k, P), independent, k products more; None for none.

    Raises:
        NotFiniteError: if a product isn't finite.
    """
    if draws < 1:
        raise ValueError("an estimate of the trace needs at least one draw")
    known, basis = [], None
    if leading is not None and len(leading):
        basis = orthonormal(leading)
        known = [direction @ product(direction) for direction in basis]
    drawn = []
    complete = basis is not None and len(basis) >= basis.shape[1]
    for number in range(0 if complete else draws):
        z = draw(number)
        if basis is not None:
            z = z - (basis @ z) @ basis
            z = z - (basis @ z) @ basis
        drawn.append(z @ product(z))
    (values,) = read(torch.stack([*known, *drawn]))
    if not np.isfinite(values).all():
        raise NotFiniteError("a Hessian product isn't finite here: no trace")
    exact = float(values[: len(known)].sum())
    if complete:
        return Trace(exact, 0.0, len(known))
    mean, error = mean_and_error(values[len(known) :])
    return Trace(exact + mean, error, len(values))


def orthonormal(directions: Tensor) -> Tensor:
    """Return orthonormal rows that span what these do, shape (k, P); without a row for what is zero.

    By the eigenvectors of their small Gram matrix, in float64, twice: a device has it as any other.
    """
    basis = directions
    for _ in range(2):
        (gram,) = read(basis @ basis.T)
        if not np.isfinite(gram).all():
            raise NotFiniteError("a Hessian product isn't finite here: no trace")
        values, vectors = np.linalg.eigh(gram)
        kept = values > 1e-10 * max(float(values.max(initial=0.0)), 1e-300)
        coefficients = (vectors[:, kept] / np.sqrt(values[kept])).T
        basis = like(coefficients, basis) @ basis
    return basis
