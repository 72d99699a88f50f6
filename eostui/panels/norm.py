"""The norm of the parameters."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView


def _chart(view: RunView, kind: str) -> Chart:
    norm = view.run.steps["theta_norm"]
    curves = [Curve(view.x, norm, "norm", label="‖θ‖", smooths=True)] if len(norm) else []
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting(measured=False))


_MEANING = """\
‖θ‖ over all parameters, and which assumptions of the theory hold now (see below). On the
bounce itself ∇L ⟂ u always fails and βα is forced negative, so neither can be judged there.
"""

NORM = Panel(
    "norm",
    lambda _: ("‖θ‖",),
    ("linear", "log"),
    _chart,
    claims_place=lambda _: True,
    meaning=_MEANING,
    columns=("theta_norm",),
)
