"""cos(Hv, Σv): how the covariance of the samples' gradients lies to the Hessian."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.numbers import grouped
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView

_COSINES = (
    ("noise_gauss_newton_cosine", "cool", "Gv", "▴"),
    ("noise_hessian_cosine", "sharpness", "Hv", "•"),
)


def _chart(view: RunView, kind: str) -> Chart:
    if "noise_trace" not in view.run.measured:
        return Chart([], Scale(kind), waiting=f"no noise: {view.way_to('noise')}")
    curves = []
    x, chance = view.readings("noise_turned_cosine")
    if len(x):
        curves.append(Curve(x, chance, "theory", "dashed", label="chance"))
    for column, colour, label, sign in _COSINES:
        x, mean, error = view.readings(column, f"{column}_error")
        if len(x):
            curves += [
                Curve(x, mean - error, f"{colour} dim", "stippled", yields="flattening"),
                Curve(x, mean + error, f"{colour} dim", "stippled", yields="flattening"),
                Curve(x, mean, colour, label=label, sign=sign),
            ]
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _title(view: RunView) -> tuple[str, ...]:
    if "noise_trace" not in view.run.measured:
        return ("cos(Hv, Σv), cos(Gv, Σv)",)
    _, directions = view.readings("noise_directions")
    if not len(directions):
        return ("cos(Hv, Σv), cos(Gv, Σv)",)
    return (
        "cos(Hv, Σv), cos(Gv, Σv)",
        f"mean of {grouped(int(directions[-1]))} v ± its standard error",
    )


_MEANING = """\
How the covariance Σ of the samples' gradients lies to the Hessian H, and to its Gauss–Newton part G:
the mean of cos(Hv, Σv) over Gaussian v (probe noise), 1 where Σ is a multiple of H. Chance is what it
would be if Σ's eigenvectors were turned at random. tr Σ and tr Σ/L are in the export.
"""

NOISE = Panel(
    "noise",
    _title,
    ("linear", "log"),
    _chart,
    meaning=_MEANING,
    columns=("noise_hessian_cosine", "noise_gauss_newton_cosine", "noise_turned_cosine"),
    probes=("noise",),
)
