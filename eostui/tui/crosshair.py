"""The crosshair: where it stands, and the line that says what all series are there."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from rich.text import Text

from eostui.charts.numbers import compact, grouped
from eostui.charts.palette import COLOURS
from eostui.panels.crosshair import Value

#: Digits of a value, and of a difference.
_DIGITS, _DIFFERENCE_DIGITS = 4, 3


@dataclass
class Crosshair:
    """Where the crosshair of a screen stands.

    Attributes:
        step: of the cursor; it stays while the run goes on.
        mark: a step to compare with, None without one.
        grasped: where the mouse button went down, from which a drag reaches.
    """

    step: int
    mark: int | None = None
    grasped: int | None = None

    @property
    def ends(self) -> tuple[int, int] | None:
        """The mark and the cursor in order, None without a mark."""
        return None if self.mark is None else (min(self.mark, self.step), max(self.mark, self.step))


@dataclass(frozen=True)
class _Piece:
    """A value as text: what it stands behind, such as `at 4 100:`, and it."""

    group: str
    text: str
    colour: str


def value_line(
    values: Sequence[Value],
    head: str,
    step: int,
    width: int,
    *,
    first: Collection[str] = (),
    unicode: bool = True,
) -> Text:
    """Return what is read at a step, as much of it as fits.

    Args:
        values: the most important first.
        head: says where it is read.
        step: the step; of values that stand at an earlier one that is said.
        width: cells.
        first: columns that are kept before all others.
        unicode: whether there are others signs than those of ASCII.
    """
    pieces = [
        _Piece(
            "" if value.step == step else f"at {grouped(value.step)}:",
            _told(value, unicode),
            COLOURS[value.colour],
        )
        for value in _by_importance(values, first)
    ]
    return _fitted(head, pieces, width)


def difference_line(
    before: Sequence[Value],
    after: Sequence[Value],
    head: str,
    per: Callable[[int], float],
    unit: str,
    width: int,
    *,
    first: Collection[str] = (),
) -> Text:
    """Return how values differ between two steps, and the slopes.

    Args:
        before, after: at the earlier and the later step.
        head: says between which.
        per: position of a step on the axis by which slopes are taken.
        unit: of that axis.
        width: cells.
        first: columns that are kept before all others.
    """
    earlier = {value.column: value for value in before}
    pieces = []
    for value in _by_importance(after, first):
        start = earlier.get(value.column)
        difference = math.nan if start is None else value.value - start.value
        if start is None or math.isnan(difference):
            continue
        apart = per(value.step) - per(start.step)
        slope = difference / apart if apart else math.nan
        text = f"{value.symbol} {_signed(difference)} ({_signed(slope)})"
        pieces.append(_Piece("", text, COLOURS[value.colour]))
    return _fitted(f"{head}, Δ (a {unit})", pieces, width)


def text_lines(values: Sequence[Value], head: str, step: int, *, unicode: bool) -> Text:
    """Return the same one value a line, for terminals too small for a chart."""
    lines = [head]
    for value in values:
        at = "" if value.step == step else f" @{grouped(value.step)}"
        lines.append(f"{_told(value, unicode)}{at}")
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _by_importance(values: Sequence[Value], first: Collection[str]) -> list[Value]:
    """Return the loss, then those of some columns, then the rest."""
    return sorted(values, key=lambda value: value.column not in ("loss", *first))


def _told(value: Value, unicode: bool) -> str:
    text = f"{value.symbol} {compact(value.value, _DIGITS)}"
    if math.isnan(value.change):
        return text
    up, down = "▲▼" if unicode else "^v"
    return f"{text} ({up if value.change > 0 else down} {_signed(value.change)})"


def _signed(value: float) -> str:
    text = compact(value, _DIFFERENCE_DIGITS)
    return f"+{text}" if value > 0 else text


def _fitted(head: str, pieces: Sequence[_Piece], width: int) -> Text:
    """Return a line of the most important pieces, the groups one after another."""
    kept: list[_Piece] = []
    for piece in pieces:
        if len(_joined(head, [*kept, piece])) <= width:
            kept.append(piece)
    return _joined(head, kept)


def _joined(head: str, pieces: Sequence[_Piece]) -> Text:
    line = Text(f" {head}", f"bold {COLOURS['mark']}", no_wrap=True, overflow="ellipsis")
    for group in sorted({piece.group for piece in pieces}, key=lambda group: group != ""):
        if group:
            line.append(f"  {group}", COLOURS["axis"])
        for index, piece in enumerate(piece for piece in pieces if piece.group == group):
            line.append((" " if group and not index else "  ") + piece.text, piece.colour)
    return line
