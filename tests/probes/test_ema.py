"""The average of the iterates: by its recursion, captured, and gone on with to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import taped
import torch
from engines import assert_same_rows, entry, here, small
from toy_runs import build, train

from eostui.config import RunConfig
from eostui.curvature import capture
from eostui.curvature.point import plain_gradient
from eostui.dynamics.sgd import SGD
from eostui.errors import InputError
from eostui.problems.batch import loss_of_rows, supervised_parts
from eostui.problems.running_statistics import tracked_layers
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

EMA = {"probes": ("ema",), "ema_decay": 0.9, "test_cadence": 10, "eta": 0.2}


@pytest.mark.parametrize("dynamics", ["gradient-descent", "sgd", "adamw"])
def test_it_is_the_recursion_over_all_iterates(tmp_path, dynamics):
    """θ_t by the run's own checkpointless way: the same steps taken by the dynamics' class."""
    from eostui.dynamics import DYNAMICS
    from eostui.problems.batch import loss_of_rows

    own = small(**EMA, dynamics=dynamics, steps=40, dtype="float64", batch_size=32).changed(
        {"eta": 0.002 if dynamics == "adamw" else 0.2}
    )
    run, _ = train(tmp_path, own)
    problem = build(own)
    kind = DYNAMICS[dynamics](own, problem)
    controls, theta = kind.stability.at_start(own), problem.initial
    average = theta
    for step in range(41):
        average = theta if step == 0 else 0.9 * average + 0.1 * theta
        if step % 10 == 0:
            at = int(np.flatnonzero(run.measured["step"] == step)[0])
            evaluation = problem.test(average)
            expected = {
                "ema_loss": float(plain_gradient(problem.loss, average)[0]),
                "ema_norm": float(average.norm()),
                "ema_distance": float((average - theta).norm()),
                "ema_test_loss": evaluation.loss,
                "ema_test_accuracy": evaluation.accuracy,
                "test_loss": problem.test(theta).loss,
            }
            for name, value in expected.items():
                assert run.measured[name][at] == pytest.approx(value, rel=1e-8, abs=1e-12), name
        rows = kind.batch(step)
        loss = problem.loss if rows is None else loss_of_rows(problem.loss, rows)
        theta = kind.step(theta, plain_gradient(loss, theta)[1], controls)
    assert 0 <= run.measured["ema_train_accuracy"][0] <= 1
    run.close()


@pytest.mark.parametrize("dynamics", ["gradient-descent", "heavy-ball", "sgd"])
def test_resume_fork_and_training_are_the_same_to_the_bit(tmp_path, dynamics):
    own = small(**EMA, dynamics=dynamics, steps=50, batch_size=32).changed({"eta": 0.05})
    whole, part = here(own, tmp_path), here(own, tmp_path, {27: [("stop", {})]})
    here(Resume(entry(part)), tmp_path)
    assert_same_rows(whole, part, whole=True)
    forked = here(Fork(entry(whole), 33, {}), tmp_path)
    plain = here(own.changed({"probes": ()}), tmp_path)
    with Run(whole) as mine, Run(forked) as other, Run(plain) as without:
        np.testing.assert_array_equal(mine["ema_test_loss"][33:], other["ema_test_loss"][33:])
        np.testing.assert_array_equal(mine["theta_norm"], without["theta_norm"])


@pytest.mark.parametrize("dynamics", ["gradient-descent", "heavy-ball"])
def test_captured_it_is_the_same_to_the_bit(tmp_path, monkeypatch, dynamics):
    own = small(**EMA, dynamics=dynamics, steps=60, cadence=30, far_cadence=0).changed(
        {"eta": 0.05}
    )
    called = here(own, tmp_path / "called")
    capturers = taped.tape(monkeypatch)
    monkeypatch.setenv(capture.SWITCH, "1")
    captured = here(own, tmp_path / "captured")
    assert sum(graph.replays for graph in capturers[-1].graphs) > 20
    assert_same_rows(called, captured, whole=True)
    with Run(captured) as run:
        assert np.isfinite(run["ema_loss"][::10]).all()
        assert not any(event.kind == "uncaptured" for event in run.events)


@pytest.mark.parametrize("decay", [1.0, -0.1])
def test_a_share_outside_its_range_is_a_sentence(decay):
    with pytest.raises(InputError, match="`ema_decay`"):
        RunConfig.build({"ema_decay": decay}, "test")


def test_without_the_probe_nothing_is_averaged(tmp_path):
    run, _ = train(tmp_path, small(steps=3))
    assert "ema_loss" not in run
    assert "ema_decay" not in small().acting()
    run.close()


@pytest.mark.parametrize("network", ["preact-resnet18", "scale-invariant-resnet18", "vgg10"])
def test_its_normalisation_statistics_are_those_of_the_training_samples_at_the_average(
    tmp_path, network
):
    """Held against PyTorch's rule by hand: the module at θ̄ in eval mode after the groups came one by
    one, and not with the statistics of θ."""
    own = small(
        **EMA, network=network, stages=[[2, 1], [3, 1]], batch_norm_group=32, steps=20
    ).changed({"dynamics": "sgd", "batch_size": 32, "dtype": "float64", "loss": "cross-entropy"})
    problem, thetas = build(own), []
    run, _ = train(tmp_path, own, problem)
    dynamics = SGD(own, problem)
    average = theta = problem.initial
    for step in range(21):
        average = 0.9 * average + 0.1 * theta
        thetas.append(theta)
        loss = loss_of_rows(problem.loss, dynamics.batch(step))
        gradient = plain_gradient(loss, theta)[1]
        theta = dynamics.step(theta, gradient, {"eta": 0.2, "weight_decay": 0.0})
    at = int(np.flatnonzero(run.measured["step"] == 20)[0])
    (part,), held_out = supervised_parts(problem.loss), problem.arrays
    groups = part.inputs.split(32)
    losses = []
    for statistics_of in (average, thetas[-1]):
        module = problem.module(average)
        seen = _layer_inputs(problem.module(statistics_of).train(), part.inputs)
        for name, layer in tracked_layers(module).items():
            per_group = seen[name].split([len(group) for group in groups])
            axes = [axis for axis in range(per_group[0].ndim) if axis != 1]
            layer.running_mean.copy_(torch.stack([x.mean(axes) for x in per_group]).mean(0))
            layer.running_var.copy_(torch.stack([x.var(axes) for x in per_group]).mean(0))
        with torch.no_grad():
            outputs = module.eval()(held_out["test_inputs"])
        losses.append(float(part.loss(outputs, held_out["test_targets"])))
    found = run.measured["ema_test_loss"][at]
    assert found == pytest.approx(losses[0], rel=1e-9)
    assert abs(found - losses[1]) > 1e-4 * found
    run.close()


def _layer_inputs(module, inputs):
    """Return what comes into each normalised layer, by name."""
    seen = {}
    for name, layer in tracked_layers(module).items():
        layer.register_forward_pre_hook(lambda _, given, name=name: seen.update({name: given[0]}))
    with torch.no_grad():
        module(inputs)
    return seen
