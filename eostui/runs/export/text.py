"""Tables as text, CSV or JSON lines: whole blocks of rows laid out as one matrix of bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from eostui.runs.export.numbers import Bytes, shortest, whole

Values = NDArray[Any]
Block = Mapping[str, Values]

#: Columns of whole numbers.
WHOLE_NUMBERS = {"step", "hessian_products", "escape_step", "calibration"}


class Style(NamedTuple):
    """How a row is written.

    Attributes:
        header: whether a line of column names comes first.
        first, before: what comes before the first cell and before each other one, {} for the column.
        end: what ends a row.
        unknown: the cell of what isn't known.
        infinite: whether an infinity can be written; else it counts as unknown.
    """

    header: bool
    first: str
    before: str
    end: str
    unknown: str
    infinite: bool

    def text(self, value: str) -> str:
        """Return a text as a cell."""
        if self.before != ",":
            return json.dumps(value, ensure_ascii=False)
        if set(value) & set(',"\r\n'):
            return '"' + value.replace('"', '""') + '"'
        return value


CSV = Style(True, "", ",", "\n", "", True)
JSON_LINES = Style(False, '{{"{}": ', ', "{}": ', "}\n", "null", False)


def write_blocks(blocks: Iterable[Block], stream: TextIO, style: Style) -> int:
    """Write blocks of rows, columns of numbers or texts of one length; return the row count.

    Numbers are written so that reading them back gives the same float64; what isn't known is NaN.
    """
    rows = 0
    for block in blocks:
        if not rows and style.header:
            stream.write(",".join(map(style.text, block)) + "\n")
        rows += _length(block)
        if _length(block):
            stream.write(_rows({n: _tidy(v, style) for n, v in block.items()}, style).decode())
    return rows


def _length(block: Block) -> int:
    return len(next(iter(block.values())))


def _tidy(values: Values, style: Style) -> Values:
    if values.dtype.kind != "f":
        return values
    return values if style.infinite else np.where(np.isfinite(values), values, np.nan)


def _rows(block: Block, style: Style) -> bytes:
    """Return rows as text; those at which nothing was measured are laid out apart, more narrowly."""
    known = [~np.isnan(values) for values in block.values() if values.dtype.kind == "f"]
    busy = np.zeros(_length(block), dtype=bool)
    for column in known:
        if not column.all():
            busy |= column
    if busy.all() or not busy.any():
        return _layout(block, style)
    lines = np.empty(len(busy), dtype=object)
    for rows in (busy, ~busy):
        part = {name: values[rows] for name, values in block.items()}
        lines[rows] = _layout(part, style).splitlines(keepends=True)
    return b"".join(lines.tolist())


def _layout(block: Block, style: Style) -> bytes:
    """Return rows as text: a matrix of bytes, one row a row, from which the zeros are left out."""
    fields: list[Bytes] = []
    constant = ""
    done: dict[tuple[bool, bytes], str | Bytes] = {}  # without decay two columns are often the same
    for place, (name, values) in enumerate(block.items()):
        constant += (style.before if place else style.first).format(name)
        key = (name in WHOLE_NUMBERS, values.tobytes())
        if key not in done:
            done[key] = _cells(name, values, style)
        cells = done[key]
        if isinstance(cells, str):
            constant += cells
        else:
            fields += [_bytes(constant), cells]
            constant = ""
    fields.append(_bytes(constant + style.end))
    matrix = np.empty((_length(block), sum(field.shape[-1] for field in fields)), dtype=np.uint8)
    place = 0
    for field in fields:
        matrix[:, place : place + field.shape[-1]] = field
        place += field.shape[-1]
    return matrix.tobytes().translate(None, b"\0")


def _cells(name: str, values: Values, style: Style) -> str | Bytes:
    """Return the cells of a column as rows of bytes, or one text where they are all the same."""
    if values.dtype.kind != "f":
        if (values == values[0]).all():
            return style.text(str(values[0]))
        texts = np.array([style.text(str(value)).encode() for value in values])
        return texts.view(np.uint8).reshape(len(values), -1)
    bits = np.ascontiguousarray(values).view(np.int64)
    constant = bool((bits == bits[0]).all())
    number = whole if name in WHOLE_NUMBERS else shortest
    cells = number(values[:1] if constant else values)
    unknown = _bytes(style.unknown)
    cells[np.isnan(values[: len(cells)]), : len(unknown)] = unknown
    return cells.tobytes().translate(None, b"\0").decode() if constant else cells


def _bytes(text: str) -> Bytes:
    return np.frombuffer(text.encode(), dtype=np.uint8)
