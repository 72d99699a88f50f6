"""A run that is read again and again, while it goes on, ends, is resumed, or its directory vanishes."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import NamedTuple

from eostui.errors import EostuiError
from eostui.runs.analysis.controls import controls_of
from eostui.runs.ancestry import parent_path
from eostui.runs.run import Run
from eostui.runs.store.durable import is_read_only
from eostui.runs.store.poller import News
from eostui.runs.store.reader import run_state
from eostui.runs.store.schema import DATABASE

#: States besides those of `Run.state`: its directory isn't there; reading it fails.
GONE, UNREADABLE = "gone", "unreadable"
#: Seconds before what couldn't be read is tried again.
RETRY_EVERY = 1.0
#: What is read between two frames where there is much: seconds, and rows, which are in memory twice until
#: they are taken in.
_READ_FOR = 0.3
_READ_ROWS = 100_000


class Update(NamedTuple):
    """What a look at a run's directory found.

    Attributes:
        state: as `Run.state`, or GONE, or UNREADABLE.
        news: what was written since the last look, as far as it could be read, in parts.
        run: the run opened anew, where another file has taken the place of its store.
        trouble: a sentence if it couldn't be read, or "".
        more: whether there is more to be read at once.
    """

    state: str
    news: tuple[News, ...] = ()
    run: Run | None = None
    trouble: str = ""
    more: bool = False


class Follower:
    """Follows one run; what happens to its directory becomes a state and a sentence, never an error.

    A long run is shown from its first rows on, while the rest of them is read.

    Attributes:
        run: the run as read so far.
        state: its state, or GONE, or UNREADABLE.
        trouble: why it can't be read now, or "".
    """

    def __init__(self, path: Path) -> None:
        """Open a run's directory, read its first rows. Raises InputError or RunFormatError."""
        self._file = _identity(path)
        self.run = Run(path, whole=False)
        self.state = self.run.state
        self.trouble = ""
        self._again = 0.0
        self._senseless = ""  # why its rows, sound as written, make no sense: no reading on
        self._reading = threading.Lock()
        self._closed = threading.Event()

    @property
    def shown(self) -> Run:
        """The run as a view should show it: all that was read."""
        return self.run

    def fetch(self) -> Update:
        """Look for what is new, changing nothing that is shown: for another thread."""
        with self._reading:
            if self._closed.is_set() or time.monotonic() < self._again:
                return Update(self.state, trouble=self.trouble)
            update = self._look()
            if update.trouble:
                self._again = time.monotonic() + RETRY_EVERY
        if self._closed.is_set():  # meanwhile, by who couldn't wait for this
            self.close()
        return update

    def apply(self, update: Update) -> bool:
        """Take in what was fetched; return whether there is more to show than before."""
        self.state, self.trouble = update.state, update.trouble
        if update.run is not None:
            self.run.close()
            self.run = update.run
            return True
        try:
            changes = [self.run.apply(part) for part in update.news]
        except EostuiError as error:
            self.state, self.trouble = UNREADABLE, str(error)
            self._senseless = self.trouble
            return True
        return any(changes)

    def read_all(self) -> None:
        """Take in all rows at once. Raises RunFormatError on damage; what was read before stays."""
        while self.run.refresh():
            pass

    def close(self) -> None:
        """Let go of the store, without waiting; what was read stays.

        A fetch in another thread does it at its end: Python crashes where a store is closed that is
        being read.
        """
        self._closed.set()
        if self._reading.acquire(blocking=False):
            try:
                self.run.close()
            finally:
                self._reading.release()

    def _look(self) -> Update:
        path = self.run.path
        news: list[News] = []
        fresh = None
        try:
            file = _identity(path)
            if file is None:
                return Update(GONE, trouble=f"{path} is gone; what was read of it is still shown")
            if file != self._file:  # repaired, put back from a copy, or gone on with by its owner
                fresh, self._file = Run(path, whole=False), file
                self._senseless = ""
                return Update(fresh.state, run=fresh)
            if self._senseless:
                return Update(UNREADABLE, trouble=self._senseless)
            until = time.monotonic() + _READ_FOR
            news.append(self.run.fetch())
            while not news[-1].complete and time.monotonic() < until:
                if sum(len(part.steps) for part in news) >= _READ_ROWS:
                    break
                news.append(self.run.fetch())
            more = not news[-1].complete
            return Update(run_state(path, news[-1].facts), tuple(news), more=more)
        except EostuiError as error:
            return Update(UNREADABLE, tuple(news), fresh, trouble=str(error))


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
    controls_of(follower.run)  # whatever draws it asks for them
    if whole:
        follower.read_all()
    parent = parent_path(follower.run)
    try:
        return Opened(follower, Follower(parent) if parent else None)
    except (
        EostuiError
    ):  # a parent that is damaged is as good as deleted: the fork is whole in itself
        return Opened(follower, None)


def _identity(path: Path) -> tuple[int, ...] | None:
    """Return what tells a store from another that takes its place; None if there is none.

    One without a log in a folder that can't be written to is read as if it never changed
    (`runs.store.connection.connect`), so one that did is another.
    """
    database = path / DATABASE
    try:
        found = database.stat()
    except OSError:
        return None
    same = found.st_dev, found.st_ino
    if not is_read_only(path) or database.with_name(f"{DATABASE}-wal").exists():
        return same
    return *same, found.st_size, found.st_mtime_ns
