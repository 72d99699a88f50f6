"""Stochastic Lanczos quadrature against spectra that are known exactly."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from oracles import dense_hessian, gradient, mlp_module

from eostui.curvature.basis import NotFiniteError
from eostui.curvature.density import lanczos_quadrature
from eostui.curvature.directions import random_direction, random_signs
from eostui.curvature.point import Point
from eostui.curvature.trace import hutchinson
from eostui.quadrature import AGREE, Quadrature

pytestmark = pytest.mark.usefixtures("one_thread")


def with_spectrum(values, seed=0, dtype=torch.float64):
    """A dense symmetric matrix with these eigenvalues, and random eigenvectors."""
    values = torch.as_tensor(np.asarray(values, dtype=np.float64))
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(len(values), len(values), generator=generator, dtype=torch.float64)
    vectors, _ = torch.linalg.qr(normal)
    return (vectors * values @ vectors.T).to(dtype)


def signs(size, seed=0, step=0, dtype=torch.float64):
    return partial(random_signs, torch.zeros(size, dtype=dtype), seed, step)


#: Ten eigenvalues that stand apart on both sides of a bulk.
APART = [40.0, 31.0, 25.0, 20.0, 14.0, 11.0, -6.0, -9.0, -15.0, -22.0]
BULK = np.random.default_rng(0).normal(scale=0.8, size=390)


# --- the rule --------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", range(8))
def test_moments_are_those_of_each_start_up_to_the_degree_of_the_rule(order):
    """Four steps integrate zᵀHⁿz exactly up to n = 7, the degree of a Gauss rule; and not n = 8."""
    matrix = with_spectrum([*APART, *BULK])
    draw = signs(400)
    rule = lanczos_quadrature(lambda v: matrix @ v, draw, 3, 4)
    assert rule.products == 12
    np.testing.assert_allclose(rule.weights.sum(axis=1), 1, rtol=1e-12)

    def of_each(power):
        powered = torch.linalg.matrix_power(matrix, power)
        return np.array([float(draw(n) @ powered @ draw(n)) for n in range(3)])

    each = of_each(order)
    value, error = rule.moment(order)
    assert value == pytest.approx(each.mean(), rel=1e-10)
    assert error == pytest.approx(each.std(ddof=1) / 3**0.5, rel=1e-6, abs=1e-9 * abs(value))
    assert rule.moment(8)[0] != pytest.approx(of_each(8).mean(), rel=1e-6)


def test_nodes_weights_and_trace_are_those_of_curvlinops(small_case, monkeypatch):
    """From the same draws as its Lanczos and its Hutchinson take, on the Hessian that it has."""
    import curvlinops
    from curvlinops.papyan2020traces.spectrum import fast_lanczos

    case = small_case("mlp", activation="tanh")
    module = mlp_module(case.theta, [5, 4, 4, 3], "tanh")
    hessian = curvlinops.HessianLinearOperator(
        module, torch.nn.MSELoss(), list(module.parameters()), [(case.inputs, case.targets)]
    )
    point, draw = Point(case.problem.loss, case.theta), signs(len(case.theta))
    rule = lanczos_quadrature(point.hessian_product, draw, 3, 6)
    estimate = hutchinson(point.hessian_product, draw, 3)
    traces = []
    for number in range(3):
        start = draw(number)
        monkeypatch.setattr(
            "curvlinops.papyan2020traces.spectrum.randn",
            lambda *_, start=start, **__: start.clone(),
        )
        nodes, vectors = (each.detach().numpy() for each in fast_lanczos(hessian, 6))
        np.testing.assert_allclose(rule.nodes[number], 1.5 * nodes, rtol=0, atol=1e-9)
        np.testing.assert_allclose(rule.weights[number], vectors[0] ** 2, rtol=0, atol=1e-8)
        monkeypatch.setattr(
            "curvlinops.trace.hutchinson.random_vector", lambda *_, start=start, **__: start
        )
        traces.append(1.5 * float(curvlinops.hutchinson_trace(hessian, 1)))
    assert estimate.value == pytest.approx(np.mean(traces), rel=1e-10)


def test_first_moment_is_hutchinsons_estimate_from_the_same_draws():
    matrix = with_spectrum([*APART, *BULK])
    rule = lanczos_quadrature(lambda v: matrix @ v, signs(400), 6, 20)
    trace = hutchinson(lambda v: matrix @ v, signs(400), 6)
    value, error = rule.moment(1)
    assert value == pytest.approx(trace.value, rel=1e-10)
    assert error == pytest.approx(trace.error, rel=1e-8)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_moments_of_a_known_spectrum_within_their_errors(order):
    """Of 40 estimates all are within 5 standard errors of tr Hⁿ, and most within 2."""
    values = np.array([*APART, *BULK])
    matrix = with_spectrum(values)
    exact = (values**order).sum()
    off = []
    for trial in range(40):
        rule = lanczos_quadrature(lambda v: matrix @ v, signs(400, 1, trial), 12, 4)
        value, error = rule.moment(order)
        off.append(abs(value - exact) / error)
    assert max(off) < 5
    assert np.mean(np.array(off) < 2) > 0.8


@pytest.mark.parametrize("draw", [random_direction, random_signs])
def test_as_many_steps_as_there_are_eigenvalues_find_all(draw):
    values = np.linspace(-3, 17, 24) ** 3 / 100
    matrix = with_spectrum(values)
    start = partial(draw, torch.zeros(24, dtype=torch.float64), 0, 0)
    rule = lanczos_quadrature(lambda v: matrix @ v, start, 2, 100)
    assert rule.nodes.shape == (2, 100)
    for nodes in rule.nodes:
        np.testing.assert_allclose(nodes[:24], np.sort(values), atol=1e-8)
    assert np.isnan(rule.nodes[:, 24:]).all()
    assert (rule.weights[:, 24:] == 0).all()
    assert rule.products == 48


def test_how_many_eigenvalues_lie_below_a_level():
    """Of 400, counts from 10 starts are off by 15 at most in the bulk, and by 1 about those apart."""
    values = np.array([*APART, *BULK])
    matrix = with_spectrum(values)
    rule = lanczos_quadrature(lambda v: matrix @ v, signs(400), 10, 60)
    levels = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    exact = np.array([(values <= level).sum() for level in levels])
    np.testing.assert_allclose(rule.count_below(levels), exact, atol=15)
    apart = np.array([-30.0, -18.5, 5.0, 16.0, 50.0])
    exact = np.array([(values <= level).sum() for level in apart])
    np.testing.assert_allclose(rule.count_below(apart), exact, atol=3)
    assert rule.count_below(np.array([-1e9]))[0] == 0
    assert rule.count_below(np.array([1e9]))[0] == pytest.approx(400, rel=1e-12)
    counts = rule.count_below(np.linspace(-30, 50, 500))
    assert (np.diff(counts) >= -1e-9).all()
    assert 0 < rule.resolution < 0.2


def test_resolution_is_the_widest_cell_about_zero():
    rule = Quadrature(np.array([[-1.0, 0.5, 2.0], [0.25, 1.0, 3.0]]), np.full((2, 3), 1 / 3), 3)
    # the cell of 0.5 reaches from −0.25 to 1.25; that of 0.25 from −0.125 to 0.625
    assert rule.resolution == 1.25
    assert Quadrature(np.array([[1.0, 2.0]]), np.full((1, 2), 0.5), 2).resolution == 0
    counts = rule.count_below(np.array([-0.25, 1.25]))
    np.testing.assert_allclose(counts, [0.5, 1.5 * (2 / 3 + (1 + 0.625 / 1.375) / 3)])


# --- what stands apart -----------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_outliers_are_eigenvalues_and_those_apart_are_among_them(dtype, close):
    values = np.array([*APART, *BULK])
    matrix = with_spectrum(values, dtype=dtype)
    rule = lanczos_quadrature(lambda v: matrix @ v, signs(400, dtype=dtype), 5, 50)
    found = rule.outliers()
    assert (np.diff(found) < 0).all()
    assert 10 <= len(found) < 30
    for value in APART:
        assert np.abs(found - value).min() < 40 * close
    for value in found:
        assert np.abs(values - value).min() < 2 * AGREE


def test_outliers_of_a_network_are_those_of_its_dense_hessian(small_case):
    case = small_case("mlp", activation="tanh", width=8)
    theta = case.theta
    for _ in range(60):
        theta = theta - 0.2 * gradient(case.problem.loss, theta)
    exact = torch.linalg.eigvalsh(dense_hessian(case.problem.loss, theta)).flip(0).numpy()
    point = Point(case.problem.loss, theta)
    rule = lanczos_quadrature(point.hessian_product, signs(len(theta)), 4, 30)
    found = rule.outliers()
    above = found[found > 0.1 * exact[0]]
    assert len(above) >= 3
    np.testing.assert_allclose(above, exact[: len(above)], rtol=1e-6)
    value, _ = rule.moment(2)
    each = [(dense_hessian(case.problem.loss, theta) @ signs(len(theta))(n)) for n in range(4)]
    assert value == pytest.approx(np.mean([float(h @ h) for h in each]), rel=1e-9)


def test_no_outliers_from_two_draws_or_of_one_eigenvalue():
    matrix = with_spectrum([*APART, *BULK])
    assert not len(lanczos_quadrature(lambda v: matrix @ v, signs(400), 2, 50).outliers())
    assert not len(lanczos_quadrature(lambda v: 3 * v, signs(9), 5, 5).outliers())


# --- odd input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_operators_of_low_rank_end_where_the_start_is_exhausted(dtype):
    """Of rank 3, and of rank 0: no more nodes than the start has parts, each weight where it belongs."""
    normal = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)).double()
    vectors, _ = torch.linalg.qr(normal)
    matrix = (vectors * torch.tensor([5.0, 2.0, 1.0]).double() @ vectors.T).to(dtype)
    rule = lanczos_quadrature(lambda v: matrix @ v, signs(50, dtype=dtype), 4, 20)
    for nodes, weights in zip(rule.nodes, rule.weights, strict=True):
        np.testing.assert_allclose(nodes[:4], [0, 1, 2, 5], atol=1e-4)
        assert np.isnan(nodes[4:]).all()
        assert weights.sum() == pytest.approx(1, rel=1e-6)
    zero = lanczos_quadrature(torch.zeros_like, signs(50, dtype=dtype), 4, 20)
    assert (zero.nodes[:, 0] == 0).all()
    assert np.isnan(zero.nodes[:, 1:]).all()
    assert zero.moment(1) == (0.0, 0.0)


def test_one_parameter():
    rule = lanczos_quadrature(lambda v: -2 * v, signs(1), 3, 5)
    assert rule.moment(1)[0] == -2
    assert rule.moment(3)[0] == -8


def test_products_that_are_not_finite_are_told():
    with pytest.raises(NotFiniteError, match="no density"):
        lanczos_quadrature(lambda v: v * torch.nan, signs(9), 2, 4)
    with pytest.raises(ValueError, match="at least one draw"):
        lanczos_quadrature(lambda v: v, signs(9), 0, 4)
