"""What is on record of a run from a step on, row by row, to be repeated or compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.runs.analysis.switched_probes import SWITCHED
from eostui.runs.calibration import CALIBRATED
from eostui.runs.store import schema
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.columns import ProbeColumns
from eostui.runs.store.poller import News, Poller
from eostui.runs.store.reader import RunReader
from eostui.runs.store.rows import Event
from eostui.schedule import SCHEDULED


@dataclass
class Record:
    """The rows of a run as they are stored, from a checkpoint on, or from step 0.

    Attributes:
        first: the first step.
        names: the columns of `steps`.
        steps: a row a step.
        probes: those of the run, by name, with their columns.
        readings: the numbers of each, by step and probe, as a row of the store has them.
        products: Hessian products spent at a step, by step, where any are counted.
        calibrated: x and q, by number of the calibration and step.
        derived: the events that follow from the steps, told since `first`, in order.
        controls: changes of η and λ, calibrations that were asked for, and probes that were turned on or
            off, by step.
        refused: the step and the payload of each refusal: of those, some come again with the steps.
        facts: of the run.
        betas: β of each calibration, by its number.
    """

    first: int
    names: tuple[str, ...]
    steps: NDArray[np.float64]
    probes: Mapping[str, ProbeColumns] = field(default_factory=dict)
    readings: dict[tuple[int, str], NDArray[np.float64]] = field(default_factory=dict)
    products: dict[int, float] = field(default_factory=dict)
    calibrated: dict[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    derived: list[Event] = field(default_factory=list)
    controls: dict[int, list[Event]] = field(default_factory=dict)
    refused: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    facts: Mapping[str, str] = field(default_factory=dict)
    betas: dict[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, checkpoint: Checkpoint | None) -> Record:
        """Read the record of the run at `path`.

        Raises:
            InputError: if there is no run.
            RunFormatError: if the record is damaged.
        """
        reader = RunReader(path)
        first, events = (checkpoint.step, checkpoint.events) if checkpoint else (0, 0)
        nothing = np.empty((0, len(reader.step_columns)))
        record = cls(
            first, reader.step_columns, nothing, facts=reader.facts(), probes=reader.probes
        )
        parts, seen = [record.steps], 0
        try:
            for news in Poller(reader).all_news():
                parts.append(news.steps[max(first - seen, 0) :])
                seen += len(news.steps)
                record._take(news)
        finally:
            reader.close()
        record.steps = np.concatenate(parts)
        record.derived = record.derived[events:]
        return record

    @property
    def older(self) -> bool:
        """Whether an older version began it, whose phases were told by other rules."""
        return "arrival_cosine" not in self.names

    @property
    def version(self) -> str:
        """The version of eostui that began it."""
        return self.facts.get("eostui", "")

    def row(self, step: int) -> dict[str, float]:
        """Return the stored row of a step that is in it."""
        return dict(zip(self.names, self.steps[step - self.first].tolist(), strict=True))

    @property
    def next_step(self) -> int:
        """The first step without a row."""
        return self.first + len(self.steps)

    def _take(self, news: News) -> None:
        for probe, each in news.readings.items():
            rows = zip(each.steps.tolist(), each.numbers, each.products.tolist(), strict=True)
            for at, numbers, products in rows:
                if at >= self.first:
                    step = int(at)
                    self.readings[step, probe] = numbers
                    if products == products:
                        self.products[step] = self.products.get(step, 0.0) + products
        for step, number, x, q in news.calibrated.tolist():
            self.calibrated[int(number), int(step)] = (x, q)
        for event in news.events:
            if event.kind in schema.DERIVED_EVENTS:
                self.derived.append(event)
                if event.kind == CALIBRATED:
                    self.betas[int(event.payload["number"])] = float(event.payload["beta"])
            elif event.kind == "refused":
                self.refused.append((event.step, event.payload))
            elif is_control(event) and event.step >= self.first:
                self.controls.setdefault(event.step, []).append(event)


def is_control(event: Event) -> bool:
    """Return whether an event changed what the engine does: η, λ at once or from then on, an asked-for
    calibration, or a probe that was turned on or off."""
    calibration = event.kind == "obeyed" and event.payload.get("what") in ("calibrate", "reseat")
    return event.kind in ("control", SCHEDULED, SWITCHED) or calibration
