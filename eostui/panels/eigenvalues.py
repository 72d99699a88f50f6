"""The largest eigenvalues of the Hessian, and the smallest, against the thresholds."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale, linear_part
from eostui.panels.crosshair import nth
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.runs.series import FloatArray
from eostui.runs.store.columns import AT_EDGE
from eostui.runs.store.columns import EIGENVALUES as COLUMNS

#: Colours of the eigenvalues in turn, and what their points are where there are no colours.
_COLOURS = ("sharpness", "path", "warm", "norm", "test", "cool")
_SIGNS = "•▴▪✶◦▫"


def _chart(view: RunView, kind: str) -> Chart:
    curves = []
    for index, (label, x, values) in enumerate(_tracked(view) or _by_rank(view)):
        colour, sign = (each[index % len(each)] for each in (_COLOURS, _SIGNS))
        curves.append(Curve(x, values, colour, label=label, sign=sign))
    if curves:
        curves = view.threshold_curves() + curves[::-1]
    if curves and (of_sharpest := view.sharp_threshold()):
        limit, label = of_sharpest
        curves.insert(0, Curve(view.x, limit, "theory", "dashed", label, yields="far"))
    x, smallest = view.readings("eig_min")
    if len(x):
        curves.append(Curve(x, smallest, "loss", label="λ min", sign="▿", yields="flattening"))
    scale = Scale(kind, linear_part(*(curve.y for curve in curves))) if curves else Scale(kind)
    return Chart(curves, scale, view.marks(), waiting=view.waiting())


def _by_rank(view: RunView) -> list[tuple[str, FloatArray, FloatArray]]:
    """Return the label, x and values of each eigenvalue in falling order."""
    found = []
    for rank, name in enumerate(COLUMNS, start=1):
        x, values = view.readings(name)
        if len(x):
            found.append((nth("λ", rank), x, values))
    return found


def _tracked(view: RunView) -> list[tuple[str, FloatArray, FloatArray]]:
    """Return the label, x and values of each direction; [] where they aren't told apart.

    A label is the rank that a direction has at the end of what is in sight: one that left the largest
    has none. Where it isn't among them its curve has a gap.
    """
    measured = view.run.measured
    if "tracked" not in measured:
        return []
    known = np.isfinite(measured["tracked"]).any(axis=1)
    x, values = view.x_measured[known], measured["tracked"][known]
    seen = int(np.searchsorted(measured["step"][known], view.seen.last_step, side="right"))
    last = values[seen - 1] if seen else np.full(values.shape[1], np.nan)
    falling = [int(number) for number in np.argsort(-last) if np.isfinite(last[number])]
    return [
        (nth("λ", falling.index(number) + 1) if number in falling else "", x, values[:, number])
        for number in np.flatnonzero(np.isfinite(values).any(axis=0)).tolist()
    ]


def _title(view: RunView) -> tuple[str, ...]:
    _, counts = view.readings("eigenvalues_at_edge")
    steps = view.run.measured["step"][np.isfinite(view.run.measured["eigenvalues_at_edge"])]
    seen = int(np.searchsorted(steps, view.seen.last_step, side="right"))
    at_edge = (f"{counts[seen - 1]:.0f} at the edge",) if seen else ()
    tracked = ("by direction",) if "tracked" in view.run.measured else ()
    return ("eigenvalues λ₁, λ₂, …", *at_edge, *tracked)


_MEANING = f"""\
The largest eigenvalues of the Hessian in falling order, as many as a run measures (`eigenvalues` of its
config); λ₁ is S. Each that reaches a threshold (dashed) bounces along its own direction; those from
{AT_EDGE:g} of it on are at the edge. Two that cross change their names, unless the probe
tracked_eigenvalues tells their directions apart: then a curve keeps its direction and colour, and its
label is the place that it has at the end of what is in sight. λ min is the smallest, where measured.
"""

EIGENVALUES = Panel(
    "eigenvalues",
    _title,
    ("linear", "log", "symlog"),
    _chart,
    meaning=_MEANING,
    columns=(*COLUMNS, "eig_min", "eigenvalues_at_edge"),
)
