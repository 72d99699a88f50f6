"""A screen of the application: made from the session, drawn when there is something new in it."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.screen import Screen

from eostui.figures.picture import Picture
from eostui.panels.view import RunView
from eostui.tui.keys import EVERYWHERE, Hints, Key, bindings, training_hints
from eostui.tui.session import Session
from eostui.tui.title import title_line
from eostui.tui.widgets.bars import TextBar, key_line


class SessionScreen(Screen[None]):
    """A screen that shows the run at hand; a subclass has `compose` and `draw`.

    It is drawn when it is shown, at another size, when another run is shown, and, while it is shown,
    when the run has something new.

    Class attributes:
        KEYS: keys that it alone has, and those of the application that do something else here
            (`keys.on_this_screen`).
        HINTS: its key bar, () for that of the training.
        EVERY: seconds between two drawings of what is new, at least.
    """

    KEYS: ClassVar[tuple[Key, ...]] = ()
    HINTS: ClassVar[Hints] = ()
    EVERY: ClassVar[float] = 0.3

    def __init_subclass__(cls, **options: Any) -> None:
        if "KEYS" in vars(cls):
            cls.BINDINGS = cls.key_bindings()
        super().__init_subclass__(**options)

    @classmethod
    def key_bindings(cls) -> list[BindingType]:
        """Return the bindings of its keys."""
        return bindings(cls.KEYS)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        session.settings.keymap.rebind(self, self.KEYS)
        self._revision = -1  # of the session, when what is new was drawn last
        self._drawn = 0.0

    def about(self) -> Text | str:
        """Return what the help says of it; markup counts in a str."""
        return ""

    @property
    def view(self) -> RunView | None:
        """The run to draw, None without one."""
        return self.session.view

    @property
    def unicode(self) -> bool:
        """Whether braille and arrows may be drawn, or ASCII alone."""
        return self.session.settings.unicode

    @property
    def picture_name(self) -> str:
        """What a picture of it is named, without its ending."""
        run = self.session.run
        return f"{run.path.name}-{run.last_step}" if run is not None else "eostui"

    @property
    def ways_back(self) -> Hints:
        """Keys that lead back to where all is shown, first in the key bar; () where all is."""
        return ()

    @property
    def chosen_step(self) -> int | None:
        """The step that a fork is for; None for the newest."""
        return None

    def figure(self) -> Picture | None:
        """Return what is shown as a figure for a paper; None where that is none."""
        return None

    @abstractmethod
    def draw(self) -> None:
        """Draw everything that is visible."""

    def draw_bars(self) -> None:
        """Draw the title and the key bar, the TextBars `title` and `keys`."""
        width = self.size.width
        self.query_one("#title", TextBar).show(title_line(self.session, width))
        steering = self.session.steering
        further = "" if steering is None else steering.hinted
        of_theory = self.view is None or self.view.of_theory
        hints = self.HINTS or training_hints(self.session.state, further, of_theory=of_theory)
        self.draw_keys(hints)

    def draw_keys(self, hints: Hints) -> None:
        """Draw the key bar, the TextBar `keys`, with the user's keys."""
        keymap = self.session.settings.keymap
        common = [key for key in self.session.keys.values() if key.group in EVERYWHERE]
        keys = [*common, *self.KEYS]  # its own in place of those
        shown = {token: keymap.of(key) for key in keys for token in key.shown.split()}
        line = key_line(self.size.width, (*self.ways_back, *hints), shown)
        self.query_one("#keys", TextBar).show(line)

    def draw_news(self) -> None:
        """Draw what is new, if anything is; called at every look at the run."""
        now = time.monotonic()
        if now - self._drawn >= self.EVERY and self.has_news():
            self._drawn = now
            self.draw_changed()

    def draw_changed(self) -> None:
        """Draw what a look at the run can change: everything, where a screen doesn't say less."""
        self.draw()

    def has_news(self) -> bool:
        """Return whether the session has something to draw since this was last asked."""
        before, self._revision = self._revision, self.session.revision
        return self._revision != before

    def start_over(self) -> None:
        """Draw another run, or none: nothing of the last one stays."""
        if self.is_mounted:
            self.draw()

    def relayout(self) -> None:
        """Draw for this size."""
        self.call_after_refresh(self.draw)

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.relayout()

    def on_screen_resume(self) -> None:
        """Draw what came while another screen was shown."""
        self.relayout()
