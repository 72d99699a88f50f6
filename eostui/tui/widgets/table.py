"""A list of thousands of rows, of which those in sight are drawn: a cursor, marks, columns that fit."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from eostui.charts.palette import COLOURS

#: Cells before a row's first: the cursor and the mark, with a blank after them.
_BEFORE = 3
#: Cells between columns.
_GAP = 2
#: Cells that the last column has at least, where it takes what the others leave.
_LEAST = 6


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: by which it is sorted.
        title: at its head.
        right: whether its cells are aligned right.
        at_most: cells wide at most.
        often_empty: whether it is left out where all of its cells are empty.
    """

    name: str
    title: str
    right: bool = False
    at_most: int = 1000
    often_empty: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        key: says which row it is, whatever its place.
        cells: a text for every column, without control characters.
        colours: a name of the palette for every column.
        sentence: stands in place of all cells but the first; "" for these.
    """

    key: Hashable
    cells: tuple[str, ...]
    colours: tuple[str, ...]
    sentence: str = ""

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """How wide each cell is."""
        shown = self.cells if not self.sentence else self.cells[:1]
        widths = tuple(map(cell_len, shown))
        return widths + (0,) * (len(self.cells) - len(widths))


class Table(Widget):
    """Shows rows in the order in which they are given; the first of their columns is never dropped.

    Where there is no room for all columns, those at the right are dropped, and then the first is cut at
    its beginning: runs are told apart by the ends of their names.
    """

    COMPONENT_CLASSES = {"table--cursor"}

    class Moved(Message):
        """The cursor is on another row."""

    class Chosen(Message):
        """The row under the cursor was clicked twice."""

    class HeadClicked(Message):
        """A column's title was clicked."""

        def __init__(self, column: str) -> None:
            super().__init__()
            self.column = column

    def __init__(self, columns: Sequence[Column], *, unicode: bool, id: str) -> None:
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._signs = ("▸", "✚") if unicode else (">", "+")
        self._rows: Sequence[Row] = ()
        self._places: dict[Hashable, int] = {}
        self._shown: list[tuple[int, int]] = []  # columns with their widths
        self._heads: dict[str, str] = {}
        self._at = self._top = 0
        self._marked: frozenset[Hashable] = frozenset()

    # --- what is shown --------------------------------------------------------------------------------

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Have other columns, for the rows that are shown next."""
        self._columns = tuple(columns)

    @property
    def cursor(self) -> Hashable | None:
        """The key of the row under the cursor, None without rows."""
        return self._rows[self._at].key if self._rows else None

    def show(
        self, rows: Sequence[Row], marked: frozenset[Hashable], heads: dict[str, str] | None = None
    ) -> None:
        """Show rows in place of the last ones; the cursor stays on its row, or at its place.

        Args:
            rows: in their order.
            marked: the keys of those that are marked.
            heads: titles of columns that are others than usual, by name.
        """
        before = self.cursor
        self._rows, self._marked, self._heads = rows, marked, heads or {}
        self._places = {row.key: place for place, row in enumerate(rows)}
        self._at = self._places.get(before, min(self._at, max(len(rows) - 1, 0)))
        self._lay_out()
        self._keep_in_sight()
        self.refresh()
        if self.cursor != before:
            self.post_message(self.Moved())

    def go_to(self, place: int) -> None:
        """Put the cursor on the row at a place, or on the last one."""
        place = min(max(place, 0), max(len(self._rows) - 1, 0))
        if place != self._at:
            self._at = place
            self._keep_in_sight()
            self.refresh()
            self.post_message(self.Moved())

    def move(self, rows: int) -> None:
        """Move the cursor by so many rows."""
        self.go_to(self._at + rows)

    @property
    def page(self) -> int:
        """How many rows are in sight."""
        return max(self.size.height - 1, 1)

    def place_of(self, key: Hashable) -> int | None:
        """Return where a row is."""
        return self._places.get(key)

    # --- drawing --------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        """Lay the columns out anew."""
        self._lay_out()
        self._keep_in_sight()
        self.refresh()

    def _title(self, column: Column) -> str:
        return self._heads.get(column.name, column.title)

    def _lay_out(self) -> None:
        """Choose the columns that fit, and their widths; the last one has what the others leave."""
        room = self.size.width - _BEFORE
        wide = [max(column) for column in zip(*(row.widths for row in self._rows), strict=True)]
        shown: list[tuple[int, int]] = []
        for index, column in enumerate(self._columns):
            widest = wide[index] if wide else 0
            if column.often_empty and not widest:
                continue
            head = cell_len(self._title(column))
            width = max(min(widest, column.at_most), head)
            gap = _GAP if shown else 0
            last = index == len(self._columns) - 1
            if shown and (min(width, max(_LEAST, head)) if last else width) + gap > room:
                break
            width = min(width, max(room - gap, 1))
            shown.append((index, width))
            room -= width + gap
        self._shown = shown

    def _keep_in_sight(self) -> None:
        last = max(len(self._rows) - self.page, 0)
        self._top = min(max(self._top, self._at - self.page + 1), self._at, last)
        self._top = max(self._top, 0)

    def render_line(self, y: int) -> Strip:
        """Return one line: the titles, or a row."""
        width = self.size.width
        style = self.rich_style
        place = self._top + y - 1
        if y and place >= len(self._rows):
            return Strip.blank(width, style)
        if not y:
            title = style + Style(color=COLOURS["axis"])
            texts = [self._cell(self._title(self._columns[i]), i, w) for i, w in self._shown]
            segments = [Segment(" " * _BEFORE + (" " * _GAP).join(texts), title)]
        else:
            segments = self._row(self._rows[place], place == self._at, style)
        return Strip(segments).adjust_cell_length(width, segments[-1].style).simplify()

    def _row(self, row: Row, under_cursor: bool, style: Style) -> list[Segment]:
        if under_cursor:
            style = self.get_component_rich_style("table--cursor") + Style(bold=True)
        marked = row.key in self._marked
        before = (self._signs[0] if under_cursor else " ") + (self._signs[1] if marked else " ")
        segments = [Segment(before.ljust(_BEFORE), style + Style(color=COLOURS["mark"]))]
        for index, width in self._shown:
            if row.sentence and index:
                left = self.size.width - sum(len(each.text) for each in segments)
                text = _cut(row.sentence, max(left, 0))
                segments.append(Segment(text, style + Style(color=COLOURS["warm"])))
                break
            text = self._cell(row.cells[index], index, width)
            segments.append(Segment(text, style + Style(color=COLOURS[row.colours[index]])))
            segments.append(Segment(" " * _GAP, style))
        return segments

    def _cell(self, text: str, index: int, width: int) -> str:
        """Return a cell's text in so many cells."""
        if cell_len(text) > width:
            return _cut_before(text, width) if not index else _cut(text, width)
        if self._columns[index].right:
            return " " * (width - cell_len(text)) + text
        return set_cell_size(text, width)

    # --- the mouse ------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where it was clicked; twice chooses, and a title sorts."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if not offset.y:
            left = _BEFORE
            for index, width in self._shown:
                if left <= offset.x < left + width + _GAP:
                    self.post_message(self.HeadClicked(self._columns[index].name))
                left += width + _GAP
        elif self._top + offset.y - 1 < len(self._rows):
            again = self._top + offset.y - 1 == self._at and event.chain > 1
            self.go_to(self._top + offset.y - 1)
            if again:
                self.post_message(self.Chosen())

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Move on by three rows."""
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Move back by three rows."""
        event.stop()
        self.move(-3)


def _cut(text: str, width: int) -> str:
    """Return a text cut at its end to so many cells."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(set_cell_size(text, max(width - 1, 0)).rstrip() + "…", width)


def _cut_before(text: str, width: int) -> str:
    """Return a text cut at its beginning to so many cells."""
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return set_cell_size("…" + text, width)
