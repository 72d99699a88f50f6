"""`eostui attach SWEEP` in real terminals, over a real sweep of toys."""

from __future__ import annotations

import os
import signal

import pytest
from sweep_runs import call, done, program, sweep_on, wait_for_states
from terminal import Terminal

from eostui.sweeps.shelf import at_work

#: Four members of a toy.
TOYS = "toy-two-layer --weight-decay 0,1e-3 --eta 0.05,0.1"


def attached(folder, name, width=120, height=40):
    return Terminal(
        "attach", name, "--no-standby", cwd=folder.parent, width=width, height=height,
        EOSTUI_RUNS=str(folder), OMP_NUM_THREADS="1",
    )  # fmt: skip


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    call(folder, f"sweep {TOYS} --steps 300 --name toys --workers 2")
    return folder


def test_an_ended_sweep_is_shown_whole_and_a_member_opens(ended):
    terminal = attached(ended, "toys")
    terminal.wait_for(r"SWEEP +toys +by η, λ +4 of 4 done", r"4 members", r"λ\\η +0\.05 +0\.1")
    terminal.wait_for(r"000 +0\.05 +0 +finished +██████ 300", r"003 +0\.1 +0\.001 +finished")
    terminal.wait_for(r"what differs +● η 0\.05, λ 0 ")
    terminal.send("\x1b[B\r")
    terminal.wait_for(r"step 300", r"\.001\b", without="SWEEP")
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_a_small_terminal_shows_one_of_it_at_a_time(ended):
    terminal = attached(ended, "toys", 80, 24)
    terminal.wait_for(
        r"1 curves  2 rest  3 drives  4 losses  5 members  6 map", without="000 +0.05"
    )
    terminal.send("5")
    terminal.wait_for(r"4 members", r"000 +0\.05 +0 +finished", without=r"λ\\η")
    terminal.send("6")
    terminal.wait_for(r"λ\\η +0\.05 +0\.1", without="4 members")
    terminal.send("m")
    terminal.wait_for(r"phases +\w \w+")
    terminal.resize(120, 40)
    terminal.wait_for("4 members", r"λ\\η", "drives: g over")
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_a_sweep_is_watched_stopped_and_gone_on_with(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    process = program(folder, f"sweep {TOYS} --steps 1000000 --name long --workers 1")
    try:
        sweep = sweep_on(folder)
        terminal = attached(folder, "long")
        terminal.wait_for(r"SWEEP +long .*at work", r"000 +0\.05 +0 +running", r"waiting")
        terminal.send("p")
        terminal.wait_for("members save and stop")
        done(process, 1)
        terminal.wait_for(r"stopped: p goes on", r"000 +0\.05 +0 +stopped")
        terminal.send("p")
        terminal.wait_for(r"at work", r"000 +0\.05 +0 +running")
        terminal.send("q")
        assert terminal.exit_code() == 0
        assert at_work(sweep.path)  # it goes on without anybody who looks
        call(folder, "stop long")
        states = wait_for_states(sweep, "stopped", "waiting")
        assert states[0].state == "stopped"
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)


def test_without_a_terminal_it_says_what_does_as_much(ended):
    _, err = call(ended, "attach toys", 2)
    assert "`eostui plot SWEEP`" in err
