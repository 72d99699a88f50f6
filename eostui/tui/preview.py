"""The run under the cursor of a list, read once the cursor rests, and followed while it stays there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from textual.app import App

from eostui.errors import EostuiError
from eostui.panels.view import RunView
from eostui.tui.follower import Follower

#: Seconds that a cursor rests on a row before its run is read.
_REST = 0.12


class Preview:
    """Reads one run at a time, in the background; a run that is left is read no further.

    Attributes:
        view: what is drawn of the run, None before the first of it was read.
        trouble: why it can't be read, or "".
    """

    def __init__(self, app: App[str], drawn: Callable[[], None]) -> None:
        """`drawn` is called whenever there is something else to draw."""
        self._app, self._drawn = app, drawn
        self.view: RunView | None = None
        self.trouble = ""
        self._wanted: Path | None = None
        self._follower: Follower | None = None
        self._at_work = False

    def of(self, path: Path | None) -> RunView | None:
        """Return what there is to draw of a run; without anything yet it is read."""
        if path != self._wanted:
            self._wanted, self.view, self.trouble = path, None, ""
        if path is not None and self._follower_of(path) is None and not self.trouble:
            self._begin()
        return self.view

    def look_again(self) -> None:
        """Read what is new of the run."""
        if self._wanted is not None:
            self._begin()

    def let_go(self) -> None:
        """Close the run."""
        self._wanted, self.view, self.trouble = None, None, ""
        self._close()

    def _follower_of(self, path: Path) -> Follower | None:
        follower = self._follower
        return follower if follower is not None and follower.run.path == path else None

    def _begin(self) -> None:
        if not self._at_work:
            self._at_work = True
            self._app.run_worker(self._read(), group="preview", exit_on_error=False)

    async def _read(self) -> None:
        try:
            while (path := self._wanted) is not None:
                if self._follower_of(path) is None:
                    await asyncio.sleep(_REST)
                    if path != self._wanted:
                        continue
                    await self._open(path)
                if path == self._wanted and (self.trouble or not await self._fetch(path)):
                    return
        finally:
            self._at_work = False

    async def _open(self, path: Path) -> None:
        self._close()
        try:
            follower = await asyncio.to_thread(Follower, path)
        except EostuiError as error:
            if path == self._wanted:
                self.trouble = str(error)
                self._drawn()
            return
        self._follower = follower
        if path == self._wanted:
            self.view = RunView(follower.run, follower.state)
            self._drawn()

    async def _fetch(self, path: Path) -> bool:
        """Take in what is new; return whether there is more."""
        follower = self._follower_of(path)
        if follower is None:
            return False
        update = await asyncio.to_thread(follower.fetch)
        if path != self._wanted or self.view is None:
            return True  # the cursor went on: so does the loop
        changed = follower.apply(update)
        self.view.state = follower.state
        if changed:
            self.view.update(follower.run)
        if changed or update.trouble:
            self._drawn()
        return update.more

    def _close(self) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None
