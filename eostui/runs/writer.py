"""The only writer of a run directory: used by the engine process alone."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.errors import InputError, StoreError
from eostui.runs import schema
from eostui.runs.columns import MEASURED, columns_of
from eostui.runs.durable import free_reserve, persist, reserve
from eostui.runs.filesystem import on_network
from eostui.runs.landscape import Landscape
from eostui.runs.liveness import EngineLock
from eostui.runs.rows import checksum, measured_checksum, measured_values

_MEASURED_NAMES = tuple(column.name for column in MEASURED)
_INSERT_MEASUREMENT = (
    f"INSERT INTO measurements (step, point, {', '.join(_MEASURED_NAMES)}, crc32) "
    f"VALUES (?, ?, {'?, ' * len(_MEASURED_NAMES)}?)"
)


class RunWriter:
    """Creates a run directory and appends to it; what is appended is durable from `flush` on."""

    def __init__(self, path: Path, facts: Mapping[str, str]) -> None:
        """Make the directory (mode 0700), take its lock and write the run's facts.

        Raises:
            InputError: if the directory can't be made.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
            (path / schema.COMMANDS).mkdir(mode=0o700)
            reserve(path)
        except OSError as error:
            raise InputError(
                f"runs folder {path.parent}: can't make a run there ({error.strerror}); "
                "choose another with --runs-dir or EOSTUI_RUNS"
            ) from None
        self._lock = EngineLock(path)
        self._width = len(columns_of(facts))
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        self._failed = False
        database = path / schema.DATABASE
        os.close(os.open(database, os.O_CREAT | os.O_EXCL, 0o600))  # its journals get its mode
        self._database = sqlite3.connect(database, isolation_level=None)
        persist(path, self._create)
        for key, value in facts.items():
            self.fact(key, value)
        self.flush()

    def _create(self) -> None:
        self._database.execute(
            f"PRAGMA journal_mode={'DELETE' if on_network(self.path) else 'WAL'}"
        )
        self._database.execute("PRAGMA synchronous=NORMAL")
        tables = f"{schema.TABLES} PRAGMA user_version={schema.SCHEMA_VERSION};"
        try:
            self._database.executescript(f"BEGIN; {tables} COMMIT;")
        except sqlite3.Error:
            self._roll_back()
            raise

    def fact(self, key: str, value: str) -> None:
        """Set one fact of the run."""
        self._queue(
            "INSERT OR REPLACE INTO run VALUES (?, ?, ?)", (key, value, checksum((key, value)))
        )

    def steps(self, first_step: int, matrix: NDArray[np.float64]) -> None:
        """Append rows, one a step, with the columns that the run's facts state."""
        if matrix.shape[1] != self._width:
            raise ValueError(f"{matrix.shape[1]} columns, not {self._width}")
        self._queue(
            "INSERT INTO steps (first_step, last_step, matrix, crc32) VALUES (?, ?, ?, ?)",
            _block((), first_step, matrix),
        )

    def calibrated(self, number: int, first_step: int, matrix: NDArray[np.float64]) -> None:
        """Append x and q of the calibration `number`, one row a step, shape (n, 2)."""
        self._queue(
            "INSERT INTO calibrated (number, first_step, last_step, matrix, crc32) "
            "VALUES (?, ?, ?, ?, ?)",
            _block((number,), first_step, matrix),
        )

    def measurement(self, step: int, values: Mapping[str, float], point: str = "raw") -> None:
        """Append what was measured at one step; columns left out stay empty.

        Args:
            step: the step.
            values: by column.
            point: `raw` or `midpoint`, the same in the whole run.
        """
        step, row = int(step), measured_values(values)
        crc = measured_checksum(",".join(_MEASURED_NAMES), step, point, row)
        self._queue(_INSERT_MEASUREMENT, (step, point, *row.tolist(), crc))

    def landscape(self, landscape: Landscape) -> None:
        """Put a map in place of the last one."""
        cells = landscape.to_cells()
        self._queue("DELETE FROM landscapes", ())
        self._queue(
            "INSERT INTO landscapes (left, right, bottom, top, rows, columns, maps, crc32) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*cells, checksum(cells[:-1], cells[-1])),
        )

    def event(self, step: int, kind: str, payload: Mapping[str, Any] | None = None) -> None:
        """Append something that happened."""
        cells = (int(step), time.time(), kind, json.dumps(payload or {}, allow_nan=False))
        self._queue(
            "INSERT INTO events (step, unix_time, kind, payload, crc32) VALUES (?, ?, ?, ?, ?)",
            (*cells, checksum(cells)),
        )

    def flush(self) -> None:
        """Write all that was appended, as one transaction; try again for a while where that fails.

        Raises:
            StoreError: if the store can't be written; what was appended waits for the next flush,
                which tries once.
        """
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
            self._database.execute(schema.SEAL)
            self._database.execute("COMMIT")
        except sqlite3.Error:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._database.in_transaction:  # SQLite may have done so by itself
            self._database.execute("ROLLBACK")

    def close(self) -> None:
        """Flush, with the room that was reserved for it, and close; the directory is complete then.

        Raises:
            StoreError: if the store can't be written; it is closed all the same.
        """
        free_reserve(self.path)
        try:
            self.flush()
        finally:
            self._database.close()
            self._lock.release()

    def _queue(self, statement: str, values: tuple[Any, ...]) -> None:
        self._pending.append((statement, values))


def _block(
    cells: tuple[int, ...], first_step: int, matrix: NDArray[np.float64]
) -> tuple[int | bytes, ...]:
    """Return the cells of a row of steps: `cells`, first and last step, the matrix, the checksum."""
    blob = np.ascontiguousarray(matrix, dtype="<f8").tobytes()
    numbers = (*map(int, cells), int(first_step), int(first_step) + len(matrix) - 1)
    return (*numbers, blob, checksum(numbers, blob))
