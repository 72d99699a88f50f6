"""A real pseudo-terminal around the program, and what a person would see in it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pexpect
import pyte


class Terminal:
    """Runs a command in a pseudo-terminal and emulates its screen; with `shell`, behind a shell there.

    `screen` is its columns and rows where the pseudo-terminal says others.

    `program` is what Python runs: the program itself unless a test has one around it.
    """

    _opened: ClassVar[weakref.WeakSet[Terminal]] = weakref.WeakSet()

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        width: int = 120,
        height: int = 40,
        screen: tuple[int, int] | None = None,
        shell: bool = False,
        program: Sequence[str] = ("-m", "eostui"),
        **environment: str,
    ) -> None:
        # COLUMNS and LINES would hide the terminal's own size, which is the one that counts here
        others = ("NO_COLOR", "SSH_CONNECTION", "COLUMNS", "LINES")
        keep = {k: v for k, v in os.environ.items() if k not in others}
        command = [sys.executable, *program, *arguments]
        self.process = pexpect.spawn(
            "bash" if shell else command[0],
            ["--norc", "--noprofile", "--noediting", "-i"] if shell else command[1:],
            cwd=str(cwd),
            env={**keep, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environment},
            dimensions=(height, width),
            encoding=None,
            timeout=5,
        )
        self.screen = pyte.Screen(*(screen or (width, height)))
        self._stream = pyte.ByteStream(self.screen)
        self.output = b""
        self._opened.add(self)
        if shell:
            self.send(f"PS1='ready> '; {shlex.join(command)}; echo code $?\n")

    def read(self, seconds: float = 0.1) -> None:
        """Take in what all open terminals' programs write, until `seconds` are over or this one ends.

        All of them, for a real terminal always reads: a program that nobody reads stands still.
        """
        deadline = time.monotonic() + seconds
        while not self._ended and (left := deadline - time.monotonic()) > 0:
            terminals = {one.process.child_fd: one for one in self._opened if not one._ended}
            for ready in select.select(list(terminals), [], [], left)[0]:
                terminals[ready]._take_in()

    @property
    def _ended(self) -> bool:
        return self.process.closed or self.process.flag_eof

    def _take_in(self) -> None:
        with contextlib.suppress(pexpect.EOF):
            data = self.process.read_nonblocking(65536, timeout=0)
            self.output += data
            # pyte doesn't know private mode queries; they draw nothing
            self._stream.feed(re.sub(rb"\x1b\[[?>=][0-9;]*[$]?[pu]", b"", data))

    @property
    def text(self) -> str:
        """The screen's lines."""
        return "\n".join(self.screen.display)

    def wait_for(
        self, *patterns: str, without: str | None = None, timeout: float = 60.0
    ) -> re.Match[str]:
        """Wait until one screen shows every pattern, and nothing of `without`; return the first's match.

        A frame arrives in pieces: what is asserted of a screen must be waited for on one screen.
        """
        deadline = time.monotonic() + timeout
        while True:
            alive = self.process.isalive()
            self.read(0.1 if alive else 0.5)
            text = self.text
            matches = [match for pattern in patterns if (match := re.search(pattern, text))]
            unwanted = without is not None and re.search(without, text)
            if len(matches) == len(patterns) and not unwanted:
                return matches[0]
            what = ", ".join(map(repr, patterns)) + (f" without {without!r}" if without else "")
            how = f"code {self.process.exitstatus}, signal {self.process.signalstatus}"
            assert alive, f"ended ({how}) without showing {what}:\n{text}"
            assert time.monotonic() < deadline, f"{what} not seen in {timeout} s:\n{text}"

    def send(self, keys: str) -> None:
        """Press keys."""
        self.process.send(keys.encode())

    def resize(self, width: int, height: int) -> None:
        """Change the size of the terminal."""
        self.screen.resize(height, width)
        self.screen.reset()
        self.process.setwinsize(height, width)

    def hang_up(self) -> None:
        """Close the other end, as a terminal does that crashes."""
        os.close(self.process.child_fd)
        # or pexpect closes the number once more, which may be another file's by then
        self.process.child_fd = self.process.ptyproc.fd = -1
        self.process.closed = self.process.ptyproc.closed = True

    def exit_code(self, timeout: float = 20.0) -> int:
        """Wait for the end; return the exit code, 128 + n for an unhandled signal n."""
        deadline = time.monotonic() + timeout
        while self.process.isalive():
            assert time.monotonic() < deadline, f"still running:\n{self.text}"
            self.read()
        self.read(0.2)
        self.process.close()
        if self.process.signalstatus is not None:
            return 128 + self.process.signalstatus
        return int(self.process.exitstatus)

    @property
    def restored(self) -> bool:
        """Whether the alternate screen was left and the cursor shown again, in the end."""
        tail = self.output
        return tail.rfind(b"\x1b[?1049l") > tail.rfind(b"\x1b[?1049h") and tail.rfind(
            b"\x1b[?25h"
        ) > tail.rfind(b"\x1b[?25l")
