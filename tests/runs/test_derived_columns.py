"""Columns that follow from stored ones: of the bounce and of the descent, and the identity of MATH §2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import here
from toy_runs import toy_config, train

from eostui import presets
from eostui.problems import Problem
from eostui.runs.run import Run, bounce_norms
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")

TOYS = sorted(name for name in presets.available() if name.startswith("toy-"))
#: Roundings by which a step may be off, as a share of its length, for each of θ beside it.
ROUNDINGS = 64


def identity_holds(run):
    """step_cosine·(‖Δθ_{t+1}‖/‖Δθ_t‖) = 1 − η(κ + λ) to rounding at every step; how many there were.

    A step is a difference of rounded θ, so that rounding is ‖θ‖/‖Δθ‖ times that of a number.
    """
    steps = run.steps
    eps = np.finfo(run.config.dtype).eps
    length, following = steps["step_norm"][:-2], steps["step_norm"][1:-1]
    left = steps["step_cosine"][1:-1] * following / length
    right = 1 - steps["eta"][:-2] * (steps["path_curvature"][:-2] + steps["weight_decay"][:-2])
    allowed = ROUNDINGS * eps * (1 + (steps["theta_norm"][:-2] / length))
    moves = (length > 0) & (following > 0)  # one of length 0 has no cosine
    off = np.abs(left - right)[moves] / allowed[moves]
    assert off.max() < 1, (int(np.argmax(off)), off.max())
    return int(moves.sum())


def whole_or_begun(name, steps, folder, **changes):
    config = presets.load(name).config
    most = {"steps": min(config.steps, steps)} if steps else {}
    rare = {"cadence": 500, "test_cadence": 10_000, "far_cadence": 0, "calibrate_at": "never"}
    pauses = {"pause_at": [], "measure": "spectrum", "tolerance": 1e-3}
    return Run(here(config.changed({**rare, **pauses, **most, **changes}), folder))


@pytest.mark.parametrize("name", TOYS)
def test_the_identity_at_every_step_of_every_toy_preset(name, tmp_path):
    """Of their first steps; the slow test has all of them."""
    with whole_or_begun(name, 400, tmp_path) as run:
        assert identity_holds(run) >= 290


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_identity_at_every_step_of_the_digits_preset(dtype, tmp_path):
    changes = {"dtype": dtype, "weight_decay": 1e-3, "eta": 0.6}  # bounces from the beginning
    with whole_or_begun("digits-mlp", 120, tmp_path, **changes) as run:
        assert identity_holds(run) == 119
        assert (run.steps["step_cosine"] < -0.5).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TOYS, "digits-mlp", "digits-mlp-tanh"])
def test_the_identity_at_every_step_of_a_whole_run(name, tmp_path):
    with whole_or_begun(name, None, tmp_path) as run:
        assert identity_holds(run) >= run.config.steps // 2


@pytest.mark.parametrize(
    ("problem", "arguments", "eta"),
    [("two-layer-scalar", {"start": [3.0, 0.1]}, 0.25), ("elliptical-valley", {"a": 4.0}, 0.07)],
)
def test_the_bounce_norm_is_the_distance_from_the_midpoint_path(problem, arguments, eta, tmp_path):
    config = toy_config(problem, arguments, eta=eta, steps=120, weight_decay=0.01)
    run, _ = train(tmp_path, config)
    theta = np.stack([run.steps["theta_1"], run.steps["theta_2"]], axis=1)
    centre = (theta[:-2] + 2 * theta[1:-1] + theta[2:]) / 4
    wanted = np.linalg.norm(theta[1:-1] - centre, axis=1)
    found = run["bounce_norm"]
    assert np.isnan(found[[0, -1]]).all()
    # a cosine is known to a rounding, and the distance of nearly equal steps to the root of that
    np.testing.assert_allclose(found[1:-1], wanted, rtol=1e-7, atol=3e-8 * run["step_norm"][0])
    assert (wanted > 0.2 * run["step_norm"][1:-1]).any()


def test_lengths_of_a_bounce_in_closed_form():
    one, half, none = np.array([1.0]), np.array([0.5]), np.array([0.0])
    assert bounce_norms(one, one, -one) == 0.5  # there and back
    assert bounce_norms(one, one, one) == 0.0  # straight on
    assert bounce_norms(one, half, one) == 0.125
    assert bounce_norms(one, one, none) == pytest.approx(2**0.5 / 4)


def quadratic(curvatures, start):
    curvatures = torch.tensor(curvatures, dtype=torch.float64)
    return Problem(
        torch.tensor(start, dtype=torch.float64),
        lambda theta: (curvatures * theta**2).sum() / 2,
        "as it is",
    )


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_the_descent_bound_is_met_along_the_sharpest_direction(decay, tmp_path):
    """Where all curvature is S the step of L_λ is the bound; where some is less, below it."""
    config = toy_config(
        "two-layer-scalar", eta=0.4, weight_decay=decay, steps=40, cadence=4, tolerance=1e-12
    )
    for curvatures, exact in (([3.0], True), ([3.0, 1.0, 0.5], False)):
        folder = tmp_path / str(exact)
        folder.mkdir()
        run, _ = train(folder, config, quadratic(curvatures, [1.0] * len(curvatures)))
        at = run.measured["step"].astype(int)[:-1]
        bound, step = run.measured["descent_bound"][:-1], run.steps["loss_step_regularized"][at]
        assert (bound < 0).all()
        assert np.isnan(run.measured["descent_bound"][-1])  # its step isn't known
        if exact:
            np.testing.assert_allclose(step, bound, rtol=1e-9)
        else:
            assert (step[1:] < bound[1:] + 1e-15).all()
            gradient = np.array(curvatures)[:, None] + decay
            square = (gradient**2).sum()
            assert bound[0] == pytest.approx(-0.2 * (2 - 0.4 * (3 + decay)) * square, rel=1e-9)


def test_of_other_dynamics_there_is_no_such_bound(tmp_path):
    config = toy_config("two-layer-scalar", eta=0.1, steps=20, dynamics="heavy-ball", cadence=4)
    run, _ = train(tmp_path, config)
    assert "descent_bound" not in run
    assert np.isfinite(run["bounce_norm"][1:-1]).all()


def test_followed_row_by_row_they_are_those_of_the_whole_run(tmp_path):
    """A reading's bound waits for the row after it, wherever a viewer looks in between."""
    config = toy_config("elliptical-valley", {"a": 4.0}, eta=0.07, steps=60, cadence=3)
    whole, _ = train(tmp_path, config)
    steps, measured = whole.steps, whole.measured
    arrived = [
        np.append(np.nan, steps[name][:-1])
        for name in ("path_curvature", "step_cosine", "step_norm")
    ]
    kept = [steps[name] for name in ("eta", "weight_decay", "theta_1", "theta_2")]
    norm = steps["theta_norm"]
    matrix = np.stack([steps["loss"], norm, norm, *arrived, *kept], axis=1)
    writer = RunWriter(tmp_path / "again", dict(whole.facts))
    followed = Run(tmp_path / "again")
    for step in range(61):
        writer.steps(step, matrix[step : step + 1])
        if step % 3 == 0:
            writer.measurement(step, {"sharpness": measured["sharpness"][step // 3]})
        if step % 2 or step % 5 == 0:
            writer.flush()
            followed.refresh()
    writer.close()
    followed.refresh()
    for name in ("bounce_norm", "descent_bound"):
        assert np.isfinite(whole[name]).sum() >= 20
        np.testing.assert_array_equal(followed[name], whole[name], name)
    followed.close()
