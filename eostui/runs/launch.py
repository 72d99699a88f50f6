"""Starting the engine: another process, in its own session, so that no terminal takes it along."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.errors import EXIT_FAILED, EostuiError, InputError
from eostui.locations import present_folder
from eostui.runs import request
from eostui.runs.fork import forked_config, parent_controls
from eostui.runs.shelf import Entry, new_run_path
from eostui.runs.standby import IdleEngine, Standby
from eostui.runs.store.schema import LIVE_STATES
from eostui.runs.template import CopiedEngine, Copy

#: Seconds between looks at what else there is, while an engine is waited for.
_POLL = 0.25
#: States of runs that can go on: a diverged one would diverge again.
RESUMABLE_STATES = ("finished", "stopped", "failed", "interrupted")


class StartError(EostuiError):
    """The engine could not start the run; its sentence and exit code are the engine's."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def refuse_resume(state: str, key: Callable[[str], str] | None = None) -> str:
    """Return why a run in this state can't be gone on with, to be read after its name; "" if it can.

    Args:
        state: as `Run.state`, or as a follower has it.
        key: writes a key of the live view by its id; None where commands are told instead.
    """
    if state in RESUMABLE_STATES:
        return ""
    if state == "diverged":
        fork = f"{key('fork')} forks it" if key is not None else "`eostui fork` it"
        return f"diverged, and would again; {fork} at an earlier step"
    if state in LIVE_STATES:
        if key is None:
            return f"is {state}: `eostui attach` shows it"
        return f"is {state}: {key('pause')} pauses it and lets it go on"
    return f"is {state}"


@dataclass(frozen=True)
class Resume:
    """An ended run that goes on in its own directory.

    Attributes:
        entry: the run.
        steps: how many steps it shall have in all; None for as many as its config says.
        changed_data: whether it goes on also where data or source aren't what they were.
        stop_at: what shall end it from here on; None for what was to end it and hasn't.
    """

    entry: Entry
    steps: int | None = None
    changed_data: bool = False
    stop_at: tuple[str, ...] | None = None

    @property
    def config(self) -> RunConfig:
        """What it goes on with. Raises InputError if it can't."""
        if refusal := refuse_resume(self.entry.state):
            raise InputError(f"{self.entry.id} {refusal}")
        config = self.entry.config
        if self.steps is not None and self.steps <= self.entry.last_step:
            raise InputError(
                f"{self.entry.id} has {self.entry.last_step} steps already; to go on it must have more "
                f"in all than {self.steps}"
            )
        if self.steps is not None:
            config = config.changed({"steps": self.steps})
        if self.stop_at is not None:
            config = config.changed({"stop_at": self.stop_at})
        # one whose process was killed after its last step has its end still to be recorded
        if config.steps <= self.entry.last_step and self.entry.state in ("finished", "stopped"):
            raise InputError(
                f"{self.entry.id} has all of its {self.entry.last_step} steps: "
                "say how many it shall have with --steps"
            )
        return config

    @property
    def begin(self) -> request.ResumeRequest:
        """How an engine is told."""
        return request.ResumeRequest(
            changed_data=self.changed_data, other_stops=self.stop_at is not None
        )


@dataclass(frozen=True)
class Fork:
    """A new run that begins as another was before a step.

    Attributes:
        parent: the other run, live or ended.
        at: the first step that the fork takes itself.
        changes: settings that differ from there on, its controls (η, λ and the like) among them.
        changed_data: whether it goes on also where data or source aren't what they were.
    """

    parent: Entry
    at: int
    changes: Mapping[str, Any] = field(default_factory=dict)
    changed_data: bool = False

    @property
    def config(self) -> RunConfig:
        """What it goes on with. Raises InputError if there can't be such a fork."""
        return forked_config(self.parent, self.at, self.changes)

    @property
    def begin(self) -> request.ForkRequest:
        """How an engine is told."""
        return request.ForkRequest(
            parent=self.parent.path,
            at=self.at,
            changed=tuple(self.changes),
            controls={
                name: self.changes[name]
                for name in parent_controls(self.parent)
                if name in self.changes
            },
            changed_data=self.changed_data,
        )


class EngineProcess:
    """An engine on its way: wait until it is `ready`, or cancel it.

    Attributes:
        config: of the run.
        path: where its run is, or will be.
        begun: whether the run is there and trains.
    """

    begun = False

    def __init__(
        self,
        start: RunConfig | Resume | Fork,
        runs_dir: Path,
        data_dir: Path,
        name: str = "",
        *,
        group: str = "",
        watched: bool = True,
        standby: Standby | None = None,
        path: Path | None = None,
        device: str = "",
        engine: CopiedEngine | None = None,
    ) -> None:
        """Start the process, or ask the one that is ready; it validates before it makes anything.

        Args:
            start: a new run, or what it goes on from.
            runs_dir: where a new run goes.
            data_dir: where the data sets are.
            name: of a new run.
            group: of a new run: what runs that belong together share.
            watched: whether someone is there to let it go on after a pause of `pause_at`.
            standby: may have a process that has PyTorch loaded.
            path: of a new run; one that nobody has if left out.
            device: what `device = "auto"` is for it; "" for what it is on this machine.
            engine: that is to be asked, a copy of a template: of several at once.

        Raises:
            InputError: if there is nothing to go on from, the present folder is gone, or a folder can't
                be told to an engine.
            EostuiError: if no process can be started.
        """
        present_folder()
        self.config = start if isinstance(start, RunConfig) else start.config
        self.path = (
            start.entry.path
            if isinstance(start, Resume)
            else path or new_run_path(runs_dir, self.config.preset)
        )
        self._request = request.StartRequest(
            config=self.config.to_toml(),
            path=self.path,
            data_dir=data_dir,
            name=name,
            group=group,
            watched=watched,
            device=device,
            alone=engine is None,
            begin=request.NewRequest() if isinstance(start, RunConfig) else start.begin,
        )
        self._request.to_json()  # raises, before there is a process
        self._changing = threading.Lock()  # whose engine it is
        self._cancelled = False
        idle = standby.take() if standby is not None else None
        self._replaceable = idle is not None  # as long as it hasn't said a word about the run
        self._engine: IdleEngine | CopiedEngine = engine or idle or IdleEngine()
        if not self._engine.ask(self._request):  # it died at once; `ready` reports how
            self._replace()

    def ready(self, progress: Callable[[str], None]) -> Path:
        """Wait for the run directory; tell `progress` what the engine does meanwhile.

        Raises:
            StartError: with the engine's own sentence.
            EostuiError: if no process can be started in place of one that died.
        """
        while not self._heard(self._engine, progress):
            code = self._process.wait()
            if not self._replace():
                raise self._ended_early(code)
        return self.path

    def _heard(self, engine: IdleEngine | CopiedEngine, progress: Callable[[str], None]) -> bool:
        """Listen to an engine until the run is there, and return True; False if the engine just ended.

        Raises:
            StartError: with the engine's own sentence.
        """
        assert engine.process.stdout is not None
        with engine.process.stdout as lines:
            for message in request.answers(lines):
                if message["kind"] == "loaded":  # of a standby, before it was asked
                    continue
                self._replaceable = False
                if message["kind"] == "progress":
                    progress(message["text"])
                elif message["kind"] == "ready":
                    engine.errors.close()
                    self.begun = True
                    return True
                elif message["kind"] == "error":
                    engine.errors.close()
                    self._process.wait()
                    raise StartError(message["text"], message["exit_code"])
        return False

    def _ended_early(self, code: int) -> StartError:
        with self._engine.errors as errors:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        last = said[-1] if said else "it said nothing"
        sentence = f"the engine ended before the run began (code {code}): {last}"
        return StartError(sentence, EXIT_FAILED)

    def _replace(self) -> bool:
        """Start an engine in place of a standby that died before it said a word of the run.

        Returns:
            Whether there is another now.
        """
        with self._changing:
            if not self._replaceable or self._cancelled:
                return False
            self._replaceable = False
            self._engine.discard()
            self._engine = IdleEngine()
            self._engine.ask(self._request)
            return True

    @property
    def _process(self) -> subprocess.Popen[str] | Copy:
        return self._engine.process

    @property
    def pid(self) -> int:
        """Of the engine's process; 0 where a copy didn't say yet."""
        return self._process.pid

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, or None if the engine still runs after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def cancel(self) -> None:
        """End the engine: before it is `ready` no new run is left behind, after it the run is stopped."""
        with self._changing:
            self._cancelled = True
            self._process.terminate()
        self.let_go()

    def let_go(self) -> None:
        """Wait for the end in the background, so that the process leaves no zombie."""
        threading.Thread(target=self._process.wait, daemon=True).start()


def await_ready(
    engine: EngineProcess, progress: Callable[[str], None], meanwhile: Callable[[], None]
) -> Path:
    """Wait until an engine is `ready`, and look now and then whether it is to be cancelled.

    One that is cancelled is waited for: it may have made the run already.

    Args:
        engine: on its way.
        progress: told, in another thread, what it does.
        meanwhile: called now and then; it may cancel the engine.

    Raises:
        StartError: with the engine's own sentence, or that it ended before the run began.
    """
    with ThreadPoolExecutor(1) as waiting:
        answer = waiting.submit(engine.ready, progress)
        while not answer.done():
            wait([answer], _POLL)
            meanwhile()
    return answer.result()
