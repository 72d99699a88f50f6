"""How far S is from the NTK's largest eigenvalue, and how far it may be."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.ntk import waiting_for
from eostui.panels.panel import Panel
from eostui.panels.view import RunView


def _chart(view: RunView, kind: str) -> Chart:
    if "residual_norm" not in view.run.measured:
        waiting = waiting_for(view, "weyl")
        if view.run.config.loss == "cross-entropy":
            waiting = "of half squared error alone: cross-entropy has no such bound"
        return Chart([], Scale(kind), view.marks(), waiting=waiting)
    curves = []
    for column, colour, pattern, label, sign in (
        ("residual_norm", "theory", "dashed", "‖R‖₂", "▪"),
        ("weyl_gap", "cool", "solid", "gap", "▴"),
    ):
        x, values = view.readings(column)
        if len(x):
            curves.append(Curve(x, values, colour, pattern, label, sign=sign))
    return Chart(curves, Scale(kind), view.marks(), waiting=waiting_for(view, "weyl"))


_MEANING = """\
H = G + R: the Gauss–Newton matrix G has, for half squared error, the eigenvalues of the full neural
tangent kernel K on the whole batch (--probe weyl). So S is as near to λ₁(K) as ‖R‖₂ (dashed, Weyl), and
where ‖R‖₂ is small what bounds S bounds the kernel. For another form of K, on other samples, or for
another loss it isn't so.
"""

WEYL = Panel(
    "weyl",
    lambda _: ("Weyl", "|S − λ₁(K)| ≤ ‖R‖₂", "full form, whole batch"),
    ("log", "linear"),
    _chart,
    meaning=_MEANING,
    columns=("weyl_gap", "residual_norm"),
    probes=("weyl",),
)
