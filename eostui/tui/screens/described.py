"""Lists of files that say what they are, as presets and experiments: that text stands below the list."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from eostui.tui.screens.list import ListScreen
from eostui.tui.session import Session
from eostui.tui.widgets.table import Row


class Described(Protocol):
    """What such a list has a row of."""

    @property
    def names(self) -> tuple[str, ...]:
        """What a filter's words are looked for in."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """What else a filter compares."""

    @property
    def row(self) -> Row:
        """Its row of the list."""

    @property
    def about(self) -> Text:
        """What it is, at length."""

    def sorted_by(self, column: str) -> Any:
        """Return what a column is sorted by; "" or None where there is nothing."""


Listed = TypeVar("Listed", bound=Described)


class DescribedList(ListScreen, Generic[Listed]):
    """A list of what is described; a subclass reads it, and says what its keys ask for.

    Attributes:
        listed: all there are; None until they are read.
        shown: those that pass the filter, in the order of the rows.

    Class attributes:
        NOUN: what one of them is called.
    """

    NOUN: ClassVar[str]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.listed: list[Listed] | None = None
        self.shown: list[Listed] = []

    @abstractmethod
    def passes(self, listed: Listed) -> bool:
        """Return whether the filter lets it through."""

    @abstractmethod
    def ask(self, what: str, listed: Listed) -> None:
        """Ask for something to be done to it."""

    @abstractmethod
    def look_again(self) -> None:
        """Read them anew."""

    def compose_preview(self) -> Iterator[Widget]:
        """Yield the description, which may be long."""
        with VerticalScroll(id="about", can_focus=False):
            yield Static(id="description", markup=False)

    def on_mount(self) -> None:
        """The preview is text."""
        self.query_one("#preview").add_class("-text")

    def on_screen_resume(self) -> None:
        """Read them anew: files and shelf may have changed."""
        super().on_screen_resume()
        self.look_again()

    def rows(self) -> Sequence[Row]:
        """Return those that pass the filter, in their own order or as they are sorted."""
        shown = [each for each in self.listed or () if self.passes(each)]
        if self.order:
            known = [each for each in shown if each.sorted_by(self.order) not in ("", None)]
            known.sort(key=lambda each: each.sorted_by(self.order), reverse=self.turned)
            shown = known + [each for each in shown if each not in known]
        elif self.turned:
            shown.reverse()
        self.shown = shown
        return [each.row for each in shown]

    def action_ask(self, what: str) -> None:
        """Ask for something to be done to what is under the cursor."""
        current = self._current
        if current is not None:
            self.ask(what, current)

    @property
    def _current(self) -> Listed | None:
        place = self.table.place_of(self.table.cursor) if self.shown else None
        return self.shown[place] if place is not None and place < len(self.shown) else None

    def draw_preview(self) -> None:
        """Describe what is under the cursor."""
        if self.is_mounted:
            current = self._current
            text = Text(f"No {self.NOUN} passes the filter.") if current is None else current.about
            self.query_one("#description", Static).update(text if self.listed is not None else "")
