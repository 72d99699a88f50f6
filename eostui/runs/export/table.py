"""One run, or several under each other, as one tidy table, a block of rows at a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.runs.analysis.remarks import OF_TRUSTED, trusted_gradient
from eostui.runs.export.text import TableBlock, Values
from eostui.runs.family import Family, settings_of
from eostui.runs.run import Run
from eostui.runs.shelf import read_entry
from eostui.runs.store.columns import (
    CALIBRATED,
    COORDINATES,
    STORED_STEP_COLUMNS,
    TRAIN_ACCURACY,
    Column,
    exported,
)
from eostui.runs.store.reader import facts_of
from eostui.runs.store.schema import LIVE_STATES
from eostui.stability import CONTROLS

Progress = Callable[[int, int], None]
#: Names of the columns of an array's numbers, and its shape, by the name of the array.
Arrays = dict[str, tuple[tuple[str, ...], tuple[int, ...]]]

#: Rows of one block: what it needs stays in a processor's cache.
ROWS = 1 << 13

RUN = Column("run", "", "id of the run that a row belongs to")
NAME = Column("name", "", "its name, empty if it was given none")
GROUP = "what runs that belong together share"
#: Of every run, and last what comes with a calibration; runs' own columns stand between.
_EVERY = exported(
    (*STORED_STEP_COLUMNS, *(column.name for column in (*COORDINATES, TRAIN_ACCURACY)))
)
_LAST = tuple(column.name for column in CALIBRATED)


@dataclass(frozen=True)
class Label:
    """A column that is the same in all rows of a run: its id, its name, a setting that differs.

    Attributes:
        column: its name and what it is.
        kind: of the values: int, float, bool or str.
        values: of each run in turn; None where a run has none.
    """

    column: Column
    kind: type
    values: tuple[Any, ...]

    @classmethod
    def of(cls, column: Column, values: Sequence[Any]) -> Label:
        """Bring values to one kind: to float where one number is, to text what else is mixed."""
        kinds = {type(value) for value in values if value is not None}
        kind = kinds.pop() if len(kinds) == 1 else float if kinds == {int, float} else str
        if kind not in (int, float, bool, str) or (kind is int and _too_large(values)):
            kind = str
        convert = _text if kind is str else kind
        return cls(column, kind, tuple(None if v is None else convert(v) for v in values))

    def rows(self, place: int, length: int) -> Values:
        """Return the value of the run at a place, so many times; NaN for none."""
        value = self.values[place]
        return np.full(length, np.nan if value is None else value)


@dataclass(frozen=True)
class Part:
    """One of the runs of a table, as it was when the table was made.

    Attributes:
        path: the run directory.
        name: of the run, "" for none.
        columns: those that it has.
        arrays: of those of its columns that are arrays, the columns of their numbers, and the shape.
        rows: how many of its rows are in the table.
        last_step: its newest step.
        live: whether it was live.
        description: what a reader must know of it: facts, config, events.
        run: the run, where it is kept open.
    """

    path: Path
    name: str
    columns: tuple[Column, ...]
    arrays: Arrays
    rows: int
    last_step: int
    live: bool
    description: dict[str, Any]
    run: Run | None

    @classmethod
    def of(cls, given: Run | Path, measured_only: bool) -> Part:
        """Look at a run. Raises RunFormatError if it is damaged."""
        if isinstance(given, Path):
            with Run(given) as run:
                return replace(cls.of(run, measured_only), run=None)
        live = _was_live(given)
        return cls(
            path=given.path,
            name=given.facts.get("name", ""),
            columns=given.exported(),
            arrays=given.arrays(),
            rows=len(given.measured if measured_only else given.steps),
            last_step=given.last_step,
            live=live,
            description=_describe(given, live),
            run=given,
        )

    @contextmanager
    def opened(self) -> Iterator[Run]:
        """Have the run as it was then, in memory no longer than this unless it was given open."""
        if self.run is not None:
            yield self.run
            return
        with Run(self.path) as run:
            yield run.until(self.last_step)


class RunTable:
    """What an export writes of one run, or of several: then columns that tell them apart come first.

    Attributes:
        parts: the runs in turn.
        family: the settings in which they differ; None for one run alone.
        labels: where there are several, even if it is one: id, name, and every setting that differs.
            What a control is at a step is a column of its own, so what it is for the run, at its newest
            step, is called `run_eta`, and so is a setting that a column is called like.
        columns: the labels', and those that any of the runs has, in the order of
            `eostui.runs.store.columns.exported`, as the first that has it describes it.
        measured_only: whether it has only the rows at which something was measured.
    """

    def __init__(self, runs: Run | Sequence[Run | Path], *, measured_only: bool = False) -> None:
        """Choose rows and columns.

        Args:
            runs: one run, or several; those that are given as directories are opened one at a time, when
                their rows are asked for: a thousand don't fit into memory.
            measured_only: only the rows at which something was measured.

        Raises:
            InputError: if two runs have the same id, or one isn't there.
            RunFormatError: if one is damaged.
        """
        several = not isinstance(runs, Run)
        self.measured_only = measured_only
        self.parts = [
            Part.of(each, measured_only) for each in ([runs] if isinstance(runs, Run) else runs)
        ]
        for name, count in Counter(part.path.name for part in self.parts).items():
            if count > 1:
                raise InputError(f"there are two runs {name}: an export needs each once")
        found = [{column.name: column for column in part.columns} for part in self.parts]
        said = {name: column for columns in reversed(found) for name, column in columns.items()}
        order = dict.fromkeys(column.name for column in _EVERY)
        order |= dict.fromkeys(name for columns in found for name in columns if name not in _LAST)
        known = tuple(said[name] for name in (*order, *_LAST) if name in said)
        self.family = Family.of(read_entry(part.path) for part in self.parts) if several else None
        self.labels = _labels(self.family, {*said}) if self.family else ()
        self.columns = (*(label.column for label in self.labels), *known)

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(part.rows for part in self.parts)

    def blocks(self, progress: Progress | None = None) -> Iterator[TableBlock]:
        """Yield the rows in order, at least one block: each column's values, NaN where not known.

        `progress` is told how many rows of how many are done.
        """
        done, total = 0, self.rows
        for place, part in enumerate(self.parts if total else self.parts[:1]):
            with part.opened() as run:
                for block in self.blocks_of(place, run):
                    rows = len(block["step"])
                    if rows or not total:
                        yield block
                    done += rows
                    if progress is not None:
                        progress(done, total)

    def blocks_of(self, place: int, run: Run) -> Iterator[TableBlock]:
        """Yield the rows of the run at a place, opened, at least one block."""
        for start in range(0, max(self.parts[place].rows, 1), ROWS):
            part = run.columns(measured_only=self.measured_only, rows=slice(start, start + ROWS))
            length = len(part["step"])
            unknown = np.full(length, np.nan)
            told = {label.column.name: label.rows(place, length) for label in self.labels}
            yield {
                column.name: part.get(column.name, unknown)
                if column.name not in told
                else told[column.name]
                for column in self.columns
            }

    def arrays(self) -> Arrays:
        """Return the arrays among the columns, those that have the same shape in all runs."""
        found: Arrays = {}
        differing: set[str] = set()
        for part in self.parts:
            for name, array in part.arrays.items():
                if found.setdefault(name, array) != array:
                    differing.add(name)
        flat = {column.name for column in self.columns}
        return {
            name: array
            for name, array in found.items()
            if name not in differing and flat.issuperset(array[0])
        }

    def describe(self) -> dict[str, Any]:
        """Return what a reader of the table needs: columns, configs, versions, conventions, events."""
        columns = {c.name: {"unit": c.unit, "description": c.description} for c in self.columns}
        told = [part.description for part in self.parts]
        if any(trusted_gradient(each["run"]) for each in told) and "sharpness" in columns:
            columns["sharpness"]["description"] += f"; here {OF_TRUSTED}: see the run's events"
        if self.family is None:
            return {**told[0], "columns": columns}
        labelled = [
            {**each, "run": {**each["run"], "label": label}}
            for each, label in zip(told, self.family.short_labels, strict=True)
        ]
        return {"runs": labelled, "columns": columns}


def _describe(run: Run, live: bool) -> dict[str, Any]:
    facts = {key: value for key, value in run.facts.items() if key != "config"}
    # a run that was live may have ended since
    status = run.facts.get("status", "running") if live else run.state
    return {
        "run": {**facts, "status": status, "live": live, "last_step": run.last_step},
        "config": run.config.acting(mode="json"),
        "events": [
            {"step": e.step, "unix_time": e.unix_time, "kind": e.kind, "payload": e.payload}
            for e in run.events
        ],
    }


def _labels(family: Family, taken: set[str]) -> tuple[Label, ...]:
    """Return what tells the runs apart; `taken` are the names of the other columns."""
    settings = [settings_of(entry) for entry in family.entries]
    labels = [
        Label.of(RUN, [entry.id for entry in family.entries]),
        Label.of(NAME, [entry.name for entry in family.entries]),
    ]
    taken = taken | {*CONTROLS, RUN.name, NAME.name}
    for key in (*family.differing, *family.others):
        name = f"run_{key}" if key in taken else key
        field = RunConfig.model_fields.get(key)
        meaning = (field.description if field else None) or GROUP
        when = ", at its newest step" if key in CONTROLS else ""
        column = Column(
            name, "", f"the run's setting `{key}`{when}: {meaning}" if field else meaning
        )
        labels.append(Label.of(column, [each.get(key) for each in settings]))
    return tuple(labels)


def _text(value: Any) -> str:
    """Return a setting as text: what isn't one already as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _too_large(values: Sequence[Any]) -> bool:
    """Return whether some whole numbers don't fit into 64 bits."""
    return any(value is not None and not -(2**63) <= value < 2**63 for value in values)


def _was_live(run: Run) -> bool:
    """Return whether a run was live when it was read: it is, or has ended in order since."""
    if run.facts.get("status", "running") not in LIVE_STATES:
        return False
    return run.state in LIVE_STATES or facts_of(run.path).get("status") not in LIVE_STATES
