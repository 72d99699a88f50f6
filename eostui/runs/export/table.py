"""One run, or several under each other, as one tidy table, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from eostui.errors import InputError
from eostui.runs.analysis.remarks import OF_TRUSTED, trusted_gradient
from eostui.runs.export.text import TableBlock
from eostui.runs.run import Run
from eostui.runs.store.columns import (
    CALIBRATED,
    COORDINATES,
    STORED_STEP_COLUMNS,
    Column,
    exported,
)

Progress = Callable[[int, int], None]

#: Rows of one block: what it needs stays in a processor's cache.
ROWS = 1 << 13

RUN = Column("run", "", "id of the run that a row belongs to")
#: Of every run, and last what comes with a calibration; runs' own columns stand between.
_EVERY = exported((*STORED_STEP_COLUMNS, *(column.name for column in COORDINATES)))
_LAST = tuple(column.name for column in CALIBRATED)


class RunTable:
    """What an export writes of one run, or of several: then a column `run` comes first.

    Attributes:
        runs: the runs in turn.
        several: whether there is a column `run`, even of one run.
        columns: those that any of the runs has, in the order of `eostui.runs.store.columns.exported`, as
            the first that has it describes it.
    """

    def __init__(self, runs: Run | Sequence[Run], *, measured_only: bool = False) -> None:
        """Choose rows and columns.

        Args:
            runs: one run, or several.
            measured_only: only the rows at which something was measured.

        Raises:
            InputError: if two runs have the same id.
        """
        self.several = not isinstance(runs, Run)
        self.runs = [runs] if isinstance(runs, Run) else list(runs)
        self._measured_only = measured_only
        ids = [run.path.name for run in self.runs]
        for name in ids:
            if ids.count(name) > 1:
                raise InputError(f"there are two runs {name}: an export needs each once")
        found = [{column.name: column for column in run.exported()} for run in self.runs]
        said = {name: column for columns in reversed(found) for name, column in columns.items()}
        order = dict.fromkeys(column.name for column in _EVERY)
        order |= dict.fromkeys(name for columns in found for name in columns if name not in _LAST)
        known = tuple(said[name] for name in (*order, *_LAST) if name in said)
        self.columns = (RUN, *known) if self.several else known

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(map(self.rows_of, self.runs))

    def rows_of(self, run: Run) -> int:
        """Return how many rows one of the runs has."""
        return len(run.measured if self._measured_only else run.steps)

    def blocks(self, progress: Progress | None = None) -> Iterator[TableBlock]:
        """Yield the rows in order, at least one block: each column's values, NaN where not known.

        `progress` is told how many rows of how many are done.
        """
        done, total = 0, self.rows
        for run in self.runs if total else self.runs[:1]:
            for block in self.blocks_of(run):
                rows = len(block["step"])
                if rows or not total:
                    yield block
                done += rows
                if progress is not None:
                    progress(done, total)

    def blocks_of(self, run: Run) -> Iterator[TableBlock]:
        """Yield the rows of one of the runs, at least one block."""
        for start in range(0, max(self.rows_of(run), 1), ROWS):
            part = run.columns(measured_only=self._measured_only, rows=slice(start, start + ROWS))
            length = len(part["step"])
            yield {
                column.name: np.full(length, run.path.name)
                if column is RUN
                else part.get(column.name, np.full(length, np.nan))
                for column in self.columns
            }

    def describe(self) -> dict[str, Any]:
        """Return what a reader of the table needs: columns, configs, versions, conventions, events."""
        columns = {c.name: {"unit": c.unit, "description": c.description} for c in self.columns}
        told = [_describe(run) for run in self.runs]
        if any(trusted_gradient(run.facts) for run in self.runs) and "sharpness" in columns:
            columns["sharpness"]["description"] += f"; here {OF_TRUSTED}: see the run's events"
        if self.several:
            return {"runs": told, "columns": columns}
        return {**told[0], "columns": columns}


def _describe(run: Run) -> dict[str, Any]:
    facts = {key: value for key, value in run.facts.items() if key != "config"}
    return {
        "run": {**facts, "status": run.state},
        "config": run.config.acting(mode="json"),
        "events": [
            {"step": e.step, "unix_time": e.unix_time, "kind": e.kind, "payload": e.payload}
            for e in run.events
        ],
    }
