"""Lines below the charts that share their x axis: a label, a cell for every column, a note beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from eostui.charts.palette import COLOURS
from eostui.runs.series import FloatArray


@dataclass(frozen=True)
class XAxis:
    """Where a chart's plot lies on the screen, and what its columns stand for.

    Attributes:
        left: the screen's column of the plot's first.
        edges: rising ends of the columns in x, shape (columns + 1,).
        width: of the screen.
    """

    left: int
    edges: FloatArray
    width: int

    @classmethod
    def of(cls, left: int, columns: int, x_range: tuple[float, float], width: int) -> XAxis:
        """Return the axis of a plot of so many columns over a range of x."""
        return cls(left, np.linspace(*x_range, columns + 1), width)

    @property
    def beside(self) -> int:
        """How many cells there are for a note, to the right of the plot."""
        return max(self.width - self.left - len(self.edges), 0)

    def strip(self, label: str, cells: str, colours: Sequence[str], note: Text | str = "") -> Text:
        """Return a line with a character below every column of the plot.

        Args:
            label: to the left of them.
            cells: a character of one cell for each column.
            colours: for each of them.
            note: to the right; as much of it as fits.
        """
        line = Text(
            f" {label}".ljust(self.left)[: self.left], COLOURS["axis"], no_wrap=True, end=""
        )
        for colour, group in groupby(zip(cells, colours, strict=True), key=lambda cell: cell[1]):
            line.append("".join(character for character, _ in group), colour)
        beside = Text(note, COLOURS["title"]) if isinstance(note, str) else note.copy()
        beside.truncate(self.beside, overflow="ellipsis")
        return line.append(" ").append_text(beside)


def right_aligned(text: str, room: int) -> str:
    """Return a text at the right end of so many cells; as it is where it is longer."""
    return " " * max(room - cell_len(text), 0) + text
