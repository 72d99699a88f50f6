"""The stable reference, of the probe `flow`: S of a small-step flow beside the run's."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.numbers import compact
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView


def _chart(view: RunView, kind: str) -> Chart:
    if "flow_sharpness" not in view.run.measured:
        return Chart([], Scale(kind), view.marks(), waiting="no flow: --probe flow")
    x, of_flow = view.readings("flow_sharpness")
    if not len(x):
        where = view.run.config.flow_at
        begins = "when S reaches its threshold" if where == "edge" else f"at step {where}"
        return Chart([], Scale(kind), view.marks(), waiting=f"it begins {begins}")
    curves = view.threshold_curves()
    at, sharpness = view.readings("sharpness")
    curves.append(Curve(at, sharpness, "sharpness", label="S", sign="•"))
    curves.append(Curve(x, of_flow, "cool", label="S of flow", sign="▿"))
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _title(view: RunView) -> tuple[str, ...]:
    measured = view.run.measured
    told = "sharpness beside a small-step flow"
    if "flow_loss" not in measured or not np.isfinite(measured["flow_loss"]).any():
        return (told,)
    row = int(np.flatnonzero(np.isfinite(measured["flow_loss"]))[-1])
    loss = float(view.run.steps["loss"][int(measured["step"][row])])
    of_flow, apart = (float(measured[name][row]) for name in ("flow_loss", "flow_distance"))
    return (told, f"L {compact(loss)}, of flow {compact(of_flow)}", f"{compact(apart)} apart")


_MEANING = """\
From the step `flow_at` on (else the first reading of S at its threshold) a second θ goes on by
`flow_substeps` steps of η/`flow_substeps` for each step of the run: what the same network would do in
the same time, η·steps, with so small an η. It follows every change of η and λ, and no intervention. The
title has both losses, and how far the two are apart.
"""

FLOW = Panel(
    "flow",
    _title,
    ("linear", "log"),
    _chart,
    meaning=_MEANING,
    columns=("sharpness", "flow_sharpness", "loss", "flow_loss", "flow_distance"),
    probes=("flow",),
)
