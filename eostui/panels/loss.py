"""The loss, the regularized loss and the test loss."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.stability import BATCH_LOSS


def _chart(view: RunView, kind: str) -> Chart:
    steps = view.run.steps
    curves = []
    if len(steps):
        at, losses = view.x, steps["loss"]
        if view.dynamics.batches:  # L is known where something is measured
            curves.append(Curve(at, steps[BATCH_LOSS], "path spread", "stippled", "LB"))
            known = np.isfinite(losses)
            at, losses = at[known], losses[known]
        elif steps["weight_decay"].any():
            values = steps["loss_regularized"]
            curves.append(Curve(at, values, "cool", "stippled", "Lλ", yields="flattening"))
        x, values = view.readings("test_loss")
        if len(x):
            curves.append(Curve(x, values, "test", "dotted", "test", yields="flattening"))
        curves.append(Curve(at, losses, "loss", label="L", smooths=True))
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting(measured=False))


def _title(view: RunView) -> tuple[str, ...]:
    if view.dynamics.batches:
        return ("loss L", "batch loss LB")
    decays = view.run.steps["weight_decay"].any()
    return ("loss L", "regularized Lλ") if decays else ("loss L",)


_MEANING = """\
L is the unregularised full-batch loss; its band is the oscillation, nothing is skipped.
Lλ = L + ½λ‖θ‖² is what descent with decay descends. Under mini-batches LB is that of each step's batch,
stippled, and L, of all samples, is had where something is measured.
"""

LOSS = Panel(
    "loss",
    _title,
    ("log", "linear"),
    _chart,
    own_place=True,
    meaning=_MEANING,
    columns=("loss", "loss_regularized", "test_loss"),
)
