"""Readings as formats before 6 have them: one row a measured step, a column each of `MEASURED`."""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.runs.store.columns import BUILT_IN_COLUMNS, HESSIAN_PRODUCTS, ProbeColumns
from eostui.runs.store.readings import Readings
from eostui.runs.store.rows import MOST_STEPS, FloatArray, RowError

_PRODUCTS = HESSIAN_PRODUCTS.name


@dataclass
class WideRow:
    """What was measured at a step, as the readings of it come in."""

    step: int
    point: str
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, values: Mapping[str, Any], products: float) -> None:
        """Take in a reading; Hessian products are added up, NaN are none."""
        self.values |= {name: value for name, value in values.items() if name != _PRODUCTS}
        if not math.isnan(products):
            self.values[_PRODUCTS] = self.values.get(_PRODUCTS, 0.0) + products

    def cells(self, names: Sequence[str]) -> tuple[tuple[Any, ...], int]:
        """Return step, point and the columns `names`, NaN where there is none; and their checksum.

        What they have no place for is left out.
        """
        row = _canonical(map(self.values.get, names), len(names))
        crc = wide_checksum(",".join(names), self.step, self.point, row)
        return (self.step, self.point, *row.tolist()), crc


def wide_checksum(names: str, step: int, point: str, values: FloatArray) -> int:
    """Return the checksum of a row: its columns' names, commas between, and their values."""
    cells = f"{step!r}, {point!r})".encode(errors="surrogatepass")
    return zlib.crc32(values.data, zlib.crc32(cells, _before_step(names)))


@functools.lru_cache(maxsize=8)
def _before_step(names: str) -> int:
    """Return the CRC-32 of the start of `repr((names, step, point))`, which every row shares."""
    return zlib.crc32(f"({names!r}, ".encode(errors="surrogatepass"))


@functools.lru_cache(maxsize=8)
def wide_probes(names: tuple[str, ...]) -> dict[str, ProbeColumns]:
    """Return the program's own probes with what a table with these columns has of each."""
    kept = (
        replace(p, columns=tuple(c for c in p.columns if c.name in names)) for p in BUILT_IN_COLUMNS
    )
    return {probe.name: probe for probe in kept if probe.columns}


def read_wide_readings(
    names: Sequence[str], batches: Iterable[Sequence[Sequence[Any]]], *, sealed: bool
) -> dict[str, Readings]:
    """Return measured rows as readings of the `wide_probes` of their columns, each of one at least.

    Args:
        names: the table's columns as stored, `id`, `step` and `point` the first three; from format 4 on
            `crc32` the last.
        batches: their values, rows at a time: each becomes numbers before the next is fetched.
        sealed: whether the format is 4 or later.

    Raises:
        RowError: if a row is damaged.
    """
    parts = [_read_rows(names, rows, sealed=sealed) for rows in batches]
    return {
        probe.name: Readings(
            *(
                np.concatenate([getattr(part[probe.name], name) for part in having])
                for name in ("steps", "numbers", "seconds", "products")
            )
        )
        for probe in BUILT_IN_COLUMNS
        if (having := [part for part in parts if probe.name in part])
    }


def _read_rows(
    names: Sequence[str], rows: Sequence[Sequence[Any]], *, sealed: bool
) -> dict[str, Readings]:
    """Return a batch of `read_wide_readings`."""
    stored = tuple(names[3:-1] if sealed else names[3:])
    if tuple(names[:3]) != ("id", "step", "point") or (sealed and names[-1] != "crc32"):
        raise RowError("its columns aren't those of measurements")
    values_of = chain.from_iterable(row[3:-1] if sealed else row[3:] for row in rows)
    table = _canonical(values_of, len(rows) * len(stored)).reshape(len(rows), len(stored))
    joined = ",".join(stored)
    for row, values in zip(rows, table, strict=True):
        step = row[1]
        if type(step) is not int or not 0 <= step < MOST_STEPS:
            raise RowError("a measurement has no step")
        if sealed and wide_checksum(joined, step, row[2], values) != row[-1]:
            raise RowError(f"the measurement of step {step}: it doesn't fit its checksum")
    steps = np.array([row[1] for row in rows], dtype=np.float64)
    if not bool((np.diff(steps) > 0).all()):
        raise RowError("the measurements aren't in the order of their steps")
    return _split(steps, dict(zip(stored, table.T, strict=True)))


def _split(steps: FloatArray, columns: Mapping[str, FloatArray]) -> dict[str, Readings]:
    """Return a table by probe: a row is a reading of each that has a number in it.

    The Hessian products, counted for all together, go to the first probe; a row without any number too.

    Raises:
        RowError: if it has no column of any.
    """
    probes = wide_probes(tuple(columns))
    if not probes:
        raise RowError("its columns aren't those of measurements")
    nothing = np.full(len(steps), math.nan)
    products = columns.get(_PRODUCTS, nothing)
    numbers: dict[str, FloatArray] = {
        name: np.stack([columns[column.name] for column in probe.columns], axis=1)
        for name, probe in probes.items()
    }
    present: dict[str, NDArray[np.bool_]] = {
        name: np.any(~np.isnan(values), axis=1) for name, values in numbers.items()
    }
    first = next(iter(probes))
    none = ~np.any(list(present.values()), axis=0)
    present[first] |= ~np.isnan(products) | none
    return {
        name: Readings(
            steps[rows],
            numbers[name][rows],
            nothing[rows],
            products[rows] if name == first else nothing[rows],
        )
        for name, rows in present.items()
        if rows.any()
    }


def _canonical(values: Iterable[Any], count: int) -> FloatArray:
    """Return numbers as float64 with one NaN and one zero, as SQLite gives them back."""
    try:
        numbers = np.fromiter(values, dtype=object, count=count).astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise RowError("a measurement isn't of numbers") from None
    numbers[np.isnan(numbers)] = math.nan
    return numbers + 0.0
