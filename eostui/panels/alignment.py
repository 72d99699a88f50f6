"""How the NTK is aligned with the target, plain and centred."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.ntk import samples_told, waiting_for
from eostui.panels.panel import Panel
from eostui.panels.view import RunView

_FORMS = (("full", "cool", "▴"), ("summed", "warm", "▪"), ("traced", "norm", "◦"))


def _chart(view: RunView, kind: str) -> Chart:
    curves = []
    for form, colour, sign in _FORMS:
        for column, pattern, label in (
            (f"ntk_{form}_centred_alignment", "dashed", f"c. {form}"),
            (f"ntk_{form}_alignment", "solid", form),
        ):
            if column in view.run.measured:
                x, values = view.readings(column)
                if len(x):
                    curves.append(Curve(x, values, colour, pattern, label, sign=sign))
    if not curves:
        return Chart([], Scale(kind), view.marks(), waiting=waiting_for(view, "ntk"))
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _title(view: RunView) -> tuple[str, ...]:
    if "ntk_full" not in view.run.measured:
        return ("alignment",)
    return ("alignment of the NTK with the target", f"on {samples_told(view)}")


_MEANING = """\
⟨K, YYᵀ⟩/(‖K‖ ‖YYᵀ‖) of the neural tangent kernel (--probe ntk) in its three forms with the target Y:
1 for a kernel that has the target alone in it. Dashed, c.: of both without their means over the
samples, which a kernel of positive entries and one-hot targets share in any case. The full form has
one row for each output and its target is one vector: its alignment is on another scale.
"""

ALIGNMENT = Panel(
    "alignment",
    _title,
    ("linear", "log"),
    _chart,
    meaning=_MEANING,
    columns=tuple(
        f"ntk_{form}{centred}_alignment" for form, *_ in _FORMS for centred in ("", "_centred")
    ),
    probes=("ntk",),
)
