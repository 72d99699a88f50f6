"""Reading a run directory while its engine may be writing: only rows newer than the last seen."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from eostui.errors import InputError, RunFormatError
from eostui.runs.store import schema
from eostui.runs.store.columns import BUILT_IN_COLUMNS
from eostui.runs.store.connection import UNREADABLE, connect, unreadable
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.own_columns import dynamics_columns_of, probe_columns_of, step_columns_of
from eostui.runs.store.readings import Readings, by_step, read_readings
from eostui.runs.store.rows import (
    Event,
    FloatArray,
    RowError,
    as_matrix,
    check_block,
    read_block,
    read_event,
    read_fact,
    read_landscape,
)
from eostui.runs.store.wide_rows import joined_readings, read_wide_rows, wide_probes

_Stated = TypeVar("_Stated")

#: A poll ends with the flush that reaches so many rows: a long run has no second copy in memory.
_ROWS_AT_ONCE = 50_000
#: Rows of a table fetched from SQLite at a time: few enough to cost the garbage collector nothing.
_FETCHED = 100
#: The cells of a reading, but its id.
_READING = "step, probe, point, numbers, seconds, products, crc32"


@dataclass(frozen=True)
class News:
    """What a poll found.

    Attributes:
        steps: new rows, one column for each of the reader's `step_columns`.
        readings: new ones, by the name of the probe.
        events: new events.
        facts: all facts as they are now.
        landscape: the newest map, if there is one that wasn't read before.
        calibrated: step, calibration, x and q of new calibrated rows, shape (n, 4).
    """

    steps: FloatArray
    readings: dict[str, Readings]
    events: list[Event]
    facts: dict[str, str] = field(default_factory=dict)
    landscape: Landscape | None = None
    calibrated: FloatArray = field(default_factory=lambda: np.empty((0, 4)))


class RunReader:
    """Reads one run directory, read-only, each table in short reads. May be used from any thread,
    by one at a time.

    Attributes:
        path: the run directory.
        version: the format it is written in.
        step_columns: names of the columns stored for every step.
        dynamics_columns: what there is to say of those of them that only the run's dynamics has.
        probes: those of the run, by name, with their columns.
    """

    def __init__(self, path: Path) -> None:
        """Open the store. Raises InputError or RunFormatError with a sentence."""
        self.path = path
        database = path / schema.DATABASE
        if not database.is_file():
            raise InputError(f"{path}: not a run directory (it has no {schema.DATABASE})")
        self._database = connect(database)
        self._next_step = 0
        self._measured_step = -1.0
        try:
            self.version = self._read("PRAGMA user_version")[0][0]
            if not 1 <= self.version <= schema.SCHEMA_VERSION:
                raise RunFormatError(
                    f"{database}: written in format {self.version}, "
                    f"but this eostui reads format {schema.SCHEMA_VERSION} and before"
                )
            self._sealed = self.version >= schema.SEALED_SINCE
            self._tables = schema.appended(self.version)
            self._last_id = dict.fromkeys(self._tables, 0)
            facts = self.facts()
            self.dynamics_columns = _stated("dynamics", dynamics_columns_of, facts, database)
            self.step_columns = _stated("step_columns", step_columns_of, facts, database)
            if self.version < schema.READINGS_SINCE:
                self.probes = wide_probes(self.wide_columns())
            else:
                probes = _stated("probes", probe_columns_of, facts, database)
                self.probes = {probe.name: probe for probe in probes}
        except RunFormatError:
            self._database.close()
            raise

    def facts(self) -> dict[str, str]:
        """Return all facts of the run: id, config (TOML), status and so on.

        Raises RunFormatError on damage.
        """
        if self._sealed:
            rows = self._read("SELECT key, value, crc32, (SELECT facts FROM seal) FROM run")
        else:
            rows = [(*row, 0, 0) for row in self._read("SELECT key, value FROM run")]
        try:
            facts = dict(read_fact(row[:3], sealed=self._sealed) for row in rows)
        except RowError as error:
            raise self._damaged(error) from None
        if self._sealed and rows and rows[0][3] != len(facts):
            raise self._damaged("some of its facts are lost")
        return facts

    def wide_columns(self) -> tuple[str, ...]:
        """Return the columns of what was measured, in their order, of a run from before format 6."""
        names = tuple(str(row[1]) for row in self._read("PRAGMA table_info(measurements)"))
        return names[3:-1] if self._sealed else names[3:]  # id, step, point; the checksum

    def room(self) -> int:
        """Return how many steps the store's files have room for: never fewer than it has."""
        return self._size() // (8 * len(self.step_columns))

    def newest(self) -> dict[str, float]:
        """Return the newest stored row by column, its `step` too, {} before the first.

        Raises RunFormatError on damage.
        """
        if self._sealed:
            source = "seal LEFT JOIN steps ON steps.id = seal.steps WHERE seal.steps > 0"
        else:
            source = "steps ORDER BY id DESC LIMIT 1"
        return self._row(source)

    def row(self, step: int) -> dict[str, float]:
        """Return the stored row of a step by column, its `step` too, {} if there is none.

        Raises RunFormatError on damage.
        """
        return self._row("steps WHERE first_step <= ? AND last_step >= ?", step, step)

    def _row(self, source: str, *step: int) -> dict[str, float]:
        """Return the row of a step in a block of rows, or the last one of the block."""
        found = self._read(f"SELECT first_step, last_step, matrix, crc32 FROM {source}", *step)
        if not found:
            return {}
        first, last, blob, crc = found[0]
        width = len(self.step_columns)
        try:
            block = read_block((first, last), blob, crc, width, sealed=self._sealed)
        except RowError as error:
            raise self._damaged(f"steps {first} to {last}: {error}") from None
        wanted = step[0] if step else last
        row = dict(zip(self.step_columns, block[wanted - first].tolist(), strict=True))
        return {"step": wanted, **row}

    def glance(self, since: int) -> tuple[float, str]:
        """Return the mean measured sharpness from a step on, NaN if none, and the newest phase or "".

        Raises:
            RunFormatError: on damage.
        """
        events = self._iterate(
            f"SELECT step, unix_time, kind, payload, {'crc32' if self._sealed else '0'} FROM events "
            "WHERE kind = 'phase' ORDER BY id DESC LIMIT 1"
        )
        try:
            sharpness = self._sharpness(since)
            phases = [read_event(row, sealed=self._sealed).payload for row in events]
        except RowError as error:
            raise self._damaged(error) from None
        finite = sharpness[np.isfinite(sharpness)]
        mean = float(finite.mean()) if len(finite) else math.nan
        return mean, str(phases[0].get("to", "")) if phases else ""

    def _sharpness(self, since: int) -> FloatArray:
        """Return S of the readings from a step on."""
        if self.version < schema.READINGS_SINCE:
            query = "SELECT * FROM measurements WHERE step >= ? ORDER BY id"
            found = self._wide_readings(self._execute(query, since), lambda rows: rows)
        else:
            query = f"SELECT {_READING} FROM readings WHERE step >= ? AND probe = ? ORDER BY id"
            cursor = self._execute(query, since, BUILT_IN_COLUMNS[0].name)
            found = read_readings(self._batches(cursor), self.probes)
        return by_step(found, self.probes).get("sharpness", np.empty(0))

    def events_of(self, kind: str) -> list[Event]:
        """Return all events of a kind that are on record now. Raises RunFormatError on damage."""
        crc = "crc32" if self._sealed else "0"
        rows = self._iterate(
            f"SELECT step, unix_time, kind, payload, {crc} FROM events WHERE kind = ? ORDER BY id",
            kind,
        )
        try:
            return [read_event(row, sealed=self._sealed) for row in rows]
        except RowError as error:
            raise self._damaged(error) from None

    def poll(self) -> News:
        """Return what was appended since the last poll, the oldest part of it if it is much.

        Raises:
            RunFormatError: on damage, or if the store can't be read now; trying again misses no row.
        """
        before = dict(self._last_id), self._next_step, self._measured_step
        try:
            with self.snapshot():  # a measured row never comes before its step's row
                steps, complete = self._new_steps()
                news = News(
                    steps,
                    self._new_readings(),
                    self._new_events(),
                    self.facts(),
                    self._new_landscape(),
                    self._new_calibrated(),
                )
                if self._sealed and complete:
                    self._check_seal(rows=len(steps))
        except (RowError, RunFormatError) as error:
            self._last_id, self._next_step, self._measured_step = before
            raise self._damaged(error) if isinstance(error, RowError) else error from None
        return news

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the same state of the store throughout the block, whatever is written meanwhile."""
        if self._database.in_transaction:  # in a longer one
            yield
            return
        self._execute("BEGIN")
        try:
            yield
        except BaseException:
            with contextlib.suppress(RunFormatError):  # what failed first is what matters
                self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")

    def close(self) -> None:
        """Close the store."""
        self._database.close()

    def _new_steps(self) -> tuple[FloatArray, bool]:
        """Return new rows, and whether these are all that can be read."""
        width = len(self.step_columns)
        blobs: list[bytes] = []
        before = self._next_step
        complete = True
        for row_id, first, last, blob, crc in self._iterate(
            "SELECT id, first_step, last_step, matrix, crc32 FROM steps WHERE id > ? ORDER BY id",
            self._last_id["steps"],
        ):
            try:
                check_block((first, last), blob, crc, width, sealed=self._sealed)
                if first != self._next_step:
                    raise RowError(f"steps {self._next_step} to {first - 1} are lost")
                self._follow("steps", row_id)
            except RowError:
                if not blobs:
                    raise self._damaged(
                        f"steps {first} to {last} are damaged; "
                        f"the {self._next_step} rows before them are sound"
                    ) from None
                complete = False  # the sound rows first; the next poll comes here again and raises
                break
            blobs.append(blob)
            self._next_step = last + 1
            if self._next_step - before >= _ROWS_AT_ONCE:
                complete = False
                break
        return as_matrix(blobs, width), complete

    def _new_readings(self) -> dict[str, Readings]:
        """Return those whose steps were read already, so that each finds its own."""
        table = schema.measured_table(self.version)
        wide = self.version < schema.READINGS_SINCE
        cursor = self._execute(
            f"SELECT {'*' if wide else f'id, {_READING}'} FROM {table} WHERE id > ? ORDER BY id",
            self._last_id[table],
        )
        newest = self._measured_step

        def take(rows: list[Any]) -> list[Any]:
            nonlocal newest
            taken = [row for row in rows if self._known(row[1])]
            for row in taken:
                self._follow(table, row[0])
                if not isinstance(row[1], int):
                    continue  # told when it is read
                # the readings of a step come together, and are never added to
                if row[1] < newest or row[1] <= self._measured_step:
                    raise RowError("what was measured isn't in the order of its steps")
                newest = row[1]
            return taken

        found = (
            self._wide_readings(cursor, take)
            if wide
            else read_readings(self._taken(cursor, take), self.probes)
        )
        self._measured_step = newest
        return found

    def _taken(
        self, cursor: sqlite3.Cursor, take: Callable[[list[Any]], list[Any]]
    ) -> Iterator[list[Any]]:
        """Yield rows without their ids, up to the first that isn't taken."""
        for rows in self._batches(cursor):
            taken = take(rows)
            yield [row[1:] for row in taken]
            if len(taken) < len(rows):
                return

    def _wide_readings(
        self, cursor: sqlite3.Cursor, take: Callable[[list[Any]], list[Any]]
    ) -> dict[str, Readings]:
        names = [description[0] for description in cursor.description]
        parts = []
        for rows in self._batches(cursor):  # each numbers before the next is fetched
            taken = take(rows)
            if taken:
                parts.append(read_wide_rows(names, taken, sealed=self._sealed))
            if len(taken) < len(rows):
                break
        return joined_readings(parts)

    def _new_events(self) -> list[Event]:
        events = []
        crc = "crc32" if self._sealed else "0"
        for row_id, *row in self._iterate(
            f"SELECT id, step, unix_time, kind, payload, {crc} FROM events WHERE id > ? ORDER BY id",
            self._last_id["events"],
        ):
            events.append(read_event(row, sealed=self._sealed))
            self._follow("events", row_id)
        return events

    def _new_landscape(self) -> Landscape | None:
        if self.version < schema.LANDSCAPES_SINCE:
            return None
        found = self._read(
            "SELECT id, left, right, bottom, top, rows, columns, maps, crc32 FROM landscapes "
            "WHERE id > ? ORDER BY id DESC LIMIT 1",
            self._last_id["landscapes"],
        )
        if not found:
            return None
        (row_id, *row) = found[0]
        landscape = read_landscape(row, sealed=self._sealed)
        self._last_id["landscapes"] = row_id
        return landscape

    def _new_calibrated(self) -> FloatArray:
        """Return the rows whose steps were read already: their η and λ are there."""
        if self.version < schema.CALIBRATED_SINCE:
            return np.empty((0, 4))
        parts = [np.empty((0, 4))]
        for row_id, number, first, last, blob, crc in self._iterate(
            "SELECT id, number, first_step, last_step, matrix, crc32 FROM calibrated "
            "WHERE id > ? ORDER BY id",
            self._last_id["calibrated"],
        ):
            if not self._known(last):
                break
            try:
                cells = (number, first, last)
                matrix = read_block(cells, blob, crc, 2, sealed=self._sealed)
                self._follow("calibrated", row_id)
            except RowError:
                raise RowError(f"the calibrated steps {first} to {last} are damaged") from None
            steps = np.arange(first, last + 1)
            parts.append(np.column_stack([steps, np.full(len(steps), number), matrix]))
        return np.concatenate(parts)

    def _known(self, step: object) -> bool:
        """Return whether a step's row was read; of no step at all too, which is told elsewhere."""
        return not isinstance(step, int) or step < self._next_step

    def _follow(self, table: str, row_id: int) -> None:
        """Take in the id of the next row of a table: from format 4 on none is left out."""
        if self._sealed and row_id != self._last_id[table] + 1:
            raise RowError(f"rows of `{table}` are lost")
        self._last_id[table] = row_id

    def _check_seal(self, rows: int) -> None:
        """Raise RunFormatError if fewer rows were read than the last flush counted."""
        seals = self._read(f"SELECT {', '.join(self._tables)} FROM seal")
        if not seals:
            raise self._damaged("its seal is lost")
        for table, count in zip(self._tables, seals[0], strict=True):
            if self._last_id[table] != count and not rows:  # what was read is given first
                raise self._damaged(
                    f"`{table}` has {self._last_id[table]} sound rows of {count}; the rest are lost"
                )

    def _damaged(self, how: object) -> RunFormatError:
        return RunFormatError(f"{self.path / schema.DATABASE}: damaged: {how}")

    def _execute(self, query: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._database.execute(query, values)
        except UNREADABLE as error:
            raise unreadable(self.path / schema.DATABASE, error) from None

    def _batches(self, cursor: sqlite3.Cursor) -> Iterator[list[Any]]:
        left = self._most_rows()
        try:
            while rows := cursor.fetchmany(_FETCHED):
                left -= len(rows)
                if left < 0:  # damaged pages may lead back to each other, to rows without end
                    raise sqlite3.DatabaseError("its pages go in circles")
                yield rows
        except UNREADABLE as error:
            raise unreadable(self.path / schema.DATABASE, error) from None

    def _fetch(self, cursor: sqlite3.Cursor) -> Iterator[Any]:
        return chain.from_iterable(self._batches(cursor))

    def _most_rows(self) -> int:
        """Return how many rows the store's files have room for."""
        return 1000 + self._size() // 8

    def _size(self) -> int:
        """Return the bytes of the store's files."""
        database = self.path / schema.DATABASE
        files = (database, database.with_name(f"{database.name}-wal"))
        return sum(file.stat().st_size for file in files if file.is_file())

    def _iterate(self, query: str, *values: object) -> Iterator[Any]:
        return self._fetch(self._execute(query, *values))

    def _read(self, query: str, *values: object) -> list[Any]:
        return list(self._iterate(query, *values))


def _stated(
    key: str, read: Callable[[Mapping[str, str]], _Stated], facts: Mapping[str, str], database: Path
) -> _Stated:
    """Return what a fact states of columns. Raises RunFormatError if that can't be."""
    try:
        return read(facts)
    except ValueError as error:
        raise RunFormatError(f"{database}: its fact `{key}` is damaged: {error}") from None


def facts_of(path: Path) -> dict[str, str]:
    """Return the facts of a run. Raises InputError or RunFormatError."""
    reader = RunReader(path)
    try:
        return reader.facts()
    finally:
        reader.close()


def run_state(path: Path, facts: Mapping[str, str]) -> str:
    """Return the state of a run: the stored one, or `interrupted` when its engine is gone."""
    state = facts.get("status", "running")
    if state not in schema.LIVE_STATES or engine_alive(path):
        return state
    # it may have ended since the facts were read: an engine writes its end, then frees the lock
    state = facts_of(path).get("status", "running")
    return "interrupted" if state in schema.LIVE_STATES else state
