"""Leaving the application: what is asked then, and what becomes of the runs that train."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from textual.app import App

from eostui.errors import EostuiError, printable
from eostui.runs.store import commands
from eostui.runs.store.reader import facts_of
from eostui.tui.engines import Engines
from eostui.tui.questions import Questions
from eostui.tui.screens.dialogs import LeaveDialog
from eostui.tui.session import Session
from eostui.tui.tty import terminal_gone


class Leaving:
    """Leaves at once where nothing trains, else after a question, or because of a signal."""

    def __init__(
        self, app: App[str], session: Session, questions: Questions, engines: Engines
    ) -> None:
        self._app, self._session = app, session
        self._questions, self._engines = questions, engines

    def ask(self) -> None:
        """Leave; ask whether what trains goes on. Leaving twice keeps it going."""
        if isinstance(self._app.screen, LeaveDialog):
            self._app.screen.dismiss("k")
            return
        session = self._session
        runs = session.training
        if not runs:
            self._engines.cancel()
            run = session.run
            self._app.exit(f"the record is in {run.path}" if run is not None else None)
            return
        question = f"{', '.join(f'{printable(path.name)} {_goes_on(path)}' for path in runs)}."
        kept = "paused" if _is_paused(runs[0]) else "running"
        choices = {"k": f"keep it {kept}; `eostui attach` returns to it", "s": "stop it"}
        if len(runs) > 1:
            choices = {
                "k": "keep them as they are; `eostui attach RUN` returns to one",
                "s": f"stop it alone: {printable(runs[0].name)}",
                "a": "stop them all",
            }
        dialog = LeaveDialog(question, choices)
        self._questions.ask(dialog, lambda answer: self._answered(answer, runs))

    def at_signal(self, code: int) -> None:
        """Restore the terminal and leave with a code; what trains goes on."""
        going_on = self._let_run()
        self._app.exit(None if terminal_gone() else "; ".join(going_on), return_code=code)

    def _answered(self, answer: str | None, runs: Sequence[Path]) -> None:
        """Leave the runs that were asked about; what has begun since then goes on, and is told of."""
        ending = {"k": (), "s": runs[:1], "a": runs}.get(answer or "")
        if ending is None:
            return
        try:
            for path in ending:
                commands.send(path, "stop")
        except EostuiError as error:
            self._questions.say(str(error))
            return
        said = [f"{path.name} is told to stop; its record is in {path}" for path in ending]
        said += self._let_run(ending)
        self._app.exit("; ".join(said) or f"the record is in {runs[0]}")

    def _let_run(self, ending: Sequence[Path] = ()) -> list[str]:
        """End an engine that has no run yet; return what to say of the runs that go on."""
        engine = self._session.engine
        if engine is not None and not engine.begun:
            self._engines.cancel()
        return [
            f"{path.name} {_goes_on(path)}; `eostui attach {path.name}` returns to it"
            for path in self._session.training
            if path not in ending
        ]


def _goes_on(path: Path) -> str:
    """Return what becomes of a run that nobody shows, to be read after its name."""
    return "stays paused" if _is_paused(path) else "goes on"


def _is_paused(path: Path) -> bool:
    with contextlib.suppress(EostuiError):  # what can't be read now goes on as it did
        return facts_of(path).get("status") == "paused"
    return False
