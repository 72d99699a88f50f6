"""The live view and the engine that it keeps ready: in real terminals, with real signals."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from terminal import Terminal

from eostui.runs import shelf
from eostui.runs.standby import PRELOAD
from eostui.runs.store import commands
from eostui.runs.store.liveness import engine_alive

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="needs /proc to find engines"
)
LONG = ("run", "digits-mlp", "--set", "steps=1000000", "--threads", "1")
PATIENCE = 90.0  # seconds: PyTorch's import on a busy machine


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A place of its own; engines left alive by a failing test are killed."""
    yield tmp_path
    for pid in engines_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


def engines_of(folder: Path) -> dict[int, bool]:
    """Return the engine processes of views with this shelf, and whether each began on standby."""
    place = f"EOSTUI_RUNS={folder / 'runs'}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().split(b"\0")
            if b"eostui.engine" in line and place in (process / "environ").read_bytes().split(
                b"\0"
            ):
                found[int(process.name)] = PRELOAD.encode() in line
        except OSError:  # it has ended
            continue
    return found


def running(folder: Path) -> dict[int, str]:
    """Return the processes of the runs that train, and their presets.

    One that has just begun holds its lock before it has written into it whose that is: not told yet.
    """
    return {
        int(number): entry.config.preset
        for entry in shelf.entries(folder / "runs")
        if engine_alive(entry.path) and (number := (entry.path / "lock").read_text())
    }


def idle(folder: Path) -> list[int]:
    """Return the processes on standby."""
    trains = running(folder)
    return [pid for pid, preloaded in engines_of(folder).items() if preloaded and pid not in trains]


def is_loaded(pid: int) -> bool:
    """Whether a process on standby waits: it sleeps, and has long been loading."""
    time.sleep(0.05)
    maps = Path(f"/proc/{pid}/maps").read_text()
    before = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    time.sleep(0.5)
    after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return "libtorch_python" in maps and before == after


def wait_for(terminal: Terminal | None, what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, terminal and terminal.text
        if terminal is None:
            time.sleep(0.05)
        else:
            terminal.read(0.05)


def opened(folder: Path, *arguments: str, standby: bool = True) -> Terminal:
    terminal = Terminal(
        *(arguments or LONG),
        cwd=folder, EOSTUI_RUNS=str(folder / "runs"), EOSTUI_NO_STANDBY="" if standby else "1",
    )  # fmt: skip
    terminal.wait_for(r"RUNNING +step", timeout=PATIENCE)
    return terminal


def test_one_run_after_another(folder: Path) -> None:
    """Twice `n` at once, and a restart: a used process is replaced; who leaves keeps the run alone."""
    terminal = opened(folder)
    wait_for(terminal, lambda: idle(folder))
    (first,) = idle(folder)
    wait_for(terminal, lambda: is_loaded(first))
    terminal.send("n")
    terminal.wait_for(r"digits-mlp-adamw.*RUNNING", timeout=PATIENCE)
    wait_for(terminal, lambda: first in running(folder))
    wait_for(terminal, lambda: idle(folder))
    (second,) = idle(folder)
    assert second != first
    terminal.send("nn")  # the second ends what the first began
    terminal.wait_for(r"digits-mlp-heavy-ball.*RUNNING", timeout=PATIENCE)
    wait_for(terminal, lambda: list(running(folder).values()) == ["digits-mlp-heavy-ball"])
    wait_for(terminal, lambda: idle(folder))
    (third,) = idle(folder)
    assert third != second
    os.kill(third, signal.SIGKILL)  # as the system does that runs out of memory
    terminal.send("r")
    wait_for(
        terminal,
        lambda: (
            [e.config.preset for e in shelf.entries(folder / "runs")].count("digits-mlp-heavy-ball")
            == 2
        ),
    )
    terminal.wait_for(r"digits-mlp-heavy-ball.*RUNNING", timeout=PATIENCE)
    wait_for(terminal, lambda: idle(folder))
    terminal.send("q")
    terminal.wait_for("keep it running")
    terminal.send("k")
    assert terminal.exit_code() == 0
    wait_for(None, lambda: set(engines_of(folder)) == set(running(folder)))
    assert list(running(folder).values()) == ["digits-mlp-heavy-ball"]


def test_a_run_that_is_gone_on_with_is_followed_by_another(folder: Path) -> None:
    """Its process, used by `R`, is replaced, as one that was used by any other key."""
    terminal = opened(folder, "run", "toy-two-layer", "--set", "steps=100000000", "--threads", "1")
    wait_for(terminal, lambda: idle(folder))
    (first,) = idle(folder)
    (run,) = shelf.entries(folder / "runs")
    commands.send(run.path, "stop")
    terminal.wait_for("STOPPED", timeout=PATIENCE)
    terminal.send("R")
    wait_for(terminal, lambda: first in running(folder))
    wait_for(terminal, lambda: idle(folder))
    terminal.send("q")
    terminal.wait_for("keep it running")
    terminal.send("s")
    assert terminal.exit_code() == 0


@pytest.mark.parametrize("key", ["q", "n"])
def test_one_that_does_not_answer_keeps_nobody(folder: Path, key: str) -> None:
    """Stopped before it was asked for a run; who then leaves, or begins another, does so at once."""
    terminal = opened(folder)
    wait_for(terminal, lambda: idle(folder))
    (silent,) = idle(folder)
    wait_for(terminal, lambda: is_loaded(silent))
    os.kill(silent, signal.SIGSTOP)
    terminal.send("n")
    terminal.wait_for("digits-mlp-adamw: starting")
    terminal.send(key)
    if key == "n":
        terminal.wait_for("digits-mlp-collapse.*RUNNING", timeout=PATIENCE)
        terminal.send("q")
        terminal.wait_for("keep it running")
        terminal.send("s")
    assert terminal.exit_code() == 0
    os.kill(silent, signal.SIGCONT)  # what it was told meanwhile reaches it
    wait_for(None, lambda: not engines_of(folder))
    assert "digits-mlp-adamw" not in [e.config.preset for e in shelf.entries(folder / "runs")]


def test_where_none_can_be_started_the_run_that_is_shown_goes_on(folder: Path) -> None:
    """And one sentence says so; later it can."""
    terminal = opened(folder, *LONG, "--no-standby")
    view = terminal.process.pid
    limits = resource.prlimit(view, resource.RLIMIT_NOFILE)
    files = len(list(Path(f"/proc/{view}/fd").iterdir()))
    resource.prlimit(view, resource.RLIMIT_NOFILE, (files + 1, limits[1]))
    for key in "nr":
        terminal.send(key)
        terminal.wait_for("no engine can be started: Too many open files")
        terminal.send("\r")
        terminal.wait_for(r"digits-mlp .*RUNNING", without="no engine can be started")
    assert list(running(folder).values()) == ["digits-mlp"]
    resource.prlimit(view, resource.RLIMIT_NOFILE, limits)
    terminal.send("n")
    terminal.wait_for(r"digits-mlp-adamw.*RUNNING", timeout=PATIENCE)
    terminal.send("q")
    terminal.wait_for("keep it running")
    terminal.send("s")
    assert terminal.exit_code() == 0


@pytest.mark.parametrize(
    ("how", "loaded"),
    [
        ("SIGKILL", True),
        *((how, False) for how in ("SIGKILL", "SIGTERM", "SIGHUP", "hang-up", "q")),
    ],
)
def test_it_ends_with_the_view(folder: Path, how: str, loaded: bool) -> None:
    """However that ends, in the midst of loading too; the run that began goes on."""
    terminal = opened(folder)
    wait_for(terminal, lambda: idle(folder))
    (waiting,) = idle(folder)
    if loaded:
        wait_for(terminal, lambda: is_loaded(waiting))
    if how == "hang-up":
        terminal.hang_up()
    elif how == "q":
        terminal.send("q")
        terminal.wait_for("keep it running")
        terminal.send("k")
    else:
        os.kill(terminal.process.pid, getattr(signal, how))
    wait_for(None if how == "hang-up" else terminal, lambda: not terminal.process.isalive())
    wait_for(None, lambda: waiting not in engines_of(folder))
    assert list(running(folder).values()) == ["digits-mlp"]
    assert set(engines_of(folder)) == set(running(folder))


def test_none_is_kept_where_none_is_wanted(folder: Path) -> None:
    """By the flag, by the environment, and of a run that was asked for without a view."""
    views = [opened(folder, *LONG, "--no-standby"), opened(folder, *LONG, standby=False)]
    headless = subprocess.Popen(
        [sys.executable, "-m", "eostui", *LONG, "--headless"], cwd=folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "EOSTUI_RUNS": str(folder / "runs"), "EOSTUI_NO_STANDBY": ""},
    )  # fmt: skip
    wait_for(views[0], lambda: len(running(folder)) == 3)
    views[0].read(4.0)
    assert set(engines_of(folder)) == set(running(folder))
    headless.terminate()
    headless.wait()
