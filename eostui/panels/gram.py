"""λ₁(M) of the two-layer linear network beside S, and what of it the output layer drives."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale, linear_part
from eostui.panels.ntk import waiting_for
from eostui.panels.panel import Panel
from eostui.panels.view import RunView

_PROBE = "two_layer_linear"
_CURVES = (
    ("kernel_output_part", "‖A‖² part", "norm", "stippled", "◦"),
    ("kernel_v1", "v₁ᵀMv₁", "warm", "dashed", "▪"),
    ("kernel_largest", "λ₁(M)", "cool", "solid", "▴"),
)


def _gram(view: RunView, kind: str) -> Chart:
    curves = []
    if "kernel_largest" in view.run.measured:
        curves = view.threshold_curves()
        for column, label, colour, pattern, sign in _CURVES:
            x, values = view.readings(column)
            curves.append(Curve(x, values, colour, pattern, label, sign=sign))
        x, sharpness = view.readings("sharpness")
        curves.append(Curve(x, sharpness, "sharpness", label="S", sign="•"))
    return Chart(curves, Scale(kind), view.marks(), waiting=waiting_for(view, _PROBE))


def _residual(view: RunView, kind: str) -> Chart:
    if "output_residual" not in view.run.measured:
        return Chart([], Scale(kind), view.marks(), waiting=waiting_for(view, _PROBE))
    x, values = view.readings("output_residual")
    curves = [Curve(x, values, "warm", label="⟨F, D⟩", sign="▴", smooths=True)] if len(x) else []
    scale = Scale(kind, linear_part(values))
    return Chart(curves, scale, view.marks(), waiting=waiting_for(view, _PROBE))


GRAM = Panel(
    "gram",
    lambda _: ("λ₁(M)", "of the two-layer linear network"),
    ("linear", "log"),
    _gram,
    meaning="""\
The NTK of the two-layer linear network is M = (‖A‖²Σ + XᵀWᵀWX)/(mn), in closed form (--probe
two_layer_linear). λ₁(M) is S but for second derivatives of the outputs; v₁ is the leading eigenvector
of the data's Σ = XᵀX, and the ‖A‖² part is what the output layer drives of v₁ᵀMv₁ [REV].
""",
    columns=("kernel_largest", "kernel_v1", "kernel_output_part"),
    probes=(_PROBE,),
)

RESIDUAL = Panel(
    "residual",
    lambda _: ("outputs · residual ⟨F, D⟩", "below 0 ‖A‖² grows"),
    ("linear", "symlog"),
    _residual,
    meaning="""\
The outputs F of the two-layer linear network times its residual D = F − Y. To first order
‖A‖² changes by −(2η/n)⟨F, D⟩ in a step: below 0 the output layer grows, and S with it [REV].
""",
    columns=("output_residual", "output_norm_squared"),
    probes=(_PROBE,),
)
