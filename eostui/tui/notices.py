"""What a viewer must not miss of the run that is shown: refusals, remarks, its end, that it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from textual.notifications import SeverityLevel

from eostui.runs.analysis.remarks import NOT_INVARIANT, SAID, TRUSTED, remark
from eostui.runs.calibration import description
from eostui.runs.run import Run
from eostui.runs.store.ending import end_sentence
from eostui.runs.store.rows import Event
from eostui.runs.store.schema import LIVE_STATES
from eostui.tui.follower import GONE, UNREADABLE, Follower

#: States that a viewer must be told of in red.
_BAD = ("diverged", "failed", "interrupted", GONE, UNREADABLE)
#: Seconds that a notice stays which says more than that a key was obeyed.
_LONG = 10.0


class Notice(NamedTuple):
    """A sentence, how bad it is, and for how many seconds it is shown; None for the usual."""

    text: str
    severity: SeverityLevel = "information"
    timeout: float | None = None


class Notices:
    """Finds what there is to be said of one run; each kind of remark once, of every probe."""

    def __init__(self) -> None:
        self._state = "running"
        self._remarked: set[tuple[str, str]] = set()

    def at_start(self, run: Run) -> Iterator[Notice]:
        """Yield what to say of a run whose engine was started here, when it is shown first."""
        yield from self._remarks(
            event for event in run.events if event.kind in (SAID, TRUSTED, NOT_INVARIANT)
        )
        yield from _difference(run.events)
        for text in run.facts.get("problem.warnings", "").splitlines():
            yield Notice(text, "warning", _LONG)

    def of(self, feed: Follower, events: Sequence[Event]) -> Iterator[Notice]:
        """Yield what to say of events that came, and of the run's state if it is another."""
        for event in events:
            if event.kind == "refused":
                yield Notice(str(event.payload["reason"]), "error")
            elif text := description(event):
                yield Notice(text)
        yield from self._remarks(events)
        yield from _difference(events)
        before, self._state = self._state, feed.state
        if feed.state != before and not (feed.state in LIVE_STATES and before in LIVE_STATES):
            severity: SeverityLevel = "error" if feed.state in _BAD else "information"
            yield Notice(_state(before, feed), severity, _LONG)

    def _remarks(self, events: Iterable[Event]) -> Iterator[Notice]:
        """Yield what there is to remark on the run: it may go on at every measurement."""
        for event in events:
            kind = event.kind, str(event.payload.get("probe", ""))
            if (text := remark(event)) and kind not in self._remarked:
                self._remarked.add(kind)
                yield Notice(text, "warning", _LONG)


def _difference(events: Sequence[Event]) -> Iterator[Notice]:
    """Say it if a run doesn't go on from what was recorded, by the newest of its events."""
    repeated = [event for event in events if event.kind in ("continued", "forked")]
    if repeated and (difference := repeated[-1].payload.get("difference")):
        text = f"repeated, it isn't what is on record: {difference}"
        yield Notice(text, "warning", _LONG)


def _state(before: str, feed: Follower) -> str:
    run, state = feed.run, feed.state
    if feed.trouble:
        return feed.trouble
    if before in (GONE, UNREADABLE):
        return f"{run.path.name} can be read again: it is {state}"
    if state in LIVE_STATES:
        return f"{run.path.name} goes on at step {max(run.last_step, 0)}"
    if state == "interrupted":
        return f"the run is {state}: its engine is gone"
    return end_sentence(run.path, run.facts, state)
