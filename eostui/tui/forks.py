"""Forks and ended runs that are gone on with: what their keys ask, and for what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from textual.app import App

from eostui.errors import EostuiError
from eostui.runs import shelf
from eostui.runs.analysis.controls import controls_at
from eostui.runs.fork import newest_fork_step, parent_controls, parent_controls_at
from eostui.runs.launch import Fork, Resume, refuse_resume
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.stability import Control
from eostui.tui.engines import Engines
from eostui.tui.questions import Questions, Scene
from eostui.tui.screens.dialogs import NumberDialog
from eostui.tui.screens.fork import ForkDialog, ForkWish
from eostui.tui.session import Session
from eostui.tui.steering import Steering

#: Seconds that an engine has to write a checkpoint before its run is forked without.
_CHECKPOINT_PATIENCE = 1.0


class Forks:
    """Asks how the run that is shown is forked, or gone on with once it ended, and has it begun."""

    def __init__(
        self,
        app: App[str],
        session: Session,
        questions: Questions,
        engines: Engines,
        chosen_step: Callable[[], int | None],
        begun: Callable[[], None],
    ) -> None:
        """Take what they act on.

        Args:
            app, session, questions, engines: parts of the application.
            chosen_step: returns the step to fork at that was chosen on screen; None for the newest.
            begun: called once an engine is on its way.
        """
        self._app, self._session = app, session
        self._questions, self._engines = questions, engines
        self._chosen_step, self._begun = chosen_step, begun

    def ask_fork(self, steering: Steering) -> None:
        """Ask for a fork here: at the newest step, or at the one chosen on screen."""
        self._in_background(self._ask_fork(steering, self._questions.scene()))

    def ask_resume(self, steering: Steering) -> None:
        """Go on with an ended run where it ended; one that is finished is asked for its steps."""
        if refusal := self._refuse_resume():
            self._app.notify(refusal, severity="warning")
        else:
            asking = self._ask_resume(steering.run.path, steering.trusted, self._questions.scene())
            self._in_background(asking)

    def _refuse_resume(self) -> str:
        """Return why the run that is shown can't be gone on with; "" if it can."""
        feed = self._session.feed
        assert feed is not None
        refusal = refuse_resume(feed.state, self._session.key)
        if refusal and feed.trouble:
            return f"this run can't be gone on with: {feed.trouble}"
        return f"this run {refusal}" if refusal else ""

    def _in_background(self, asking: Coroutine[Any, Any, None]) -> None:
        self._app.run_worker(asking, group="fork", exclusive=True, exit_on_error=False)

    def ask_fork_of(self, entry: shelf.Entry, step: int | None = None) -> None:
        """Ask for a fork of a run of the shelf at a step, from its newest on if left out."""
        self._in_background(self._ask_fork_of(entry, step, self._questions.scene()))

    def ask_resume_of(self, entry: shelf.Entry) -> None:
        """Go on with a run of the shelf; one that is finished is asked for its steps."""
        if refusal := refuse_resume(entry.state):
            self._app.notify(f"{entry.id} {refusal}", severity="warning")
        else:
            self._in_background(self._ask_resume(entry.path, False, self._questions.scene()))

    async def _ask_fork(self, steering: Steering, scene: Scene) -> None:
        run = steering.run
        try:
            step = await self._step_here(run)
            parent = await asyncio.to_thread(shelf.read_entry, run.path)
        except EostuiError as error:
            self._app.notify(str(error), severity="error")
            return
        self._ask_how(
            parent, step, controls_at(run, step), steering.controls, steering.trusted, scene
        )

    async def _ask_fork_of(self, entry: shelf.Entry, at: int | None, scene: Scene) -> None:
        def read() -> tuple[shelf.Entry, int, dict[str, float], dict[str, Control]]:
            parent = shelf.read_entry(entry.path)
            step = newest_fork_step(parent.last_step, parent.state) if at is None else at
            return parent, step, parent_controls_at(parent, step), parent_controls(parent)

        try:
            parent, step, controls, known = await asyncio.to_thread(read)
        except EostuiError as error:
            self._app.notify(str(error), severity="error")
            return
        self._ask_how(parent, step, controls, known, False, scene)

    def _ask_how(
        self,
        parent: shelf.Entry,
        step: int,
        controls: Mapping[str, float],
        known: Mapping[str, Control],
        trusted: bool,
        scene: Scene,
    ) -> None:
        """Ask what changes in a fork, and have it begun."""
        steps = parent.config.steps * (1 if step < parent.config.steps else 2)

        def chosen(wish: ForkWish | None) -> None:
            if wish is not None:
                elsewhere = wish.step != step  # where its controls needn't be those it showed
                changes: dict[str, float] = {
                    name: value
                    for name, value in wish.controls.items()
                    if name in wish.asked or elsewhere
                }
                if wish.steps != parent.config.steps or elsewhere:
                    changes["steps"] = wish.steps
                fork = Fork(parent, wish.step, changes)
                if self._engines.go_on_from(fork, parent.path.parent, trusted=trusted):
                    self._begun()

        wish = ForkWish(step, dict(controls), steps)
        self._questions.ask(ForkDialog(parent.id, wish, known), chosen, scene)

    async def _step_here(self, run: Run) -> int:
        """Return the step to fork at; a live run keeps its state there, so that nothing is repeated."""
        chosen = self._chosen_step()
        if chosen is not None:
            return min(max(chosen, 0), run.last_step)
        if self._session.live_run is not None:
            command = commands.send(run.path, "checkpoint")
            deadline = time.monotonic() + _CHECKPOINT_PATIENCE
            while time.monotonic() < deadline and self._session.run is run:  # else no event comes
                for event in reversed(run.events):
                    if event.payload.get("command") == command:
                        return event.step
                await asyncio.sleep(1 / self._session.settings.fps)
        return newest_fork_step(run.last_step, run.state)

    async def _ask_resume(self, path: Path, trusted: bool, scene: Scene) -> None:
        try:
            entry = await asyncio.to_thread(shelf.read_entry, path)
        except EostuiError as error:
            self._app.notify(str(error), severity="error")
            return

        def go_on(steps: int | None) -> None:
            if self._engines.go_on_from(Resume(entry, steps), path.parent, trusted=trusted):
                self._begun()

        if entry.last_step >= entry.config.steps:
            question = f"{entry.id} has all of its {entry.last_step} steps. How many in all?"
            self._questions.ask(
                NumberDialog(question, str(2 * entry.last_step)),
                lambda steps: None if steps is None else go_on(int(steps)),
                scene,
            )
        elif scene == self._questions.scene():
            go_on(None)
