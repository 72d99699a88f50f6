"""A long curve kept for drawing: at any width it gives few points with the same envelope."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eostui.charts.scales import FloatArray

_Float32 = NDArray[np.float32]

#: Values of one level that the next puts into one least and one greatest.
_FACTOR = 8
#: Blocks in each column of dots, at least: a block that reaches over its end shifts it by less than this
#: share of a dot.
_BLOCKS = 16
#: What is greater is drawn nowhere, as float32 can't hold it.
_LARGEST = 3e38


class Trace:
    """A curve in float32, with the least and greatest value of every 8, 64, 512 … points.

    Nothing is skipped: a single outlier among 1e6 points is drawn at every width.

    Attributes:
        left, right: the ends of x; NaN without a point.
    """

    def __init__(self, y: ArrayLike, x: ArrayLike | None = None, start: float = 0.0) -> None:
        """Keep a curve.

        Args:
            y: values, shape (n,); what isn't finite is a gap.
            x: rising positions, shape (n,); if left out start, start + 1, …, and no memory is taken.
            start: the first position then.
        """
        with np.errstate(over="ignore"):
            self._y = np.asarray(y, dtype=np.float32)
        gaps = ~(np.abs(self._y) < _LARGEST)
        if gaps.any():
            self._y = np.where(gaps, np.float32(np.nan), self._y)
        self._x = None if x is None else np.asarray(x, dtype=np.float32)
        self._start = start
        self._levels: list[tuple[int, _Float32, _Float32]] = []
        low = high = self._y
        block = 1
        while len(low) >= _FACTOR * _BLOCKS:
            whole = len(low) // _FACTOR * _FACTOR
            low = np.fmin.reduce(low[:whole].reshape(-1, _FACTOR), axis=1)
            high = np.fmax.reduce(high[:whole].reshape(-1, _FACTOR), axis=1)
            block *= _FACTOR
            self._levels.append((block, low, high))
        ends = self._at(np.array([0, len(self._y) - 1])) if len(self._y) else np.full(2, np.nan)
        self.left, self.right = ends.tolist()

    def __len__(self) -> int:
        return len(self._y)

    def points(self) -> tuple[FloatArray, FloatArray]:
        """Return all points: x and y, shape (n,) each."""
        return self._at(np.arange(len(self._y))), self._y.astype(np.float64)

    def within(self, left: float, right: float, dots: int) -> tuple[FloatArray, FloatArray]:
        """Return points of the stretch from `left` to `right`, with one beyond each end if there is one.

        In every column of dots they have the least and the greatest value of all points there; the
        first and last points are those of the curve.

        Args:
            left, right: the stretch.
            dots: columns of dots on which it is drawn.

        Returns:
            x, rising, and y, of one shape.
        """
        first, last = self._rows(left, right)
        fine = (last - first) / max(dots, 1) / _BLOCKS
        fitting = [level for level in self._levels if level[0] <= fine]
        if not fitting:
            return self._at(np.arange(first, last)), self._y[first:last].astype(np.float64)
        block, low, high = fitting[-1]
        begin, end = -(-first // block), min(last // block, len(low))
        starts = np.arange(begin, end) * block
        rows = np.concatenate(
            [
                np.arange(first, begin * block),
                np.stack([starts, starts + block - 1], axis=1).ravel(),
                np.arange(end * block, last),
            ]
        )
        values = np.concatenate(
            [
                self._y[first : begin * block],
                np.stack([low[begin:end], high[begin:end]], axis=1).ravel(),
                self._y[end * block : last],
            ]
        )
        return self._at(rows), values.astype(np.float64)

    def _rows(self, left: float, right: float) -> tuple[int, int]:
        """Return the first row of a stretch and the one after its last, one more on either side."""
        if self._x is None:
            first, last = np.ceil(left - self._start), np.floor(right - self._start) + 1
        else:
            first = np.searchsorted(self._x, np.float32(left), side="left")
            last = np.searchsorted(self._x, np.float32(right), side="right")
        count = len(self._y)
        return min(max(int(first) - 1, 0), count), max(min(int(last) + 1, count), 0)

    def _at(self, rows: NDArray[np.int64]) -> FloatArray:
        if self._x is None:
            return rows.astype(np.float64) + self._start
        positions: FloatArray = self._x[rows].astype(np.float64)
        return positions
