"""Whether S is at rest over a window of the newest steps: only then are its readings resting values.

Over the last `rest_window` steps no control changed and the phase was one of rest throughout; S was
measured in them at least `LEAST_READINGS` times; its mean is known to `rest_drift` of itself (the error
is that of means of batches, see `resting`); and the means of the window's quarters, of halves where the
readings are few, differ by no more than `rest_drift` of it, or than three errors of that difference.
By this test a run ends (`stop_at = "rest"`), and by it every summary and comparison tells.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from eostui.config import RunConfig
from eostui.runs.analysis.controls import controls_of
from eostui.runs.analysis.phases import COLLAPSED, CONVERGED_PHASE, EDGE, LOWERED
from eostui.runs.analysis.resting import Resting, resting_of
from eostui.runs.analysis.run_phases import Span, spans
from eostui.runs.analysis.stops import REACHED
from eostui.runs.run import Run
from eostui.runs.series import FloatArray, Series
from eostui.stability import INTERVENTIONS, Control
from eostui.stop_condition import REST

#: Phases in which a run can rest.
PHASES_OF_REST = (EDGE, LOWERED, COLLAPSED, CONVERGED_PHASE)
#: Readings of S that a window must have at least: each half needs an error of its own.
LEAST_READINGS = 8
#: Parts of a window are halves below so many readings, then quarters.
QUARTERS_FROM = 16
#: A difference between parts counts once it is beyond so many standard errors.
ERRORS = 3.0
_NAMES = tuple(phase.name for phase in PHASES_OF_REST)


def not_level(sharpness: FloatArray, drift: float) -> str:
    """Return why S isn't at rest by its readings in a window, shape (n,), in their order; "" if it is.

    Args:
        sharpness: readings of S, all finite.
        drift: share of the mean, of `rest_drift`.
    """
    if len(sharpness) < LEAST_READINGS:
        return f"S was measured {len(sharpness)} times, fewer than {LEAST_READINGS}"
    count = 4 if len(sharpness) >= QUARTERS_FROM else 2
    size = len(sharpness) // count // 2 * 2  # even: S alternates on the bounce
    level = resting_of(sharpness)
    parts = [resting_of(part) for part in np.split(sharpness[-size * count :], count)]
    allowed = drift * abs(level.value)
    if not level.error <= allowed:
        return (
            f"S is {level.value:.4g} ± {level.error:.2g}, known no better than to {drift:g} of it"
        )
    for older, newer in itertools.combinations(parts, 2):
        noise = ERRORS * math.hypot(older.error, newer.error)
        if not abs(newer.value - older.value) <= max(allowed, noise):
            return f"S goes from {older.value:.4g} to {newer.value:.4g}"
    return ""


class RestWatch:
    """The test as a run goes on: it is told each reading of S, and looks at nothing later.

    Attributes:
        why: why the run isn't at rest, by the newest reading; "" if it is.
    """

    def __init__(self, window: int, drift: float) -> None:
        """Take the settings `rest_window` and `rest_drift`."""
        self._window, self._drift = window, drift
        self._readings: deque[tuple[int, float]] = deque()
        self._since: int | None = None  # the first step of an unbroken phase of rest
        self.why = "S wasn't measured yet"

    @classmethod
    def of(cls, config: RunConfig) -> RestWatch:
        """Return that of a run at its start."""
        return cls(config.rest_window, config.rest_drift)

    def read(self, step: int, sharpness: float, phase: str | None, changed_at: int) -> bool:
        """Take in a reading of S; return whether the run is at rest.

        Args:
            step: at which it was taken.
            sharpness: S.
            phase: the name of the phase that is known then.
            changed_at: the step from which on the controls have been what they are.
        """
        first = step - self._window + 1
        self._readings.append((step, sharpness))
        while self._readings[0][0] < first:
            self._readings.popleft()
        if phase not in _NAMES:
            self._since = None
            self.why = f"its phase is {phase or 'not known yet'}"
            return False
        if self._since is None:
            self._since = step
        if max(self._since, changed_at) > first:
            since, what = max(
                (self._since, f"its phase is {phase}"), (changed_at, "its controls are what they are")
            )  # fmt: skip
            self.why = (
                f"{what} since step {since} alone, in less than the last {self._window} steps"
            )
            return False
        values = np.array([each for _, each in self._readings])
        why = not_level(values, self._drift)
        self.why = f"{why} in the last {self._window} steps" if why else ""
        return not why

    def state(self) -> dict[str, Any]:
        """Return the readings of the window."""
        return {
            "steps": [step for step, _ in self._readings],
            "sharpness": [value for _, value in self._readings],
            "since": self._since,
            "why": self.why,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned; of an older version nothing."""
        if not state:
            return
        self._readings = deque(zip(state["steps"], state["sharpness"], strict=True))
        self._since, self.why = state["since"], state["why"]


@dataclass(frozen=True)
class RestOutcome:
    """Whether a run came to rest: a run that isn't there has no resting value.

    Attributes:
        outcome: "at rest", or "not at rest", by the window at its end.
        why: why it isn't, a sentence without its subject's name; "" if it is.
        first: the first and the last step of that window; of a run that is shorter, of its last fifth.
        last: the newest step.
        came_at: the step at which the run itself found that it is at rest, None where it never did or
            wasn't asked to look.
        sharpness: S over the window, at rest or not.
    """

    outcome: Literal["at rest", "not at rest"]
    why: str
    first: int
    last: int
    came_at: int | None
    sharpness: Resting

    @property
    def at_rest(self) -> bool:
        """Whether it is."""
        return self.outcome == "at rest"


def rest_outcome(run: Run) -> RestOutcome:
    """Return whether a run is at rest at its end, by the test of this module with its own settings."""
    config, last = run.config, run.last_step
    first = last - config.rest_window + 1
    late = run.measured["step"] >= first
    sharpness = run.measured["sharpness"][late]
    sharpness = sharpness[np.isfinite(sharpness)]
    why = _nothing_to_judge(run) or unsteady(spans(run), run.steps, controls_of(run), first)
    if not why and (tilted := not_level(sharpness, config.rest_drift)):
        why = f"{tilted} in its last {config.rest_window} steps"
    came_at = [e.step for e in run.events if e.kind == REACHED and e.payload.get("at") == REST]
    return RestOutcome(
        "not at rest" if why else "at rest",
        why,
        first if first >= 0 else len(run.steps) * 4 // 5,
        last,
        came_at[-1] if came_at else None,
        resting_of(sharpness),
    )


def _nothing_to_judge(run: Run) -> str:
    if run.state in ("diverged", "failed"):
        return f"it {run.state}"
    if not len(run.steps):
        return "it has no steps yet"
    if run.last_step + 1 < run.config.rest_window:
        return f"it has {run.last_step + 1} steps, fewer than the {run.config.rest_window} of its window"
    return ""


def unsteady(phases: Sequence[Span], steps: Series, controls: Iterable[Control], first: int) -> str:
    """Return why a run doesn't go on evenly from a step on; "" if it does.

    Args:
        phases: of the run, in turn.
        steps: its columns of every step.
        controls: of its dynamics.
        first: the step.
    """
    for span in phases:
        if span.last >= first and span.phase not in PHASES_OF_REST:
            return f"its phase was {span.phase.name} up to step {span.last}"
    for control in (*controls, *INTERVENTIONS):
        # an intervention's columns are empty where there is none
        values = np.nan_to_num(steps[control.name][first:], nan=control.initial)
        changed = np.flatnonzero(np.diff(values))
        if len(changed):
            return f"{control.symbol} was changed at step {first + int(changed[-1]) + 1}"
    return ""
