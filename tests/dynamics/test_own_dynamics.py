"""A dynamics that stands in a file of its own, named by one line of a config: all that a run can do."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import Engine, assert_same_rows, entry, here, small
from toy_runs import EXACT, train
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.config import RunConfig
from eostui.dynamics import dynamics_of
from eostui.errors import InputError
from eostui.problems import Problem
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.stability import Description

pytestmark = pytest.mark.usefixtures("one_thread")

FILE = Path(__file__).parents[1] / "lagged_descent.py"
LAGGED = {"dynamics": f"{FILE}:LaggedDescent", "far_cadence": 0}


def expected_threshold(steps):
    return 2 / ((1 - 2 * steps["lag"]) * steps["eta"]) - steps["weight_decay"]


def replay(path):
    done = CliRunner().invoke(app, ["replay", str(path), "--json", "--trust-code"])
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


def test_it_is_run_steered_killed_resumed_forked_replayed_and_exported(tmp_path):
    """By real engine processes; resumed it is, to the bit, the run that was never killed."""
    engine = Engine(small(steps=100_000, eta=0.1, **LAGGED), tmp_path)
    engine.reaches(20)
    at = engine.asks("set", lag=0.2, weight_decay=0.01)
    engine.reaches(at + 40)
    engine.kill()
    path, killed_at = engine.path, entry(engine.path).last_step
    steps = killed_at + 60
    resumed = Engine(Resume(entry(path), steps), tmp_path)
    assert resumed.ended() == 0

    script = {at: [("set", {"lag": 0.2, "weight_decay": 0.01})]}
    whole = here(small(steps=steps, eta=0.1, **LAGGED), tmp_path, script)
    assert_same_rows(path, whole, whole=True)
    with Run(path) as run:
        assert run.last_step == steps
        (continued,) = (event for event in run.events if event.kind == "continued")
        assert continued.payload["identical"] is True
        assert run.steps["lag"][at - 1 : at + 1].tolist() == [0.1, 0.2]
        np.testing.assert_allclose(
            run.steps["stability_threshold"], expected_threshold(run.steps), rtol=1e-15
        )
        np.testing.assert_allclose(
            run.steps["stability_undecayed"],
            run.steps["stability_threshold"] + run.steps["weight_decay"],
            rtol=1e-14,
        )
        described = Description.of_facts(run.facts)
        assert described.name == "lagged-descent"
        assert described.label == "2/((1−2ν)η)−λ"
        assert [control.symbol for control in described.controls] == ["η", "λ", "ν"]
        assert described.controls[2].below == 0.25

    told = replay(path)
    assert told["identical"]
    assert told["last_step"] == steps

    child = here(Fork(entry(path), at + 30, {"lag": 0.05, "steps": at + 60}), tmp_path)
    with Run(child) as run:
        assert run.steps["lag"][at + 29 : at + 31].tolist() == [0.2, 0.05]
        np.testing.assert_allclose(
            run.steps["stability_threshold"], expected_threshold(run.steps), rtol=1e-15
        )
    assert replay(child)["identical"]

    table = tmp_path / "run.csv"
    done = CliRunner().invoke(app, ["export", str(path), "-o", str(table)])
    assert done.exit_code == 0, done.output
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lag"]) for row in rows] == [0.1] * at + [0.2] * (steps + 1 - at)
    assert float(rows[-1]["stability_threshold"]) == pytest.approx(2 / (0.6 * 0.1) - 0.01)


def test_its_threshold_is_where_real_runs_begin_to_grow(tmp_path):
    for share, grows in ((0.99, False), (1.01, True)):
        curvature = share * 2 / (0.8 * 0.1)
        problem = Problem(
            torch.ones(1, dtype=torch.float64),
            lambda at, s=curvature: 0.5 * s * (at * at).sum(),
            "½sθ²",
        )
        config = RunConfig.build({**EXACT, **LAGGED, "eta": 0.1, "steps": 1500}, "test")
        folder = tmp_path / str(grows)
        folder.mkdir()
        run, status = train(folder, config, problem)
        assert status == ("diverged" if grows else "finished")
        assert abs(run.steps["theta_1"][-1]) > 90 if grows else abs(run.steps["theta_1"][-1]) < 1e-3
        run.close()


def test_a_step_sees_the_batch_that_its_dynamics_chooses(tmp_path):
    """Against steps written out on every other half; the loss on record stays that of all samples."""
    values = {"steps": 6, "eta": 0.1, "dtype": "float64", **LAGGED}
    path = here(small(**{**values, "dynamics": f"{FILE}:Halves"}), tmp_path)
    from eostui.problems import build_problem

    config = small(**values)
    problem = build_problem(config, torch.device("cpu"), tmp_path, lambda _: None)
    inputs, targets = problem.arrays["inputs"], problem.arrays["targets"]
    theta, last = problem.initial, None
    norms, losses = [], []
    for step in range(7):
        norms.append(float(theta.norm()))
        losses.append(float(problem.loss(theta)))
        rows = slice(step % 2, None, 2)
        leaf = theta.clone().requires_grad_()
        made_of = problem.loss.supervised
        predicted = made_of.outputs(leaf, inputs[rows])
        loss = 0.5 * ((predicted - targets[rows]) ** 2).sum(dim=1).mean()
        (now,) = torch.autograd.grad(loss, leaf)
        theta = theta - 0.1 * (0.9 * now + 0.1 * (now if last is None else last))
        last = now
    with Run(path) as run:
        np.testing.assert_allclose(run.steps["theta_norm"], norms, rtol=1e-12)
        np.testing.assert_allclose(run.steps["loss"], losses, rtol=1e-12)


def test_a_calibration_is_refused_with_a_sentence(tmp_path):
    """The reduced oscillator is gradient descent's; asked for in the config it is exit code 2."""
    path = here(small(steps=20, **LAGGED), tmp_path, {10: [("calibrate", {})]})
    with Run(path) as run:
        (refused,) = (event for event in run.events if event.kind == "refused")
        assert "derived for gradient-descent" in refused.payload["reason"]
        (phase,) = (event for event in run.events if event.kind == "phase")
        assert phase.payload["to"] == "transient"
    with pytest.raises(InputError, match="`calibrate_at` is auto, but the reduced oscillator"):
        here(small(steps=20, calibrate_at="auto", **LAGGED), tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Nameless", "it has no name"),
        ("Taken", "sharpness"),
        ("Namesake", "its name `heavy-ball` is the program's: give the class another"),
        ("LagedDescent", "LaggedDescent"),
    ],
)
def test_what_can_not_be_used_is_a_sentence(name, sentence):
    with pytest.raises(InputError, match=sentence):
        dynamics_of(RunConfig.build({"dynamics": f"{FILE}:{name}"}, "test"))


def test_a_control_that_there_is_not_is_refused(tmp_path):
    path = here(small(steps=12), tmp_path, {5: [("set", {"momentum": 0.5})]})
    with Run(path) as run:
        refused = [event.payload["reason"] for event in run.events if event.kind == "refused"]
    assert refused == ["there is no control `momentum`"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Forgetful", "its `state` isn't all that the next step needs"),
        ("InPlace", "changes θ in place"),
        ("Fails", "Fails failed: ZeroDivisionError: no step today"),
        ("Halves", "a function of θ alone: it has no samples"),
    ],
)
def test_what_would_fail_later_is_told_before_there_is_a_run(tmp_path, name, sentence):
    """Where a problem is a function of θ alone, there is no half of its samples."""
    own = {**EXACT, "dynamics": f"{FILE}:{name}", "problem": "two-layer-scalar", "samples": 4}
    with pytest.raises(InputError, match=sentence):
        here(RunConfig.build(own, "test"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_spectrum_is_that_of_the_operator_that_the_dynamics_names(tmp_path):
    """S and u of 2H are twice S, and the same u."""
    measured = {}
    for name in ("LaggedDescent", "Preconditioned"):
        config = small(
            steps=1, dtype="float64", tolerance=1e-9, smallest_eigenvalue=True,
            **{**LAGGED, "dynamics": f"{FILE}:{name}"},
        )  # fmt: skip
        with Run(here(config, tmp_path)) as run:
            measured[name] = {
                column: run.measured[column][0] for column in ("sharpness", "eig_min", "beta")
            }
    plain, own = measured.values()
    assert own["sharpness"] == pytest.approx(2 * plain["sharpness"], rel=1e-7)
    assert own["eig_min"] == pytest.approx(2 * plain["eig_min"], rel=1e-7)
    assert own["beta"] == pytest.approx(plain["beta"], rel=1e-2)


def test_a_file_that_changed_is_told_before_a_run_goes_on(tmp_path):
    """As that of an own problem: another dynamics is another run."""
    file = tmp_path / "mine.py"
    file.write_text(FILE.read_text(encoding="utf-8"), encoding="utf-8")
    path = here(small(steps=10, dynamics=f"{file}:LaggedDescent"), tmp_path)
    here(Resume(entry(path), 12), tmp_path)
    file.write_text(file.read_text(encoding="utf-8") + "\n# other\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"the source of mine\.py changed"):
        here(Resume(entry(path), 14), tmp_path)


@pytest.mark.parametrize(
    ("controls", "sentence"),
    [
        ("Control('probes', 'p', 'p', factor=1.1)", "can't be called `probes`: that is a setting"),
        (
            "Control('cadence', 'c', 'c', factor=1.1)",
            "can't be called `cadence`: that is a setting",
        ),
        ("Control('keys', 'k', 'k', factor=1.1)", "can't be called `keys`: that is a setting"),
        ("'nu'", "'nu' among its controls is no eostui.stability.Control"),
    ],
)
def test_a_control_that_can_not_be_one_is_a_sentence(tmp_path, controls, sentence):
    """Of a name that a setting has it would begin at that."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from eostui.dynamics import Dynamics\n"
        "from eostui.stability import ETA, WEIGHT_DECAY, Control, Stability\n\n\n"
        "class Mine(Dynamics):\n    name = 'mine'\n"
        f"    stability = Stability((ETA, WEIGHT_DECAY, {controls}), lambda c: 2 / c['eta'], 'a', 'b')\n"
        "    def step(self, theta, gradient, controls):\n"
        "        return theta - controls['eta'] * gradient\n"
    )
    with pytest.raises(InputError) as caught:
        dynamics_of(RunConfig.build({"dynamics": f"{file}:Mine"}, "test"))
    assert sentence in str(caught.value)


def test_controls_without_a_threshold_are_refused_and_end_no_run(tmp_path):
    """By a key, and by the config's own schedule."""
    file = tmp_path / "mine.py"
    file.write_text(
        "from eostui.dynamics import Dynamics\n"
        "from eostui.stability import ETA, WEIGHT_DECAY, Control, Stability\n\n\n"
        "class Mine(Dynamics):\n    name = 'mine'\n    stability = Stability(\n"
        "        (ETA, WEIGHT_DECAY, Control('gain', 'γ', 'gain', factor=1.1, initial=0.5)),\n"
        "        lambda c: 2 / (c['eta'] * c['gain']), '2/γη−λ', '2/γη',\n    )\n"
        "    def step(self, theta, gradient, controls):\n"
        "        return theta - controls['eta'] * controls['gain'] * gradient\n"
    )
    own = small(steps=12, dynamics=f"{file}:Mine", controls=[{"step": 8, "gain": 0.0}])
    with Run(here(own, tmp_path, {5: [("set", {"gain": 0.0})]})) as run:
        assert run.facts["status"] == "finished"
        refused = [event.payload["reason"] for event in run.events if event.kind == "refused"]
    assert refused == ["with η 0.3, λ 0, γ 0 there is no threshold 2/γη−λ"] * 2
