"""Signals that come before the live view obeys any: nothing trains unseen, the terminal is given back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made import make_run
from terminal import Terminal

from eostui.cli.signals import NotedSignals
from eostui.runs.store.liveness import engine_alive

#: Sends itself a signal at one instant of its start, and leaves a note of the engine's process.
PROGRAM = """
import os, sys
from pathlib import Path
when, number = sys.argv[1], int(sys.argv[2])
sys.argv[1:] = sys.argv[3:]

def tell():
    os.kill(os.getpid(), number)

def after(owner, name):
    act = getattr(owner, name)
    def acting(*arguments, **named):
        answer = act(*arguments, **named)
        tell()
        return answer
    setattr(owner, name, acting)

class Finder:
    def find_spec(self, name, *_):
        if name == "eostui.tui.app":
            sys.meta_path.remove(self)
            arrange()

def arrange():
    if when == "imports":
        return tell()
    from eostui.runs.launch import EngineProcess
    from eostui.tui.screens.live import LiveScreen
    from textual.app import App
    from textual.drivers.linux_driver import LinuxDriver
    act = EngineProcess.__init__
    def acting(self, *arguments, **named):
        act(self, *arguments, **named)
        Path("engine").write_text(str(self._process.pid))
    EngineProcess.__init__ = acting
    if when == "takes the terminal":
        after(LinuxDriver, "start_application_mode")
    elif when == "composes":
        after(LiveScreen, "compose")
    else:
        after(App, "_ready")

sys.meta_path.insert(0, Finder())
from eostui.cli import main
main()
"""


@pytest.fixture(autouse=True)
def _ended_engines(tmp_path: Path) -> Iterator[None]:
    """An engine left alive by a failing test is killed."""
    yield
    for path in (tmp_path / "runs").glob("*"):
        if engine_alive(path):
            os.kill(int((path / "lock").read_text()), signal.SIGKILL)


def start(folder: Path, when: str, number: int, *arguments: str) -> Terminal:
    return Terminal(
        when, str(int(number)), *arguments, program=("-c", PROGRAM), cwd=folder,
        EOSTUI_RUNS=str(folder / "runs"),
    )  # fmt: skip


@pytest.mark.parametrize("when", ["imports", "takes the terminal", "composes", "is ready"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_view_opens(tmp_path: Path, when: str, number: int) -> None:
    """The code of the signal, no traceback, the terminal as it was."""
    make_run(tmp_path / "runs" / "made-abcd", 100)
    terminal = start(tmp_path, when, number, "attach", "abcd")
    assert terminal.exit_code() == 128 + number
    said = terminal.output.decode(errors="replace")
    assert "Traceback" not in said
    if when == "imports":
        assert f"stopped by {signal.Signals(number).name} before the view opened" in said
    else:
        assert terminal.restored


@pytest.mark.parametrize("when", ["imports", "takes the terminal", "is ready"])
def test_no_run_trains_that_nobody_saw(tmp_path: Path, when: str) -> None:
    """An engine that is on its way then ends, and leaves no run."""
    terminal = start(tmp_path, when, signal.SIGTERM, "run", "digits-mlp")
    assert terminal.exit_code() == 143
    assert "Traceback" not in terminal.output.decode(errors="replace")
    if (tmp_path / "engine").exists():
        status = Path("/proc") / (tmp_path / "engine").read_text() / "status"
        deadline = time.monotonic() + 20
        while status.exists() and "zombie" not in status.read_text():
            assert time.monotonic() < deadline, "the engine lives on"
            time.sleep(0.05)
    assert not list((tmp_path / "runs").glob("*"))


@pytest.mark.parametrize(
    "arguments", [("replay", "abcd", "--watch"), ("simulate", "oscillator-gx", "--live")]
)
def test_what_starts_no_engine_is_ended_too(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    make_run(tmp_path / "runs" / "made-abcd", 100)
    terminal = start(tmp_path, "imports", signal.SIGTERM, *arguments)
    assert terminal.exit_code() == 143
    assert b"before the view opened" in terminal.output


@pytest.mark.parametrize(
    ("sent", "stops"),
    [
        ((signal.SIGHUP, signal.SIGTERM), signal.SIGTERM),
        ((signal.SIGHUP, signal.SIGINT), signal.SIGINT),
        ((signal.SIGTERM, signal.SIGHUP), signal.SIGTERM),
        ((signal.SIGHUP, signal.SIGTERM, signal.SIGINT), signal.SIGTERM),
        ((signal.SIGHUP, signal.SIGHUP), 0),
    ],
)
def test_a_stop_wins_over_a_hang_up(sent: tuple[int, ...], stops: int) -> None:
    """In whichever order they come, and isn't undone."""
    with NotedSignals() as signals:
        for number in sent:
            signal.raise_signal(number)
    assert signals.stops == bool(stops)
    assert signals.number == (stops or signal.SIGHUP)


def test_a_run_that_is_hung_up_on_is_stopped_all_the_same(tmp_path: Path) -> None:
    """SIGHUP and then SIGTERM, before the run began: none is left to train."""
    process = subprocess.Popen(
        [sys.executable, "-m", "eostui", "run", "digits-mlp", "--headless"], cwd=tmp_path,
        env={**os.environ, "EOSTUI_RUNS": str(tmp_path / "runs")}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "PyTorch" in line:
            break
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert not list((tmp_path / "runs").glob("*"))
