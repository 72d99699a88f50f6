"""The run at hand: the engine that brings it, its rows as they come, what steers it, and its picture.

One session lasts as long as the application. Screens are made from it and draw what it holds.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from textual.notifications import SeverityLevel

from eostui.errors import InputError
from eostui.panels.compare.view import ComparisonView
from eostui.panels.view import Overlay, RunView
from eostui.runs.launch import EngineProcess
from eostui.runs.run import Run
from eostui.runs.shelf import Entry
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.schema import LIVE_STATES
from eostui.sweeps.sweep import Sweep
from eostui.tui import follower
from eostui.tui.comparing import Comparing
from eostui.tui.follower import Follower, Opened, Update
from eostui.tui.keymap import Keymap
from eostui.tui.keys import Key, fill
from eostui.tui.notices import Notice, Notices
from eostui.tui.playback import Playback
from eostui.tui.steering import Steering
from eostui.tui.sweeping import FollowedSweep
from eostui.tui.themes import DEFAULT

#: Seconds over which the speed is taken.
_SPEED_WINDOW = 3.0


@dataclass(frozen=True)
class Settings:
    """How the application was started.

    Attributes:
        runs_dir: where new runs are made.
        data_dir: where downloaded data sets are kept.
        fps: frames a second at most.
        unicode: braille and arrows, or ASCII.
        standby: whether an engine is kept ready for the next run.
        theme: name of the colours; one of `themes.THEMES`.
        keymap: the keys that the user chose.
    """

    runs_dir: Path
    data_dir: Path
    fps: float = 10.0
    unicode: bool = True
    standby: bool = False
    theme: str = DEFAULT
    keymap: Keymap = field(default_factory=Keymap)


@dataclass(frozen=True)
class Watch:
    """A run to play back.

    Attributes:
        path: its directory.
        speed: steps a second, None for the whole run in a minute.
    """

    path: Path
    speed: float | None = None

    def __post_init__(self) -> None:
        """Raise InputError if the speed isn't above 0."""
        if self.speed is not None and not 0 < self.speed < math.inf:
            raise InputError(f"--speed is {self.speed:g}, but must be above 0 steps a second")


class Front(Protocol):
    """Who shows a session: the application, as far as a session knows of it."""

    @property
    def is_running(self) -> bool:
        """Whether it isn't leaving."""

    def notify(
        self, message: str, *, severity: SeverityLevel = ..., timeout: float | None = ...
    ) -> None:
        """Show a message for a while."""

    def clear_notifications(self) -> None:
        """Take all messages away."""

    def start_over(self) -> None:
        """Draw another run, or none: nothing of the last one stays."""

    def draw(self) -> None:
        """Draw all that is shown."""

    def draw_news(self) -> None:
        """Draw what is new; called at every look at the run, whether rows came or not."""


class Session:
    """What is at hand; the one thing that the screens and the keys share.

    Attributes:
        settings: how the application was started.
        keys: every key of the program by its id, as it is without the user's keymap.
        watch: the playback that was asked for, None for runs as they are.
        engine: on its way; its run isn't shown yet.
        feed: the run that is shown, as it is followed or played back.
        steering: of that run; None without one, and for a playback.
        beside: the run that is drawn under it.
        comparing: the runs that are compared; None before any were chosen.
        sweep: that is looked on at; None before one was chosen.
        view: what is drawn of both; None as long as there is no run to show.
        message: what goes on while there is none.
        progress: what an engine on its way does while a run is shown, or "".
        revision: another number whenever there is something else to draw.
    """

    def __init__(
        self, front: Front, settings: Settings, keys: Iterable[Key], watch: Watch | None = None
    ) -> None:
        self._front = front
        self.settings = settings
        self.keys: Mapping[str, Key] = {key.id: key for key in reversed([*keys])}
        self.watch = watch
        self.engine: EngineProcess | None = None
        self.feed: Follower | Playback | None = None
        self.steering: Steering | None = None
        self.beside: Follower | None = None
        self.comparing: Comparing | None = None
        self.sweep: FollowedSweep | None = None
        self.view: RunView | None = None
        self.message = "starting"
        self.progress = ""
        self.revision = 0
        self._notices: Notices | None = None
        self._following = False
        self._speed: deque[tuple[float, int]] = deque()
        self._shown_before: list[Path] = []

    # --- what is at hand ------------------------------------------------------------------------------

    def key(self, id: str) -> str:
        """Return how a text writes the key of that id: as the user has it.

        One that was taken away is called by its line of the palette.
        """
        key, palette = (self.settings.keymap.of(self.keys[each]) for each in (id, "palette"))
        if key.keys:
            return key.shown.split()[0]
        return f"{palette.shown} “{key.title}”" if palette.keys else f"“{key.title}”"

    def fill(self, text: str) -> str:
        """Return a text with the keys that it names by their ids, as in `‹calibrate› freezes θ*`."""
        return fill(text, self.key)

    @property
    def run(self) -> Run | None:
        """The run as it is shown."""
        return self.feed.shown if self.feed is not None else None

    @property
    def live_run(self) -> Run | None:
        """The run that is shown, if its engine lives and takes commands from here."""
        return self.run if self.steering is not None and self.state in LIVE_STATES else None

    @property
    def state(self) -> str:
        """The state of the run that is shown, "" without one."""
        return self.feed.state if self.feed is not None else ""

    @property
    def path(self) -> Path | None:
        """The directory of the run that is shown, or of the one that is on its way."""
        if self.run is not None:
            return self.run.path
        return self.engine.path if self.engine is not None else None

    @property
    def playback(self) -> Playback | None:
        """The playback that is shown, if one is."""
        return self.feed if isinstance(self.feed, Playback) else None

    @property
    def speed(self) -> float | None:
        """Steps a second of late, None as long as that can't be told."""
        if len(self._speed) < 2:
            return None
        (start, first), (end, last) = self._speed[0], self._speed[-1]
        return (last - first) / max(end - start, 1e-9)

    @property
    def training(self) -> list[Path]:
        """The runs that train now and are, were or will be shown here, the present one first."""
        shown = [self.steering.run.path] if self.steering is not None else []
        coming = [self.engine.path] if self.engine is not None and self.engine.begun else []
        runs = dict.fromkeys([*shown, *coming, *reversed(self._shown_before)])
        return [path for path in runs if engine_alive(path)]

    # --- another run, or none -------------------------------------------------------------------------

    async def open(self, path: Path) -> Run:
        """Show a run, over its parent if it is a fork. The one that was shown before may train on.

        Raises:
            EostuiError: if it can't be read; the one that was shown before stays.
        """
        if self.feed is None:
            self.show_message(f"reading {path.name}")
        opened = await asyncio.to_thread(follower.open_run, path, whole=self.watch is not None)
        if self.steering is not None:
            self._shown_before.append(self.steering.run.path)
        self._show(opened)
        return opened.follower.run

    def _show(self, opened: Opened) -> None:
        """Show a run that was opened; a playback can't be steered."""
        self.let_go()
        run = opened.follower.run
        if self.watch is not None:
            self.feed = Playback(opened.follower, self.watch.speed)
        else:
            self.feed, self.steering, self._notices = opened.follower, Steering(run), Notices()
        view = RunView(self.feed.shown, self.feed.state)
        view.write_key = self.key
        view.flow_time = self.view.flow_time if self.view is not None else False
        self._replace(view)
        self.lay_over(opened.parent)

    def show_message(self, message: str) -> None:
        """Say what goes on while there is no run to show; nothing of the last one stays."""
        self.message = message
        self._replace(None)

    def show_progress(self, text: str) -> None:
        """Say in the title what an engine on its way does, while a run is shown; "" for none."""
        self.progress = text
        self.revision += 1
        self._front.draw_news()

    def let_go(self) -> None:
        """Close the run that is shown and the one beside it."""
        for feed in (self.feed, self.beside):
            if feed is not None:
                feed.close()
        self.feed = self.beside = self.steering = self._notices = None

    def lay_over(self, beside: Follower | None) -> None:
        """Draw another run under the one shown; None takes it away."""
        view = self.view
        if view is None:
            return
        if self.beside is not None and self.beside is not beside:
            self.beside.close()
        self.beside = beside
        overlay = Overlay.of(view.run, RunView(beside.run, beside.state)) if beside else None
        view.lay_over(overlay)
        self.revision += 1
        self._front.draw()

    def _replace(self, view: RunView | None) -> None:
        if self.view is not None:
            self._front.clear_notifications()
        self.view, self.progress = view, ""
        self._speed.clear()
        self.revision += 1
        self._front.start_over()

    # --- comparing ------------------------------------------------------------------------------------

    def compare(self, runs: ComparisonView | Sequence[Entry]) -> None:
        """Compare runs, in place of those that were compared before.

        Args:
            runs: in the order in which they are told, or a view that was made of them.
        """
        if self.comparing is not None:
            self.comparing.close()
        if not isinstance(runs, ComparisonView):
            runs = ComparisonView(runs, unicode=self.settings.unicode)
        runs.write_key = self.key
        self.comparing = Comparing(runs)
        self.revision += 1

    def show_sweep(self, sweep: Sweep) -> None:
        """Look on at a sweep, in place of the one before."""
        if self.sweep is not None:
            if self.sweep.path == sweep.path:
                return
            self.sweep.close()
        self.sweep = FollowedSweep(sweep, unicode=self.settings.unicode)
        self.revision += 1

    # --- following ------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Take in new rows and have them drawn; a fetch that is slow is never started twice."""
        if self._following:
            return
        self._following = True
        try:
            while await self._fetch():
                pass
        finally:
            self._following = False

    async def catch_up(self) -> None:
        """Take in what is there now, once a fetch that is under way has ended."""
        while self._following:
            await asyncio.sleep(1 / self.settings.fps)
        await self.follow()

    async def _fetch(self) -> bool:
        """Fetch once and draw what is new; return whether there is more to be read at once."""
        feed, beside = self.feed, self.beside
        if feed is None:
            return False
        updates = await asyncio.to_thread(
            lambda: [each.fetch() for each in (feed, beside) if each is not None]
        )
        if feed is not self.feed or not self._front.is_running:
            return False
        self._take_in(feed, beside if beside is self.beside else None, updates)
        return any(update.more for update in updates)

    def _take_in(
        self, feed: Follower | Playback, beside: Follower | None, updates: list[Update]
    ) -> None:
        view = self.view
        if view is None:
            return
        changed = feed.apply(updates[0])
        if changed:
            view.update(feed.shown)
        if beside is not None and view.overlay is not None:
            if beside.apply(updates[1]):
                view.overlay.view.update(beside.run)
                changed = True
            view.overlay.view.state = beside.state
        if changed or view.state != feed.state:
            self.revision += 1
        view.state = feed.state
        self._note_speed(view.newest.last_step)
        if self.steering is not None:
            self.steering.run = feed.shown
        self._front.draw_news()
        if self._notices is not None and isinstance(feed, Follower):
            events = [event for part in updates[0].news for event in part.events]
            self._notify(self._notices.of(feed, events))

    def notify_start(self) -> None:
        """Say what there is to say of a run whose engine was started here."""
        if self._notices is not None and self.run is not None:
            self._notify(self._notices.at_start(self.run))

    def _notify(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            self._front.notify(notice.text, severity=notice.severity, timeout=notice.timeout)

    def _note_speed(self, last_step: int) -> None:
        now = time.monotonic()
        self._speed.append((now, last_step))
        while len(self._speed) > 2 and now - self._speed[0][0] > _SPEED_WINDOW:
            self._speed.popleft()
