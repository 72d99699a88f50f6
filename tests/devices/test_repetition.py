"""Runs on one device are the same to the bit: again, replayed, gone on with, forked, captured or not."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from engines import Engine, assert_same_rows, derived, entry, here, small
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.engine import trajectory
from eostui.engine.session import EngineSession
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

#: `convolutions` of the CNN are named: left to `auto`, a GPU times them for each new run, and two runs
#: may come out with two ways.
NETWORKS = {
    "mlp": {},
    "cnn": {
        "network": "cnn", "channels": [4], "samples": 60, "eta": 0.1, "convolutions": "unfolded",
    },
    "heavy-ball": {"dynamics": "heavy-ball", "momentum": 0.5},
    "adamw": {"dynamics": "adamw", "eta": 0.003},
    "averaged": {"probes": ["ema"]},
    "intervened": {"sharp_step": 0.5, "eigenvalues": 2},
}  # fmt: skip
#: What tests of the dynamics, of the probe and of interventions hold a CPU to.
ON_A_GPU = {"adamw", "averaged", "intervened"}
CALIBRATED = {60: [("calibrate", {})], 130: [("reseat", {})]}
STEPS = 220


def steered(config, first=40, second=83, third=121):
    """Three changes of the controls, and a checkpoint; η as a share of what it is at the start."""
    eta = config.eta
    return {
        first: [("set", {"weight_decay": 0.01})],
        second: [("set", {"eta": eta / 1.5}), ("checkpoint", {})],
        third: [("set", {"eta": eta / 2, "weight_decay": 0.0})],
    }


def replay(path):
    done = CliRunner().invoke(app, ["replay", str(path), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(params=NETWORKS)
def settings(request, device):
    if device == "cpu" and request.param in ON_A_GPU:
        pytest.skip("other tests hold a CPU to it")
    return {"device": device, **NETWORKS[request.param]}


def test_again_replayed_resumed_and_forked(settings, tmp_path):
    """All of one run with three control changes, a calibration and a re-seat."""
    config = small(**settings, steps=STEPS)
    calibrates = config.dynamics == "gradient-descent" and config.sharp_step == 1
    script = steered(config) | (CALIBRATED if calibrates else {})
    path = here(config, tmp_path, script)
    assert_same_rows(here(config, tmp_path, script), path, whole=True)

    told = replay(path)
    assert told["identical"], told

    parts = here(config, tmp_path, {**script, 90: [("stop", {})]})
    here(Resume(entry(parts)), tmp_path, {at: do for at, do in script.items() if at > 90})
    assert_same_rows(parts, path, whole=True)
    assert derived(parts) == derived(path)

    child = here(Fork(entry(path), 150), tmp_path)
    assert_same_rows(child, path, whole=True)
    other = here(Fork(entry(path), 150, {"weight_decay": 0.02}), tmp_path)
    told = replay(other)
    assert (told["identical"], told["first_step"]) == (True, 150), told
    with Run(path) as run:
        kinds = [event.kind for event in run.events]
    assert kinds.count("control") == 3
    assert kinds.count("calibrated") == calibrates


def test_captured_and_plain_paths_agree(settings, tmp_path, device, monkeypatch):
    """500 steps in float32 with three control changes, with and without CUDA graphs.

    On a CPU there are none: there the switch is one that changes nothing.
    """
    sessions = []
    begin = EngineSession.__init__

    def noted(session, *arguments):
        begin(session, *arguments)
        sessions.append(session)

    monkeypatch.setattr(EngineSession, "__init__", noted)
    config = small(**settings, steps=500)
    script = steered(config, 100, 200, 300)
    monkeypatch.delenv("EOSTUI_CAPTURE", raising=False)
    captured = here(config, tmp_path, script)
    monkeypatch.setenv("EOSTUI_CAPTURE", "0")
    plain = here(config, tmp_path, script)
    assert_same_rows(captured, plain, whole=True)
    assert derived(captured) == derived(plain)
    with Run(captured) as run:
        assert [event.step for event in run.events if event.kind == "control"] == [100, 200, 300]
        assert not [event for event in run.events if event.kind == "uncaptured"]
        assert len(run.steps["loss"]) == 501
    if device == "cuda":
        first, second = (session.driver.trajectory.programs for session in sessions)
        assert first.captured, first.refusal
        assert not second.captured


def test_rows_that_are_found_beside_the_next_step_are_the_same(
    settings, device, tmp_path, monkeypatch
):
    """As where a network is large: captured, called, and in their turn."""
    if device == "cpu":
        pytest.skip("there all is done in its turn")
    config = small(**settings, steps=300)
    script = steered(config, 100, 200, 250)
    in_turn = here(config, tmp_path, script)
    monkeypatch.setattr(trajectory, "LARGE", 0)
    for switch in ("1", "0"):
        monkeypatch.setenv("EOSTUI_CAPTURE", switch)
        beside = here(config, tmp_path, script)
        assert_same_rows(beside, in_turn, whole=True)
        assert derived(beside) == derived(in_turn)
    changed = Fork(entry(in_turn), 150, {"weight_decay": 0.02})
    beside = here(changed, tmp_path)
    monkeypatch.undo()
    assert_same_rows(beside, here(changed, tmp_path), whole=True)


def test_steered_while_it_runs(tmp_path, device):
    """A real engine, by commands from outside, paused and gone on with; then replayed."""
    engine = Engine(small(device=device, steps=10**6), tmp_path)
    engine.reaches(50)
    for kind, arguments in (
        ("set", {"eta": 0.2}), ("set", {"weight_decay": 0.003}), ("calibrate", {}), ("pause", {}),
        ("resume", {}), ("checkpoint", {}), ("set", {"eta": 0.25}),
    ):  # fmt: skip
        at = engine.asks(kind, **arguments)
        if kind != "pause":
            engine.reaches(at + 20)
    engine.asks("stop")
    assert engine.ended() == 0
    with Run(engine.path) as run:
        changes = [event.step for event in run.events if event.kind == "control"]
        assert len(changes) == 3
        for at, name, value in zip(
            changes, ("eta", "weight_decay", "eta"), (0.2, 0.003, 0.25), strict=True
        ):
            assert run.steps[name][at] == value != run.steps[name][at - 1]
    told = replay(engine.path)
    assert told["identical"], told


def test_two_runs_at_once_are_two_runs_alone(tmp_path, device):
    """Two engines share a device; each is to the bit what it is with nothing beside it."""
    configs = [small(device=device, steps=800, seed=seed) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        engines = list(pool.map(lambda config: Engine(config, tmp_path), configs))
        assert list(pool.map(Engine.ended, engines)) == [0, 0]
    spans = []
    for config, engine in zip(configs, engines, strict=True):
        assert_same_rows(engine.path, here(config, tmp_path), whole=True)
        with Run(engine.path) as run:
            spans.append((float(run.facts["created"]), float(run.facts["ended"])))
    assert max(start for start, _ in spans) < min(end for _, end in spans) <= time.time()


def test_a_killed_engine_is_gone_on_with(tmp_path, device):
    """kill −9 in mid-run, with a control change behind it."""
    config = small(device=device, steps=1500)
    engine = Engine(config, tmp_path)
    at = engine.asks("set", eta=0.2)
    engine.reaches(at + 30)
    engine.kill()
    again = Engine(Resume(entry(engine.path)), tmp_path)
    assert again.ended() == 0
    with Run(again.path) as run:
        (went_on,) = [event.payload for event in run.events if event.kind == "continued"]
    assert went_on.get("identical", True), went_on
    whole = here(config, tmp_path, {at: [("set", {"eta": 0.2})]})
    assert_same_rows(again.path, whole, whole=True)
