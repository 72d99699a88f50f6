"""What is remembered of the Hessian from one measurement to the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from torch import Tensor

from eostui.curvature.host import FloatArray, like

#: Directions kept at least, those of the largest remembered eigenvalues.
KEPT = 12
#: A direction with less than this share of its square left after orthogonalisation is rounding.
DEPENDENT = 1e-2
#: So is an eigenvalue outside the basis below this share of the largest remembered one.
NOTHING = 1e-4
#: Nearest that a remembered eigenvalue may come to the shift, as a share of it.
CLEARANCE = 0.05


class HessianMemory:
    """A low-rank picture of H, H ≈ QᵀΘQ, made of the products that measurements paid for.

    θ moves little from one measurement to the next, so the eigenvectors beside the leading one are
    nearly what they were. Where Lanczos would add the residual r to its search space, their picture
    gives the correction that a Jacobi–Davidson step asks for (Sleijpen & van der Vorst, SIAM J. Matrix
    Anal. Appl. 17, 1996), at the cost of no product: a few products less for every measurement. Each new
    product then replaces what the picture said of its direction, as secant updates do.

    Attributes:
        vectors: Q, orthonormal rows, shape (m, P); None before the first search.
        values: Θ, remembered eigenvalues in falling order, shape (m,).
    """

    def __init__(self) -> None:
        self.vectors: Tensor | None = None
        self.values: FloatArray = np.empty(0)


class _Outside(NamedTuple):
    """What is remembered of H outside orthonormal V, by its eigenpairs: of those above 0.

    Attributes:
        values: its eigenvalues, in rising order, shape (r,).
        vectors: its eigenvectors X(Q − CV), as X, shape (r, m).
    """

    values: FloatArray
    vectors: FloatArray


class Learned(NamedTuple):
    """What is to be remembered: combinations of Q and of the basis, with their eigenvalues.

    Attributes:
        values: in falling order, shape (n,).
        of_memory: coefficients of Q, shape (n, m).
        of_basis: coefficients of V, shape (n, k).
    """

    values: FloatArray
    of_memory: FloatArray
    of_basis: FloatArray


class Recall:
    """A memory during one search, with the overlaps of Q and what is searched through.

    The long vectors are touched as little as can be: each pair of a basis vector v and its product Hv
    meets Q once, when it is added, and what is asked afterwards is answered by small matrices.
    """

    def __init__(self, memory: HessianMemory, capacity: int) -> None:
        """Begin with an empty basis.

        Args:
            memory: what is known; it changes when the search ends, by `learn`.
            capacity: most pairs at a time.
        """
        self._memory = memory
        self.vectors, self._values = memory.vectors, memory.values
        self._roots = np.sqrt(np.maximum(memory.values, 0.0))
        self._overlaps = np.empty((2, len(memory.values), capacity))
        # QQᵀ: the identity but for rounding, which would add up from search to search
        self._gram: FloatArray | None = None
        self._size = 0

    @property
    def _shared(self) -> FloatArray:
        """C = QVᵀ, shape (m, k)."""
        return self._overlaps[0, :, : self._size]

    @property
    def _seen(self) -> FloatArray:
        """QWᵀ with W = VH, shape (m, k)."""
        return self._overlaps[1, :, : self._size]

    def overlaps(self, pairs: Tensor) -> list[Tensor]:
        """Return what `note` has to be told of further pairs v, Hv of shape (n, 2, P), to be read."""
        if self.vectors is None:
            return []
        found = [pairs.flatten(0, 1) @ self.vectors.T]
        return found if self._gram is not None else [*found, self.vectors @ self.vectors.T]

    def note(self, count: int, overlaps: Sequence[FloatArray]) -> None:
        """Take note of `count` further pairs, by their `overlaps`."""
        self._outdated()
        after = self._size + count
        if self.vectors is not None:
            of_pairs, *of_memory = overlaps
            of_pairs = of_pairs.reshape(count, 2, -1)
            self._overlaps[:, :, self._size : after] = of_pairs.transpose(1, 2, 0)
            if of_memory:
                (self._gram,) = of_memory
        self._size = after

    def restart(self, coefficients: FloatArray) -> None:
        """Follow the basis to the combinations of its rows, shape (j, k), that it goes on with."""
        self._outdated()
        mixed = self._overlaps[:, :, : self._size] @ coefficients.T
        self._size = len(coefficients)
        self._overlaps[:, :, : self._size] = mixed

    def _outdated(self) -> None:
        self.__dict__.pop("_outside", None)

    def next_value(self) -> float:
        """Return the largest remembered eigenvalue outside the basis; −∞ if nothing is remembered."""
        known = self.vectors is not None and len(self._outside.values)
        return float(self._outside.values[-1]) if known else -math.inf

    def next_vector(self) -> FloatArray:
        """Return its eigenvector as coefficients of Q, shape (m,), but for what that has in the basis."""
        vector: FloatArray = self._outside.vectors[-1]
        return vector

    def lengths_at(
        self, place: float, coefficients: FloatArray, values: FloatArray, residuals: FloatArray
    ) -> FloatArray:
        """Return how long residuals would have to be, if each lay at one eigenvalue, to do as much.

        A part a of a pair's residual that lies at the eigenvalue λ shifts its value μ by a²/(μ − λ). What
        is in none of the remembered directions counts as what lies at the least of them, or at 0.

        Args:
            place: that eigenvalue.
            coefficients: of the pairs in the basis, shape (n, k).
            values: their μ, shape (n,); one that isn't above `place` keeps its length.
            residuals: their lengths, shape (n,).

        Returns:
            Lengths, shape (n,), at most those of the residuals.
        """
        if self.vectors is None:
            return residuals
        shared, seen = self._shared @ coefficients.T, self._seen @ coefficients.T
        parts = (self._outside.vectors @ (seen - values * shared)) ** 2
        others = np.maximum(residuals**2 - parts.sum(axis=0), 0.0)
        least = max(float(self._values[-1]), 0.0)
        above = values > place
        away = np.where(above, values - place, 1.0)
        known = values - np.maximum(self._outside.values, least)[:, None]
        squares = (parts * (away / np.maximum(known, away))).sum(axis=0)
        squares += others * (away / np.maximum(values - least, away))
        lengths: FloatArray = np.where(above, np.minimum(np.sqrt(squares), residuals), residuals)
        return lengths

    @cached_property
    def _outside(self) -> _Outside:
        # with R = QᵀΘQ outside V: the eigenvalues of R above 0 are those of √Θ(QQᵀ − CCᵀ)√Θ
        roots = self._roots
        values, turned = np.linalg.eigh(roots[:, None] * self._gram_outside() * roots)
        kept = values > NOTHING * max(float(self._values[0]), 0.0)
        values = values[kept]
        return _Outside(values, (roots[:, None] * turned[:, kept] / np.sqrt(values)).T)

    def _gram_outside(self) -> FloatArray:
        """Return QQᵀ − CCᵀ, the inner products of what Q has outside V, shape (m, m)."""
        assert self._gram is not None
        gram: FloatArray = self._gram - self._shared @ self._shared.T
        return gram

    def correction(self, coefficients: FloatArray, value: float) -> FloatArray | None:
        """Return y, shape (m,), with r + Qᵀy as the direction in which to correct a Ritz pair.

        It solves (I − uuᵀ)(H − μ)(I − uuᵀ)t = −r with the remembered H, but for a multiple of u, which
        the basis has already, and for a factor. None with nothing remembered.

        Args:
            coefficients: of u in the basis, shape (k,); r = Hu − μu is its residual.
            value: μ.
        """
        if self.vectors is None or value == 0.0:
            return None
        distance = value - self._values
        nearest = CLEARANCE * abs(value)
        distance = np.where(np.abs(distance) < nearest, nearest, distance)
        # (μ − H)⁻¹ where H is remembered as Θ, and 1/μ elsewhere, where it counts as 0
        beyond = 1 / distance - 1 / value
        of_u = self._shared @ coefficients
        solved_u = beyond * of_u
        solved_r = beyond * (self._seen @ coefficients - value * of_u)
        along_u = (of_u @ solved_r) / (1 / value + of_u @ solved_u)
        inner: FloatArray = value * (solved_r - along_u * solved_u)
        return inner

    def learn(self, vectors: Tensor, projected: FloatArray, most: int = KEPT) -> None:
        """Take in the basis: what was remembered of its span gives way to its products.

        Args:
            vectors: V, the basis as it was added, orthonormal rows, shape (k, P).
            projected: V H Vᵀ, shape (k, k).
            most: directions kept.
        """
        learned = self.learned(projected, most)
        if learned is None:
            return
        if self.vectors is None:
            self.remember(learned.values, like(learned.of_basis, vectors) @ vectors)
            return
        new = like(learned.of_memory, vectors) @ self.vectors
        self.remember(learned.values, new.addmm_(like(learned.of_basis, vectors), vectors))

    def remember(self, values: FloatArray, vectors: Tensor) -> None:
        """Leave this to the next search."""
        self._memory.values, self._memory.vectors = values, vectors

    def learned(self, projected: FloatArray, most: int) -> Learned | None:
        """Return what there is to remember, for `learn`; None where H isn't finite.

        What Q adds to V, X(Q − CV), is never formed, only the small matrices that it would give.
        """
        if not np.isfinite(projected).all():
            return None
        if self.vectors is None:
            values, coefficients = np.linalg.eigh(projected)
            of_memory = np.empty((len(values), 0))[:most]
            return Learned(values[::-1][:most].copy(), of_memory, coefficients.T[::-1][:most])
        outside = self._gram_outside()
        lengths, mix = np.linalg.eigh(outside)
        kept = lengths > DEPENDENT
        mix = (mix[:, kept] / np.sqrt(lengths[kept])).T
        inside = mix @ outside
        of_rest = (inside * self._values) @ inside.T
        cross = mix @ (self._seen - self._shared @ projected)
        values, coefficients = np.linalg.eigh(np.block([[projected, cross.T], [cross, of_rest]]))
        of_new, of_old = np.split(coefficients.T[::-1][:most], [len(projected)], axis=1)
        of_old = of_old @ mix
        return Learned(values[::-1][:most].copy(), of_old, of_new - of_old @ self._shared)
