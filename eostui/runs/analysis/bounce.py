"""The step cosine over windows of steps: who bounces (MATH §2)."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from eostui.runs.analysis.curvature_summary import BLOCK
from eostui.runs.analysis.phases import BOUNCES, CONFIRM
from eostui.runs.series import FloatArray

#: Steps over which the newest median is taken: those in which a phase is confirmed.
WINDOW = CONFIRM * BLOCK
#: Steps over which it tells whether a reading was taken on the bounce.
AT_READING = 10


def median_cosine(cosines: FloatArray, window: int = WINDOW) -> float:
    """Return the median of the newest step cosines ; NaN without one.

    Args:
        cosines: at every step, shape (n,); NaN where there is none, as at the newest.
        window: how many steps to look back.
    """
    recent = cosines[-window - 1 :]
    recent = recent[np.isfinite(recent)][-window:]
    return float(np.median(recent)) if len(recent) else math.nan


def in_words(median: float) -> str:
    """Return what a median step cosine says: bouncing or not; "" where it isn't known."""
    if math.isnan(median):
        return ""
    return "bouncing" if median < BOUNCES else "not bouncing"


def median_cosines(x: FloatArray, cosines: FloatArray, edges: FloatArray) -> FloatArray:
    """Return the median step cosine in each slice of x; NaN where there is none.

    Args:
        x: rising positions, shape (n,).
        cosines: at them, shape (n,).
        edges: rising ends of the slices, shape (k + 1,).
    """
    bounds = np.searchsorted(x, edges)
    bounds[-1:] = np.searchsorted(x, edges[-1:], side="right")  # as in the charts
    medians = np.full(len(edges) - 1, np.nan)
    for index, (start, stop) in enumerate(pairwise(bounds.tolist())):
        part = cosines[start:stop]
        part = part[np.isfinite(part)]
        if len(part):
            medians[index] = np.median(part)
    return medians
