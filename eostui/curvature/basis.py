"""A search space with its products, and the Ritz pairs in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from eostui.curvature.hessian_memory import HessianMemory, Recall
from eostui.curvature.host import FloatArray, like, read
from eostui.curvature.sums import accurate_norm, inner_products

#: Directions shorter than this share of their length before orthogonalisation carry only rounding.
DEPENDENT = 1e-5
#: Where orthogonalisation leaves less than this share of the length, it is done again.
CANCELS = 0.5
#: Below this residual, as a share of the first value, a following pair is corrected by the memory.
BEGUN = 0.06


class NotFiniteError(ArithmeticError):
    """A Hessian product has NaN or infinity in it: there is no spectrum to be had at this point."""


class Basis:
    """Orthonormal vectors V with their stored products W = HV, and T = VHVᵀ in float64.

    Of every product its overlaps with the basis and the memory are read, once: what follows is computed
    from these small matrices where it can be.
    """

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        capacity: int,
        beside: Tensor,
        memory: HessianMemory,
    ) -> None:
        self.product = product
        self.capacity = capacity
        self.dtype = beside.dtype  # of the products
        self.recall = Recall(memory, capacity)
        self._pairs = self._place_for_pairs(beside)
        self._projected = np.zeros((capacity, capacity))
        self._first = np.zeros(capacity)
        self._first[0] = 1.0
        self._noted = 0  # pairs of which the small matrices know
        self.size = 0
        self.products = 0

    def _place_for_pairs(self, beside: Tensor) -> Tensor:
        """Return memory of shape (capacity, 2, P)."""
        return beside.new_empty((self.capacity, 2, beside.numel()))

    @property
    def vectors(self) -> Tensor:
        """V, shape (size, P)."""
        return self._pairs[: self.size, 0]

    @property
    def projected(self) -> FloatArray:
        """T, shape (size, size)."""
        return self._projected[: self.size, : self.size]

    @property
    def first(self) -> FloatArray:
        """The direction that the search began with, as far as restarts kept it, shape (size,)."""
        return self._first[: self.size]

    @property
    def _rows(self) -> Tensor:
        """v, Hv, v, Hv, …, shape (2 size, P)."""
        return self._pairs[: self.size].flatten(0, 1)

    def begin(self, directions: Tensor, independent: bool) -> None:
        """Add the directions that the search begins with, and their products.

        Args:
            directions: shape (m, P).
            independent: that no orthogonalisation leaves less than CANCELS of one is known beforehand:
                then all products are asked for before anything is read.
        """
        for direction in directions:
            if self._place(direction, independent) and not independent:
                self._take_note()
        if independent:
            self._take_note()

    def add(self, direction: Tensor, *, independent: bool = False) -> bool:
        """Orthonormalise `direction` against the basis, store it with its product; False if dependent."""
        if not self._place(direction, independent):
            return False
        self._take_note()
        return True

    def _place(self, direction: Tensor, independent: bool) -> bool:
        """Do what `add` does, but for taking note."""
        if independent:
            rest, known = direction, self.vectors
            rest = torch.addmv(rest, known.T, known @ rest, alpha=-1) if self.size else rest
            self._append(rest, accurate_norm(rest))
            return True
        outside = self._outside(direction)
        if outside is None:
            return False
        self._append(*outside)
        return True

    def _outside(self, direction: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return what of a direction isn't in the basis, and its length; None if that is rounding."""
        rest, known = direction, self.vectors
        length = remaining = accurate_norm(rest)
        if self.size:
            for _ in range(2):  # twice is enough (Kahan, Parlett)
                rest = torch.addmv(rest, known.T, known @ rest, alpha=-1)
                remaining = accurate_norm(rest)
                before, after = read(length, remaining)
                if not after < CANCELS * before:
                    break
        before, after = read(length, remaining)
        return (rest, remaining) if after > DEPENDENT * before else None

    def _append(self, rest: Tensor, length: Tensor) -> None:
        """Add a direction of that length that is orthogonal to the basis, with its product."""
        vector, image = self._pairs[self.size]
        torch.div(rest, length, out=vector)
        image.copy_(self.product(vector))  # at once: a product may come in a buffer of the next
        self.products += 1
        self.size += 1

    def _take_note(self) -> None:
        """Read all that is to be known of the new pairs, in one go."""
        if self._noted == self.size:
            return
        new = self._pairs[self._noted : self.size]
        found, *of_memory = read(
            inner_products(new[:, 1], self.vectors), *self.recall.overlaps(new)
        )
        self._note(found, of_memory)

    def _note(self, found: FloatArray, of_memory: list[FloatArray]) -> None:
        """Take in what new pairs, with the rows `found` of VHVᵀ, have in common with basis and memory."""
        known, size = self._noted, self.size
        if not np.isfinite(found).all():
            raise NotFiniteError("a Hessian product isn't finite")
        for index, row in enumerate(found, start=known):
            self._projected[index, : index + 1] = row[: index + 1]
            self._projected[: index + 1, index] = row[: index + 1]
        self.recall.note(size - known, of_memory)
        self._noted = size

    def combine(self, of_rows: FloatArray) -> Tensor:
        """Return combinations of V and W, by coefficients `mixed` as rows: shape (…, P)."""
        return like(of_rows, self._pairs) @ self._rows

    def found_vectors(self, ritz: Ritz, told: int, followed: int) -> Tensor:
        """Return unit vectors of the first pairs, as the next search begins with them: (followed, P).

        Those after the pairs told are corrected by the memory. It is what one more product would be taken
        of, added as far as it can be without: nothing tells how good it is, but it is a better start.
        """
        vectors = like(ritz.coefficients[:followed], self._pairs) @ self.vectors
        vectors.div_(accurate_norm(vectors, dim=1, keepdim=True))
        for index in range(told, followed):
            inner = self._correction_unseen(ritz, index)
            if inner is not None:
                correction = self._towards(ritz.defect(index), inner)
                vectors[index].add_(correction, alpha=1 / float(ritz.values[index]))
                vectors[index].div_(accurate_norm(vectors[index]))
        return vectors

    def _correction_unseen(self, ritz: Ritz, index: int) -> FloatArray | None:
        """Return a correction that no product will tell of, or None where it may be none.

        What isn't far above 0 isn't far from all that isn't remembered.
        """
        apart = ritz.values[index] > BEGUN * abs(ritz.values[0])
        return self._correction(ritz, index) if apart else None

    def _towards(self, defect: Tensor, inner: FloatArray) -> Tensor:
        """Return a residual with what the memory adds to it, as `Recall.correction` has it."""
        assert self.recall.vectors is not None
        return torch.addmv(defect, self.recall.vectors.T, like(inner, defect))

    def lengths(self, of_rows: FloatArray) -> tuple[FloatArray, Tensor | None]:
        """Return the lengths of combinations, by coefficients `mixed` as rows, shape (n, 2 size).

        Beside them the combinations, where they had to be formed for that, shape (n, P).
        """
        formed = self.combine(of_rows)
        (found,) = read(accurate_norm(formed, dim=1))
        return found, formed

    def reported(self, ritz: Ritz, count: int) -> FloatArray:
        """Return the residuals of the first pairs to the precision of products, shape (count,)."""
        return ritz.residuals(count)

    def learn(self, most: int) -> None:
        """Let the memory take in what is known here, `most` directions of it."""
        self.recall.learn(self.vectors, self.projected, most)

    def grow(self, ritz: Ritz, index: int) -> bool:
        """Add the direction that one Ritz pair needs most; False if there is none left."""
        defect, inner = ritz.defect(index), self._correction(ritz, index)
        # in noise most of it may lie in the basis, and what is left isn't orthogonal to it after one
        # pass: it is looked at, or each such direction makes the next ones worse
        if inner is not None and self.add(self._towards(defect, inner)):
            return True
        return self.add(defect) or self.add(fresh_direction(defect, self.products))

    def recollect(self) -> bool:
        """Add the direction of the largest remembered eigenvalue outside; False if it is dependent."""
        assert self.recall.vectors is not None
        vector = self.recall.next_vector()
        return self.add(like(vector, self.recall.vectors) @ self.recall.vectors)

    def _correction(self, ritz: Ritz, index: int) -> FloatArray | None:
        """Return what the memory corrects of a pair, as `Recall.correction`, or None.

        One that is hardly begun isn't near any that is remembered: it is still to be searched for.
        """
        value, mix = float(ritz.values[index]), ritz.coefficients[index]
        begun = index == 0 or ritz.residual(index) < BEGUN * abs(ritz.values[0])
        return self.recall.correction(mix, value) if begun else None

    def restart(self, coefficients: FloatArray) -> None:
        """Thick restart: go on with combinations of the basis, orthonormal rows of shape (j, size)."""
        count = len(coefficients)
        mix = like(coefficients, self._pairs)
        pairs = torch.tensordot(mix, self._pairs[: self.size], dims=1)
        projected = coefficients @ self.projected @ coefficients.T
        first = coefficients @ self.first
        self.recall.restart(coefficients)
        self.size = self._noted = count
        self._first[:] = 0.0
        self.first[:] = first
        self._pairs[: self.size] = pairs
        self.projected[:] = projected

    def beyond_last(self) -> tuple[Tensor, float]:
        """Return what the last product adds to the basis, Hv − VVᵀHv, as Lanczos does, and its length."""
        beyond = self.combine(self._of_beyond())
        return beyond, float(read(accurate_norm(beyond))[0])

    def _of_beyond(self) -> FloatArray:
        last = np.zeros(self.size)
        last[-1] = 1.0
        return mixed(-self.projected[-1], last)


def mixed(of_vectors: FloatArray, of_images: FloatArray) -> FloatArray:
    """Return coefficients of the rows v, Hv, v, Hv, … from those of V and of W, shape (…, size) each."""
    return np.stack([of_vectors, of_images], axis=-1).reshape(*of_vectors.shape[:-1], -1)


class Ritz:
    """The Ritz pairs of a basis with their residuals.

    A residual may cost passes over long vectors, so none is looked at before it is asked for.
    """

    def __init__(self, basis: Basis) -> None:
        self._basis = basis
        values, coefficients = np.linalg.eigh(basis.projected)
        self.values, self.coefficients = values[::-1], coefficients[:, ::-1].T
        self._residuals = np.full(len(values), np.nan)
        self._formed: dict[int, Tensor] = {}  # those whose vector was needed for it
        self.scale = float(max(values[-1], -values[0]))  # the largest in size
        self.rounding = 16 * torch.finfo(basis.dtype).eps * self.scale

    def residual(self, index: int) -> float:
        """Return the residual ‖Hu − μu‖ of one of the pairs; the largest is number 0."""
        return float(self._found([index])[0])

    def residuals(self, count: int) -> FloatArray:
        """Return the residuals of the first pairs, shape (count,)."""
        return self._found(list(range(count)))

    def of_residuals(self, wanted: list[int]) -> FloatArray:
        """Return the residuals Hu − μu of pairs as coefficients `mixed`, shape (n, 2 size)."""
        mix, values = self.coefficients[wanted], self.values[wanted]
        return mixed(-values[:, None] * mix, mix)

    def _found(self, wanted: list[int]) -> FloatArray:
        unknown = [index for index in wanted if np.isnan(self._residuals[index])]
        if unknown:
            self._residuals[unknown], formed = self._basis.lengths(self.of_residuals(unknown))
            if formed is not None:
                self._formed.update(zip(unknown, formed, strict=True))
        return self._residuals[wanted]

    def defect(self, index: int) -> Tensor:
        """Return the residual Hu − μu of one of the pairs, shape (P,); it isn't to be changed."""
        if index not in self._formed:
            self._formed[index] = self._basis.combine(self.of_residuals([index]))[0]
        return self._formed[index]

    def reaches(self, index: int, above: float) -> bool:
        """Whether a pair's value may be as large as `above`, its residual counted."""
        return bool(index < len(self.values) and self.values[index] + self.residual(index) >= above)


def fresh_direction(beside: Tensor, key: int) -> Tensor:
    """Return a repeatable random direction, for when the search space turned out invariant."""
    generator = torch.Generator().manual_seed(key)
    return torch.randn(beside.numel(), generator=generator, dtype=torch.float64).to(beside)
