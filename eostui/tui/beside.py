"""Another run under the one that is shown: which one is asked for, and laid there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from textual.app import App

from eostui.charts.numbers import steered
from eostui.errors import EostuiError
from eostui.runs import shelf
from eostui.runs.run import Run
from eostui.tui.follower import Follower
from eostui.tui.questions import Questions, Scene
from eostui.tui.screens.dialogs import PickDialog
from eostui.tui.session import Session


class Beside:
    """Asks for a run of the shelf to draw under the one that is shown."""

    def __init__(self, app: App[str], session: Session, questions: Questions) -> None:
        self._app, self._session, self._questions = app, session, questions

    def ask(self, run: Run) -> None:
        """Ask what to draw under a run that is shown."""
        self._in_background(self._ask(run, self._questions.scene()))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        self._app.run_worker(work, group="overlay", exclusive=True, exit_on_error=False)

    async def _ask(self, run: Run, scene: Scene) -> None:
        found = await asyncio.to_thread(shelf.entries, run.path.parent)
        rows = {
            entry.id: f"{entry.name or entry.id}  {entry.state}  step {max(entry.last_step, 0)}  "
            f"η {steered(entry.config.eta, entry.eta)}  "
            f"λ {steered(entry.config.weight_decay, entry.weight_decay)}"
            + (f"  {entry.id}" if entry.name else "")
            for entry in found
            if entry.id != run.path.name
        }
        if not rows:
            self._app.notify(f"there is no other run in {run.path.parent}", severity="warning")
            return

        def chosen(run_id: str | None) -> None:
            if run_id:
                self._in_background(self._lay(run.path.parent / run_id, scene.path))

        self._questions.ask(PickDialog("draw under this run:", rows), chosen, scene)

    async def _lay(self, path: Path, under: Path | None) -> None:
        """Draw a run under the one that it was chosen for."""
        try:
            beside = await asyncio.to_thread(Follower, path)
        except EostuiError as error:
            self._app.notify(str(error), severity="error")
            return
        if self._session.run is not None and self._session.run.path == under:
            self._session.lay_over(beside)
        else:
            beside.close()
