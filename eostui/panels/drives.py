"""What sharpens, βα, against what decay flattens, λg (MATH §3)."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve, Spot
from eostui.charts.scales import Scale, linear_part
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.runs.analysis.curvature_summary import without_alternation


def _chart(view: RunView, kind: str) -> Chart:
    x, beta_alpha, lambda_g = view.readings("beta_alpha", "lambda_g")
    curves, spots = [], []
    if len(beta_alpha):
        smooth = without_alternation(beta_alpha)
        curves = [
            Curve(x, beta_alpha, "warm spread", "stippled"),
            Curve(x, smooth, "warm", label="βα", ranged=False, sign="▴"),
            Curve(x, lambda_g, "cool", "dashed", "λg"),
        ]
        for row in view.crossings():
            level = float(view.run.measured["lambda_g"][row])
            spots.append(Spot(float(view.x_measured[row]), level, "mark"))
    scale = Scale(kind, linear_part(beta_alpha, lambda_g))
    return Chart(curves, scale, view.marks(), spots, view.waiting())


def _title(view: RunView) -> tuple[str, ...]:
    found = view.crossings()
    crossed = view.run.measured["step"][found[found < len(view.seen.measured)]]
    several = view.seen.measured.newest("u_error") > view.run.config.vector_tolerance
    return (
        ("drives βα, λg" if view.of_theory else "drives βα, λg of plain descent")
        + (" of one of several directions" if several else ""),
        *(f"crossed at step {int(step)}" for step in crossed[-1:]),
    )


_MEANING = """\
To first order S⁺ − S ≈ η(βα − λg). βα = −⟨∇L, ∇S⟩ is the drive that sharpens, λg with
g = ⟨θ, ∇S⟩ the one with which decay flattens. Where they cross below the edge (✕) sharpening
stops before S reaches 2/η: the phase transition. On the edge itself the bounce swings βα up and down
(stippled); the line is freed of what alternates from reading to reading. All this is derived for
gradient descent: of other dynamics they are the drives that plain descent would have at these points.
"""

DRIVES = Panel(
    "drives",
    _title,
    ("symlog", "linear"),
    _chart,
    own_place=True,
    meaning=_MEANING,
    columns=("beta_alpha", "lambda_g"),
)
