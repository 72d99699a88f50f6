"""Rows as the store has them, and what makes one sound: its checksum, its types, its place."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.errors import printable
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.payloads import check_payload, safe

FloatArray = NDArray[np.float64]

#: Steps are whole numbers that float64 holds exactly.
MOST_STEPS = 2**53
#: What a checksum fails with; places and counts have sentences of their own.
_FORGED = "it doesn't fit its checksum"


class RowError(ValueError):
    """A row is damaged; the text says how."""


@dataclass(frozen=True)
class Event:
    """Something that happened at a step: a control change, a pause, the end."""

    step: int
    unix_time: float
    kind: str
    payload: Mapping[str, Any]


def checksum(cells: Sequence[object], blob: bytes = b"") -> int:
    """Return the CRC-32 of a row without its id: the repr of its numbers and texts, then its blob."""
    return zlib.crc32(blob, zlib.crc32(repr(tuple(cells)).encode(errors="surrogatepass")))


def in_columns(matrix: FloatArray, have: Sequence[str], wanted: Sequence[str]) -> FloatArray:
    """Return rows with other columns, shape (n, len(wanted)): by name, NaN where there is no such.

    Args:
        matrix: shape (n, len(have)).
        have: names of its columns.
        wanted: names of those of the result; what isn't among them is left out.

    Raises:
        ValueError: if the matrix hasn't as many columns as names.
    """
    if matrix.shape[1] != len(have):
        raise ValueError(f"{matrix.shape[1]} columns, not {len(have)}")
    if tuple(have) == tuple(wanted):
        return matrix
    empty = np.full(len(matrix), math.nan)
    column = dict(zip(have, matrix.T, strict=True))
    return np.stack([column.get(name, empty) for name in wanted], axis=1)


def read_fact(row: Sequence[Any], *, sealed: bool) -> tuple[str, str]:
    """Return key and value. Raises RowError."""
    key, value, crc = row
    _expect(isinstance(key, str) and isinstance(value, str), "a fact isn't text")
    _expect(not sealed or checksum((key, value)) == crc, f"the fact `{key}`: {_FORGED}")
    return printable(key), "\n".join(map(printable, value.split("\n")))


def check_block(cells: Sequence[int], blob: bytes, crc: int, width: int, *, sealed: bool) -> None:
    """Raise RowError unless a row holds a matrix, one row a step, and is as it was written.

    Args:
        cells: the row's whole numbers in their order; the last two are its first and last step.
        blob: the matrix as stored.
        crc: the row's checksum; before format 4 that of the blob alone.
        width: its columns.
        sealed: whether the format is 4 or later.
    """
    _expect({*map(type, cells)} == {int} and isinstance(blob, bytes), "not its types")
    _expect((checksum(cells, blob) if sealed else zlib.crc32(blob)) == crc, _FORGED)
    first, last = cells[-2:]
    _expect(0 <= first <= last < MOST_STEPS, "its steps are none")
    _expect(len(blob) == (last - first + 1) * width * 8, "not as many rows as steps")


def read_block(
    cells: Sequence[int], blob: bytes, crc: int, width: int, *, sealed: bool
) -> FloatArray:
    """Return the matrix of a row, shape (steps, width). As `check_block`."""
    check_block(cells, blob, crc, width, sealed=sealed)
    return as_matrix([blob], width)


def as_matrix(blobs: Sequence[bytes], width: int) -> FloatArray:
    """Return the matrices of sound rows as one, shape (steps, width)."""
    return np.frombuffer(b"".join(blobs), dtype="<f8").reshape(-1, width)


def read_event(row: Sequence[Any], *, sealed: bool) -> Event:
    """Return an event from step, unix_time, kind, payload and checksum. Raises RowError."""
    step, unix_time, kind, payload, crc = row
    _expect(
        type(step) is int
        and isinstance(unix_time, float)
        and isinstance(kind, str)
        and isinstance(payload, str),
        "an event isn't of its types",
    )
    where = f"the event of step {step}"
    _expect(not sealed or checksum((step, unix_time, kind, payload)) == crc, f"{where}: {_FORGED}")
    _expect(0 <= step < MOST_STEPS and math.isfinite(unix_time), f"{where}: no step or no time")
    try:
        content = json.loads(payload, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{where}: no JSON ({error})") from None
    _expect(isinstance(content, dict), f"{where}: no JSON object")
    try:
        check_payload(kind, content)
        return Event(step, unix_time, printable(kind), safe(content))
    except (ValueError, RecursionError) as error:
        raise RowError(f"{where}, `{printable(kind)}`: {error}") from None


def read_landscape(row: Sequence[Any], *, sealed: bool) -> Landscape:
    """Return a map from the columns after its id. Raises RowError."""
    try:
        *cells, maps, crc = row
        expected = checksum(cells, maps) if sealed else zlib.crc32(maps)
        _expect(expected == crc, f"its map: {_FORGED}")
        return Landscape.from_cells(cells, maps)
    except (TypeError, ValueError) as error:
        raise RowError(f"its map is damaged ({error})") from None


def _expect(sound: bool, otherwise: str) -> None:
    if not sound:
        raise RowError(otherwise)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)
