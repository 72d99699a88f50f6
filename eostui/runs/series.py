"""Arrays that grow as a run does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


class Series:
    """Named float64 columns of one length; appending is amortised, reading is a view.

    Room grows by a quarter: a run of 1e6 steps costs its own size and little more.
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
        shapes = shapes or {}
        self._columns = {name: np.empty((self._room, *shapes.get(name, ()))) for name in names}
        self._same: dict[str, str] = {}

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, name: str) -> FloatArray:
        """Return one column, shape (n, *shape): a view, valid until the next append."""
        return self._columns[self._same.get(name, name)][: self._length]

    def __contains__(self, name: str) -> bool:
        return name in self._columns or name in self._same

    def call(self, name: str, column: str) -> None:
        """Have a column by a second name, without a copy of it."""
        self._same[name] = column

    def head(self, rows: int) -> Series:
        """Return the first rows as a series that shares the columns: for reading, no copy is made."""
        head = Series([])
        head._columns, head._length = self._columns, min(rows, self._length)
        head._same = self._same
        return head

    def reserve(self, rows: int) -> None:
        """Make room for so many rows in all, so that appending them copies none.

        Room that isn't used takes no memory.
        """
        if rows <= self._room:
            return
        for name, column in self._columns.items():
            grown = np.empty((rows, *column.shape[1:]))
            grown[: self._length] = column[: self._length]
            self._columns[name] = grown
        self._room = rows

    def append(self, rows: int, values: Mapping[str, ArrayLike]) -> slice:
        """Append `rows` rows, NaN where a column isn't given; return where they lie."""
        start, stop = self._length, self._length + rows
        if stop > self._room:
            self.reserve(max(stop, self._room * 5 // 4 + 64))
        for name, column in self._columns.items():
            if name not in values:
                column[start:stop] = np.nan
        self._length = stop
        for name, new in values.items():
            self._columns[name][start:stop] = new
        return slice(start, stop)
