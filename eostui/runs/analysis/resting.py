"""What a run reads at rest: a column's value over its last steps, with the error of that value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.stability import THRESHOLD

#: Batches whose means give the error: successive values aren't independent, means of many nearly are.
BATCHES = 8
#: Readings that an error takes at least.
_LEAST = 4
#: Columns of which the median is told, not the mean: κ of a single step may be anything.
_MEDIAN = ("path_curvature",)


@dataclass(frozen=True)
class Resting:
    """A reading over the last steps of a run.

    Attributes:
        value: the mean, of κ the median; NaN if nothing was read there.
        error: its standard error from the means of batches; NaN where the readings are too few.
        count: readings.
    """

    value: float = math.nan
    error: float = math.nan
    count: int = 0


def resting(run: Run, name: str, first: int) -> Resting:
    """Return a column over the last steps of a run, whether it rests there or not.

    Args:
        run: of any state.
        name: of a column of its steps or of its measured ones, a number a row.
        first: the first of these steps, as of `rest_outcome`.
    """
    return resting_of(late(run, name, first), median=name in _MEDIAN)


def late(run: Run, name: str, first: int) -> FloatArray:
    """Return a column's values from a step on, shape (n,); none where the run has no such column."""
    if name in run.steps:
        return run.steps[name][first:]
    if name in run.measured:
        return run.measured[name][run.measured["step"] >= first]
    return np.empty(0)


def resting_of(values: FloatArray, *, median: bool = False) -> Resting:
    """Return the mean, or the median, of values in their order, with its standard error.

    The error is that of the mean of `BATCHES` batches: each of an even number of values, for on the
    bounce they alternate, and long, for neighbours tell much the same. Values left over by the
    batches, at the beginning, count for the mean alone.

    Args:
        values: shape (n,); those that aren't finite are left out.
        median: whether the median is taken, of all and in each batch.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return Resting()
    middle = np.median if median else np.mean
    value = float(middle(values))
    size = len(values) // BATCHES // 2 * 2
    count = BATCHES
    if not size and len(values) >= _LEAST:  # pairs, as many as there are
        size, count = 2, len(values) // 2
    if not size:
        return Resting(value, math.nan, len(values))
    batches = middle(values[-size * count :].reshape(count, size), axis=1)
    return Resting(value, float(np.std(batches, ddof=1) / math.sqrt(count)), len(values))


def onset(run: Run) -> int | None:
    """Return the first measured step at which S reaches the threshold, None if it never does."""
    measured = run.measured
    at = measured["step"].astype(np.int64)
    reached = np.flatnonzero(measured["sharpness"] >= run.steps[THRESHOLD][at])
    return int(at[reached[0]]) if len(reached) else None
