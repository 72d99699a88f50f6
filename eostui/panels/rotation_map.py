"""Similarity of the span of the leading eigenvectors at two steps, over pairs of them (MATH §6)."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.charts.shades import SIGNS, Shades
from eostui.panels.panel import Panel
from eostui.panels.rotations import waiting
from eostui.panels.view import RunView
from eostui.runs.series import FloatArray


def _chart(view: RunView, kind: str) -> Chart:
    measured = view.run.measured
    if "map_step" not in measured:
        return Chart([], Scale(kind), waiting=waiting(view))
    rows = np.flatnonzero(~np.isnan(measured["map_step"][:, 0]))
    even = measured["step"][rows] % 2 == 0  # so are the steps with which it is compared
    rows = rows[even] if even.any() else rows
    if not len(rows):
        return Chart([], Scale(kind), waiting=waiting(view))
    last = float(view.x[-1])
    at = view.x_measured[rows]
    steps, values = measured["map_step"][rows], measured["map_span_similarity"][rows]
    found = ~np.isnan(steps)
    others = np.full(steps.shape, np.inf)
    others[found] = view.x[steps[found].astype(np.int64)]

    def shaded(x: FloatArray, y: FloatArray) -> FloatArray:
        shades = np.full((len(y), len(x)), np.nan)
        of_rows = np.searchsorted(at, x, side="right") - 1
        for column in np.flatnonzero((of_rows >= 0) & (x <= last)).tolist():
            row = of_rows[column]
            places = np.searchsorted(others[row], y, side="right") - 1
            known = (places >= 0) & (y <= at[row])
            shades[known, column] = values[row][places[known]]
        return shades

    diagonal = Curve(view.x[[0, -1]], view.x[[0, -1]], "theory", "dashed", "s = t", 0)
    return Chart([diagonal], Scale(kind), view.marks(), shades=Shades(shaded))


_MEANING = f"""\
Similarity, cos √(Σθ²/3) of the principal angles, of the span of the first three eigenvectors at step t
(along) with that at an earlier step s (up): {" ".join(SIGNS)} from 0 to 1. A bright wedge below the
dashed line is a stretch in which they stay; where a run turns away from its past, a column grows dark.
Steps s are spread over the run, at most 32 at a time, each cell having the last one at or below it, and
only pairs an even number of steps apart are drawn: the bounce would show in the others.
"""

ROTATION_MAP = Panel(
    "rotation_map",
    lambda _: ("rotation map: steps s", "similarity of spans at t and s", "even t − s"),
    ("linear",),
    _chart,
    comparable=lambda _, __: False,
    meaning=_MEANING,
    columns=("pinned_span_similarity",),
    probes=("rotations",),
)
