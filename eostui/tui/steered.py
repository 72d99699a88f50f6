"""What the keys of the training do: apart from the application, which has a run to keep.

A run begins, is followed and ends there; here its engine is only asked for something.
"""

from __future__ import annotations

from collections.abc import Callable

from textual.app import App
from textual.notifications import SeverityLevel

from eostui.errors import EostuiError, printable
from eostui.runs import commands
from eostui.runs.run import Run
from eostui.runs.schema import LIVE_STATES
from eostui.tui.following import Follower
from eostui.tui.playback import Playback
from eostui.tui.screens.dialogs import NumberDialog
from eostui.tui.steering import Steering


class SteeredApp(App[str]):
    """An application whose keys steer its run, if it has one."""

    def __init__(self) -> None:
        super().__init__()
        self._feed: Follower | Playback | None = None
        self._steering: Steering | None = None

    @property
    def _run(self) -> Run | None:
        """The run as it is shown."""
        return self._feed.shown if self._feed is not None else None

    @property
    def _live_run(self) -> Run | None:
        """The run that is shown, if its engine lives and takes commands from here."""
        if self._feed is None or self._steering is None or self._feed.state not in LIVE_STATES:
            return None
        return self._feed.shown

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a message as it is: what a run tells may look like markup or control the terminal."""
        super().notify(
            printable(message), title=title, severity=severity, timeout=timeout, markup=markup
        )

    def _command(self, kind: str, run: Run | None = None) -> None:
        """Ask something of the engine of a run, of the one that is shown if it isn't given."""
        run = run or self._run
        if run is None:
            return
        try:
            commands.send(run.path, kind)
        except EostuiError as error:
            self.notify(str(error), severity="error")

    def _steer(self) -> Steering | None:
        """Return the steering of a live run, or say why there is none."""
        self.clear_notifications()  # the newest word replaces the last, over the charts
        if self._feed is None:
            self.notify("there is no run yet", severity="warning")
        elif self._steering is None:
            run = self._feed.shown
            self.notify(
                "a playback can't be steered; what trains on from this step is "
                f"`eostui fork {run.path.name} --at {run.last_step}`",
                severity="warning",
            )
        elif self._live_run is None:
            self.notify(
                f"this run is {self._feed.state}: r starts it anew, R resumes it",
                severity="warning",
            )
        return self._steering if self._live_run is not None else None

    def action_scale_eta(self, direction: int) -> None:
        """Multiply or divide η."""
        self._try_steering(lambda steering: steering.scale_eta(direction))

    def action_scale_decay(self, direction: int) -> None:
        """Multiply or divide λ."""
        self._try_steering(lambda steering: steering.scale_decay(direction))

    def action_undo(self) -> None:
        """Undo the last change of η or λ."""
        self._try_steering(lambda steering: steering.undo())

    def action_type_eta(self) -> None:
        """Ask for a value of η."""
        self._type("learning rate η", 0, lambda steering, value: steering.set_eta(value))

    def action_type_decay(self) -> None:
        """Ask for a value of λ."""
        self._type("weight decay λ", 1, lambda steering, value: steering.set_decay(value))

    def _try_steering(self, change: Callable[[Steering], None]) -> None:
        steering = self._steer()
        if steering is None:
            return
        try:
            change(steering)
        except EostuiError as error:
            self.notify(str(error), severity="error")

    def _type(self, question: str, index: int, change: Callable[[Steering, float], None]) -> None:
        steering = self._steer()
        if steering is None:
            return

        def answered(value: float | None) -> None:
            if value is not None:
                self._try_steering(lambda steering: change(steering, value))

        self.push_screen(NumberDialog(question, f"{steering.target[index]:g}"), answered)

    def action_pause(self) -> None:
        """Pause or resume training."""
        if self._steer() is not None and self._run is not None:
            self._command("resume" if self._run.facts.get("status") == "paused" else "pause")

    def action_single_step(self) -> None:
        """Take one step; pause first."""
        if self._steer() is not None and self._run is not None:
            if self._run.facts.get("status") != "paused":
                self._command("pause")
            self._command("step")

    def action_calibrate(self) -> None:
        """Freeze θ* here, for theory to predict the rest."""
        if self._steer() is not None:
            self._command("calibrate")
            self.notify("calibrating: S, u and ∇S here, converged")

    def action_reseat(self) -> None:
        """Restart the predicted orbit from the network's own state."""
        if self._steer() is not None:
            self._command("reseat")
