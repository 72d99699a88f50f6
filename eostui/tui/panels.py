"""What each chart shows: from the columns of a run to curves, marks and labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eostui.runs.curvature_summary import (
    BlockMedians,
    collapsed_level,
    crossings,
    without_alternation,
)
from eostui.runs.phase_spans import Span, told_spans
from eostui.runs.phases import COLLAPSED, EDGE, LOWERED, Phase
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.tui.calibration_panel import one_reference, oscillator, oscillator_title
from eostui.tui.charts.picture import Chart, Curve, Mark, Spot
from eostui.tui.charts.scales import Scale
from eostui.tui.numbers import compact, control
from eostui.tui.overlay import Overlay, forked_at

#: A threshold further from the data than this factor would flatten the curves: it is then clipped.
_FAR = 4.0
#: The label of κ tells the median over so many blocks of steps.
_RECENT_BLOCKS = 8


class RunView:
    """A run with what is derived from it once and drawn many times, and the x axis in use.

    Attributes:
        run: what is shown.
        state: its state, as a follower found it.
        flow_time: whether x is flow time; `toggle_axis` changes it.
        overlay: another run, drawn under this one.
        medians: running median of κ.
        phases: which steps each phase took.
    """

    def __init__(self, run: Run, state: str) -> None:
        self.run = run
        self.state = state
        self.flow_time = False
        self.overlay: Overlay | None = None
        self.medians = BlockMedians()
        self.phases: list[Span] = []
        self._crossings: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))
        self.update(run)

    def toggle_axis(self) -> None:
        """Take steps or flow time as x, for the overlay too."""
        self.flow_time = not self.flow_time
        self.lay_over(self.overlay)

    def lay_over(self, overlay: Overlay | None) -> None:
        """Show another run under this one, on the same x axis; None takes it away."""
        self.overlay = overlay
        if overlay is not None:
            overlay.view.flow_time = self.flow_time

    def update(self, run: Run) -> None:
        """Take in the rows that the run gained, or the same run at another step."""
        self.run = run
        self.medians.update(self.run.steps["path_curvature"][:-1])
        self.phases = told_spans(self.run.events, self.run.last_step)

    @property
    def x(self) -> FloatArray:
        """Position of every step on the x axis: steps or flow time."""
        return self.run.steps["flow_time" if self.flow_time else "step"]

    @property
    def x_measured(self) -> FloatArray:
        """Position of every measured step."""
        return self.run.measured["flow_time" if self.flow_time else "step"]

    def x_at(self, step: int) -> float:
        """Return the position of one step."""
        x = self.x
        return float(x[min(step, len(x) - 1)]) if len(x) else 0.0

    def marks(self) -> list[Mark]:
        """Return a mark for every fork and every change of η or λ, in the order of their steps."""
        signs = {"eta": "η", "weight_decay": "λ"}
        texts = [
            (
                event.step,
                " ".join(f"{signs[key]}→{control(new)}" for key, (_, new) in event.payload.items()),
            )
            for event in self.run.events
            if event.kind == "control"
        ]
        for step in self._forks():
            changed = [text for at, text in texts if at == step]
            texts = [(at, text) for at, text in texts if at != step]
            texts.append((step, " ".join(["fork", *changed])))
        return [Mark(self.x_at(step), text) for step, text in sorted(texts)]

    def _forks(self) -> set[int]:
        """Return the steps at which this run and others were one."""
        own = forked_at(self.run)
        steps = {own[1]} if own else set()
        if self.overlay is not None and self.overlay.parted is not None:
            steps.add(self.overlay.parted)
        return steps

    @property
    def phase(self) -> Phase | None:
        """The present phase, None before the first."""
        return self.phases[-1].phase if self.phases else None

    @property
    def at_edge(self) -> bool:
        """Whether the present phase is an edge, lowered or not."""
        return self.phase in (EDGE, LOWERED)

    def crossings(self) -> NDArray[np.int64]:
        """Return the measured rows at which the drives crossed below the edge."""
        if self._crossings[0] != len(self.run.measured):  # title and chart ask in every frame
            found = crossings(self.run.measured, self.run.steps["path_curvature"])
            self._crossings = (len(self.run.measured), found)
        return self._crossings[1]

    def off_the_bounce(self) -> NDArray[np.bool_]:
        """Return which readings were taken off the bounce: collapsed, or at midpoints."""
        at = self.run.measured["step"]
        if self.run.config.reading == "midpoint":
            return np.ones(len(at), dtype=np.bool_)
        off = np.zeros(len(at), dtype=np.bool_)
        for phase, first, last in self.phases:
            if phase is COLLAPSED:
                off |= (at >= first) & (at <= last)
        return off

    def waiting(self) -> str:
        """Return what a chart of measurements waits for."""
        if not len(self.run.steps):
            return "waiting for the first step"
        return "measuring for the first time"


@dataclass(frozen=True)
class Panel:
    """A chart's identity: its name, title, y scales in the order of the toggle, and its content.

    `comparable` tells whether the same panel of another run can be laid under it.
    """

    name: str
    title: Callable[[RunView], str]
    scales: tuple[str, ...]
    build: Callable[[RunView, str], Chart]
    comparable: Callable[[RunView, RunView], bool] = lambda _, __: True


def chart_of(panel: Panel, view: RunView, kind: str) -> Chart:
    """Return what a panel shows of a run, with the run that is laid under it.

    Args:
        panel: which.
        view: the run.
        kind: of the y scale.
    """
    chart = panel.build(view, kind)
    overlay = view.overlay
    if overlay is None or not chart.curves or not panel.comparable(view, overlay.view):
        return chart
    left = -math.inf if overlay.parted is None else view.x_at(overlay.parted)
    return overlay.lay_under(chart, panel.build(overlay.view, kind), left)


def _sharpness(view: RunView, kind: str) -> Chart:
    steps, measured = view.run.steps, view.run.measured
    sharpness = measured["sharpness"]
    medians = view.medians
    curves = []
    if len(steps):
        largest = np.nanmax(sharpness) if len(sharpness) else math.nan
        for name, label, colour in (
            ("two_over_eta", "2/η", "theory"),
            ("stability_threshold", "2/η−λ", "theory"),
        ):
            values = steps[name]
            near = not values[-1] > _FAR * largest
            if name == "stability_threshold" and not steps["weight_decay"].any():
                continue
            text = f"{label} {compact(values[-1])}" + ("" if near else " ↑")
            curves.append(Curve(view.x, values, colour, "dashed", text, ranged=near, extended=True))
        curves.append(
            Curve(view.x, steps["path_curvature"], "path spread", "stippled", ranged=False)
        )
        if len(medians.medians):
            last = float(np.nanmedian(medians.medians[-_RECENT_BLOCKS:]))
            x = view.x[medians.rows]
            curves.append(Curve(x, medians.medians, "path", label=f"κ {compact(last)}"))
    if steps["weight_decay"].any():
        rows, level = collapsed_level(measured, view.off_the_bounce())
        if len(rows):
            label = f"rest {compact(level[-1])}"
            x = view.x_measured[rows]
            curves.append(Curve(x, level, "theory", "dotted", label, ranged=False))
    if len(sharpness):
        label = f"S {compact(sharpness[-1])}"
        curves.append(Curve(view.x_measured, sharpness, "sharpness", label=label))
    if not len(sharpness):
        curves = []
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _loss(view: RunView, kind: str) -> Chart:
    steps, measured = view.run.steps, view.run.measured
    curves = []
    if len(steps):
        regularized = steps["loss_regularized"]
        if steps["weight_decay"].any():
            label = f"Lλ {compact(regularized[-1])}"
            curves.append(Curve(view.x, regularized, "cool", "stippled", label))
        tested = np.isfinite(measured["test_loss"])
        if tested.any():
            values = measured["test_loss"][tested]
            x = view.x_measured[tested]
            curves.append(Curve(x, values, "test", "dotted", f"test {compact(values[-1])}"))
        label = f"L {compact(steps['loss'][-1])}"
        curves.append(Curve(view.x, steps["loss"], "loss", label=label))
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _drives(view: RunView, kind: str) -> Chart:
    measured = view.run.measured
    beta_alpha, lambda_g = measured["beta_alpha"], measured["lambda_g"]
    curves, spots = [], []
    if len(beta_alpha):
        smooth = without_alternation(beta_alpha)
        curves = [
            Curve(view.x_measured, beta_alpha, "warm spread", "stippled"),
            Curve(view.x_measured, smooth, "warm", label=f"βα {compact(smooth[-1])}"),
            Curve(view.x_measured, lambda_g, "cool", "dashed", f"λg {compact(lambda_g[-1])}"),
        ]
        for row in view.crossings():
            spots.append(Spot(float(view.x_measured[row]), float(lambda_g[row]), "mark"))
    scale = Scale(kind, _linear_part(beta_alpha, lambda_g))
    return Chart(curves, scale, view.marks(), spots, view.waiting())


def _linear_part(*columns: FloatArray) -> float:
    """Return a power of ten below most values: where symlog turns linear."""
    sizes = np.abs(np.concatenate(columns))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not len(sizes):
        return 1.0
    return float(10.0 ** math.floor(math.log10(np.quantile(sizes, 0.25))))


def _drives_title(view: RunView) -> str:
    measured = view.run.measured
    found = view.crossings()
    title = "drives βα, λg"
    if any(measured["u_error"][-1:] > view.run.config.vector_tolerance):
        title += " of one of several directions"
    if len(found):
        title += f" · crossed at step {int(measured['step'][found[-1]])}"
    return title


def _norm(view: RunView, kind: str) -> Chart:
    norm = view.run.steps["theta_norm"]
    curves = []
    if len(norm):
        curves = [Curve(view.x, norm, "norm", label=f"‖θ‖ {compact(norm[-1])}")]
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _loss_title(view: RunView) -> str:
    steps = view.run.steps
    return "loss L · regularized Lλ" if steps["weight_decay"].any() else "loss L"


PANELS = (
    Panel("sharpness", lambda _: "sharpness S · path curvature κ", ("linear", "log"), _sharpness),
    Panel("drives", _drives_title, ("symlog", "linear"), _drives),
    Panel("loss", _loss_title, ("log", "linear"), _loss),
    Panel("norm", lambda _: "‖θ‖", ("linear", "log"), _norm),
    Panel("oscillator", oscillator_title, ("linear", "symlog"), oscillator, one_reference),
)
#: Two panels share the fourth place: the second takes it once there is a calibration.
NORM, OSCILLATOR = 3, 4
