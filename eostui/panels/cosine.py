"""The step cosine: whether every step undoes the one before it."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.runs.analysis.phases import BOUNCES


def _chart(view: RunView, kind: str) -> Chart:
    curves = []
    cosines = view.run.steps["step_cosine"][:-1]  # that of the newest step isn't known yet
    if np.isfinite(cosines).any():
        ends = view.x[[0, -1]]
        curves = [
            Curve(ends, np.full(2, BOUNCES), "theory", "dashed", "bounces <", extended=True),
            Curve(view.x[:-1], cosines, "path", label="cos"),
        ]
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting(measured=False))


_MEANING = f"""\
⟨Δθ_t, Δθ_{{t−1}}⟩/(‖Δθ_t‖‖Δθ_{{t−1}}‖) of every step with the one before it: 1 flows, −1 bounces. A run
whose median lies below {BOUNCES:g} (dashed) is called bouncing.
""".replace("-", "−")

COSINE = Panel(
    "cosine",
    lambda _: ("step cosine",),
    ("linear",),
    _chart,
    meaning=_MEANING,
    columns=("step_cosine",),
)
