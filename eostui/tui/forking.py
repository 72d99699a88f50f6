"""Forks and ended runs that are gone on with: what their keys ask, and for what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np

from eostui.errors import EostuiError
from eostui.runs import shelf
from eostui.runs.fork import newest_fork_step
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.runs.store.schema import LIVE_STATES
from eostui.tui.following import GONE, UNREADABLE
from eostui.tui.screens.dialogs import NumberDialog
from eostui.tui.screens.fork import ForkDialog, ForkWish
from eostui.tui.started import StartedApp
from eostui.tui.steered import Scene
from eostui.tui.steering import Steering, current_controls

#: Seconds that an engine has to write a checkpoint before its run is forked without.
_CHECKPOINT_PATIENCE = 1.0


class ForkingApp(StartedApp):
    """An application whose keys fork the run that is shown, or go on with it once it ended."""

    def action_fork(self) -> None:
        """Ask for a fork here: at the newest step, or where the view ends that was panned away."""
        steering = self._forkable()
        if steering is not None:
            self._in_background(self._ask_fork(steering, self.scene()))

    def action_resume(self) -> None:
        """Go on with an ended run where it ended; one that is finished is asked for its steps."""
        steering = self._forkable()
        if steering is None:
            return
        if refusal := self._refuse_resume():
            self.notify(refusal, severity="warning")
        else:
            self._in_background(self._ask_resume(steering, self.scene()))

    def _refuse_resume(self) -> str:
        """Return why the run that is shown can't be gone on with; "" if it can."""
        feed = self._feed
        assert feed is not None
        if feed.state in (GONE, UNREADABLE):
            return f"this run can't be gone on with: {feed.trouble}"
        if feed.state in LIVE_STATES:
            return "this run is live: space pauses it and lets it go on"
        if feed.state == "diverged":
            return "this run diverged, and would again: f forks it at an earlier step"
        return ""

    def _in_background(self, asking: Coroutine[Any, Any, None]) -> None:
        self.run_worker(asking, group="fork", exclusive=True, exit_on_error=False)

    def _forkable(self) -> Steering | None:
        """Return the run that is shown, or say why nothing can go on from it."""
        self.clear_notifications()
        if self._steering is None:
            self._steer()  # which says why
        return self._steering

    async def _ask_fork(self, steering: Steering, scene: Scene) -> None:
        run = steering.run
        try:
            step = await self._step_here(run)
            parent = await asyncio.to_thread(shelf.read_entry, run.path)
        except EostuiError as error:
            self.notify(str(error), severity="error")
            return
        eta, decay = _controls_at(run, step)
        steps = parent.config.steps * (1 if step < parent.config.steps else 2)

        def chosen(wish: ForkWish | None) -> None:
            if wish is not None:
                changes = {
                    key: value
                    for key, value, before in (
                        ("eta", wish.eta, eta),
                        ("weight_decay", wish.decay, decay),
                        ("steps", wish.steps, parent.config.steps),
                    )
                    if value != before or wish.step != step
                }
                fork = Fork(parent, wish.step, changes)
                self._go_on_from(fork, run.path.parent, trusted=steering.trusted)

        self.ask(ForkDialog(parent.id, ForkWish(step, eta, decay, steps)), chosen, scene)

    async def _step_here(self, run: Run) -> int:
        """Return the step to fork at; a live run keeps its state there, so that nothing is repeated."""
        view, window = self._live.view, self._live.window
        if view is not None and not window.following:
            right = int(np.searchsorted(view.x, window.right, side="right")) - 1
            return min(max(right, 0), run.last_step)
        if self._live_run is not None:
            command = commands.send(run.path, "checkpoint")
            deadline = time.monotonic() + _CHECKPOINT_PATIENCE
            while time.monotonic() < deadline:
                for event in reversed(run.events):
                    if event.payload.get("command") == command:
                        return event.step
                await asyncio.sleep(1 / self.settings.fps)
        return newest_fork_step(run.last_step, run.state)

    async def _ask_resume(self, steering: Steering, scene: Scene) -> None:
        runs_dir = steering.run.path.parent
        try:
            entry = await asyncio.to_thread(shelf.read_entry, steering.run.path)
        except EostuiError as error:
            self.notify(str(error), severity="error")
            return

        def go_on(steps: int | None) -> None:
            self._go_on_from(Resume(entry, steps), runs_dir, trusted=steering.trusted)

        if entry.last_step >= entry.config.steps:
            question = f"{entry.id} has all of its {entry.last_step} steps. How many in all?"
            self.ask(
                NumberDialog(question, str(2 * entry.last_step)),
                lambda steps: None if steps is None else go_on(int(steps)),
                scene,
            )
        elif scene == self.scene():
            go_on(None)


def _controls_at(run: Run, step: int) -> tuple[float, float]:
    """Return the η and λ that move θ at a step, or those of the newest."""
    if step < len(run.steps):
        return float(run.steps["eta"][step]), float(run.steps["weight_decay"][step])
    return current_controls(run)
