"""What a preset costs here: how fast runs of the same settings went that are on the shelf."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass

from eostui.config import RunConfig
from eostui.errors import EostuiError
from eostui.runs.analysis.duration import seconds_trained
from eostui.runs.shelf import Entry
from eostui.runs.store.lookup import events_of
from eostui.runs.store.reader import RunReader

#: Settings that change where a run goes, not what a step of it costs.
_FREE = ("preset", "steps", "eta", "weight_decay", "momentum", "controls", "seed", "pause_at")
#: So many of the newest runs are asked, of those with so many steps of their own: others hardly began.
_RUNS, _STEPS = 3, 50


@dataclass(frozen=True)
class Cost:
    """How fast runs like a preset's went here.

    Attributes:
        steps_per_second: the median over the runs.
        runs: how many they are.
    """

    steps_per_second: float
    runs: int

    def seconds(self, steps: int) -> float:
        """Return how long so many steps take."""
        return steps / self.steps_per_second


class Costs:
    """Tells what configs cost, by a shelf; of each run its events are read once."""

    def __init__(self) -> None:
        self._speeds: dict[tuple[str, int], float] = {}

    def of(self, config: RunConfig, entries: Iterable[Entry]) -> Cost | None:
        """Return what a config costs; None where nothing like it ran here yet.

        Args:
            config: of a preset.
            entries: the shelf, the newest first.
        """
        alike = [
            entry
            for entry in entries
            if entry.config.preset == config.preset
            and _own_steps(entry) >= _STEPS
            and _alike(config, entry.config)
        ]
        speeds = [speed for entry in alike[:_RUNS] if (speed := self._speed(entry)) > 0]
        return Cost(statistics.median(speeds), len(speeds)) if speeds else None

    def _speed(self, entry: Entry) -> float:
        """Return steps a second of a run, 0 where that can't be told."""
        key = entry.id, entry.last_step
        if key not in self._speeds:
            self._speeds[key] = _speed(entry)
        return self._speeds[key]


def _alike(config: RunConfig, run: RunConfig) -> bool:
    """Return whether a step of a run costs what one of a config does; a run has settled what is auto."""
    theirs = run.acting()
    return all(
        value in (theirs.get(name), "auto")
        for name, value in config.acting().items()
        if name not in _FREE
    )


def _own_steps(entry: Entry) -> int:
    """Return how many steps a run took itself: a fork's first ones are its parent's."""
    return entry.last_step - (entry.parent_step or 0)


def _speed(entry: Entry) -> float:
    try:
        reader = RunReader(entry.path)
        try:
            events = events_of(reader)
        finally:
            reader.close()
    except EostuiError:
        return 0.0
    now = time.time() if entry.live else entry.ended
    seconds = seconds_trained(entry.created, events, now)
    return _own_steps(entry) / seconds if seconds > 0 else 0.0
