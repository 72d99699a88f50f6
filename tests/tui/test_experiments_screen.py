"""The experiments screen: how each stands, its members on the Sweep screen, and one really run."""

from __future__ import annotations

import json
import os
import signal

import pytest
import summarised
from made import make_run
from shown import on_screen, screen_text

from eostui.experiments.experiment import load
from eostui.experiments.results import judge
from eostui.runs.store.liveness import engine_alive
from eostui.sweeps.shelf import sweeps_of
from eostui.sweeps.sweep import Claim, Sweep
from eostui.tui.screens.dialogs import ChoiceDialog
from eostui.tui.screens.experiments import ExperimentsScreen
from eostui.tui.screens.sweep import SweepScreen

TINY = """# A member that takes a moment.
preset = "toy-diagonal-net"

[set]
steps = 40
probes = ["diagonal_net"]

[axes]
eta = [0.001]
"""
MINE = """# Below the edge the imbalance grows.
paper = "mine"
figure = "Fig. 1"
claim = "It grows."
twin = "./tiny.toml"

[columns.least_growth]
of = "imbalance_growth"
take = "least"

[[criteria]]
says = "it grows at every step"
reading = "least"
arguments = { column = "least_growth" }
must_be = "above"
value = 1.0
"""


async def until(pilot, holds, what="it", seconds=10.0):
    """Wait until something holds, of what comes in the background."""
    for _ in range(int(seconds / 0.05)):
        if holds():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"{what} in vain:\n{screen_text(pilot.app)[:5000]}")


@pytest.fixture
def shelf(tmp_path):
    """A shelf with a judged experiment of WD, whose members' records are made."""
    folder = tmp_path / "runs"
    make_run(folder / "other", 100)
    experiment = load("wd-fig4-mlp")
    sweep = Sweep.create(folder, experiment.plan(), "", "made")
    for member in sweep.members:
        summarised.make(member.path, member.config.weight_decay, member.config.seed, group=sweep.id)
    judge(experiment, sweep)
    return folder


@pytest.mark.parametrize("size", [(120, 40), (20, 10)])
def test_experiments_with_their_states_and_enter_shows_the_members(shelf, size):
    async def check(app, pilot):
        await pilot.press("f8")
        assert isinstance(app.screen, ExperimentsScreen)
        await until(pilot, lambda: "wd-a3" in screen_text(app), "the list")
        if size == (120, 40):
            assert "never run" in screen_text(app)
            assert "1 undecided" in screen_text(app)
        await pilot.press(*"/fig4-mlp", "enter")
        await until(pilot, lambda: "wd-a3" not in screen_text(app), "the filter")
        if size == (120, 40):
            shown = screen_text(app)
            assert "5 of 5" in shown
            assert "-0.3, must be below -0.1, margin 0.02" in shown
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen), "its members")
        assert app.session.sweep.path == sweeps_of(shelf)[0]

    on_screen(shelf / "other", check, size)


def test_one_that_was_never_run_says_its_command_and_nothing_starts_unasked(shelf):
    async def check(app, pilot):
        await pilot.press("f8")
        await until(pilot, lambda: "wd-a3" in screen_text(app), "the list")
        await pilot.press(*"/wd-a3", "enter")
        await until(pilot, lambda: "wd-a4" not in screen_text(app), "the filter")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog), "the question")
        assert "eostui reproduce wd-a3" in screen_text(app)
        assert "20 members, 240 000 steps" in screen_text(app)
        await pilot.press("escape")
        assert isinstance(app.screen, ExperimentsScreen)
        await pilot.press("s", "escape")  # sorts, that is all
        assert len(sweeps_of(shelf)) == 1

    on_screen(shelf / "other", check)


def test_one_that_began_elsewhere_while_the_question_stood_open_is_shown(tmp_path, monkeypatch):
    """No second sweep of the same members is made."""
    folder, own = tmp_path / "runs", tmp_path / "settings" / "presets" / "experiments"
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path / "settings"))
    own.mkdir(parents=True)
    (own / "tiny.toml").write_text(TINY)
    (own / "mine.toml").write_text(MINE)
    make_run(folder / "other", 100)

    async def check(app, pilot):
        await pilot.press("f8")
        await until(pilot, lambda: "wd-a3" in screen_text(app), "the list")
        await pilot.press(*"/paper:mine", "enter")
        await until(pilot, lambda: "It grows." in screen_text(app), "the filter")
        await pilot.press("g")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog), "the question")
        sweep = Sweep.create(folder, load("mine").plan())
        claim = Claim(sweep.path)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen), "its members")
        assert sweeps_of(folder) == [app.session.sweep.path] == [sweep.path]
        claim.release()

    on_screen(folder / "other", check)


def test_one_is_run_from_the_list_watched_and_judged(tmp_path, monkeypatch):
    """By the program itself, in a process of its own; then the list has its verdict."""
    folder, own = tmp_path / "runs", tmp_path / "settings" / "presets" / "experiments"
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path / "settings"))
    own.mkdir(parents=True)
    (own / "tiny.toml").write_text(TINY)  # no experiment: told in its row, and hides none
    (own / "mine.toml").write_text(MINE)
    make_run(folder / "other", 100)

    async def check(app, pilot):
        await pilot.press("f8")
        await until(pilot, lambda: "wd-a3" in screen_text(app), "the list")
        await pilot.press(*"/paper:mine", "enter")
        await until(pilot, lambda: "It grows." in screen_text(app), "the filter")
        await pilot.press("g", "s")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen), "its members")
        (path,) = sweeps_of(folder)
        kept = path / "experiment-mine.json"
        await until(pilot, kept.exists, "the verdict", 100)
        assert json.loads(kept.read_text())["verdict"] == "agrees"
        await pilot.press("f8")
        await until(pilot, lambda: "agrees" in screen_text(app), "its row")
        assert "1 of 1" in screen_text(app)

    try:
        on_screen(folder / "other", check)
    finally:
        for path in folder.iterdir():
            if engine_alive(path):
                os.kill(int((path / "lock").read_text()), signal.SIGKILL)
