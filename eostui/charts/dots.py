"""From curves to dots: the min–max envelope of every pixel column, and braille cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: A braille cell is 2 dots wide and 4 high.
DOTS_X, DOTS_Y = 2, 4
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint8)
_BRAILLE = 0x2800

#: A value beyond this is drawn nowhere: arithmetic on an axis that held it would overflow.
LARGEST = 1e150
#: In dots: how long a dash and its gap are.
_PATTERNS = {"dashed": (6, 4), "dotted": (2, 3)}


def envelope(
    x: FloatArray, y: FloatArray, left: float, right: float, columns: int
) -> tuple[FloatArray, FloatArray]:
    """Return what `extremes` does, with neighbouring columns joined to an unbroken curve."""
    low, high = extremes(x, y, left, right, columns)
    join(low, high)
    return low, high


@np.errstate(over="ignore", invalid="ignore")  # between values of which one isn't finite
def extremes(
    x: FloatArray, y: FloatArray, left: float, right: float, columns: int
) -> tuple[FloatArray, FloatArray]:
    """Return the least and greatest y in each of `columns` equal slices of [left, right].

    Nothing is skipped: an oscillation faster than a column shows as a band. Between points further
    apart than a column the line is interpolated; what isn't finite, or beyond LARGEST, is a gap. Cost:
    one pass over the visible y.

    Args:
        x: rising positions, shape (n,).
        y: values, shape (n,).
        left: left end of the range.
        right: right end of the range.
        columns: number of slices.

    Returns:
        lows and highs, each of shape (columns,), NaN where there is nothing to draw.
    """
    low = np.full(columns, np.nan)
    high = np.full(columns, np.nan)
    if not len(x) or not right > left:
        return low, high
    edges = np.linspace(left, right, columns + 1)
    bounds = np.searchsorted(x, edges)
    bounds[-1] = np.searchsorted(x, right, side="right")
    filled = np.diff(bounds) > 0
    if filled.any():
        starts = bounds[:-1][filled] - bounds[0]
        visible = y[bounds[0] : bounds[-1]]
        low[filled] = np.fmin.reduceat(visible, starts)
        high[filled] = np.fmax.reduceat(visible, starts)
        for column in np.flatnonzero((high >= LARGEST) | (low <= -LARGEST)).tolist():
            part = y[bounds[column] : bounds[column + 1]]
            part = part[np.abs(part) < LARGEST]
            low[column], high[column] = (part.min(), part.max()) if len(part) else (np.nan, np.nan)
    between = ~filled & (bounds[1:] > 0) & (bounds[1:] < len(x))
    if between.any():
        _interpolate(x, y, edges, bounds, between, low, high)
    return low, high


def _interpolate(
    x: FloatArray,
    y: FloatArray,
    edges: FloatArray,
    bounds: NDArray[np.intp],
    between: BoolArray,
    low: FloatArray,
    high: FloatArray,
) -> None:
    """Fill empty columns between two neighbouring points, if both are finite."""
    after = bounds[1:][between]
    centres = (edges[:-1] + edges[1:])[between] / 2
    before = after - 1
    gap = x[after] - x[before]
    share = np.divide(centres - x[before], gap, out=np.zeros_like(gap), where=gap > 0)
    line = y[before] + share * (y[after] - y[before])
    low[between] = high[between] = np.where(np.abs(line) < LARGEST, line, np.nan)


def join(low: FloatArray, high: FloatArray) -> None:
    """Let neighbouring columns touch: each reaches halfway to the other; shapes (…, columns)."""
    before, after = (..., slice(None, -1)), (..., slice(1, None))
    rising, falling = low[after] > high[before], high[after] < low[before]
    upward = np.where(rising, (low[after] + high[before]) / 2, np.nan)
    downward = np.where(falling, (high[after] + low[before]) / 2, np.nan)
    # fmin and fmax leave a column alone where there is nothing (NaN) to reach for
    high[before] = np.fmax(high[before], upward)
    low[after] = np.fmin(low[after], upward)
    low[before] = np.fmin(low[before], downward)
    high[after] = np.fmax(high[after], downward)


def spans(
    low: FloatArray, high: FloatArray, bottom: float, top: float, rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first and last dot row (from the top) of each column; empty where first > last."""
    scale = rows / (top - bottom)
    with np.errstate(invalid="ignore", over="ignore"):
        first = np.floor((top - high) * scale)
        last = np.floor((top - low) * scale)
    hidden = ~(np.isfinite(first) & np.isfinite(last)) | (last < 0) | (first > rows - 1)
    # the very top and bottom edges belong to the first and last row
    hidden &= ~((high == bottom) | (low == top))
    first = np.where(hidden, 1, np.clip(first, 0, rows - 1)).astype(np.int64)
    last = np.where(hidden, 0, np.clip(last, 0, rows - 1)).astype(np.int64)
    return first, last


def curve(first: NDArray[np.int64], last: NDArray[np.int64], rows: int, pattern: str) -> BoolArray:
    """Return the dots of a curve, shape (rows, columns): solid, dashed, dotted or stippled."""
    row = np.arange(rows)[:, None]
    dots: BoolArray = (row >= first) & (row <= last)
    column = np.arange(len(first))
    if pattern == "stippled":
        dots &= (row + column) % 2 == 0
    elif pattern in _PATTERNS:
        on, off = _PATTERNS[pattern]
        dots &= column % (on + off) < on
    return dots


def braille(dots: BoolArray) -> NDArray[np.uint32]:
    """Return the braille code points of dots; 0 where a cell is empty.

    Args:
        dots: shape (…, 4·height, 2·width).

    Returns:
        shape (…, height, width).
    """
    *others, rows, columns = dots.shape
    codes = np.zeros((*others, rows // DOTS_Y, columns // DOTS_X), dtype=np.uint8)
    for (down, along), bit in np.ndenumerate(_BITS):  # three times as fast as a sum over the cell
        codes |= dots[..., down::DOTS_Y, along::DOTS_X] * bit
    return np.where(codes > 0, codes + np.uint32(_BRAILLE), np.uint32(0))


def ascii_art(dots: BoolArray) -> NDArray[np.uint32]:
    """Return characters for terminals without Unicode: ' above, . below, | through."""
    first, second, third, fourth = np.moveaxis(np.any(_by_cell(dots), axis=-1), -2, 0)
    upper, lower = first | second, third | fourth
    codes = np.zeros(upper.shape, dtype=np.uint32)
    codes[upper] = ord("'")
    codes[lower] = ord(".")
    codes[upper & lower] = ord(":")
    codes[first & second & third & fourth] = ord("|")
    return codes


def cells(dots: BoolArray) -> BoolArray:
    """Return in which cells there are dots, shape (…, height, width)."""
    found: BoolArray = np.logical_or.reduce(_by_cell(dots), axis=(-3, -1))
    return found


def _by_cell(dots: BoolArray) -> BoolArray:
    *others, rows, columns = dots.shape
    return dots.reshape(*others, rows // DOTS_Y, DOTS_Y, columns // DOTS_X, DOTS_X)
