"""Reading a run directory while its engine may be writing: only rows newer than the last seen."""

from __future__ import annotations

import json
import math
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.errors import InputError, RunFormatError
from eostui.runs import schema
from eostui.runs.columns import columns_of
from eostui.runs.landscape import Landscape
from eostui.runs.liveness import engine_alive

#: Flushes read in one poll at most: opening a long run holds no second copy of it in memory.
_FLUSHES_AT_ONCE = 4096


@dataclass(frozen=True)
class Event:
    """Something that happened at a step: a control change, a pause, the end."""

    step: int
    unix_time: float
    kind: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class News:
    """What a poll found.

    Attributes:
        steps: new rows, one column for each of the reader's `step_columns`.
        measurements: new measured rows by column, `step` among them, NaN where not measured.
        events: new events.
        facts: all facts as they are now.
        landscape: the newest map, if there is one that wasn't read before.
        calibrated: step, calibration, x and q of new calibrated rows, shape (n, 4).
    """

    steps: NDArray[np.float64]
    measurements: dict[str, NDArray[np.float64]]
    events: list[Event]
    facts: dict[str, str] = field(default_factory=dict)
    landscape: Landscape | None = None
    calibrated: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))


class RunReader:
    """Reads one run directory, read-only, each table in short reads. May be used from any thread,
    by one at a time."""

    def __init__(self, path: Path) -> None:
        """Open the store. Raises InputError or RunFormatError with a sentence."""
        self.path = path
        database = path / schema.DATABASE
        if not database.is_file():
            raise InputError(f"{path}: not a run directory (it has no {schema.DATABASE})")
        self._database = _connect(database)
        self._last_id = dict.fromkeys(
            ("steps", "measurements", "events", "landscapes", "calibrated"), 0
        )
        self._next_step = 0
        self._version = self._read("PRAGMA user_version")[0][0]
        if not 1 <= self._version <= schema.SCHEMA_VERSION:
            raise RunFormatError(
                f"{database}: written in format {self._version}, "
                f"but this eostui reads format {schema.SCHEMA_VERSION} and before"
            )
        try:
            self.step_columns = columns_of(self.facts())
        except ValueError:
            raise RunFormatError(f"{database}: its fact `step_columns` is damaged") from None

    def facts(self) -> dict[str, str]:
        """Return all facts of the run: id, config (TOML), status, versions and so on."""
        return dict(self._read("SELECT key, value FROM run"))

    def last_step(self) -> int:
        """Return the newest stored step, or −1 before the first."""
        return int(self._read("SELECT coalesce(max(last_step), -1) FROM steps")[0][0])

    def glance(self, since: int) -> tuple[float, str]:
        """Return the mean measured sharpness from a step on, NaN if none, and the newest phase or ""."""
        (mean,) = self._read("SELECT avg(sharpness) FROM measurements WHERE step >= ?", since)[0]
        newest = self._read(
            "SELECT json_extract(payload, '$.to') FROM events WHERE kind = 'phase' "
            "ORDER BY id DESC LIMIT 1"
        )
        phase = newest[0][0] if newest else None
        return math.nan if mean is None else float(mean), str(phase or "")

    def poll(self) -> News:
        """Return what was appended since the last poll, the oldest part of it if it is much.

        Raises:
            RunFormatError: on damage.
        """
        with self.snapshot():  # a measured row never comes before its step's row
            return News(
                self._new_steps(),
                self._new_measurements(),
                self._new_events(),
                self.facts(),
                self._new_landscape(),
                self._new_calibrated(),
            )

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the same state of the store throughout the block, whatever is written meanwhile."""
        if self._database.in_transaction:  # in a longer one
            yield
            return
        self._execute("BEGIN")
        try:
            yield
        finally:
            self._execute("COMMIT")

    def close(self) -> None:
        """Close the store."""
        self._database.close()

    def _new_steps(self) -> NDArray[np.float64]:
        parts: list[NDArray[np.float64]] = []
        for row_id, first, last, blob, crc in self._read(
            "SELECT id, first_step, last_step, matrix, crc32 FROM steps WHERE id > ? ORDER BY id "
            "LIMIT ?",
            self._last_id["steps"],
            _FLUSHES_AT_ONCE,
        ):
            width = len(self.step_columns)
            if (
                zlib.crc32(blob) != crc
                or len(blob) != (last - first + 1) * width * 8
                or first != self._next_step
            ):
                if parts:  # the sound rows first; the next poll comes here again and raises
                    break
                raise RunFormatError(
                    f"{self.path / schema.DATABASE}: steps {first} to {last} are damaged; "
                    f"the {self._next_step} rows before them are sound"
                )
            parts.append(np.frombuffer(blob, dtype="<f8").reshape(-1, width))
            self._last_id["steps"], self._next_step = row_id, last + 1
        return np.concatenate(parts) if parts else np.empty((0, len(self.step_columns)))

    def _new_measurements(self) -> dict[str, NDArray[np.float64]]:
        """Return the rows whose steps were read already, so that each finds its own."""
        cursor = self._execute(
            "SELECT * FROM measurements WHERE id > ? AND step < ? ORDER BY id",
            self._last_id["measurements"],
            self._next_step,
        )
        names = [description[0] for description in cursor.description]
        rows = cursor.fetchall()
        columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
        if rows:
            self._last_id["measurements"] = columns.pop("id")[-1]
            del columns["point"]
        return {name: np.array(values, dtype=np.float64) for name, values in columns.items()}

    def _new_events(self) -> list[Event]:
        events = []
        for row_id, step, unix_time, kind, payload in self._read(
            "SELECT id, step, unix_time, kind, payload FROM events WHERE id > ? ORDER BY id",
            self._last_id["events"],
        ):
            events.append(Event(step, unix_time, kind, json.loads(payload)))
            self._last_id["events"] = row_id
        return events

    def _new_landscape(self) -> Landscape | None:
        if self._version < 2:
            return None
        found = self._read("SELECT * FROM landscapes WHERE id > ?", self._last_id["landscapes"])
        if not found:
            return None
        (row_id, *row) = found[-1]
        self._last_id["landscapes"] = row_id
        try:
            return Landscape.from_row(tuple(row))
        except ValueError:
            raise RunFormatError(f"{self.path / schema.DATABASE}: its map is damaged") from None

    def _new_calibrated(self) -> NDArray[np.float64]:
        """Return the rows whose steps were read already: their η and λ are there."""
        if self._version < 3:
            return np.empty((0, 4))
        parts = [np.empty((0, 4))]
        for row_id, number, first, last, blob, crc in self._read(
            "SELECT id, number, first_step, last_step, matrix, crc32 FROM calibrated "
            "WHERE id > ? AND last_step < ? ORDER BY id",
            self._last_id["calibrated"],
            self._next_step,
        ):
            count = last - first + 1
            if zlib.crc32(blob) != crc or len(blob) != count * 2 * 8:
                raise RunFormatError(
                    f"{self.path / schema.DATABASE}: the calibrated steps {first} to {last} are damaged"
                )
            matrix = np.frombuffer(blob, dtype="<f8").reshape(-1, 2)
            steps = np.arange(first, last + 1)
            parts.append(np.column_stack([steps, np.full(count, number), matrix]))
            self._last_id["calibrated"] = row_id
        return np.concatenate(parts)

    def _execute(self, query: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._database.execute(query, values)
        except sqlite3.Error as error:
            raise RunFormatError(f"{self.path / schema.DATABASE}: can't be read: {error}") from None

    def _read(self, query: str, *values: object) -> list[Any]:
        return self._execute(query, *values).fetchall()


def run_state(path: Path, facts: Mapping[str, str]) -> str:
    """Return the state of a run: the stored one, or `interrupted` when its engine is gone."""
    state = facts.get("status", "running")
    if state not in schema.LIVE_STATES or engine_alive(path):
        return state
    # it may have ended since the facts were read: an engine writes its end, then frees the lock
    reader = RunReader(path)
    state = reader.facts().get("status", "running")
    reader.close()
    return "interrupted" if state in schema.LIVE_STATES else state


def _connect(database: Path) -> sqlite3.Connection:
    """Open read-only; a folder that can't be written to has no log to read, so skip its locks."""

    def connect(options: str) -> sqlite3.Connection:
        uri = f"{database.absolute().as_uri()}?mode=ro{options}"
        return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)

    connection = connect("")
    try:
        connection.execute("SELECT 1 FROM run LIMIT 1").fetchall()
    except sqlite3.OperationalError as error:
        connection.close()
        unwritable = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if (
            error.sqlite_errorcode & 0xFF not in unwritable
            or database.with_name("run.db-wal").exists()
        ):
            raise RunFormatError(f"{database}: can't be read: {error}") from None
        return connect("&immutable=1")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise RunFormatError(f"{database}: damaged or not a run: {error}") from None
    return connection
