"""How far eigenvectors have turned since other steps (MATH §6), and the past ones that this needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eostui.curvature.host import FloatArray, read


def overlaps(vectors: Tensor, others: Tensor) -> FloatArray:
    """Return ⟨v_i, w_j⟩ of k vectors with those of n other steps, shape (n, k, k).

    Args:
        vectors: v, orthonormal rows, shape (k, P).
        others: w, orthonormal rows of each step, shape (n, k, P).
    """
    n, k = others.shape[:2]
    (found,) = read(vectors @ others.flatten(0, 1).T)
    return found.reshape(k, n, k).transpose(1, 0, 2)


def vector_similarities(found: FloatArray) -> FloatArray:
    """Return |⟨v_i, w_i⟩|, shape (n, k), of `overlaps`: 1 where a vector is what it was, 0 across it."""
    same: FloatArray = np.minimum(np.abs(np.diagonal(found, axis1=1, axis2=2)), 1.0)
    return same


def subspace_similarities(found: FloatArray) -> FloatArray:
    """Return the similarity of the spans, shape (n,), of `overlaps`: cos √(Σθᵢ²/k).

    θᵢ are the principal angles, whose cosines are the singular values of the overlaps, and √Σθᵢ² is the
    Grassmann distance (Ye & Lim, SIAM J. Matrix Anal. Appl. 37, 2016), of which INST take a cosine
    without a formula. Divided by √k it is that of a single vector where k is 1, and none where all
    angles are right ones. What two vectors do within their span doesn't count.
    """
    if not len(found):
        return np.empty(0)
    angles = np.arccos(np.clip(np.linalg.svd(found, compute_uv=False), 0.0, 1.0))
    alike: FloatArray = np.cos(np.sqrt((angles**2).mean(axis=1)))
    return alike


class EigenvectorHistory:
    """Eigenvectors of past steps, on their device: as many as have room.

    It keeps those of the newest steps, of the one that is pinned, and of *landmarks*: every so many of
    the steps offered as such, so that they reach from the first one to now. When these are too many,
    every second one is dropped.

    Attributes:
        room: steps that it can keep at once.
        recent: those of so many newest steps are kept: a step as long ago as that is still known.
        landmarks: how many of these it keeps.
        steps: those kept, rising, in the order of `vectors`.
        stride: every so many of the steps offered is a landmark.
        pinned: the step that is, or None.
    """

    def __init__(self, room: int, recent: int, landmarks: int) -> None:
        """Keep none yet. Of little room the pinned step has the first place, the recent ones the next."""
        self.room = min(room, 1 + recent + landmarks)
        self.recent = max(min(recent, self.room - 1), 0)
        self.landmarks = max(self.room - 1 - self.recent, 0)
        self.steps: list[int] = []
        self.stride = 1
        self.pinned: int | None = None
        self._numbers: list[int] = []  # of each step among those offered as landmarks, −1 for none
        self._offered = 0
        self._vectors: Tensor | None = None

    @property
    def vectors(self) -> Tensor | None:
        """Those of the steps kept, shape (n, k, P); None if there are none."""
        return None if self._vectors is None or not self.steps else self._vectors[: len(self.steps)]

    @property
    def marks(self) -> list[int]:
        """The places in `steps` of the landmarks."""
        return [place for place, number in enumerate(self._numbers) if number >= 0]

    def at(self, step: int) -> int | None:
        """Return the place of a step in `steps`, None if it isn't kept."""
        return self.steps.index(step) if step in self.steps else None

    def add(self, step: int, vectors: Tensor, *, landmark: bool, pin: bool) -> None:
        """Keep those of a step, dropping what later ones don't need.

        Args:
            step: later than those kept.
            vectors: orthonormal rows, shape (k, P).
            landmark: whether it is offered as one.
            pin: whether it is the pinned step from here on.
        """
        number = -1
        if landmark and self.landmarks:
            number, self._offered = self._offered, self._offered + 1
            while number % self.stride == 0 and len(self.marks) >= self.landmarks:
                self._thin()
            number = number if number % self.stride == 0 else -1
        if pin:
            self.pinned = step
        self._drop_before(step - self.recent + 1)
        if not (pin or number >= 0 or self.recent):
            return
        if self._vectors is None:
            self._vectors = vectors.new_empty((self.room, *vectors.shape))
        self._vectors[len(self.steps)] = vectors
        self.steps.append(step)
        self._numbers.append(number)

    def _thin(self) -> None:
        """Let every second landmark be none."""
        self.stride *= 2
        self._numbers = [each if each % self.stride == 0 else -1 for each in self._numbers]

    def _drop_before(self, step: int) -> None:
        """Drop those before a step that are neither landmarks nor pinned."""
        kept = [
            place
            for place, (each, number) in enumerate(zip(self.steps, self._numbers, strict=True))
            if each >= step or number >= 0 or each == self.pinned
        ]
        if len(kept) == len(self.steps):
            return
        assert self._vectors is not None
        for place, old in enumerate(kept):  # forwards: nothing is overwritten before it is moved
            if place != old:
                self._vectors[place] = self._vectors[old]
        self.steps = [self.steps[place] for place in kept]
        self._numbers = [self._numbers[place] for place in kept]

    def state(self) -> dict[str, Any]:
        """Return all of it, by name: a tensor, and values that JSON can hold."""
        return {
            "vectors": self.vectors,
            "steps": list(self.steps),
            "numbers": list(self._numbers),
            "offered": self._offered,
            "stride": self.stride,
            "pinned": self.pinned,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned, of a history with more room too, as far as this one has it."""
        self.steps, self._numbers = list(state["steps"]), list(state["numbers"])
        self._offered, self.stride = state["offered"], state["stride"]
        self.pinned, self._vectors = state["pinned"], None
        if (vectors := state.get("vectors")) is not None:
            self._vectors = vectors.new_empty((max(self.room, len(vectors)), *vectors.shape[1:]))
            self._vectors[: len(vectors)] = vectors
        while len(self.marks) > self.landmarks > 0:
            self._thin()
        if not self.landmarks:
            self._numbers = [-1] * len(self._numbers)
        if self.steps:
            self._drop_before(self.steps[-1] - self.recent + 1)


def vector_errors(values: FloatArray, residuals: FloatArray) -> FloatArray:
    """Return a bound on the sine between each vector found and its eigenvector, shape (k,), 1 at most.

    It is the residual over the gap to the nearest other eigenvalue (Davis & Kahan): what turns by less
    may be the search's own.

    Args:
        values: the k eigenvalues found in falling order, and what is known of those after them.
        residuals: ‖Hv − μv‖ of the k.
    """
    apart = np.abs(values[: len(residuals), None] - values[None])
    np.fill_diagonal(apart, np.inf)
    gaps = apart.min(axis=1)
    errors = np.ones(len(residuals))
    found = gaps > residuals
    errors[found] = residuals[found] / gaps[found]
    return errors


def cosines(vectors: Tensor, *directions: Tensor) -> FloatArray:
    """Return |cos| of the angles between k unit vectors and other directions, shape (directions, k).

    NaN where a direction is zero.
    """
    rows = torch.stack(directions)
    products, squares = read(rows @ vectors.T, (rows * rows).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: FloatArray = np.minimum(np.abs(products) / np.sqrt(squares)[:, None], 1.0)
    return found


def room_for(megabytes: float, vectors: int, like: Tensor) -> int:
    """Return for how many steps there is room, of so many vectors as `like` each."""
    return int(megabytes * 1e6 // (vectors * like.numel() * like.element_size()))
