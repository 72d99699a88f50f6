"""Sharpness and drives of small networks against dense eigen-decomposition and their definitions."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import ACTIVATIONS, LOSSES, NETWORKS
from oracles import dense_hessian, dense_third, gradient
from probed import Probed, measure_drives, measure_sharpness

from eostui.curvature.point import Point
from eostui.problems import Problem
from eostui.runs.store.columns import MEASURED

#: The eigensolver goes on to rounding.
EXACT = {"tolerance": 1e-20, "vector_tolerance": 1e-10}


def measure(case, theta=None, state=None):
    """Both probes at one point, as the engine runs them; returns the values and the state."""
    state = state or Probed(case.config, case.problem)
    point = Point(case.problem.loss, case.theta if theta is None else theta)
    values = measure_sharpness(point, state)
    return values | measure_drives(point, state), state


def dense(case, theta=None):
    """Eigenvalues in falling order with unit eigenvectors as rows, from the dense Hessian."""
    values, vectors = torch.linalg.eigh(
        dense_hessian(case.problem.loss, case.theta if theta is None else theta)
    )
    return values.flip(0), vectors.flip(1).T


def moved(case, steps=40, eta=0.2):
    """θ after some plain gradient steps: away from the special point where training starts."""
    theta = case.theta
    for _ in range(steps):
        theta = theta - eta * gradient(case.problem.loss, theta)
    return theta


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_sharpness_is_the_largest_eigenvalue_of_the_dense_hessian(
    small_case, network, activation, loss
):
    """S and eig_2 equal the two largest eigenvalues, u their eigenvector, the residual is true."""
    case = small_case(
        network, activation=activation, loss=loss, tolerance=1e-18, vector_tolerance=1e-9
    )
    theta = moved(case)
    values, state = measure(case, theta)
    exact, vectors = dense(case, theta)
    assert values["sharpness"] == pytest.approx(float(exact[0]), rel=1e-10)
    assert values["eig_2"] == pytest.approx(float(exact[1]), abs=1e-8 * float(exact[0]))
    u = state.eigenvectors[0]
    assert abs(float(u @ vectors[0])) == pytest.approx(1, abs=1e-8)
    defect = dense_hessian(case.problem.loss, theta) @ u - values["sharpness"] * u
    true = float(defect.norm()) / values["sharpness"]
    assert values["sharpness_residual"] == pytest.approx(true, abs=1e-13)
    assert values["sharpness_residual"] <= 1e-9


@pytest.mark.parametrize("decay_biases", [True, False])
@pytest.mark.parametrize("network", NETWORKS)
def test_drives_are_what_their_definitions_say(small_case, network, decay_biases):
    """β, βα, g, g_u, ‖∇L‖ and the alignments, each from dense ∇S, ∇L and u; g over decayed θ only."""
    case = small_case(
        network,
        activation="tanh",
        decay_biases=decay_biases,
        tolerance=1e-20,
        vector_tolerance=1e-10,
    )
    theta = moved(case)
    values, _ = measure(case, theta)
    u = dense(case, theta)[1][0]
    ds = dense_third(case.problem.loss, theta, u)
    dl = gradient(case.problem.loss, theta)
    pulled = theta.clone()
    if not decay_biases:
        # the tensors of a network in order: weights have more than one dimension, biases one
        sizes = (
            [(20, 1), (4, 0), (16, 1), (4, 0), (12, 1), (3, 0)]
            if network == "mlp"
            else [(18, 1), (2, 0), (24, 1), (3, 0)]
        )
        mask = torch.cat([torch.full((size,), float(kept)) for size, kept in sizes])
        assert len(mask) == len(theta)
        pulled = pulled * mask
    wanted = {
        "beta": ds @ ds,
        "beta_alpha": -(dl @ ds),
        "g": pulled @ ds,
        "grad_norm": dl.norm(),
        "sharpness_gradient_u": (ds @ u).abs() / ds.norm(),
        "gradient_u": (dl @ u).abs() / dl.norm(),
    }
    for name, value in wanted.items():
        assert values[name] == pytest.approx(float(value), rel=1e-6, abs=1e-9), name
    # an eigenvector has no sign of its own
    assert abs(values["g_u"]) == pytest.approx(abs(float(pulled @ u)), rel=1e-6)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus"])
def test_beta_alpha_is_the_rate_at_which_descent_sharpens(small_case, activation):
    """dS/dt along −∇L, by central differences of the dense S, is βα."""
    case = small_case("mlp", activation=activation, **EXACT)
    theta = moved(case)
    values, _ = measure(case, theta)
    direction, epsilon = -gradient(case.problem.loss, theta), 1e-5
    ahead, behind = (dense(case, theta + sign * epsilon * direction)[0][0] for sign in (1, -1))
    rate = float(ahead - behind) / (2 * epsilon)
    assert rate == pytest.approx(values["beta_alpha"], rel=1e-6)


def test_lambda_g_is_the_rate_at_which_decay_flattens(small_case):
    """dS/dt along −θ on the decayed parameters is −g."""
    case = small_case(
        "mlp", activation="tanh", decay_biases=False, tolerance=1e-20, vector_tolerance=1e-10
    )
    theta = moved(case)
    values, _ = measure(case, theta)
    direction, epsilon = -theta * case.problem.decayed, 1e-5
    ahead, behind = (dense(case, theta + sign * epsilon * direction)[0][0] for sign in (1, -1))
    rate = float(ahead - behind) / (2 * epsilon)
    assert rate == pytest.approx(-values["g"], rel=1e-6)


def test_sharpness_moves_by_eta_times_the_drives_in_one_step(small_case):
    """S⁺ − S ≈ η(βα − λg), to first order in η (MATH §2)."""
    case = small_case("mlp", activation="tanh", **EXACT)
    theta, eta, decay = moved(case), 1e-5, 0.5
    values, _ = measure(case, theta)
    after = (1 - eta * decay) * theta - eta * gradient(case.problem.loss, theta)
    change = float(dense(case, after)[0][0] - dense(case, theta)[0][0])
    predicted = eta * (values["beta_alpha"] - decay * values["g"])
    assert change == pytest.approx(predicted, rel=1e-3)


def cubic_normal_form(eta=0.02, a=0.3, b=40.0):
    """L(x, s) = ½(2/η + bs)x² − as in the coordinates (x, s) (MATH §3.3)."""
    return lambda theta: 0.5 * (2 / eta + b * theta[1]) * theta[0] ** 2 - a * theta[1]


def test_cubic_normal_form_has_its_closed_form_readings(small_case):
    """At x = 0: S = 2/η + bs, β = b², βα = ab, g = bs, g_u = 0."""
    eta, a, b = 0.02, 0.3, 40.0
    theta = torch.tensor([0.0, 0.7], dtype=torch.float64)
    problem = Problem(initial=theta, loss=cubic_normal_form(eta, a, b), convention="½")
    case = dataclasses.replace(small_case(), problem=problem)
    values, _ = measure(case)
    assert values["sharpness"] == pytest.approx(2 / eta + b * 0.7, rel=1e-12)
    assert values["eig_2"] == pytest.approx(0, abs=1e-10)
    assert values["beta"] == pytest.approx(b * b, rel=1e-12)
    assert values["beta_alpha"] == pytest.approx(a * b, rel=1e-12)
    assert values["g"] == pytest.approx(b * 0.7, rel=1e-12)
    assert values["g_u"] == pytest.approx(0, abs=1e-12)
    assert values["grad_norm"] == pytest.approx(a, rel=1e-12)
    assert values["gradient_u"] == pytest.approx(0, abs=1e-12)


def test_cubic_normal_form_off_its_axis_has_the_turned_eigenpair(small_case):
    """At x ≠ 0 the Hessian is [[2/η + bs, bx], [bx, 0]]: its own 2×2 eigenpair is measured."""
    eta, a, b, x, s = 0.02, 0.3, 40.0, 0.9, -0.5
    theta = torch.tensor([x, s], dtype=torch.float64)
    problem = Problem(initial=theta, loss=cubic_normal_form(eta, a, b), convention="½")
    values, state = measure(dataclasses.replace(small_case(), problem=problem))
    trace, corner = 2 / eta + b * s, b * x
    top = (trace + (trace**2 + 4 * corner**2) ** 0.5) / 2
    assert values["sharpness"] == pytest.approx(top, rel=1e-12)
    assert values["eig_2"] == pytest.approx(trace - top, rel=1e-10)
    u = torch.tensor([top, corner], dtype=torch.float64)
    u = u / u.norm()
    assert abs(float(state.eigenvectors[0] @ u)) == pytest.approx(1, abs=1e-12)
    # D³L[u, u, ·] = (2b u_x u_s, b u_x²)
    third = torch.stack([2 * b * u[0] * u[1], b * u[0] ** 2])
    assert values["beta"] == pytest.approx(float(third @ third), rel=1e-10)
    assert values["g"] == pytest.approx(float(theta @ third), rel=1e-10)


def test_linear_loss_has_no_sharpness_and_no_undefined_readings(small_case):
    """S = 0, β = 0: what would divide by zero is left out, never NaN."""
    theta = torch.tensor([1.0, 2.0, 3.0]).double()
    problem = Problem(initial=theta, loss=lambda at: 2 * at.sum(), convention="linear")
    values, _ = measure(dataclasses.replace(small_case(), problem=problem))
    assert values["sharpness"] == 0
    assert values["beta"] == 0
    assert values["grad_norm"] == pytest.approx(2 * 3**0.5)
    assert "sharpness_gradient_u" not in values
    assert all(value == value for value in values.values())


def test_one_parameter_has_no_second_eigenvalue(small_case):
    """P = 1: S = L″, ∇S = L‴, and no eig_2."""
    problem = Problem(
        initial=torch.tensor([0.5]).double(), loss=lambda at: at[0] ** 4, convention="quartic"
    )
    values, _ = measure(dataclasses.replace(small_case(), problem=problem))
    assert values["sharpness"] == pytest.approx(12 * 0.25)
    assert values["beta"] == pytest.approx((24 * 0.5) ** 2)
    assert values["beta_alpha"] == pytest.approx(-(4 * 0.125) * 24 * 0.5)
    assert "eig_2" not in values


def test_same_seed_and_step_repeat_a_measurement_exactly(small_case):
    """Two cold measurements agree bit for bit, and another seed differs only within the tolerance."""
    case = small_case("mlp", activation="tanh", depth=3, width=8, tolerance=1e-8)
    theta = moved(case)
    first, first_state = measure(case, theta)
    second, second_state = measure(case, theta)
    assert first == second
    assert torch.equal(first_state.eigenvectors, second_state.eigenvectors)
    other = dataclasses.replace(case, config=case.config.changed({"seed": 4}))
    third, third_state = measure(other, theta)
    assert not torch.equal(first_state.eigenvectors, third_state.eigenvectors)
    assert third["sharpness"] == pytest.approx(first["sharpness"], rel=1e-6)
    later, later_state = measure(case, theta, Probed(case.config, case.problem, step=25))
    assert not torch.equal(first_state.eigenvectors, later_state.eigenvectors)
    assert later["sharpness"] == pytest.approx(first["sharpness"], rel=1e-6)


def test_measurements_do_not_depend_on_torchs_own_random_state(small_case):
    """Only seed and step decide: a random draw elsewhere changes nothing, and none is consumed."""
    case = small_case("mlp", activation="tanh")
    first, _ = measure(case)
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    second, _ = measure(case)
    assert first == second
    assert torch.equal(before, torch.random.get_rng_state())


def test_warm_start_keeps_the_sign_and_spends_fewer_products(small_case):
    """From one measured step to the next u turns a little, never over, at less cost than cold."""
    case = small_case("mlp", activation="tanh", depth=3, width=8)
    theta = moved(case)
    cold, state = measure(case, theta)
    previous = state.eigenvectors[0].clone()
    later = theta - 0.02 * gradient(case.problem.loss, theta)
    warm, state = measure(case, later, state)
    assert float(state.eigenvectors[0] @ previous) > 0.9
    assert warm["hessian_products"] < cold["hessian_products"]
    assert warm["sharpness"] == pytest.approx(float(dense(case, later)[0][0]), rel=1e-5)
    assert warm["g_u"] == pytest.approx(cold["g_u"], rel=0.2)


def test_drives_without_an_eigenvector_are_refused(small_case):
    """The order of the probes matters, and a wrong order says so."""
    case = small_case()
    with pytest.raises(ValueError, match="eigenvector"):
        measure_drives(Point(case.problem.loss, case.theta), Probed(case.config, case.problem))


def test_every_reading_has_a_described_column(small_case):
    """What the probes return are columns of the store."""
    values, _ = measure(small_case("mlp", activation="tanh"))
    assert set(values) <= {column.name for column in MEASURED}
