"""A sweep that is looked on at: its members as they come, the comparison of them, how long it takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eostui.errors import EXIT_INPUT, EostuiError, InputError
from eostui.panels.compare.view import MOST_RUNS, ComparisonView
from eostui.panels.sweep.forecast import Forecast
from eostui.panels.sweep.members import done_share
from eostui.sweeps.shelf import at_work
from eostui.sweeps.sweep import MemberState, Sweep
from eostui.text import read_text
from eostui.tui.comparing import Comparing

#: Seconds between two looks at the members, and how much longer than a look the pause after it is.
_LOOK_EVERY, _LOOKS_SHARE = 1.0, 10.0
#: The file in a sweep's directory for what a process says that goes on with it from here.
_OUTPUT = "resume.log"


@dataclass(frozen=True)
class Look:
    """What a look at a sweep found.

    Attributes:
        sweep: as its manifest is now.
        states: of its members.
        at_work: whether a process begins members.
        share: how much is done, in what members cost.
    """

    sweep: Sweep
    states: list[MemberState]
    at_work: bool
    share: float


class FollowedSweep:
    """Looks at a sweep again and again, and has its members compared as they begin.

    Attributes:
        sweep: as its manifest was last.
        comparing: reads the members that began, the first `MOST_RUNS` of them, in the order of the plan.
        states: of all members; none before the first look.
        at_work: whether a process begins members.
        share: how much is done, from 0 to 1.
        forecast: knows how fast members go, by their paths, and the sweep's share, by its own.
        trouble: why it can't be looked at, or "".
        revision: another number whenever there is something else to draw.
    """

    def __init__(self, sweep: Sweep, *, unicode: bool) -> None:
        self.sweep = sweep
        varying = [key for axis in sweep.plan.axes if len(axis.values) > 1 for key in axis.keys]
        self.comparing = Comparing(ComparisonView([], varying=varying, unicode=unicode))
        self.states: list[MemberState] = []
        self.at_work = at_work(sweep.path)
        self.share = 0.0
        self.forecast = Forecast()
        self.trouble = ""
        self.revision = 0
        self._next_look = 0.0
        self._begun: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        """The sweep's directory."""
        return self.sweep.path

    @property
    def due(self) -> bool:
        """Whether it is time for a look."""
        return time.monotonic() >= self._next_look

    def look_soon(self) -> None:
        """Have the next look at once: something was done to the sweep."""
        self._next_look = 0.0

    def look(self) -> Look | str:
        """Look at the sweep, in another thread; return what is found, or why it can't be looked at."""
        started = time.monotonic()
        try:
            self._refuse_failed()
            sweep = self.sweep
            if not sweep.is_current:
                sweep = Sweep(self.path)
            states = sweep.states()
            return Look(sweep, states, at_work(self.path), done_share(states))
        except EostuiError as error:
            return str(error)
        except OSError as error:
            return f"{self.path}: can't be read: {error.strerror}"
        finally:
            now = time.monotonic()
            self._next_look = now + max(_LOOK_EVERY, _LOOKS_SHARE * (now - started))

    def watch(self, begun: subprocess.Popen[bytes]) -> None:
        """Have it told if a process that goes on with the sweep can't."""
        self._begun = begun

    @property
    def starting(self) -> bool:
        """Whether a process is about to go on with it."""
        return self._begun is not None and not self.at_work and self._begun.poll() is None

    def _refuse_failed(self) -> None:
        """Raise InputError, with what it said last, if going on with the sweep was refused."""
        begun = self._begun
        if begun is None or begun.poll() is None:
            return
        self._begun = None
        if begun.returncode == EXIT_INPUT:
            said = read_text(self.path / _OUTPUT, self.path.name).strip().splitlines()
            raise InputError(said[-1] if said else f"{self.path.name} can't be gone on with")

    def take(self, found: Look | str) -> None:
        """Take in what a look found; not while members are being read."""
        if isinstance(found, str):
            self.revision += found != self.trouble
            self.trouble = found
            return
        now = time.monotonic()
        for each in found.states:
            path = each.member.path
            if each.state == "running" and each.entry is not None:
                self.forecast.see(path, now, each.entry.last_step)
            else:
                self.forecast.forget(path)
        if found.at_work:
            self.forecast.see(self.path, now, found.share)
        else:
            self.forecast.forget(self.path)
        changed = [(s.state, s.entry) for s in found.states] != [
            (s.state, s.entry) for s in self.states
        ]
        self.sweep, self.states, self.share = found.sweep, found.states, found.share
        if changed or found.at_work != self.at_work or self.trouble:
            self.revision += 1
        self.at_work, self.trouble = found.at_work, ""
        self._compare()

    def _compare(self) -> None:
        """Have the members compared that are there now."""
        entries = [each.entry for each in self.states if each.entry is not None][:MOST_RUNS]
        view = self.comparing.view
        known = {entry.path: entry for entry in view.entries}
        if [*known] != [entry.path for entry in entries] or any(
            entry.live and not known[entry.path].live for entry in entries
        ):
            self.comparing.arrange(entries)

    @property
    def seconds_left(self) -> float:
        """How long it takes until all is done; NaN where that can't be told."""
        return self.forecast.seconds(self.path, 1.0)

    def close(self) -> None:
        """Let go of all members."""
        self.comparing.close()


def go_on(followed: FollowedSweep, data_dir: Path) -> None:
    """Go on with a sweep in a process of its own, which stays when this one ends.

    Raises:
        InputError: if it can't be started.
    """
    followed.watch(begin(followed.sweep, ["resume", str(followed.path)], data_dir))


def begin(sweep: Sweep, words: Sequence[str], data_dir: Path) -> subprocess.Popen[bytes]:
    """Begin a command of the program that trains a sweep's members, in a process that stays.

    Args:
        sweep: which; what the process says goes into a file in its directory.
        words: of the command, without its folders.
        data_dir: where data sets are kept.

    Raises:
        InputError: if it can't be started.
    """
    path = sweep.path
    command = [sys.executable, "-m", "eostui", *words]
    folders = ["--runs-dir", str(path.parent), "--data-dir", str(data_dir)]
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(path / _OUTPUT, flags, 0o600), "wb") as output:
            return subprocess.Popen(
                command + folders, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise InputError(f"{path}: can't be gone on with: {error.strerror}") from None
