"""What can still be read of a store, row by row, past damage at which reading in order would end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from eostui.runs.calibration import CALIBRATED, RESEATED
from eostui.runs.store import schema
from eostui.runs.store.columns import BUILT_IN_COLUMNS, FIRST_STEP_COLUMNS, ProbeColumns
from eostui.runs.store.connection import UNREADABLE
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.own_columns import probe_columns_of, step_columns_of
from eostui.runs.store.readings import StoredReading, one_by_one, read_reading
from eostui.runs.store.rows import (
    Event,
    FloatArray,
    RowError,
    read_block,
    read_event,
    read_fact,
    read_landscape,
)
from eostui.runs.store.wide_rows import read_wide_readings, wide_probes

#: Facts that are looked for one by one where they can't be listed.
_FACTS = (
    "id", "name", "created", "status", "sentence", "ended", "config", "parameters", "convention",
    "device", "device_name", "dtype", "threads", "processes", "tensor_cores", "host", "eostui", "torch",
    "numpy", "python", "columns", "step_columns", "dynamics", "probes", "group", "parent",
    "parent_step", "changed_step",
)  # fmt: skip
#: Ids tried one by one after a damaged page, where nothing says how many there were.
_BLIND = 10_000
#: Facts that a run can have: damaged pages may lead back to each other, to rows without end.
_MOST_FACTS = 10_000
#: Losses of one table that are told.
_MOST_TOLD = 5


@dataclass
class Salvage:
    """The sound rows of a store, and what is wrong with the others.

    Attributes:
        version: the store's format.
        facts: by key.
        steps: blocks of rows without a gap from step 0 on: first step, matrix.
        probes: those of the run, by name, with their columns.
        readings: what they measured, by rising step.
        calibrated: number, first step and matrix, without a gap.
        landscape: the map, if there is a sound one.
        events: in the order in which they were told.
        lost: by table, a sentence on each thing that is wrong.
    """

    version: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    steps: list[tuple[int, FloatArray]] = field(default_factory=list)
    probes: dict[str, ProbeColumns] = field(default_factory=dict)
    readings: list[StoredReading] = field(default_factory=list)
    calibrated: list[tuple[int, int, FloatArray]] = field(default_factory=list)
    landscape: Landscape | None = None
    events: list[Event] = field(default_factory=list)
    lost: dict[str, list[str]] = field(default_factory=dict)

    @property
    def next_step(self) -> int:
        """The first step without a row."""
        return self.steps[-1][0] + len(self.steps[-1][1]) if self.steps else 0

    @property
    def rows(self) -> int:
        """How many rows there are in all: what one reading of a file has over another."""
        counted = (self.facts, self.readings, self.calibrated, self.events)
        return self.next_step + sum(map(len, counted))

    def losses(self, table: str) -> list[str]:
        """Return the first losses of a table, and how many more there are."""
        sentences = self.lost.get(table, [])
        more = len(sentences) - _MOST_TOLD
        return [*sentences[:_MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]

    def lose(self, table: str, how: object) -> None:
        """Note a loss."""
        self.lost.setdefault(table, []).append(" ".join(str(how).split()))


def salvage(database: sqlite3.Connection) -> Salvage:
    """Read all that can be read, of any format. Raises sqlite3.Error if that is nothing at all.

    A new format gets its branch here, by its `…_SINCE`, and the one before it a place in `_MADE_ALIKE` of
    rebuild.py.
    """
    salvaged = Salvage(database.execute("PRAGMA user_version").fetchone()[0])
    if not 1 <= salvaged.version <= schema.SCHEMA_VERSION:
        salvaged.lose("format", f"format {salvaged.version} isn't known to this eostui")
        return salvaged
    sealed = salvaged.version >= schema.SEALED_SINCE
    seal = _seal(database, salvaged) if sealed else {}
    _facts(database, salvaged, seal.get("facts"))
    _steps(database, salvaged, seal.get("steps"))
    if salvaged.version >= schema.READINGS_SINCE:
        _readings(database, salvaged, seal.get("readings"))
    else:
        _measurements(database, salvaged, seal.get("measurements"))
    _events(database, salvaged, seal.get("events"))
    if salvaged.version >= schema.CALIBRATED_SINCE:
        _calibrated(database, salvaged, seal.get("calibrated"))
    if salvaged.version >= schema.LANDSCAPES_SINCE:
        _landscape(database, salvaged, seal.get("landscapes"))
    return salvaged


def _seal(database: sqlite3.Connection, salvaged: Salvage) -> dict[str, int]:
    names = (*schema.appended(salvaged.version), "facts")
    try:
        (row,) = database.execute(f"SELECT {', '.join(names)} FROM seal").fetchmany(2)
        if not all(type(count) is int for count in row):
            raise ValueError("not its types")
    except (*UNREADABLE, ValueError) as error:
        salvaged.lose("seal", f"it can't be read ({error})")
        return {}
    return dict(zip(names, row, strict=True))


def _facts(database: sqlite3.Connection, salvaged: Salvage, count: int | None) -> None:
    sealed = salvaged.version >= schema.SEALED_SINCE
    query = f"SELECT key, value, {'crc32' if sealed else 0} FROM run"
    rows: dict[Any, Sequence[Any]] = {}
    try:
        for row in islice(database.execute(query), _MOST_FACTS):
            rows[row[0]] = row
    except UNREADABLE as error:
        salvaged.lose("facts", f"they can't be listed ({error})")
        for key in _FACTS:
            try:
                rows.update(
                    (key, row) for row in database.execute(f"{query} WHERE key = ?", (key,))
                )
            except UNREADABLE:
                continue

    def keep(row: Sequence[Any]) -> None:
        salvaged.facts.update([read_fact(row, sealed=sealed)])

    for row in rows.values():
        _keep(salvaged, "facts", keep, row)
    if count is not None and count != len(rows):
        salvaged.lose("facts", f"{count} were written, {len(rows)} can be read")


def _steps(database: sqlite3.Connection, salvaged: Salvage, count: int | None) -> None:
    sealed = salvaged.version >= schema.SEALED_SINCE
    blocks: list[tuple[int, FloatArray]] = []

    def keep(row: Sequence[Any]) -> None:
        first, last, blob, crc = row
        try:
            width = _width(salvaged, (first, last), blob)
            blocks.append((first, read_block((first, last), blob, crc, width, sealed=sealed)))
        except RowError as error:
            raise RowError(f"steps {first} to {last}: {error}") from None

    for row in _rows(database, salvaged, "steps", "first_step, last_step, matrix, crc32", count):
        _keep(salvaged, "steps", keep, row[1:])
    blocks.sort(key=lambda block: block[0])
    for place, (first, matrix) in enumerate(blocks):
        if first != salvaged.next_step:
            rest = sum(len(matrix) for _, matrix in blocks[place:])
            salvaged.lose(
                "steps",
                f"{rest} sound rows from {first} on can't follow step {salvaged.next_step - 1}",
            )
            break
        salvaged.steps.append((first, matrix))


def _width(salvaged: Salvage, cells: Sequence[int], blob: bytes) -> int:
    """Return how many columns steps have: as the facts say, else as the block's size does."""
    try:
        if "step_columns" in salvaged.facts or salvaged.version == 1:
            return len(step_columns_of(salvaged.facts))
        return len(blob) // 8 // (cells[1] - cells[0] + 1)
    except (TypeError, ValueError, ZeroDivisionError):
        return len(FIRST_STEP_COLUMNS)


def _readings(database: sqlite3.Connection, salvaged: Salvage, count: int | None) -> None:
    try:
        probes = probe_columns_of(salvaged.facts)
    except ValueError as error:
        salvaged.lose("facts", f"`probes`: {error}")
        probes = BUILT_IN_COLUMNS
    salvaged.probes = {probe.name: probe for probe in probes}
    kept: dict[tuple[int, str], StoredReading] = {}

    def keep(row: Sequence[Any]) -> None:
        reading = read_reading(row, salvaged.probes)
        _expect_row(salvaged, reading.step)
        if (reading.step, reading.probe) in kept:
            raise RowError(f"step {reading.step} was measured twice")
        kept[reading.step, reading.probe] = reading

    columns = "step, probe, point, numbers, seconds, products, crc32"
    for row in _rows(database, salvaged, "readings", columns, count):
        _keep(salvaged, "readings", keep, row[1:])
    places = {name: place for place, name in enumerate(salvaged.probes)}
    salvaged.readings = [kept[key] for key in sorted(kept, key=lambda k: (k[0], places[k[1]]))]


def _measurements(database: sqlite3.Connection, salvaged: Salvage, count: int | None) -> None:
    sealed = salvaged.version >= schema.SEALED_SINCE
    names: list[str] = []
    kept: dict[int, list[StoredReading]] = {}

    def keep(row: Sequence[Any]) -> None:
        salvaged.probes = wide_probes(tuple(names[3:-1] if sealed else names[3:]))
        readings = [
            StoredReading(step, probe, str(row[2]), numbers, seconds, products)
            for step, probe, numbers, seconds, products in one_by_one(
                read_wide_readings(names, [[row]], sealed=sealed)
            )
        ]
        step = readings[0].step
        _expect_row(salvaged, step)
        if step in kept:
            raise RowError(f"step {step} was measured twice")
        kept[step] = readings

    for row in _rows(database, salvaged, "measurements", "*", count, names):
        _keep(salvaged, "measurements", keep, row)
    salvaged.readings = [reading for step in sorted(kept) for reading in kept[step]]


def _expect_row(salvaged: Salvage, step: int) -> None:
    if step >= salvaged.next_step:
        raise RowError(f"the measurement of step {step} is of a step without a row")


def _events(database: sqlite3.Connection, salvaged: Salvage, count: int | None) -> None:
    sealed = salvaged.version >= schema.SEALED_SINCE
    columns = f"step, unix_time, kind, payload, {'crc32' if sealed else 0}"
    known = False

    def keep(row: Sequence[Any]) -> None:
        nonlocal known
        event = read_event(row, sealed=sealed)
        if event.step > salvaged.next_step:
            raise RowError(f"an event is of step {event.step}, which has no row")
        if event.kind == RESEATED and not known:
            raise RowError(f"at step {event.step} a prediction was re-seated that is lost")
        known |= event.kind == CALIBRATED
        salvaged.events.append(event)

    for row in _rows(database, salvaged, "events", columns, count):
        _keep(salvaged, "events", keep, row[1:])


def _calibrated(database: sqlite3.Connection, salvaged: Salvage, count: int | None) -> None:
    sealed = salvaged.version >= schema.SEALED_SINCE
    calibrations = {
        event.payload["number"] for event in salvaged.events if event.kind == CALIBRATED
    }
    columns = "number, first_step, last_step, matrix, crc32"

    def keep(row: Sequence[Any]) -> None:
        number, first, last, blob, crc = row
        matrix = read_block((number, first, last), blob, crc, 2, sealed=sealed)
        before = salvaged.calibrated[-1] if salvaged.calibrated else None
        if before and first != before[1] + len(before[2]):
            raise RowError(f"calibrated steps before {first} are lost")
        if number not in calibrations or last >= salvaged.next_step:
            raise RowError(f"the calibrated steps {first} to {last} have no reference or no rows")
        salvaged.calibrated.append((number, first, matrix))

    for row in _rows(database, salvaged, "calibrated", columns, count):
        _keep(salvaged, "calibrated", keep, row[1:])


def _landscape(database: sqlite3.Connection, salvaged: Salvage, count: int | None) -> None:
    sealed = salvaged.version >= schema.SEALED_SINCE
    columns = "left, right, bottom, top, rows, columns, maps, crc32"
    try:
        rows = database.execute(
            f"SELECT {columns} FROM landscapes ORDER BY id DESC LIMIT 1"
        ).fetchall()
    except UNREADABLE as error:
        salvaged.lose("landscapes", f"its map can't be read ({error})")
        return
    if not rows and count:
        salvaged.lose("landscapes", "its map is lost")
    for row in rows[:1]:
        try:
            salvaged.landscape = read_landscape(row, sealed=sealed)
        except RowError as error:
            salvaged.lose("landscapes", error)


def _keep(
    salvaged: Salvage, table: str, keep: Callable[[Sequence[Any]], None], row: Sequence[Any]
) -> None:
    try:
        keep(row)
    except RowError as error:
        salvaged.lose(table, error)


def _rows(
    database: sqlite3.Connection,
    salvaged: Salvage,
    table: str,
    columns: str,
    count: int | None,
    names: list[str] | None = None,
) -> Iterator[Any]:
    """Yield the rows of a table by id, with it in front; `names` is filled with the columns' names.

    After a page that can't be read, the ids behind it are looked up one by one, until one is salvaged.
    """
    whole = columns == "*"
    select = f"SELECT {'*' if whole else f'id, {columns}'} FROM {table}"
    last = 0
    lost = 0
    while True:
        try:
            cursor = database.execute(f"{select} WHERE id > ? ORDER BY id", (last,))
            if names is not None:
                names[:] = [description[0] for description in cursor.description]
            for row in cursor:
                if row[0] <= last:  # pages that lead back to each other: rows without end
                    raise sqlite3.DatabaseError("its pages go in circles")
                if count is not None and row[0] > last + 1:
                    lost += row[0] - last - 1
                last = row[0]
                yield row
            break
        except UNREADABLE as error:
            salvaged.lose(table, f"behind row {last} the file can't be read ({error})")
            after = _first_readable(database, select, last, count)
            if after is None:
                break
            lost += after[0] - last - 1
            last = after[0]
            yield after
    if count is not None and count > last:
        lost += count - last
    if lost:
        salvaged.lose(table, f"{lost} of {count if count is not None else 'its'} rows are gone")


def _first_readable(
    database: sqlite3.Connection, select: str, last: int, count: int | None
) -> Any | None:
    most = last + _BLIND if count is None else min(count, last + _BLIND)
    for row_id in range(last + 1, most + 1):
        try:
            row = database.execute(f"{select} WHERE id = ?", (row_id,)).fetchone()
        except UNREADABLE:
            continue
        if row is not None:
            return row
    return None
