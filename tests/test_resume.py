"""Runs that are killed and gone on with, forked and repeated: the same to the bit."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace

import numpy as np
import pytest
from engines import Engine, assert_same_rows, derived, entry, small
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.errors import InputError
from eostui.runs import checkpoints
from eostui.runs.branch import copy_history
from eostui.runs.launch import Fork, Resume, StartError
from eostui.runs.reader import facts_of
from eostui.runs.run import Run
from eostui.runs.writer import RunWriter

STEPS = 6000
ENDLESS = 10**6
STEERED = [
    ("set", {"weight_decay": 0.01}),
    ("set", {"eta": 0.2}),
    ("calibrate", {}),
    ("set", {"eta": 0.15, "weight_decay": 0.0}),
]


def steer(engine: Engine) -> int:
    """Change η and λ and calibrate, twenty steps and more apart; return the last change's step."""
    step = 0
    for kind, arguments in STEERED:
        engine.reaches(step + 20)
        step = engine.asks(kind, **arguments)
    engine.reaches(step + 60)
    return step


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def reference(folder):
    """A run that nobody disturbs."""
    engine = Engine(small(steps=STEPS, calibrate_at="auto"), folder)
    assert engine.ended() == 0
    return engine.path


@pytest.fixture(scope="module")
def networks(folder):
    """An MLP and a CNN, each steered while it runs, and stopped; and the last change's step."""
    engines = {
        "mlp": Engine(small(steps=ENDLESS), folder),
        "cnn": Engine(small(steps=ENDLESS, network="cnn", channels=[4], eta=0.1), folder),
    }
    found = {}
    for name, engine in engines.items():
        found[name] = engine.path, steer(engine)
        engine.asks("stop")
        assert engine.ended() == 0
    return found


def kill_and_resume(folder, reference, kills: int, seed: int) -> None:
    """Kill engines at random instants; the record is sound each time, and complete in the end."""
    instants = random.Random(seed)
    config = small(steps=STEPS, calibrate_at="auto")
    engine, killed, repeated = Engine(config, folder), 0, 0
    while True:
        time.sleep(instants.uniform(0, 0.8))
        if engine.process.wait(0) is None and killed < kills:
            engine.kill()
            killed += 1
            assert entry(engine.path).state == "interrupted"
            assert_same_rows(engine.path, reference)
        else:
            assert engine.ended() == 0
            with Run(engine.path) as run:
                told = [event.payload for event in run.events if event.kind == "continued"]
            assert all(payload["identical"] for payload in told), told
            repeated += len(told)
            assert_same_rows(engine.path, reference, whole=True)
            assert derived(engine.path) == derived(reference)
            if killed == kills:
                break
            engine = Engine(config, folder)
            continue
        engine = Engine(Resume(entry(engine.path)), folder)
    assert repeated >= kills / 2


def test_a_killed_engine_is_gone_on_with(folder, reference):
    kill_and_resume(folder, reference, kills=8, seed=1)


@pytest.mark.slow
def test_an_engine_killed_fifty_times(folder, reference):
    kill_and_resume(folder, reference, kills=50, seed=2)


def test_steering_is_repeated_too(folder):
    """Killed after control changes and a calibration, with no checkpoint but from before them."""
    engine = Engine(small(steps=ENDLESS), folder)
    engine.reaches(30)
    early = engine.asks("checkpoint")
    last = steer(engine)
    engine.kill()
    path = engine.path
    with Run(path) as run:
        before = run.columns()
        asked = [(e.step, e.payload) for e in run.events if e.kind == "control"]
    assert len(asked) == 3
    for file in checkpoints.files(path):
        if file.step > early:
            file.path.unlink()
    engine = Engine(Resume(entry(path), steps=len(before["step"]) + 100), folder)
    assert engine.ended() == 0
    with Run(path) as run:
        told = [event.payload for event in run.events if event.kind == "continued"]
        after = run.columns()
        assert [(e.step, e.payload) for e in run.events if e.kind == "control"] == asked
        assert run.last_step == len(before["step"]) + 100 > last
        assert run.calibrations.rows["calibration"].max() == 1
    assert told[0]["identical"], told
    assert told[0]["from"] <= early
    for name, column in before.items():
        np.testing.assert_array_equal(after[name][: len(column) - 1], column[:-1], name)
    assert CliRunner().invoke(app, ["replay", str(path)]).exit_code == 0


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_replay_is_the_same(networks, name):
    path, _ = networks[name]
    done = CliRunner().invoke(app, ["replay", str(path), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["identical"]
    with Run(path) as run:
        assert len([event for event in run.events if event.kind == "control"]) == 3
        assert told["last_step"] == run.last_step
        assert told["measurements"] == len(run.measured)


def test_a_replay_finds_what_was_changed(networks, folder):
    """One bit of one number of a run's copy, with its checksums made right again."""
    source, _ = networks["mlp"]
    copy = folder / "forged"
    writer = RunWriter(copy, facts_of(source))
    taken = writer.steps

    def forge(first, matrix):
        if first <= 70 < first + len(matrix):
            matrix = matrix.copy()
            matrix[70 - first, 1] = np.nextafter(matrix[70 - first, 1], 9.0)
        taken(first, matrix)

    writer.steps = forge
    everything = checkpoints.Checkpoint(ENDLESS, ENDLESS, {}, {"recorder.calibration": 9})
    copy_history(source, writer, everything, "raw")
    writer.close()
    done = CliRunner().invoke(app, ["replay", str(copy)])
    assert done.exit_code == 1
    assert "step 70: theta_norm was" in done.stdout
    told = json.loads(CliRunner().invoke(app, ["replay", str(copy), "--json"]).stdout)
    assert [difference["what"] for difference in told["differences"]] == ["theta_norm"]


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_fork_is_its_parent_until_it_is_changed(networks, folder, name):
    """Unchanged, a fork after the last control change repeats its parent; changed, it parts there."""
    path, last = networks[name]
    parent, at = entry(path), last + 31
    same = Engine(Fork(parent, at, {"steps": parent.last_step}), folder)
    other = Engine(Fork(parent, at, {"weight_decay": 0.02, "steps": at + 50}), folder)
    assert [same.ended(), other.ended()] == [0, 0]
    assert_same_rows(same.path, path, whole=True)
    assert derived(same.path) == derived(path)
    assert_other_fork(other.path, path, at)
    replayed = CliRunner().invoke(app, ["replay", str(other.path), "--json"])
    told = json.loads(replayed.stdout)
    assert told["identical"], told
    assert told["first_step"] == at


def assert_other_fork(path, parent, at):
    with Run(path) as run, Run(parent) as before:
        assert (run.facts["parent"], run.facts["parent_step"]) == (parent.name, str(at))
        assert run.steps["weight_decay"][at - 1] == 0.0
        assert (run.steps["weight_decay"][at:] == 0.02).all()
        assert run.steps["loss"][at] == before.steps["loss"][at]  # the same θ
        assert run.steps["theta_norm"][at + 1] < before.steps["theta_norm"][at + 1]
        assert [e.step for e in run.events if e.kind == "control"][-1] == at
        np.testing.assert_array_equal(run.steps["loss"][:at], before.steps["loss"][:at])


def test_a_fork_of_a_live_run(folder):
    """From a checkpoint of this moment that a viewer asks for; the parent goes on, with one engine."""
    parent = Engine(small(steps=ENDLESS, checkpoint_every=0), folder)
    parent.reaches(200)
    at = parent.asks("checkpoint")
    child = Engine(Fork(entry(parent.path), at, {"eta": 0.1, "steps": at + 50}), folder)
    assert child.ended() == 0
    assert not any("repeating" in text for text in child.told)
    with pytest.raises(InputError, match="is running"):
        Resume(entry(parent.path)).config  # noqa: B018
    stale = replace(entry(parent.path), state="stopped")  # as one that looked before
    with pytest.raises(StartError, match="another engine drives this run"):
        Engine(Resume(stale), folder)
    parent.reaches(entry(parent.path).last_step + 50)
    parent.asks("stop")
    assert parent.ended() == 0
    with Run(child.path) as run, Run(parent.path) as before:
        np.testing.assert_array_equal(run.steps["loss"][: at + 1], before.steps["loss"][: at + 1])
        assert (run.steps["eta"][at:] == 0.1).all()


def test_a_fork_of_a_fork(networks, folder):
    """It has all steps before it, and begins at its own."""
    path, last = networks["mlp"]
    child = Engine(Fork(entry(path), last, {"eta": 0.2, "steps": last + 50}), folder)
    assert child.ended() == 0
    at = last + 25
    grandchild = Engine(Fork(entry(child.path), at, {"cadence": 10, "steps": at + 50}), folder)
    assert grandchild.ended() == 0
    with Run(grandchild.path) as run, Run(child.path) as parent:
        np.testing.assert_array_equal(run.steps["loss"][: last + 51], parent.steps["loss"])
        steps = run.measured["step"]
        assert not (steps[steps >= at] % 10).any()
    with pytest.raises(StartError, match=f"itself a fork from step {at} on"):
        Engine(Fork(entry(grandchild.path), at - 1, {}), folder)


def test_what_cannot_be_gone_on_with(reference):
    done = entry(reference)
    with pytest.raises(InputError, match="has all of its 6000 steps"):
        Resume(done).config  # noqa: B018
    with pytest.raises(InputError, match="has the steps 0 to 6000"):
        Fork(done, 6002).config  # noqa: B018
    with pytest.raises(InputError, match="`width` can't change"):
        Fork(done, 100, {"width": 3}).config  # noqa: B018
    with pytest.raises(InputError, match="`eta` is -1"):
        Fork(done, 100, {"eta": -1.0}).config  # noqa: B018
    with pytest.raises(InputError, match="ends after 50 steps"):
        Fork(done, 100, {"steps": 50}).config  # noqa: B018


def test_a_diverged_run_is_forked_before_that(folder):
    engine = Engine(small(steps=ENDLESS), folder)
    engine.reaches(100)
    engine.asks("set", eta=50.0)
    assert engine.ended() == 3
    ended = entry(engine.path)
    with pytest.raises(InputError, match="diverged, and would again"):
        Resume(ended).config  # noqa: B018
    assert CliRunner().invoke(app, ["replay", str(engine.path)]).exit_code == 0
    child = Engine(Fork(ended, 90, {"steps": 200}), folder)
    assert child.ended() == 0
    assert entry(child.path).state == "finished"
