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
from eostui.runs import shelf
from eostui.runs.launch import EngineProcess
from eostui.runs.store import commands
from eostui.runs.store.liveness import engine_alive

FIRST_POINTS = 90.0  # seconds: PyTorch's import on a busy machine


@pytest.fixture
def runs_dir(tmp_path: Path):
    """A shelf of its own; engines left alive by a failing test are stopped."""
    folder = tmp_path / "runs"
    yield folder
    kill_engines(folder)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory):
    """A run that goes on by itself, started without any viewer, alone on its shelf at first.

    Several tests share it, for PyTorch takes seconds to load: each leaves it running.
    """
    folder = tmp_path_factory.mktemp("live") / "runs"
    config = presets.load("digits-mlp").config.changed({"steps": 1_000_000})
    engine = EngineProcess(config, folder, folder.parent / "data")
    path = engine.ready(lambda _: None)
    engine.let_go()
    yield path
    kill_engines(folder)


def kill_engines(folder: Path) -> None:
    """Kill the engines of a shelf's runs."""
    for path in folder.glob("*"):
        if engine_alive(path):
            os.kill(int((path / "lock").read_text()), signal.SIGKILL)


@pytest.fixture
def open_terminal():
    """Open terminals on the shelf; viewers left by a failing test are killed."""
    opened: list[Terminal] = []

    def open_one(folder: Path, *arguments: str, **options) -> Terminal:
        opened.append(Terminal(*arguments, cwd=folder.parent, EOSTUI_RUNS=str(folder), **options))
        return opened[-1]

    yield open_one
    for terminal in opened:
        with contextlib.suppress(ProcessLookupError):
            os.kill(terminal.process.pid, signal.SIGKILL)
        if not terminal.process.closed:
            terminal.process.close(
                force=True
            )  # whoever reads all open terminals must know of its end
            continue
        with contextlib.suppress(ChildProcessError):
            os.waitpid(terminal.process.pid, 0)


Open = Callable[..., Terminal]


def grows(path: Path, timeout: float = 20.0) -> None:
    """Wait until the run has a newer row than now."""
    before = shelf.read_entry(path).last_step
    deadline = time.monotonic() + timeout
    while shelf.read_entry(path).last_step <= before:
        assert time.monotonic() < deadline, "the run stands still"
        time.sleep(0.05)


def wait_for_word(terminal: Terminal, word: str, timeout: float = 20.0) -> None:
    """Wait until the viewer has said a word, if only for seconds: while another terminal was read."""
    deadline = time.monotonic() + timeout
    while word.encode() not in terminal.output:
        assert time.monotonic() < deadline, f"{word!r} wasn't said:\n{terminal.text}"
        terminal.read()


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
    first = open_terminal(runs_dir, "run", "digits-mlp", "--set", "steps=1000000")
    first.wait_for(r"RUNNING +step \d", timeout=FIRST_POINTS)
    first.send("}")
    first.wait_for("λ→0.0001")
    first.hang_up()
    assert ended(first.process.pid, 5.0) == 129
    (entry,) = shelf.entries(runs_dir)
    assert entry.state == "running"
    grows(entry.path)

    second = open_terminal(runs_dir, "attach")
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
    one, two = open_terminal(live.parent, "attach"), open_terminal(live.parent, "attach", live.name)
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
        terminal.wait_for("λ 0 ", "η 0.165 ")
    one.send("u")
    one.wait_for("no change of a control to undo")
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
    one.send("q")
    one.wait_for("keep it running")
    one.send("k")
    assert one.exit_code() == 0
    commands.send(live, "set", eta=0.15)


def test_a_dead_terminal_costs_nothing(runs_dir: Path, open_terminal: Open) -> None:
    """From the hang-up to its end a viewer computes for a moment, not all the time."""
    make_run(runs_dir / "made-aaaa", 500)
    terminal = open_terminal(runs_dir, "attach", "aaaa")
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


def test_nothing_is_live(runs_dir: Path, open_terminal: Open) -> None:
    """The newest run is shown, as help says; an empty shelf is told."""
    done = subprocess.run(
        [sys.executable, "-m", "eostui", "attach", "--runs-dir", str(runs_dir)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert f"there is no run in {runs_dir}" in done.stderr
    make_run(runs_dir / "made-aaaa", 50, created="1000")
    make_run(runs_dir / "made-bbbb", 50, created="2000")
    terminal = open_terminal(runs_dir, "attach")
    terminal.wait_for("FINISHED", "run bbbb")


def test_a_directory_that_vanishes_while_it_is_shown(runs_dir: Path, open_terminal: Open) -> None:
    """Said in words, what was read stays; back again it is followed on."""
    path = make_run(runs_dir / "made-aaaa", 500)
    terminal = open_terminal(runs_dir, "attach", "aaaa")
    terminal.wait_for("FINISHED", r"S 10\.0")
    aside = path.rename(runs_dir / "aside")
    # a word of its sentence, which a long path breaks anywhere
    terminal.wait_for("GONE", "gone;", r"S 10\.0")
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
    one, two = (
        open_terminal(live.parent, "attach", live.name),
        open_terminal(live.parent, "attach", live.name),
    )
    for terminal in (one, two):
        terminal.wait_for(r"RUNNING +step \d")
    os.kill(int((live / "lock").read_text()), signal.SIGKILL)
    for terminal in (one, two):
        terminal.wait_for("INTERRUPTED")
        wait_for_word(terminal, "its engine is gone")
    before = shelf.read_entry(live).last_step
    one.send("}")
    one.wait_for("R resumes it")
    one.send("R")
    for terminal in (one, two):
        terminal.wait_for(r"RUNNING +step \d", timeout=FIRST_POINTS)
        wait_for_word(terminal, "goes on at step")
    grows(live)
    assert shelf.read_entry(live).last_step > before
    one.send("R")
    one.wait_for("this run is running")
    for terminal in (one, two):
        terminal.send("q")
        terminal.wait_for("keep it running")
        terminal.send("k")
        assert terminal.exit_code() == 0


def test_a_fork_by_two_keys(live: Path, open_terminal: Open) -> None:
    """f, enter: λ → 0 from here, beside its parent, which goes on."""
    commands.send(live, "set", weight_decay=1e-3)
    terminal = open_terminal(live.parent, "attach", live.name)
    terminal.wait_for("λ→0.001")
    terminal.send("f")
    at = int(terminal.wait_for(r"λ → 0 from step ([\d ]+) on")[1].replace(" ", ""))
    terminal.send("\r")
    terminal.wait_for("fork λ→0", timeout=FIRST_POINTS)
    terminal.wait_for(rf"··· parent {live.name[-4:]} · from step")
    terminal.wait_for("·S ")
    child, parent = shelf.entries(live.parent)
    assert parent.path == live
    assert parent.state == child.state == "running"
    terminal.send("o")
    terminal.wait_for("RUNNING", without="···")
    terminal.send("q")
    terminal.wait_for("stop it")
    terminal.send("s")
    assert terminal.exit_code() == 0
    _wait_for_state(child.path, "stopped")
    assert engine_alive(live)
    with eostui.open_run(child.path) as run, eostui.open_run(live) as whole:
        assert (run.facts["parent"], run.facts["parent_step"]) == (live.name, str(at))
        assert (run.steps["loss"][:at] == whole.steps["loss"][:at]).all()
        assert (run.steps["weight_decay"][at:] == 0).all()
        assert (whole.steps["weight_decay"][at:] == 1e-3).all()
        assert whole.last_step > at


def test_viewers_killed_at_any_instant(live: Path, open_terminal: Open) -> None:
    """SIGKILL while they open, draw and steer: the engine never notices, and ends as usual."""
    chance = random.Random(7)
    for attempt in range(6):
        terminal = open_terminal(live.parent, "attach", live.name)
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


def test_a_fork_with_other_values(runs_dir: Path, open_terminal: Open) -> None:
    """Values are typed as fractions; what can't be is said in the dialog, or by the engine's side."""
    make_fork(runs_dir / "made-bbbb", "made-aaaa", 20, 50)
    terminal = open_terminal(runs_dir, "attach", "bbbb")
    terminal.wait_for("FINISHED")
    terminal.send("f")
    terminal.wait_for("fork made-bbbb", without="λ → 0 from")  # it is 0 already
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
    terminal = open_terminal(runs_dir, "attach", "cccc")
    terminal.wait_for("FINISHED")
    terminal.wait_for(r"S 10\.0")
    terminal.send("o")
    terminal.wait_for("draw under this run")
    terminal.wait_for("made-aaaa")
    terminal.send("\r")
    terminal.wait_for("··· run aaaa")
    terminal.send("o")
    terminal.wait_for("FINISHED", without="···")
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_playing_a_record_back(runs_dir: Path, open_terminal: Open) -> None:
    """replay --watch: held, scrubbed, sped up, to its ends; keys of the training say why not."""
    make_run(runs_dir / "made-aaaa", 1000)
    terminal = open_terminal(runs_dir, "replay", "aaaa", "--watch", "--speed", "50")
    terminal.wait_for(r"PLAYING +step \d+ +of 1 000 +plays 50")
    terminal.wait_for("space hold")
    terminal.send(" ")
    held = int(terminal.wait_for(r"HELD +step (\d+) ")[1])
    terminal.send("\x1b[C")  # →
    terminal.wait_for(rf"HELD +step {held + 20} ")
    terminal.send("\x1b[D")  # ←
    terminal.wait_for(rf"HELD +step {held} ")
    terminal.send(".")
    terminal.wait_for(rf"HELD +step {held + 1} ")
    terminal.send(">")
    terminal.wait_for("plays 100")
    terminal.send("\x1b[F")  # end
    terminal.wait_for(r"HELD +step 1 000 ")
    terminal.send("\x1b[H")  # home
    terminal.wait_for(r"HELD +step 0 ")
    for key in "]fnR":
        terminal.send(key)
        terminal.wait_for("a playback can't be steered")
        terminal.send("\x1b")
        terminal.read(0.2)
    terminal.send("q")
    assert terminal.exit_code() == 0
    assert [entry.id for entry in shelf.entries(runs_dir)] == ["made-aaaa"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--speed", "50"), "--speed is for --watch"),
        (("--watch", "--speed", "0"), "--speed is 0, but must be above 0"),
        (("--watch", "--speed", "nan"), "--speed is nan, but must be above 0"),
        (("--watch",), "needs a terminal"),
    ],
)
def test_what_a_playback_refuses(runs_dir: Path, arguments: tuple[str, ...], sentence: str) -> None:
    make_run(runs_dir / "made-aaaa", 50)
    done = subprocess.run(
        [sys.executable, "-m", "eostui", "replay", *arguments, "--runs-dir", str(runs_dir)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_code_named_by_a_run_is_not_executed(runs_dir: Path, open_terminal: Open) -> None:
    """Neither r, R nor f run what a run directory names, when it was only opened."""
    trap = runs_dir.parent / "trap.py"
    trap.write_text("open('sprung', 'w')\n")
    path = make_run(runs_dir / "made-aaaa", 50, problem=f"{trap}:make")
    terminal = open_terminal(runs_dir, "attach", path.name)
    terminal.wait_for("FINISHED")
    terminal.send("r")
    terminal.wait_for("would execute")
    terminal.send("x")
    terminal.read(0.5)
    terminal.send("f")
    terminal.wait_for("steps in all")
    terminal.send("\r")
    terminal.wait_for("would execute")
    terminal.send("x")
    terminal.read(0.5)
    terminal.send("q")
    assert terminal.exit_code() == 0
    assert not (runs_dir.parent / "sprung").exists()
    assert [entry.id for entry in shelf.entries(runs_dir)] == ["made-aaaa"]


def test_a_run_is_saved_as_a_preset(runs_dir: Path, open_terminal: Open) -> None:
    """S asks for a name; a name that can't be is said in words, not taken as markup."""
    make_fork(runs_dir / "made-bbbb", "made-aaaa", 20, 50)
    saved = runs_dir.parent / "settings"
    terminal = open_terminal(runs_dir, "attach", "bbbb", EOSTUI_SETTINGS=str(saved))
    terminal.wait_for("FINISHED")
    terminal.send("S")
    terminal.wait_for("made-steered")
    terminal.send("[/b]\r")
    terminal.wait_for("can't name a preset")
    terminal.send("S")
    terminal.wait_for("made-steered")
    terminal.send("again\r")
    terminal.wait_for("preset in")
    terminal.send("q")
    assert terminal.exit_code() == 0
    (file,) = saved.rglob("again.toml")
    config = presets.load(str(file)).config
    assert [(change.step, change.values()) for change in config.controls] == [
        (20, {"weight_decay": 0.0})
    ]


def test_typed_brackets_are_no_markup(runs_dir: Path, open_terminal: Open) -> None:
    """What is typed into a dialog comes back in its complaint as it is."""
    make_fork(runs_dir / "made-bbbb", "made-aaaa", 20, 50)
    terminal = open_terminal(runs_dir, "attach", "bbbb")
    terminal.wait_for("FINISHED")
    terminal.send("f")
    terminal.wait_for("steps in all")
    terminal.send("[/x]\r")
    terminal.wait_for(re.escape("[/x]") + ".*isn't a number")
    terminal.send("\x1b")
    terminal.read(0.5)
    terminal.send("q")
    assert terminal.exit_code() == 0


def _wait_for_state(path: Path, state: str, timeout: float = 30.0) -> shelf.Entry:
    deadline = time.monotonic() + timeout
    while (entry := shelf.read_entry(path)).state != state or engine_alive(path):
        assert time.monotonic() < deadline, f"{path.name} is {entry.state}, not {state}"
        time.sleep(0.05)
    return entry
