"""What the engine says before there is a run directory: JSON lines to whoever started it."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import stat
import sys
import termios
import time
from pathlib import Path
from typing import IO, Any, cast

from eostui.errors import EostuiError
from eostui.runs.store.filesystem import open_regular
from eostui.runs.store.schema import ENGINE_LOG

#: Seconds between words on how far something is.
TELL_EVERY = 0.25
#: Bytes in the pipe, and letters of a message, beyond which no more is told of how far something is. A
#: pipe holds 64 KB; the run's being ready must fit in, or it would wait for a viewer that was stopped.
_MOST_UNREAD, _LONGEST = 16_384, 1000


class _Log(io.FileIO):
    """What is printed; what a full disk doesn't take of it is lost, and ends no training."""

    def write(self, data: Any, /) -> int:
        """Write what is taken, and say that it was all."""
        with contextlib.suppress(OSError):
            super().write(data)
        return len(data)


class Handshake:
    """Owns the pipe that was stdout; prints, a library's or a user's, go to stderr from now on."""

    def __init__(self) -> None:
        self._pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            file = cast("IO[bytes]", _Log(descriptor, "w", closefd=False))
            log = io.TextIOWrapper(file, "utf-8", "backslashreplace", write_through=True)
            setattr(sys, name, log)
            setattr(sys, f"__{name}__", log)
        self._began = self._told = 0.0

    def say(self, kind: str, text: str, **more: Any) -> None:
        """Send one message; whoever asked may be gone, and the run goes on. The log has it too.

        How far something is waits for nobody: it isn't sent to who has stopped reading.
        """
        with contextlib.suppress(OSError):  # not sys.stderr, which the problem's code may have
            os.write(2, f"{text}\n".encode())
        if kind == "progress":
            if self._unread() > _MOST_UNREAD:
                return
            text = text[:_LONGEST]
        with contextlib.suppress(BrokenPipeError):
            self._pipe.write(json.dumps({"kind": kind, "text": text, **more}) + "\n")
            self._pipe.flush()

    def _unread(self) -> int:
        """Return how many bytes of what was sent nobody has read yet."""
        count = bytearray(4)
        with contextlib.suppress(OSError):  # where the system doesn't tell
            fcntl.ioctl(self._pipe, termios.FIONREAD, count)
        return int.from_bytes(count, sys.byteorder)

    def steps(self, step: int, first: int, last: int) -> None:
        """Tell how far the repeating of steps is, now and then."""
        now = time.monotonic()
        if step == first + 1:
            self._began = now
        if now - self._told < TELL_EVERY or step == first:
            return
        self._told = now
        left = (last - step) * (now - self._began) / (step - first)
        self.say("progress", f"repeating steps {first} to {last}: at {step}, {left:.0f} s left")

    def end(self, run_path: Path) -> None:
        """Say that the run is ready, close the pipe and send stdout and stderr, of native code too, to
        the run's log.

        Raises:
            EostuiError: if the log can't be written; nothing is said then, and the pipe is open.
        """
        try:
            log = open_regular(run_path / ENGINE_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise EostuiError(f"{run_path}: can't be logged: {error.strerror}") from None
        _copy_said(log)
        self.say("ready", str(run_path))
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.close(log)


def _copy_said(log: int) -> None:
    """Begin the log with what went to stderr before there was one, that of native code too."""
    sys.stderr.flush()
    about = os.fstat(2)
    if stat.S_ISREG(about.st_mode):
        with contextlib.suppress(OSError):  # the disk may be full: the run goes on
            os.write(log, os.pread(2, about.st_size, 0))
