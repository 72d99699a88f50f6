"""Curves of several runs on a common x: of groups, with bands, and differences from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eostui.charts.trace import Trace
from eostui.runs.analysis.ensemble import Points, on_grid


@dataclass(frozen=True)
class Line:
    """A curve of a comparison: of a run, or the mean of a group.

    Attributes:
        members: which runs, by their places.
        trace: the curve.
        band: of a mean, the mean less and plus the deviation.
    """

    members: tuple[int, ...]
    trace: Trace
    band: tuple[Trace, Trace] | None = None


def difference(curve: Points, baseline: Points) -> Points:
    """Return how far a curve lies above another, at its own positions; NaN where that one hasn't any."""
    return curve[0], curve[1] - on_grid(baseline, curve[0])


def filled(low: Trace, high: Trace, left: float, right: float, dots: int) -> Points:
    """Return points whose envelope fills a band, in the stretch from `left` to `right`.

    Each place has the lower and the upper end in turn, more than one place a column of dots.
    """
    places = np.linspace(max(left, low.left), min(right, low.right), 2 * dots + 1)
    if not len(low) or not places[-1] > places[0]:
        return np.empty(0), np.empty(0)
    ends = np.empty((len(places), 2))
    for column, trace in enumerate((low, high)):
        x, y = trace.within(left, right, dots)
        ends[:, column] = np.interp(places, x, y)
    return np.repeat(places, 2), ends.ravel()
