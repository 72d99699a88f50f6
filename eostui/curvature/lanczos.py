"""Leading eigenpairs of a symmetric operator that is known only by its products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: Directions shorter than this share of their length before orthogonalisation carry only rounding.
DEPENDENT = 1e-5


@dataclass(frozen=True)
class Eigenpairs:
    """The largest (algebraic) eigenvalues found, with how well each was found.

    Attributes:
        values: eigenvalues in falling order, length k.
        vectors: unit eigenvectors, shape (k, P), orthonormal.
        residuals: ‖Hu − μu‖ of each pair, in the units of the values.
        products: Hessian products spent.
        converged: whether the tolerances were met before the products ran out.
    """

    values: list[float]
    vectors: Tensor
    residuals: list[float]
    products: int
    converged: bool


class _Basis:
    """Orthonormal vectors V with their stored products W = HV, and T = VHVᵀ in float64."""

    def __init__(self, product: Callable[[Tensor], Tensor], capacity: int, like: Tensor) -> None:
        self.product = product
        self.capacity = capacity
        self.vectors = like.new_empty((capacity, like.numel()))
        self.images = like.new_empty((capacity, like.numel()))
        self.projected = torch.zeros((capacity, capacity), dtype=torch.float64)
        self.size = 0
        self.products = 0

    def add(self, direction: Tensor) -> bool:
        """Orthonormalise `direction` against the basis, store it with its product; False if dependent."""
        length = float(direction.norm())
        basis = self.vectors[: self.size]
        for _ in range(2):  # twice is enough (Kahan, Parlett)
            direction = direction - basis.T @ (basis @ direction)
        remaining = float(direction.norm())
        if not remaining > DEPENDENT * length:
            return False
        vector = direction / remaining
        image = self.product(vector)
        self.products += 1
        row = self.size
        self.vectors[row] = vector
        self.images[row] = image
        self.size += 1
        column = (self.vectors[: self.size] @ image).double().cpu()
        self.projected[row, : self.size] = column
        self.projected[: self.size, row] = column
        return True

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Return the Ritz values in falling order and their coefficients, one a row (float64, CPU)."""
        values, coefficients = torch.linalg.eigh(self.projected[: self.size, : self.size])
        return values.flip(0), coefficients.flip(1).T

    def restart(self, coefficients: Tensor, values: Tensor) -> None:
        """Thick restart: keep the span of the given Ritz vectors, reusing their products."""
        keep = len(coefficients)
        mix = coefficients.to(self.vectors)
        self.vectors[:keep] = mix @ self.vectors[: self.size]
        self.images[:keep] = mix @ self.images[: self.size]
        self.projected.zero_()
        self.projected[:keep, :keep] = torch.diag(values)
        self.size = keep


def leading_eigenpairs(
    product: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    wanted: int = 2,
    tolerance: float = 1e-3,
    vector_tolerance: float = 0.02,
    max_products: int = 120,
    basis_size: int = 24,
) -> Eigenpairs:
    """Find the largest (algebraic) eigenvalues by restarted Lanczos with stored products.

    The search space starts as the span of `start` and grows by the residual of the first pair that
    is not yet found, which for a single start vector is Lanczos in exact arithmetic; full
    reorthogonalisation and a Rayleigh–Ritz step on stored products keep it honest in float32.

    Args:
        product: v ↦ Hv on vectors of shape (P,).
        start: starting directions, shape (m, P) with m ≥ 1: a random one, or the last eigenvectors.
        wanted: how many pairs to return; fewer when P or the reachable space is smaller.
        tolerance: residual of the first pair, relative to its value; the following pairs may have
            ten times as much.
        vector_tolerance: bound on the error of the first vector, its residual over its gap.
        max_products: the search ends here at the latest, reporting the residual it reached.
        basis_size: vectors kept before a thick restart.
    """
    like = start[0]
    wanted = min(wanted, like.numel())
    capacity = min(max(basis_size, len(start) + 4, wanted + 8), like.numel())
    basis = _Basis(product, capacity, like)
    for direction in start[:capacity]:
        basis.add(direction)
    if basis.size == 0:
        raise ValueError("every start direction is zero")
    while True:
        values, coefficients = basis.ritz()
        found = min(wanted, basis.size)
        mix = coefficients[:found].to(basis.vectors)
        vectors = mix @ basis.vectors[: basis.size]
        images = mix @ basis.images[: basis.size]
        defects = images - values[:found].to(vectors)[:, None] * vectors
        residuals = [float(r) for r in defects.norm(dim=1).tolist()]
        scale = float(values[: basis.size].abs().max())
        rounding = 16 * torch.finfo(like.dtype).eps * scale
        allowed = max(tolerance * abs(float(values[0])), rounding)
        missing = _first_missing(values, residuals, wanted, allowed, vector_tolerance, rounding)
        exhausted = basis.size == like.numel() or basis.products >= max_products
        if missing is None or exhausted or (scale == 0.0 and basis.size > 1):
            break
        if basis.size == basis.capacity:
            keep = min(wanted + 4, basis.capacity - 1)
            basis.restart(coefficients[:keep], values[:keep])
        if not basis.add(defects[min(missing, found - 1)]) and not basis.add(
            _fresh_direction(like, basis.products)
        ):
            break
    return Eigenpairs(
        values=[float(v) for v in values[:found].tolist()],
        vectors=vectors / vectors.norm(dim=1, keepdim=True),
        residuals=residuals,
        products=basis.products,
        converged=missing is None or basis.size == like.numel(),
    )


def _first_missing(
    values: Tensor,
    residuals: list[float],
    wanted: int,
    tolerance: float,
    vector_tolerance: float,
    rounding: float,
) -> int | None:
    """Return the index of the first pair that is not found well enough, or None."""
    if residuals[0] > tolerance:
        return 0
    if len(residuals) < wanted:
        return len(residuals) - 1
    for index in range(1, wanted):
        if residuals[index] > 10 * tolerance:
            return index
    gap = float(values[0] - values[1]) if len(values) > 1 else float("inf")
    if residuals[0] > max(vector_tolerance * gap, rounding):
        return 0
    return None


def _fresh_direction(like: Tensor, key: int) -> Tensor:
    """Return a repeatable random direction, for when the search space turned out invariant."""
    generator = torch.Generator().manual_seed(key)
    return torch.randn(like.numel(), generator=generator, dtype=torch.float64).to(like)
