"""Leading eigenpairs of a symmetric operator that is known only by its products."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eostui.config import MOST_EIGENVALUES
from eostui.curvature.memory import HessianMemory

#: Directions shorter than this share of their length before orthogonalisation carry only rounding.
DEPENDENT = 1e-5
#: Below this residual, as a share of the first value, a following pair is corrected by the memory.
BEGUN = 0.03


@dataclass(frozen=True)
class Eigenpairs:
    """The largest (algebraic) eigenvalues found, with how well each was found.

    Attributes:
        values: eigenvalues in falling order, length k.
        vectors: unit eigenvectors, shape (k, P), orthonormal.
        residuals: ‖Hu − μu‖ of each pair, in the units of the values.
        gap: first value less the next, as far as it is known.
        products: Hessian products spent.
        converged: whether the tolerances were met before the products ran out.
    """

    values: list[float]
    vectors: Tensor
    residuals: list[float]
    gap: float
    products: int
    converged: bool


class NotFiniteError(ArithmeticError):
    """A Hessian product has NaN or infinity in it: there is no spectrum to be had at this point."""


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
        if not torch.isfinite(column).all():
            raise NotFiniteError("a Hessian product isn't finite")
        self.projected[row, : self.size] = column
        self.projected[: self.size, row] = column
        return True

    def ritz(self) -> tuple[Tensor, Tensor]:
        """Return the Ritz values in falling order and their coefficients, one a row (float64, CPU)."""
        values, coefficients = torch.linalg.eigh(self.projected[: self.size, : self.size])
        return values.flip(0), coefficients.flip(1).T

    def grow(self, ritz: _Ritz, index: int, memory: HessianMemory | None) -> bool:
        """Add the direction that one Ritz pair needs most; False if there is none left."""
        defect = ritz.defects[index]
        # a pair that is hardly begun isn't near any that is remembered: it is still to be searched for
        begun = index == 0 or ritz.residuals[index] < BEGUN * abs(ritz.values[0])
        if memory is not None and begun:
            correction = memory.correction(defect, ritz.vectors[index], ritz.values[index])
            if correction is not None and self.add(correction):
                return True
        return self.add(defect) or self.add(_fresh_direction(defect, self.products))

    def known(self) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
        """Return the vectors, their products and T."""
        size = self.size
        return self.vectors[:size], self.images[:size], self.projected[:size, :size].numpy()

    def restart(self, coefficients: Tensor, values: Tensor) -> None:
        """Thick restart: keep the span of the given Ritz vectors, reusing their products."""
        keep = len(coefficients)
        mix = coefficients.to(self.vectors)
        self.vectors[:keep] = mix @ self.vectors[: self.size]
        self.images[:keep] = mix @ self.images[: self.size]
        self.projected.zero_()
        self.projected[:keep, :keep] = torch.diag(values)
        self.size = keep


@dataclass(frozen=True)
class Target:
    """What is looked for, and when it is found.

    Attributes:
        wanted: how many pairs; fewer where P or the reachable space is smaller.
        above: pairs with values from here on are wanted too, up to MOST_EIGENVALUES.
        value_tolerance: bound on the error of the first value, residual²/gap, relative to it.
        vector_tolerance: bound on the error of the first vector, residual/gap: what is derived from u
            (α, β, g) is as good as this, not as the residual. None if only values are wanted.
        following_tolerance: residual of the following pairs, relative to the first value.
        max_products: the search ends here at the latest, reporting the residuals it reached.
    """

    wanted: int = 2
    above: float = float("inf")
    value_tolerance: float = 1e-5
    vector_tolerance: float | None = 0.02
    following_tolerance: float = 0.01
    max_products: int = 120


def leading_eigenpairs(
    product: Callable[[Tensor], Tensor],
    start: Tensor,
    target: Target = Target(),
    *,
    memory: HessianMemory | None = None,
    basis_size: int = 24,
) -> Eigenpairs:
    """Find the largest (algebraic) eigenvalues by restarted Lanczos or Davidson with stored products.

    The search space starts as the span of `start` and grows towards the first pair that isn't found
    yet: by its residual, which for a single start vector is Lanczos in exact arithmetic, or by the
    correction that `memory` makes of the residual. Full reorthogonalisation and a Rayleigh–Ritz step on
    stored products keep it honest in float32.

    Args:
        product: v ↦ Hv on vectors of shape (P,).
        start: starting directions, shape (m, P) with m ≥ 1: a random one, or the last eigenvectors.
        target: what is looked for.
        memory: what is known of H from measurements nearby; it learns the products spent here.
        basis_size: vectors kept before a thick restart.

    Raises:
        NotFiniteError: if a product isn't finite.
    """
    like = start[0]
    most = target.wanted if math.isinf(target.above) else MOST_EIGENVALUES
    capacity = min(max(basis_size, len(start) + 4, 2 * most + 8), like.numel())
    basis = _Basis(product, capacity, like)
    for direction in start[:capacity]:
        basis.add(direction)
    if basis.size == 0:
        raise ValueError("every start direction is zero")
    wanted = min(target.wanted, like.numel())
    while True:
        ritz = _Ritz(basis, wanted, memory)
        exhausted = basis.size == like.numel() or basis.products >= target.max_products
        missing = ritz.first_missing(wanted, target)
        if (
            missing is None
            and ritz.values[-1] + ritz.residuals[-1] >= target.above
            and wanted < min(MOST_EIGENVALUES, like.numel())
        ):
            wanted += 1
            continue
        if missing is None or exhausted or (ritz.scale == 0.0 and basis.size > 1):
            break
        if basis.size == basis.capacity:
            basis.restart(*ritz.kept(min(wanted + 4, basis.capacity - 1)))
        if not basis.grow(ritz, min(missing, len(ritz.values) - 1), memory):
            break
    if memory is not None:
        memory.learn(*basis.known())
    return Eigenpairs(
        values=ritz.values,
        vectors=ritz.vectors / ritz.vectors.norm(dim=1, keepdim=True),
        residuals=ritz.residuals,
        gap=ritz.gap,
        products=basis.products,
        converged=missing is None or basis.size == like.numel(),
    )


class _Ritz:
    """The Ritz pairs of a basis with their residuals, and the gap below the first."""

    def __init__(self, basis: _Basis, wanted: int, memory: HessianMemory | None) -> None:
        self.all_values, self.coefficients = basis.ritz()
        found = min(wanted, basis.size)
        mix = self.coefficients[:found].to(basis.vectors)
        self.vectors = mix @ basis.vectors[: basis.size]
        images = mix @ basis.images[: basis.size]
        self.values: list[float] = self.all_values[:found].tolist()
        self.defects = images - self.all_values[:found].to(images)[:, None] * self.vectors
        self.residuals: list[float] = self.defects.norm(dim=1).tolist()
        self.scale = float(self.all_values.abs().max())
        self.rounding = 16 * torch.finfo(images.dtype).eps * self.scale
        below = float(self.all_values[1]) if basis.size > 1 else float("-inf")
        if memory is not None:
            below = max(below, memory.next_value(basis.vectors[: basis.size]))
        self.gap = max(self.values[0] - below, 0.0)

    def first_missing(self, wanted: int, target: Target) -> int | None:
        """Return the index of the first pair that is not found well enough, or None."""
        first, residual = abs(self.values[0]), self.residuals[0]
        if residual > self.rounding:
            if math.isinf(self.gap) or first == 0.0:  # nothing known of the others, or of the scale
                return 0
            if (residual / first) ** 2 > target.value_tolerance * (self.gap / first):
                return 0
            if (
                target.vector_tolerance is not None
                and residual > target.vector_tolerance * self.gap
            ):
                return 0
        if len(self.residuals) < wanted:
            return len(self.residuals) - 1
        allowed = max(target.following_tolerance * first, self.rounding)
        for index in range(1, wanted):
            if self.residuals[index] > allowed:
                return index
        return None

    def kept(self, count: int) -> tuple[Tensor, Tensor]:
        """Return coefficients and values of the first Ritz pairs, for a restart."""
        return self.coefficients[:count], self.all_values[:count]


def _fresh_direction(like: Tensor, key: int) -> Tensor:
    """Return a repeatable random direction, for when the search space turned out invariant."""
    generator = torch.Generator().manual_seed(key)
    return torch.randn(like.numel(), generator=generator, dtype=torch.float64).to(like)
