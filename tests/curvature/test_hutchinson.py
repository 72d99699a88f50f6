"""Hutchinson's estimate of the trace against dense matrices."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from oracles import dense_hessian, gradient

from eostui.curvature.basis import NotFiniteError
from eostui.curvature.directions import random_signs
from eostui.curvature.point import Point
from eostui.curvature.trace import hutchinson, orthonormal

pytestmark = pytest.mark.usefixtures("one_thread")


def signs(size, step=0):
    return partial(random_signs, torch.zeros(size, dtype=torch.float64), 3, step)


def symmetric(size, seed=0):
    normal = torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double()
    return normal + normal.T


def test_signs_are_signs_that_a_replay_draws_again():
    like = torch.zeros(10_000)
    drawn = random_signs(like, 1, 2, 3)
    assert drawn.dtype == torch.float32
    assert set(drawn.tolist()) == {-1.0, 1.0}
    assert abs(float(drawn.mean())) < 0.04
    assert torch.equal(drawn, random_signs(like, 1, 2, 3))
    for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4)]:
        assert abs(float(drawn @ random_signs(like, *other))) < 400


@pytest.mark.parametrize("held", [0, 1, 4])
def test_the_estimate_is_unbiased_and_its_error_is_what_it_says(held):
    """Over 300 estimates: mean within 4 errors of tr H, spread as told, and as the formula has it."""
    matrix = symmetric(30)
    values, vectors = torch.linalg.eigh(matrix)
    leading = vectors.T[values.abs().argsort(descending=True)[:held]] if held else None
    found = [hutchinson(lambda v: matrix @ v, signs(30, step), 8, leading) for step in range(300)]
    estimates = np.array([each.value for each in found])
    told = np.array([each.error for each in found])
    spread = estimates.std(ddof=1)
    assert abs(estimates.mean() - float(matrix.trace())) < 4 * spread / 300**0.5
    assert np.sqrt((told**2).mean()) == pytest.approx(spread, rel=0.15)
    across = torch.eye(30, dtype=torch.float64)
    if leading is not None:
        across = across - leading.T @ leading
    left = across @ matrix @ across
    variance = 2 * float((left**2).sum() - (left.diagonal() ** 2).sum()) / 8
    assert spread == pytest.approx(variance**0.5, rel=0.15)
    assert found[0].products == 8 + held


def test_diagonal_matrices_need_one_draw():
    diagonal = torch.linspace(-3, 9, 40, dtype=torch.float64)
    trace = hutchinson(lambda v: diagonal * v, signs(40), 3)
    assert trace.value == pytest.approx(float(diagonal.sum()), rel=1e-12)
    assert trace.error == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_networks_within_three_errors(small_case, network):
    case = small_case(network, activation="tanh")
    theta = case.theta
    for _ in range(20):
        theta = theta - 0.2 * gradient(case.problem.loss, theta)
    exact = dense_hessian(case.problem.loss, theta)
    leading = torch.linalg.eigh(exact).eigenvectors.T[-3:]
    point = Point(case.problem.loss, theta)
    for held in (None, leading):
        trace = hutchinson(point.hessian_product, signs(len(theta)), 60, held)
        assert trace.value == pytest.approx(float(exact.trace()), abs=3 * trace.error)
        assert 0 < trace.error < 0.2 * float(exact.trace())


def test_directions_need_not_be_orthonormal_and_nothing_may_be_left():
    matrix = symmetric(6)
    directions = torch.randn(3, 6, generator=torch.Generator().manual_seed(2)).double()
    basis = orthonormal(torch.cat([100 * directions, directions[:1] * 1e-3 + directions[1:2]]))
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-12)
    whole = hutchinson(lambda v: matrix @ v, signs(6), 5, torch.eye(6).double())
    assert whole.value == pytest.approx(float(matrix.trace()), rel=1e-12)
    assert whole.error == 0
    assert whole.products == 6
    assert len(orthonormal(torch.zeros(2, 6))) == 0


def test_what_cannot_be_estimated_is_told():
    assert np.isnan(hutchinson(lambda v: v, signs(6), 1).error)
    with pytest.raises(NotFiniteError, match="no trace"):
        hutchinson(lambda v: v * torch.inf, signs(6), 2)
    with pytest.raises(ValueError, match="at least one draw"):
        hutchinson(lambda v: v, signs(6), 0)
