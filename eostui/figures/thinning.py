"""Long curves as few points that look the same: a file of a million steps stays small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eostui.charts.dots import LARGEST
from eostui.charts.scales import FloatArray


def thinned(
    x: FloatArray, y: FloatArray, left: float, right: float, columns: int
) -> NDArray[np.int64]:
    """Return the rows of a curve that draw all that is seen of it on so many columns of pixels.

    Of each column of pixels these are its first and last point and its least and greatest value, as in
    Jugel, Jerzak, Hackenbroich and Markl, "M4: a visualization-oriented time series data aggregation",
    VLDB 2014; of a gap (what isn't finite) its first row; and the nearest point beyond either end.
    Nothing is made up: each point is one of the curve's.

    Args:
        x: rising positions, shape (n,).
        y: values, shape (n,).
        left, right: ends of the stretch.
        columns: of pixels.
    """
    first = max(int(np.searchsorted(x, left, side="left")) - 1, 0)
    last = min(int(np.searchsorted(x, right, side="right")) + 1, len(x))
    if last - first <= 2 * columns:
        return np.arange(first, last)
    known = np.abs(y[first:last]) < LARGEST
    ends = np.linspace(left, right, columns + 1)[1:-1]
    bounds = np.searchsorted(x[first:last], ends)
    bounds = np.unique(np.concatenate([[0], bounds, [last - first]]))
    rows: list[int] = []
    for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        values, finite = y[first + start : first + stop], known[start:stop]
        rows += (start, stop - 1)
        if not finite.all():
            rows.append(start + int(np.argmin(finite)))
        if finite.any():
            rows.append(start + int(np.argmin(np.where(finite, values, np.inf))))
            rows.append(start + int(np.argmax(np.where(finite, values, -np.inf))))
    return _without_repeats(y, first + np.unique(np.array(rows, dtype=np.int64)))


def _without_repeats(y: FloatArray, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Leave out what lies between two equal values, and has them too: a line needs its ends alone."""
    if len(rows) < 3:
        return rows
    same = y[rows][1:] == y[rows][:-1]
    kept: NDArray[np.bool_] = np.concatenate([[True], ~(same[1:] & same[:-1]), [True]])
    return rows[kept]


def alone(y: FloatArray) -> NDArray[np.int64]:
    """Return the places of values between two gaps: no line leads to them."""
    known = np.concatenate([[False], np.isfinite(y), [False]])
    return np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
