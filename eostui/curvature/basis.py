"""A search space with its products, and the Ritz pairs in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.linalg import vector_norm

from eostui.curvature.hessian_memory import HessianMemory, Recall, like, small

#: Directions shorter than this share of their length before orthogonalisation carry only rounding.
DEPENDENT = 1e-5
#: Where orthogonalisation leaves less than this share of the length, it is done again.
CANCELS = 0.5
#: Below this residual, as a share of the first value, a following pair is corrected by the memory.
BEGUN = 0.03


class NotFiniteError(ArithmeticError):
    """A Hessian product has NaN or infinity in it: there is no spectrum to be had at this point."""


class Basis:
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

    def learn(self, most: int) -> None:
        """Let the memory take in what is known here, `most` directions of it."""
        self.recall.learn(self.vectors, self.projected, most)

    def grow(self, ritz: Ritz, index: int) -> bool:
        """Add the direction that one Ritz pair needs most; False if there is none left."""
        value, (defect, residual) = float(ritz.values[index]), ritz.defect(index)
        # a pair that is hardly begun isn't near any that is remembered: it is still to be searched for
        if index == 0 or residual < BEGUN * abs(ritz.values[0]):
            correction = self.recall.correction(defect, ritz.coefficients[index], value)
            if correction is not None and self.add(correction):
                return True
        return self.add(defect) or self.add(_fresh_direction(defect, self.products))

    def restart(self, coefficients: NDArray[np.float64]) -> None:
        """Thick restart: go on with combinations of the basis, orthonormal rows of shape (j, size)."""
        mix = like(coefficients, self._pairs)
        pairs = torch.tensordot(mix, self._pairs[: self.size], dims=1)
        projected = coefficients @ self.projected @ coefficients.T
        self.recall.restart(coefficients)
        self.size = len(coefficients)
        self._pairs[: self.size] = pairs
        self.projected[:] = projected

    def beyond_last(self) -> tuple[Tensor, float]:
        """Return what the last product adds to the basis, Hv − VVᵀHv, as Lanczos does, and its length."""
        last = np.zeros(self.size)
        last[-1] = 1.0
        beyond = self.combine(-self.projected[-1], last)
        return beyond, float(vector_norm(beyond))


class Ritz:
    """The Ritz pairs of a basis with their residuals.

    A residual costs passes over long vectors, so none is looked at before it is asked for.
    """

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
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

    def residuals(self, count: int) -> NDArray[np.float64]:
        """Return the residuals of the first pairs, shape (count,)."""
        return np.array([self.residual(index) for index in range(count)])

    def reaches(self, index: int, above: float) -> bool:
        """Whether a pair's value may be as large as `above`, its residual counted."""
        return bool(index < len(self.values) and self.values[index] + self.residual(index) >= above)


def _fresh_direction(beside: Tensor, key: int) -> Tensor:
    """Return a repeatable random direction, for when the search space turned out invariant."""
    generator = torch.Generator().manual_seed(key)
    return torch.randn(beside.numel(), generator=generator, dtype=torch.float64).to(beside)
