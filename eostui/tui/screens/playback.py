"""The live screen of a run that is played back: some keys move the cursor there."""

from __future__ import annotations

from eostui.charts.numbers import compact, grouped
from eostui.charts.palette import COLOURS
from eostui.panels.view import RunView
from eostui.tui.following import Follower
from eostui.tui.keys import KEYS, ON_PLAYBACK, PLAYBACK_HINTS, Hints
from eostui.tui.playback import Playback
from eostui.tui.screens.live import LiveScreen

#: A press of an arrow moves the cursor by this share of the steps that are in sight.
_SCRUB = 0.02


class PlaybackScreen(LiveScreen):
    """Shows a playback; x reaches to the end of the whole run, so that the axis stands still.

    The keys of ON_PLAYBACK are bound here too, and so act here before the application sees them.
    """

    BINDINGS = [binding for key in KEYS if key.id in ON_PLAYBACK for binding in key.bindings()]

    def __init__(self, speed: float | None, *, unicode: bool) -> None:
        """`speed` is in steps a second, None for the playback's own."""
        super().__init__(unicode=unicode)
        self.playback: Playback | None = None
        self._speed_asked = speed

    @property
    def hints(self) -> Hints:
        """What the key bar shows."""
        return PLAYBACK_HINTS

    def play(self, follower: Follower) -> Playback:
        """Return the playback of a run, which the keys of this screen move from now on."""
        self.playback = Playback(follower, self._speed_asked)
        return self.playback

    def action_pause(self) -> None:
        """Hold the playback or let it go on."""
        if self.playback is not None:
            self.playback.hold()

    def action_single_step(self) -> None:
        """Hold the playback and reveal one step."""
        if self.playback is not None:
            self.playback.playing = False
            self.playback.move(1)

    def action_pan(self, direction: int) -> None:
        """Move the cursor by a share of the steps in sight."""
        if self.playback is not None:
            left, right = self._x_range()
            steps = int(_SCRUB * (right - left) / self.x_unit)
            self.playback.move(direction * max(steps, 1))

    def action_pace(self, direction: int) -> None:
        """Play faster or slower."""
        if self.playback is not None:
            self.playback.pace(direction)

    def action_end(self, end: int) -> None:
        """Move the cursor to the start or to the newest step."""
        if self.playback is not None:
            self.playback.move_to_end(end)

    @property
    def end_of_x(self) -> float:
        """How far the whole of x reaches: to the end of the whole run."""
        if self.playback is None or self.view is None:
            return super().end_of_x
        whole = self.playback.whole
        return float(max([0.0, *whole.steps["flow_time" if self.view.flow_time else "step"][-1:]]))

    def _title_fields(self, view: RunView) -> list[tuple[int, str, str]]:
        fields = super()._title_fields(view)
        if self.playback is None:
            return fields
        place = f"of {grouped(max(self.playback.last_step, 0))}"
        speed = f"plays {compact(self.playback.speed)} steps/s"
        return [*fields[:7], (1, place, COLOURS["title"]), (2, speed, COLOURS["axis"]), *fields[7:]]
