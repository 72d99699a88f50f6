"""The live application in real pseudo-terminals, driven by keys as a person would."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from terminal import Terminal

import eostui
from eostui.config import RunConfig
from eostui.runs import shelf
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.writer import RunWriter

FIRST_POINTS = 90.0  # seconds: PyTorch's import on a busy machine


@pytest.fixture
def runs_dir(tmp_path: Path):
    """A shelf of its own; engines left alive by a failing test are stopped."""
    folder = tmp_path / "runs"
    yield folder
    for entry in shelf.entries(folder):
        if engine_alive(entry.path):
            os.kill(int((entry.path / "lock").read_text()), signal.SIGKILL)


def open_terminal(*arguments: str, runs_dir: Path, **options) -> Terminal:
    return Terminal(*arguments, cwd=runs_dir.parent, EOSTUI_RUNS=str(runs_dir), **options)


@pytest.fixture
def finished(runs_dir: Path) -> Path:
    """A run of 2000 steps with a bounce and one change of λ, written without an engine."""
    config = RunConfig.build({"preset": "made", "steps": 2000, "eta": 0.1}, "test")
    path = runs_dir / "made-abcd"
    writer = RunWriter(
        path,
        {
            "config": config.to_toml(), "created": str(time.time()), "status": "finished",
            "sentence": "finished after 2000 steps", "device": "cpu",
        },
    )  # fmt: skip
    t = np.arange(2001)
    decay = np.where(t < 1000, 0.0, 0.001)
    loss = np.exp(-t / 500) + 0.01 * (-1.0) ** t
    norm = 8 + t / 2000
    writer.steps(
        0, np.stack([loss, norm, norm, np.full(2001, 19.9), np.full(2001, 0.1), decay], axis=1)
    )
    for step in range(0, 2001, 25):
        writer.measurement(
            step,
            {
                "sharpness": 10 + 10 * (1 - np.exp(-step / 300)), "sharpness_residual": 1e-4,
                "eig_2": 9.0, "beta": 100.0, "beta_alpha": 1.0, "g": 50.0, "g_u": 0.1,
                "grad_norm": 0.1, "sharpness_gradient_u": 0.01, "gradient_u": 0.5,
            },
        )  # fmt: skip
    writer.event(0, "phase", {"from": None, "to": "sharpening", "step": 0, "why": "made so"})
    writer.event(800, "phase", {"from": "sharpening", "to": "edge", "step": 800, "why": "made so"})
    writer.event(1000, "control", {"weight_decay": [0.0, 0.001]})
    writer.close()
    return path


def test_a_session(runs_dir: Path) -> None:
    """Launch, watch a chart change, turn λ up, export, step presets, stop: all by keys."""
    terminal = open_terminal(runs_dir=runs_dir)
    terminal.wait_for("eostui|starting")
    terminal.wait_for(r"RUNNING +step (\d+ )?\d\d\d ", timeout=FIRST_POINTS)
    terminal.wait_for(r"S \d", r"2/η 13\.3")
    before = terminal.text.splitlines()[2:16]
    deadline = time.monotonic() + 60
    while terminal.text.splitlines()[2:16] == before:  # the charts move
        assert time.monotonic() < deadline, terminal.text
        terminal.read(0.1)
    terminal.send("}")
    terminal.wait_for("λ→0.0001", r"λ 0\.0001")
    terminal.read(0.5)
    terminal.send("x")
    terminal.wait_for("rows in")
    terminal.send("n")
    terminal.wait_for(r"digits-mlp-adamw.*RUNNING", timeout=FIRST_POINTS)
    terminal.send("q")
    terminal.wait_for("stop it")
    terminal.send("s")
    assert terminal.exit_code() == 0
    assert terminal.restored

    second, first = shelf.entries(runs_dir)
    assert (first.config.preset, first.state) == ("digits-mlp", "stopped")
    assert second.config.preset == "digits-mlp-adamw"
    with (runs_dir.parent / f"{first.id}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    decay = [float(row["weight_decay"]) for row in rows]
    assert set(decay) == {0.0, 1e-4}
    changed = decay.index(1e-4)
    assert decay == sorted(decay)
    assert changed > 100
    assert float(rows[changed]["stability_threshold"]) == pytest.approx(2 / 0.15 - 1e-4)


def test_a_run_outlives_its_viewer(runs_dir: Path) -> None:
    """Leaving keeps the run; kill −9 of the viewer too; attach comes back; stop ends it."""
    options = {"runs_dir": runs_dir}
    terminal = open_terminal("run", "digits-mlp", "--set", "steps=1000000", **options)
    terminal.wait_for(r"RUNNING +step \d", timeout=FIRST_POINTS)
    terminal.send("\x03")  # ctrl+c
    terminal.wait_for("keep it running")
    terminal.send("k")
    assert terminal.exit_code() == 0
    assert "goes on" in terminal.output.decode(errors="replace")
    (entry,) = shelf.entries(runs_dir)
    assert entry.state == "running"

    again = open_terminal("attach", **options)
    again.wait_for(r"RUNNING +step \d")
    again.process.kill(signal.SIGKILL)
    again.exit_code()
    seen = shelf.read_entry(entry.path).last_step
    time.sleep(1.0)
    assert shelf.read_entry(entry.path).last_step > seen

    command = [sys.executable, "-m", "eostui", "stop", "--runs-dir", str(runs_dir)]
    stopped = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert stopped.returncode == 0, stopped.stderr
    assert shelf.read_entry(entry.path).state == "stopped"


def test_steering_by_keys(runs_dir: Path) -> None:
    """Typed values, refusals, undo, pause and single steps act on the run and are its events."""
    terminal = open_terminal("run", "digits-mlp", "--set", "steps=1000000", runs_dir=runs_dir)
    terminal.wait_for(r"RUNNING +step \d", timeout=FIRST_POINTS)
    terminal.send("e")
    terminal.wait_for("learning rate η")
    terminal.send("nonsense\r")
    terminal.wait_for("isn't a number")
    for _ in "nonsense":  # one by one, as a person does: Textual loses keys that come in one read
        terminal.send("\x7f")
        terminal.read(0.05)
    terminal.send("2/100")
    terminal.wait_for("▊  2/100 ")
    terminal.send("\r")
    terminal.wait_for("η 0.02 ")
    terminal.send("w")
    terminal.wait_for("weight decay λ")
    terminal.send("-1\r")
    terminal.wait_for("must not be below 0")
    terminal.send("u")
    terminal.wait_for("η 0.15 ")
    terminal.send(" ")
    paused = int(terminal.wait_for(r"PAUSED +step ([\d ]+?)  ")[1].replace(" ", ""))
    terminal.send(".")
    terminal.wait_for(rf"PAUSED +step {paused + 1:,}".replace(",", " "))
    terminal.send(" ")
    terminal.wait_for("RUNNING")
    terminal.send("q")
    terminal.wait_for("stop it")
    terminal.send("s")
    assert terminal.exit_code() == 0
    (entry,) = shelf.entries(runs_dir)
    with eostui.open_run(entry.path) as run:
        kinds = [event.kind for event in run.events]
        controls = [event.payload for event in run.events if event.kind == "control"]
    assert controls == [{"eta": [0.15, 0.02]}, {"eta": [0.02, 0.15]}]
    assert kinds.index("paused") < kinds.index("resumed") < kinds.index("stopped")


def test_every_size(finished: Path) -> None:
    """120×40 shows four charts, 80×24 one with tabs, 20×5 the last values; back again too."""
    terminal = open_terminal("attach", "abcd", runs_dir=finished.parent)
    titles = ("sharpness S", "drives", "loss L", "‖θ‖", "holds for the theory")
    values = (r"made +EDGE.*FINISHED", r"S 20\.0", r"λ→0\.001", "Lλ ▲▼ [▲▼◆]{20}")
    terminal.wait_for(*titles, *values, "phase S{16}E{3,}")  # 0.4 of the 40 cells of a plot
    terminal.resize(80, 24)
    terminal.wait_for("1 sharpness  2 drives", without="loss L")
    terminal.send("3")
    # 0.4 of 60 cells
    terminal.wait_for("loss L", "holds ✓ one direction", "phase S{24}E")
    terminal.resize(80, 18)
    terminal.wait_for("EDGE", "Lλ ▲▼", without="phase")
    terminal.resize(20, 5)
    terminal.wait_for(r"S 20\.0", without="╭")
    terminal.resize(120, 40)
    terminal.wait_for("drives")
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_view_keys(finished: Path) -> None:
    """Scale, axis, zoom, pan, freeze, help, picture: each changes what is seen."""
    terminal = open_terminal("attach", "abcd", runs_dir=finished.parent)
    terminal.wait_for(r"S 20\.0")
    terminal.send("3y")
    terminal.wait_for("regularized Lλ ─")
    terminal.send("y")
    terminal.wait_for(r"\(log\)")
    terminal.send("t")
    terminal.wait_for(r" 200 ")  # flow time 0.1 × 2000
    terminal.send("t")
    terminal.wait_for(r" 2k ")
    terminal.send("++")
    terminal.wait_for(r"1\.8k")
    terminal.send("0z")
    terminal.wait_for("1 sharpness  2 drives")
    terminal.send("zv")
    terminal.wait_for("view frozen")
    terminal.send("?")
    terminal.wait_for("Training")
    terminal.send("\x1b")
    terminal.wait_for("drives")
    terminal.send("\x13")  # ctrl+s
    terminal.wait_for("picture in")
    picture = finished.parent.parent / "made-abcd-2000.svg"
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    terminal.send("q")
    assert terminal.exit_code() == 0


@pytest.mark.parametrize(("width", "height"), [(0, 0), (0, 24), (80, 0)])
def test_a_terminal_without_a_size(finished: Path, width: int, height: int) -> None:
    """It is taken for one of 80×24, is left in peace once it is drawn, and SIGTERM ends the viewer."""
    terminal = open_terminal(
        "attach", "abcd", runs_dir=finished.parent, width=width, height=height, screen=(80, 24)
    )
    terminal.wait_for("FINISHED")
    terminal.read(1.0)
    written = len(terminal.output)
    terminal.read(1.0)
    assert len(terminal.output) - written < 2000
    terminal.process.kill(signal.SIGTERM)
    assert terminal.exit_code() == 143
    assert terminal.restored


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_restore_the_terminal(finished: Path, number: int, code: int) -> None:
    """A signal leaves the terminal as it was, with the code of the signal."""
    terminal = open_terminal("attach", "abcd", runs_dir=finished.parent)
    terminal.wait_for("FINISHED")
    terminal.process.kill(number)
    assert terminal.exit_code() == code
    assert terminal.restored


def test_no_colour(finished: Path) -> None:
    """With NO_COLOR nothing is coloured but greys; patterns and labels tell the curves apart."""
    terminal = open_terminal("attach", "abcd", runs_dir=finished.parent, NO_COLOR="1")
    terminal.wait_for(r"S 20\.0", "phase S+E+")
    colours = set(re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", terminal.output))
    assert all(red == green == blue for red, green, blue in colours)
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_ascii(finished: Path) -> None:
    """With --ascii the charts hold no braille."""
    terminal = open_terminal("attach", "abcd", "--ascii", runs_dir=finished.parent)
    terminal.wait_for(r"S 20\.0", without="[⠀-⣿▲▼]")
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_the_viewer_has_no_torch(finished: Path) -> None:
    """The viewer's process maps no file of PyTorch."""
    terminal = open_terminal("attach", "abcd", runs_dir=finished.parent)
    terminal.wait_for(r"S 20\.0")
    maps = Path(f"/proc/{terminal.process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    assert "libtorch" not in maps.read_text()
    assert "numpy" in maps.read_text()
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_a_start_that_fails(runs_dir: Path) -> None:
    """A device that isn't there: the terminal is restored, one sentence, exit 2, nothing written."""
    terminal = open_terminal("run", "digits-mlp", "--device", "cuda:99", runs_dir=runs_dir)
    assert terminal.exit_code(FIRST_POINTS) == 2
    assert terminal.restored
    assert "`device` is" in terminal.output.decode(errors="replace")
    assert not runs_dir.exists() or not list(runs_dir.iterdir())


def test_without_a_terminal(tmp_path: Path) -> None:
    """No TTY: exit 2 and a hint, no escape sequences."""
    for arguments in ([], ["run", "digits-mlp"]):
        done = subprocess.run(
            [sys.executable, "-m", "eostui", *arguments],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False,
            env={**os.environ, "EOSTUI_RUNS": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 2
        assert "--headless" in done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_a_dead_terminal_ends_the_viewer(finished: Path) -> None:
    """When the other end closes, the viewer leaves within seconds instead of spinning."""
    terminal = open_terminal("attach", "abcd", runs_dir=finished.parent)
    terminal.wait_for("FINISHED")
    pid = terminal.process.pid
    terminal.hang_up()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("the viewer outlived its terminal by more than 5 s")
