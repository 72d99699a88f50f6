"""Leaving a run and coming back, by one viewer or several, through real pseudo-terminals."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made import make_fork, make_run
from terminal import Terminal

import eostui
from eostui import presets
from eostui.runs import commands, shelf
from eostui.runs.launch import EngineProcess
from eostui.runs.liveness import engine_alive

FIRST_POINTS = 90.0  # seconds: PyTorch's import on a busy machine


@pytest.fixture
def runs_dir(tmp_path: Path):
    """A shelf of its own; engines left alive by a failing test are stopped."""
    folder = tmp_path / "runs"
    yield folder
    for path in folder.glob("*"):
        if engine_alive(path):
            os.kill(int((path / "lock").read_text()), signal.SIGKILL)


@pytest.fixture
def live(runs_dir: Path) -> Path:
    """A run that goes on by itself, started without any viewer."""
    config = presets.load("digits-mlp").config.changed({"steps": 1_000_000})
    engine = EngineProcess(config, runs_dir, runs_dir.parent / "data")
    path = engine.ready(lambda _: None)
    engine.let_go()
    return path


@pytest.fixture
def open_terminal(runs_dir: Path):
    """Open terminals on the shelf; viewers left by a failing test are killed."""
    opened: list[Terminal] = []

    def open_one(*arguments: str, **options) -> Terminal:
        opened.append(
            Terminal(*arguments, cwd=runs_dir.parent, EOSTUI_RUNS=str(runs_dir), **options)
        )
        return opened[-1]

    yield open_one
    for terminal in opened:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(terminal.process.pid, signal.SIGKILL)
            os.waitpid(terminal.process.pid, 0)


Open = Callable[..., Terminal]


def grows(path: Path, timeout: float = 20.0) -> None:
    """Wait until the run has a newer row than now."""
    before = shelf.read_entry(path).last_step
    deadline = time.monotonic() + timeout
    while shelf.read_entry(path).last_step <= before:
        assert time.monotonic() < deadline, "the run stands still"
        time.sleep(0.05)


def ended(pid: int, timeout: float) -> int:
    """Wait for a child without a terminal; return its exit code, 128 + n for a signal n."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        time.sleep(0.02)
    raise AssertionError(f"it still runs after {timeout} s")


def cpu_seconds(pid: int) -> float:
    """Return how long a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_terminal_that_crashes(runs_dir: Path, open_terminal: Open) -> None:
    """Start in one terminal, lose it, attach from another: history, new rows, steering, the end."""
    first = open_terminal("run", "digits-mlp", "--set", "steps=1000000")
    first.wait_for(r"RUNNING +step \d", FIRST_POINTS)
    first.send("}")
    first.wait_for("λ→0.0001")
    first.hang_up()
    assert ended(first.process.pid, 5.0) == 129
    (entry,) = shelf.entries(runs_dir)
    assert entry.state == "running"
    grows(entry.path)

    second = open_terminal("attach")
    second.wait_for(r"RUNNING +step \d")
    second.wait_for("λ→0.0001")  # of before
    seen = int(second.wait_for(r"step ([\d ]+?)  ")[1].replace(" ", ""))
    grows(entry.path)
    second.send("]")
    second.wait_for("η 0.165")
    second.send("q")
    second.wait_for("stop it")
    second.send("s")
    assert second.exit_code() == 0
    assert second.restored
    stopped = _wait_for_state(entry.path, "stopped")
    assert stopped.last_step > seen
    with eostui.open_run(entry.path) as run:
        controls = [event.payload for event in run.events if event.kind == "control"]
    assert controls == [{"weight_decay": [0.0, 0.0001]}, {"eta": [0.15, 0.165]}]


def test_two_viewers_steer_one_run(live: Path, open_terminal: Open) -> None:
    """Each sees what the other changed; undo takes back only what its own viewer did."""
    one, two = open_terminal("attach"), open_terminal("attach", live.name)
    for terminal in (one, two):
        terminal.wait_for(r"RUNNING +step \d")
    one.send("}")
    for terminal in (one, two):
        terminal.wait_for("λ→0.0001")
        terminal.wait_for("λ 0.0001 ")
    two.send("]")
    for terminal in (one, two):
        terminal.wait_for("η 0.165 ")
    one.send("u")  # its own, not the newest
    for terminal in (one, two):
        terminal.wait_for("λ 0 ")
        assert "η 0.165 " in terminal.text
    one.send("u")
    one.wait_for("no change of η or λ to undo")
    two.send(" ")
    for terminal in (one, two):
        terminal.wait_for(r"PAUSED +step \d")
    one.send(" ")
    for terminal in (one, two):
        terminal.wait_for(r"RUNNING +step \d")
    two.send("q")
    two.wait_for("keep it running")
    two.send("k")
    assert two.exit_code() == 0
    commands.send(live, "stop")
    one.wait_for("STOPPED")
    one.send("q")
    assert one.exit_code() == 0


def test_viewers_killed_at_any_instant(live: Path, open_terminal: Open) -> None:
    """SIGKILL while they open, draw and steer: the engine never notices."""
    chance = random.Random(7)
    for attempt in range(6):
        terminal = open_terminal("attach", live.name)
        terminal.read(chance.uniform(0.0, 3.0))
        if attempt % 2:
            terminal.send("}{][ccu")
            terminal.read(chance.uniform(0.0, 0.3))
        terminal.process.kill(signal.SIGKILL)
        assert terminal.exit_code() == 137
        assert engine_alive(live)
        grows(live)
    commands.send(live, "stop")
    stopped = _wait_for_state(live, "stopped")
    assert stopped.sentence == f"stopped by its user at step {stopped.last_step}"
    with eostui.open_run(live) as run:
        assert (run.steps["step"] == np.arange(len(run.steps))).all()
        assert np.isfinite(run.steps["loss"]).all()


def test_a_dead_terminal_costs_nothing(runs_dir: Path, open_terminal: Open) -> None:
    """From the hang-up to its end a viewer computes for a moment, not all the time."""
    make_run(runs_dir / "made-aaaa", 500)
    terminal = open_terminal("attach", "aaaa")
    terminal.wait_for("FINISHED")
    pid = terminal.process.pid
    before = cpu_seconds(pid)
    terminal.hang_up()
    deadline = time.monotonic() + 5.0
    spent = before
    while time.monotonic() < deadline:
        with contextlib.suppress(ValueError, IndexError, OSError):
            spent = max(spent, cpu_seconds(pid))
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("the viewer outlived its terminal by more than 5 s")
    assert spent - before < 1.0


def test_nothing_is_live(runs_dir: Path) -> None:
    """The newest ended run is named, with the command that shows it; an empty shelf says so."""

    def attach() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "eostui", "attach", "--runs-dir", str(runs_dir)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    done = attach()
    assert (done.returncode, done.stdout) == (2, "")
    assert f"there is no run in {runs_dir}" in done.stderr
    make_run(runs_dir / "made-aaaa", 50)
    done = attach()
    assert (done.returncode, done.stdout) == (2, "")
    assert "the newest, made-aaaa, is finished: `eostui attach made-aaaa` shows it" in done.stderr


def test_a_directory_that_vanishes_while_it_is_shown(runs_dir: Path, open_terminal: Open) -> None:
    """Said in words, what was read stays; back again it is followed on."""
    path = make_run(runs_dir / "made-aaaa", 500)
    terminal = open_terminal("attach", "aaaa")
    terminal.wait_for("FINISHED")
    aside = path.rename(runs_dir / "aside")
    terminal.wait_for("GONE")
    terminal.wait_for("what was read of it")
    assert re.search(r"S 10\.0", terminal.text)
    terminal.send("x")  # there is nothing to export: a sentence, no crash
    terminal.wait_for("not a run")
    aside.rename(path)
    terminal.wait_for("FINISHED")
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_an_engine_that_is_killed_and_a_run_that_is_gone_on_with(
    live: Path, open_terminal: Open
) -> None:
    """Interrupted is told; R goes on from where it was, and the other viewer follows too."""
    one, two = open_terminal("attach", live.name), open_terminal("attach", live.name)
    for terminal in (one, two):
        terminal.wait_for(r"RUNNING +step \d")
    os.kill(int((live / "lock").read_text()), signal.SIGKILL)
    for terminal in (one, two):
        terminal.wait_for("INTERRUPTED")
        terminal.wait_for("its engine is gone")
    before = shelf.read_entry(live).last_step
    one.send("}")
    one.wait_for("R resumes it")
    one.send("R")
    for terminal in (one, two):
        terminal.wait_for(r"RUNNING +step \d", FIRST_POINTS)
        terminal.wait_for("goes on at step")
    grows(live)
    assert shelf.read_entry(live).last_step > before
    one.send("R")
    one.wait_for("this run is live")
    commands.send(live, "stop")
    for terminal in (one, two):
        terminal.wait_for("STOPPED")
        terminal.send("q")
        assert terminal.exit_code() == 0


def test_a_fork_by_two_keys(live: Path, runs_dir: Path, open_terminal: Open) -> None:
    """f, enter: λ → 0 from here, beside its parent, which goes on."""
    commands.send(live, "set", weight_decay=1e-3)
    terminal = open_terminal("attach", live.name)
    terminal.wait_for("λ→0.001")
    terminal.send("f")
    at = int(terminal.wait_for(r"λ → 0 from step ([\d ]+) on")[1].replace(" ", ""))
    terminal.send("\r")
    terminal.wait_for("fork λ→0", FIRST_POINTS)
    terminal.wait_for(rf"··· parent {live.name[-4:]} from step")
    terminal.wait_for("·S ")
    child, parent = shelf.entries(runs_dir)
    assert parent.path == live
    assert parent.state == child.state == "running"
    terminal.send("o")
    terminal.read(1.0)
    assert "···" not in terminal.text
    terminal.send("q")
    terminal.wait_for("stop it")
    terminal.send("s")
    assert terminal.exit_code() == 0
    commands.send(live, "stop")
    _wait_for_state(child.path, "stopped")
    _wait_for_state(live, "stopped")
    with eostui.open_run(child.path) as run, eostui.open_run(live) as whole:
        assert (run.facts["parent"], run.facts["parent_step"]) == (live.name, str(at))
        assert (run.steps["loss"][:at] == whole.steps["loss"][:at]).all()
        assert (run.steps["weight_decay"][at:] == 0).all()
        assert (whole.steps["weight_decay"][at:] == 1e-3).all()


def test_a_fork_with_other_values(runs_dir: Path, open_terminal: Open) -> None:
    """Values are typed as fractions; what can't be is said in the dialog, or by the engine's side."""
    make_fork(runs_dir / "made-bbbb", "made-aaaa", 20, 50)
    terminal = open_terminal("attach", "bbbb")
    terminal.wait_for("FINISHED")
    terminal.send("f")
    terminal.wait_for("fork made-bbbb")
    assert "λ → 0 from" not in terminal.text  # it is 0 already
    for _ in range(8):
        terminal.send("\x7f")
        terminal.read(0.05)
    terminal.send("2/1oo\r")
    terminal.wait_for("isn't a number")
    terminal.send("\x1b")
    terminal.wait_for("FINISHED")
    terminal.read(0.5)
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_overlay_by_keys(runs_dir: Path, open_terminal: Open) -> None:
    """o offers the other runs, draws one under this one, and takes it away again."""
    make_run(runs_dir / "made-aaaa", 500)
    make_run(runs_dir / "made-cccc", 300)
    terminal = open_terminal("attach", "cccc")
    terminal.wait_for("FINISHED")
    terminal.wait_for(r"S 10\.0")
    terminal.send("o")
    terminal.wait_for("draw under this run")
    terminal.wait_for("made-aaaa")
    terminal.send("\r")
    terminal.wait_for("··· run aaaa")
    terminal.send("o")
    terminal.read(1.0)
    assert "···" not in terminal.text
    terminal.send("q")
    assert terminal.exit_code() == 0


def _wait_for_state(path: Path, state: str, timeout: float = 30.0) -> shelf.Entry:
    deadline = time.monotonic() + timeout
    while (entry := shelf.read_entry(path)).state != state or engine_alive(path):
        assert time.monotonic() < deadline, f"{path.name} is {entry.state}, not {state}"
        time.sleep(0.05)
    return entry
