"""What is to end a run, and what did, by its events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eostui.errors import InputError
from eostui.runs.store.rows import Event
from eostui.stop_condition import Stop, StopCondition, conditions_of

#: Events: what a run is to stop at, and that it was reached. What was asked of a run isn't of its forks.
ASKED, REACHED = "stop_at", "reached"
_FORKED, _STOPPED, _FINISHED = "forked", "stopped", "finished"
#: Kinds of the events that `pending` looks at.
KINDS = (ASKED, REACHED, _FORKED, _STOPPED, _FINISHED)


def pending(events: Sequence[Event], asked: Iterable[StopCondition] = ()) -> tuple[Stop, ...]:
    """Return what is still to end a run, by its events in order.

    What was reached has done so once an end is on record: a run that was killed before that ends when it
    is gone on with, and one that did end goes on without it.

    Args:
        events: of the run.
        asked: what was before them.
    """
    stops = tuple(Stop(condition) for condition in asked)
    for event in events:
        if event.kind == _FORKED:
            stops = ()
        elif event.kind == ASKED:
            stops = _asked(event)
        elif event.kind == REACHED:
            stops = _marked(stops, event)
        elif event.kind in (_STOPPED, _FINISHED):
            stops = tuple(stop for stop in stops if not stop.over(event.step))
    return stops


def inherited(
    conditions: Iterable[StopCondition], events: Iterable[Event], at: int
) -> tuple[Stop, ...]:
    """Return what a fork takes over of its parent's setting: without what the parent had reached and
    ended by before step `at`.

    Args:
        conditions: of the setting.
        events: of the parent.
        at: the fork's first own step.
    """
    kinds = (REACHED, _STOPPED, _FINISHED)
    before = [event for event in events if event.step < at and event.kind in kinds]
    return pending(before, conditions)


def ended_by(events: Sequence[Event]) -> StopCondition | None:
    """Return what ended a run, None where that is nothing it was to stop at."""
    ends = (_STOPPED, _FINISHED)
    last = next((event for event in reversed(events) if event.kind in ends), None)
    if last is None:
        return None
    for event in reversed(events):
        if event.kind == REACHED and event.step <= last.step:
            try:
                condition = StopCondition.of(event.payload)
            except InputError:
                return None
            if condition is not None and event.step + condition.after == last.step:
                return condition
    return None


def _asked(event: Event) -> tuple[Stop, ...]:
    try:
        return conditions_of(event.payload)
    except InputError:  # of a later version, or not the program's own
        return ()


def _marked(stops: Sequence[Stop], event: Event) -> tuple[Stop, ...]:
    """Return them with one of them reached, as an event tells."""
    try:
        condition = StopCondition.of(event.payload)
    except InputError:
        return tuple(stops)
    if condition is None:
        return tuple(stops)
    new = Stop(condition)
    return tuple(Stop(condition, event.step) if stop == new else stop for stop in stops)
