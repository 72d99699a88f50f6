"""Has a sweep's members trained: so many at a time, the longest first, each once.

A thread for each worker takes member after member; whoever called looks on, and may stop them.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError
from eostui.locations import missing_download
from eostui.runs.launch import EngineProcess, Resume, StartError
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.schema import LIVE_STATES
from eostui.runs.template import Template
from eostui.sweeps import log
from eostui.sweeps.cost import work
from eostui.sweeps.sweep import WAITING, Claim, Member, MemberState, Sweep, never_began

#: States of members with which nothing more is to be done.
DONE_STATES = ("finished", "diverged")
#: Times that a member is begun in one go, where its process was killed.
_TRIES = 2


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
        if each.state in (WAITING, "stopped", "interrupted", *LIVE_STATES)
        or (failed and each.state == "failed")
    ]
    return sorted(left, key=_longest_first)


def _longest_first(member: Member) -> tuple[float, int]:
    return -work(member.config), member.number


@dataclass
class Conductor:
    """Trains members of a sweep.

    Attributes:
        sweep: whose.
        members: that are to be trained, in this order.
        data_dir: where the data sets are.
        devices: one for each worker: what `device = "auto"` is in it; "" for what it is here.
        template: of the engines.
        claim: of the sweep.
        changed_data: whether members go on also where data or source aren't what they were.
        outcomes: of members that ended, in that order.
    """

    sweep: Sweep
    members: Sequence[Member]
    data_dir: Path
    devices: Sequence[str]
    template: Template
    claim: Claim
    changed_data: bool = False
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put all members into the queue."""
        self._left = list(self.members)
        self._engines: dict[int, EngineProcess | None] = {}  # by their members' numbers
        self._lock = threading.Lock()
        self._download = threading.Lock()
        self._stopped = False
        self._threads = [self._worker(device) for device in self.devices]
        self._manifest = self.sweep.stamp()

    def begin(self) -> None:
        """Let the workers begin; returns at once."""
        log.write(self.sweep.path, log.BEGUN, members=len(self.members), workers=len(self.devices))
        for thread in self._threads:
            thread.start()

    def take_up_added(self) -> bool:
        """Put members that were added to the sweep meanwhile into the queue; return whether some were.

        Raises:
            InputError: if the manifest can't be read any more.
        """
        stamp = self.sweep.stamp()
        if stamp == self._manifest or self._stopped:
            return False
        sweep = Sweep(self.sweep.path)
        added = sweep.members[len(self.sweep.members) :]
        with self._lock:
            self._manifest, self.sweep = stamp, sweep
            self.members = [*self.members, *added]
            self._left = sorted([*self._left, *added], key=_longest_first)
        for number, device in enumerate(self.devices):
            if added and not self._threads[number].is_alive():
                self._threads[number] = self._worker(device)
                self._threads[number].start()
        return bool(added)

    def _worker(self, device: str) -> threading.Thread:
        return threading.Thread(target=self._work, args=(device,), daemon=True)

    @property
    def busy(self) -> bool:
        """Whether a worker is at work."""
        return any(thread.is_alive() for thread in self._threads)

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is left to do, at most so many seconds; return whether that is so."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        return not self.busy

    def at_work(self) -> list[Member]:
        """Return the members that are being trained."""
        with self._lock:
            return [each for each in self.members if each.number in self._engines]

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    def stop(self) -> None:
        """Begin no more members, and let those at work save and stop. Returns at once."""
        with self._lock:
            self._stopped = True
            for engine in self._engines.values():
                if engine is not None:
                    engine.cancel()

    def _work(self, device: str) -> None:
        """Take member after member, as a worker."""
        while (member := self._next()) is not None:
            try:
                state, sentence = self._train(member, device)
            except EostuiError as error:
                state, sentence = "failed", str(error)
                log.write(self.sweep.path, log.REFUSED, run=member.path.name, sentence=sentence)
            except Exception as error:  # a worker lost in silence would leave members behind
                state, sentence = "failed", f"{type(error).__name__}: {error}"
                log.write(self.sweep.path, log.REFUSED, run=member.path.name, sentence=sentence)
            with self._lock:
                del self._engines[member.number]
                if state != WAITING:
                    self.outcomes.append(Outcome(member, state, sentence))

    def _next(self) -> Member | None:
        with self._lock:
            if self._stopped or not self._left:
                return None
            member = self._left.pop(0)
            self._engines[member.number] = None
            return member

    def _train(self, member: Member, device: str) -> tuple[str, str]:
        """Have one member trained to its end; return its state and how it ended."""
        for _ in range(_TRIES):
            while engine_alive(member.path) and not self._stopped:  # someone's who resumed it alone
                time.sleep(0.1)
            found = self.sweep.state_of(member)
            if self._stopped or found.state in DONE_STATES:
                return found.state, found.sentence
            code = self._run(member, found, device)
            found = self.sweep.state_of(member)
            if self._stopped or code >= 0:
                return found.state, found.sentence
        name = signal.Signals(-code).name
        # no failure of its own: `eostui resume` tries again
        return "interrupted", f"its process was killed {_TRIES} times ({name})"

    def _run(self, member: Member, found: MemberState, device: str) -> int:
        """Start or resume a member's engine and wait for its end; return the exit code.

        Raises:
            EostuiError: if it can't begin.
        """
        start: RunConfig | Resume = member.config
        if found.entry is not None:
            start = Resume(found.entry, changed_data=self.changed_data)
        elif found.state == "unreadable":
            raise InputError(found.sentence)
        elif never_began(member.path):
            shutil.rmtree(member.path)
        downloads = missing_download(member.config.data, self.data_dir)
        with self._download if downloads else nullcontext():  # once for all
            engine = EngineProcess(
                start, member.path.parent, self.data_dir, group=self.sweep.id, watched=False,
                path=member.path, device=device,
                engine=self.template.engine(self.claim.descriptor),
            )  # fmt: skip
            with self._lock:
                self._engines[member.number] = engine
                if self._stopped:
                    engine.cancel()
            run = member.path.name
            try:
                engine.ready(lambda _text: None)
            except StartError:
                code = engine.wait()
                assert code is not None
                if self._stopped or code < 0:
                    return code
                raise
        log.write(self.sweep.path, log.STARTED, run=run, resumed=found.entry is not None)
        code = engine.wait()
        assert code is not None
        log.write(self.sweep.path, log.ENDED, run=run, code=code)
        return code
