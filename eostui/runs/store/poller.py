"""What is new in a store, again and again while its engine writes: only rows newer than the last seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eostui.errors import RunFormatError
from eostui.runs.store import schema
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.reader import RunReader
from eostui.runs.store.readings import Readings
from eostui.runs.store.rows import (
    Event,
    FloatArray,
    RowError,
    as_matrix,
    check_block,
    read_block,
    read_event,
    read_landscape,
)

#: A poll ends with the flush that reaches so many rows: a long run has no second copy in memory.
_ROWS_AT_ONCE = 50_000


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
        complete: whether these are all rows that there were; else the next poll has more, or raises.
    """

    steps: FloatArray
    readings: dict[str, Readings]
    events: list[Event]
    facts: dict[str, str] = field(default_factory=dict)
    landscape: Landscape | None = None
    calibrated: FloatArray = field(default_factory=lambda: np.empty((0, 4)))
    complete: bool = True


class Poller:
    """Reads a run from its first row on, each table in short reads."""

    def __init__(self, reader: RunReader) -> None:
        self._reader = reader
        self._next_step = 0
        self._measured_step = -1.0
        self._last_id = dict.fromkeys(schema.appended(reader.version), 0)

    def poll(self) -> News:
        """Return what was appended since the last poll, the oldest part of it if it is much.

        Raises:
            RunFormatError: on damage, or if the store can't be read now; trying again misses no row.
        """
        before = dict(self._last_id), self._next_step, self._measured_step
        try:
            # one state of all tables: a measured row never comes before its step's row
            with self._reader.snapshot():
                facts = self._reader.facts()
                self._reader.take_probes(facts)
                steps, whole = self._new_steps()
                news = News(
                    steps,
                    self._new_readings(),
                    self._new_events(),
                    facts,
                    self._new_landscape(),
                    self._new_calibrated(),
                    complete=whole and self._fits_seal(raises=not len(steps)),
                )
        except (RowError, RunFormatError) as error:
            self._last_id, self._next_step, self._measured_step = before
            raise self._reader.damaged(error) if isinstance(error, RowError) else error from None
        return news

    def all_news(self) -> Iterator[News]:
        """Yield all that wasn't read yet, in parts. As `poll`."""
        complete = False
        while not complete:
            news = self.poll()
            yield news
            complete = news.complete

    def _new_steps(self) -> tuple[FloatArray, bool]:
        """Return new rows, and whether these are all that can be read."""
        width = len(self._reader.step_columns)
        blobs: list[bytes] = []
        before = self._next_step
        complete = True
        for row_id, first, last, blob, crc in self._reader.iterate(
            "SELECT id, first_step, last_step, matrix, crc32 FROM steps WHERE id > ? ORDER BY id",
            self._last_id["steps"],
        ):
            try:
                check_block((first, last), blob, crc, width, sealed=self._reader.sealed)
                if first != self._next_step:
                    raise RowError(f"steps {self._next_step} to {first - 1} are lost")
                self._follow("steps", row_id)
            except RowError:
                if not blobs:
                    raise self._reader.damaged(
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
        table = schema.measured_table(self._reader.version)
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

        found = self._reader.readings("id > ?", self._last_id[table], take=take)
        self._measured_step = newest
        return found

    def _new_events(self) -> list[Event]:
        events = []
        for row_id, *row in self._reader.iterate(
            f"SELECT id, step, unix_time, kind, payload, {self._reader.checksum_of_events} "
            "FROM events WHERE id > ? ORDER BY id",
            self._last_id["events"],
        ):
            events.append(read_event(row, sealed=self._reader.sealed))
            self._follow("events", row_id)
        return events

    def _new_landscape(self) -> Landscape | None:
        if self._reader.version < schema.LANDSCAPES_SINCE:
            return None
        found = self._reader.read(
            "SELECT id, left, right, bottom, top, rows, columns, maps, crc32 FROM landscapes "
            "WHERE id > ? ORDER BY id DESC LIMIT 1",
            self._last_id["landscapes"],
        )
        if not found:
            return None
        (row_id, *row) = found[0]
        landscape = read_landscape(row, sealed=self._reader.sealed)
        self._last_id["landscapes"] = row_id
        return landscape

    def _new_calibrated(self) -> FloatArray:
        """Return the rows whose steps were read already: their η and λ are there."""
        if self._reader.version < schema.CALIBRATED_SINCE:
            return np.empty((0, 4))
        parts = [np.empty((0, 4))]
        for row_id, number, first, last, blob, crc in self._reader.iterate(
            "SELECT id, number, first_step, last_step, matrix, crc32 FROM calibrated "
            "WHERE id > ? ORDER BY id",
            self._last_id["calibrated"],
        ):
            if not self._known(last):
                break
            try:
                cells = (number, first, last)
                matrix = read_block(cells, blob, crc, 2, sealed=self._reader.sealed)
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
        if self._reader.sealed and row_id != self._last_id[table] + 1:
            raise RowError(f"rows of `{table}` are lost")
        self._last_id[table] = row_id

    def _fits_seal(self, *, raises: bool) -> bool:
        """Return whether as many rows were read as the last flush counted.

        Raises RunFormatError if not, and there is nothing new to be given first.
        """
        if not self._reader.sealed:
            return True
        tables = schema.appended(self._reader.version)
        seals = self._reader.read(f"SELECT {', '.join(tables)} FROM seal")
        if not seals:
            raise self._reader.damaged("its seal is lost")
        for table, count in zip(tables, seals[0], strict=True):
            if self._last_id[table] == count:
                continue
            if raises:
                raise self._reader.damaged(
                    f"`{table}` has {self._last_id[table]} sound rows of {count}; the rest are lost"
                )
            return False
        return True
