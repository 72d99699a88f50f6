"""The only writer of a run directory: used by the engine process alone."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sqlite3
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eostui.errors import InputError, RunFormatError, StoreError
from eostui.runs.store import schema
from eostui.runs.store.columns import HESSIAN_PRODUCTS, MEASURED, ProbeColumns
from eostui.runs.store.durable import free_reserve, persist, reserve
from eostui.runs.store.filesystem import on_network
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.liveness import EngineLock
from eostui.runs.store.own_columns import (
    PROBES_FACT,
    probe_columns_of,
    probes_fact,
    step_columns_of,
)
from eostui.runs.store.reader import RunReader
from eostui.runs.store.readings import (
    ProbeReading,
    counts_products,
    packed,
    reading_checksum,
    reading_row,
)
from eostui.runs.store.rows import Event, checksum, in_columns
from eostui.runs.store.wide_rows import WideRow


class Store(Protocol):
    """What an engine writes a run to; see `RunWriter`, which does it."""

    path: Path
    derived_events: int

    def fact(self, key: str, value: str) -> None: ...
    def steps(
        self, first_step: int, matrix: NDArray[np.float64], names: Sequence[str] | None = None
    ) -> None: ...
    def calibrated(self, number: int, first_step: int, matrix: NDArray[np.float64]) -> None: ...
    def reading(self, reading: ProbeReading) -> None: ...
    def measures(self, probe: ProbeColumns) -> None: ...
    def landscape(self, landscape: Landscape) -> None: ...
    def event(self, step: int, kind: str, payload: Mapping[str, Any] | None = None) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class RunWriter:
    """Appends to a run directory; what is flushed outlives it, with `make_durable` a power loss too.

    A run that an older version began keeps its format and its columns, of steps and of readings; what it
    has no place for is left out.

    Attributes:
        path: the run directory.
        step_columns: names of the columns stored for every step.
        probes: those of which it has readings, by name, with their columns.
        derived_events: how many of `schema.DERIVED_EVENTS` were appended in the run's life.
    """

    def __init__(self, path: Path, facts: Mapping[str, str] | None = None) -> None:
        """Take the directory's lock; make it first (mode 0700) if there are `facts` to begin with.

        Args:
            path: the run directory.
            facts: of a new run; None to go on with one that is there.

        Raises:
            InputError: if the directory can't be made, or is no run to go on with.
            EostuiError: if another engine drives this run.
        """
        self.path = path
        if facts is not None:
            _make(path)
        self._wide_names: tuple[str, ...] = ()  # of a run from before format 6
        self._wide: WideRow | None = None
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        self._failed = False
        self._more_columns: dict[str, str] = {}  # of probes that came since
        self.derived_events = 0
        with ExitStack() as undone:
            if facts is not None:
                undone.callback(shutil.rmtree, path, ignore_errors=True)
            self._lock = EngineLock(path)
            undone.callback(self._lock.release)
            undone.callback(free_reserve, path)
            reserve(path)
            if facts is None:
                self._take_form(path)
            else:
                self._version = schema.SCHEMA_VERSION
                try:
                    self.step_columns = step_columns_of(facts)
                    self.probes = {probe.name: probe for probe in probe_columns_of(facts)}
                except ValueError as error:
                    raise InputError(f"this run can't be recorded: {error}") from None
            self._sealed = self._version >= schema.SEALED_SINCE
            database = path / schema.DATABASE
            self._database = sqlite3.connect(
                f"{database.absolute().as_uri()}?mode=rw",
                uri=True,
                isolation_level=None,
                timeout=1.0,
            )
            undone.callback(self._database.close)
            self._database.execute("PRAGMA trusted_schema=OFF")
            self._begin(facts)
            undone.pop_all()

    def _take_form(self, path: Path) -> None:
        """Take up format and columns of a run that is gone on with. As `RunReader` raises."""
        reader = RunReader(path)
        try:
            self._version, self.step_columns, self.probes = (
                reader.version, reader.step_columns, reader.probes,
            )  # fmt: skip
            wide = self._version < schema.READINGS_SINCE
            self._wide_names = reader.wide_columns() if wide else ()
        finally:
            reader.close()
        if not set(self._wide_names) <= {column.name for column in MEASURED}:  # written by these
            raise RunFormatError(f"{path}: its measured columns aren't any that an engine writes")

    def _begin(self, facts: Mapping[str, str] | None) -> None:
        """Make the tables of a new run and write its facts, or take in what one that is there tells."""
        if facts is None:
            persist(self.path, self._set_journal)
            holes = ", ".join("?" * len(schema.DERIVED_EVENTS))
            self.derived_events = self._database.execute(
                f"SELECT count(*) FROM events WHERE kind IN ({holes})", schema.DERIVED_EVENTS
            ).fetchone()[0]
            return
        try:
            persist(self.path, self._create)
            for key, value in facts.items():
                self.fact(key, value)
            self.flush()
        except StoreError as error:  # nothing is kept, and there is nothing to go on with
            raise not_begun(self.path, error) from error

    def _set_journal(self) -> None:
        journal = "DELETE" if on_network(self.path) else "WAL"
        self._database.execute(f"PRAGMA journal_mode={journal}")
        self._database.execute("PRAGMA synchronous=NORMAL")

    def _create(self) -> None:
        self._set_journal()
        try:
            self._database.executescript(f"BEGIN; {schema.tables()} COMMIT;")
        except sqlite3.Error:
            self._roll_back()
            raise

    def fact(self, key: str, value: str) -> None:
        """Set one fact of the run."""
        self._insert("run", ("key", "value"), (key, value))

    def steps(
        self, first_step: int, matrix: NDArray[np.float64], names: Sequence[str] | None = None
    ) -> None:
        """Append rows, one a step.

        Args:
            first_step: that of the first row.
            matrix: shape (n, len(names)).
            names: of its columns; the run's own if left out.
        """
        rows = in_columns(matrix, names or self.step_columns, self.step_columns)
        self._insert_block("steps", {}, first_step, rows)

    def calibrated(self, number: int, first_step: int, matrix: NDArray[np.float64]) -> None:
        """Append x and q of the calibration `number`, one row a step, shape (n, 2)."""
        if self._version >= schema.CALIBRATED_SINCE:
            self._insert_block("calibrated", {"number": number}, first_step, matrix)

    def reading(self, reading: ProbeReading) -> None:
        """Append a reading; all readings of a step come before the next flush."""
        layout = self.probes.get(reading.probe)
        if layout is None:
            return
        products = reading.products if counts_products(layout) else math.nan
        if self._version < schema.READINGS_SINCE:
            if self._wide is None or self._wide.step != reading.step:
                self._end_wide_row()
                self._wide = WideRow(int(reading.step), reading.point)
            self._wide.add(reading.values, products)
            return
        numbers = packed(layout, reading.values)
        cells = reading_row(layout, reading.step, reading.point, numbers, reading.seconds, products)
        names = ("step", "probe", "point", "numbers", "seconds", "products")
        self._insert("readings", names, cells, reading_checksum(cells))

    def measures(self, probe: ProbeColumns) -> None:
        """Take up one more probe, from here on; one that the run states already keeps its columns.

        Raises:
            InputError: if the record has no place for it.
        """
        if probe.name in self.probes:
            return
        if self._version < schema.READINGS_SINCE:
            raise InputError(
                f"this run's record is of format {self._version}, which has no place for the probe "
                f"{probe.name}: a new run has it by --probe {probe.name}"
            )
        probes = {**self.probes, probe.name: probe}
        self.fact(PROBES_FACT, probes_fact(probes.values()))
        self.probes = probes
        more = {
            flat.name: f"{flat.unit}: {flat.description}"
            for column in probe.columns
            for flat in column.flattened()
        }
        found = self._database.execute("SELECT value FROM run WHERE key = 'columns'").fetchone()
        self._more_columns |= more
        told = json.loads(found[0]) if found else {}
        self.fact("columns", json.dumps({**told, **self._more_columns}))

    def measurement(self, step: int, values: Mapping[str, Any], point: str = "raw") -> None:
        """Append what was measured at a step, each probe's columns as a reading of it.

        Args:
            step: the step.
            values: by column; `hessian_products` are taken for the first probe's that counts any.
            point: `raw` or `midpoint`.
        """
        products = float(values.get(HESSIAN_PRODUCTS.name, math.nan))
        for name, layout in self.probes.items():
            own = {c.name: values[c.name] for c in layout.columns if c.name in values}
            spent = products if counts_products(layout) else math.nan
            if own or not math.isnan(spent):
                self.reading(ProbeReading(step, name, own, point, products=spent))
                products = products if math.isnan(spent) else math.nan

    def _end_wide_row(self) -> None:
        """Queue the row that was gathered, if there is one."""
        if self._wide is not None:
            cells, crc = self._wide.cells(self._wide_names)
            self._insert("measurements", ("step", "point", *self._wide_names), cells, crc)
            self._wide = None

    def landscape(self, landscape: Landscape) -> None:
        """Put a map in place of the last one."""
        if self._version < schema.LANDSCAPES_SINCE:
            return
        *cells, maps = landscape.to_cells()
        crc = checksum(cells, maps) if self._sealed else zlib.crc32(maps)
        self._queue("DELETE FROM landscapes", ())
        self._queue(
            "INSERT INTO landscapes (left, right, bottom, top, rows, columns, maps, crc32) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*cells, maps, crc),
        )

    def event(self, step: int, kind: str, payload: Mapping[str, Any] | None = None) -> None:
        """Append something that happens now."""
        self.past_event(Event(step, time.time(), kind, payload or {}))

    def past_event(self, event: Event) -> None:
        """Append something that happened when the event says."""
        text = json.dumps(dict(event.payload), allow_nan=False)
        cells = (int(event.step), float(event.unix_time), event.kind, text)
        self.derived_events += event.kind in schema.DERIVED_EVENTS
        self._insert("events", ("step", "unix_time", "kind", "payload"), cells)

    def flush(self) -> None:
        """Write all that was appended, as one transaction; try again for a while where that fails.

        Raises:
            StoreError: if the store can't be written; what was appended waits for the next flush,
                which tries once.
        """
        self._end_wide_row()
        if not self._pending:
            return
        try:
            persist(self.path, self._write_pending, patient=not self._failed)
        except StoreError:
            self._failed = True
            raise
        self._failed = False
        self._pending.clear()

    def _write_pending(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in self._pending:
                self._database.execute(statement, values)
            if self._sealed:
                self._database.execute(schema.seal(self._version))
            self._database.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._database.in_transaction:  # SQLite may have done so by itself
            self._database.execute("ROLLBACK")

    def discard(self) -> None:
        """Take a run away that didn't begin, with its directory; what was appended goes too."""
        self._database.close()
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    def abandon(self) -> None:
        """Close without what was appended since the last flush: the record is as it was."""
        self._pending.clear()
        self._wide = None
        self.close()

    def close(self) -> None:
        """Flush, with the room that was reserved for it, and close; the directory is complete then.

        Raises:
            StoreError: if the store can't be written; it is closed all the same.
        """
        free_reserve(self.path)
        try:
            self.flush()
            # viewers keep the log open, and with it the rows out of run.db; none is waited for
            with contextlib.suppress(sqlite3.Error):  # a full disk: the log has all of them
                self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            self._database.close()
            self._lock.release()

    def _insert(
        self, table: str, names: Sequence[str], cells: Sequence[Any], crc: int | None = None
    ) -> None:
        """Queue a row and, from format 4 on, its checksum: that of its cells if left out."""
        if self._sealed:
            names = (*names, "crc32")
            cells = (*cells, checksum(cells) if crc is None else crc)
        holes = ", ".join("?" * len(names))
        insert = "INSERT OR REPLACE" if table == "run" else "INSERT"
        self._queue(f"{insert} INTO {table} ({', '.join(names)}) VALUES ({holes})", tuple(cells))

    def _insert_block(
        self, table: str, more: Mapping[str, int], first_step: int, matrix: NDArray[np.float64]
    ) -> None:
        """Queue a row of steps: `more` cells, first and last step, the matrix, the checksum."""
        blob = np.ascontiguousarray(matrix, dtype="<f8").tobytes()
        numbers = (*map(int, more.values()), int(first_step), int(first_step) + len(matrix) - 1)
        crc = checksum(numbers, blob) if self._sealed else zlib.crc32(blob)
        names = (*more, "first_step", "last_step", "matrix", "crc32")
        holes = ", ".join("?" * len(names))
        self._queue(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({holes})", (*numbers, blob, crc)
        )

    def _queue(self, statement: str, values: tuple[Any, ...]) -> None:
        self._pending.append((statement, values))


def not_begun(path: Path, error: StoreError) -> StoreError:
    """Return the error of a run that isn't left there, since it couldn't be written from the start."""
    return StoreError(f"{path.parent}: no run can be made there: {error.cause}", error.cause)


def make_durable(path: Path) -> None:
    """Wait until the disk has all that was flushed to a run: else a power loss may undo it.

    SQLite itself syncs the log only to empty it, and of a rollback journal the file, not the folder.
    run.db isn't opened here: to close it again would free the locks that SQLite has on it.

    Raises:
        OSError: if the disk fails.
    """
    for file in (path / f"{schema.DATABASE}-wal", path):
        with contextlib.suppress(FileNotFoundError):  # with a rollback journal there is no log
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _make(path: Path) -> None:
    made = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        made = True
        (path / schema.COMMANDS).mkdir(mode=0o700)
        # made here for its mode, which its journals get too
        os.close(os.open(path / schema.DATABASE, os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        if made:
            shutil.rmtree(path, ignore_errors=True)
        raise InputError(
            f"runs folder {path.parent}: can't make a run there ({error.strerror}); "
            "choose another with --runs-dir or EOSTUI_RUNS"
        ) from None
