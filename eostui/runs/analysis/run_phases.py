"""The phases of a recorded run: which steps each took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eostui.runs.analysis.controls import controls_of, description_of
from eostui.runs.analysis.phase_classifier import PhaseChange, PhaseClassifier
from eostui.runs.analysis.phase_signals import plain_arrivals, signal_columns
from eostui.runs.analysis.phases import BY_NAME, EDGE, LOWERED, Phase
from eostui.runs.series import FloatArray
from eostui.runs.store.columns import ARRIVALS, STORED_STEP_COLUMNS
from eostui.runs.store.rows import Event
from eostui.stability import BATCH_COLUMNS, SHARP_STEP, THRESHOLD

if TYPE_CHECKING:
    from eostui.runs.run import Run

#: Kind of the events in which an engine records a change of phase.
PHASE_EVENT = "phase"
#: Fact of a problem: its loss at the best constant prediction.
CHANCE_LOSS = "chance_loss"
#: Rows fed at once: readings wait no longer than these.
_ROWS_AT_ONCE = 10_000


class Span(NamedTuple):
    """The steps from `first` to `last`, both among them, and their phase."""

    phase: Phase
    first: int
    last: int


def chance_of(problem_facts: Mapping[str, str]) -> float | None:
    """Return the loss of the best constant prediction as a problem's facts state it, or None."""
    try:
        return float(problem_facts[CHANCE_LOSS])
    except (KeyError, ValueError):  # a user's own problem may state anything
        return None


def payload(change: PhaseChange) -> dict[str, object]:
    """Return what an event records of a change besides its step."""
    before = None if change.before is None else change.before.name
    return {"from": before, "to": change.phase.name, "step": change.step, "why": change.why}


def recorded_spans(events: Iterable[Event], last_step: int) -> list[Span]:
    """Return the phases in a run's events, up to its newest step; [] where there are none."""
    return _spans(
        [
            (event.step, BY_NAME[event.payload["to"]])
            for event in events
            if event.kind == PHASE_EVENT and event.payload["to"] in BY_NAME
        ],
        last_step,
    )


def spans(run: Run) -> list[Span]:
    """Return the phases of a run; where its events have none, as in format 1, those of its rows."""
    recorded = recorded_spans(run.events, run.last_step)
    first = recorded[0].first if recorded else run.last_step + 1
    if first == 0 and recorded:
        return recorded
    changes = [(change.step, change.phase) for change in classify(run) if change.step < first]
    return [*_spans(changes, first - 1), *recorded]


def on_the_bounce(run: Run, phases: Iterable[Span]) -> NDArray[np.bool_]:
    """Return which measured rows are taken on an edge's bounce, where βα is forced negative (WD A.5).

    Of a run whose readings are taken at midpoints, none.

    Args:
        run: whose.
        phases: of it.
    """
    steps = run.measured["step"]
    found = np.zeros(len(steps), dtype=np.bool_)
    if run.config.reading == "raw":
        for phase, first, last in phases:
            if phase in (EDGE, LOWERED):
                found |= (steps >= first) & (steps <= last)
    return found


def _spans(begun: Sequence[tuple[int, Phase]], last_step: int) -> list[Span]:
    if not begun:
        return []
    ends = [first - 1 for first, _ in begun[1:]] + [last_step]
    return [
        Span(phase, first, last)
        for (first, phase), last in zip(begun, ends, strict=True)
        if last >= first  # a catapult may begin where the phase before it did
    ]


def classify(run: Run) -> list[PhaseChange]:
    """Return the phases of a record, classified anew from its rows: the same as by its engine."""
    facts = {key.removeprefix("problem."): value for key, value in run.facts.items()}
    dynamics = description_of(run)
    others = (control.name for control in controls_of(run))
    columns = signal_columns(
        (
            *(name for name in others if name not in STORED_STEP_COLUMNS),
            THRESHOLD,
            *(BATCH_COLUMNS if dynamics.batches else ()),
        )
    )
    classifier = PhaseClassifier(
        chance=chance_of(facts) if dynamics.descends else None,
        columns=columns,
        threshold_label=dynamics.label,
        gradient_from_steps=dynamics.gradient_from_steps,
    )
    changes = []
    intervened = np.isfinite(run.steps[SHARP_STEP.name])
    rows = plain_arrivals(stored_rows(run, columns), np.concatenate(([False], intervened[:-1])))
    measured = run.measured
    at = measured["step"].astype(np.int64)
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        chunk = rows[first : first + _ROWS_AT_ONCE]
        for row in range(*np.searchsorted(at, (first, first + len(chunk))).tolist()):
            names = ("sharpness", "beta_alpha", "g")
            classifier.read(int(at[row]), {name: float(measured[name][row]) for name in names})
        changes += classifier.feed(chunk)
    return changes


def stored_rows(run: Run, names: Sequence[str] = STORED_STEP_COLUMNS) -> FloatArray:
    """Return a run's rows as its engine stored them, or the columns named, shape (n, len(names))."""
    columns = {name: run.steps[name] for name in names if name in run.steps}
    for name, arrival in ARRIVALS.items():
        columns[arrival] = np.concatenate(([np.nan], run.steps[name][:-1]))[: len(run.steps)]
    return np.column_stack([columns[name] for name in names])
