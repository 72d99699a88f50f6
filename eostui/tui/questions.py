"""Questions over the screens, and sentences that wait until no question is open.

Whatever a key leads to acts on the run and on the screen that were shown when it was pressed. What is
done at once does by itself; what comes later, an answer or the end of a reading, keeps the `Steering`
or the `Scene` of that moment, for another run may be shown by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from textual.app import App
from textual.screen import ModalScreen, Screen

from eostui.tui.screens.dialogs import ChoiceDialog, Dialog, MessageDialog
from eostui.tui.session import Session

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


class Questions:
    """Puts questions, each about the scene in which its key was pressed."""

    def __init__(self, app: App[str], session: Session) -> None:
        self._app, self._session = app, session
        self._unsaid: list[str] = []

    def scene(self) -> Scene:
        """Return what a key pressed now is about."""
        return Scene(self._app.screen, self._session.path)

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
            self._app.push_screen(dialog, answered)
        else:
            self._app.notify(
                "something else is shown by now: press the key again", severity="warning"
            )

    def choose(
        self, question: str, choices: dict[str, str], answers: dict[str, Callable[[], None]]
    ) -> None:
        """Ask something that ends the run at hand; an answer doesn't end another one.

        Args:
            question: a sentence.
            choices: what each key does.
            answers: called for each key.
        """
        path = self._session.path

        def answered(answer: str | None) -> None:
            if answer not in answers:
                return
            if self._session.path == path:
                answers[answer]()
            else:
                self._app.notify("another run is shown by now: it goes on", severity="warning")

        self.ask(ChoiceDialog(question, choices), answered)

    def say(self, sentence: str) -> None:
        """Show a sentence that any key puts away; an open question is answered first, by its own keys."""
        self._unsaid.append(sentence)
        self.say_next()

    def say_next(self) -> None:
        """Show a sentence that waited, unless a question is open."""
        if self._unsaid and not isinstance(self._app.screen, ModalScreen):
            self._app.push_screen(MessageDialog(self._unsaid.pop(0)))
