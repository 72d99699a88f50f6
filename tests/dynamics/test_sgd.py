"""Mini-batch SGD: its batches, its steps, what rows hold of them, and the batch sharpness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import assert_same_rows, entry, here, small
from hypothesis import given
from hypothesis import strategies as st
from toy_runs import build, toy_config, train

from eostui.config import RunConfig
from eostui.curvature.batches import Batches
from eostui.curvature.point import Point, plain_gradient
from eostui.dynamics.sgd import SGD
from eostui.engine.replay import replay
from eostui.engine.session import EngineSession
from eostui.errors import InputError
from eostui.probes.batch_sharpness import BatchSharpness
from eostui.probes.probe import Moment
from eostui.problems.batch import loss_of_rows
from eostui.runs.analysis.run_phases import classify, recorded_spans
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.stability import SGD as STABILITY

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {"samples": 60, "width": 5, "depth": 1, "activation": "tanh", "dtype": "float64"}


def sgd(**values):
    return small(**{"dynamics": "sgd", "batch_size": 16, "eta": 0.1, **values})


@given(st.integers(1, 40), st.integers(0, 2**40), st.data())
def test_an_epochs_batches_are_a_permutation_without_its_remainder(samples, seed, data):
    size = data.draw(st.integers(1, samples))
    if size == samples:
        assert Batches(samples, size, seed, replacement=False).rows(3) is None
        return
    batches = Batches(samples, size, seed, replacement=False)
    assert batches.per_epoch == samples // size
    for epoch in range(3):
        steps = range(epoch * batches.per_epoch, (epoch + 1) * batches.per_epoch)
        rows = torch.cat([batches.rows(step) for step in steps])
        assert len(rows) == len({*rows.tolist()}) == size * batches.per_epoch
    # by seed and step alone, in any order
    again = Batches(samples, size, seed, replacement=False)
    for step in (2 * batches.per_epoch, 0, 2 * batches.per_epoch):
        assert torch.equal(again.rows(step), batches.rows(step))


def test_epochs_and_seeds_differ_and_with_replacement_samples_come_twice():
    first = Batches(100, 25, 1, replacement=False)
    epochs = [torch.cat([first.rows(4 * epoch + n) for n in range(4)]) for epoch in range(3)]
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(first.rows(0), Batches(100, 25, 2, replacement=False).rows(0))
    drawn = Batches(100, 25, 1, replacement=True)
    rows = torch.stack([drawn.rows(step) for step in range(400)])
    assert any(len({*each}) < 25 for each in rows.tolist())
    counts = torch.bincount(rows.flatten(), minlength=100).double()
    assert counts.min() > 60  # 100 each in the mean, with a deviation of 10
    assert counts.max() < 140


def test_the_mean_over_an_epochs_gradients_is_the_full_gradient():
    own = small(**TINY, dynamics="sgd", batch_size=12)
    problem = build(own)
    dynamics = SGD(own, problem)
    theta = problem.initial
    found = [
        plain_gradient(loss_of_rows(problem.loss, dynamics.batch(step)), theta)[1]
        for step in range(5, 10)
    ]
    torch.testing.assert_close(
        torch.stack(found).mean(dim=0),
        plain_gradient(problem.loss, theta)[1],
        rtol=1e-12,
        atol=1e-14,
    )


@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_one_batch_of_all_samples_is_gradient_descent_to_the_bit(tmp_path, decay):
    values = {"eta": 0.3, "weight_decay": decay, "steps": 40}
    one, other = (tmp_path / name for name in ("sgd", "descent"))
    for folder in (one, other):
        folder.mkdir()
    run, _ = train(one, sgd(batch_size=100, **values))
    descent, _ = train(other, small(**values))
    for name in ("theta_norm", "loss", "step_norm", "step_cosine", "train_accuracy"):
        np.testing.assert_array_equal(run.steps[name], descent.steps[name], name)
    np.testing.assert_array_equal(run.steps["batch_loss"], descent.steps["loss"])
    np.testing.assert_array_equal(  # whose last row's is known here alone
        run.steps["batch_loss_step"][:-1], descent.steps["loss_step"][:-1]
    )
    np.testing.assert_array_equal(
        run.steps["batch_path_curvature"][:-1], descent.steps["path_curvature"][:-1]
    )
    np.testing.assert_array_equal(run.measured["sharpness"], descent.measured["sharpness"])
    run.close()
    descent.close()


def test_rows_are_what_their_names_say(tmp_path):
    """Against the same steps written out, with autograd on each batch."""
    own = sgd(**TINY, weight_decay=0.05, steps=30, cadence=10, far_cadence=0, test_cadence=10**6)
    run, status = train(tmp_path, own)
    assert status == "finished"
    problem = build(own)
    dynamics, theta = SGD(own, problem), problem.initial
    for step in range(30):
        loss = loss_of_rows(problem.loss, dynamics.batch(step))
        before, gradient = plain_gradient(loss, theta)
        moved = (1 - 0.1 * 0.05) * theta - 0.1 * gradient
        after, gradient_after = plain_gradient(loss, moved)
        displacement = moved - theta
        kappa = (gradient_after - gradient) @ displacement / (displacement @ displacement)
        expected = {
            "batch_loss": before, "batch_loss_step": after - before, "batch_path_curvature": kappa,
            "theta_norm": theta.norm(),
        }  # fmt: skip
        for name, value in expected.items():
            assert run.steps[name][step] == pytest.approx(float(value), rel=1e-9, abs=1e-13)
        if step % 10 == 0:
            full = plain_gradient(problem.loss, theta)[0]
            assert run.steps["loss"][step] == pytest.approx(float(full), rel=1e-12)
        else:
            assert np.isnan(run.steps["loss"][step])
            assert np.isnan(run.steps["train_accuracy"][step])
        theta = moved
    assert np.isnan(run.steps["path_curvature"]).all()
    assert run.loss_at() == run.steps["loss"][30]
    assert run.loss_at(29) == run.steps["loss"][20]
    assert run.steps["stability_threshold"][0] == STABILITY.threshold(
        {"eta": 0.1, "weight_decay": 0.05}
    )
    phases = {span.phase.name for span in recorded_spans(run.events, run.last_step)}
    assert phases <= {"transient", "sharpening", "flattening"}
    assert [change.step for change in classify(run)] == [
        event.step for event in run.events if event.kind == "phase"
    ]
    run.close()


def test_without_a_second_look_a_row_lacks_what_the_batch_does_at_the_end(tmp_path):
    run, _ = train(tmp_path, sgd(steps=12, batch_ends=False))
    assert np.isnan(run.steps["batch_loss_step"]).all()
    assert np.isnan(run.steps["batch_path_curvature"]).all()
    assert np.isfinite(run.steps["batch_loss"]).all()
    run.close()


def test_a_run_that_diverges_between_two_measurements_is_told_by_its_batches(tmp_path):
    run, status = train(tmp_path, sgd(eta=40.0, steps=400, cadence=200, far_cadence=0))
    assert status == "diverged"
    assert run.last_step < 200
    assert run.events[-1].kind == "phase"
    run.close()


@pytest.mark.parametrize("replacement", [False, True])
def test_a_resume_and_a_fork_see_the_same_batches(tmp_path, replacement):
    probe = {
        "probes": ("batch_sharpness",), "batch_sharpness_cadence": 10, "batch_sharpness_draws": 3,
    }  # fmt: skip
    own = sgd(steps=60, replacement=replacement, **probe)
    whole = here(own, tmp_path)
    part = here(own, tmp_path, {33: [("stop", {})]})
    here(Resume(entry(part)), tmp_path)
    assert_same_rows(whole, part, whole=True)
    session = EngineSession(own, tmp_path, lambda _text: None, whole)
    again = replay(session, whole, lambda *_steps: None)
    assert again.exact
    assert not again.differences
    forked = here(Fork(entry(whole), 27, {}), tmp_path)
    with Run(whole) as mine, Run(forked) as other:
        at = slice(27, None)
        np.testing.assert_array_equal(mine.steps["batch_loss"][at], other.steps["batch_loss"][at])
        np.testing.assert_array_equal(mine["batch_sharpness"][at], other["batch_sharpness"][at])


def test_the_batch_sharpness_is_the_explicit_mean_with_its_error():
    own = sgd(**TINY, probes=("batch_sharpness",), batch_sharpness_draws=7)
    problem = build(own)
    probe, theta = BatchSharpness(own, problem), problem.initial
    point = Point(problem.loss, theta)
    moment = Moment(20, {"eta": 0.1, "weight_decay": 0.0}, STABILITY)
    found = probe.measure(point, moment)
    drawn = Batches(60, 16, own.seed, replacement=False).aside(20, 7)
    assert len({*torch.cat(drawn[:3]).tolist()}) == 48  # three batches are a permutation's
    values = []
    for rows in drawn:
        loss = loss_of_rows(problem.loss, rows)
        hessian = torch.autograd.functional.hessian(loss, theta)
        gradient = torch.autograd.functional.jacobian(loss, theta)
        values.append(float(gradient @ hessian @ gradient / (gradient @ gradient)))
    assert found.values["batch_sharpness"] == pytest.approx(np.mean(values), rel=1e-9)
    error = np.std(values, ddof=1) / np.sqrt(7)
    assert found.values["batch_sharpness_error"] == pytest.approx(error, rel=1e-7)
    assert found.products == 7


def test_over_every_batch_of_one_sample_it_is_the_expectation():
    own = sgd(**{**TINY, "samples": 9}, batch_size=1, batch_sharpness_draws=9)
    problem = build(own)
    probe = BatchSharpness(own, problem)
    point = Point(problem.loss, problem.initial)
    found = probe.measure(point, Moment(0, {"eta": 0.1, "weight_decay": 0.0}, STABILITY))
    values = []
    for sample in range(9):
        loss = loss_of_rows(problem.loss, torch.tensor([sample]))
        hessian = torch.autograd.functional.hessian(loss, problem.initial)
        gradient = torch.autograd.functional.jacobian(loss, problem.initial)
        values.append(float(gradient @ hessian @ gradient / (gradient @ gradient)))
    assert found.values["batch_sharpness"] == pytest.approx(np.mean(values), rel=1e-9)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (lambda: sgd(batch_size=101), "`batch_size` is 101, but there are 100 training samples"),
        (lambda: sgd(calibrate_at=3), "`calibrate_at` is 3, but the reduced oscillator"),
        (
            lambda: toy_config("four-layer-scalar", dynamics="sgd"),
            "function of θ alone: it has none",
        ),
        (lambda: small(probes=("batch_sharpness",)), "gradient-descent has none"),
    ],
)
def test_what_it_cannot_be_had_on_is_a_sentence_before_a_run(tmp_path, config, said):
    with pytest.raises(InputError, match=said):
        EngineSession(config(), tmp_path, lambda _text: None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"batch_size": 0}, "`batch_size`"),
        ({"processes": 2}, "`processes` is 2, but must be 1 with the dynamics sgd"),
        ({"eta": 2.0, "weight_decay": 0.6}, "flip the sign"),
        ({"controls": [{"epoch": 3, "eta": 0.01}]}, "an epoch is many steps: give `step`"),
    ],
)
def test_what_it_cannot_be_given_is_a_sentence(values, said):
    with pytest.raises(InputError, match=said):
        RunConfig.build({"dynamics": "sgd", **values}, "test")
