"""The largest eigenvalues of the Hessian, against the thresholds."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.config import MOST_EIGENVALUES
from eostui.panels.crosshair import nth
from eostui.panels.panel import Panel
from eostui.panels.view import RunView

#: Colours of the eigenvalues in turn, and what their points are where there are no colours.
_COLOURS = ("sharpness", "path", "warm", "norm", "test", "cool")
_SIGNS = "•▴▪✶◦▫"


def _chart(view: RunView, kind: str) -> Chart:
    columns = ["sharpness", *(f"eig_{n}" for n in range(2, MOST_EIGENVALUES + 1))]
    curves = []
    for index, column in enumerate(columns):
        x, values = view.readings(column)
        if len(x):
            colour, sign = (each[index % len(each)] for each in (_COLOURS, _SIGNS))
            label = nth("λ", index + 1)
            curves.append(Curve(x, values, colour, label=label, sign=sign))
    if curves:
        curves = [
            Curve(
                view.x,
                values,
                "theory",
                "dashed",
                label,
                yields="far",
                extended=True,
                coming=coming,
            )
            for values, label, coming in view.thresholds()
        ] + curves[::-1]
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


_MEANING = """\
The largest eigenvalues of the Hessian in falling order, as many as a run measures (`eigenvalues` of its
config); λ₁ is S.
Each that reaches a threshold (dashed) bounces along its own direction; two that cross change their names.
"""

EIGENVALUES = Panel(
    "eigenvalues",
    lambda _: ("eigenvalues λ₁, λ₂, …",),
    ("linear", "log"),
    _chart,
    meaning=_MEANING,
    columns=("sharpness", *(f"eig_{n}" for n in range(2, MOST_EIGENVALUES + 1))),
)
