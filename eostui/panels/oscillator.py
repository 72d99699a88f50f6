"""The oscillator's panel: x and q of the network since its calibration, with their prediction."""

from __future__ import annotations

import numpy as np

from eostui.charts.chart import Chart, Curve, Mark
from eostui.charts.scales import Scale
from eostui.panels.panel import Panel
from eostui.panels.view import RunView
from eostui.runs.calibration import Calibration, in_noise
from eostui.runs.run import Run
from eostui.runs.series import FloatArray


def _chart(view: RunView, kind: str) -> Chart:
    """Return q and the two strands of √β x, which has q's unit, of the newest calibration."""
    calibrations = view.seen.calibrations
    rows = calibrations.rows
    if not len(rows):
        return Chart([], Scale(kind), waiting=_waiting(view))
    calibration = calibrations.seats[-1].calibration
    first = max(min(calibration.step - int(rows["step"][0]), len(rows) - 1), 0)
    x = view.x[int(rows["step"][first]) :][: len(rows) - first]
    limit = view.seen.steps["stability_threshold"][-len(x) :] - calibration.sharpness
    q = rows["q"][first:]
    curves = [
        Curve(x, limit, "theory", "dashed", view.dynamics.label, 0, ranged=False),
        *_strands(view, calibration, first),
        Curve(
            x,
            _parted(view, "q_predicted")[first:],
            "theory",
            "dotted",
            "predicted",
            0,
            ranged=False,
        ),
        Curve(x, q, "sharpness", label="q"),
    ]
    marks = [
        Mark(view.x_at(seat.step), f"θ*{seat.calibration.number}" if seat.at_reference else "seat")
        for seat in calibrations.seats
        if seat.calibration is calibration
    ]
    return Chart(curves, Scale(kind), marks)


def _one_reference(view: RunView, other: RunView) -> bool:
    """Return whether two runs have x and q of the same θ*: a fork that wasn't calibrated since."""
    own, theirs = view.seen.calibrations, other.seen.calibrations
    overlay = view.overlay
    if not own.seats or not theirs.seats or overlay is None or overlay.parted is None:
        return False
    calibration = own.seats[-1].calibration
    return calibration == theirs.seats[-1].calibration and calibration.step <= overlay.parted


def _strands(view: RunView, calibration: Calibration, first: int) -> list[Curve]:
    """Return √β x of even and of odd steps: the bounce changes its sign at every step."""
    rows = view.seen.calibrations.rows
    scale = float(np.sqrt(calibration.beta))
    start = int(rows["step"][first])
    curves = []
    for values, colour, pattern, measured in (
        (_parted(view, "x_predicted"), "theory", "dotted", False),
        (rows["x"], "norm", "solid", True),
    ):
        for parity in (0, 1):
            strand = scale * values[first + parity :: 2]
            x = view.x[start + parity :: 2][: len(strand)]
            label = "√β x" if measured and parity == 0 else ""
            curves.append(Curve(x, strand, colour, pattern, label, 0, ranged=measured))
    return curves


def _parted(view: RunView, name: str) -> FloatArray:
    """Return predictions with a gap where each starts anew: what jumps there isn't an orbit."""
    rows = view.seen.calibrations.rows
    values = rows[name].copy()
    for seat in view.seen.calibrations.seats:
        place = seat.step - int(rows["step"][0])
        values[place : place + 2] = np.nan  # one for each strand
    return values


def _title(view: RunView) -> tuple[str, ...]:
    """Return the panel's title: what is drawn, and for how long the prediction agrees."""
    return ("oscillator q, √β x", *_agreement(view, view.seen), "━ measured ┄ predicted")


def agreement(view: RunView) -> str:
    """Return for how long the newest prediction agrees, in words; "" without a calibration."""
    return ", ".join(_agreement(view, view.newest))


def _agreement(view: RunView, run: Run) -> list[str]:
    if not run.calibrations.seats:
        return []
    seat = run.calibrations.seats[-1]
    if seat.parted is None:
        return [f"agrees so far, {max(run.last_step - seat.step, 0)} steps"]
    told = [f"agreed for {seat.parted - seat.step} steps"]
    rows = run.calibrations.rows
    alpha = seat.calibration.alpha
    beyond = len(rows) and not in_noise(rows["x"][-1], alpha)
    if view.write_key is not None and run is view.newest and view.live and beyond:
        told.append(f"{view.write_key('reseat')} re-seats")
    return told


def _waiting(view: RunView) -> str:
    if len(view.run.calibrations):
        return "calibrated later than what is shown"
    if not view.of_theory:
        return f"derived for gradient descent, not for {view.dynamics.name}"
    if not view.live:
        return "this run wasn't calibrated"
    if view.run.config.calibrate_at == "auto":
        now = f"; {view.write_key('calibrate')}: now" if view.write_key is not None else ""
        return f"calibrates where S crosses {view.dynamics.label}{now}"
    if view.write_key is None:
        return "this run isn't calibrated yet"
    return f"press {view.write_key('calibrate')} to calibrate"


def _calibrated(view: RunView) -> bool:
    return len(view.run.calibrations) > 0


_MEANING = """\
‹calibrate› freezes θ*, u and ∇S; from there on x = ⟨u, θ − θ*⟩, whose sign the bounce turns at
every step (so two strands; times √β it has the unit of S), and q = ⟨∇S, θ − θ*⟩, to first order S − S*,
are drawn beside what the reduced map of the theory predicts (dotted) from the constants measured at θ*.
The map has one term more than the paper's: the curvature that moves x is S + D⁴x²/6, with D⁴ the fourth
derivative of L along u, by differences; 0 where kinks (ReLU) leave none, and in runs from before it.
They agree while S* + q and S stay within 2 % of S* of the prediction. At θ* x is 0 to rounding, so a
predicted hump is right in height and depth before it is right in time: once x is out of the noise,
‹reseat› restarts the prediction from the network's own x and q.
"""

OSCILLATOR = Panel(
    "oscillator",
    _title,
    ("linear", "symlog"),
    _chart,
    comparable=_one_reference,
    claims_place=_calibrated,
    meaning=_MEANING,
    columns=("q", "x"),
)
