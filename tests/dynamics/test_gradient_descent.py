"""The step θ⁺ = (1 − ηλ)θ − η∇L, and the path curvature κ."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import dense_hessian, gradient

from eostui.dynamics.gradient_descent import descend
from eostui.dynamics.path import path_curvature


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


numbers = st.floats(-1e3, 1e3)
pairs = st.lists(st.tuples(numbers, numbers, st.sampled_from([0.0, 1.0])), min_size=1, max_size=8)


@given(pairs, st.floats(1e-6, 1.0), st.floats(0, 0.9))
def test_step_is_gradient_descent_with_decay(rows, eta, decay):
    """Each coordinate moves by (1 − ηλ)θ − η∇L, and by θ − η∇L where the mask is 0."""
    theta, slope, mask = (tensor(*column) for column in zip(*rows, strict=True))
    everywhere = descend(theta, slope, eta, decay)
    masked = descend(theta, slope, eta, decay, mask)
    for row, (x, g, kept) in enumerate(rows):
        size = max(abs(x), abs(eta * g), 1e-300)
        assert float(everywhere[row]) == pytest.approx(
            (1 - eta * decay) * x - eta * g, abs=1e-14 * size
        )
        assert float(masked[row]) == pytest.approx(
            (1 - eta * decay * kept) * x - eta * g, abs=1e-14 * size
        )


def test_worked_step():
    """By hand: η = 0.1, λ = 2, θ = (10, −5), ∇L = (1, 3) → (0.8·10 − 0.1, 0.8·(−5) − 0.3)."""
    after = descend(tensor(10, -5), tensor(1, 3), 0.1, 2.0)
    torch.testing.assert_close(after, tensor(7.9, -4.3), rtol=1e-15, atol=0)
    masked = descend(tensor(10, -5), tensor(1, 3), 0.1, 2.0, tensor(1, 0))
    torch.testing.assert_close(masked, tensor(7.9, -5.3), rtol=1e-15, atol=0)


def test_step_leaves_its_arguments_alone_and_keeps_no_graph():
    """θ and ∇L are still needed afterwards; the new θ is a plain tensor."""
    theta, slope = tensor(1, 2).requires_grad_(), tensor(3, 4)
    for decay, mask in ((0.0, None), (0.5, None), (0.5, tensor(0, 1))):
        after = descend(theta, slope, 0.1, decay, mask)
        assert not after.requires_grad
        assert after.data_ptr() != theta.data_ptr()
    assert theta.tolist() == [1, 2]
    assert slope.tolist() == [3, 4]


def test_masked_biases_of_a_network_do_not_decay(small_case):
    """With decay_biases = false only weights shrink: with ∇L = 0 a bias stays where it is."""
    case = small_case("mlp", decay_biases=False)
    sizes = [(20, 1), (4, 0), (16, 1), (4, 0), (12, 1), (3, 0)]
    mask = torch.cat([torch.full((n,), float(kept), dtype=torch.float64) for n, kept in sizes])
    after = descend(case.theta, torch.zeros_like(case.theta), 0.5, 0.5, case.problem.decayed)
    torch.testing.assert_close(after, case.theta * (1 - 0.25 * mask), rtol=1e-15, atol=0)
    assert small_case("mlp").problem.decayed is None


def test_path_curvature_is_its_definition():
    """κ = ⟨∇L(θ⁺) − ∇L(θ), Δθ⟩/‖Δθ‖², worked by hand."""
    # difference (3, −1), displacement (1, 2): (3 − 2)/(1 + 4)
    assert float(path_curvature(tensor(5, 1), tensor(2, 2), tensor(1, 2))) == pytest.approx(0.2)


@given(st.integers(0, 10**6), st.integers(1, 12))
def test_path_curvature_on_a_quadratic_is_the_rayleigh_quotient(seed, size):
    """For L = ½θᵀAθ every step meets ΔᵀAΔ/ΔᵀΔ, which lies between the extreme eigenvalues."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(size, size))
    matrix = matrix + matrix.T
    before, after = rng.normal(size=(2, size))
    delta = after - before
    kappa = float(
        path_curvature(
            torch.from_numpy(matrix @ after),
            torch.from_numpy(matrix @ before),
            torch.from_numpy(delta),
        )
    )
    assert kappa == pytest.approx(delta @ matrix @ delta / (delta @ delta), rel=1e-9, abs=1e-9)
    low, *_, high = [*np.linalg.eigvalsh(matrix)] * 2
    assert low - 1e-9 <= kappa <= high + 1e-9


def test_path_curvature_of_a_network_is_the_mean_of_the_hessian_along_the_step(small_case):
    """κ = ∫₀¹ ΔᵀH(θ + rΔ)Δ dr / ‖Δ‖², by Gauss–Legendre quadrature over dense Hessians."""
    case = small_case("mlp", activation="tanh")
    before = gradient(case.problem.loss, case.theta)
    after = descend(case.theta, before, 0.5, 0.1)
    delta = after - case.theta
    kappa = path_curvature(gradient(case.problem.loss, after), before, delta)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    mean = sum(
        weight / 2 * float(delta @ dense_hessian(case.problem.loss, case.theta + r * delta) @ delta)
        for r, weight in zip((nodes + 1) / 2, weights, strict=True)
    ) / float(delta @ delta)
    assert float(kappa) == pytest.approx(mean, rel=1e-9)


def test_path_curvature_of_no_step_is_not_a_number():
    """A step of length 0 met no curvature: NaN, which the record leaves empty."""
    assert math.isnan(float(path_curvature(tensor(1, 2), tensor(1, 2), tensor(0, 0))))
