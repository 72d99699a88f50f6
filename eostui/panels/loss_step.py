"""What every step does to the loss: the zigzag of the edge (WD, Fig. 9)."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale, linear_part
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.runs.series import FloatArray

#: So many values, evenly taken, say where symlog turns linear: of a long run no pass over all.
_SAMPLE = 4001


def _chart(view: RunView, kind: str) -> Chart:
    steps, column = view.run.steps, view.run.of_step("loss_step")
    curves = []
    if len(steps) > 1:
        ends, x = view.x[[0, -1]], view.x[:-1]  # what the newest step does isn't known yet
        curves.append(Curve(ends, np.zeros(2), "theory", "dashed", extended=True))
        if steps["weight_decay"].any() and not view.dynamics.batches:
            regularized = steps["loss_step_regularized"][:-1]
            curves.append(Curve(x, regularized, "cool", "stippled", "ΔLλ", yields="flattening"))
        curves.append(Curve(x, steps[column][:-1], "loss", label=_label(view)))
    scale = Scale(kind, linear_part(_some(steps[column])))
    return Chart(curves, scale, view.marks(), waiting=view.waiting(measured=False))


def _label(view: RunView) -> str:
    return "ΔLB" if view.dynamics.batches else "ΔL"


def _some(values: FloatArray) -> FloatArray:
    """Return values at even distances, odd ones: or a bounce would be seen from one side."""
    return values[:: len(values) // _SAMPLE | 1]


_MEANING = """\
ΔL = L(θ⁺) − L(θ), what each step does to the loss, and the same of Lλ where weights decay. symlog shows
both signs at any size: at the edge every other step goes up (zoom in: ‹span.in› or the wheel),
and the band stays about 0 while the loss falls in the long run. ΔLB, under mini-batches, is what a step
does to the loss of its own batch.
"""

LOSS_STEP = Panel(
    "steps",
    lambda view: (
        ("loss step ΔL", "regularized ΔLλ")
        if view.run.steps["weight_decay"].any() and not view.dynamics.batches
        else (f"loss step {_label(view)}",)
    ),
    ("symlog", "linear"),
    _chart,
    meaning=_MEANING,
    columns=("loss", "loss_regularized"),
)
