"""Screens that list: filtered as one types, sorted, with a preview of what is under the cursor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.events import Click
from textual.widgets import Input

from eostui.charts.palette import COLOURS
from eostui.errors import InputError, printable
from eostui.tui.keys import KEYS, Key
from eostui.tui.screens.dialogs import PickDialog
from eostui.tui.screens.screen import SessionScreen
from eostui.tui.session import Session
from eostui.tui.widgets.bars import TextBar
from eostui.tui.widgets.table import Column, Row, Table

#: From this height on there is a preview below the list, and from this width on a text beside it.
_PREVIEW_HEIGHT, _ABOUT_WIDTH = 18, 70
#: Below this there is the list alone.
_SMALL = (30, 8)


def list_keys(name: str, what: str) -> tuple[Key, ...]:
    """Return the keys of every list; `name` is its screen's, `what` is what it lists."""
    return (
        Key("list.filter", "slash", "/", "screen.filter", f"filter the {what} as you type", group=name),
        Key("list.sort", "s", "s", "screen.sort", f"sort the {what}, or turn the order round",
            group=name),
        Key("list.up", "up,k", "↑", "screen.move(-1)", "the one above", group=name),
        Key("list.down", "down,j", "↓", "screen.move(1)", "the one below", group=name),
        Key("list.page_up", "pageup", "pageup", "screen.page(-1)", "a page up", group=name),
        Key("list.page_down", "pagedown", "pagedown", "screen.page(1)", "a page down", group=name),
        Key("list.first", "home", "home", "screen.end(-1)", "the first", group=name),
        Key("list.last", "end", "end", "screen.end(1)", "the last", group=name),
        Key("list.back", "escape", "esc", "screen.back",
            "take the filter away; without one, back to the run's charts", group=name),
    )  # fmt: skip


class ListScreen(SessionScreen):
    """A screen that lists; a subclass says what, and what the preview below it is.

    Keys that steer the run that is shown elsewhere do nothing here: they would end or change what can't
    be seen.

    Attributes:
        typed: the filter, as it was typed.
        order: the column by which the list is sorted, "" for the usual order.
        turned: whether that order is turned round.

    Class attributes:
        COLUMNS: of the list, the first says which row it is.
    """

    AUTO_FOCUS = ""
    COLUMNS: ClassVar[tuple[Column, ...]] = ()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.typed = ""
        self.order, self.turned = "", False
        self._complaint = ""
        keymap = session.settings.keymap
        own = {name for key in self.KEYS for name in keymap.of(key).keys.split(",")}
        for key in KEYS:
            for name in keymap.of(key).keys.split(",") if key.group == "training" else ():
                if name and name not in own:
                    self._bindings.bind(name, "screen.elsewhere", show=False)

    # --- what a subclass says -------------------------------------------------------------------------

    @abstractmethod
    def heading(self) -> str:
        """Return how much is listed, for the title."""

    @abstractmethod
    def find(self, typed: str) -> None:
        """Take a filter. Raises InputError if it isn't one; the one before stays then."""

    @abstractmethod
    def rows(self) -> Sequence[Row]:
        """Return what passes the filter, in its order."""

    @abstractmethod
    def compose_preview(self) -> Iterator[Any]:
        """Yield the widgets of the preview, the last with the id `about`."""

    @abstractmethod
    def draw_preview(self) -> None:
        """Draw the preview of the row under the cursor."""

    @property
    def marked(self) -> frozenset[Hashable]:
        """The keys of the rows that are marked."""
        return frozenset()

    # --- drawing --------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Lay out title, filter, list, preview and keys."""
        yield TextBar(id="title")
        yield Input(id="filter", placeholder="filter: a word, eta<0.1, state:live")
        yield Table(self.COLUMNS, unicode=self.unicode, id="list")
        with Container(id="preview"):
            yield from self.compose_preview()
        yield TextBar(id="keys")

    @property
    def table(self) -> Table:
        """The list."""
        return self.query_one("#list", Table)

    def relayout(self) -> None:
        """Choose what there is room for."""
        width, height = self.size
        self.set_class(height < _PREVIEW_HEIGHT, "-unpreviewed")
        self.set_class(width < _ABOUT_WIDTH, "-narrow")
        self.set_class(width < _SMALL[0] or height < _SMALL[1], "-tiny")
        super().relayout()

    def draw(self) -> None:
        """Draw everything."""
        if self.is_mounted:
            self.draw_list()
            self.draw_preview()

    def draw_list(self) -> None:
        """Draw the list and the lines around it."""
        heads = {}
        if self.order:
            column = next(each for each in self.COLUMNS if each.name == self.order)
            sign = "▴▾"[self.turned] if self.unicode else "^v"[self.turned]
            heads[column.name] = column.title + sign
        self.table.show(self.rows(), self.marked, heads)
        self.draw_bars()

    def draw_bars(self) -> None:
        """Draw the title and the key bar."""
        title = Text(no_wrap=True, overflow="ellipsis")
        if self._complaint:
            title.append(f" {self._complaint}", COLOURS["warm"])
        else:
            title.append(f" {self.heading()}", f"bold {COLOURS['title']}")
            if self.typed:
                title.append(f"   / {printable(self.typed)}", COLOURS["mark"])
        self.query_one("#title", TextBar).show(title)
        self.draw_keys(self.HINTS)

    @property
    def picture_name(self) -> str:
        """What a picture of it is named, without its ending."""
        return "eostui"

    # --- keys -----------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type into the filter."""
        field = self.query_one("#filter", Input)
        field.value = self.typed
        field.cursor_position = len(field.value)
        field.display = True
        self.set_focus(field)  # at once: what is typed next is for it

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter by what is typed so far; what isn't a filter yet is told, and changes nothing."""
        event.stop()
        self._filter(event.value)

    def on_input_submitted(self) -> None:
        """Keep the filter, and go back to the list."""
        self._leave_field()

    def _leave_field(self) -> None:
        self.query_one("#filter", Input).display = False
        self.set_focus(None)

    def _filter(self, text: str) -> None:
        try:
            self.find(text)
        except InputError as error:
            self._complaint = printable(str(error))
        else:
            self._complaint, self.typed = "", text
        self.draw_list()

    def action_back(self) -> None:
        """Take the filter away; without one, show the run's charts."""
        field = self.query_one("#filter", Input)
        if not (self.typed or field.display or self._complaint):
            self.app.call_later(self.app.run_action, "show_screen('f2')")
            return
        field.value = ""
        self._leave_field()
        self._filter("")

    def action_sort(self) -> None:
        """Ask by which column the list is sorted."""
        rows = {"": "the usual order", **{each.name: each.title for each in self.COLUMNS}}
        names = {str(place): name for place, name in enumerate(rows)}
        texts = {place: rows[name] for place, name in names.items()}

        def chosen(place: str | None) -> None:
            if place:
                self.sort(names[place])

        self.app.push_screen(
            PickDialog("sort by (the same again turns the order round):", texts), chosen
        )

    def sort(self, column: str) -> None:
        """Sort by a column, "" for the usual order; by the same once more, the other way round."""
        self.turned = not self.turned if column == self.order else False
        self.order = column
        self.draw_list()

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        self.table.move(rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by what is in sight."""
        self.table.move(pages * self.table.page)

    def action_end(self, end: int) -> None:
        """Move the cursor to the first row or to the last."""
        self.table.go_to(0 if end < 0 else 10**9)

    def action_elsewhere(self) -> None:
        """Say where the keys act that steer the run that is shown."""
        charts = self.session.key("screen.live")
        self.app.notify(
            f"that key steers the run that is shown: {charts} shows it", severity="warning"
        )

    def on_table_head_clicked(self, event: Table.HeadClicked) -> None:
        """Sort by the column."""
        self.sort(event.column)

    def on_table_moved(self) -> None:
        """Preview another row."""
        self.draw_preview()

    def on_click(self, event: Click) -> None:
        """Type into the filter where the title, which tells it, is clicked."""
        if event.widget is not None and event.widget.id == "title":
            self.action_filter()
