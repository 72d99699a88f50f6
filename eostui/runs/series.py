"""Arrays that grow as a run does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


class Series:
    """Named float64 columns of one length; appending is amortised, reading is a view.

    Room grows by a quarter, and a column takes none before it has a number: a run of 1e6 steps costs the
    size of what is known of it and little more.
    """

    def __init__(
        self, names: Sequence[str], shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> None:
        """Begin without rows.

        Args:
            names: of the columns.
            shapes: of what a column holds a row, by its name; a number where nothing is said.
        """
        self._length, self._room = 0, 64
        self._shapes = {name: (shapes or {}).get(name, ()) for name in names}
        self._same: dict[str, str] = {}
        self._columns: dict[str, FloatArray] = {}  # those that have a number somewhere

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> FloatArray:
        """Return one column, shape (n, *shape): a view for reading, valid until the next append."""
        name = self._same.get(name, name)
        shape = self._shapes[name]
        if name in self._columns:
            return self._columns[name][: self._length]
        return np.broadcast_to(np.float64(np.nan), (self._length, *shape))

    def __contains__(self, name: str) -> bool:
        return name in self._shapes or name in self._same

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._shapes, *self._same]))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of what a column holds a row: () for a number."""
        return self._shapes[self._same.get(name, name)]

    def newest(self, name: str) -> float:
        """Return the last number in a column, NaN where there is none."""
        column = self[name]
        known = np.flatnonzero(~np.isnan(column))
        return float(column[known[-1]]) if len(known) else math.nan

    def add(self, name: str, shape: tuple[int, ...] = ()) -> None:
        """Have one more column, NaN so far, if there is none of that name."""
        self._shapes.setdefault(name, shape)

    def call(self, name: str, column: str) -> None:
        """Have a column by a second name, without a copy of it."""
        self._same[name] = column

    def head(self, rows: int) -> Series:
        """Return the first rows as a series that shares the columns: for reading, no copy is made."""
        head = Series([])
        head._columns, head._length = self._columns, min(rows, self._length)
        head._shapes, head._same = self._shapes, self._same
        return head

    def reserve(self, rows: int) -> None:
        """Make room for so many rows in all, so that appending them copies none.

        Room that isn't used takes no memory.
        """
        if rows <= self._room:
            return
        self._room = rows
        for name, column in self._columns.items():
            grown = self._empty(name)
            grown[: self._length] = column[: self._length]
            self._columns[name] = grown

    def append(self, rows: int, values: Mapping[str, ArrayLike]) -> None:
        """Append `rows` rows, NaN where a column isn't given."""
        start, stop = self._length, self._length + rows
        if stop > self._room:
            self.reserve(max(stop, self._room * 5 // 4 + 64))
        self._length = stop
        for name, column in self._columns.items():
            if name not in values:
                column[start:stop] = np.nan
        for name, new in values.items():
            self.write(name, slice(start, stop), new)

    def write(self, name: str, at: slice | NDArray[np.int64], values: ArrayLike) -> None:
        """Put values into rows of a column that are there already."""
        if name not in self._columns:
            if np.isnan(values).all():
                return
            column = self._empty(name)
            column[: self._length] = np.nan
            self._columns[name] = column
        self._columns[name][: self._length][at] = values

    def _empty(self, name: str) -> FloatArray:
        return np.empty((self._room, *self._shapes[name]))
