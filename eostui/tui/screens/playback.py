"""The live screen of a run that is played back: some keys move the cursor there."""

from __future__ import annotations

from typing import ClassVar

from eostui.tui.keys import Hints, Key, on_this_screen
from eostui.tui.playback import Playback
from eostui.tui.screens.live import LiveScreen

#: A press of an arrow moves the cursor by this share of the steps that are in sight.
_SCRUB = 0.02


class PlaybackScreen(LiveScreen):
    """Shows a playback; x reaches to the end of the whole run, so that the axis stands still."""

    KEYS = (
        *on_this_screen(
            {
                "pause": "hold the playback or let it go on",
                "step": "hold, and reveal one step",
                "pan.left": "go back, by a fiftieth of what is in sight",
                "pan.right": "go on, by a fiftieth of what is in sight",
            }
        ),
        Key("playback.faster", "greater_than_sign", ">", "screen.pace(1)", "play twice as fast",
            group="playback"),
        Key("playback.slower", "less_than_sign", "<", "screen.pace(-1)", "play half as fast",
            group="playback"),
        Key("playback.start", "home", "home", "screen.end(-1)", "back to step 0", group="playback"),
        Key("playback.end", "end", "end", "screen.end(1)", "on to the newest step", group="playback"),
    )  # fmt: skip
    HINTS: ClassVar[Hints] = (
        ("space", "hold"), ("← →", "scrub"), ("< >", "speed"), ("home end", "ends"), (".", "step"),
        ("+ -", "zoom"), ("o", "overlay"), ("v", "freeze"), ("x", "csv"), ("?", "help"), ("q", "quit"),
    )  # fmt: skip

    @property
    def playback(self) -> Playback | None:
        """The playback that the keys of this screen move."""
        return self.session.playback

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
        """Move the playback by a share of the steps in sight, or the crosshair by a column."""
        if self.crosshair is not None:
            super().action_pan(direction)
        elif self.playback is not None:
            left, right = self.x_range()
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
