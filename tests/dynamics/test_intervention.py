"""Interventions in a step: exact on quadratics, nothing where nothing is above the bound, on record."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_runs import EXACT, train

from eostui.config import RunConfig
from eostui.dynamics.intervention import Intervention, intervened
from eostui.problems import Problem

pytestmark = pytest.mark.usefixtures("one_thread")

CURVATURES = np.array([30.0, 22.0, 12.0, 3.0])


def config(**values):
    return RunConfig.build(
        {**EXACT, "eta": 0.1, "steps": 40, "cadence": 7, "eigenvalues": 3, **values}, "test"
    )


def turned_quadratic(seed=3):
    """½ θᵀQ diag(s) Qᵀθ, and Q: each coordinate ⟨q_i, θ⟩ moves by itself."""
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]
    hessian = torch.from_numpy(q @ np.diag(CURVATURES) @ q.T)
    start = torch.from_numpy(q @ np.array([1.0, 0.5, 2.0, 3.0]))
    return Problem(start, lambda at: 0.5 * at @ hessian @ at, "½ θᵀHθ"), q


@pytest.mark.parametrize(
    ("along", "across", "above"),
    [(0.0, 1.0, 1.0), (0.25, 1.0, 1.0), (1.0, 0.0, 1.0), (0.5, 0.75, 0.5), (2.0, 1.0, 1.3)],
)
@pytest.mark.parametrize("dynamics", ["gradient-descent", "heavy-ball"])
def test_each_coordinate_of_a_quadratic_moves_by_its_own_share(
    tmp_path, along, across, above, dynamics
):
    """Against the closed form: with curvature s above the bound z⁺ = z + σ(μ(z − z⁻) − η(s + λ)z)."""
    eta, decay, momentum = 0.1, 0.5, 0.25 if dynamics == "heavy-ball" else 0.0
    problem, q = turned_quadratic()
    own = config(
        dynamics=dynamics, momentum=momentum, weight_decay=decay, sharp_step=along,
        other_step=across, sharp_above=above,
    )  # fmt: skip
    run, status = train(tmp_path, own, problem)
    threshold = (2 + 2 * momentum) / eta - decay
    share = np.where(above * threshold < CURVATURES, along, across)
    z = before = q.T @ problem.initial.numpy()
    norms, losses = [], []
    for _ in range(len(run.steps)):
        norms.append(np.linalg.norm(z))
        losses.append(0.5 * (CURVATURES * z * z).sum())
        z, before = z + share * (momentum * (z - before) - eta * (CURVATURES + decay) * z), z
    with run:
        np.testing.assert_allclose(run.steps["theta_norm"], norms, rtol=1e-9)
        np.testing.assert_allclose(run.steps["loss"], losses, rtol=1e-8)
        assert (status == "diverged") == (losses[-1] > 1e4 * losses[0])


def test_with_share_0_the_component_along_u_does_not_move():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.linalg.qr(torch.randn(50, 3, generator=generator, dtype=torch.float64))[0].T
    theta, step = torch.randn(2, 50, generator=generator, dtype=torch.float64)
    intervention = Intervention()
    controls = {"sharp_step": 0.0, "other_step": 1.0, "sharp_above": 1.0}
    intervention.set(controls, 10.0, [30.0, 11.0, 9.0], vectors, theta)
    assert intervention.above == 2
    moved = intervened(theta, theta + step, intervention.carried) - theta
    assert (vectors[:2] @ moved).abs().max() < 1e-14
    torch.testing.assert_close(vectors[2] @ moved, vectors[2] @ step)
    others = step - vectors[:2].T @ (vectors[:2] @ step)
    torch.testing.assert_close(moved, others)
