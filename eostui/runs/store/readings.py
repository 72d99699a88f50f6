"""What probes measured: as rows of the store, a row a probe and step; by probe; and by step."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eostui.runs.store.columns import HESSIAN_PRODUCTS, MEASURED_SECONDS, ProbeColumns
from eostui.runs.store.rows import MOST_STEPS, FloatArray, RowError, checksum

#: The cost of probes whose readings need no Hessian product.
_NO_PRODUCTS = "pass"


@dataclass(frozen=True)
class Readings:
    """What one probe measured, by rising step.

    Attributes:
        steps: shape (n,).
        numbers: of its columns in their order, arrays flattened, shape (n, width).
        seconds: that each took, NaN where that isn't on record; shape (n,).
        products: Hessian products spent on each, NaN where none are counted; shape (n,).
    """

    steps: FloatArray
    numbers: FloatArray
    seconds: FloatArray
    products: FloatArray

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class ProbeReading:
    """What a probe measured at a step, as a writer is given it.

    Attributes:
        step: the step, not before that of any reading so far.
        probe: its name; of a probe that the run doesn't state nothing is kept.
        values: by column, numbers and arrays; those left out stay empty.
        point: `raw` or `midpoint`, the same in the whole run.
        seconds: that it took, NaN where that isn't known.
        products: Hessian products spent, NaN where it isn't known.
    """

    step: int
    probe: str
    values: Mapping[str, Any]
    point: str = "raw"
    seconds: float = math.nan
    products: float = math.nan


@dataclass(frozen=True)
class StoredReading:
    """A reading as a row of the store has it; `numbers` has shape (width,)."""

    step: int
    probe: str
    point: str
    numbers: FloatArray
    seconds: float
    products: float


def packed(probe: ProbeColumns, values: Mapping[str, ArrayLike]) -> FloatArray:
    """Return values as a reading has them, shape (width,), NaN where there is none.

    What the probe has no column for, or not of that size, is left out: it is another version's.
    """
    numbers = np.full(probe.width, math.nan)
    start = 0
    for column in probe.columns:
        if column.name in values:
            value = np.asarray(values[column.name], dtype=np.float64)
            if value.size == column.size:
                numbers[start : start + column.size] = value.ravel()
        start += column.size
    numbers[np.isnan(numbers)] = math.nan
    return numbers + 0.0  # one NaN and one zero


def unpacked(probe: ProbeColumns, numbers: FloatArray) -> dict[str, FloatArray]:
    """Return numbers of readings by column: of shape (…, width), arrays of shape (…, *its shape)."""
    values: dict[str, FloatArray] = {}
    start = 0
    for column in probe.columns:
        part = numbers[..., start : start + column.size]
        values[column.name] = part.reshape((*numbers.shape[:-1], *column.shape))
        start += column.size
    return values


def counts_products(probe: ProbeColumns) -> bool:
    """Return whether its readings cost Hessian products."""
    return probe.cost != _NO_PRODUCTS


def reading_row(
    probe: ProbeColumns, step: int, point: str, numbers: FloatArray, seconds: float, products: float
) -> tuple[Any, ...]:
    """Return the cells of a row of `readings`, but its id and its checksum."""
    return (
        int(step),
        probe.name,
        point,
        np.ascontiguousarray(numbers, dtype="<f8").tobytes(),
        float(seconds) if math.isfinite(seconds) else None,
        int(products) if math.isfinite(products) else None,
    )


def reading_checksum(cells: Sequence[Any]) -> int:
    """Return the checksum of the cells of `reading_row`."""
    step, probe, point, blob, seconds, products = cells
    return checksum((step, probe, point, seconds, products), blob)


def read_reading(row: Sequence[Any], probes: Mapping[str, ProbeColumns]) -> StoredReading:
    """Return a reading from step, probe, point, numbers, seconds, products and checksum.

    Raises:
        RowError: if it is damaged, or of no probe of the run.
    """
    parts = _Parts(probes)
    parts.add(row)
    (readings,) = parts.readings().values()
    return StoredReading(
        row[0],
        row[1],
        row[2],
        readings.numbers[0],
        float(readings.seconds[0]),
        float(readings.products[0]),
    )


def read_readings(
    batches: Iterable[Sequence[Sequence[Any]]], probes: Mapping[str, ProbeColumns]
) -> dict[str, Readings]:
    """Return rows, as `read_reading` has them, by probe. Raises RowError if one is damaged."""
    parts = _Parts(probes)
    for rows in batches:
        for row in rows:
            parts.add(row)
    return parts.readings()


class _Parts:
    """Readings as they are collected: numbers, so that the memory of many is that of what they say."""

    def __init__(self, probes: Mapping[str, ProbeColumns]) -> None:
        self._found: dict[str, _Part] = {}
        self._probes = probes

    def add(self, row: Sequence[Any]) -> None:
        step, name, point, blob, seconds, products, crc = row
        if type(step) is not int or not 0 <= step < MOST_STEPS:
            raise RowError("a reading has no step")
        if type(name) is not str or type(point) is not str or type(blob) is not bytes:
            raise RowError(f"the reading of step {step} isn't of its types")
        if checksum((step, name, point, seconds, products), blob) != crc:
            raise RowError(f"the reading of step {step} doesn't fit its checksum")
        part = self._found.get(name)
        if part is None:
            if name not in self._probes:
                raise RowError(f"the reading of step {step} is of a probe that the run hasn't")
            part = self._found[name] = _Part(8 * self._probes[name].width)
        if len(blob) != part.size:
            raise RowError(f"the reading of step {step} hasn't the columns of its probe")
        if not (_is_count(seconds, float) and _is_count(products, int)):
            raise RowError(f"the reading of step {step} isn't of its types")
        part.steps.append(step)
        part.numbers += blob
        part.seconds.append(math.nan if seconds is None else seconds)
        part.products.append(math.nan if products is None else products)

    def readings(self) -> dict[str, Readings]:
        """Return them by probe, in the order of the run's probes."""
        found: dict[str, Readings] = {}
        for name in self._probes:
            if name in self._found:
                part = self._found[name]
                steps, seconds, products = (
                    np.array(values, dtype=np.float64)
                    for values in (part.steps, part.seconds, part.products)
                )
                if not bool((np.diff(steps) > 0).all()):
                    raise RowError("the readings aren't in the order of their steps")
                width = self._probes[name].width
                numbers = np.frombuffer(bytes(part.numbers), dtype="<f8").reshape(-1, width)
                found[name] = Readings(steps, numbers, seconds, products)
        return found


@dataclass
class _Part:
    size: int  # of a blob
    steps: array[float] = field(default_factory=lambda: array("d"))
    numbers: bytearray = field(default_factory=bytearray)
    seconds: array[float] = field(default_factory=lambda: array("d"))
    products: array[float] = field(default_factory=lambda: array("d"))


def one_by_one(
    readings: Mapping[str, Readings],
) -> Iterator[tuple[int, str, FloatArray, float, float]]:
    """Yield step, probe, numbers, seconds and products of each reading, by rising step."""
    rows = [
        (step, place, name, index)
        for place, (name, each) in enumerate(readings.items())
        for index, step in enumerate(each.steps.tolist())
    ]
    for step, _, name, index in sorted(rows):
        each = readings[name]
        yield (
            int(step),
            name,
            each.numbers[index],
            float(each.seconds[index]),
            float(each.products[index]),
        )


def by_step(
    readings: Mapping[str, Readings], probes: Mapping[str, ProbeColumns]
) -> dict[str, FloatArray]:
    """Return readings as a table of the steps at which anything was measured, {} for none.

    It has `step`; the columns of those probes that measured, arrays as arrays of shape (n, *shape), NaN
    where nothing was; and what the readings of a step cost together.
    """
    if not readings:
        return {}
    steps = np.unique(np.concatenate([each.steps for each in readings.values()]))
    table = {"step": steps}
    costs = np.full((2, len(steps)), math.nan)
    for name, each in readings.items():
        at = np.searchsorted(steps, each.steps)
        for column, values in unpacked(probes[name], each.numbers).items():
            table[column] = np.full((len(steps), *values.shape[1:]), math.nan)
            table[column][at] = values
        for total, part in zip(costs, (each.products, each.seconds), strict=True):
            total[at] = _sum(total[at], part)
    table[HESSIAN_PRODUCTS.name], table[MEASURED_SECONDS.name] = costs
    return table


def _sum(total: FloatArray, part: FloatArray) -> FloatArray:
    """Return the sum of what is known of both, NaN where nothing is."""
    known: NDArray[np.bool_] = ~np.isnan(part)
    return np.where(known, np.where(np.isnan(total), 0.0, total) + part, total)


def _is_count(value: object, kind: type) -> bool:
    return value is None or (type(value) is kind and 0 <= value < MOST_STEPS)  # type: ignore[operator]
