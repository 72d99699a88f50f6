"""Engines without loading PyTorch for each: copies of a process that has it loaded.

Such an engine is one like any other, but that it stops, in order, when the process that asked for it is
gone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO

from eostui.errors import EostuiError
from eostui.runs.request import StartRequest
from eostui.runs.standby import engine_environment, not_started

#: Tells an engine process to load everything, and to fork an engine whenever it is asked.
TEMPLATE = "--template"
#: Seconds in which a process that told its end is gone.
_PATIENCE = 2.0


class Copy:
    """The process of an engine that is a copy of a template, as `subprocess.Popen` has its own.

    Attributes:
        stdin: takes its request.
        stdout: what it answers.
        returncode: its exit code, negative the number of a signal that killed it; None while it lives.
    """

    def __init__(self, stdin: IO[str], stdout: IO[str], life: socket.socket) -> None:
        self.stdin, self.stdout = stdin, stdout
        self._pid = 0
        self.returncode: int | None = None
        self._life = life
        self._told = b""
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Of the process; 0 before it said so."""
        self.poll()
        return self._pid

    def poll(self) -> int | None:
        """Return the exit code, or None while the process lives."""
        return self._hear(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = 1.0 if deadline is None else deadline - time.monotonic()
            if self._hear(max(min(left, 1.0), 0.0)) is None and left <= 0:
                raise subprocess.TimeoutExpired("engine", timeout or 0.0)
        return self.returncode

    def let_alone(self) -> None:
        """Have it stop in order: the run is saved, and can be resumed."""
        with contextlib.suppress(OSError):
            self._life.shutdown(socket.SHUT_WR)

    def terminate(self) -> None:
        """Have it stop in order; before there is a run it ends."""
        self.let_alone()

    def kill(self) -> None:
        """End it at once."""
        pid = self.pid
        with self._lock, contextlib.suppress(OSError):
            if pid and self.returncode is None:
                os.kill(pid, signal.SIGKILL)
        self.let_alone()

    def _hear(self, patience: float) -> int | None:
        """Take in what it tells: its id, then its exit code, or nothing more where it was killed."""
        with self._lock:
            if self.returncode is not None:
                return self.returncode
            if not select.select([self._life], [], [], patience)[0]:
                return None
            try:
                told = self._life.recv(64)
            except OSError:
                told = b""
            self._told += told
            numbers = [int(line) for line in self._told.split(b"\n")[:-1]]
            self._pid = numbers[0] if numbers else 0
            if len(numbers) > 1:
                self.returncode = numbers[1]
            elif not told:
                self.returncode = -signal.SIGKILL
            if self.returncode is not None:
                self._life.close()
                self._await_end()
            return self.returncode

    def _await_end(self) -> None:
        """Wait until the process is gone, with its locks: what it told came a moment before that."""
        deadline = time.monotonic() + _PATIENCE
        with contextlib.suppress(OSError):
            while self._pid and time.monotonic() < deadline:
                os.kill(self._pid, 0)
                time.sleep(0.001)


class CopiedEngine:
    """An engine that wasn't asked for anything yet, a copy of a template.

    Attributes:
        process: reads one request, answers with JSON lines.
        errors: its stderr, for when it dies early.
    """

    def __init__(self, process: Copy, errors: IO[bytes]) -> None:
        self.process, self.errors = process, errors

    def ask(self, request: StartRequest) -> bool:
        """Send it its request; return whether it took it: it may have died.

        Raises:
            InputError: if a folder in it can't be told.
        """
        try:
            with self.process.stdin as pipe:
                pipe.write(request.to_json())
        except BrokenPipeError:
            return False
        return True

    def discard(self) -> None:
        """End it at once: it has nothing to lose."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            with contextlib.suppress(OSError):  # a request that it never took
                pipe.close()


class Template:
    """A process that has PyTorch loaded, or loads it, for engines that are copies of it.

    It ends when the process that made it does; the engines then stop in order.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()

    def engine(self, held: int | None = None) -> CopiedEngine:
        """Return a new engine. May be called from any thread.

        Args:
            held: a file's descriptor that the engine has too, for as long as it lives: with it a lock.

        Raises:
            EostuiError: if no process can be started, or it was closed.
        """
        for _ in range(2):  # it may have been killed since the last time
            with self._lock:
                self._begin()
                with contextlib.suppress(OSError):
                    return self._fork(held)
                self._end()
        raise EostuiError("no engine can be started: the process that loads PyTorch ends at once")

    def last_words(self) -> str:
        """Return the last line that it printed; "" if it was silent."""
        with self._lock:
            if self._process is None:
                return ""
            self._errors.seek(0)
            lines = self._errors.read().decode(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""

    def close(self) -> None:
        """End the template, for good; engines that it made go on, those that wait for it end."""
        with self._lock:
            self._closed = True
            self._end()

    @property
    def pid(self) -> int:
        """Of the process; 0 if there is none."""
        return self._process.pid if self._process is not None else 0

    def _begin(self) -> None:
        if self._closed:
            raise EostuiError("no engine can be started: the process that loads PyTorch was ended")
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        try:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when it ends early
            self._asks, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    # -P: a torch.py in the user's folder isn't torch
                    [sys.executable, "-P", "-m", "eostui.engine", TEMPLATE],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    start_new_session=True,
                    env=engine_environment(),
                )
        except OSError as error:
            raise not_started(error) from None

    def _end(self) -> None:
        if self._process is not None:
            self._asks.close()
            self._process.kill()
            self._process.wait()
            self._errors.close()
            self._process = None

    def _fork(self, held: int | None) -> CopiedEngine:
        """Ask for a copy. Raises OSError if the template is gone."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when the engine dies early
        mine, theirs = socket.socketpair()
        request, to_request = os.pipe()
        from_answers, answers = os.pipe()
        sent = [request, answers, errors.fileno(), theirs.fileno()]
        try:
            socket.send_fds(self._asks, [b"+"], sent if held is None else [*sent, held])
        except OSError:
            for descriptor in (to_request, from_answers):
                os.close(descriptor)
            mine.close()
            errors.close()
            raise
        finally:
            theirs.close()
            os.close(request)
            os.close(answers)
        process = Copy(
            os.fdopen(to_request, "w", encoding="utf-8"),
            os.fdopen(from_answers, encoding="utf-8"),
            mine,
        )
        return CopiedEngine(process, errors)
