"""Steps taken once more: what is on record is compared, what isn't is written."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.runs import schema
from eostui.runs.checkpoints import Checkpoint
from eostui.runs.landscape import Landscape
from eostui.runs.record import Record
from eostui.runs.rows import Event, in_columns
from eostui.runs.writer import RunWriter

#: Told the step that comes next, the first one and the one to reach.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Past:
    """What a trainer repeats before it goes on.

    Attributes:
        checkpoint: where it begins; None for step 0.
        until: the first step that isn't repeated.
        origin: the step at which the run's own steps begin: 0, or that of its fork.
        controls: the control changes and calibrations on record, by step.
        progress: told after each of them.
        saves: whether checkpoints are taken on the way.
        older: whether an older version's record is repeated: its phases stay, and those of this version
            begin after it.
    """

    checkpoint: Checkpoint | None
    until: int
    origin: int
    controls: Mapping[int, Sequence[Event]]
    progress: Progress
    saves: bool = False
    older: bool = False


@dataclass(frozen=True)
class Difference:
    """Where a repetition first left the record: at which step, in what, and both values."""

    step: int
    what: str
    recorded: float | str | None
    repeated: float | str | None

    def __str__(self) -> str:
        """Return it as a sentence's end."""
        shown = f"step {self.step}: {self.what} was {self.recorded!r}, now {self.repeated!r}"
        if isinstance(self.recorded, float) and isinstance(self.repeated, float):
            scale = max(abs(self.recorded), abs(self.repeated))
            if scale > 0:
                shown += f", {abs(self.recorded - self.repeated) / scale:.1e} of it"
        return shown


class ComparingWriter:
    """Takes the place of a RunWriter while steps are repeated that are on record already.

    Attributes:
        path: the run directory.
        derived_events: how many events that follow from the steps were told in the run's life so far.
        differences: the first of each kind of thing that isn't as it was.
    """

    def __init__(self, record: Record, path: Path, told: int, onward: RunWriter | None) -> None:
        """Compare with `record`; what is beyond it goes to `onward`, or nowhere.

        Args:
            record: of the run.
            path: its directory.
            told: `derived_events` where the record begins.
            onward: the writer of the run, or None.
        """
        self.path = path
        self.derived_events = told
        self.differences: list[Difference] = []
        self._record = record
        self._onward = onward
        self._derived = deque(record.derived)
        self._refused = list(record.refused)
        self._measured = set(record.measurements)

    def end(self) -> None:
        """Take in what should have come again and didn't."""
        for step in sorted(self._measured)[:1]:
            self.note(step, "measured", "something", "nothing")
        for event in list(self._derived)[:1]:
            self.note(event.step, "event", event.kind, None)

    @property
    def identical(self) -> bool:
        """Whether everything so far was as it is on record, bit for bit."""
        return not self.differences

    def steps(
        self, first_step: int, matrix: NDArray[np.float64], names: Sequence[str] | None = None
    ) -> None:
        """Compare rows in the columns that the record has; hand on those beyond the record."""
        record = self._record
        matrix = in_columns(matrix, names or record.names, record.names)
        known = min(max(record.next_step - first_step, 0), len(matrix))
        start = first_step - record.first
        then = record.steps[start : start + known]
        different = _differs(then, matrix[:known])
        if different.any():
            row = int(different.any(axis=1).argmax())
            column = int(different[row].argmax())
            values = float(then[row, column]), float(matrix[row, column])
            self.note(first_step + row, record.names[column], *values)
        if first_step + known == record.next_step:
            self._pass_phases()
        if self._onward and known < len(matrix):
            self._onward.steps(first_step + known, matrix[known:])

    def measurement(self, step: int, values: Mapping[str, float], point: str = "raw") -> None:
        """Compare what was measured; hand it on if it isn't on record."""
        then = self._record.measurements.get(step)
        self._measured.discard(step)
        if then is None:
            if self._onward:
                self._onward.measurement(step, values, point)
            elif step < self._record.next_step - 1:  # the last row may have lost its measurement
                self.note(step, "measured", "nothing", "something")
            return
        now = {name: value for name, value in values.items() if not math.isnan(value)}
        for name in (*then, *(name for name in now if name not in then)):
            if then.get(name) != now.get(name):
                self.note(step, name, then.get(name), now.get(name))
                break

    def calibrated(self, number: int, first_step: int, matrix: NDArray[np.float64]) -> None:
        """Compare x and q; hand on the rows that aren't on record."""
        known = 0
        for step, (x, q) in enumerate(matrix.tolist(), start=first_step):
            then = self._record.calibrated.get((number, step))
            if then is None:
                break
            known += 1
            if then != (x, q):
                self.note(step, "x", then[0], x)
        if self._onward and known < len(matrix):
            self._onward.calibrated(number, first_step + known, matrix[known:])

    def event(self, step: int, kind: str, payload: Mapping[str, Any] | None = None) -> None:
        """Compare an event that follows from the steps with the next such on record; hand on others,
        but no refusal that is on record."""
        derived = kind in schema.DERIVED_EVENTS
        if self._record.older and kind == "phase" and step < self._record.next_step:
            return  # told by other rules than those on record, which stay
        if derived:
            self._pass_phases()
        self.derived_events += derived
        if derived and self._derived:
            then = self._derived.popleft()
            if (then.step, then.kind, then.payload) != (step, kind, payload or {}):
                self.note(step, "event", f"{then.kind} at step {then.step}", kind)
        elif kind == "refused" and (step, payload or {}) in self._refused:
            self._refused.remove((step, payload or {}))  # the next one of its kind is news
        elif self._onward:
            self._onward.event(step, kind, payload)

    def _pass_phases(self) -> None:
        """Count the phases that come next on an older version's record: they aren't told again."""
        while self._record.older and self._derived and self._derived[0].kind == "phase":
            self._derived.popleft()
            self.derived_events += 1

    def landscape(self, landscape: Landscape) -> None:
        """Hand a map on: the newest is the only one kept."""
        if self._onward:
            self._onward.landscape(landscape)

    def fact(self, key: str, value: str) -> None:
        """Hand a fact on."""
        if self._onward:
            self._onward.fact(key, value)

    def flush(self) -> None:
        """Write all that was handed on."""
        if self._onward:
            self._onward.flush()

    def close(self) -> None:
        """Flush and close."""
        if self._onward:
            self._onward.close()

    def note(
        self, step: int, what: str, recorded: float | str | None, repeated: float | str | None
    ) -> None:
        """Take in a difference, the first of its kind."""
        if not any(difference.what == what for difference in self.differences):
            self.differences.append(Difference(step, what, recorded, repeated))


def _differs(then: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where two matrices differ; NaN is as NaN."""
    different: NDArray[np.bool_] = (then != now) & ~(np.isnan(then) & np.isnan(now))
    return different
