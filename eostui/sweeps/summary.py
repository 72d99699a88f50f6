"""What the members of a sweep came to, a row each: any list of runs has the same rows."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eostui.errors import EostuiError, InputError, printable
from eostui.runs.analysis.outcome import COLUMNS, nothing, outcome
from eostui.runs.family import Family
from eostui.runs.run import Run
from eostui.runs.shelf import Entry
from eostui.runs.shelf_index import Stamp, stamp_of
from eostui.runs.store.columns import Column
from eostui.runs.store.schema import LIVE_STATES
from eostui.sweeps.sweep import Sweep
from eostui.sweeps.transition import Transition, transitions
from eostui.text import plain

#: The files in a sweep's directory.
CSV_FILE, JSON_FILE = "summary.csv", "summary.json"
#: Columns that stand before the settings.
_FIRST = 2

#: Told how many rows of how many are there.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Summary:
    """Runs side by side, a row each.

    Attributes:
        settings: the settings that differ, each a column of its name after `name`.
        rows: a value for each of `columns`; numbers that aren't known are NaN.
    """

    settings: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, in order."""
        names = [column.name for column in COLUMNS]
        return (*names[:_FIRST], *self.settings, *names[_FIRST:])

    def described(self) -> tuple[Column, ...]:
        """Return all columns with their units and what they are."""
        own = tuple(Column(name, "", f"the setting `{name}`") for name in self.settings)
        return (*COLUMNS[:_FIRST], *own, *COLUMNS[_FIRST:])

    def csv(self) -> str:
        """Return it as a table: numbers in full, as Python reads them, NaN as nothing."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_cell(row[name]) for name in self.columns] for row in self.rows)
        return text.getvalue()

    def json(self, found: Sequence[Transition] = ()) -> str:
        """Return it as JSON, with its columns and the transitions found; NaN and infinities are null."""
        columns = {
            column.name: {"unit": column.unit, "description": column.description}
            for column in self.described()
        }
        whole = {
            "settings": list(self.settings),
            "columns": columns,
            "rows": list(self.rows),
            "transitions": [each.content() for each in found],
        }
        return json.dumps(plain(whole), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


class SummaryReader:
    """Makes summaries, once or again and again: rows of runs that ended and didn't change are kept."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[Stamp, dict[str, Any]]] = {}

    def of_sweep(self, sweep: Sweep, progress: Progress | None = None) -> Summary:
        """Return a row for each member, there or not, in the order of the plan.

        The settings are those of the sweep's axes.

        Raises:
            InputError: if a member's config isn't valid.
        """
        settings = sweep.plan.keys
        rows = []
        states = sweep.states()
        for done, each in enumerate(states):
            if progress is not None:
                progress(done, len(states))
            path = each.member.path
            row = nothing(run=path.name, state=each.state, sentence=each.sentence)
            if each.entry is not None:
                row = self._row(path, each.state)
            rows.append(row | {key: each.member.settings.get(key, "") for key in settings})
        return Summary(settings, tuple(rows))

    def of_runs(self, entries: Iterable[Entry], progress: Progress | None = None) -> Summary:
        """Return a row for each run, in their order; the settings are those in which they differ."""
        family = Family.of(entries)
        rows = []
        for done, (entry, settings) in enumerate(zip(family.entries, family.settings, strict=True)):
            if progress is not None:
                progress(done, len(family.entries))
            row = self._row(entry.path, entry.state)
            rows.append(row | {key: settings.get(key, "") for key in family.differing})
        return Summary(family.differing, tuple(rows))

    def _row(self, path: Path, state: str) -> dict[str, Any]:
        """Return a run's row; one that can't be read has a sentence on that."""
        stamp = stamp_of(path)
        kept = self._kept.get(path)
        if (
            kept is not None
            and stamp is not None
            and kept[0] == stamp
            and state == kept[1]["state"]
        ):
            return kept[1]
        try:
            with Run(path) as run:
                row = outcome(run)
        except EostuiError as error:
            return nothing(run=path.name, state="unreadable", sentence=str(error))
        if stamp is not None and stamp_of(path) == stamp and row["state"] not in LIVE_STATES:
            self._kept[path] = stamp, row
        return row


def summary_of(sweep: Sweep) -> Summary:
    """Return a row for each member of a sweep. Raises InputError if a member's config isn't valid."""
    return SummaryReader().of_sweep(sweep)


def write(sweep: Sweep, summary: Summary, found: Sequence[Transition] | None = None) -> None:
    """Write `summary.csv` and `summary.json` into a sweep's directory, each whole or not at all.

    Args:
        sweep: whose directory.
        summary: of it.
        found: its transitions, where they are known already.

    Raises:
        InputError: if they can't be written.
    """
    if found is None:
        found = transitions(summary.rows, summary.settings)
    for name, text in ((CSV_FILE, summary.csv()), (JSON_FILE, summary.json(found))):
        write_whole(sweep.path / name, text)


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all. Raises InputError if it can't be written."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(unfinished, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror}") from None
    finally:  # by ctrl+c too
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    return printable(str(value))
