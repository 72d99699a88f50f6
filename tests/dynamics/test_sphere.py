"""Projected SGD: ‖θ‖ = 1 to rounding, its threshold 2/η − 2λ, and what it says of other networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import assert_same_rows, entry, here, small
from toy_runs import EXACT, build, train

from eostui.config import RunConfig
from eostui.curvature.point import Point, plain_gradient
from eostui.dynamics.sphere import SphereSGD, not_invariant
from eostui.engine.session import EngineSession
from eostui.problems import Problem
from eostui.runs.analysis.remarks import remark
from eostui.runs.launch import Resume
from eostui.stability import SPHERE

pytestmark = pytest.mark.usefixtures("one_thread")


class Direction(torch.nn.Module):
    """x ↦ ⟨x, w/‖w‖⟩: the same for every length of w."""

    def __init__(self, start):
        super().__init__()
        self.w = torch.nn.Parameter(torch.as_tensor(start, dtype=torch.float64))

    def forward(self, x):
        return (x @ self.w / (self.w * self.w).sum().sqrt())[:, None]


EIGENVALUES = torch.tensor([0.5, 1.0, 4.0, 9.0], dtype=torch.float64)


def rayleigh(start):
    """L = ½ ŵᵀCŵ with C = diag(EIGENVALUES): at rest at e₁, where the tangent curvatures are cᵢ − c₁."""
    samples = torch.diag((4 * EIGENVALUES).sqrt())
    return Problem.from_module(
        Direction(start), lambda outputs, targets: 0.5 * ((outputs - targets) ** 2).mean(), samples,
        torch.zeros(4, 1, dtype=torch.float64), convention="½⟨x, ŵ⟩², mean over samples",
    )  # fmt: skip


def config(**values):
    return RunConfig.build(
        {**EXACT, "dynamics": "sphere-sgd", "batch_size": 4, "cadence": 10**6,
         "test_cadence": 10**6, **values}, "test",
    )  # fmt: skip


@pytest.mark.parametrize("decay", [0.0, 0.4])
@pytest.mark.parametrize("share", [0.998, 1.002])
def test_steps_on_the_sphere_die_out_just_below_the_threshold_and_grow_just_above(decay, share):
    critical = 8.5  # 9 − 0.5
    eta = share * 2 / (critical + 2 * decay)
    assert SPHERE.threshold({"eta": eta / share, "weight_decay": decay}) == pytest.approx(critical)
    problem = rayleigh([1.0, 1e-6, 1e-6, 1e-6])
    dynamics, theta = SphereSGD(config(), problem), problem.initial / problem.initial.norm()
    before = abs(float(theta[3]))
    for step in range(500):
        assert dynamics.batch(step) is None
        gradient = plain_gradient(problem.loss, theta)[1]
        theta = dynamics.step(theta, gradient, {"eta": eta, "weight_decay": decay})
        assert float(theta.norm()) == pytest.approx(1, abs=4e-16)
    assert (abs(float(theta[3])) > before) == (share > 1)


def test_its_sharpness_is_that_within_the_tangent_space():
    problem = rayleigh([0.6, -0.3, 0.5, 0.2])
    theta = problem.initial / problem.initial.norm()
    point = Point(problem.loss, theta)
    hessian = torch.autograd.functional.hessian(problem.loss, theta)
    projection = torch.eye(4, dtype=torch.float64) - torch.outer(theta, theta)
    product = SphereSGD(config(), problem).operator(point)
    for vector in torch.eye(4, dtype=torch.float64):
        torch.testing.assert_close(product(vector), projection @ hessian @ projection @ vector)
    assert float(point.gradient @ theta) == pytest.approx(0, abs=1e-15)


def test_a_run_begins_and_stays_on_the_sphere(tmp_path):
    problem = rayleigh([3.0, 1.0, -2.0, 0.5])
    run, status = train(
        tmp_path, config(eta=0.1, weight_decay=0.2, steps=40, batch_size=2), problem
    )
    assert status == "finished"
    np.testing.assert_allclose(run.steps["theta_norm"], 1, rtol=0, atol=5e-16)
    assert run.steps["stability_threshold"][0] == pytest.approx(20 - 0.4)
    told = {column.name: column.description for column in run.exported()}
    assert "tangent to the sphere" in told["sharpness"]
    run.close()


@pytest.mark.parametrize(("every", "steps"), [(3, 3), ("epoch", 2)])
def test_between_projections_it_is_sgd(tmp_path, every, steps):
    own = config(eta=0.3, steps=12, batch_size=2, project_every=every)
    run, _ = train(tmp_path, own, rayleigh([3.0, 1.0, -2.0, 0.5]))
    norms = run.steps["theta_norm"]
    on = np.abs(norms - 1) < 1e-15
    assert on[::steps].all()
    assert not on[1::steps].any()  # a step is orthogonal to θ, and lengthens it
    run.close()


def test_a_network_that_is_not_invariant_is_told_with_how_far_it_is(tmp_path):
    assert not not_invariant(rayleigh([3.0, 1.0, -2.0, 0.5]))
    own, heard = small(dynamics="sphere-sgd", batch_size=32, steps=20), []
    session = EngineSession(own, tmp_path, heard.append)
    assert any("isn't scale-invariant: twice the weights change L from" in text for text in heard)
    assert float(session.problem.initial.norm()) == pytest.approx(1, abs=1e-6)
    path = here(own, tmp_path)
    from eostui.runs.run import Run

    with Run(path) as run:
        said = [remark(event) for event in run.events if event.kind == "not_invariant"]
        assert len(said) == 1
        assert "not 0" in said[0]


def test_a_resume_goes_on_to_the_bit(tmp_path):
    own = small(dynamics="sphere-sgd", batch_size=32, steps=40, project_every="epoch", eta=0.1)
    whole = here(own, tmp_path)
    part = here(own, tmp_path, {23: [("stop", {})]})
    here(Resume(entry(part)), tmp_path)
    assert_same_rows(whole, part, whole=True)
    assert build(own).initial.norm() > 2  # the problem itself isn't changed
