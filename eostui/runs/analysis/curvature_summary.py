"""The running median of κ, the collapsed level, and where the drives cross below the edge (MATH §2)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eostui.runs.series import FloatArray, Series
from eostui.stability import THRESHOLD

#: Steps in each block of which κ's median is taken.
BLOCK = 25
#: Steps before a reading that tell whether it is taken on a bounce.
_STEPS_BEFORE = 10
#: Windows whose medians are taken at once.
_ROWS_AT_ONCE = 1000
#: A crossing counts when S and κ are below the threshold by more than these shares of it.
SHARPNESS_BELOW_EDGE = 0.05
PATH_BELOW_EDGE = 0.1


class BlockMedians:
    """Medians of a growing column over blocks of so many rows: each row is looked at once."""

    def __init__(self, block: int = BLOCK) -> None:
        self._block = block
        self._medians = Series(["row", "median"])
        self._shown = 0

    def update(self, values: FloatArray) -> None:
        """Take in the blocks of `values` (the whole column so far) that became complete.

        A column that is shorter than before, as of a run looked at earlier, has fewer blocks.
        """
        done, block = len(self._medians), self._block
        self._shown = complete = len(values) // block
        if complete > done:
            blocks = values[done * block : complete * block].reshape(-1, block)
            self._medians.append(
                len(blocks),
                {
                    "row": np.arange(done, complete) * block + (block - 1) // 2,
                    "median": np.median(blocks, axis=1),
                },
            )

    @property
    def rows(self) -> NDArray[np.int64]:
        """The middle row of each block."""
        return self._medians["row"][: self._shown].astype(np.int64)

    @property
    def medians(self) -> FloatArray:
        """The median of each block; NaN where the block has a NaN."""
        return self._medians["median"][: self._shown]


def running_median(values: FloatArray, rows: FloatArray, window: int = 4 * BLOCK) -> FloatArray:
    """Return at each of `rows` the median of the `window` values before it; NaN with none."""
    medians = np.full(len(rows), np.nan)
    at = rows.astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(values, (window, 0), constant_values=np.nan), window
    )
    for chunk in np.array_split(np.arange(len(at)), len(at) // _ROWS_AT_ONCE + 1):
        before = windows[at[chunk]]
        known = np.isfinite(before)
        whole = known.all(axis=1)
        medians[chunk[whole]] = np.median(before[whole], axis=1)
        for index in np.flatnonzero(known.any(axis=1) & ~whole):
            medians[chunk[index]] = np.median(before[index][known[index]])
    return medians


def without_alternation(values: FloatArray, columns: int = 50) -> FloatArray:
    """Return readings freed of what changes sign at every other one, and averaged for the eye.

    Weights 1, 4, 6, 4, 1 over neighbours (reflected at the ends) cancel an alternation exactly: at an
    odd cadence raw readings alternate with the phase of the bounce (MATH §8). Then a running mean over
    1/`columns` of the readings, centred.
    """
    if len(values) < 2:
        return values.copy()
    smooth = _convolve(values, np.array([1, 4, 6, 4, 1]) / 16)
    half = len(values) // columns // 2
    return _convolve(smooth, np.full(2 * half + 1, 1 / (2 * half + 1))) if half else smooth


def collapsed_level(
    steps: Series, measured: Series, off_the_bounce: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], FloatArray]:
    """Return where theory puts the sharpness if nothing bounces, and the measured rows of it.

    The fixed point x = 0 of the reduced map rests at S* + βα/λ − g (MATH §3). With its reference where
    S* = 2/η, this is the paper's 2/η + βα/λ − g (WD, Theorem B.1); here the reference is each reading,
    since the drives of a network that collapsed are known where it is, not at an edge that it never met.

    Args:
        steps: a run's columns of every step.
        measured: its measured columns.
        off_the_bounce: which readings aren't taken on the bounce, where βα is forced negative.

    Returns:
        The rows with λ > 0 at which the level lies between 0 and the threshold, and the levels, freed of
        what alternates between readings.
    """
    decay = measured["weight_decay"]
    rows = np.flatnonzero(off_the_bounce & (decay > 0) & np.isfinite(measured["beta_alpha"]))
    shift = measured["beta_alpha"][rows] / decay[rows] - measured["g"][rows]
    level = without_alternation(measured["sharpness"][rows] + shift)
    shown = (level > 0) & (level < _at_readings(steps, measured, THRESHOLD)[rows])
    return rows[shown], level[shown]


def _convolve(values: FloatArray, weights: FloatArray) -> FloatArray:
    return np.convolve(np.pad(values, len(weights) // 2, mode="reflect"), weights, mode="valid")


def crossings(steps: Series, measured: Series) -> NDArray[np.int64]:
    """Return the measured rows at which λg first reaches βα, below the edge only.

    On the edge the measured βα contains −½βx² and is forced negative (WD A.5): a crossing there says
    nothing. Below it, it is the paper's phase transition. One row at most for each stretch of constant
    controls.

    Args:
        steps: a run's columns of every step.
        measured: its measured columns.
    """
    # other probes may have measured between two readings of the drives
    known = np.flatnonzero(~np.isnan(measured["beta_alpha"]))
    beta_alpha, lambda_g = measured["beta_alpha"][known], measured["lambda_g"][known]
    threshold = _at_readings(steps, measured, THRESHOLD)[known]
    rows = _crossed(beta_alpha, lambda_g)
    rows = rows[_below_edge(steps, measured, known[rows], threshold[rows])]
    decay = measured["weight_decay"][known]
    stretch = np.cumsum(
        (np.diff(threshold, prepend=threshold[:1]) != 0) | (np.diff(decay, prepend=decay[:1]) != 0)
    )
    first = rows[np.unique(stretch[rows], return_index=True)[1]]
    return known[first]


class Balance(NamedTuple):
    """Where a run's own drives put the transition (MATH §2, §3.1), below the edge and before any bounce.

    Attributes:
        row: the measured row at which λg first reaches βα; None where it doesn't.
        critical: the least λ at which they would have balanced, g = λ + βα/λ: 0 where βα is negative by
            itself; NaN without a reading.
    """

    row: int | None
    critical: float


def balance(steps: Series, measured: Series, on_the_bounce: NDArray[np.bool_]) -> Balance:
    """Return where λg first reaches βα while the steps flow, and the λ at which it would have.

    Counted are readings below the threshold after steps that go on in each other's direction. βα is freed
    of its alternation: a bounce that is only beginning makes it one, and a reading alone may then lie
    below λg. The first readings are left out while βα is negative (WD A.5).

    Args:
        steps: a run's columns of every step.
        measured: its measured columns.
        on_the_bounce: which readings are taken on the bounce.
    """
    cosine = running_median(steps["step_cosine"], measured["step"], _STEPS_BEFORE)
    known = ~on_the_bounce & ~(cosine <= 0) & np.isfinite(measured["g"])
    with np.errstate(invalid="ignore"):
        known &= measured["sharpness"] < _at_readings(steps, measured, THRESHOLD)
        known &= np.cumsum(measured["beta_alpha"] > 0) > 0
    rows = np.flatnonzero(known & np.isfinite(measured["beta_alpha"]))
    beta_alpha, g = (
        without_alternation(measured["beta_alpha"][rows], len(rows) + 1),
        measured["g"][rows],
    )
    crossed = rows[_crossed(beta_alpha, measured["lambda_g"][rows])]
    with np.errstate(invalid="ignore", divide="ignore"):
        root = g**2 - 4 * beta_alpha
        critical = 2 * beta_alpha / (g + np.sqrt(root))  # of λ² − gλ + βα = 0, the smaller
    critical = critical[(g > 0) & (root >= 0)]
    return Balance(
        int(crossed[0]) if len(crossed) else None,
        max(float(critical.min()), 0.0) if len(critical) else math.nan,
    )


def _crossed(beta_alpha: FloatArray, lambda_g: FloatArray) -> NDArray[np.int64]:
    """Return the places at which λg reaches βα from below."""
    with np.errstate(invalid="ignore"):
        crossed = (beta_alpha[:-1] > lambda_g[:-1]) & (beta_alpha[1:] <= lambda_g[1:])
        return 1 + np.flatnonzero(crossed & (lambda_g[1:] > 0))


def _below_edge(
    steps: Series, measured: Series, rows: NDArray[np.int64], threshold: FloatArray
) -> NDArray[np.bool_]:
    """Return at which measured rows S and κ are below the threshold by their shares of it."""
    with np.errstate(invalid="ignore"):
        low = measured["sharpness"][rows] < (1 - SHARPNESS_BELOW_EDGE) * threshold
        kappa = running_median(steps["path_curvature"], measured["step"][rows])
        return np.asarray(low & ~(kappa >= (1 - PATH_BELOW_EDGE) * threshold))


def _at_readings(steps: Series, measured: Series, name: str) -> FloatArray:
    """Return a column of every step at the measured rows."""
    return steps[name][measured["step"].astype(np.int64)]
