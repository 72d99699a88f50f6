"""The command palette: Textual's, which may be put away while it still searches."""

from __future__ import annotations

from typing import Any

from textual.command import CommandPalette
from textual.worker import Worker, WorkerState


class Palette(CommandPalette):
    """A palette whose search fails alone where it outlives the list that it fills."""

    def run_worker(self, work: Any, *arguments: Any, **options: Any) -> Worker[Any]:
        """Search in the background; the application doesn't end where that fails."""
        return super().run_worker(work, *arguments, **{**options, "exit_on_error": False})

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Keep what a search failed with that nobody waits for; anything else is told as usual."""
        if event.state is WorkerState.ERROR and self.app.screen is not self:
            event.stop()
