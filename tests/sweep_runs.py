"""Sweeps in processes of their own, as tests begin, kill, resume and compare them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from engines import PATIENCE, assert_same_rows, derived

from eostui.runs.run import Run
from eostui.sweeps import log
from eostui.sweeps.shelf import sweeps_of
from eostui.sweeps.summary import summary_of
from eostui.sweeps.sweep import MemberState, Sweep

#: Six members that take a part of a second each, of a network with checkpoints all the time.
SMALL = (
    "digits-mlp --weight-decay 0,1e-3,1e-2 --seed 1,2 --steps 200 --set samples=100 --set width=16 "
    "--set depth=1 --set cadence=5 --set checkpoint_every=0.05 --set device=cpu"
)


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "EOSTUI_RUNS": str(folder), "OMP_NUM_THREADS": "1", **more}


def program(folder: Path, arguments: str | Sequence[str], **more: str) -> subprocess.Popen[str]:
    """Start the program on a shelf."""
    words = arguments.split() if isinstance(arguments, str) else list(arguments)
    return subprocess.Popen(
        [sys.executable, "-m", "eostui", *words], env=environment(folder, **more), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def done(process: subprocess.Popen[str], code: int | None = 0) -> tuple[str, str]:
    """Wait for its end; return what it printed."""
    out, err = process.communicate(timeout=PATIENCE)
    assert code is None or process.returncode == code, (process.returncode, out, err)
    assert "Traceback" not in err
    return out, err


def call(folder: Path, arguments: str | Sequence[str], code: int | None = 0) -> tuple[str, str]:
    return done(program(folder, arguments), code)


def sweep_on(folder: Path) -> Sweep:
    """The one sweep of a shelf, once it is there."""
    deadline = time.monotonic() + PATIENCE
    while not sweeps_of(folder):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    (path,) = sweeps_of(folder)
    return Sweep(path)


def wait_for_states(sweep: Sweep, *wanted: str) -> list[MemberState]:
    """Wait until each member is in one of these states."""
    deadline = time.monotonic() + PATIENCE
    while True:
        states = sweep.states()
        if all(each.state in wanted for each in states):
            return states
        assert time.monotonic() < deadline, Counter(each.state for each in states)
        time.sleep(0.02)


def told(sweep: Sweep) -> list[dict[str, object]]:
    """What the summary says of the members, but for who they are and how long they took."""
    return [
        {name: repr(value) for name, value in row.items() if name not in ("run", "seconds")}
        for row in summary_of(sweep).rows
    ]


def assert_same_members(one: Sweep, other: Sweep) -> None:
    """All members of both are whole, and the same to the bit; each was begun once."""
    assert [each.settings for each in one.members] == [each.settings for each in other.members]
    for mine, others in zip(one.members, other.members, strict=True):
        assert_same_rows(mine.path, others.path, whole=True)
        assert derived(mine.path) == derived(others.path)
        with Run(mine.path) as run:
            kinds = Counter(event.kind for event in run.events)
            assert run.state == "finished"
        assert kinds["started"] == 1
    assert told(one) == told(other)
    begun = Counter(
        e["run"] for e in log.read(one.path) if e["kind"] == log.STARTED and not e["resumed"]
    )
    assert all(count == 1 for count in begun.values()), begun
    runs = {path.name for path in one.path.parent.iterdir() if path != one.path}
    assert runs == {member.path.name for member in one.members}
