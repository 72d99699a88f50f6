"""The run that is shown, and one beside it: opened, followed, and told of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eostui.charts.numbers import steered
from eostui.errors import EostuiError
from eostui.panels.view import Overlay, RunView
from eostui.runs import shelf
from eostui.runs.analysis.remarks import remark
from eostui.runs.ancestry import parent_path
from eostui.runs.calibration import description
from eostui.runs.run import Run
from eostui.runs.store.ending import end_sentence
from eostui.runs.store.rows import Event
from eostui.runs.store.schema import LIVE_STATES
from eostui.tui.following import GONE, UNREADABLE, Follower, Reading
from eostui.tui.playback import Playback
from eostui.tui.screens.dialogs import PickDialog
from eostui.tui.screens.live import LiveScreen
from eostui.tui.steered import Scene, SteeredApp
from eostui.tui.steering import Steering

#: States that a viewer must be told of in red.
_BAD = ("diverged", "failed", "interrupted", GONE, UNREADABLE)


class FollowedApp(SteeredApp):
    """An application that shows a run on its live screen for as long as it has one."""

    _live: LiveScreen

    def __init__(self) -> None:
        super().__init__()
        self._beside: Follower | None = None
        self._fetching = False
        self._told = ""
        self._remarked: set[str] = set()

    def _show(self, feed: Follower | Playback, parent: Follower | None) -> None:
        """Show a run that was opened, over its parent if it is a fork; a playback can't be steered."""
        self._let_go()
        self._feed, self._beside = feed, parent
        self._steering = Steering(feed.shown) if isinstance(feed, Follower) else None
        self._told = "running"
        self._remarked.clear()
        self._live.show_run(RunView(feed.shown, feed.state))
        self._lay_over(parent)

    def _let_go(self) -> None:
        """Close the run that is shown and the one beside it."""
        for feed in (self._feed, self._beside):
            if feed is not None:
                feed.close()
        self._feed = self._beside = self._steering = None

    def _lay_over(self, beside: Follower | None) -> None:
        """Draw another run under the one shown; None takes it away."""
        view = self._live.view
        if view is None:
            return
        if self._beside is not None and self._beside is not beside:
            self._beside.close()
        self._beside = beside
        overlay = Overlay.of(view.run, RunView(beside.run, beside.state)) if beside else None
        view.lay_over(overlay)
        self._live.draw()

    async def _follow(self) -> None:
        """Take in new rows and redraw; a fetch that is slow is never started twice."""
        if self._fetching:
            return
        self._fetching = True
        try:
            while await self._fetch_and_show():
                pass
        finally:
            self._fetching = False

    async def _fetch_and_show(self) -> bool:
        """Fetch once and show what is new; return whether there is more to be read at once."""
        feed, beside = self._feed, self._beside
        if feed is None:
            return False
        readings = await asyncio.to_thread(_fetch, feed, beside)
        if feed is not self._feed or not self.is_running:
            return False
        self._take_in(feed, beside if beside is self._beside else None, readings)
        return any(reading.more for reading in readings)

    def _take_in(
        self, feed: Follower | Playback, beside: Follower | None, readings: list[Reading]
    ) -> None:
        view = self._live.view
        if view is None:
            return
        changed = feed.apply(readings[0])
        view.state = feed.state
        if changed:
            view.update(feed.shown)
        if self._steering is not None:
            self._steering.run = feed.shown
        if beside is not None and view.overlay is not None:
            more = beside.apply(readings[1])
            view.overlay.view.state = beside.state
            if more:
                view.overlay.view.update(beside.run)
            changed = changed or more
        if changed:
            self._live.refresh_run()
        else:
            self._live.refresh_texts()
        events = [event for part in readings[0].news for event in part.events]
        self._tell_changes(feed, events if self._steering is not None else [])

    def _tell_changes(self, feed: Follower | Playback, events: Sequence[Event]) -> None:
        """Say what a viewer must not miss: a refusal, the end of the run, that it goes on again."""
        for event in events:
            if event.kind == "refused":
                self.notify(str(event.payload["reason"]), severity="error")
            elif text := description(event):
                self.notify(text)
        self._tell_remarks(events)
        self._tell_difference(events)
        before, self._told = self._told, feed.state
        if self._told != before and self._steering is not None:
            self._tell_state(before, feed)

    def _tell_remarks(self, events: Sequence[Event]) -> None:
        """Say what there is to remark on the run, each kind once: it may go on at every measurement."""
        for event in events:
            if (text := remark(event)) and event.kind not in self._remarked:
                self._remarked.add(event.kind)
                self.notify(text, severity="warning", timeout=10)

    def _tell_difference(self, events: Sequence[Event]) -> None:
        """Say it if a run doesn't go on from what was recorded, by the newest of its events."""
        repeated = [event for event in events if event.kind in ("continued", "forked")]
        if repeated and (difference := repeated[-1].payload.get("difference")):
            text = f"repeated, it isn't what is on record: {difference}"
            self.notify(text, severity="warning", timeout=10)

    def _tell_state(self, before: str, feed: Follower | Playback) -> None:
        run, state = feed.shown, feed.state
        if state in LIVE_STATES and before in LIVE_STATES:
            return
        if feed.trouble:
            text = feed.trouble
        elif before in (GONE, UNREADABLE):
            text = f"{run.path.name} can be read again: it is {state}"
        elif state in LIVE_STATES:
            text = f"{run.path.name} goes on at step {max(run.last_step, 0)}"
        else:
            text = f"the run is {state}: its engine is gone"
            if state != "interrupted":
                text = end_sentence(run.path, run.facts, state)
        self.notify(text, severity="error" if state in _BAD else "information", timeout=10)

    def action_overlay(self) -> None:
        """Ask for a run of the shelf to draw under this one, or take the present one away."""
        if self._beside is not None:
            self._lay_over(None)
        elif self._run is not None:
            self.run_worker(
                self._ask_overlay(self._run, self.scene()),
                group="overlay", exclusive=True, exit_on_error=False,
            )  # fmt: skip
        else:
            self._steer()  # which says why not

    async def _ask_overlay(self, run: Run, scene: Scene) -> None:
        found = await asyncio.to_thread(shelf.entries, run.path.parent)
        rows = {
            entry.id: f"{entry.name or entry.id}  {entry.state}  step {max(entry.last_step, 0)}  "
            f"η {steered(entry.config.eta, entry.eta)}  "
            f"λ {steered(entry.config.weight_decay, entry.weight_decay)}"
            + (f"  {entry.id}" if entry.name else "")
            for entry in found
            if entry.id != run.path.name
        }
        if not rows:
            self.notify(f"there is no other run in {run.path.parent}", severity="warning")
            return

        def chosen(run_id: str | None) -> None:
            if run_id:
                self.run_worker(
                    self._overlay(run.path.parent / run_id, scene.path),
                    group="overlay", exclusive=True, exit_on_error=False,
                )  # fmt: skip

        self.ask(PickDialog("draw under this run:", rows), chosen, scene)

    async def _overlay(self, path: Path, under: Path | None) -> None:
        """Draw a run under the one that it was chosen for."""
        try:
            beside = await asyncio.to_thread(Follower, path)
        except EostuiError as error:
            self.notify(str(error), severity="error")
            return
        if self._run is not None and self._run.path == under:
            self._lay_over(beside)
        else:
            beside.close()


class Opened(NamedTuple):
    """A run that was opened, and its parent if it is a fork whose parent is still there."""

    follower: Follower
    parent: Follower | None


def open_run(path: Path, *, whole: bool = False) -> Opened:
    """Open a run and its parent.

    Args:
        path: the run directory.
        whole: whether to read all of the run at once, not only its first rows.

    Raises:
        EostuiError: if the run can't be opened.
    """
    follower = Follower(path)
    if whole:
        follower.read_all()
    parent = parent_path(follower.run)
    try:
        return Opened(follower, Follower(parent) if parent else None)
    except (
        EostuiError
    ):  # a parent that is damaged is as good as deleted: the fork is whole in itself
        return Opened(follower, None)


def _fetch(feed: Follower | Playback, beside: Follower | None) -> list[Reading]:
    return [each.fetch() for each in (feed, beside) if each is not None]
