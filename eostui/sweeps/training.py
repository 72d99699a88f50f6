"""One member trained to its end by engines of this machine, from wherever its run is."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError
from eostui.locations import missing_download
from eostui.runs.launch import EngineProcess, Resume, StartError
from eostui.runs.store.liveness import engine_alive
from eostui.runs.template import CopiedEngine
from eostui.sweeps import log
from eostui.sweeps.shelf import locked
from eostui.sweeps.sweep import Member, MemberState, never_began, state_of

#: Times that a member is begun in one go, where its process was killed.
_TRIES = 2
#: The file whose lock is held by who downloads into a data folder.
_DOWNLOAD_LOCK = ".download.lock"


@dataclass
class Training:
    """A member on its way.

    Attributes:
        member: which.
        group: of its run: the sweep's id.
        log_folder: where it is told what happens: the sweep's directory.
        data_dir: where the data sets are.
        device: what `device = "auto"` is for it; "" for what it is here.
        engine: returns an engine that is to be asked.
        changed_data: whether it goes on also where data or source aren't what they were.
    """

    member: Member
    group: str
    log_folder: Path
    data_dir: Path
    device: str
    engine: Callable[[], CopiedEngine]
    changed_data: bool = False

    def __post_init__(self) -> None:
        """Nothing is at work yet."""
        self._stopped = threading.Event()
        self._engine: EngineProcess | None = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Let the member save and stop; `run` returns then. May be called from any thread."""
        with self._lock:
            self._stopped.set()
            if self._engine is not None:
                self._engine.cancel()

    def run(self) -> tuple[str, str]:
        """Have the member trained to its end; return its state and how it ended.

        Raises:
            EostuiError: if it can't begin.
        """
        killed = 0
        while True:
            self._wait_for_others()
            found = state_of(self.member)
            if self._stopped.is_set() or found.complete:
                return found.state, found.sentence
            try:
                code = self._train(found)
            except EostuiError as error:
                if self._stopped.is_set():  # what engines are copies of may have been ended
                    continue
                if isinstance(error, StartError) and (
                    engine_alive(self.member.path) or state_of(self.member).state != found.state
                ):
                    continue  # another was faster: of a cluster's worker that was believed lost
                raise
            found = state_of(self.member)
            if self._stopped.is_set() or code >= 0:
                return found.state, found.sentence
            killed += 1
            if killed == _TRIES:  # no failure of its own: `eostui resume` tries again
                name = signal.Signals(-code).name
                return "interrupted", f"its process was killed {_TRIES} times ({name})"

    def _wait_for_others(self) -> None:
        """Wait while another engine drives its run: someone's who resumed it alone."""
        while engine_alive(self.member.path) and not self._stopped.is_set():
            time.sleep(0.1)

    def _train(self, found: MemberState) -> int:
        """Start or resume the member's engine and wait for its end; return the exit code.

        Raises:
            EostuiError: if it can't begin.
        """
        member = self.member
        start: RunConfig | Resume = member.config
        if found.entry is not None:
            _refuse_other_code(found.entry.config, member)
            start = Resume(found.entry, changed_data=self.changed_data)
        elif found.state == "unreadable":
            raise InputError(found.sentence)
        elif never_began(member.path):
            shutil.rmtree(member.path)
        downloads = missing_download(member.config.data, self.data_dir)
        alone = _only_download(self.data_dir, self._stopped.is_set)
        with alone if downloads else nullcontext():  # once for all
            engine = EngineProcess(
                start, member.path.parent, self.data_dir, group=self.group, watched=False,
                path=member.path, device=self.device, engine=self.engine(),
            )  # fmt: skip
            with self._lock:
                self._engine = engine
                if self._stopped.is_set():
                    engine.cancel()
            run = member.path.name
            try:
                engine.ready(lambda _text: None)
            except StartError:
                code = engine.wait()
                assert code is not None
                if self._stopped.is_set() or code < 0:
                    return code
                raise
        log.write(self.log_folder, log.STARTED, run=run, resumed=found.entry is not None)
        code = engine.wait()
        assert code is not None
        log.write(self.log_folder, log.ENDED, run=run, code=code)
        return code


def _refuse_other_code(stored: RunConfig, member: Member) -> None:
    """Raise InputError if a member's record names code that its sweep doesn't, to which nobody agreed."""
    if other := [name for name in stored.own_code() if name not in member.config.own_code()]:
        run = member.path.name
        raise InputError(
            f"{run} would execute code of `{'`, `'.join(other)}`, which its record names and its sweep "
            f"doesn't: read it, and if you trust it go on with `eostui resume {run} --trust-code`"
        )


@contextmanager
def _only_download(folder: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Let nobody else download into a folder within; whoever does is waited for, until it is stopped."""
    descriptor = None
    with suppress(OSError):  # who downloads says what is wrong with the folder
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _DOWNLOAD_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        while not locked(descriptor) and not stopped():
            time.sleep(0.1)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
