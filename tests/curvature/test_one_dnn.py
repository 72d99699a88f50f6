"""Linear layers by oneDNN: float32 derivatives of an MLP against those in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eostui.curvature import one_dnn, taylor
from eostui.curvature.layers import Affine, Dense
from eostui.curvature.point import Point
from eostui.problems import Problem
from eostui.problems.losses import half_squared_error

pytestmark = pytest.mark.usefixtures("one_thread")

needed = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN"
)


def mlp(dtype, samples=300):
    """A problem of three linear layers, the same in either precision but for rounding."""
    generator = torch.Generator().manual_seed(3)
    module = nn.Sequential(
        nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 5)
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    inputs = torch.randn((samples, 30), generator=generator).to(dtype)
    targets = torch.randn((samples, 5), generator=generator).to(dtype)
    return Problem.from_module(
        module.to(dtype), half_squared_error, inputs, targets, convention="as in the tests"
    )


def forms(problem):
    """By what each linear layer of a problem is taken at a step, and further."""
    layers = taylor.chain_of(problem.loss.supervised).layers
    return [(type(each.form), type(each.further)) for each in layers if isinstance(each, Affine)]


def derivatives(problem, vector):
    """Everything but L and ∇L that a point offers along a vector."""
    point = Point(problem.loss, problem.initial)
    vector = vector.to(problem.initial)
    weights = torch.linspace(-1, 1, len(point.outputs()) * 5).view(-1, 5).to(vector)
    return [
        point.hessian_product(vector),
        *point.curvature_gradient(vector),
        point.gauss_newton_product(vector),
        point.output_product(vector),
        point.output_pullback(weights),
    ]


def unit_vector(problem):
    vector = torch.randn(problem.initial.numel(), generator=torch.Generator().manual_seed(7))
    return vector / vector.norm()


@needed
def test_derivatives_of_float32_are_those_of_float64_but_for_rounding():
    single, double = mlp(torch.float32), mlp(torch.float64)
    assert forms(single) == [(Dense, one_dnn.OneDnnDense)] * 3
    assert forms(double) == [(Dense, Dense)] * 3
    vector = unit_vector(single)
    for found, exact in zip(derivatives(single, vector), derivatives(double, vector), strict=True):
        assert found.dtype is torch.float32
        assert float((found - exact).norm()) < 2e-6 * float(exact.norm())


@needed
def test_a_step_is_the_same_to_the_bit_and_the_rest_is_as_good(monkeypatch):
    problem, exact = (
        mlp(torch.float32),
        derivatives(mlp(torch.float64), unit_vector(mlp(torch.float32))),
    )
    point = Point(problem.loss, problem.initial)
    found = derivatives(problem, unit_vector(problem))
    monkeypatch.setattr(taylor, "by_one_dnn", lambda *_: None)
    plain = mlp(torch.float32)
    assert forms(plain) == [(Dense, Dense)] * 3
    without = Point(plain.loss, plain.initial)
    assert torch.equal(point.loss, without.loss)
    assert torch.equal(point.gradient, without.gradient)
    for one, other, right in zip(found, derivatives(plain, unit_vector(plain)), exact, strict=True):
        assert float((one - right).norm()) < 3 * float((other - right).norm())


@needed
def test_inputs_that_never_change_are_laid_for_sums_once_and_large_ones_not(monkeypatch):
    problem = mlp(torch.float32)
    first = next(
        each for each in taylor.chain_of(problem.loss.supervised).layers if isinstance(each, Affine)
    )
    inputs = problem.loss.supervised.inputs
    laid = first.further.by_columns(inputs, 64)
    assert torch.equal(laid, inputs)
    assert laid.T.is_contiguous()
    assert first.further.by_columns(inputs.view(inputs.shape), 64) is laid
    other = first.further.by_columns(inputs.clone(), 64)
    assert other is not laid
    assert other.T.is_contiguous()
    monkeypatch.setattr(one_dnn, "_KEPT_TWICE", inputs.nbytes - 1)
    assert first.further.by_columns(inputs, 64) is inputs
    assert first.further.by_columns(other, 8) is other  # a sum with few columns gains too little
    vector = unit_vector(problem)
    exact = derivatives(mlp(torch.float64), vector)
    for found, right in zip(derivatives(problem, vector), exact, strict=True):
        assert float((found - right).norm()) < 2e-6 * float(right.norm())


@needed
def test_sums_over_samples_are_the_same_however_their_sides_lie():
    """Row by row, column by column, either or both; written over and added to; with a bias."""
    generator = torch.Generator().manual_seed(1)
    delta, x = torch.randn((50, 7), generator=generator), torch.randn((50, 9), generator=generator)
    exact, form = delta.double().T @ x.double(), one_dnn.OneDnnDense()
    for errors in (delta, form.by_columns(delta, 64)):
        for inputs in (x, form.by_columns(x, 64)):
            weight, bias = torch.full((7, 9), 3.0), torch.empty(7)
            form.outer(errors, inputs, weight, bias, add=True)
            torch.testing.assert_close(weight.double(), exact + 3, rtol=1e-5, atol=1e-5)
            form.outer(errors, inputs, weight, None, add=False)
            torch.testing.assert_close(weight.double(), exact, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(bias, delta.sum(0), rtol=1e-5, atol=1e-5)


def test_where_pytorch_calls_it_otherwise_it_is_left_alone(monkeypatch):
    def changed(*_):
        raise TypeError("another signature")

    sample = torch.zeros((1, 3), dtype=torch.float32)
    one_dnn._is_there.cache_clear()
    monkeypatch.setattr(one_dnn, "_linear", changed)
    try:
        assert one_dnn.by_one_dnn(sample) is None
    finally:
        one_dnn._is_there.cache_clear()
    assert one_dnn.by_one_dnn(sample.double()) is None
