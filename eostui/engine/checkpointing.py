"""When checkpoints are taken, and which are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.runs.store import checkpoints
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.writer import make_durable

#: Writing may take this share of the time at most.
_SHARE = 0.05


class Checkpointer:
    """Takes a checkpoint every so many seconds of training, or when asked, within the disk budget.

    Attributes:
        failure: why the last one couldn't be written, or None.
    """

    def __init__(self, config: RunConfig, run_path: Path, first: int) -> None:
        """Begin; `first` is the step from which the run's own steps begin."""
        self.failure: str | None = None
        self._run_path, self._first = run_path, first
        self._every = config.checkpoint_every
        self._budget = int(config.checkpoint_budget * 1e6)
        self._newest: int | None = None
        self._taken_at = self._ticked_at = time.monotonic()
        self._took = 0.0
        self._seconds = 0.0

    def state(self) -> dict[str, Any]:
        """Return how long the steps so far took, in seconds."""
        return {"seconds": self._seconds}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self._seconds = state["seconds"]

    def waited(self) -> None:
        """Take in that the time until now was spent on a pause."""
        self._ticked_at = time.monotonic()

    def due(self) -> bool:
        """Take in that a step was taken; return whether it is time for a checkpoint."""
        now = time.monotonic()
        self._seconds += now - self._ticked_at
        self._ticked_at = now
        waited = now - self._taken_at
        return 0 < self._every <= waited and self._took <= _SHARE * waited

    def take(self, step: int, snapshot: Callable[[], Checkpoint]) -> bool:
        """Write one of this step unless it is the newest already; return whether that went well.

        The rows before it must be flushed: the disk has them before it has the checkpoint.
        """
        self._taken_at = begun = time.monotonic()
        if step == self._newest:
            return True
        try:
            make_durable(self._run_path)
            checkpoints.write(self._run_path, snapshot())
            self._newest, self.failure = step, None
            kept = checkpoints.files(self._run_path)
            for file in checkpoints.superfluous(kept, self._budget, self._first):
                file.path.unlink(missing_ok=True)
        except OSError as error:
            self.failure = error.strerror or str(error)
        self._took = time.monotonic() - begun
        return self.failure is None
