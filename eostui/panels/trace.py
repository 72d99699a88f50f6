"""tr H with its standard error."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.numbers import grouped
from eostui.charts.scales import Scale, linear_part
from eostui.panels.panel import Panel
from eostui.panels.view import RunView


def _chart(view: RunView, kind: str) -> Chart:
    if "hessian_trace" not in view.run.measured:
        return Chart([], Scale(kind), waiting=f"no trace: {view.way_to('hessian_trace')}")
    x, trace, error = view.readings("hessian_trace", "hessian_trace_error")
    curves = []
    if len(x):
        curves = [
            Curve(x, trace - error, "norm dim", "stippled", yields="flattening"),
            Curve(x, trace + error, "norm dim", "stippled", yields="flattening"),
            Curve(x, trace, "norm", label="tr H", sign="•", smooths=True),
        ]
    return Chart(curves, Scale(kind, linear_part(trace)), view.marks(), waiting=view.waiting())


def _title(view: RunView) -> tuple[str, ...]:
    if "hessian_trace_samples" not in view.run.measured:
        return ("trace of the Hessian tr H",)
    _, samples = view.readings("hessian_trace_samples")
    of = (f"of {grouped(int(samples[-1]))} training samples",) if len(samples) else ()
    return ("trace of the Hessian tr H", "± its standard error", *of)


_MEANING = """\
The sum of all eigenvalues of the Hessian, by Hutchinson's estimate, with its standard error (probe
hessian_trace). It is of as many training samples as the title says.
"""

TRACE = Panel(
    "trace",
    _title,
    ("linear", "log", "symlog"),
    _chart,
    meaning=_MEANING,
    columns=("hessian_trace", "hessian_trace_error"),
    probes=("hessian_trace",),
)
