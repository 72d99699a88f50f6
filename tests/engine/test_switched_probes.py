"""Probes turned on and off while a run goes on: on record, and forks, resumes and replays honour it."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from engines import SMALL, assert_same_rows, entry, here

from eostui.config import RunConfig
from eostui.engine.replay import replay
from eostui.engine.session import EngineSession
from eostui.runs.analysis.probe_costs import TrainingTime, probe_costs
from eostui.runs.analysis.switched_probes import own_switches, probes_in_force
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.store import commands

pytestmark = pytest.mark.usefixtures("one_thread")

#: On from 7, off from 31, and on again, anew, from 40; what was on from the start goes at 20.
SCRIPT = {
    7: [("probe", {"probe": "radius", "on": True}), ("probe", {"probe": "ntk", "on": True})],
    20: [("probe", {"probe": "hessian_trace", "on": False})],
    31: [("probe", {"probe": "radius", "on": False})],
    40: [("probe", {"probe": "radius", "on": True})],
}


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr("eostui.probes.radius.EVERY", 1)


def config(**values) -> RunConfig:
    given = {
        **SMALL, "steps": 60, "samples": 40, "width": 8, "checkpoint_every": 0, "ntk_cadence": 10,
        "ntk_samples": 5, "trace_cadence": 5, "trace_draws": 2, "probes": ("hessian_trace",),
        "far_cadence": 0,
    }  # fmt: skip
    return RunConfig.build({**given, **values}, "test")


@pytest.fixture(scope="module")
def steered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steered")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eostui.probes.radius.EVERY", 1)
        return here(config(), folder, SCRIPT)


def replayed(path, folder):
    session = EngineSession(entry(path).config, folder, lambda _: None, path)
    return replay(session, path, lambda *_: None)


def read_at(path, column):
    with Run(path) as run:
        return run.measured["step"][np.isfinite(run.measured[column])].astype(int).tolist()


def test_it_measures_from_the_step_at_which_it_is_turned_on_to_that_at_which_it_is_off(steered):
    radius = [*range(10, 31, 5), *range(40, 61, 5)]
    assert read_at(steered, "sharpness_at_radius") == radius
    assert read_at(steered, "ntk_full") == [10, 20, 30, 40, 50, 60]
    assert read_at(steered, "hessian_trace") == [0, 5, 10, 15]
    with Run(steered) as run:
        told = [(e.step, e.payload["probe"], e.payload["on"]) for e in own_switches(run.events)]
        assert told == [
            (step, each["probe"], each["on"]) for step, asked in SCRIPT.items() for _, each in asked
        ]
        assert probes_in_force(run.config, run.probes, run.events) == ("radius", "ntk")
        assert probes_in_force(run.config, run.probes, run.events, 7) == (
            "radius", "ntk", "hessian_trace",
        )  # fmt: skip


def test_no_number_of_the_run_is_another_for_it(steered, tmp_path):
    with Run(steered) as run, Run(here(config(probes=()), tmp_path)) as plain:
        assert len(run.steps) == len(plain.steps) == 61
        for name in plain:
            if name != "hessian_products":  # those of all probes
                np.testing.assert_array_equal(run[name], plain[name], name)


def test_it_replays_to_the_bit(steered, tmp_path):
    found = replayed(steered, tmp_path)
    assert not found.differences
    assert found.exact


@pytest.mark.parametrize("at", [7, 31, 55])
def test_a_fork_has_those_on_that_were_and_goes_on_as_its_parent(steered, tmp_path, at):
    whole = steered
    fork = Fork(entry(steered), at, {})
    later = {step: asked for step, asked in SCRIPT.items() if step > at}
    forked = here(fork, tmp_path / "fork", later)
    assert fork.config.probes == {
        7: ("radius", "ntk", "hessian_trace"), 31: ("ntk",), 55: ("radius", "ntk"),
    }[at]  # fmt: skip
    with Run(forked) as run:
        assert probes_in_force(run.config, run.probes, run.events) == ("radius", "ntk")
    assert_same_rows(whole, forked)
    for column in ("sharpness_at_radius", "ntk_full"):
        assert read_at(whole, column) == read_at(forked, column)
    assert not replayed(forked, tmp_path).differences


def test_a_fork_that_names_its_probes_has_those(steered, tmp_path):
    forked = here(Fork(entry(steered), 25, {"probes": ["hessian_trace"]}), tmp_path)
    assert read_at(forked, "hessian_trace") == [0, 5, 10, 15, *range(25, 61, 5)]
    assert max(read_at(forked, "ntk_full")) == 20


def test_a_resumed_run_has_those_on_that_were_on(steered, tmp_path):
    script = {step: asked for step, asked in SCRIPT.items() if step < 40}
    path = here(config(steps=35), tmp_path / "resumed", script)
    # from its newest checkpoint, and again without any, from step 0
    here(Resume(entry(path), 50), tmp_path, {40: SCRIPT[40]})
    for file in (path / "checkpoints").iterdir():
        file.unlink()
    here(Resume(entry(path), 60), tmp_path)
    assert_same_rows(steered, path)
    assert read_at(path, "sharpness_at_radius") == read_at(steered, "sharpness_at_radius")


@pytest.mark.parametrize("how", ["resumed", "forked"])
def test_what_is_first_turned_on_after_it_went_on_is_measured(steered, tmp_path, how):
    """Its record knew nothing of these probes: of a run that goes on at step 5, and of a fork there."""
    path = here(config(steps=5), tmp_path / "before")
    begin = Resume(entry(path), 60) if how == "resumed" else Fork(entry(path), 5, {"steps": 60})
    path = here(begin, tmp_path, SCRIPT)
    assert_same_rows(steered, path)
    for column in ("sharpness_at_radius", "ntk_full"):
        assert read_at(steered, column) == read_at(path, column)
    assert not replayed(path, tmp_path).differences
    # and once more, of a record that knows them: from step 0 where there is a way from there
    for file in (path / "checkpoints").iterdir() if how == "resumed" else ():
        file.unlink()
    here(Resume(entry(path), 70), tmp_path)
    assert_same_rows(steered, path)
    assert max(read_at(path, "sharpness_at_radius")) == 70


def test_what_cannot_be_is_refused_with_a_sentence_and_the_run_goes_on(tmp_path):
    asked = [
        {"probe": "radios", "on": True}, {"probe": "sharpness", "on": False}, {"probe": "ntk"},
        {"probe": "weyl", "on": True}, {"probe": "ntk", "on": False},
    ]  # fmt: skip
    path = here(
        config(loss="cross-entropy", steps=10, probes=()), tmp_path,
        {3: [("probe", content) for content in asked]},
    )  # fmt: skip
    with Run(path) as run:
        refused = [event.payload["reason"] for event in run.events if event.kind == "refused"]
        assert not list(own_switches(run.events))
        assert run.last_step == 10
    assert refused[0] == "there is no probe `radios`; did you mean `radius`?"
    assert refused[1] == "the probe sharpness measures in every run: it can't be turned off"
    assert refused[2].startswith("a probe is turned on or off by its name")
    assert refused[3].startswith("the probe weyl can't be turned on: ")
    assert len(refused) == 4  # what is off stays off without a word


def test_a_run_that_is_read_as_it_goes_on_gets_the_columns_when_they_come(tmp_path):
    session = EngineSession(config(steps=20), tmp_path, lambda _: None)
    writer = session.new(tmp_path / "live", "")
    driver = session.driver
    with Run(tmp_path / "live") as run:
        assert "sharpness_at_radius" not in run.measured
        commands.send(writer.path, "probe", probe="radius", on=True)
        driver.run(writer)
        while run.refresh():
            pass
        assert np.isfinite(run.measured["sharpness_at_radius"]).sum() == 5
        assert np.isfinite(run["sharpness_at_radius"]).sum() == 5
        assert "radius" in run.probes
    writer.close()


def test_its_share_of_the_time_is_that_since_it_was_turned_on(steered):
    with Run(steered) as run:
        whole = json.loads(run.facts["training_seconds"])
        assert whole["from"] == 0
        costs = probe_costs(run)
        assert {"sharpness", "drives", "radius", "ntk", "hessian_trace"} <= costs.keys()
        began = [e.payload["seconds"] for e in own_switches(run.events) if e.payload["on"]][-1]
        spent = run.spent["radius"]
        seconds = spent["seconds"][spent["step"] >= 40].sum()
        assert costs["radius"].readings == 5
        assert costs["radius"].share == pytest.approx(
            min(seconds / (whole["seconds"] - began), 1), rel=1e-9
        )
        assert 0 < sum(cost.share for name, cost in costs.items() if name != "radius") < 1


def test_a_pause_is_none_of_it(tmp_path):
    session = EngineSession(config(steps=10), tmp_path, lambda _: None)
    writer = session.new(tmp_path / "paused", "")
    driver = session.driver
    driver.controls.pauses.add(5)
    saved = driver.save

    def saves_and_waits():
        done = saved()
        commands.send(writer.path, "resume")
        return done

    driver.save = saves_and_waits
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        real(0.5)

    real = time.sleep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eostui.engine.driver.time.sleep", sleep)
        begun = time.perf_counter()
        driver.run(writer)
        whole = time.perf_counter() - begun
    writer.close()
    assert slept
    with Run(writer.path) as run:
        known = TrainingTime.of_facts(run.facts)
    assert known is not None
    assert 0 < known.seconds < whole - 0.5 * len(slept) + 0.01
    assert TrainingTime.of_facts({"training_seconds": '{"from": 0, "seconds": NaN}'}) is None
    assert TrainingTime.of_facts({}) is None
    assert math.isfinite(known.seconds)
