"""Reads the runs that are compared, one after another, and follows those that are live."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eostui.errors import EostuiError
from eostui.panels.compare.member import Member, read_member
from eostui.panels.compare.view import ComparisonView
from eostui.runs.shelf import Entry
from eostui.runs.store.schema import LIVE_STATES
from eostui.tui.follower import GONE, UNREADABLE, Follower

#: Seconds between two looks at the live runs.
FOLLOW_EVERY = 1.0


class Reading(NamedTuple):
    """What was read of a run: by its place, what is kept of it or why nothing could be."""

    place: int
    member: Member | None
    trouble: str = ""


class Comparing:
    """Reads for a view, in another thread than draws it; one call at a time.

    A run that ended is opened, its columns are kept, and it is closed: two hundred of them cost the
    memory of what is drawn. One that is live stays open.
    """

    def __init__(self, view: ComparisonView) -> None:
        """Read for a view."""
        self.view = view
        self._followers: dict[Path, Follower] = {}
        self._looked = 0.0
        self._closed = False

    @property
    def behind(self) -> bool:
        """Whether a run isn't read yet of what is drawn."""
        return self.view.read < len(self.view.entries)

    def read(self) -> list[Reading]:
        """Read the next run that is lacking; without one look at the live ones. For another thread."""
        lacking = next((p for p in range(len(self.view.entries)) if self.view.lacks(p)), None)
        if lacking is not None:
            return [self._read(lacking)]
        if time.monotonic() - self._looked < FOLLOW_EVERY:
            return []
        self._looked = time.monotonic()
        followed = [p for p, entry in enumerate(self.view.entries) if entry.path in self._followers]
        found = [self._follow(place) for place in followed]
        return [reading for reading in found if reading is not None] + self._gone()

    def take(self, readings: list[Reading]) -> None:
        """Take in what was read."""
        for place, member, trouble in readings:
            if member is not None:
                self.view.take(place, member)
            if trouble:
                self.view.refuse(place, trouble)

    def arrange(self, entries: Sequence[Entry]) -> None:
        """Compare these runs, in their order; not while another thread reads."""
        self.view.arrange(entries)
        for path in self._followers.keys() - {entry.path for entry in entries}:
            self._followers.pop(path).close()

    def close(self) -> None:
        """Let go of all runs."""
        self._closed = True
        for follower in self._followers.values():
            follower.close()
        self._followers.clear()

    def _read(self, place: int) -> Reading:
        entry = self.view.entries[place]
        try:
            follower = self._followers.get(entry.path)
            if follower is None and not entry.live:
                return Reading(place, read_member(entry, self.view.wanted))
            if follower is None:
                follower = Follower(entry.path)
                follower.read_all()
                if not self._closed:
                    self._followers[entry.path] = follower
            return Reading(place, Member.of(follower.run, entry, self.view.wanted))
        except EostuiError as error:
            return Reading(place, None, str(error))

    def _follow(self, place: int) -> Reading | None:
        """Look at a live run; let go of it once it has ended."""
        entry = self.view.entries[place]
        follower = self._followers.get(entry.path)
        if follower is None:  # let go of meanwhile
            return None
        update = follower.fetch()
        changed = follower.apply(update)
        while update.more and not self._closed:
            update = follower.fetch()
            changed |= follower.apply(update)
        ended = not update.more and follower.state not in (*LIVE_STATES, UNREADABLE)
        if ended:
            self._followers.pop(entry.path, None)
            follower.close()
        if follower.trouble:
            return Reading(place, None, follower.trouble)
        if not changed and not ended and place not in self.view.troubles:
            return None
        try:
            return Reading(place, Member.of(follower.run, entry, self.view.wanted))
        except EostuiError as error:
            return Reading(place, None, str(error))

    def _gone(self) -> list[Reading]:
        """Return the runs whose directory was taken away: what was read of them is still drawn."""
        return [
            Reading(place, None, f"{entry.path} is {GONE}; what was read of it is still shown")
            for place, entry in enumerate(self.view.entries)
            if entry.path not in self._followers
            and place not in self.view.troubles
            and not entry.path.exists()
        ]
