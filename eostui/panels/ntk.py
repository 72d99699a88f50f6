"""The largest eigenvalue of the NTK beside S, in its three forms, and on the whole batch."""

from __future__ import annotations

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.runs.analysis.remarks import TURNED_OFF

#: Columns, with their labels, colours and signs; those of one probe together.
_CURVES = (
    ("ntk_traced", "traced", "norm", "◦"),
    ("ntk_summed", "summed", "warm", "▪"),
    ("ntk_full", "full", "cool", "▴"),
    ("ntk_batch", "batch", "path", "✶"),
)
_PROBES = ("ntk", "weyl")


def _chart(view: RunView, kind: str) -> Chart:
    measured = view.run.measured
    curves = []
    for column, label, colour, sign in _CURVES:
        if column in measured:
            x, values = view.readings(column)
            if len(x):
                curves.append(Curve(x, values, colour, label=label, sign=sign))
    if not curves:
        return Chart([], Scale(kind), view.marks(), waiting=waiting_for(view, *_PROBES))
    curves = view.threshold_curves() + curves
    x, sharpness = view.readings("sharpness")
    curves.append(Curve(x, sharpness, "sharpness", label="S", sign="•", smooths=True))
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def waiting_for(view: RunView, *probes: str) -> str:
    """Return why there is nothing to draw of any of these probes."""
    asked = [probe for probe in probes if probe in view.run.probes]
    if not asked:
        return f"no kernel: {view.way_to(*probes)}"
    for event in view.run.events:
        if event.kind == TURNED_OFF and event.payload.get("probe") in asked:
            return f"the probe {event.payload['probe']} was turned off"
    return view.waiting()


def samples_told(view: RunView) -> str:
    """Return on which samples the probe `ntk` measures."""
    config = view.run.config
    return f"{config.ntk_samples} {'training' if config.ntk_split == 'train' else 'test'} samples"


def _title(view: RunView) -> tuple[str, ...]:
    if "ntk_full" not in view.run.measured:
        return ("NTK λ₁(K)",)
    return ("NTK λ₁(K)", f"of {samples_told(view)}")


_MEANING = """\
The largest eigenvalue of the neural tangent kernel on some samples (--probe ntk), J = ∂f/∂θ: full is
JJᵀ/n, a row for every output of every sample; summed is the kernel of the sum of the outputs; traced
is that of all outputs, added up. They are different kernels on different scales. batch is the full
one on the whole batch (--probe weyl), whose eigenvalues are, for half squared error, those of the
Hessian without the second derivatives of the outputs: see the panel `weyl`.
"""

NTK = Panel(
    "ntk",
    _title,
    ("log", "linear"),
    _chart,
    meaning=_MEANING,
    columns=("ntk_full", "ntk_summed", "ntk_traced", "ntk_batch"),
    probes=("ntk", "weyl"),
)
