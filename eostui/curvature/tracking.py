"""Which direction is which, from one reading of eigenvectors to the next."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eostui.curvature.host import FloatArray, read

#: From this overlap on, a direction is the one it was: one that turned, not another.
SAME = 0.3


class Directions:
    """Numbered directions, each with the vectors by which it is told again.

    On the edge θ goes to and fro and the eigenvectors with it, so that a direction may be nearer to what
    it was two readings ago than one: both are kept.

    Attributes:
        numbers: of the directions kept, from 0 on; those seen last come first.
        begun: how many numbers were given.
        vectors: as they were last seen, shape (n, P); None before the first.
        earlier: as those in sight were before that, shape (k, P); the same where they were seen once.
    """

    def __init__(self, most: int, departed: int) -> None:
        """Number `most` directions at most, and keep so many of those that aren't seen any more."""
        self._most, self._departed = most, departed
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next directions are numbered from 0."""
        self.numbers: list[int] = []
        self.begun = 0
        self.vectors: Tensor | None = None
        self.earlier: Tensor | None = None

    def follow(self, vectors: Tensor) -> tuple[list[int], FloatArray]:
        """Return the number of each direction, and its overlap with what it was; NaN for a new one.

        The pair of a direction and a vector that overlaps most is taken first. No more than one overlap
        of a vector with orthonormal others is above 1/√2, so that what turned by less than 45° can't be
        taken for another.

        Args:
            vectors: orthonormal, shape (k, P), k ≤ `most`.
        """
        found = self._overlaps(vectors)
        numbers, overlaps = [-1] * len(vectors), np.full(len(vectors), np.nan)
        earlier = vectors.clone()
        left = found.copy()
        while left.size and left.max() >= SAME:
            place, of = divmod(int(left.argmax()), left.shape[1])
            numbers[place], overlaps[place] = self.numbers[of], found[place, of]
            assert self.vectors is not None
            earlier[place] = self.vectors[of]
            left[place], left[:, of] = -1.0, -1.0
        kept = [of for of, number in enumerate(self.numbers) if number not in numbers]
        for place, number in enumerate(numbers):
            if number < 0:
                numbers[place] = self._unused(numbers)
        kept = [of for of in kept if self.numbers[of] not in numbers][: self._departed]
        if self.vectors is not None and kept:
            vectors = torch.cat([vectors, self.vectors[kept]])
        self.numbers = [*numbers, *(self.numbers[of] for of in kept)]
        self.vectors, self.earlier = vectors, earlier
        return numbers, overlaps

    def state(self) -> dict[str, Any]:
        """Return what outlives a reading."""
        return {
            "numbers": self.numbers,
            "begun": self.begun,
            "vectors": self.vectors,
            "earlier": self.earlier,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.numbers = [int(number) for number in state.get("numbers", [])]
        self.begun = int(state.get("begun", 0))
        self.vectors, self.earlier = state.get("vectors"), state.get("earlier")

    def _overlaps(self, vectors: Tensor) -> FloatArray:
        """Return the larger overlap of each vector with what each direction was, shape (k, n)."""
        if self.vectors is None or self.earlier is None:
            return np.empty((len(vectors), 0))
        (found,) = read(vectors @ torch.cat([self.vectors, self.earlier]).T)
        last, before = np.split(np.abs(found), [len(self.vectors)], axis=1)
        last[:, : before.shape[1]] = np.maximum(last[:, : before.shape[1]], before)
        return np.asarray(last)

    def _unused(self, taken: list[int]) -> int:
        """Return a number that no direction has had, or else one whose direction isn't seen any more."""
        if self.begun < self._most:
            self.begun += 1
            return self.begun - 1
        kept = set(self.numbers) | set(taken)
        free = (number for number in range(self._most) if number not in kept)
        longest_ago = (number for number in reversed(self.numbers) if number not in taken)
        return next(itertools.chain(free, longest_ago))
