"""Single rows of a run, and what a shelf shows of it, without reading all of its store."""

from __future__ import annotations

import math

import numpy as np

from eostui.runs.store import schema
from eostui.runs.store.columns import BUILT_IN_COLUMNS
from eostui.runs.store.reader import RunReader
from eostui.runs.store.readings import by_step
from eostui.runs.store.rows import Event, FloatArray, RowError, read_block, read_event


def newest_row(reader: RunReader) -> dict[str, float]:
    """Return the newest stored row by column, its `step` too, {} before the first.

    Raises RunFormatError on damage.
    """
    if reader.sealed:
        source = "seal LEFT JOIN steps ON steps.id = seal.steps WHERE seal.steps > 0"
    else:
        source = "steps ORDER BY id DESC LIMIT 1"
    return _row(reader, source)


def row_at(reader: RunReader, step: int) -> dict[str, float]:
    """Return the stored row of a step by column, its `step` too, {} if there is none.

    Raises RunFormatError on damage.
    """
    return _row(reader, "steps WHERE first_step <= ? AND last_step >= ?", step, step)


def glance(reader: RunReader, since: int) -> tuple[float, str]:
    """Return the mean measured sharpness from a step on, NaN if none, and the newest phase or "".

    Raises RunFormatError on damage.
    """
    try:
        sharpness = _sharpness(reader, since)
    except RowError as error:
        raise reader.damaged(error) from None
    finite = sharpness[np.isfinite(sharpness)]
    mean = float(finite.mean()) if len(finite) else math.nan
    phases = _events(reader, "WHERE kind = ? ORDER BY id DESC LIMIT 1", "phase")
    return mean, str(phases[0].payload.get("to", "")) if phases else ""


def events_of(reader: RunReader, *kinds: str) -> list[Event]:
    """Return the events of these kinds that are on record now, without any of all kinds.

    Raises RunFormatError on damage.
    """
    if not kinds:
        return _events(reader, "ORDER BY id")
    return _events(reader, f"WHERE kind IN ({', '.join('?' * len(kinds))}) ORDER BY id", *kinds)


def _row(reader: RunReader, source: str, *step: int) -> dict[str, float]:
    """Return the row of a step in a block of rows, or the last one of the block."""
    found = reader.read(f"SELECT first_step, last_step, matrix, crc32 FROM {source}", *step)
    if not found:
        return {}
    first, last, blob, crc = found[0]
    width = len(reader.step_columns)
    try:
        block = read_block((first, last), blob, crc, width, sealed=reader.sealed)
    except RowError as error:
        raise reader.damaged(f"steps {first} to {last}: {error}") from None
    wanted = step[0] if step else last
    row = dict(zip(reader.step_columns, block[wanted - first].tolist(), strict=True))
    return {"step": wanted, **row}


def _sharpness(reader: RunReader, since: int) -> FloatArray:
    """Return S of the readings from a step on."""
    if reader.version < schema.READINGS_SINCE:
        found = reader.readings("step >= ?", since)
    else:
        found = reader.readings("step >= ? AND probe = ?", since, BUILT_IN_COLUMNS[0].name)
    return by_step(found, reader.probes).get("sharpness", np.empty(0))


def _events(reader: RunReader, which: str, *values: object) -> list[Event]:
    cells = f"step, unix_time, kind, payload, {reader.checksum_of_events}"
    try:
        rows = reader.iterate(f"SELECT {cells} FROM events {which}", *values)
        return [read_event(row, sealed=reader.sealed) for row in rows]
    except RowError as error:
        raise reader.damaged(error) from None
