"""Where u points in a diagonal net: along which of its parameters, and how a step turns it."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView

_CURVES = (
    ("orientation_closed", "closed form", "theory", "dashed", "▪"),
    ("orientation", "R", "sharpness", "solid", "•"),
    ("imbalance_growth", "γ", "warm", "stippled", "▴"),
)


def _chart(view: RunView, kind: str) -> Chart:
    if "orientation" not in view.run.measured:
        return Chart([], Scale(kind), waiting="no orientation: --probe diagonal_net")
    curves = []
    for column, label, colour, pattern, sign in _CURVES:
        x, values = view.readings(column)
        if len(x):
            curves.append(Curve(x, values, colour, pattern, label, sign=sign))
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


ORIENTATION = Panel(
    "orientation",
    lambda _: ("orientation of u", "R = |u_s/u_f|", "γ above 1: it turns to the sharp one"),
    ("log", "linear"),
    _chart,
    meaning="""\
Of a diagonal net (--probe diagonal_net): R is how much of u lies along the parameter of the smallest |θ|,
the sharpest one, over that along the largest. γ is by what a step multiplies b, with R = b + √(b² + 1) of
two parameters: above 1 u turns to the sharp parameter, below 1 away from it [INST].
""",
    columns=("orientation", "orientation_closed", "imbalance_growth"),
    probes=("diagonal_net",),
)
