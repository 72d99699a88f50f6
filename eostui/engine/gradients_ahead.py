"""L and ∇L of the steps after a measurement, found on another core while it keeps this one busy."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from eostui.cores import cores
from eostui.curvature.capture import Tensors
from eostui.curvature.point import is_plain, training_pass
from eostui.problems.batch import LossFunction

#: Steps that are looked ahead at most.
MOST = 64
#: Bytes that passes which aren't come to yet may keep; one may be there in any case.
BACKLOG = 64e6
#: Set to 0, it has every pass done when it is its turn.
SWITCH = "EOSTUI_AHEAD"


class _Pass(NamedTuple):
    """What was found at a θ."""

    theta: Tensor
    known: Tensors


class _Search:
    """Passes that are asked for together, and those of them that are done."""

    def __init__(self, most: int, room: int) -> None:
        self.left = most  # that are still to be done
        self.room = room  # so many are kept at most
        self.found: deque[_Pass] = deque()
        self.changed = threading.Condition()

    def drop(self) -> None:
        with self.changed:
            self.left = 0
            self.found.clear()
            self.changed.notify_all()

    def wait_for_room(self) -> None:
        with self.changed:
            while self.left and len(self.found) >= self.room:
                self.changed.wait()

    def put(self, found: _Pass) -> None:
        with self.changed:
            if self.left:  # or it was dropped meanwhile
                self.found.append(found)
                self.left -= 1
                self.changed.notify_all()

    def take(self) -> _Pass | None:
        with self.changed:
            while self.left and not self.found:
                self.changed.wait()
            found = self.found.popleft() if self.found else None
            self.changed.notify_all()
            return found


class GradientsAhead:
    """Passes over the training samples at the θ to come, on a thread of its own.

    A measurement takes as long as several steps, and a network that is trained on one thread leaves the
    other cores idle meanwhile. A pass depends on θ alone, so one at a θ that isn't come to (a control was
    changed, say) is dropped, and all others are the same to the bit as if they were done in their turn.
    """

    def __init__(self, loss: LossFunction) -> None:
        """Begin without any; of `loss` all passes are."""
        self._loss = loss
        self._search = _Search(0, 1)
        self._thread: threading.Thread | None = None

    def begin(self, theta: Tensor, move: Callable[[Tensor, Tensor], Tensor], most: int) -> None:
        """Do the passes at θ and at what it moves to.

        Args:
            theta: θ of the next step, shape (P,); it isn't written over.
            move: θ, ∇L ↦ the θ after it, as the steps themselves will have it.
            most: how many; no more than MOST are done.
        """
        self.close()
        room = max(1, int(BACKLOG / (2 * theta.nbytes)))
        self._search = search = _Search(min(most, MOST), room)
        self._thread = threading.Thread(
            target=self._work, args=(search, theta, move, torch.get_num_threads()),
            name="gradients-ahead", daemon=True,
        )  # fmt: skip
        self._thread.start()

    def take(self, theta: Tensor) -> Tensors | None:
        """Return what the pass at θ gave, waiting for it; None where none is done there."""
        found = self._search.take()
        if found is None:
            return None
        if torch.equal(found.theta, theta):
            return found.known
        self._search.drop()
        return None

    def close(self) -> None:
        """Look no further, and wait for the pass that is at work."""
        self._search.drop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(
        self,
        search: _Search,
        theta: Tensor,
        move: Callable[[Tensor, Tensor], Tensor],
        threads: int,
    ) -> None:
        try:
            torch.set_num_threads(threads)  # a new thread would have as many as there are cores
            while search.left:
                known = training_pass(self._loss, theta)
                search.put(_Pass(theta, known))
                theta = move(theta, known[1])
                search.wait_for_room()
        except Exception:  # it comes again where the pass is done in its turn, and is told there
            search.drop()


def is_of_use(loss: LossFunction, device: torch.device) -> bool:
    """Return whether passes of this loss can be done beside others, and there are cores for them.

    Code of the user's own isn't called on two threads at once.
    """
    if device.type != "cpu" or os.environ.get(SWITCH, "1") == "0" or not is_plain(loss):
        return False
    return cores() >= 2 * torch.get_num_threads()
