"""Sharpness and path curvature, against the thresholds."""

from __future__ import annotations

from collections.abc import Iterator

from eostui.charts.chart import Chart, Curve
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.runs.analysis.curvature_summary import collapsed_level
from eostui.runs.analysis.remarks import OF_TRUSTED, trusted_gradient

#: Columns of the sharpness at radii, with their labels, colours and signs; that of the bounce on top.
_AT_RADII = (
    ("sharpness_at_10_radii", "S10δ", "test", "◦"),
    ("sharpness_at_3_radii", "S3δ", "cool", "▪"),
    ("sharpness_at_tenth_radius", "S0.1δ", "warm", "✶"),
    ("sharpness_at_radius", "Sδ", "norm", "▴"),
)
#: Their names.
AT_RADII = tuple(column for column, *_ in _AT_RADII[::-1])


def _chart(view: RunView, kind: str) -> Chart:
    steps, measured = view.run.steps, view.run.measured
    x, values = view.readings("sharpness")
    sharpness = Curve(x, values, "sharpness", label="S", sign="•", smooths=True)
    if not len(sharpness.y) and view.live:  # the first reading is on its way
        return Chart([], Scale(kind), view.marks(), waiting=view.waiting())
    decays = steps["weight_decay"].any() and not view.dynamics.batches
    medians, curvature = view.medians, view.run.of_step("path_curvature")
    curves = [
        Curve(view.x, steps[curvature], "path spread", "stippled", ranged=False),
        Curve(view.x[medians.rows], medians.medians, "path", label=_kappa(view)),
    ]
    curves += view.threshold_curves()  # κ of a run at its edge lies along them, and would hide them
    if of_sharpest := view.sharp_threshold():
        limit, label = of_sharpest
        curves.append(Curve(view.x, limit, "theory", "dashed", label, yields="far"))
    if decays:
        rows, level = collapsed_level(steps, measured, view.off_the_bounce())
        x = view.x_measured[rows]
        curves.append(Curve(x, level, "theory", "dotted", "rest", ranged=False))
    if "batch_sharpness" in measured:
        x, values = view.readings("batch_sharpness")
        curves.append(Curve(x, values, "norm", label="SB", sign="▴"))
    curves += [*_at_radii(view), sharpness]
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _at_radii(view: RunView) -> Iterator[Curve]:
    """Yield the curves of S at radii, where it was measured and is to be drawn."""
    shown = {"bounce": _AT_RADII[-1:], "all": _AT_RADII, "none": ()}[view.radii]
    for column, label, colour, sign in shown:
        if column in view.run.measured:
            x, values = view.readings(column)
            if len(x):
                yield Curve(x, values, colour, label=label, sign=sign)


def _kappa(view: RunView) -> str:
    return "κB" if view.dynamics.batches else "κ"


def _title(view: RunView) -> tuple[str, ...]:
    whose = f" {OF_TRUSTED}" if trusted_gradient(view.run.facts) else ""
    labels = " ".join(curve.label for curve in _at_radii(view))
    at_radii = (f"at a radius {labels}",) if labels else ()
    operator = f" of {view.dynamics.operator}" if view.dynamics.operator else ""
    return (f"sharpness S{operator}{whose}", f"path curvature {_kappa(view)}", *at_radii)


_MEANING = """\
S is the largest eigenvalue of the Hessian ∇²L(θ), measured every few steps. Plain gradient descent
is stable on a quadratic while S < 2/η; with weight decay the limit is 2/η − λ (dashed; → before its
value: so from the next step on, which is still to be taken). "rest" (dotted) is where the drives of
a run that doesn't bounce would put S: S + βα/λ − g, the paper's collapsed level. κ is the path
curvature, the curvature each step really met: κ = ⟨∇L(θ⁺) − ∇L(θ), Δθ⟩ / ‖Δθ‖². Its spread over the
steps is stippled, its median a line. On ReLU networks with weight decay S may sink far below 2/η
while κ stays there: the run is still at its edge. Sδ, of runs with the probe `radius`, is the largest
curvature in any direction that two gradients a bounce apart tell of, ±δ from the step's middle with
δ = ‖Δθ‖/2; with the probe `radii` at 0.1δ, 3δ and 10δ too (‹radii›). It is no less than κ, and S where
L is quadratic over that distance. During an intervention (‹further.type›) steps along eigenvectors above
the bound are stable up to 2/η_u − λ (dashed too), at any S where they have length 0; all lines but that
one are still those of plain steps.
Dynamics that precondition their gradients by P have S and κ of P^-½HP^-½, against a threshold of their
own; the title says so. Under mini-batches S may stay below 2/η − λ all along: what that bounds is SB, the
mean curvature along batches' gradients (probe `batch_sharpness`), and κB is that of each step's batch.
"""

SHARPNESS = Panel(
    "sharpness",
    _title,
    ("linear", "log"),
    _chart,
    own_place=True,
    meaning=_MEANING,
    columns=("sharpness", "path_curvature", *AT_RADII),
)
