"""Tables as text: CSV, and JSON lines. Numbers are the shortest that read back as the same float64."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TextIO

import numpy as np
import orjson
from numpy.typing import NDArray

Values = NDArray[Any]
TableBlock = Mapping[str, Values]
RowFormat = Callable[[TableBlock], bytes]

#: Columns of whole numbers.
WHOLE_NUMBERS = {"step", "hessian_products", "escape_step", "calibration"}


def write_csv(blocks: Iterable[TableBlock], stream: TextIO) -> int:
    """Write blocks of rows, columns of numbers or texts of one length, under their names.

    What isn't known, NaN, is an empty cell. Returns the row count.
    """
    rows = 0
    for block in blocks:
        if not rows:
            stream.write(",".join(map(_csv_text, block)) + "\n")
        rows += _write(block, stream, _csv_rows)
    return rows


def write_json_lines(blocks: Iterable[TableBlock], stream: TextIO) -> int:
    """Write each row of such blocks as a JSON object on a line of its own; return the row count.

    What isn't known is null, and so are infinities, which JSON lacks.
    """
    return sum(_write(block, stream, _json_rows) for block in blocks)


def _write(block: TableBlock, stream: TextIO, layout: RowFormat) -> int:
    rows = len(next(iter(block.values())))
    if rows:
        stream.write(layout(block).decode())
    return rows


def _csv_rows(block: TableBlock) -> bytes:
    """Return rows as text. Neighbouring columns of float64 are written as one matrix: it is fast."""
    pieces: list[Sequence[bytes]] = []
    for kind, items in groupby(block.items(), _kind):
        group = [values for _, values in items]
        if kind == "float":
            pieces.append(_csv_numbers(np.stack(group, axis=1)))
        elif kind == "whole":
            pieces += [_whole_numbers(values, b"") for values in group]
        else:
            pieces += [_each(values, _csv_cell) for values in group]
    return b"\n".join([*map(b",".join, zip(*pieces, strict=True)), b""])


def _json_rows(block: TableBlock) -> bytes:
    cells: list[Sequence[bytes]] = []
    for item in block.items():
        kind, values = _kind(item), item[1]
        if kind == "float":
            cells.append(_numbers(values[:, None], b"null"))
        elif kind == "whole":
            cells.append(_whole_numbers(values, b"null"))
        else:
            cells.append(_each(values, orjson.dumps))
    row = ", ".join(f"{json.dumps(name)}: %b" for name in block)
    return b"".join(map(f"{{{row}}}\n".encode().__mod__, zip(*cells, strict=True)))


def _kind(item: tuple[str, Values]) -> str:
    name, values = item
    if values.dtype.kind == "i":
        return "whole"
    if values.dtype.kind != "f":
        return "other"
    return "whole" if name in WHOLE_NUMBERS else "float"


def _each(values: Values, layout: Callable[[Any], bytes]) -> list[bytes]:
    """Return texts or truth values as cells; many are the same."""
    cells: dict[Any, bytes] = {}
    return [
        cells[value] if value in cells else cells.setdefault(value, layout(value))
        for value in values.tolist()
    ]


def _csv_cell(value: Any) -> bytes:
    return (_csv_text(value) if isinstance(value, str) else str(value).lower()).encode()


def _csv_numbers(matrix: Values) -> list[bytes]:
    """Return each row of a matrix as cells with commas between."""
    if np.isinf(matrix).any():  # a diverged run's last rows: JSON's way of writing lacks them
        return [
            ",".join("" if cell != cell else repr(cell) for cell in row).encode()
            for row in matrix.tolist()
        ]
    return _numbers(matrix, b"")


def _numbers(matrix: Values, unknown: bytes) -> list[bytes]:
    """Return each row of a matrix as JSON's numbers with commas between, `unknown` for none."""
    contiguous = np.ascontiguousarray(matrix, dtype=np.float64)
    text = orjson.dumps(contiguous, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
    return text.replace(b"null", unknown).split(b"],[")


def _whole_numbers(values: Values, unknown: bytes) -> list[bytes]:
    return [unknown if value != value else b"%d" % value for value in values.tolist()]


def _csv_text(value: str) -> str:
    if set(value) & set(',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value
