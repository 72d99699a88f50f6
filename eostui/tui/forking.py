"""Forks and ended runs that are gone on with: what their keys ask, and for what."""

from __future__ import annotations

import asyncio
import time

import numpy as np

from eostui.errors import EostuiError
from eostui.runs import commands, shelf
from eostui.runs.branch import newest_fork_step
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.tui.screens.dialogs import NumberDialog
from eostui.tui.screens.fork import ForkDialog, ForkWish
from eostui.tui.started import StartedApp
from eostui.tui.steering import current_controls

#: Seconds that an engine has to write a checkpoint before its run is forked without.
_CHECKPOINT_PATIENCE = 1.0


class ForkingApp(StartedApp):
    """An application whose keys fork the run that is shown, or go on with it once it ended."""

    def action_fork(self) -> None:
        """Ask for a fork here: at the newest step, or where the view ends that was panned away."""
        run = self._forkable()
        if run is not None:
            self.run_worker(self._ask_fork(run), group="fork", exclusive=True, exit_on_error=False)

    def action_resume(self) -> None:
        """Go on with an ended run where it ended; one that is finished is asked for its steps."""
        run = self._forkable()
        if run is None:
            return
        if self._live_run is not None:
            self.notify("this run is live: space pauses it and lets it go on", severity="warning")
            return
        self.run_worker(self._ask_resume(run), group="fork", exclusive=True, exit_on_error=False)

    def _forkable(self) -> Run | None:
        """Return the run that is shown, or say why nothing can go on from it."""
        self.clear_notifications()
        if self._feed is None or self._steering is None:
            self._steer()  # which says why
            return None
        return self._feed.shown

    async def _ask_fork(self, run: Run) -> None:
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
                self._go_on_from(Fork(parent, wish.step, changes), run.path.parent)

        self.push_screen(ForkDialog(parent.id, ForkWish(step, eta, decay, steps)), chosen)

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

    async def _ask_resume(self, run: Run) -> None:
        try:
            entry = await asyncio.to_thread(shelf.read_entry, run.path)
        except EostuiError as error:
            self.notify(str(error), severity="error")
            return
        if entry.last_step < entry.config.steps:
            self._go_on_from(Resume(entry), run.path.parent)
            return

        def chosen(steps: float | None) -> None:
            if steps is not None:
                self._go_on_from(Resume(entry, int(steps)), run.path.parent)

        question = f"{entry.id} has all of its {entry.last_step} steps. How many in all?"
        self.push_screen(NumberDialog(question, str(2 * entry.last_step)), chosen)


def _controls_at(run: Run, step: int) -> tuple[float, float]:
    """Return the η and λ that move θ at a step, or those of the newest."""
    if step < len(run.steps):
        return float(run.steps["eta"][step]), float(run.steps["weight_decay"][step])
    return current_controls(run)
