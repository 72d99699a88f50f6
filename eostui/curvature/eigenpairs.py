"""Leading eigenpairs of a symmetric operator that is known only by its products."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.linalg import vector_norm

from eostui.config import MOST_EIGENVALUES
from eostui.curvature.memory import HessianMemory, Recall, like, small

#: Directions shorter than this share of their length before orthogonalisation carry only rounding.
DEPENDENT = 1e-5
#: Where orthogonalisation leaves less than this share of the length, it is done again.
CANCELS = 0.5
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

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        capacity: int,
        beside: Tensor,
        memory: HessianMemory,
    ) -> None:
        self.product = product
        self.capacity = capacity
        self.recall = Recall(memory, capacity)
        self._pairs = beside.new_empty((capacity, 2, beside.numel()))
        self._projected = np.zeros((capacity, capacity))
        self.size = 0
        self.products = 0

    @property
    def vectors(self) -> Tensor:
        """V, shape (size, P)."""
        return self._pairs[: self.size, 0]

    @property
    def projected(self) -> NDArray[np.float64]:
        """T, shape (size, size)."""
        return self._projected[: self.size, : self.size]

    def add(self, direction: Tensor) -> bool:
        """Orthonormalise `direction` against the basis, store it with its product; False if dependent."""
        rest, known = direction, self.vectors
        length = remaining = float(vector_norm(direction))
        if self.size:
            rest = torch.addmv(rest, known.T, known @ rest, alpha=-1)
            remaining = float(vector_norm(rest))
            if remaining < CANCELS * length:  # twice is enough (Kahan, Parlett)
                rest = torch.addmv(rest, known.T, known @ rest, alpha=-1)
                remaining = float(vector_norm(rest))
        if not remaining > DEPENDENT * length:
            return False
        vector, image = self._pairs[self.size]
        torch.div(rest, remaining, out=vector)
        image.copy_(self.product(vector))
        self.products += 1
        self.size += 1
        column = small(self.vectors @ image)
        if not np.isfinite(column).all():
            raise NotFiniteError("a Hessian product isn't finite")
        self.projected[-1] = self.projected[:, -1] = column
        self.recall.add(self._pairs[self.size - 1 : self.size])
        return True

    def combine(self, of_vectors: NDArray[np.float64], of_images: NDArray[np.float64]) -> Tensor:
        """Return a combination of V and W, by coefficients of shape (size,) each."""
        rows = self._pairs[: self.size].flatten(0, 1)  # v, Hv, v, Hv, …
        return like(np.stack([of_vectors, of_images], axis=1).ravel(), rows) @ rows

    def grow(self, ritz: _Ritz, index: int) -> bool:
        """Add the direction that one Ritz pair needs most; False if there is none left."""
        value, (defect, residual) = float(ritz.values[index]), ritz.defect(index)
        # a pair that is hardly begun isn't near any that is remembered: it is still to be searched for
        if index == 0 or residual < BEGUN * abs(ritz.values[0]):
            correction = self.recall.correction(defect, ritz.coefficients[index], value)
            if correction is not None and self.add(correction):
                return True
        return self.add(defect) or self.add(_fresh_direction(defect, self.products))

    def restart(self, values: NDArray[np.float64], coefficients: NDArray[np.float64]) -> None:
        """Thick restart: keep the span of the given Ritz vectors, reusing their products."""
        mix = like(coefficients, self._pairs)
        pairs = torch.tensordot(mix, self._pairs[: self.size], dims=1)
        self.recall.restart(coefficients)
        self.size = len(values)
        self._pairs[: self.size] = pairs
        self.projected[:] = np.diag(values)


#: Products allowed for each pair after the first.
PER_PAIR = 20


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
        max_products: the search ends here at the latest, reporting the residuals it reached; PER_PAIR
            more are allowed for each pair after the first.
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
    first = start[0]
    most = target.wanted if math.isinf(target.above) else MOST_EIGENVALUES
    capacity = min(max(basis_size, len(start) + 4, 2 * most + 8), first.numel())
    basis = _Basis(product, capacity, first, memory or HessianMemory())
    for direction in start[:capacity]:
        basis.add(direction)
    if basis.size == 0:
        raise ValueError("every start direction is zero")
    wanted = min(target.wanted, first.numel())
    while True:
        ritz = _Ritz(basis)
        allowed = target.max_products + PER_PAIR * (wanted - 1)
        exhausted = basis.size == first.numel() or basis.products >= allowed
        missing = ritz.first_missing(wanted, target)
        if (
            missing is None
            and wanted < min(MOST_EIGENVALUES, first.numel())
            and ritz.reaches(wanted - 1, target.above)
        ):
            wanted += 1
            continue
        if missing is None or exhausted or (ritz.scale == 0.0 and basis.size > 1):
            break
        if basis.size == basis.capacity:
            basis.restart(*ritz.kept(min(wanted + 4, basis.capacity - 1)))
            ritz = _Ritz(basis)
        if not basis.grow(ritz, missing):
            break
    if memory is not None:
        basis.recall.learn(basis.vectors, basis.projected)
    found = min(wanted, basis.size)
    vectors = like(ritz.coefficients[:found], first) @ basis.vectors
    return Eigenpairs(
        values=ritz.values[:found].tolist(),
        vectors=vectors.div_(vector_norm(vectors, dim=1, keepdim=True)),
        residuals=[ritz.residual(index) for index in range(found)],
        gap=ritz.gap,
        products=basis.products,
        # where the products didn't run out there was nothing more to be found
        converged=missing is None or basis.size == first.numel() or basis.products < allowed,
    )


class _Ritz:
    """The Ritz pairs of a basis with their residuals, and the gap below the first.

    Each costs passes over long vectors, so none is looked at before it is asked for.
    """

    def __init__(self, basis: _Basis) -> None:
        self._basis, self._size = basis, basis.size
        values, coefficients = np.linalg.eigh(basis.projected)
        self.values, self.coefficients = values[::-1], coefficients[:, ::-1].T
        self._defects: dict[int, tuple[Tensor, float]] = {}
        self.scale = float(np.abs(values).max())
        self.rounding = 16 * torch.finfo(basis.vectors.dtype).eps * self.scale

    def defect(self, index: int) -> tuple[Tensor, float]:
        """Return r = Hu − μu of one of the pairs, and the residual ‖r‖; the largest is number 0."""
        if index not in self._defects:
            mix = self.coefficients[index]
            defect = self._basis.combine(-self.values[index] * mix, mix)
            self._defects[index] = defect, float(vector_norm(defect))
        return self._defects[index]

    def residual(self, index: int) -> float:
        """Return the residual of one of the pairs."""
        return self.defect(index)[1]

    @cached_property
    def gap(self) -> float:
        """First value less the next, of those found and those remembered."""
        first = float(self.values[0])
        return max(min(self._gap_found, first - self._basis.recall.next_value()), 0.0)

    @property
    def _gap_found(self) -> float:
        return float(self.values[0] - self.values[1]) if self._size > 1 else float("inf")

    def first_missing(self, wanted: int, target: Target) -> int | None:
        """Return the index of the first pair that is not found well enough, or None."""
        # what is remembered can only narrow the gap: it is asked last
        if self.residual(0) > self.rounding and not (
            self._is_found(target, self._gap_found) and self._is_found(target, self.gap)
        ):
            return 0
        if self._size < wanted:
            return self._size - 1
        allowed = max(target.following_tolerance * abs(self.values[0]), self.rounding)
        for index in range(1, wanted):
            if self.residual(index) > allowed:
                return index
        return None

    def _is_found(self, target: Target, gap: float) -> bool:
        """Whether the first pair is found well enough if that is the gap below it."""
        first, residual = abs(self.values[0]), self.residual(0)
        if math.isinf(gap) or first == 0.0:  # nothing known of the others, or of the scale
            return False
        if (residual / first) ** 2 > target.value_tolerance * (gap / first):
            return False
        return target.vector_tolerance is None or residual <= target.vector_tolerance * gap

    def reaches(self, index: int, above: float) -> bool:
        """Whether a pair's value may be as large as `above`, its residual counted."""
        return bool(index < self._size and self.values[index] + self.residual(index) >= above)

    def kept(self, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values and coefficients of the first Ritz pairs, for a restart."""
        return self.values[:count], self.coefficients[:count]


def _fresh_direction(beside: Tensor, key: int) -> Tensor:
    """Return a repeatable random direction, for when the search space turned out invariant."""
    generator = torch.Generator().manual_seed(key)
    return torch.randn(beside.numel(), generator=generator, dtype=torch.float64).to(beside)
