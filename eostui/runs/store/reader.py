"""A store that is open for reading: its facts, which columns it has, and rows of it by query."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from eostui.errors import InputError, RunFormatError
from eostui.runs.store import schema
from eostui.runs.store.connection import UNREADABLE, connect, unreadable
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.own_columns import (
    PROBES_FACT,
    dynamics_columns_of,
    probe_columns_of,
    step_columns_of,
)
from eostui.runs.store.readings import Readings, read_readings
from eostui.runs.store.rows import RowError, read_fact
from eostui.runs.store.wide_rows import read_wide_readings, wide_probes

_Stated = TypeVar("_Stated")

#: Rows of a table fetched from SQLite at a time: few enough to cost the garbage collector nothing.
_FETCHED = 100


class RunReader:
    """Reads one run directory, read-only, while its engine may be writing. May be used from any thread,
    by one at a time. What is new in it reads `Poller`; single rows `eostui.runs.store.lookup`.

    Attributes:
        path: the run directory.
        database: its store.
        version: the format it is written in.
        sealed: whether rows have checksums and the store a seal.
        step_columns: names of the columns stored for every step.
        dynamics_columns: what there is to say of those of them that only the run's dynamics has.
        probes: those of the run, by name, with their columns.
    """

    def __init__(self, path: Path) -> None:
        """Open the store. Raises InputError or RunFormatError with a sentence."""
        self.path = path
        self.database = path / schema.DATABASE
        if not self.database.is_file():
            raise InputError(f"{path}: not a run directory (it has no {schema.DATABASE})")
        self._connection = connect(self.database)
        try:
            self.version = self.read("PRAGMA user_version")[0][0]
            if not 1 <= self.version <= schema.SCHEMA_VERSION:
                raise RunFormatError(
                    f"{self.database}: written in format {self.version}, "
                    f"but this eostui reads format {schema.SCHEMA_VERSION} and before"
                )
            self.sealed = self.version >= schema.SEALED_SINCE
            facts = self.facts()
            self._probes_stated = facts.get(PROBES_FACT)
            self.dynamics_columns = self._stated("dynamics", dynamics_columns_of, facts)
            self.step_columns = self._stated("step_columns", step_columns_of, facts)
            if self.version < schema.READINGS_SINCE:
                self.probes = wide_probes(self.wide_columns())
            else:
                probes = self._stated("probes", probe_columns_of, facts)
                self.probes = {probe.name: probe for probe in probes}
        except RunFormatError:
            self._connection.close()
            raise

    def facts(self) -> dict[str, str]:
        """Return all facts of the run: id, config (TOML), status and so on.

        Raises RunFormatError on damage.
        """
        if self.sealed:
            rows = self.read("SELECT key, value, crc32, (SELECT facts FROM seal) FROM run")
        else:
            rows = [(*row, 0, 0) for row in self.read("SELECT key, value FROM run")]
        try:
            facts = dict(read_fact(row[:3], sealed=self.sealed) for row in rows)
        except RowError as error:
            raise self.damaged(error) from None
        if self.sealed and rows and rows[0][3] != len(facts):
            raise self.damaged("some of its facts are lost")
        return facts

    def take_probes(self, facts: Mapping[str, str]) -> None:
        """Take in probes that were added since the run was opened. Raises RunFormatError on damage."""
        stated = facts.get(PROBES_FACT)
        if stated != self._probes_stated and self.version >= schema.READINGS_SINCE:
            probes = self._stated("probes", probe_columns_of, facts)
            self.probes = {probe.name: probe for probe in probes}
            self._probes_stated = stated

    def wide_columns(self) -> tuple[str, ...]:
        """Return the columns of what was measured, in their order, of a run from before format 6."""
        names = tuple(str(row[1]) for row in self.read("PRAGMA table_info(measurements)"))
        return names[3:-1] if self.sealed else names[3:]  # id, step, point; the checksum

    def room(self) -> int:
        """Return how many steps the store's files have room for: never fewer than it has."""
        return self._size() // (8 * len(self.step_columns))

    @property
    def checksum_of_events(self) -> str:
        """What a query of events asks for as their checksum; 0 where they have none."""
        return "crc32" if self.sealed else "0"

    def readings(
        self,
        where: str,
        *values: object,
        take: Callable[[list[Any]], list[Any]] = lambda rows: rows,
    ) -> dict[str, Readings]:
        """Return what was measured, by probe.

        Args:
            where: the condition, in SQL.
            values: of its places.
            take: called with rows, id and step the first of their cells; those it returns are read, and
                none after the first that it leaves out.

        Raises:
            RowError: if a row is damaged.
            RunFormatError: if the store is.
        """
        table = schema.measured_table(self.version)
        wide = self.version < schema.READINGS_SINCE
        cells = "*" if wide else "id, step, probe, point, numbers, seconds, products, crc32"
        cursor = self._execute(f"SELECT {cells} FROM {table} WHERE {where} ORDER BY id", *values)
        batches = _taken(self._batches(cursor), take)
        if wide:
            names = [description[0] for description in cursor.description]
            return read_wide_readings(names, batches, sealed=self.sealed)
        return read_readings(([row[1:] for row in rows] for rows in batches), self.probes)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read the same state of the store throughout the block, whatever is written meanwhile."""
        if self._connection.in_transaction:  # in a longer one
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

    def iterate(self, query: str, *values: object) -> Iterator[Any]:
        """Yield the rows that a query finds, fetched a few at a time. Raises RunFormatError."""
        return chain.from_iterable(self._batches(self._execute(query, *values)))

    def read(self, query: str, *values: object) -> list[Any]:
        """Return the rows that a query finds. Raises RunFormatError."""
        return list(self.iterate(query, *values))

    def damaged(self, how: object) -> RunFormatError:
        """Return the error of a store that is damaged in some way."""
        return RunFormatError(f"{self.database}: damaged: {how}")

    def close(self) -> None:
        """Close the store."""
        self._connection.close()

    def _stated(
        self, key: str, read: Callable[[Mapping[str, str]], _Stated], facts: Mapping[str, str]
    ) -> _Stated:
        """Return what a fact states of columns. Raises RunFormatError if that can't be."""
        try:
            return read(facts)
        except ValueError as error:
            raise RunFormatError(f"{self.database}: its fact `{key}` is damaged: {error}") from None

    def _execute(self, query: str, *values: object) -> sqlite3.Cursor:
        try:
            return self._connection.execute(query, values)
        except UNREADABLE as error:
            raise unreadable(self.database, error) from None

    def _batches(self, cursor: sqlite3.Cursor) -> Iterator[list[Any]]:
        left = 1000 + self._size() // 8  # more rows than the files have room for
        try:
            while rows := cursor.fetchmany(_FETCHED):
                left -= len(rows)
                if left < 0:  # damaged pages may lead back to each other, to rows without end
                    raise sqlite3.DatabaseError("its pages go in circles")
                yield rows
        except UNREADABLE as error:
            raise unreadable(self.database, error) from None

    def _size(self) -> int:
        """Return the bytes of the store's files."""
        files = (self.database, self.database.with_name(f"{self.database.name}-wal"))
        return sum(file.stat().st_size for file in files if file.is_file())


def _taken(
    batches: Iterable[list[Any]], take: Callable[[list[Any]], list[Any]]
) -> Iterator[list[Any]]:
    """Yield rows, up to the first that isn't taken."""
    for rows in batches:
        taken = take(rows)
        if taken:
            yield taken
        if len(taken) < len(rows):
            return


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
