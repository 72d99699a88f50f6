"""Has a sweep's members trained: so many at a time, the longest first, each once.

Where they train is up to an executor: processes of this machine, or a cluster. A thread waits for each
member that is at work; whoever called looks on, and may stop them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from eostui.errors import EostuiError, InputError
from eostui.runs.store.schema import LIVE_STATES
from eostui.sweeps import log
from eostui.sweeps.cost import work
from eostui.sweeps.sweep import WAITING, Member, MemberState, Sweep


class Executor(Protocol):
    """Trains members, several at a time, and tells how each ended."""

    @property
    def places(self) -> int:
        """How many members train at once, now."""

    @property
    def failure(self) -> str:
        """Why nothing can be trained any more; "" as long as it can."""

    def train(self, member: Member) -> tuple[str, str]:
        """Have a member trained to its end; return its state and how it ended, for now.

        Called in a thread for each; a state of WAITING tells that it was let go as it was.

        Raises:
            EostuiError: if it can't begin.
        """

    def stop(self) -> None:
        """Let the members at work save and stop; `train` returns then. Returns at once."""


@dataclass(frozen=True)
class Outcome:
    """How a member ended, for now.

    Attributes:
        member: which.
        state: as `MemberState` has it.
        sentence: how it ended, or why it couldn't begin.
    """

    member: Member
    state: str
    sentence: str


def unfinished(states: Sequence[MemberState], *, failed: bool = False) -> list[Member]:
    """Return the members that are to be trained, or go on, the longest first.

    Args:
        states: of all members.
        failed: whether those that failed are repeated.
    """
    left = [
        each.member
        for each in states
        if (each.state in (WAITING, "stopped", "interrupted", *LIVE_STATES) and not each.complete)
        or (failed and each.state == "failed")
    ]
    return sorted(left, key=_longest_first)


def _longest_first(member: Member) -> tuple[float, int]:
    return -work(member.config), member.number


@dataclass
class Conductor:
    """Has members of a sweep trained.

    Attributes:
        sweep: whose.
        members: that are to be trained, in this order.
        executor: that trains them.
        outcomes: of members that ended, in that order.
    """

    sweep: Sweep
    members: Sequence[Member]
    executor: Executor
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put all members into the queue."""
        self._left = list(self.members)
        self._at_work: dict[int, Member] = {}  # by their numbers
        self._changed = threading.Condition()
        self._stopped = False

    def begin(self) -> None:
        """Let members begin; returns at once."""
        places = self.executor.places
        log.write(self.sweep.path, log.BEGUN, members=len(self.members), workers=places)
        self._begin_members()

    def take_up_added(self) -> bool:
        """Put members that were added to the sweep meanwhile into the queue; return whether some were.

        Raises:
            InputError: if the manifest can't be read any more.
        """
        if self._stopped or self._is_current():
            return False
        sweep = Sweep(self.sweep.path)
        added = sweep.members[len(self.sweep.members) :]
        with self._changed:
            self.sweep = sweep
            self.members = [*self.members, *added]
            self._left = sorted([*self._left, *added], key=_longest_first)
        self._begin_members()
        return bool(added)

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is left to do, at most so many seconds; return whether that is so."""
        self._begin_members()  # there may be more places than before
        with self._changed:
            return self._changed.wait_for(self._done, timeout)

    def done(self) -> bool:
        """Whether nothing is left to do, members among it that were added until now.

        Raises:
            InputError: if the manifest can't be read any more.
        """
        with self._changed:
            return self._done() and (self._stopped or self._is_current())

    def _is_current(self) -> bool:
        try:
            return self.sweep.is_current
        except OSError as error:
            raise InputError(
                f"{self.sweep.path}: can't be read any more: {error.strerror}"
            ) from None

    def at_work(self) -> list[Member]:
        """Return the members that are being trained."""
        with self._changed:
            return [self._at_work[number] for number in sorted(self._at_work)]

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    def stop(self) -> None:
        """Begin no more members, and let those at work save and stop. Returns at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.executor.stop()

    def _done(self) -> bool:
        ends = self._stopped or not self._left or bool(self.executor.failure)
        return ends and not self._at_work

    def _begin_members(self) -> None:
        """Begin as many as there are places for."""
        places = 0 if self.executor.failure else self.executor.places
        with self._changed:
            while self._left and not self._stopped and len(self._at_work) < places:
                member = self._left.pop(0)
                self._at_work[member.number] = member
                threading.Thread(target=self._train, args=(member,), daemon=True).start()

    def _train(self, member: Member) -> None:
        """Have one member trained to its end, and take in how it ended."""
        try:
            state, sentence = self.executor.train(member)
        except EostuiError as error:
            state, sentence = "failed", str(error)
            log.write(self.sweep.path, log.REFUSED, run=member.path.name, sentence=sentence)
        except Exception as error:  # a member lost in silence would never end
            state, sentence = "failed", f"{type(error).__name__}: {error}"
            log.write(self.sweep.path, log.REFUSED, run=member.path.name, sentence=sentence)
        with self._changed:
            del self._at_work[member.number]
            if state != WAITING:
                self.outcomes.append(Outcome(member, state, sentence))
            self._changed.notify_all()
        self._begin_members()
