"""Slices of L and S: against closed forms, and a dense Hessian at every point."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import LOSS, dense_hessian, mlp

from eostui.curvature.point import Point
from eostui.curvature.slices import Searcher, along, over_line, over_plane

pytestmark = pytest.mark.usefixtures("one_thread")

X = np.linspace(-1.5, 1.5, 13)
SPECTRUM = torch.tensor([7.0, 5.0, 1.0, 0.1, -2.0], dtype=torch.float64)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def begun(loss, theta):
    searcher = Searcher(1e-12, 0, 0)
    return searcher, searcher.search(Point(loss, theta), vector=True)


def cubic(theta):
    """½(3 + 2y)x² + ½y²: the sharpness across the valley x = 0 rises with y."""
    x, y = theta
    return (3 + 2 * y) * x**2 / 2 + y**2 / 2


def cubic_sharpness(x, y):
    """The larger eigenvalue of its Hessian [[3 + 2y, 2x], [2x, 1]]."""
    mean, half = (4 + 2 * y) / 2, (2 + 2 * y) / 2
    return mean + np.hypot(half, 2 * x)


def test_on_a_quadratic_L_is_a_parabola_of_curvature_S():
    turn = torch.linalg.qr(torch.arange(25.0, dtype=torch.float64).reshape(5, 5).sin())[0]
    hessian = turn @ torch.diag(SPECTRUM) @ turn.T

    def loss(theta):
        return theta @ hessian @ theta / 2

    theta = torch.linspace(0.2, 1.0, 5, dtype=torch.float64)
    searcher, pairs = begun(loss, theta)
    u = pairs.vectors[0]
    found = over_line(loss, theta, u, X, searcher)
    slope = float(hessian @ theta @ u)
    np.testing.assert_allclose(
        found.loss, float(loss(theta)) + slope * X + 7.0 * X**2 / 2, rtol=1e-12
    )
    np.testing.assert_allclose(found.sharpness, 7.0, rtol=1e-12)
    assert found.residual.max() < 1e-6
    assert found.products > 0
    assert not found.unconverged


def test_a_cubic_valley_along_its_sharpness_and_across_it():
    theta = vector(0.0, 0.5)
    searcher, pairs = begun(cubic, theta)
    u = pairs.vectors[0]
    rising = Point(cubic, theta).third_derivative(u)
    np.testing.assert_allclose(rising.numpy(), (0.0, 2.0), atol=1e-12)
    up = over_line(cubic, theta, rising / rising.norm(), X / 2, searcher)
    np.testing.assert_allclose(up.sharpness, 4 + 2 * X / 2, rtol=1e-12)
    np.testing.assert_allclose(up.loss, (0.5 + X / 2) ** 2 / 2, rtol=1e-12, atol=1e-15)
    across = over_line(cubic, theta, u, X, searcher)
    np.testing.assert_allclose(across.sharpness, cubic_sharpness(X, 0.5), rtol=1e-12)


def test_a_plane_of_the_cubic_valley_row_by_row():
    theta, y = vector(0.0, 0.5), np.linspace(-0.75, 1.0, 8)
    axes = vector(1.0, 0.0), vector(0.0, 1.0)
    told = []
    found = over_plane(cubic, theta, axes, X, y, begun(cubic, theta)[0], lambda: told.append(None))
    x_at, y_at = np.meshgrid(X, 0.5 + y)
    values = found.sharpness.reshape(x_at.shape)
    np.testing.assert_allclose(values, cubic_sharpness(x_at, y_at), rtol=1e-12)
    expected = (3 + 2 * y_at) * x_at**2 / 2 + y_at**2 / 2
    np.testing.assert_allclose(found.loss.reshape(x_at.shape), expected, rtol=1e-12, atol=1e-15)
    assert len(told) == len(X) * len(y)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_S_of_a_network_is_that_of_the_dense_hessian_at_every_point(activation):
    """Far enough along two lines that the leading eigenvector is another one at their ends."""
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(9, n, generator=generator, dtype=torch.float64) for n in (2, 2))
    theta = torch.randn(23, generator=generator, dtype=torch.float64)

    def loss(theta):
        return LOSS["mse"](mlp(theta, x, (3, 2), 2, activation)[0], y)

    searcher, pairs = begun(loss, theta)
    direction = torch.randn(23, generator=generator, dtype=torch.float64)
    for line in (pairs.vectors[0], direction / direction.norm()):
        found = over_line(loss, theta, line, X, searcher)
        dense = [dense_hessian(loss, theta + at * line) for at in X.tolist()]
        largest = [float(torch.linalg.eigvalsh(each)[-1]) for each in dense]
        np.testing.assert_allclose(found.sharpness, largest, rtol=1e-9)
        losses = [float(loss(theta + at * line)) for at in X.tolist()]
        np.testing.assert_allclose(found.loss, losses, rtol=1e-13)
    ends = [torch.linalg.eigh(each)[1][:, -1] for each in (dense[0], dense[-1])]
    assert abs(float(ends[0] @ ends[1])) < 0.9  # S was followed through a change of u


def test_a_line_on_which_eigenvalues_cross():
    """½(1 + x)²a² + ½(1 − x)²b² at a = b = 0: H is diagonal, and what leads changes at x = 0."""

    def loss(theta):
        a, b, x = theta
        return (1 + x) ** 2 * a**2 / 2 + (1 - x) ** 2 * b**2 / 2

    theta = torch.zeros(3, dtype=torch.float64)
    searcher, pairs = begun(loss, theta)
    assert not pairs.separated or pairs.values[0] == pytest.approx(pairs.values[1])
    found = over_line(loss, theta, vector(0.0, 0.0, 1.0), X, searcher)
    np.testing.assert_allclose(found.sharpness, (1 + np.abs(X)) ** 2, rtol=1e-10)


def test_what_overflows_far_out_is_left_out_and_the_rest_is_right():
    def loss(theta):
        return torch.exp(theta[0] ** 2) + 3 * theta[1] ** 2 / 2

    theta, x = torch.zeros(2, dtype=torch.float64), np.linspace(-40.0, 40.0, 9)
    searcher, _ = begun(loss, theta)
    found = over_line(loss, theta, vector(1.0, 0.0), x, searcher)
    finite = x**2 < 700
    assert np.isfinite(found.loss).tolist() == finite.tolist()
    with np.errstate(over="ignore"):
        second = (2 + 4 * x**2) * np.exp(x**2)
    np.testing.assert_allclose(found.sharpness[finite], np.maximum(second[finite], 3.0), rtol=1e-10)
    assert np.isnan(found.sharpness[~finite]).all()


def test_without_a_searcher_there_are_no_products():
    theta = vector(0.3, 0.5)
    found = along(cubic, theta, vector(1.0, 0.0), X.tolist(), None)
    assert found.products == 0
    assert np.isnan(found.sharpness).all()
    np.testing.assert_allclose(found.loss, 4 * (0.3 + X) ** 2 / 2 + 0.125, rtol=1e-13)
    assert math.isclose(found.loss[6], float(cubic(theta)))
