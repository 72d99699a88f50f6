"""Steps taken once more: what is on record is compared, what isn't is written."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.config import RunConfig
from eostui.engine.tolerances import apart, projections_apart
from eostui.runs.record import Record
from eostui.runs.store import schema
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.columns import HESSIAN_PRODUCTS, ProbeColumns
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.readings import ProbeReading, counts_products, packed
from eostui.runs.store.rows import Event, in_columns
from eostui.runs.store.writer import RunWriter
from eostui.version import __version__

#: Told the step that comes next, the first one and the one to reach.
Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Past:
    """What a driver repeats before it goes on.

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


@dataclass
class _MeasuredStep:
    """What was compared of a step so far: by the name of the number, where it is known."""

    step: int | None = None
    recorded: dict[str, float] = field(default_factory=dict)
    repeated: dict[str, float] = field(default_factory=dict)
    products: float = 0.0

    def take(
        self, names: Sequence[str], recorded: NDArray[np.float64], repeated: NDArray[np.float64]
    ) -> None:
        for found, numbers in ((self.recorded, recorded), (self.repeated, repeated)):
            found.update((n, v) for n, v in zip(names, numbers.tolist(), strict=True) if v == v)


class ComparingWriter:
    """Takes the place of a RunWriter while steps are repeated that are on record already.

    Attributes:
        path: the run directory.
        derived_events: how many events that follow from the steps were told in the run's life so far.
        differences: the first of each kind of thing that isn't as it was.
        compared: how many rows were compared.
        measured: at how many steps something that was measured was compared.
        exact: whether all that was measured was the same to the bit.
    """

    def __init__(
        self, record: Record, path: Path, derived_events: int, onward: RunWriter | None
    ) -> None:
        """Compare with `record`; what is beyond it goes to `onward`, or nowhere.

        Where another version made the record, rows must be the same to the bit all the same, but what
        was measured only as good as both versions say they are; events that follow from the steps, and
        columns that only one of them has, aren't compared.

        Args:
            record: of the run.
            path: its directory.
            derived_events: how many were told where the record begins.
            onward: the writer of the run, or None.
        """
        self.path = path
        self.derived_events = derived_events
        self.differences: list[Difference] = []
        self.compared = self.measured = 0
        self.exact = True
        self._tolerant: RunConfig | None = None
        if record.older or record.version not in ("", __version__):
            self._tolerant = RunConfig.from_toml(record.facts["config"], f"{path}: stored config")
        self._reached = record.first
        self._record = record
        self._onward = onward
        self._derived = deque(record.derived)
        self._refused = list(record.refused)
        self._missing = set(record.readings)
        self._step = _MeasuredStep()

    def end(self) -> None:
        """Take in what should have come again and didn't."""
        self._end_step()
        if self._tolerant is not None:
            return
        for step, _ in sorted(self._missing)[:1]:
            self.note(step, "measured", "something", "nothing")
        for event in list(self._derived)[:1]:
            self.note(event.step, "event", event.kind, None)

    def steps(
        self, first_step: int, matrix: NDArray[np.float64], names: Sequence[str] | None = None
    ) -> None:
        """Compare rows in the columns that the record has; hand on those beyond the record."""
        record = self._record
        matrix = in_columns(matrix, names or record.names, record.names)
        shared = min(max(record.next_step - first_step, 0), len(matrix))
        self.compared += shared
        start = first_step - record.first
        recorded = record.steps[start : start + shared]
        different = _differs(recorded, matrix[:shared])
        if different.any():
            row = int(different.any(axis=1).argmax())
            column = int(different[row].argmax())
            values = float(recorded[row, column]), float(matrix[row, column])
            self.note(first_step + row, record.names[column], *values)
        self._reached = first_step + len(matrix)
        self._pass_derived()
        if self._onward and shared < len(matrix):
            self._onward.steps(first_step + shared, matrix[shared:])

    def reading(self, reading: ProbeReading) -> None:
        """Compare what a probe measured; hand it on if it isn't on record."""
        step, probe = reading.step, reading.probe
        if probe not in self._record.probes:
            # turned on since, as the store knows; one of a later version has no place there
            if self._onward:
                self._onward.reading(reading)
            return
        recorded = self._record.readings.get((step, probe))
        self._missing.discard((step, probe))
        repeated = packed(self._record.probes[probe], reading.values)
        if recorded is None:
            if self._onward:
                self._onward.reading(reading)
            elif (
                step < self._record.next_step - 1  # the last row may have lost its readings
                and self._tolerant is None
                and not np.isnan(repeated).all()
            ):
                self.note(step, "measured", "nothing", "something")
            return
        if self._step.step != step:
            self._end_step()
            self._step = _MeasuredStep(step)
            self.measured += 1
        names = self._names[probe]
        self._step.take(names, recorded, repeated)
        if counts_products(self._record.probes[probe]) and not math.isnan(reading.products):
            self._step.products += reading.products
        different = _differs(recorded, repeated)
        if not different.any():
            return
        self.exact = False
        if self._tolerant is None:
            place = int(different.argmax())
            self.note(step, names[place], _known(recorded[place]), _known(repeated[place]))
            return
        before, after = self._step.recorded, self._step.repeated
        for name in apart(self._tolerant, before, after, self._record.row(step)):
            if name in names:
                self.note(step, name, before[name], after[name])

    def measures(self, probe: ProbeColumns) -> None:
        """Hand on that there is one more probe; those of the record are stated there."""
        if self._onward and probe.name not in self._record.probes:
            self._onward.measures(probe)

    def _end_step(self) -> None:
        """Compare what the readings of a step cost together, now that there are no more of it."""
        step, products = self._step.step, self._step.products
        self._step = _MeasuredStep()
        if step is None:
            return
        recorded = self._record.products.get(step, 0.0)
        if recorded != products:
            self.exact = False
            if self._tolerant is None:
                self.note(step, HESSIAN_PRODUCTS.name, recorded, products)

    @functools.cached_property
    def _names(self) -> dict[str, list[str]]:
        """The names of the numbers of a reading, by probe."""
        return {
            name: [flat.name for column in probe.columns for flat in column.flattened()]
            for name, probe in self._record.probes.items()
        }

    def calibrated(self, number: int, first_step: int, matrix: NDArray[np.float64]) -> None:
        """Compare x and q; hand on the rows that aren't on record."""
        shared = 0
        for step, (x, q) in enumerate(matrix.tolist(), start=first_step):
            recorded = self._record.calibrated.get((number, step))
            if recorded is None:
                break
            shared += 1
            if recorded == (x, q):
                continue
            self.exact = False
            if self._tolerant is None:
                self.note(step, "x", recorded[0], x)
                continue
            beta = self._record.betas.get(number, math.inf)
            for name in projections_apart(
                self._tolerant, recorded, (x, q), self._largest_norm, beta
            ):
                self.note(step, name, *((recorded[0], x) if name == "x" else (recorded[1], q)))
        if self._onward and shared < len(matrix):
            self._onward.calibrated(number, first_step + shared, matrix[shared:])

    @functools.cached_property
    def _largest_norm(self) -> float:
        """The largest ‖θ‖ on record."""
        norms = self._record.steps[:, self._record.names.index("theta_norm")]
        return float(norms[np.isfinite(norms)].max(initial=0.0))

    def event(self, step: int, kind: str, payload: Mapping[str, Any] | None = None) -> None:
        """Compare an event that follows from the steps with the next such on record; hand on others,
        but no refusal that is on record."""
        derived = kind in schema.DERIVED_EVENTS
        next_step = self._record.next_step
        if (
            derived
            and self._tolerant is not None
            and step < next_step
            and self._reached <= next_step
        ):
            return  # those on record stay, as the older version told them
        self.derived_events += derived
        if derived and self._derived:
            recorded = self._derived.popleft()
            if (recorded.step, recorded.kind, recorded.payload) != (step, kind, payload or {}):
                self.note(step, "event", f"{recorded.kind} at step {recorded.step}", kind)
        elif kind == "refused" and (step, payload or {}) in self._refused:
            self._refused.remove((step, payload or {}))  # the next one of its kind is news
        elif self._onward:
            self._onward.event(step, kind, payload)

    def _pass_derived(self) -> None:
        """Count what another version told of the steps so far: it isn't told again."""
        if self._tolerant is None:
            return
        ends = self._reached >= self._record.next_step
        while self._derived and (ends or self._derived[0].step < self._reached):
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
        self._end_step()
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


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _differs(recorded: NDArray[np.float64], repeated: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where two arrays differ; NaN is as NaN."""
    different: NDArray[np.bool_] = (recorded != repeated) & ~(
        np.isnan(recorded) & np.isnan(repeated)
    )
    return different
