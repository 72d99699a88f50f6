"""What each chart shows: from the columns of a run to curves, marks and labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eostui.charts.numbers import control
from eostui.charts.picture import FLOW_TIME, STEPS, Chart, Curve, Mark, Spot
from eostui.charts.scales import Scale
from eostui.runs.analysis.bounce import AT_READING, median_cosine
from eostui.runs.analysis.curvature_summary import (
    BlockMedians,
    collapsed_level,
    crossings,
    without_alternation,
)
from eostui.runs.analysis.phases import BOUNCES, COLLAPSED, EDGE, LOWERED, Phase
from eostui.runs.analysis.remarks import OF_TRUSTED, trusted_gradient
from eostui.runs.analysis.run_phases import Span, recorded_spans
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.tui.calibration_panel import one_reference, oscillator, oscillator_title
from eostui.tui.overlay import Overlay, forked_at


class RunView:
    """A run with what is derived from it once and drawn many times, and the x axis in use.

    Attributes:
        newest: the run as it is now.
        run: what is drawn: the same, or what it was when the view was frozen.
        seen: that up to the right end of what is drawn. Whatever is said of a state belongs to this.
        state: its state, as a follower found it.
        flow_time: whether x is flow time; `toggle_axis` changes it.
        overlay: another run, drawn under this one.
        medians: running median of κ.
        phases: which steps each phase took.
    """

    def __init__(self, run: Run, state: str) -> None:
        self.state = state
        self.flow_time = False
        self.overlay: Overlay | None = None
        self.medians = BlockMedians()
        self.phases: list[Span] = []
        self._frozen: Run | None = None
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
            if self.frozen != overlay.view.frozen:
                overlay.view.freeze(frozen=self.frozen)

    def update(self, run: Run) -> None:
        """Take in the rows that the run gained, or the same run at another step."""
        self.newest = run
        self.run = self.seen = self._frozen or run
        self.medians.update(self.run.steps["path_curvature"][:-1])
        self.phases = recorded_spans(self.run.events, self.run.last_step)

    @property
    def frozen(self) -> bool:
        """Whether what is drawn stays as it is while the run goes on."""
        return self._frozen is not None

    def freeze(self, *, frozen: bool) -> None:
        """Let what is drawn, of the overlay too, stay as it is, or follow the run again."""
        self._frozen = self.newest.until(self.newest.last_step) if frozen else None
        self.update(self.newest)
        if self.overlay is not None:
            self.overlay.view.freeze(frozen=frozen)

    def look(self, right: float) -> None:
        """Take note of where x ends that is drawn: `seen`, of the overlay too, is the run up to there."""
        last = int(np.searchsorted(self.x, right, side="right")) - 1
        self.seen = self.run if last >= self.run.last_step else self.run.until(max(last, 0))
        if self.overlay is not None:
            self.overlay.view.look(right)

    @property
    def is_newest(self) -> bool:
        """Whether the run's newest step is within what is drawn."""
        return self.seen.last_step >= self.newest.last_step

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
        return _phase(self.newest)

    @property
    def bouncing(self) -> bool:
        """Whether the newest steps undo each other."""
        return is_bouncing(self.newest)

    def crossings(self) -> NDArray[np.int64]:
        """Return the measured rows at which the drives crossed below the edge."""
        if self._crossings[0] != len(self.run.measured):  # title and chart ask in every frame
            found = crossings(self.run.steps, self.run.measured)
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


def _phase(run: Run) -> Phase | None:
    spans = recorded_spans(run.events, run.last_step)
    return spans[-1].phase if spans else None


def is_bouncing(run: Run) -> bool:
    """Return whether a run's newest steps undo each other; on an older record, which has no cosines,
    whether its phase is an edge."""
    median = median_cosine(run.steps["step_cosine"], AT_READING)
    return _phase(run) in (EDGE, LOWERED) if math.isnan(median) else median < BOUNCES


@dataclass(frozen=True)
class Panel:
    """A chart's identity: its name, title, y scales in the order of the toggle, and its content.

    `title` is in parts, the most important first. `comparable` tells whether the same panel of another
    run can be laid under it.
    """

    name: str
    title: Callable[[RunView], tuple[str, ...]]
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
    counts = FLOW_TIME if view.flow_time else STEPS
    chart = replace(panel.build(view, kind), counts=counts)
    overlay = view.overlay
    if overlay is None or not chart.curves or not panel.comparable(view, overlay.view):
        return chart
    left = -math.inf if overlay.parted is None else view.x_at(overlay.parted)
    return overlay.lay_under(chart, panel.build(overlay.view, kind), left)


def _sharpness(view: RunView, kind: str) -> Chart:
    steps, measured = view.run.steps, view.run.measured
    sharpness = measured["sharpness"]
    decays = steps["weight_decay"].any()
    curves = []
    if len(sharpness):
        curves = [
            Curve(view.x, steps[name], "theory", "dashed", label, yields="far", extended=True)
            for name, label, shown in (
                ("two_over_eta", "2/η", True),
                ("stability_threshold", "2/η−λ", decays),
            )
            if shown
        ]
        curves.append(
            Curve(view.x, steps["path_curvature"], "path spread", "stippled", ranged=False)
        )
        medians = view.medians
        curves.append(Curve(view.x[medians.rows], medians.medians, "path", label="κ"))
        if decays:
            rows, level = collapsed_level(steps, measured, view.off_the_bounce())
            x = view.x_measured[rows]
            curves.append(Curve(x, level, "theory", "dotted", "rest", ranged=False))
        curves.append(Curve(view.x_measured, sharpness, "sharpness", label="S"))
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _loss(view: RunView, kind: str) -> Chart:
    steps, measured = view.run.steps, view.run.measured
    curves = []
    if len(steps):
        if steps["weight_decay"].any():
            values = steps["loss_regularized"]
            curves.append(Curve(view.x, values, "cool", "stippled", "Lλ", yields="flattening"))
        tested = np.isfinite(measured["test_loss"])
        if tested.any():
            x, values = view.x_measured[tested], measured["test_loss"][tested]
            curves.append(Curve(x, values, "test", "dotted", "test", yields="flattening"))
        curves.append(Curve(view.x, steps["loss"], "loss", label="L"))
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _drives(view: RunView, kind: str) -> Chart:
    measured = view.run.measured
    beta_alpha, lambda_g = measured["beta_alpha"], measured["lambda_g"]
    curves, spots = [], []
    if len(beta_alpha):
        smooth = without_alternation(beta_alpha)
        curves = [
            Curve(view.x_measured, beta_alpha, "warm spread", "stippled"),
            Curve(view.x_measured, smooth, "warm", label="βα"),
            Curve(view.x_measured, lambda_g, "cool", "dashed", "λg"),
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


def _sharpness_title(view: RunView) -> tuple[str, ...]:
    whose = f" {OF_TRUSTED}" if trusted_gradient(view.run.facts) else ""
    return (f"sharpness S{whose}", "path curvature κ")


def _drives_title(view: RunView) -> tuple[str, ...]:
    found = view.crossings()
    crossed = view.run.measured["step"][found[found < len(view.seen.measured)]]
    several = any(view.seen.measured["u_error"][-1:] > view.run.config.vector_tolerance)
    return (
        "drives βα, λg" + (" of one of several directions" if several else ""),
        *(f"crossed at step {int(step)}" for step in crossed[-1:]),
    )


def _norm(view: RunView, kind: str) -> Chart:
    norm = view.run.steps["theta_norm"]
    curves = [Curve(view.x, norm, "norm", label="‖θ‖")] if len(norm) else []
    return Chart(curves, Scale(kind), view.marks(), waiting=view.waiting())


def _loss_title(view: RunView) -> tuple[str, ...]:
    decays = view.run.steps["weight_decay"].any()
    return ("loss L", "regularized Lλ") if decays else ("loss L",)


PANELS = (
    Panel("sharpness", _sharpness_title, ("linear", "log"), _sharpness),
    Panel("drives", _drives_title, ("symlog", "linear"), _drives),
    Panel("loss", _loss_title, ("log", "linear"), _loss),
    Panel("norm", lambda _: ("‖θ‖",), ("linear", "log"), _norm),
    Panel("oscillator", oscillator_title, ("linear", "symlog"), oscillator, one_reference),
)
#: Two panels share the fourth place: the second takes it once there is a calibration.
NORM, OSCILLATOR = 3, 4
