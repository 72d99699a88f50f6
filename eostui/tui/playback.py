"""Playing a run back: its rows are revealed up to a cursor, which moves by itself or is moved."""

from __future__ import annotations

import time

from eostui.runs.run import Run
from eostui.tui.follower import Follower, Update

#: The whole run takes so many seconds, unless another speed is asked for.
WHOLE_IN = 60.0
#: A key makes it so many times as fast, or as slow.
FASTER = 2.0
#: States of a playback.
PLAYING, HELD = "playing", "held"


class Playback:
    """A run that is shown as it was when the step under the cursor was its newest.

    The run may still be live: its new rows lie ahead of the cursor.

    Attributes:
        shown: the run as it was at the cursor.
        speed: steps a second.
        playing: whether the cursor moves by itself.
        trouble: why the run can't be read now, or "".
    """

    def __init__(self, follower: Follower, speed: float | None) -> None:
        """Begin at step 0.

        Args:
            follower: of the run, all of which was read.
            speed: steps a second, None for the whole run in WHOLE_IN seconds.
        """
        self._follower = follower
        self.speed = speed or max(self.last_step, 1) / WHOLE_IN
        self.playing = True
        self._cursor = 0.0
        self._moved_at = time.monotonic()
        self.shown = follower.run.until(0)

    @property
    def whole(self) -> Run:
        """The run with all that was read of it."""
        return self._follower.run

    @property
    def last_step(self) -> int:
        """The newest step that there is to be revealed."""
        return self.whole.last_step

    @property
    def state(self) -> str:
        """PLAYING or HELD."""
        return PLAYING if self.playing else HELD

    @property
    def trouble(self) -> str:
        """Why the run can't be read now, or ""."""
        return self._follower.trouble

    def fetch(self) -> Update:
        """Look for new rows, as the run's follower does."""
        return self._follower.fetch()

    def apply(self, update: Update) -> bool:
        """Move the cursor on by the time that passed; return whether there is something else to show."""
        changed = self._follower.apply(update)
        now = time.monotonic()
        if self.playing:
            self._go_to(self._cursor + self.speed * (now - self._moved_at))
            self.playing = self._cursor < self.last_step
        self._moved_at = now
        if self.shown.last_step == int(self._cursor) and not changed:
            return False
        self.shown = self._follower.run.until(int(self._cursor))
        return True

    def close(self) -> None:
        """Let go of the store."""
        self._follower.close()

    def hold(self) -> None:
        """Hold the cursor or let it go on; from the end it begins anew."""
        self.playing = not self.playing
        if self.playing and self._cursor >= self.last_step:
            self._cursor = 0.0

    def move(self, steps: int) -> None:
        """Move the cursor by so many steps."""
        self._go_to(int(self._cursor) + steps)

    def move_to_end(self, end: int) -> None:
        """Move the cursor to the start (−1) or the newest step (+1)."""
        self._go_to(0.0 if end < 0 else self.last_step)

    def pace(self, direction: int) -> None:
        """Play FASTER times as fast (+1) or as slow (−1)."""
        self.speed *= FASTER**direction

    def _go_to(self, place: float) -> None:
        self._cursor = float(min(max(place, 0.0), max(self.last_step, 0)))
