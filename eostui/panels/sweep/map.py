"""A map of a sweep over two of its keys: a reading of its members at rest, or their phases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from eostui.charts.numbers import compact
from eostui.charts.palette import OF_PHASES
from eostui.charts.picture import AXIS, TITLE, Grid
from eostui.errors import printable
from eostui.panels.compare.charts import title_of
from eostui.panels.compare.member import Member
from eostui.panels.compare.view import RAMP, SEED, ComparisonView
from eostui.runs.analysis.phases import BY_NAME, PHASES
from eostui.runs.family import symbol_of, told
from eostui.sweeps.plan import Axis, Plan
from eostui.sweeps.sweep import MemberState

#: What the map shows where it isn't a column.
PHASE = "phase"
#: A cell narrower than this has no room for numbers: digits from the least to the greatest stand there;
#: none is wider than that; what is between two.
_NUMBERS, _WIDEST, _GAP = 5, 10, 1
#: A cell of which nothing is known yet, and one whose only runs aren't at rest, in a digit's place.
_NOTHING, _UNREST = "·", "◌"
_ASCII = str.maketrans({_NOTHING: ".", _UNREST: "?"})


@dataclass(frozen=True)
class Cell:
    """What the members at one point of two keys read.

    Attributes:
        low, high: the least and greatest of them, one value mostly; NaN for none.
        at_rest: whether all that are told are at rest.
        phases: letters of their phases, each once.
    """

    low: float = math.nan
    high: float = math.nan
    at_rest: bool = True
    phases: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return math.isfinite(self.low)

    def text(self, digits: int = 3) -> str:
        """Return its value, in brackets where it isn't at rest; a range where members differ in more."""
        if not self.known:
            return ""
        text = compact(self.low, digits)
        if self.high != self.low:
            text += f"…{compact(self.high, digits)}"
        return text if self.at_rest else f"({text})"


@dataclass(frozen=True)
class SweepMap:
    """A reading over two keys, `cells[row][column]`.

    Attributes:
        what: the column that is read at rest, or PHASE.
        across, down: the names of the keys.
        columns, rows: their values, as told.
    """

    what: str
    across: str
    down: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value; NaN without any."""
        known = [cell for row in self.cells for cell in row if cell.known]
        if not known:
            return math.nan, math.nan
        return min(cell.low for cell in known), max(cell.high for cell in known)

    def title(self, *, digits: bool) -> tuple[str, ...]:
        """Return what it shows in parts, and where digits stand for values what these are."""
        if self.what == PHASE:
            letters = "".join(cell.phases for row in self.cells for cell in row)
            named = [f"{each.letter} {each.name}" for each in PHASES if each.letter in letters]
            return ("phases", *named)
        low, high = self.ends
        scale = f"0 {compact(low)} … 9 {compact(high)}" if digits and math.isfinite(low) else ""
        return tuple(filter(None, (f"{title_of(self.what)} at rest", scale)))

    @property
    def corner(self) -> str:
        """The names of the keys, where the values of both begin."""
        return f"{self.down}\\{self.across}"


def two_axes(plan: Plan) -> tuple[Axis, Axis] | None:
    """Return the axes that a map is over: the first two but that of seeds; the longer goes down.

    None if fewer vary.
    """
    varying = [each for each in plan.axes if len(each.values) > 1 and each.keys != (SEED,)]
    if len(varying) < 2:
        return None
    across, down = sorted(varying[:2], key=lambda axis: len(axis.values))
    return across, down


def map_of(
    plan: Plan, states: Sequence[MemberState], view: ComparisonView, what: str
) -> SweepMap | None:
    """Return the map of a sweep as far as its members are read; None if it has no two keys.

    Members that differ in their seed alone are one cell, the mean of those at rest; where they differ in
    more, the cell is their range. Of members not at rest a value stands only where no other does.

    Args:
        plan: of the sweep, whose axes are the map's.
        states: of its members.
        view: the comparison of those that began.
        what: the column that is read at rest, or PHASE.
    """
    axes = two_axes(plan)
    if axes is None:
        return None
    across, down = axes
    read = {entry.path: view.members[place] for place, entry in enumerate(view.entries)}
    found: dict[tuple[str, str], list[tuple[MemberState, Member | None]]] = {}
    for state in states:
        settings = state.member.settings
        column, row = (
            repr(tuple(settings.get(key) for key in axis.keys)) for axis in (across, down)
        )
        found.setdefault((column, row), []).append((state, read.get(state.member.path)))
    cells = [
        tuple(_cell(found.get((repr(column), repr(row)), []), what) for column in across.values)
        for row in down.values
    ]
    return SweepMap(
        what, _name(across), _name(down), _values(across), _values(down), tuple(cells)
    )  # fmt: skip


def _cell(members: Sequence[tuple[MemberState, Member | None]], what: str) -> Cell:
    names = [m.entry.phase if m is not None else s.entry.phase if s.entry else ""
             for s, m in members]  # fmt: skip
    letters = "".join(dict.fromkeys(BY_NAME[name].letter for name in names if name in BY_NAME))
    if what == PHASE:
        return Cell(phases=letters)
    known = [
        (state, member.readings[what].value, member.at_rest)
        for state, member in members
        if member is not None
        and what in member.readings
        and math.isfinite(member.readings[what].value)
    ]
    resting = [each for each in known if each[2]]
    of_others: dict[str, list[float]] = {}
    for state, value, _ in resting or known:
        others = {key: each for key, each in state.member.settings.items() if key != SEED}
        of_others.setdefault(repr(sorted(others.items())), []).append(value)
    if not known:
        return Cell(phases=letters)
    if resting:
        means = [sum(values) / len(values) for values in of_others.values()]
    else:  # what isn't at rest is averaged with nothing
        means = [value for values in of_others.values() for value in values]
    return Cell(min(means), max(means), bool(resting), letters)


def _name(axis: Axis) -> str:
    return printable("·".join(map(symbol_of, axis.keys)))


def _values(axis: Axis) -> tuple[str, ...]:
    return tuple(printable("·".join(map(told, point))) for point in axis.values)


def width_of(axes: tuple[Axis, Axis]) -> int:
    """Return how many cells a map over two axes takes with room for numbers."""
    across, down = axes
    head = max(map(cell_len, (f"{_name(down)}\\{_name(across)}", *_values(down))))
    return head + 1 + len(across.values) * (_WIDEST + _GAP)


def narrow(shown: SweepMap, width: int) -> bool:
    """Return whether a grid of `width` cells has no room for numbers, and digits stand for them."""
    return _wide(shown, width) < max(_NUMBERS, *(len(c.text()) for row in shown.cells for c in row))


def _wide(shown: SweepMap, width: int) -> int:
    """Return how many cells a column has, without the gap after it."""
    room = width - _head(shown, width) - 1
    return room // max(len(shown.columns), 1) - _GAP


def _head(shown: SweepMap, width: int) -> int:
    """Return how wide the values at the left are."""
    return min(max(map(cell_len, (shown.corner, *shown.rows))), width // 3)


def draw_map(shown: SweepMap, width: int, height: int, *, unicode: bool = True) -> Grid:
    """Draw a map into a grid of `width` × `height` cells: values, or digits where these have no room.

    What has no room at the right or below is cut, and … says so. Colours are the ramp's from the least
    value to the greatest, or the phases'.
    """
    grid = Grid.blank(width, height)
    head = _head(shown, width)
    numbers = shown.what != PHASE and not narrow(shown, width)
    wide = max(min(_wide(shown, width), _WIDEST if numbers else _WIDEST // 2), 1)
    more = "…" if unicode else "~"
    grid.write(0, 0, shown.corner[:head].rjust(head), TITLE)
    fitting = max((width - head - 1) // (wide + _GAP), 0)
    ends = shown.ends
    for row, value in enumerate(shown.rows[: height - 1], start=1):
        grid.write(row, 0, value[:head].rjust(head), AXIS)
        for column, cell in enumerate(shown.cells[row - 1][:fitting]):
            text, colour = _drawn(cell, shown.what, ends, numbers=numbers, wide=wide)
            text = text if unicode else text.translate(_ASCII)
            left = head + 1 + column * (wide + _GAP)
            grid.write(row, left, text[:wide].rjust(wide), colour)
    last = -1
    for column, value in enumerate(shown.columns[:fitting]):
        right = head + 1 + column * (wide + _GAP) + wide
        start = right - min(len(value), wide)
        if start > last and start + len(value) <= width:  # told whole, or not at all
            grid.write(0, start, value, AXIS)
            last = start + len(value)
    if len(shown.rows) > height - 1 > 0:
        grid.write(height - 1, 0, more.rjust(head), TITLE)
    if fitting < len(shown.columns) and width:
        grid.write(0, width - 1, more, TITLE)
    return grid


def _drawn(
    cell: Cell, what: str, ends: tuple[float, float], *, numbers: bool, wide: int
) -> tuple[str, str]:
    """Return a cell's text and colour."""
    if what == PHASE:
        if not cell.phases:
            return _NOTHING, AXIS
        return cell.phases[:wide], OF_PHASES.get(cell.phases[0], AXIS)
    if not cell.known:
        return _NOTHING, AXIS
    low, high = ends
    place = ((cell.low + cell.high) / 2 - low) / (high - low) if high > low else 0.0
    colour = RAMP[round(place * (len(RAMP) - 1))]
    if numbers:
        return cell.text(), colour
    return (str(round(9 * place)) if cell.at_rest else _UNREST), colour
