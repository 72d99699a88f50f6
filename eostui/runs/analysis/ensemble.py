"""Curves of several runs, such as of one setting and several seeds: their mean and deviation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eostui.runs.series import FloatArray

#: x and y of a curve, each of shape (n,).
Points = tuple[FloatArray, FloatArray]
#: Runs that a mean needs: one alone has no deviation.
LEAST_RUNS = 2


def mean_and_deviation(curves: Sequence[Points]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the mean of curves and their standard deviation on a common grid.

    The grid has every position that any of them has; where these have little in common, as many as the
    longest, evenly. Between its points a curve is interpolated, beyond its ends it is nothing: at each
    position those count that reach it, and where fewer than two do there is no mean.

    Returns:
        x, mean and deviation (n − 1 in its denominator), each of shape (n,), NaN where there is none.
    """
    curves = [curve for curve in curves if len(curve[0])]
    if not curves:
        return (np.empty(0),) * 3
    longest = max(len(x) for x, _ in curves)
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    if len(grid) > 2 * longest:
        grid = np.linspace(grid[0], grid[-1], longest)
    total, squares = np.zeros((2, len(grid)))
    count = np.zeros(len(grid), dtype=np.int64)
    values = [on_grid(curve, grid) for curve in curves]
    for each in values:
        known = np.isfinite(each)
        count += known
        total += np.where(known, each, 0.0)
    enough = count >= LEAST_RUNS
    mean = np.full(len(grid), np.nan)
    np.divide(total, count, out=mean, where=enough)
    for each in values:  # about the mean: a sum of squares less another loses all digits
        squares += np.where(np.isfinite(each) & enough, (each - mean) ** 2, 0.0)
    deviation = np.full(len(grid), np.nan)
    np.divide(squares, count - 1, out=deviation, where=enough)
    return grid, mean, np.sqrt(deviation)


def on_grid(curve: Points, grid: FloatArray) -> FloatArray:
    """Return a curve at the positions of a rising grid; NaN beyond its ends and in its gaps."""
    x, y = curve
    values = np.full(len(grid), np.nan)
    if not len(x):
        return values
    first = int(np.searchsorted(grid, x[0]))
    if np.array_equal(grid[first : first + len(x)], x):
        values[first : first + len(x)] = y
        return values
    inside = (grid >= x[0]) & (grid <= x[-1])
    values[inside] = np.interp(grid[inside], x, y)
    return values
