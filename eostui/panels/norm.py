"""The norm of the parameters."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView


def _chart(view: RunView, kind: str) -> Chart:
    norm = view.run.steps["theta_norm"]
    curves = [Curve(view.x, norm, "norm", label="‖θ‖")] if len(norm) else []
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


NORM = Panel("norm", lambda _: ("‖θ‖",), ("linear", "log"), _chart, claims_place=lambda _: True)
