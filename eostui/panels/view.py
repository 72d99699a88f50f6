"""A run with what is derived from it once and drawn many times, and the run that is laid under it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eostui.charts.chart import Curve, Mark
from eostui.charts.numbers import control
from eostui.runs.analysis.bounce import AT_READING, median_cosine
from eostui.runs.analysis.controls import coming_thresholds, is_of_theory
from eostui.runs.analysis.curvature_summary import BlockMedians, crossings
from eostui.runs.analysis.phases import BOUNCES, COLLAPSED, EDGE, LOWERED, Phase
from eostui.runs.analysis.run_phases import Span, recorded_spans
from eostui.runs.ancestry import forked_at
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.runs.store.schema import LIVE_STATES
from eostui.stability import (
    INTERVENTIONS,
    MOMENTUM,
    OTHER_STEP,
    SHARP_ABOVE,
    SHARP_STEP,
    STABILITY,
    THRESHOLD,
    UNDECAYED,
    Description,
    changed_to,
    intervenes,
)

#: Points of which `s` draws the median, each time more. Even: of what alternates it is the middle.
SMOOTHINGS = (20, 100, 500)
#: At which radii `B` draws the sharpness, where it was measured, each time another.
RADII = ("bounce", "all", "none")
#: What a threshold is called where its formula has no room beside a chart, and what that without decay.
EDGE_SHORT, NO_DECAY_SHORT = "edge", "λ=0"


class RunView:
    """A run with what is derived from it once and drawn many times, and the x axis in use.

    Attributes:
        newest: the run as it is now.
        run: what is drawn: the same, or what it was when the view was frozen.
        seen: that up to the right end of what is drawn. Whatever is said of a state belongs to this.
        state: its state, as a follower found it.
        at: the step that charts of one step alone are of: the crosshair's; None for the last in sight.
        flow_time: whether x is flow time; `toggle_axis` changes it.
        smoothing: of how many points medians are drawn over the raw curves, 0 for none.
        radii: at which the sharpness is drawn, one of RADII.
        overlay: another run, drawn under this one.
        write_key: writes a key of the live view by its id; None where nobody can press one.
        medians: running median of κ.
        phases: which steps each phase took.
        dynamics: what the run states about it: its controls, and what its thresholds are called.
    """

    def __init__(self, run: Run, state: str) -> None:
        self.state = state
        self.at: int | None = None
        self.flow_time = False
        self.smoothing = 0
        self.radii = RADII[0]
        self._smooth: dict[tuple[str, int], BlockMedians] = {}
        self.overlay: Overlay | None = None
        self.write_key: Callable[[str], str] | None = None
        self.medians = BlockMedians()
        self.phases: list[Span] = []
        self.dynamics = Description.of_facts(run.facts)
        self._frozen: Run | None = None
        self._crossings: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))
        self.update(run)

    def toggle_axis(self) -> None:
        """Take steps or flow time as x, for the overlay too."""
        self.flow_time = not self.flow_time
        self.lay_over(self.overlay)

    def switch_radii(self) -> None:
        """Draw the sharpness at other radii, of the overlay too."""
        self.radii = RADII[(RADII.index(self.radii) + 1) % len(RADII)]
        self.lay_over(self.overlay)

    def lay_over(self, overlay: Overlay | None) -> None:
        """Show another run under this one, on the same x axis; None takes it away."""
        self.overlay = overlay
        if overlay is not None:
            overlay.view.flow_time, overlay.view.radii = self.flow_time, self.radii
            if self.frozen != overlay.view.frozen:
                overlay.view.freeze(frozen=self.frozen)

    def update(self, run: Run) -> None:
        """Take in the rows that the run gained, or the same run at another step."""
        self.newest = run
        self.run = self.seen = self._frozen or run
        self.medians.update(self.run.steps[self.run.of_step("path_curvature")][:-1])
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

    def readings(self, *names: str) -> tuple[FloatArray, ...]:
        """Return the positions of what was measured of a column, the values there, and those of others.

        Steps at which other probes alone measured are left out: they would tear its curve.

        Args:
            names: of the column, and of others that are measured with it.
        """
        measured = self.run.measured
        columns = [self.x_measured, *(measured[name] for name in names)]
        known = ~np.isnan(columns[1])
        return tuple(columns if known.all() else (column[known] for column in columns))

    def smoothed(self, name: str, values: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """Return the medians of `smoothing` values each, and the row in the middle of each.

        Args:
            name: of the values, which grow at their end alone from call to call.
            values: shape (n,).
        """
        key = name, self.smoothing
        medians = self._smooth.setdefault(key, BlockMedians(self.smoothing))
        medians.update(values)
        return medians.rows, medians.medians

    def x_at(self, step: int) -> float:
        """Return the position of one step."""
        x = self.x
        return float(x[min(step, len(x) - 1)]) if len(x) else 0.0

    def step_at(self, x: float) -> int:
        """Return the step nearest to a position, 0 before the first."""
        positions = self.x
        after = int(np.searchsorted(positions, x))
        if not 0 < after < len(positions):
            return min(after, max(len(positions) - 1, 0))
        return after if positions[after] - x < x - positions[after - 1] else after - 1

    def marks(self) -> list[Mark]:
        """Return a mark for every fork and every change of a control, in the order of their steps."""
        symbols = {c.name: c.symbol for c in (*self.dynamics.controls, *INTERVENTIONS)}
        changes = [event for event in self.run.events if event.kind == "control"]
        texts, last = [], None
        for event in changes:
            text = _told(changed_to(event.payload), symbols)
            if (
                last is not None and (event.step, {*event.payload}) == last
            ):  # step after step: a warm-up
                texts[-1] = (texts[-1][0], f"⋯ {text}")
            else:
                texts.append((event.step, text))
            last = event.step + 1, {*event.payload}
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
        """Whether the newest reading was taken on the bounce."""
        return is_bouncing(self.newest)

    @property
    def of_theory(self) -> bool:
        """Whether the theory is derived for the run's dynamics."""
        return is_of_theory(self.dynamics)

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

    @property
    def live(self) -> bool:
        """Whether an engine may go on with the run."""
        return self.state in LIVE_STATES

    def thresholds(self) -> list[tuple[FloatArray, str, float | None]]:
        """Return the thresholds at every step: without decay and, if there is any, with it.

        Each has its label, and its value from the next step on, None where that is the newest row's: a
        control that was changed while the run waits, or by a fork, moves no step yet.
        """
        steps, dynamics = self.run.steps, self.dynamics
        coming = coming_thresholds(self.run)
        columns = [(UNDECAYED, dynamics.undecayed_label)]
        if steps["weight_decay"].any() or coming[UNDECAYED] != coming[THRESHOLD]:
            columns.append((THRESHOLD, dynamics.label))
        return [
            (steps[name], label, None if coming[name] in steps[name][-1:] else coming[name])
            for name, label in columns
        ]

    def threshold_curves(self) -> list[Curve]:
        """Return the thresholds as curves, the one that steps are stable up to last."""
        shorts = (NO_DECAY_SHORT, EDGE_SHORT)
        found = self.thresholds()
        return [
            Curve(
                self.x, values, "theory", "dashed", label,
                yields="far", extended=True, coming=coming, short=short,
            )
            for (values, label, coming), short in zip(found, shorts[-len(found) :], strict=True)
        ]  # fmt: skip

    def sharp_threshold(self) -> tuple[FloatArray, str] | None:
        """Return up to which sharpness the steps along the sharpest eigenvectors are stable, at every
        step, NaN where they are as all others or there are none; and its label. None if it is nowhere.

        Along them all that a step is made of is σ of itself, as by ση and σμ.
        """
        steps, stability = self.run.steps, STABILITY.get(self.dynamics.name)
        share = np.where(steps[SHARP_STEP.name] == 1, np.nan, steps[SHARP_STEP.name])
        share = np.where(share > 0, share, np.nan)
        if stability is None or not np.isfinite(share).any():
            return None
        scaled = {
            each.name: steps[each.name] * (share if each.name in ("eta", MOMENTUM.name) else 1)
            for each in stability.controls
        }
        return stability.threshold(scaled), self.dynamics.label.replace("η", "η_u")

    def way_to(self, *probes: str) -> str:
        """Return how a run gets these probes: by a key where it lives and one can press it, or a flag."""
        named = " or ".join(probes)
        if self.write_key is not None and self.live:
            return f"{self.write_key('probes')} turns on {named}"
        return f"--probe {named}"

    def waiting(self, *, measured: bool = True) -> str:
        """Return what a chart waits for, or that there is nothing to wait for.

        Args:
            measured: whether it is one of measurements, not of what every step has.
        """
        if not len(self.run.steps):
            return "waiting for the first step" if self.live else "no step was taken"
        if not measured:
            return "no finite value"
        return "measuring for the first time" if self.live else "nothing was measured"


def intervention(controls: Mapping[str, float], threshold: str) -> str:
    """Return what an intervention by these controls does, in words; "" where there is none.

    Args:
        controls: of a run, by name.
        threshold: what that of its dynamics is called.
    """
    if not intervenes(controls):
        return ""
    shares = " ".join(
        f"{share.symbol} {control(controls[share.name])}"
        for share in (SHARP_STEP, OTHER_STEP)
        if controls[share.name] != share.initial
    )
    above = controls[SHARP_ABOVE.name]
    bound = f"({threshold})" if above == 1 else f"{control(above)}·({threshold})"
    return f"{shares} for S > {bound}"


def _told(controls: Mapping[str, float], symbols: Mapping[str, str]) -> str:
    return " ".join(
        f"{symbols.get(name, name)}→{control(value)}" for name, value in controls.items()
    )


def _phase(run: Run) -> Phase | None:
    spans = recorded_spans(run.events, run.last_step)
    return spans[-1].phase if spans else None


def is_bouncing(run: Run) -> bool:
    """Return whether a run's newest reading was taken on the bounce: the steps up to it undo each other.

    On an older record, which has no cosines, whether its phase was an edge there.
    """
    known = np.isfinite(run.measured["sharpness"])
    at = int(run.measured["step"][known][-1]) if known.any() else 0
    if at < 2:  # it takes two steps to come back
        return False
    median = median_cosine(run.steps["step_cosine"][:at], AT_READING)
    return _phase(run.until(at)) in (EDGE, LOWERED) if math.isnan(median) else median < BOUNCES


@dataclass(frozen=True)
class Overlay:
    """A run that is drawn under another.

    Attributes:
        view: the other run.
        word: what it is to the run shown: parent, fork, run.
        parted: the step from which on they differ, None if they never were the same.
    """

    view: RunView
    word: str
    parted: int | None

    @classmethod
    def of(cls, run: Run, other: RunView) -> Overlay:
        """Return the overlay of `other` on `run`, with what they have in common."""
        own, theirs = forked_at(run), forked_at(other.run)
        name, other_name = run.path.name, other.run.path.name
        if own and own[0] == other_name:
            return cls(other, "parent", own[1])
        if theirs and theirs[0] == name:
            return cls(other, "fork", theirs[1])
        if own and theirs and own[0] == theirs[0]:
            return cls(other, "fork", min(own[1], theirs[1]))
        return cls(other, "run", None)
