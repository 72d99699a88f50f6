"""A search space for devices where reading and launching are what costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from eostui.curvature.basis import Basis, NotFiniteError, Ritz, fresh_direction, mixed
from eostui.curvature.hessian_memory import HessianMemory
from eostui.curvature.host import FloatArray, like, read
from eostui.curvature.point import Pairs, pairs_of

#: A square this small beside what it is a difference of, in float64, is looked at itself.
CANCELLED = 1e-11
#: So is a direction that is to be added, which is to be orthogonal to the basis in float32.
DEPENDENT = 1e-9
#: Of a residual that is reported, where products are in float64 themselves.
BLURRED = 1e-4


class GramBasis(Basis):
    """A basis that reads all inner products of what it holds, the memory's vectors Q included.

    From them follow, without a look at a long vector, the lengths of residuals, and of the next direction
    both its part outside the basis and its length: it comes out of one matrix product orthonormal. So a
    product takes one wait, and beside the product itself three launches. Squares of lengths are
    differences of these inner products, and lose half their digits: so all is kept in float64.
    """

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        capacity: int,
        beside: Tensor,
        memory: HessianMemory,
    ) -> None:
        self._remembered = 0 if memory.vectors is None else len(memory.vectors)
        super().__init__(product, capacity, beside, memory)
        self._pairs_along: Pairs = pairs_of(product, self.dtype)
        rows = len(self._all)
        self._gram = np.zeros((rows, rows))
        if memory.vectors is not None:
            self._all[: self._remembered] = memory.vectors

    def _place_for_pairs(self, beside: Tensor) -> Tensor:
        rows, width = self._remembered + 2 * self.capacity, beside.numel()
        self._all = beside.new_empty((rows, width), dtype=torch.float64)  # Q, and v, Hv, v, Hv, …
        return self._all[self._remembered :].view(self.capacity, 2, width)

    def begin(self, directions: Tensor, independent: bool) -> None:
        super().begin(directions.double(), independent)

    @property
    def _end(self) -> int:
        """The number of rows of which the small matrix knows, where it knows of every pair."""
        return self._remembered + 2 * self.size

    @property
    def _known(self) -> FloatArray:
        """Inner products of the rows Q, v, Hv, v, Hv, …"""
        return self._gram[: self._end, : self._end]

    def _place(self, direction: Tensor, independent: bool) -> bool:
        accurate = direction.double()
        if independent:
            self._append_along(self._across(accurate) if self.size else accurate)
            return True
        outside = self._outside(accurate)
        if outside is None:
            return False
        self._append_along(outside[0])
        return True

    def _across(self, direction: Tensor) -> Tensor:
        """Return a direction less its part in the basis, where the next product takes it from."""
        known, place = self.vectors, self._pairs_along.place()
        return torch.addmv(direction, known.T, known @ direction, alpha=-1, out=place)

    def _append_along(self, direction: Tensor) -> None:
        """Add a direction of any length that is orthogonal to the basis, with its product."""
        self._pairs[self.size] = self._pairs_along(direction)
        self.products += 1
        self.size += 1

    def _take_note(self) -> None:
        known, size = self._noted, self.size
        if known == size:
            return
        # of what is remembered too, once: orthonormal but for rounding, which would add up
        begin, end = (self._remembered + 2 * known if known else 0), self._end
        rows = self._all[:end]
        (found,) = read(rows[begin:] @ rows.T)
        if not np.isfinite(found).all():
            raise NotFiniteError("a Hessian product isn't finite, or its square")
        self._gram[begin:end, :end] = found
        self._gram[:end, begin:end] = found.T
        new = self._gram[self._remembered + 2 * known : end]
        of_memory = [new[:, : self._remembered], self._gram[: self._remembered, : self._remembered]]
        found = new[1::2, self._remembered : end : 2]
        self._note(found, of_memory if known == 0 else of_memory[:1])

    def _mixed(self, of_memory: FloatArray | None, of_pairs: FloatArray) -> FloatArray:
        """Return coefficients of all rows, shape (…, m + 2 size)."""
        if of_memory is None:
            of_memory = np.zeros((*of_pairs.shape[:-1], self._remembered))
        return np.concatenate([of_memory, of_pairs], axis=-1)

    def _combined(self, of_all: FloatArray) -> Tensor:
        """Return combinations of all rows, in the precision of the products."""
        return (like(of_all, self._all) @ self._all[: self._end]).to(self.dtype)

    def found_vectors(self, ritz: Ritz, told: int, followed: int) -> Tensor:
        mix = ritz.coefficients[:followed]
        of_all = self._mixed(None, mixed(mix, np.zeros_like(mix)))
        for index in range(told, followed):
            inner = self._correction_unseen(ritz, index)
            if inner is not None:
                of_all[index] += (
                    self._mixed(inner, ritz.of_residuals([index])[0]) / ritz.values[index]
                )
        squares = ((of_all @ self._known) * of_all).sum(axis=1, keepdims=True)
        # with the sign of what it was, where the search began there: it needn't be turned round
        largest = np.abs(of_all).argmax(axis=1, keepdims=True)
        signs = np.sign(np.take_along_axis(of_all, largest, axis=1))
        return self._combined(signs * of_all / np.sqrt(squares))

    def lengths(self, of_rows: FloatArray) -> tuple[FloatArray, Tensor | None]:
        return self._lengths(of_rows, CANCELLED), None

    def reported(self, ritz: Ritz, count: int) -> FloatArray:
        if self.dtype != torch.float64:
            return super().reported(ritz, count)
        return self._lengths(ritz.of_residuals(list(range(count))), BLURRED)

    def _lengths(self, of_rows: FloatArray, cancelled: float) -> FloatArray:
        squares, most = self._squares(self._mixed(None, of_rows))
        sure = squares > cancelled * most
        found = np.sqrt(np.where(sure, squares, np.nan))
        if not sure.all():
            found[~sure], _ = super().lengths(of_rows[~sure])
        return found

    def _squares(self, of_all: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the squares of combinations, and of what they are differences, shape (n,) each."""
        known = self._known
        squares = ((of_all @ known) * of_all).sum(axis=-1)
        parts = (of_all**2 * known.diagonal()).max(axis=-1)
        # a restart leaves small images with the rounding of the largest
        images = slice(self._remembered + 1, None, 2)
        mixed_up = (of_all[..., images] ** 2).sum(axis=-1) * known.diagonal()[images].max()
        return squares, np.maximum(parts, mixed_up)

    def grow(self, ritz: Ritz, index: int) -> bool:
        value, mix = float(ritz.values[index]), ritz.coefficients[index]
        clear = ritz.residual(index) > ritz.rounding
        of_residual = mixed(-value * mix, mix)
        inner = self._correction(ritz, index)
        if inner is not None and self._add_combined(self._mixed(inner, of_residual)):
            return True
        if clear and self._add_combined(self._mixed(None, of_residual)):
            return True
        defect = self.combine(of_residual)
        return self.add(defect) or self.add(fresh_direction(defect, self.products))

    def recollect(self) -> bool:
        return self._add_combined(self._mixed(self.recall.next_vector(), np.zeros(2 * self.size)))

    def _add_combined(self, of_all: FloatArray) -> bool:
        """Add a combination of all rows; False, with nothing done, if it is dependent."""
        vectors = slice(self._remembered, None, 2)
        of_all, known = of_all.copy(), self._known
        for _ in range(2):  # V is orthonormal but for rounding
            of_all[vectors] -= known[vectors] @ of_all
        square, most = self._squares(of_all)
        if not square > DEPENDENT * most:
            return False
        rows, coefficients = self._all[: self._end], like(of_all, self._all)
        if (
            self.dtype == torch.float64
        ):  # the combination's own rounding isn't below that of products
            direction = self._across(torch.mv(rows.T, coefficients))
        else:
            direction = torch.mv(rows.T, coefficients, out=self._pairs_along.place())
        self._append_along(direction)
        self._take_note()
        return True

    def restart(self, coefficients: FloatArray) -> None:
        of_pairs = np.kron(coefficients, np.eye(2))
        count, shared = len(of_pairs), self._remembered
        of_all = np.zeros((shared + count, self._end))
        of_all[:shared, :shared] = np.eye(shared)
        of_all[shared:, shared:] = of_pairs
        known = of_all @ self._known @ of_all.T
        super().restart(coefficients)
        self._gram[: self._end, : self._end] = known

    def beyond_last(self) -> tuple[Tensor, float]:
        of_rows = self._of_beyond()
        return self.combine(of_rows), float(self._lengths(of_rows[None], CANCELLED)[0])

    def learn(self, most: int) -> None:
        learned = self.recall.learned(self.projected, most)
        if learned is not None:
            of_basis = mixed(learned.of_basis, np.zeros_like(learned.of_basis))
            self.recall.remember(
                learned.values, self._combined(self._mixed(learned.of_memory, of_basis))
            )
