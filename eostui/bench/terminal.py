"""What a person waits for at a terminal: help, the first frame, the first point; and a live view's bytes.

The program runs on a pseudo-terminal of 120 × 40 that is always read, with a shelf of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eostui.errors import EostuiError
from eostui.runs import shelf
from eostui.runs.store import commands

PRESET = "digits-mlp"
#: Turns of each, of which the median counts, after one that warms the system's caches.
TURNS = 3
#: Seconds for which bytes are counted, and after which something is amiss.
_WATCHED, _PATIENCE = 10.0, 120.0
_COLUMNS, _LINES = 120, 40
#: The bars, by the key of the result: seconds and kilobytes.
BARS = {
    "help_seconds": 0.3, "first_frame_seconds": 0.8, "first_point_seconds": 4.0,
    "kilobytes_per_second": 50.0,
}  # fmt: skip

#: What the first frame has, the program's name or what it is doing, after the switch to a screen of its
#: own; and a point of a chart, in braille.
_FRAME = re.compile(rb"\x1b\[\?1049h.*(eostui|PyTorch)", re.DOTALL)
_POINT = re.compile(rb"\xe2[\xa0-\xa3][\x80-\xbf]")

Say = Callable[[str, int, int | None], None]


class OnTerminal:
    """The program on a pseudo-terminal; what it writes is read while somebody waits for something.

    Attributes:
        output: all that it wrote so far.
        begun: when it was started, by time.perf_counter.
    """

    def __init__(self, *arguments: str, runs: Path) -> None:
        """Start `eostui` with these arguments, its shelf in `runs`."""
        self._end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
        sizes = ("COLUMNS", "LINES")  # they would hide the terminal's own
        kept = {key: value for key, value in os.environ.items() if key not in sizes}
        self.begun = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "eostui", *arguments],
            stdin=other, stdout=other, stderr=other, start_new_session=True,
            env={**kept, "TERM": "xterm-256color", "EOSTUI_RUNS": str(runs)},
        )  # fmt: skip
        os.close(other)
        self.output = b""

    def until(self, pattern: re.Pattern[bytes], since: int = 0) -> float:
        """Return the seconds from the start until the output, from a byte on, has the pattern.

        Raises:
            EostuiError: if it ends before, or takes more than two minutes.
        """
        while not pattern.search(self.output, since):
            alive = self._process.poll() is None
            if not self.read(0.02) and not alive:
                raise EostuiError(f"`eostui` ended before it showed what is timed: {self._tail()}")
            if time.perf_counter() - self.begun > _PATIENCE:
                raise EostuiError(f"`eostui` hasn't shown what is timed in {_PATIENCE:g} s")
        return time.perf_counter() - self.begun

    def read(self, seconds: float) -> int:
        """Read for so long, or until something came; return how many bytes did."""
        if not select.select([self._end], [], [], seconds)[0]:
            return 0
        try:
            data = os.read(self._end, 1 << 16)
        except OSError:  # how Linux says that nobody has the other end open
            return 0
        self.output += data
        return len(data)

    def read_for(self, seconds: float) -> int:
        """Read for so many seconds; return the bytes that came."""
        until, before = time.perf_counter() + seconds, len(self.output)
        while (left := until - time.perf_counter()) > 0:
            self.read(left)
        return len(self.output) - before

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self._end, keys.encode())

    def close(self) -> None:
        """End it, as a terminal that is closed does, and wait until it is gone."""
        self._process.terminate()
        until = time.perf_counter() + 10.0
        while self._process.poll() is None:  # it may have something to say, which must be read
            self.read(0.05)
            if time.perf_counter() > until:
                self._process.kill()
        os.close(self._end)

    def _tail(self) -> str:
        return self.output[-300:].decode(errors="replace").strip()


def measure_terminal(say: Say, turns: int = TURNS, watched: float = _WATCHED) -> dict[str, Any]:
    """Start the program again and again, and time what is waited for.

    Args:
        say: told what is being done, and how much of how much.
        turns: of which the median is taken, besides a first one.
        watched: seconds of a live view whose bytes are counted.

    Returns:
        `help_seconds`, the whole of `eostui --help`; from the start of `eostui run` to its
        `first_frame_seconds` and `first_point_seconds`; `kilobytes_per_second` that a view of a training
        run writes then; the `preset`, and the `bars`.
    """
    times: dict[str, list[float]] = {
        "help_seconds": [], "first_frame_seconds": [], "first_point_seconds": [],
    }  # fmt: skip
    rates: list[float] = []
    for turn in range(turns + 1):
        say("starting the program", turn, turns + 1)
        times["help_seconds"].append(_help())
        with tempfile.TemporaryDirectory(prefix="eostui-bench-") as folder, _live(folder) as view:
            times["first_frame_seconds"].append(view.until(_FRAME))
            times["first_point_seconds"].append(view.until(_POINT))
            if turn == turns:
                say(f"counting bytes for {watched:g} s", turn, turns + 1)
                rates.append(view.read_for(watched) / watched)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    return {"preset": PRESET, **medians, "kilobytes_per_second": rates[0] / 1e3, "bars": BARS}


def _help() -> float:
    begun = time.perf_counter()
    command = [sys.executable, "-m", "eostui", "--help"]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


@contextlib.contextmanager
def _live(folder: str) -> Iterator[OnTerminal]:
    """Give a live view of PRESET with its engine; both are gone afterwards."""
    runs = Path(folder)
    view = OnTerminal("run", PRESET, runs=runs)
    try:
        yield view
    finally:
        engines = [entry.path for entry in shelf.entries(runs) if entry.live]
        for path in engines:
            commands.send(path, "stop")
        until = time.perf_counter() + 10.0
        while any(entry.live for entry in shelf.entries(runs)) and time.perf_counter() < until:
            view.read(0.05)
        view.close()
