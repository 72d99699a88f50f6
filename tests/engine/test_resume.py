"""Runs that are killed and gone on with, forked and repeated: the same to the bit."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engines import PATIENCE, Engine, assert_same_rows, derived, entry, here, small
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.engine.fork import fork
from eostui.engine.session import EngineSession
from eostui.errors import EostuiError, InputError
from eostui.runs import shelf
from eostui.runs.fork import copy_history, newest_fork_step
from eostui.runs.launch import EngineProcess, Fork, Resume, StartError
from eostui.runs.prune import delete_checkpoints
from eostui.runs.repair.check import check_run
from eostui.runs.run import Run
from eostui.runs.store import checkpoints, schema
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.reader import facts_of
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 2500
ENDLESS = 10**6
STEERED = {
    40: [("set", {"weight_decay": 0.01})],
    83: [("set", {"eta": 0.2}), ("calibrate", {})],
    120: [("checkpoint", {})],
    121: [("set", {"eta": 0.15, "weight_decay": 0.0})],
    130: [("reseat", {}), ("pause", {}), ("set", {"weight_decay": 0.001}), ("resume", {})],
}
LAST = max(STEERED)
CNN = {"network": "cnn", "channels": [4], "eta": 0.1}
NETWORKS = {"mlp": {}, "cnn": CNN, "unfolded": {**CNN, "convolutions": "unfolded"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def reference(folder):
    """A run that nobody disturbs, in an engine of its own."""
    engine = Engine(small(steps=STEPS, calibrate_at="auto"), folder)
    assert engine.ended() == 0
    return engine.path


@pytest.fixture(scope="module", params=NETWORKS)
def steered(request, folder):
    """An MLP and CNNs, with four control changes and a calibration on the way."""
    path = here(small(steps=400, **NETWORKS[request.param]), folder, STEERED)
    with Run(path) as run:
        assert [e.step for e in run.events if e.kind == "control"] == [40, 83, 121, 130]
        assert [e.step for e in run.events if e.kind == "calibrated"] == [83]
    return path


def replay(path):
    done = CliRunner().invoke(app, ["replay", str(path), "--json"])
    assert done.exit_code in (0, 1), done.output
    told = json.loads(done.stdout)
    assert told["identical"] == (not told["differences"]) == (done.exit_code == 0)
    return told


def forged(steered, folder, what):
    """Return a copy of a run that differs from it in one thing."""
    copy = folder / f"forged-{what}-{steered.name}"
    writer = RunWriter(copy, facts_of(steered))
    steps, reading, past_event = writer.steps, writer.reading, writer.past_event

    def forged_steps(first, matrix, names):
        if what == "theta_norm" and first <= 70 < first + len(matrix):
            matrix = matrix.copy()
            matrix[70 - first, 1] = np.nextafter(matrix[70 - first, 1], 9.0)
        steps(first, matrix, names)

    def forged_reading(given):
        if given.step == 70 and what == "beta" and "beta" in given.values:
            beta = np.nextafter(given.values["beta"], 1e9)
            given = replace(given, values={**given.values, "beta": beta})
        if given.step != 70 or what != "measured":
            reading(given)

    def forged_event(event):
        if what == "event" and event.kind == "calibrated":
            event = replace(event, payload={**event.payload, "alpha": 1.0})
        past_event(event)

    writer.steps, writer.reading = forged_steps, forged_reading
    writer.past_event = forged_event
    everything = Checkpoint(ENDLESS, ENDLESS, {}, {"recorder.calibration": 9})
    copy_history(steered, writer, everything, "raw")
    writer.close()
    return copy


# --- engines that are killed ------------------------------------------------------------------------


def kill_and_resume(folder, reference, kills: int, seed: int) -> None:
    """Kill engines at random instants; the record is sound each time, and complete in the end."""
    instants = random.Random(seed)
    config = small(steps=STEPS, calibrate_at="auto")
    engine, killed = Engine(config, folder), 0
    while killed < kills:
        time.sleep(instants.uniform(0, 0.6))
        if engine.process.wait(0) is None:
            engine.kill()
            killed += 1
            assert_same_rows(engine.path, reference)
            ended = entry(engine.path).state == "finished"  # it was about to leave
            assert ended or entry(engine.path).state == "interrupted"
            engine = Engine(config if ended else Resume(entry(engine.path)), folder)
        else:
            assert_undisturbed(engine, reference)
            engine = Engine(config, folder)
    assert_undisturbed(engine, reference)


def assert_undisturbed(engine, reference):
    assert engine.ended() == 0
    with Run(engine.path) as run:
        told = [event.payload for event in run.events if event.kind == "continued"]
    assert all(payload.get("identical", True) for payload in told), told
    assert_same_rows(engine.path, reference, whole=True)
    assert derived(engine.path) == derived(reference)


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
    for kind, arguments in (("set", {"eta": 0.2}), ("calibrate", {}), ("set", {"eta": 0.1})):
        engine.reaches(engine.asks(kind, **arguments) + 20)
    engine.kill()
    path = engine.path
    with Run(path) as run:
        before = run.columns()
        asked = [(e.step, e.payload) for e in run.events if e.kind == "control"]
    assert len(asked) == 2
    for file in checkpoints.files(path):
        if file.step > early:
            file.path.unlink()
    rows = len(before["step"])
    here(Resume(entry(path), steps=rows + 100), folder)
    with Run(path) as run:
        told = [event.payload for event in run.events if event.kind == "continued"]
        after = run.columns()
        assert [(e.step, e.payload) for e in run.events if e.kind == "control"] == asked
        assert run.last_step == rows + 100
        assert run.calibrations.rows["calibration"].max() == 1
    assert told[0]["identical"], told
    assert told[0]["from"] <= early
    for name, column in before.items():
        np.testing.assert_array_equal(after[name][: rows - 1], column[:-1], name)
    assert replay(path)["identical"]


# --- resuming ---------------------------------------------------------------------------------------


def test_a_finished_run_goes_on(steered, folder):
    """As one that had been told to take all the steps at once."""
    config = entry(steered).config
    parts = here(config.changed({"steps": 150}), folder, STEERED)
    with Run(parts) as looking_on:
        here(Resume(entry(parts), steps=300), folder)
        while looking_on.refresh():
            pass
        assert looking_on.last_step == looking_on.config.steps == 300
    here(Resume(entry(parts), steps=400), folder)
    assert_same_rows(parts, steered, whole=True)
    assert derived(parts) == derived(steered)
    assert entry(parts).config.steps == 400
    assert entry(parts).state == "finished"


def test_a_damaged_checkpoint_is_passed_over(steered, folder):
    config = entry(steered).config
    path = here(config.changed({"steps": 200}), folder, STEERED)
    newest = checkpoints.files(path)[-1]
    assert newest.step == 201
    content = bytearray(newest.path.read_bytes())
    content[-1] ^= 1
    newest.path.write_bytes(content)
    here(Resume(entry(path), steps=400), folder)
    assert_same_rows(path, steered, whole=True)
    with Run(path) as run:
        (unsound,) = (event for event in run.events if event.kind == "unsound")
        (continued,) = (event for event in run.events if event.kind == "continued")
    assert newest.path.name in unsound.payload["reason"]
    assert continued.payload["from"] < 201


def unsound_checkpoints(path):
    (found,) = (finding for finding in check_run(path) if finding.part == "checkpoints")
    return "" if found.sound else found.description


def test_a_checkpoint_beyond_the_record_is_removed(folder, tmp_path):
    """The machine went down and took the newest rows: a trajectory that is lost isn't gone on with."""
    path = here(small(steps=60), tmp_path)
    lost = here(small(steps=90), folder, {70: [("set", {"eta": 0.2})]})
    for file in checkpoints.files(lost):
        shutil.copy(file.path, path / checkpoints.FOLDER)
    assert checkpoints.files(path)[-1].step == 91
    assert "000000000091.safetensors: ahead of the record" in unsound_checkpoints(path)
    child = here(Fork(entry(path), 61, {"steps": 95}), tmp_path)
    here(Resume(entry(path), steps=120), tmp_path)
    with Run(path) as run, Run(child) as fork:
        told = [event.payload["reason"] for event in run.events if event.kind == "unsound"]
        assert all(": removed, since the rows from step 61 to it are lost" in each for each in told)
        assert "000000000091.safetensors" in told[-1]
        assert (run.steps["eta"] == 0.3).all()
        assert (fork.steps["eta"] == 0.3).all()
    assert unsound_checkpoints(path) == ""
    assert_same_rows(here(Fork(entry(path), 91, {"steps": 110}), tmp_path), path)
    assert replay(path)["identical"]


def test_the_disk_has_the_record_before_the_checkpoint(folder, monkeypatch):
    """Each time: the log is synced after its last row was flushed, then the checkpoint written."""
    done: list[int | None] = []
    sync, write = os.fsync, checkpoints.write

    def noted_sync(descriptor):
        done.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    def noted_write(path, checkpoint):
        with Run(path) as run:
            assert run.last_step == checkpoint.step - 1
        assert done[-2:] == [(path / "run.db-wal").stat().st_ino, path.stat().st_ino]
        done.append(None)
        return write(path, checkpoint)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(checkpoints, "write", noted_write)
    path = here(small(steps=60), folder, {30: [("checkpoint", {})]})
    here(Fork(entry(path), 40), folder)
    assert done.count(None) >= 4


def test_without_any_checkpoint_it_starts_from_step_0(steered, folder):
    config = entry(steered).config
    path = here(config.changed({"steps": 150}), folder, STEERED)
    for file in checkpoints.files(path):
        file.path.unlink()
    here(Resume(entry(path), steps=400), folder)
    assert_same_rows(path, steered, whole=True)


def test_what_was_refused_is_told_once(folder):
    """Refusals of the steps that are repeated are on record; those that come after are new."""
    path = here(small(steps=60), folder, {20: [("reseat", {}), ("reseat", {})]})
    for file in checkpoints.files(path):
        if file.step > 20:
            file.path.unlink()
    here(Resume(entry(path), steps=80), folder, {61: [("reseat", {})], 70: [("reseat", {})]})
    with Run(path) as run:
        refused = [event for event in run.events if event.kind == "refused"]
        (continued,) = [event.payload for event in run.events if event.kind == "continued"]
    assert continued["from"] <= 20
    assert [event.step for event in refused] == [20, 20, 61, 70]
    assert all("no calibration yet" in event.payload["reason"] for event in refused)


def test_what_cannot_be_gone_on_with(reference):
    done = entry(reference)
    with pytest.raises(InputError, match=f"has all of its {STEPS} steps"):
        Resume(done).config  # noqa: B018
    with pytest.raises(InputError, match=f"has {STEPS} steps already; .* than 9"):
        Resume(done, 9).config  # noqa: B018
    with pytest.raises(InputError, match=f"has the steps 0 to {STEPS}"):
        Fork(done, STEPS + 2).config  # noqa: B018
    with pytest.raises(InputError, match="`width` can't change"):
        Fork(done, 100, {"width": 3}).config  # noqa: B018
    with pytest.raises(InputError, match="at step 100: η is -1, but must be above 0"):
        Fork(done, 100, {"eta": -1.0}).config  # noqa: B018
    with pytest.raises(InputError, match="ends after 50 steps"):
        Fork(done, 100, {"steps": 50}).config  # noqa: B018


# --- forks ------------------------------------------------------------------------------------------


def test_a_fork_is_its_parent_until_it_is_changed(steered, folder):
    """Unchanged, a fork after the last control change repeats its parent; changed, it parts there."""
    parent, at = entry(steered), LAST + 31
    same = here(Fork(parent, at), folder)
    assert_same_rows(same, steered, whole=True)
    assert derived(same) == derived(steered)
    other = here(Fork(parent, at, {"weight_decay": 0.02, "steps": at + 50}), folder)
    with Run(other) as run, Run(steered) as before:
        assert (run.facts["parent"], run.facts["parent_step"]) == (steered.name, str(at))
        assert run.steps["weight_decay"][at - 1] == 0.001
        assert (run.steps["weight_decay"][at:] == 0.02).all()
        assert run.steps["loss"][at] == before.steps["loss"][at]  # the same θ
        assert run.steps["theta_norm"][at + 1] < before.steps["theta_norm"][at + 1]
        assert [e.step for e in run.events if e.kind == "control"] == [40, 83, 121, 130, at]
        np.testing.assert_array_equal(run.steps["loss"][:at], before.steps["loss"][:at])
    told = replay(other)
    assert told["identical"], told
    assert told["first_step"] == at


def test_a_fork_at_a_step_with_controls_has_them(steered, folder):
    """η as in the parent's row of that step, and what was calibrated there."""
    child = here(Fork(entry(steered), 83, {"steps": 110}), folder)
    assert_same_rows(child, steered)
    with Run(child) as run:
        assert run.steps["eta"][83] == 0.2
        assert run.calibrations.rows["step"][0] == 83
    told = derived(child)
    assert told == derived(steered)[: len(told)]  # a phase is dated back to before it was told
    assert len(told) >= sum(step <= 110 and kind != "phase" for step, kind, _ in derived(steered))
    child = here(Fork(entry(steered), 0, {"steps": 20}), folder)
    with Run(child) as run, Run(steered) as parent:
        np.testing.assert_array_equal(run.steps["loss"], parent.steps["loss"][:21])


def test_a_fork_goes_its_own_way_past_what_its_parent_was_to_do(folder):
    """λ = 0 from here on holds to its end; what is left of the schedule is η's, and its history's."""
    schedule = [
        {"step": 10, "weight_decay": 0.01},
        {"step": 50, "eta": 0.15, "weight_decay": 0.02},
        {"step": 60, "weight_decay": 0.03},
    ]
    parent = here(small(steps=80, controls=schedule), folder)
    child = here(Fork(entry(parent), 40, {"weight_decay": 0.0}), folder)
    with Run(child) as run, Run(parent) as before:
        assert (before.steps["weight_decay"][[9, 10, 50, 60]] == [0.0, 0.01, 0.02, 0.03]).all()
        assert (run.steps["weight_decay"][:40] == before.steps["weight_decay"][:40]).all()
        assert (run.steps["weight_decay"][40:] == 0).all()
        np.testing.assert_array_equal(run.steps["eta"], before.steps["eta"])
        assert run.steps["eta"][50] == 0.15
    assert [change.step for change in entry(child).config.controls] == [10, 50]
    assert replay(child)["identical"]
    here(Resume(entry(child), steps=90), folder)
    with Run(child) as run:
        assert (run.steps["weight_decay"][40:] == 0).all()
    unchanged = here(Fork(entry(parent), 40, {"cadence": 5}), folder)
    assert_same_rows(unchanged, parent)


@pytest.mark.parametrize("status", ["finished", "diverged"])
def test_a_fork_of_an_ended_run_goes_on_from_its_end(folder, status):
    """At once, from the checkpoint that it ended with; past a divergence there is no step."""
    script = {60: [("set", {"eta": 50.0})]} if status == "diverged" else {}
    parent = entry(here(small(steps=80), folder, script))
    assert parent.state == status
    at = newest_fork_step(parent.last_step, parent.state)
    assert at == parent.last_step + (status == "finished")
    child = Engine(Fork(parent, at, {"eta": 0.1, "steps": 120}), folder)
    child.ended()
    with Run(child.path) as run, Run(parent.path) as before:
        np.testing.assert_array_equal(run.steps["loss"][:at], before.steps["loss"][:at])
        assert (run.steps["eta"][at:] == 0.1).all()
        if status == "finished":
            assert run.last_step == 120
            assert not any("repeating" in text for text in child.told)


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_a_fork_right_after_its_parents_last_row(folder, decay):
    """Stopped there, the parent had made its scheduled change: the fork's own comes after it."""
    schedule = [{"step": 41, "eta": 0.15, "weight_decay": 0.02}]
    parent = here(small(steps=80, controls=schedule), folder, {41: [("stop", {})]})
    assert entry(parent).last_step == 40
    child = here(Fork(entry(parent), 41, {"weight_decay": decay}), folder)
    with Run(child) as run:
        assert run.steps["eta"][40] != 0.15
        assert (run.steps["eta"][41:] == 0.15).all()
        assert (run.steps["weight_decay"][:41] == 0).all()
        assert (run.steps["weight_decay"][41:] == decay).all()


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


def test_a_fork_of_a_fork(steered, folder):
    """It has all steps before it, and begins at its own."""
    child = here(Fork(entry(steered), LAST, {"eta": 0.12, "steps": LAST + 50}), folder)
    at = LAST + 25
    grandchild = here(Fork(entry(child), at, {"cadence": 10, "steps": at + 50}), folder)
    with Run(grandchild) as run, Run(child) as parent:
        np.testing.assert_array_equal(run.steps["loss"][: LAST + 51], parent.steps["loss"])
        steps = run.measured["step"]
        assert not (steps[steps >= at] % 10).any()
    assert replay(grandchild)["identical"]
    with pytest.raises(InputError, match=f"itself a fork from step {at} on"):
        here(Fork(entry(grandchild), at - 1), folder)
    for file in checkpoints.files(grandchild):
        file.path.unlink()
    with pytest.raises(EostuiError, match="fork its parent again"):
        here(Resume(entry(grandchild), steps=at + 90), folder)


def test_a_fork_whose_checkpoints_were_pruned_goes_on_without_its_parent(folder):
    """The one at which it begins stays; that of a run from step 0 isn't needed."""
    parent = here(small(steps=60), folder)
    child = here(Fork(entry(parent), 30, {"steps": 60}), folder)
    for path in (parent, child):
        assert delete_checkpoints(entry(path)) > 0
    assert checkpoints.files(parent) == []
    assert [file.step for file in checkpoints.files(child)] == [30]
    shelf.delete(parent)
    here(Resume(entry(child), steps=80), folder)
    assert entry(child).last_step == 80
    assert replay(child)["identical"]


def test_a_diverged_run_is_forked_before_that(folder):
    path = here(small(steps=400), folder, {100: [("set", {"eta": 50.0})]})
    ended = entry(path)
    assert ended.state == "diverged"
    with pytest.raises(InputError, match="diverged, and would again"):
        Resume(ended).config  # noqa: B018
    assert replay(path)["identical"]
    child = here(Fork(ended, 90, {"steps": 200}), folder)
    assert entry(child).last_step == 200
    assert entry(child).state == "finished"


@pytest.fixture
def long_way(reference, folder):
    """A copy of the reference without checkpoints: all of it must be repeated to get to its end."""
    copy = Path(shutil.copytree(reference, folder / "long-way"))
    shutil.rmtree(copy / checkpoints.FOLDER)
    yield copy
    shutil.rmtree(copy)


def test_a_fork_that_is_cancelled_leaves_nothing(long_way, tmp_path):
    """While its parent's steps are repeated: the engine ends at once, and no run was begun."""
    engine = EngineProcess(Fork(entry(long_way), STEPS), tmp_path / "runs", tmp_path)
    told = []

    def cancel(text):
        told.append(text)
        if "repeating" in text:
            engine.cancel()

    with pytest.raises(StartError, match="stopped before it could begin"):
        engine.ready(cancel)
    assert engine.wait(PATIENCE) == 1
    assert sum("repeating" in text for text in told) <= 2, "one may have been on its way"
    assert not (tmp_path / "runs").exists()


def test_a_stop_while_a_run_is_begun_leaves_nothing(steered, tmp_path, monkeypatch):
    """Also once its directory is there."""
    config = entry(steered).config
    session = EngineSession(config, tmp_path, lambda _text: None)
    make = RunWriter.__init__

    def make_and_stop(*arguments):
        make(*arguments)
        session.stop("stopped by SIGTERM")

    monkeypatch.setattr(RunWriter, "__init__", make_and_stop)
    with pytest.raises(EostuiError, match="stopped before it could begin"):
        session.new(tmp_path / "run", "")
    assert not list(tmp_path.iterdir())


def test_a_fork_that_fails_leaves_nothing(steered, tmp_path):
    """Its parent's rows are damaged where only the copying of its record reads them."""
    parent = Path(shutil.copytree(steered, tmp_path / "parent"))
    with contextlib.closing(sqlite3.connect(parent / schema.DATABASE)) as database, database:
        database.execute("UPDATE steps SET matrix = zeroblob(length(matrix)) WHERE id = 1")
    at = checkpoints.files(parent)[-1].step
    with pytest.raises(EostuiError, match="damaged"):
        here(Fork(entry(parent), at, {"steps": at + 10}), tmp_path)
    assert list(tmp_path.iterdir()) == [parent]


def test_a_forks_eta_and_lambda_fit_those_in_force(folder):
    """Not those that its parent began with: 0.3 and 0; from step 40 on they are 0.3 and 3, then 0.1."""
    script = {40: [("set", {"weight_decay": 3.0})], 60: [("set", {"eta": 0.1})]}
    parent = entry(here(small(steps=80), folder, script))
    for at, changes, product in ((40, {"eta": 0.5}, 1.5), (81, {"eta": 0.4}, 1.2)):
        with pytest.raises(
            InputError, match=f"at step {at}: ηλ is {product:g}, but must be below 1"
        ):
            Fork(parent, at, changes).config  # noqa: B018
    for at, changes in ((39, {"eta": 0.5}), (60, {"weight_decay": 4.0}), (81, {"eta": 0.3})):
        child = here(Fork(parent, at, {**changes, "steps": at + 5}), folder)
        with Run(child) as run:
            assert {key: run.steps[key][at] for key in changes} == changes


def test_a_fork_tells_that_it_left_its_parents_record(steered, folder, tmp_path):
    """By an event, and to whoever started it; a fork of a sound parent tells that it is the same."""
    parent = forged(steered, tmp_path, "theta_norm")
    session = EngineSession(entry(parent).config, folder, (told := []).append, parent)
    writer = fork(session, tmp_path / "fork", "", parent, 100, {}, lambda *_steps: None)
    writer.close()
    assert "step 70: theta_norm was" in told[-1]
    sound = here(Fork(entry(steered), 100, {"steps": 110}), tmp_path)
    for path, identical in ((writer.path, False), (sound, True)):
        with Run(path) as run:
            (forked,) = (event for event in run.events if event.kind == "forked")
        assert forked.step == 100
        assert forked.payload["identical"] == identical
        assert forked.payload.get("difference", "") in told[-1]
    assert "theta_norm" in str(told)


def test_a_fork_calibrates_when_it_is_told_to(folder):
    """At its own step, whatever its parent waited for; resumed and replayed too."""
    parent = here(small(steps=150, calibrate_at=30), folder)
    for wanted, at in ((120, [30, 120]), (100, [30, 100]), ("never", [30])):
        child = here(Fork(entry(parent), 100, {"calibrate_at": wanted, "steps": 130}), folder)
        here(Resume(entry(child), steps=140), folder)
        with Run(child) as run:
            assert [e.step for e in run.events if e.kind == "calibrated"] == at
        assert replay(child)["identical"]
    early = here(Fork(entry(parent), 20, {"calibrate_at": "never"}), folder)
    assert not [told for told in derived(early) if told[1] == "calibrated"]
    with pytest.raises(InputError, match=r"`calibrate_at` is 99, .* begins at step 100"):
        Fork(entry(parent), 100, {"calibrate_at": 99}).config  # noqa: B018
    Fork(entry(parent), 100).config  # noqa: B018 - that of its parent was done


# --- replays ----------------------------------------------------------------------------------------


def test_a_replay_is_the_same(steered):
    told = replay(steered)
    assert told["identical"]
    with Run(steered) as run:
        assert told["last_step"] == run.last_step == 400
        assert told["measurements"] == len(run.measured)


@pytest.mark.parametrize("what", ["theta_norm", "beta", "event", "measured"])
def test_a_replay_finds_what_was_changed(steered, folder, what):
    """One bit of one number, or one entry, of a run's copy with sound checksums."""
    copy = forged(steered, folder, what)
    (difference,) = replay(copy)["differences"]
    assert difference["what"] == what
    assert difference["step"] == (83 if what == "event" else 70)
