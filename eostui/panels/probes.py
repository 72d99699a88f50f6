"""What the user's own probes of a run measured: a curve for each of their scalar columns."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale, linear_part
from eostui.panels.panel import Panel
from eostui.panels.view import RunView

#: Colours of the curves, in turn, and what their points are where there are no colours.
_COLOURS = ("sharpness", "cool", "warm", "path", "test", "norm", "loss")
_SIGNS = "•▴▪✶◦▫+"


def _chart(view: RunView, kind: str) -> Chart:
    curves = []
    for index, column in enumerate(view.run.own_scalars):
        x, values = view.readings(column.name)
        if len(x):
            colour, sign = (each[index % len(each)] for each in (_COLOURS, _SIGNS))
            curves.append(Curve(x, values, colour, label=column.name, sign=sign, smooths=True))
    scale = Scale(kind, linear_part(*(curve.y for curve in curves))) if curves else Scale(kind)
    waiting = (
        view.waiting() if view.run.own_scalars else "no probe of your own: --probe FILE.py:CLASS"
    )
    return Chart(curves, scale, view.marks(), waiting=waiting)


def _title(view: RunView) -> tuple[str, ...]:
    named = (
        f"{each.name} [{each.unit}]" if each.unit else each.name for each in view.run.own_scalars
    )
    return ("own probes", *named)


def _claims(view: RunView) -> bool:
    """Where theory's prediction is laid over the run, that has the place."""
    return bool(view.run.own_scalars) and not len(view.run.calibrations)


_MEANING = """\
What probes of your own measured (--probe FILE.py:CLASS), each column that is one number as a curve.
Columns that are arrays are in the export.
"""

PROBES = Panel(
    "probes",
    _title,
    ("linear", "symlog", "log"),
    _chart,
    claims_place=_claims,
    meaning=_MEANING,
)
