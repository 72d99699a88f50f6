"""g against the value beyond which the bounce can't live (WD's axis; MATH §3)."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale, linear_part
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.runs.analysis.curvature_summary import without_alternation


def _chart(view: RunView, kind: str) -> Chart:
    at, critical = view.readings("g_critical")
    x, g = view.readings("g")
    curves = []
    if len(critical):
        curves += [
            Curve(at, critical, "warm spread", "stippled", yields="flattening"),
            Curve(
                at, without_alternation(critical), "warm", "dashed", "g crit", yields="flattening"
            ),
        ]
    if len(g):
        curves.append(Curve(x, g, "cool", label="g"))
    return Chart(curves, Scale(kind, linear_part(g)), view.marks(), waiting=view.waiting())


def _title(view: RunView) -> tuple[str, ...]:
    critical = (
        "critical λ + βα/λ" if view.run.steps["weight_decay"].any() else "λ is 0: none critical"
    )
    return ("global interaction g", critical)


_MEANING = """\
g = ⟨θ, ∇S⟩, by which decay flattens, and λ + βα/λ: the reduced map has a bounce at its edge while g is
below it, and collapses below the edge where g is above. On the bounce itself the measured βα is forced
negative and so is that value: there it says nothing. There is none at λ = 0.
"""

COLLAPSE = Panel(
    "collapse", _title, ("linear", "symlog"), _chart, meaning=_MEANING, columns=("g", "g_critical")
)
