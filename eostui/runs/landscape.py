"""Maps of the loss and the sharpness over the plane of a two-parameter problem."""

from __future__ import annotations

import zlib
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

    def to_row(self) -> tuple[Any, ...]:
        """Return the values of a row of `landscapes`, after its id."""
        maps = np.stack([self.loss, self.sharpness]).astype("<f4").tobytes()
        return (*self.region, *self.loss.shape, maps, zlib.crc32(maps))

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Landscape:
        """Return the landscape of such a row. Raises ValueError if it is damaged."""
        *region, rows, columns, maps, crc = row
        if zlib.crc32(maps) != crc or len(maps) != 2 * rows * columns * 4:
            raise ValueError("a landscape doesn't fit its checksum")
        loss, sharpness = np.frombuffer(maps, dtype="<f4").reshape(2, rows, columns)
        return cls((region[0], region[1], region[2], region[3]), loss, sharpness)
