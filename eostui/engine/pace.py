"""How far a host may run ahead of its device."""

from __future__ import annotations

import time

import torch

#: Seconds of steps between looks for commands, about: a key acts within this.
STRETCH = 0.02


class Pace:
    """How many steps may be taken before the next look for commands.

    A CPU's steps are done when they are taken: one. A GPU's are only queued, which is sooner done: as
    many as it does in STRETCH, by the stretch before, and they are waited for.

    Attributes:
        most: steps in the next stretch.
    """

    def __init__(self, device: torch.device) -> None:
        self.most = 1
        self._device = device
        self._begun = 0.0

    def begin(self) -> None:
        """Begin a stretch."""
        self._begun = time.monotonic()

    def end(self, taken: int) -> None:
        """End a stretch of so many steps that nothing else waited for."""
        if self._device.type != "cuda":
            return
        torch.cuda.current_stream(self._device).synchronize()
        a_step = (time.monotonic() - self._begun) / taken
        self.most = max(1, int(STRETCH / a_step))
