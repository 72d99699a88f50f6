"""The probes of the sharpness at radii: in runs, resumed, forked, replayed; where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from engines import Engine, assert_same_rows, derived, entry, here, small
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.curvature.point import Point
from eostui.probes import probes_of
from eostui.probes.probe_set import ProbeSet
from eostui.probes.radius import EVERY
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH = {"probes": ["radius", "radii"], "cadence": 1, "far_cadence": 0, "steps": 240}
AT = ("radius", "tenth_radius", "3_radii", "10_radii")


def known(run, name):
    """The steps at which a column has numbers, and these."""
    values = run.measured[name]
    return run.measured["step"][~np.isnan(values)].astype(int), values[~np.isnan(values)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A ReLU network that comes to its edge, never interrupted."""
    return here(small(**BOTH, eta=0.9), tmp_path_factory.mktemp("plain"))


def test_it_is_no_less_than_the_path_curvature(plain):
    """κ is the same quotient along the step itself; float32 rounds the points by some ten-thousandths."""
    with Run(plain) as run:
        steps, values = known(run, "sharpness_at_radius")
        assert steps.tolist() == list(range(0, 241, EVERY))
        met = run.steps["path_curvature"][steps[:-1]]
        assert (values[:-1] >= met * (1 - 1e-3)).all()
        assert (run.steps["step_cosine"] < -0.9).any()
        for at in AT:
            _, residual = known(run, f"sharpness_at_{at}_residual")
            _, overlap = known(run, f"sharpness_at_{at}_overlap")
            assert ((residual >= 0) & (residual < 0.5)).all()
            assert ((overlap >= 0) & (overlap <= 1 + 1e-6)).all()
            assert len(residual) == len(overlap) == len(steps)


def test_where_the_step_is_short_on_a_smooth_network_it_is_the_sharpness(tmp_path):
    """By S of the same step, at the end of the radius rather than its middle: to what θ moves by."""
    config = small(
        probes=["radius"], cadence=1, far_cadence=0, steps=60, activation="tanh", eta=1e-3,
        dtype="float64", tolerance=1e-9,
    )  # fmt: skip
    with Run(here(config, tmp_path)) as run:
        steps, values = known(run, "sharpness_at_radius")
        sharpness = run.measured["sharpness"][np.searchsorted(run.measured["step"], steps)]
        np.testing.assert_allclose(values, sharpness, rtol=1e-3)


def test_it_is_killed_resumed_and_replayed_to_the_bit(plain, tmp_path):
    engine = Engine(small(**BOTH, eta=0.9), tmp_path)
    engine.reaches(70)
    engine.kill()
    resumed = Engine(Resume(entry(engine.path)), tmp_path)
    assert resumed.ended() == 0
    assert_same_rows(plain, resumed.path, whole=True)
    assert derived(resumed.path) == derived(plain)
    told = CliRunner().invoke(app, ["replay", str(resumed.path), "--json"])
    assert json.loads(told.stdout)["identical"] is True


def test_a_fork_goes_on_with_it_to_the_bit_and_another_without(plain, tmp_path):
    same = here(Fork(entry(plain), 130), tmp_path)
    assert_same_rows(plain, same, whole=True)
    without = here(Fork(entry(plain), 130, {"probes": []}), tmp_path)
    with Run(plain) as one, Run(without) as other:
        np.testing.assert_array_equal(one.steps["loss"], other.steps["loss"])
        assert known(other, "sharpness_at_radius")[0].tolist() == list(range(0, 130, EVERY))


def test_it_changes_nothing_of_a_run(plain, tmp_path):
    without = here(small(**{**BOTH, "probes": []}, eta=0.9), tmp_path)
    with Run(plain) as one, Run(without) as other:
        mine, others = one.columns(), other.columns()
        for name in others.keys() - {"hessian_products"}:
            np.testing.assert_array_equal(mine[name], others[name], name)


def test_in_midpoint_runs_it_is_that_of_the_step_all_the_same(plain, tmp_path):
    """Its centre is the step's middle, whatever point the others are measured at."""
    config = small(**BOTH, eta=0.9, reading="midpoint")
    with Run(plain) as one, Run(here(config, tmp_path)) as other:
        raw, midpoint = (known(run, "sharpness_at_radius")[1] for run in (one, other))
        np.testing.assert_allclose(midpoint, raw, rtol=0.05)
        assert (
            "; taken at the step's middle"
            in next(
                column for column in other.exported() if column.name == "sharpness_at_radius"
            ).description
        )


@pytest.mark.parametrize("step", [None, 0.0, 1e-9])
def test_where_there_is_no_step_to_tell_of_it_stays_empty(small_case, step):
    """None at all, one of length 0, and one that float32 doesn't see."""
    case = small_case("mlp", cadence=1, eta=0.3, probes=("radius", "radii"), dtype="float32")
    probes = ProbeSet(case.config, case.problem, probes_of(case.config))
    moment = probes.moment(0, {"eta": 0.3, "weight_decay": 0.0})
    theta = case.problem.initial
    moment.theta = theta
    moment.displacement = None if step is None else torch.full_like(theta, step)
    readings = probes.measure(probes.due(moment), Point(case.problem.loss, theta), moment)
    values = {name for reading in readings for name in reading.values}
    assert "sharpness" in values
    assert not any(name.startswith("sharpness_at") for name in values)
    assert not any(reading.remarks for reading in readings)
