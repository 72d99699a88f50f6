"""Maps of the loss and the sharpness over the plane of a two-parameter problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Landscape:
    """L and S on a regular grid of (θ₁, θ₂), both ends of each axis on it.

    Attributes:
        region: left and right end of θ₁, bottom and top of θ₂.
        loss: L, shape (rows, columns), θ₂ rising with the row.
        sharpness: S, the larger eigenvalue of ∇²L, of the same shape. NaN where it isn't finite.
    """

    region: tuple[float, float, float, float]
    loss: NDArray[np.float32]
    sharpness: NDArray[np.float32]

    def to_cells(self) -> tuple[Any, ...]:
        """Return the values of a row of `landscapes`, after its id and before its checksum."""
        maps = np.stack([self.loss, self.sharpness]).astype("<f4").tobytes()
        return (*map(float, self.region), *self.loss.shape, maps)

    @classmethod
    def from_cells(cls, cells: Sequence[Any], maps: bytes) -> Landscape:
        """Return the landscape of such a row: its numbers, its blob. Raises ValueError, TypeError."""
        *region, rows, columns = cells
        if min(rows, columns) < 2 or len(maps) != 2 * rows * columns * 4:
            raise ValueError("a landscape isn't of its size")
        left, right, bottom, top = map(float, region)
        if not (0 < right - left < math.inf and 0 < top - bottom < math.inf):
            raise ValueError("a landscape isn't anywhere")
        loss, sharpness = np.frombuffer(maps, dtype="<f4").reshape(2, rows, columns)
        return cls((left, right, bottom, top), loss, sharpness)
