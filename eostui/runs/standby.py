"""A process that has PyTorch loaded when it is needed: the next run begins in it.

Loading PyTorch takes longer than all else that begins a run, so the live view keeps one such process.
It is an engine like any other, but for when it is asked: it takes one request, trains that run, and
ends. Nothing is on a GPU before that. It ends when the process that started it is gone, however that
went: its stdin then ends without a request.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import threading

from eostui.errors import EostuiError
from eostui.runs.request import StartRequest

#: Tells an engine process to load everything first, and then to wait for its request; names of further
#: modules to be loaded may follow.
PRELOAD = "--preload"


def engine_environment() -> dict[str, str]:
    """Return the environment of an engine process."""
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8:backslashreplace",  # the log is UTF-8, whatever prints
        # numpy has only small matrices to solve there: its threads would wait in torch's way
        "OPENBLAS_NUM_THREADS": "1",
    }


def not_started(error: OSError) -> EostuiError:
    """Return that there can be no engine."""
    return EostuiError(f"no engine can be started: {error.strerror or error}")


class IdleEngine:
    """An engine process that wasn't asked for anything yet, in its own session.

    Attributes:
        process: reads one request, answers with JSON lines.
        errors: its stderr, for when it dies early.
    """

    def __init__(self, *arguments: str) -> None:
        """Start it; Python closes what else this process has open, other engines' pipes among it.

        Raises:
            EostuiError: if it can't be: no memory, no processes, no files.
        """
        errors = None
        try:
            self.errors = errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when it dies early
            self.process = subprocess.Popen(
                # -P: a torch.py in the user's folder isn't torch
                [sys.executable, "-P", "-m", "eostui.engine", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                start_new_session=True,
                encoding="utf-8",
                errors="replace",  # what else is printed may be anything
                env=engine_environment(),
            )
        except OSError as error:
            if errors is not None:
                errors.close()
            raise not_started(error) from None

    @property
    def alive(self) -> bool:
        """Whether it hasn't ended."""
        return self.process.poll() is None

    @property
    def loaded(self) -> bool:
        """Whether it said that it has loaded everything; only until it is asked."""
        assert self.process.stdout is not None
        return bool(select.select([self.process.stdout], [], [], 0)[0]) and self.alive

    def ask(self, request: StartRequest) -> bool:
        """Send it its request; return whether it took it: it may have died.

        Raises:
            InputError: if a folder in it can't be told.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(request.to_json())
            self.process.stdin.close()
        except BrokenPipeError:
            return False
        return True

    def discard(self) -> None:
        """End it at once: it has nothing to lose."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            assert pipe is not None
            with contextlib.suppress(OSError):  # a request that it never took
                pipe.close()
        threading.Thread(target=self.process.wait, daemon=True).start()  # leaves no zombie


class Standby:
    """Keeps one idle engine that loads, or has loaded, PyTorch."""

    def __init__(self) -> None:
        self.idle: IdleEngine | None = None

    @property
    def warm(self) -> bool:
        """Whether a run could begin without anything being loaded."""
        return self.idle is not None and self.idle.loaded

    def prepare(self, *modules: str) -> None:
        """Start an idle engine, unless there is one. What can't be started isn't missed: the next run
        begins without it, or tells.

        `modules` are what it loads beside what all engines need.
        """
        if self.idle is not None and not self.idle.alive:
            self.close()
        if self.idle is None:
            with contextlib.suppress(EostuiError):
                self.idle = IdleEngine(PRELOAD, *modules)

    def take(self) -> IdleEngine | None:
        """Hand over the idle engine to be asked; None if there is none that lives."""
        if self.idle is not None and not self.idle.alive:
            self.close()
        idle, self.idle = self.idle, None
        return idle

    def close(self) -> None:
        """End the idle engine."""
        if self.idle is not None:
            self.idle.discard()
            self.idle = None
