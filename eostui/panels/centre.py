"""The prediction that lasts, of the probe `centre`: S at the bounce's centre beside the measured S."""

from __future__ import annotations

import math

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.numbers import percent
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView


def _chart(view: RunView, kind: str) -> Chart:
    measured = view.run.measured
    if "centre_sharpness" not in measured:
        return Chart(
            [], Scale(kind), view.marks(), waiting=f"no prediction: {view.way_to('centre')}"
        )
    x, predicted = view.readings("centre_sharpness")
    if not len(x):
        return Chart(
            [], Scale(kind), view.marks(), waiting="it begins when S reaches its threshold"
        )
    curves = view.threshold_curves()
    at, sharpness = view.readings("sharpness")
    curves.append(Curve(at, sharpness, "sharpness", label="S", sign="•"))
    at, met = view.readings("centre_secant")
    curves.append(Curve(at, met, "path", "stippled", "q", ranged=False))
    curves.append(Curve(x, predicted, "cool", label="S of c"))
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _title(view: RunView) -> tuple[str, ...]:
    measured = view.run.measured
    if "centre_way" not in measured or not np.isfinite(measured["centre_way"]).any():
        return ("prediction: centre and bounce",)
    row = int(np.flatnonzero(np.isfinite(measured["centre_way"]))[-1])
    way, off = (float(measured[name][row]) for name in ("centre_way", "centre_distance"))
    radius = float(measured["centre_radius"][row])
    # of the newest step it isn't known yet
    bounces = view.run.steps["bounce_norm"][: int(measured["step"][row]) + 1]
    bounce = next((float(each) for each in bounces[:-3:-1] if np.isfinite(each)), math.nan)
    return (
        "prediction: centre and bounce",
        f"off by {percent(off / way)} of its way" if way > 0 else "just begun",
        f"bounce {radius:.2g} for {bounce:.2g}",
    )


_MEANING = """\
From the first reading of S at its threshold on, centre c and radius ρ of the bounce are moved on by
themselves, by two gradients and a product a step, through every change of η and λ: S of c beside the S
that is measured, and q, the curvature that the predicted bounce meets (stippled). The title says how far
the predicted centre is from the run's, as a share of how far that has gone since.
"""

CENTRE = Panel(
    "centre",
    _title,
    ("linear", "log"),
    _chart,
    meaning=_MEANING,
    columns=("sharpness", "centre_sharpness", "centre_radius", "centre_distance", "centre_way"),
    probes=("centre",),
)
