"""What the keys of the training do: apart from the application, which has a run to keep.

A run begins, is followed and ends there; here its engine is only asked for something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from textual.notifications import SeverityLevel
from textual.screen import ModalScreen, Screen

from eostui.errors import EostuiError, printable
from eostui.runs.launch import EngineProcess, refuse_resume
from eostui.runs.run import Run
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.schema import LIVE_STATES
from eostui.tui.following import Follower
from eostui.tui.orderly import OrderlyApp
from eostui.tui.playback import Playback
from eostui.tui.screens.dialogs import Dialog, MessageDialog, NumberDialog
from eostui.tui.steering import Steering

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Scene:
    """What a key that was pressed is about.

    Attributes:
        screen: the screen, or the dialog, that was shown.
        path: of the run that was shown, or of the one that was on its way; None without any.
    """

    screen: Screen[object]
    path: Path | None


class SteeredApp(OrderlyApp):
    """An application whose keys steer its run, if it has one.

    Whatever a key leads to acts on the run and on the screen that were shown when it was pressed. What
    is done at once does by itself; what comes later, an answer or the end of a reading, keeps the
    `Steering` or the `Scene` of that moment, for another run may be shown by then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._feed: Follower | Playback | None = None
        self._steering: Steering | None = None
        self._engine: EngineProcess | None = None  # on its way: its run isn't shown yet
        self._unsaid: list[str] = []

    def scene(self) -> Scene:
        """Return what a key pressed now is about."""
        path = self._engine.path if self._engine is not None else None
        return Scene(self.screen, self._run.path if self._run is not None else path)

    def ask(
        self,
        dialog: Dialog[Answer],
        answered: Callable[[Answer | None], None],
        scene: Scene | None = None,
    ) -> None:
        """Put a question, unless it came too late.

        Args:
            dialog: the question.
            answered: called with the answer.
            scene: what the key was about; a question that was got ready in the background is dropped
                where another is open by now or another run is shown: the keys typed there aren't its.
        """
        if scene is None or scene == self.scene():
            self.push_screen(dialog, answered)
        else:
            self.notify("something else is shown by now: press the key again", severity="warning")

    def say(self, sentence: str) -> None:
        """Show a sentence that any key puts away; an open question is answered first, by its own keys."""
        self._unsaid.append(sentence)
        self._say_what_waits()

    def _say_what_waits(self) -> None:
        if self._unsaid and not isinstance(self.screen, ModalScreen):
            self.push_screen(MessageDialog(self._unsaid.pop(0)))

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
            text = f"this run is {self._feed.state}: r starts it anew"
            more = "" if refuse_resume(self._feed.state) else ", R resumes it"
            self.notify(text + more, severity="warning")
        return self._steering if self._live_run is not None else None

    def action_scale_eta(self, direction: int) -> None:
        """Multiply or divide η."""
        self._try_steering(lambda steering: steering.scale_eta(direction))

    def action_scale_decay(self, direction: int) -> None:
        """Multiply or divide λ."""
        self._try_steering(lambda steering: steering.scale_decay(direction))

    def action_undo(self) -> None:
        """Undo the last change of η or λ that was made here; say whose a later one is."""

        def undo(steering: Steering) -> None:
            if told := steering.undo():
                self.notify(told)

        self._try_steering(undo)

    def action_type_eta(self) -> None:
        """Ask for a value of η."""
        self._type("learning rate η", 0, Steering.set_eta)

    def action_type_decay(self) -> None:
        """Ask for a value of λ."""
        self._type("weight decay λ", 1, Steering.set_decay)

    def _try_steering(self, change: Callable[[Steering], object]) -> None:
        """Do something with the run that is shown, if it lives; say why not."""
        steering = self._steer()
        if steering is not None:
            self._try(steering, change)

    def _try(self, steering: Steering, change: Callable[[Steering], object]) -> bool:
        try:
            change(steering)
        except EostuiError as error:
            self.notify(str(error), severity="error")
            return False
        return True

    def _type(self, question: str, index: int, change: Callable[[Steering, float], None]) -> None:
        steering = self._steer()
        if steering is None:
            return
        run = steering.run.path

        def answered(value: float | None) -> None:
            if value is None:
                return
            if steering is self._steering:
                self._try_steering(lambda steering: change(steering, value))
            elif engine_alive(run):
                if self._try(steering, lambda steering: change(steering, value)):
                    self.notify(f"{question} {value:g} is for {run.name}, which isn't shown now")
            else:
                self.notify(
                    f"{question} {value:g} was for {run.name}, which has ended: nothing is changed",
                    severity="warning",
                )

        present = f"{steering.target[index]:g}"
        self.ask(NumberDialog(f"{question} of {printable(run.name)}", present), answered)

    def action_pause(self) -> None:
        """Pause or resume training."""
        self._try_steering(lambda steering: steering.pause(not steering.paused))

    def action_single_step(self) -> None:
        """Take one step; pause first."""
        self._try_steering(Steering.single_step)

    def action_calibrate(self) -> None:
        """Freeze θ* here, for theory to predict the rest."""

        def calibrate(steering: Steering) -> None:
            steering.send("calibrate")
            self.notify("calibrating: S, u and ∇S here, converged")

        self._try_steering(calibrate)

    def action_reseat(self) -> None:
        """Restart the predicted orbit from the network's own state."""
        self._try_steering(lambda steering: steering.send("reseat"))
