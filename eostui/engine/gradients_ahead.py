"""L and ∇L of the steps after a measurement, found on another core while it keeps this one busy."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from eostui.curvature.capture import Tensors
from eostui.curvature.point import is_plain, training_pass
from eostui.problems.batch import LossFunction

#: Steps that are looked ahead at most.
MOST = 64
#: Set to 0, it has every pass done when it is its turn.
SWITCH = "EOSTUI_AHEAD"


class _Pass(NamedTuple):
    """What was found at a θ."""

    theta: Tensor
    known: Tensors


class _Search:
    """Passes that are asked for together, and those of them that are done."""

    def __init__(self, most: int) -> None:
        self.left = most  # that are still to be done
        self.found: deque[_Pass] = deque()
        self.changed = threading.Condition()

    def drop(self) -> None:
        with self.changed:
            self.left = 0
            self.found.clear()
            self.changed.notify()


class GradientsAhead:
    """Passes over the training samples at the θ to come, on a thread of its own.

    A measurement takes as long as several steps, and a network that is trained on one thread leaves the
    other cores idle meanwhile. A pass depends on θ alone, so one at a θ that isn't come to (a control was
    changed, say) is dropped, and all others are the same to the bit as if they were done in their turn.
    """

    def __init__(self, loss: LossFunction) -> None:
        """Begin without any; of `loss` all passes are."""
        self._loss = loss
        self._threads = torch.get_num_threads()
        self._pool: ThreadPoolExecutor | None = None
        self._search = _Search(0)

    def begin(self, theta: Tensor, move: Callable[[Tensor, Tensor], Tensor], most: int) -> None:
        """Do the passes at θ and at what it moves to.

        Args:
            theta: θ of the next step, shape (P,); it isn't written over.
            move: θ, ∇L ↦ the θ after it, as the steps themselves will have it.
            most: how many; no more than MOST are done.
        """
        self._search.drop()
        self._search = _Search(min(most, MOST))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(
                1, "gradients-ahead", torch.set_num_threads, (self._threads,)
            )
        self._pool.submit(self._work, self._search, theta, move)

    def take(self, theta: Tensor) -> Tensors | None:
        """Return what the pass at θ gave, waiting for it; None where none is done there."""
        search = self._search
        with search.changed:
            while search.left and not search.found:
                search.changed.wait()
            if not search.found:
                return None
            found = search.found.popleft()
        if torch.equal(found.theta, theta):
            return found.known
        search.drop()
        return None

    def _work(
        self, search: _Search, theta: Tensor, move: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        try:
            while search.left:
                known = training_pass(self._loss, theta)
                with search.changed:
                    if not search.left:  # it was dropped meanwhile
                        return
                    search.found.append(_Pass(theta, known))
                    search.left -= 1
                    search.changed.notify()
                theta = move(theta, known[1])
        except Exception:  # it comes again where the pass is done in its turn, and is told there
            search.drop()


def is_of_use(loss: LossFunction, device: torch.device) -> bool:
    """Return whether passes of this loss can be done beside others, and there are cores for them.

    Code of the user's own isn't called on two threads at once.
    """
    if device.type != "cpu" or os.environ.get(SWITCH, "1") == "0" or not is_plain(loss):
        return False
    return cores() >= 2 * torch.get_num_threads()


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
