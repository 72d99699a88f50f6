"""The toy problems: the ordinary engine on them against maps, closed forms and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import dense_hessian, dense_third, gradient
from probed import Probed
from toy_runs import EXACT, build, toy_config, train

from eostui import toys
from eostui.config import RunConfig
from eostui.curvature.point import Point, plain_gradient
from eostui.dynamics.gradient_descent import descend
from eostui.errors import InputError
from eostui.problems import Problem
from eostui.problems.toys import _BUILDERS

pytestmark = pytest.mark.usefixtures("one_thread")


# --- the map of MATH §3 -----------------------------------------------------------------------------


def reduced_map(x, q, eta, decay, sharpness, beta, alpha, g_x, g):
    """MATH §3 with ⟨u, ∇L(θ*)⟩ = 0: one step of (x, q)."""
    shrink = 1 - eta * decay
    after = (shrink - eta * (sharpness + q)) * x - eta * decay * g_x
    return after, shrink * q + eta * beta * (alpha - x * x / 2) - eta * decay * g


def small(limit):
    return st.floats(-limit, limit)


normal_forms = st.fixed_dictionaries(
    {
        "a": st.floats(0.05, 2.0),
        "b": st.one_of(st.floats(0.5, 5.0), st.floats(-5.0, -0.5)),
        "x_star": small(1.0),
        "s_star": small(1.0),
        "eta_star": st.floats(0.02, 0.2),
        "start": st.tuples(st.floats(0.05, 0.5), small(0.1)),
    }
)


@settings(max_examples=50, derandomize=True)
@given(normal_forms, st.floats(0.9, 1.1), st.floats(0.0, 1.0))
def test_descent_on_the_cubic_normal_form_is_the_reduced_map(arguments, ratio, decay):
    """400 steps of the engine's descent and 400 of the map: the same (x, y), to rounding.

    Orbits that blow rounding up are left out: one beside them is pushed by 1e-14, a hundred times
    rounding, at every step, and must keep to 1e-8.
    """
    a, b = arguments["a"], arguments["b"]
    x_star, s_star = arguments["x_star"], arguments["s_star"]
    eta = ratio * arguments["eta_star"]
    x, s = arguments["start"]
    orbit, beside = [(x, b * s)], (x, b * s)
    constants = (eta, decay, 2 / arguments["eta_star"], b * b, a / b, x_star, b * s_star)
    for step in range(400):
        orbit.append(reduced_map(*orbit[-1], *constants))
        push = 1e-14 * (-1) ** step  # as x alternates
        beside = reduced_map(beside[0] + push, beside[1] + 1e-14, *constants)
        assume(max(map(abs, orbit[-1])) < 2 / eta)
        assume(max(abs(new - old) for new, old in zip(beside, orbit[-1], strict=True)) < 1e-8)
    problem = build(toy_config("cubic-normal-form", arguments))
    theta = problem.initial
    seen = [theta]
    for _ in range(400):
        theta = descend(theta, plain_gradient(problem.loss, theta)[1], eta, decay)
        seen.append(theta)
    found = torch.stack(seen).numpy() - [x_star, s_star]
    np.testing.assert_allclose(found * [1, b], orbit, rtol=1e-9, atol=1e-9)


def normal_form_hessian(x, s, a, b, eta_star):
    """∇L and ∇²L of ½(2/η_* + b s)x² − a s, by hand."""
    stiffness = 2 / eta_star + b * s
    return (
        np.array([stiffness * x, b * x * x / 2 - a]),
        np.array([[stiffness, b * x], [b * x, 0.0]]),
    )


def measured(problem, config, theta):
    """What the engine's probes say at θ."""
    point, state = Point(problem.loss, theta), Probed(config, problem)
    return state.measure(point, "sharpness", "smallest_eigenvalue", "drives")


@settings(max_examples=50)
@given(normal_forms, small(0.5), small(0.3))
def test_measurements_on_the_normal_form_equal_its_eigenpair(arguments, x, s):
    """S, eig_2, ∇S by its columns, βα, g, g_u: from the 2×2 Hessian written down by hand."""
    a, b, eta_star = arguments["a"], arguments["b"], arguments["eta_star"]
    config = toy_config("cubic-normal-form", {**arguments, "start": (x, s)})
    problem = build(config)
    values = measured(problem, config, problem.initial)
    slope, hessian = normal_form_hessian(x, s, a, b, eta_star)
    (low, high), vectors = np.linalg.eigh(hessian)
    u = vectors[:, 1]
    # D³L has only the entry L_xxs = b: D³L[u, u, ·] = b(2 u_x u_s, u_x²)
    rise = b * np.array([2 * u[0] * u[1], u[0] ** 2])
    theta = np.array([x + arguments["x_star"], s + arguments["s_star"]])
    wanted = {
        "sharpness": high, "eig_2": low, "beta": rise @ rise, "beta_alpha": -slope @ rise,
        "g": theta @ rise, "grad_norm": np.linalg.norm(slope),
        "sharpness_gradient_u": abs(rise @ u) / np.linalg.norm(rise),
        "gradient_u": abs(slope @ u) / np.linalg.norm(slope),
    }  # fmt: skip
    for name, value in wanted.items():
        assert values[name] == pytest.approx(value, rel=1e-8, abs=1e-8), name
    assert abs(values["g_u"]) == pytest.approx(abs(theta @ u), rel=1e-8, abs=1e-8)
    assert values["sharpness_residual"] < 1e-12


@given(normal_forms)
def test_at_the_reference_the_normal_form_has_the_constants_of_the_map(arguments):
    """At x = s = 0: S = 2/η_*, β = b², βα = ab, g_x = x_*, g = b s_*."""
    arguments = {**arguments, "start": (0.0, 0.0)}
    a, b = arguments["a"], arguments["b"]
    config = toy_config("cubic-normal-form", arguments)
    problem = build(config)
    values = measured(problem, config, problem.initial)
    assert values["sharpness"] == pytest.approx(2 / arguments["eta_star"], rel=1e-12)
    assert values["eig_2"] == pytest.approx(0, abs=1e-12)
    assert values["beta"] == pytest.approx(b * b, rel=1e-8)
    assert values["beta_alpha"] == pytest.approx(a * b, rel=1e-8)
    assert values["g"] == pytest.approx(b * arguments["s_star"], rel=1e-8, abs=1e-8)
    assert abs(values["g_u"]) == pytest.approx(abs(arguments["x_star"]), rel=1e-8, abs=1e-8)


def test_the_whole_engine_on_the_normal_form(tmp_path):
    """Rows of a real run: loss, ‖θ‖ and κ of the map; S at every step from the 2×2 Hessian."""
    arguments = {"a": 0.5, "b": 4.0, "x_star": 0.3, "s_star": 0.2, "eta_star": 0.1}
    eta, decay = 0.1, 0.4
    config = toy_config(
        "cubic-normal-form", arguments, eta=eta, weight_decay=decay, steps=400, cadence=1
    )
    run, status = train(tmp_path, config)
    assert status == "finished"
    orbit = [(0.1, 0.0)]  # the default start
    for _ in range(400):
        orbit.append(reduced_map(*orbit[-1], eta, decay, 20.0, 16.0, 0.125, 0.3, 0.8))
    x, s = np.array(orbit).T / [[1], [4.0]]
    stiffness = 20 + 4 * s
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(run.steps["loss"], stiffness * x * x / 2 - 0.5 * s, **close)
    np.testing.assert_allclose(run.steps["theta_norm"], np.hypot(x + 0.3, s + 0.2), **close)
    dx, ds = np.diff(x), np.diff(s)
    along = np.diff(stiffness * x) * dx + np.diff(4 * x * x / 2) * ds
    kappa = along / (dx * dx + ds * ds)
    # a quotient of differences: its rounding grows as the steps shrink
    np.testing.assert_allclose(run.steps["path_curvature"][:-1], kappa, rtol=1e-7)
    half = stiffness / 2
    sharpness = half + np.hypot(half, 4 * x)
    np.testing.assert_allclose(run.measured["sharpness"], sharpness, rtol=1e-8)


# --- losses and starts ------------------------------------------------------------------------------

# by hand: loss, gradient and Hessian at (x, y)
CLOSED_FORMS = {
    "two-layer-scalar": lambda x, y: (
        0.5 * (1 - x * y) ** 2,
        [-(1 - x * y) * y, -(1 - x * y) * x],
        [[y * y, 2 * x * y - 1], [2 * x * y - 1, x * x]],
    ),
    "four-layer-scalar": lambda x, y: (
        0.25 * (1 - x**2 * y**2) ** 2,
        [-(1 - x**2 * y**2) * x * y**2, -(1 - x**2 * y**2) * x**2 * y],
        [
            [3 * x**2 * y**4 - y**2, 4 * x**3 * y**3 - 2 * x * y],
            [4 * x**3 * y**3 - 2 * x * y, 3 * x**4 * y**2 - x**2],
        ],
    ),
    "diagonal-net": lambda x, y: (
        x**2 * y**2,
        [2 * x * y**2, 2 * x**2 * y],
        [[2 * y**2, 4 * x * y], [4 * x * y, 2 * x**2]],
    ),
    "elliptical-valley": lambda x, y: (
        (1 - 4 * x**2 - y**2) ** 2,
        [-16 * x * (1 - 4 * x**2 - y**2), -4 * y * (1 - 4 * x**2 - y**2)],
        [
            [-16 * (1 - 4 * x**2 - y**2) + 128 * x**2, 32 * x * y],
            [32 * x * y, -4 * (1 - 4 * x**2 - y**2) + 8 * y**2],
        ],
    ),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@given(st.tuples(small(3.0), small(3.0)))
def test_losses_gradients_and_hessians_are_those_of_the_formulas(name, start):
    """At any point: by hand on one side, the engine's point on the other."""
    problem = build(toy_config(name, {"start": start}))
    assert problem.initial.tolist() == list(start)
    loss, slope, hessian = CLOSED_FORMS[name](*start)
    point = Point(problem.loss, problem.initial)
    close = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(float(point.loss), loss, **close)
    np.testing.assert_allclose(point.gradient.numpy(), slope, **close)
    products = [point.hessian_product(torch.eye(2, dtype=torch.float64)[i]).numpy() for i in (0, 1)]
    np.testing.assert_allclose(np.stack(products), hessian, **close)


@pytest.mark.parametrize(
    ("name", "at", "sharpness"),
    [
        ("two-layer-scalar", (4.0, 0.25), 4.0**2 + 0.25**2),
        ("four-layer-scalar", (4.0, 0.25), 2 * (4.0**2 + 0.25**2)),
        ("diagonal-net", (0.0, 10.0), 2 * 10.0**2),
        ("elliptical-valley", (0.3, 0.8), 8 * (16 * 0.3**2 + 0.8**2)),
    ],
)
def test_sharpness_at_minima_is_what_the_docstrings_say(name, at, sharpness):
    """The loss is 0 there and S has its closed form; for the diagonal net 2/S = 0.01, its edge."""
    config = toy_config(name, {"start": at})
    problem = build(config)
    assert float(problem.loss(problem.initial)) == pytest.approx(0, abs=1e-24)
    assert measured(problem, config, problem.initial)["sharpness"] == pytest.approx(sharpness)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("deep-linear", {"depth": 3, "width": 3}),
        ("deep-linear", {"depth": 1, "width": 2, "target": "random"}),
        ("chebyshev", {"width": 3, "points": 5}),
        ("chebyshev", {"width": 2, "depth": 2, "nodes": "chebyshev", "degree": 3}),
    ],
)
def test_derivatives_of_the_nets_against_finite_differences(name, arguments):
    """∇L and D³L[u, u, ·] by central differences of values one order lower; H by torch.func."""
    config = toy_config(name, arguments)
    problem = build(config)
    theta, size = problem.initial, len(problem.initial)
    point = Point(problem.loss, theta)
    u = torch.linspace(-1, 1, size, dtype=torch.float64)
    step = 1e-5
    shifts = step * torch.eye(size, dtype=torch.float64)
    slope = [(problem.loss(theta + e) - problem.loss(theta - e)) / (2 * step) for e in shifts]
    torch.testing.assert_close(point.gradient, torch.stack(slope), rtol=1e-6, atol=1e-8)
    bend = gradient(problem.loss, theta + step * u) - gradient(problem.loss, theta - step * u)
    product, third = point.curvature_gradient(u)
    torch.testing.assert_close(product, bend / (2 * step), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(product, dense_hessian(problem.loss, theta) @ u)
    torch.testing.assert_close(third, dense_third(problem.loss, theta, u))


@pytest.mark.parametrize("target", ["rank-one", "random"])
def test_deep_linear_net_is_the_product_of_its_matrices(target):
    """½‖W_3 W_2 W_1 − M‖²_F/N with M of the asked norm and rank, the same for the same seed."""
    arguments = {"depth": 3, "width": 4, "target": target, "strength": 2.5}
    problem = build(toy_config("deep-linear", arguments, seed=5))
    first, second, third = problem.initial.view(3, 4, 4)
    zero = torch.zeros_like(problem.initial)
    # L(0) = ‖M‖²/2N; with the last layer free and the others the identity, L is least at W = M
    eye = torch.eye(4, dtype=torch.float64)

    def loss(matrix):
        return problem.loss(torch.cat([eye.flatten(), eye.flatten(), matrix.flatten()]))

    slope = torch.func.grad(loss)(torch.zeros(4, 4, dtype=torch.float64))
    recovered = -4 * slope
    assert float(problem.loss(zero)) == pytest.approx(float(recovered.square().sum()) / 8)
    assert float(loss(recovered)) == pytest.approx(0, abs=1e-24)
    values = torch.linalg.svdvals(recovered)
    assert float(values[0]) == pytest.approx(2.5)
    assert int((values > 1e-9).sum()) == (1 if target == "rank-one" else 4)
    wanted = (third @ second @ first - recovered).square().sum() / 8
    assert float(problem.loss(problem.initial)) == pytest.approx(float(wanted))
    again = build(toy_config("deep-linear", arguments, seed=5))
    other = build(toy_config("deep-linear", arguments, seed=6))
    assert torch.equal(problem.initial, again.initial)
    assert not torch.equal(problem.initial, other.initial)


@pytest.mark.parametrize("nodes", ["equispaced", "chebyshev"])
def test_chebyshev_net_is_a_tanh_network_on_the_polynomial(nodes):
    """½ the mean squared difference from 8x⁴ − 8x² + 1 on the twelve points, written out."""
    config = toy_config("chebyshev", {"width": 6, "points": 12, "nodes": nodes})
    problem = build(config)
    if nodes == "equispaced":
        x = np.linspace(-1, 1, 12)
    else:
        x = np.sort(np.cos(np.pi * (2 * np.arange(12) + 1) / 24))
        np.testing.assert_allclose(np.cos(12 * np.arccos(x)), 0, atol=1e-12)

    def wanted(at):
        weight, bias, out, shift = np.split(problem.initial.numpy(), [6, 12, 18])
        fit = np.tanh(np.outer(at, weight) + bias) @ out + shift
        return float(((fit - (8 * at**4 - 8 * at**2 + 1)) ** 2).mean() / 2)

    assert float(problem.loss(problem.initial)) == pytest.approx(wanted(x), rel=1e-12)
    test = problem.test(problem.initial)
    assert test.loss == pytest.approx(wanted((x[1:] + x[:-1]) / 2), rel=1e-12)
    assert test.accuracy is None


def test_edge_of_the_diagonal_net():
    """η 0.0095 comes to rest on the axis, η 0.011 is thrown off it to where S < 2/η."""
    ends = {}
    for eta in (0.0095, 0.011):
        theta = build(toy_config("diagonal-net")).initial
        loss = build(toy_config("diagonal-net")).loss
        losses = []
        for _ in range(3000):
            value, slope = plain_gradient(loss, theta)
            losses.append(float(value))
            theta = descend(theta, slope, eta, 0.0)
        ends[eta] = theta
        assert losses[-1] < 1e-12
        assert 2 * float(theta @ theta) < 2 / eta
        rises = np.diff(losses[:50]) > 0
        assert rises.any() == (eta > 0.01)
    assert 2 * float(ends[0.0095] @ ends[0.0095]) > 1 / 0.0095


@pytest.mark.parametrize(
    ("start", "degree", "terms", "told"),
    [
        ([-0.1, 10.0, 3.0], 2, [], "(θ₁θ₂θ₃)²"),
        ([0.5, -1.5, 2.0, 0.7], 4, [2, 2], "(θ₁θ₂ + θ₃θ₄)⁴"),
        ([0.4, 0.0, 2.0, 1.0, -1.0, 0.3], 6, [1, 3, 2], "(θ₁ + θ₂θ₃θ₄ + θ₅θ₆)⁶"),
    ],
)
def test_diagonal_nets_of_more_parameters_are_their_formula(start, degree, terms, told):
    """INST, App. B and E: gradient z′Θ_a/θ_i; H is z″ΘΘᵀ-like with z′∂²Θ beside it; D³ by differences."""
    arguments = {"start": start, "degree": degree, "terms": terms}
    problem = build(toy_config("diagonal-net", arguments))
    assert problem.convention == told
    groups = (
        np.split(np.arange(len(start)), np.cumsum(terms)[:-1]) if terms else [range(len(start))]
    )
    theta = np.array(start)
    total = sum(np.prod(theta[list(group)]) for group in groups)
    slope, bend = np.zeros(len(start)), np.zeros((len(start),) * 2)
    for group in groups:
        for i in group:
            slope[i] = np.prod([theta[k] for k in group if k != i])
            for j in group:
                if i != j:
                    bend[i, j] = np.prod([theta[k] for k in group if k not in (i, j)])
    first, second = degree * total ** (degree - 1), degree * (degree - 1) * total ** (degree - 2)
    point = Point(problem.loss, problem.initial)
    assert float(point.loss) == pytest.approx(total**degree)
    np.testing.assert_allclose(point.gradient.numpy(), first * slope, rtol=1e-12, atol=1e-12)
    hessian = torch.stack([point.hessian_product(e) for e in torch.eye(len(start)).double()])
    wanted = second * np.outer(slope, slope) + first * bend
    np.testing.assert_allclose(hessian.numpy(), wanted, rtol=1e-12, atol=1e-12)
    u = torch.linspace(-1, 1, len(start), dtype=torch.float64)
    torch.testing.assert_close(
        point.curvature_gradient(u)[1], dense_third(problem.loss, problem.initial, u)
    )


@pytest.mark.parametrize(
    ("curvature", "motion"), [(8.0, "monotone"), (15.0, "oscillates"), (21.0, "diverges")]
)
def test_descent_on_a_quadratic_is_its_closed_form(tmp_path, curvature, motion):
    """REV, Example 2.1, η = 0.1: (1 − ηc)^t, monotone below 1/η, oscillating to 2/η, then diverging.

    And Lemma 1 with ℓ = S is met by the measured loss step, exactly where there is one parameter.
    """
    arguments = {"curvatures": [curvature, 2.0], "start": [1.0, -1.0]}
    config = toy_config("quadratic", arguments, eta=0.1, steps=60, cadence=1)
    run, _ = train(tmp_path, config)
    path = np.stack([run.steps[name] for name in run.coordinates], axis=1)
    steps = np.arange(len(path))[:, None]
    wanted = np.array([1.0, -1.0]) * (1 - 0.1 * np.array([curvature, 2.0])) ** steps
    np.testing.assert_allclose(path, wanted, rtol=1e-10)
    signs = np.sign(path[:, 0])
    assert (signs[1:] == signs[:-1]).all() == (motion == "monotone")
    assert (abs(path[-1, 0]) > 1) == (motion == "diverges")
    np.testing.assert_allclose(run.measured["sharpness"], curvature, rtol=1e-10)
    bound = run.measured["descent_bound"][:48]
    slack = bound - run.steps["loss_step"][:48]
    assert (slack > -1e-12 * run.steps["loss"][:48]).all()


# --- arguments, names, records ----------------------------------------------------------------------


def test_every_named_toy_is_built_and_states_its_convention():
    """The two tables agree; defaults build a finite problem in the precision asked for."""
    assert set(_BUILDERS) == set(toys.TOYS)
    for name in toys.TOYS:
        for dtype in ("float32", "float64"):
            problem = build(toy_config(name, dtype=dtype))
            assert problem.initial.dtype == getattr(torch, dtype)
            assert problem.initial.ndim == 1
            assert problem.convention
            assert math.isfinite(float(problem.loss(problem.initial)))


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("cubic-normal-from", {}, ["`problem`", "did you mean `cubic-normal-form`?", "network"]),
        ("cubic-normal-form", {"bb": 1.0}, ["unknown key `bb`", "`b`?", "a, b, x_star"]),
        ("cubic-normal-form", {"b": "x"}, ['`b` is "x"', "number"]),
        ("cubic-normal-form", {"b": True}, ["`b` is True", "number"]),
        ("cubic-normal-form", {"b": math.nan}, ["`b` is nan", "finite"]),
        ("cubic-normal-form", {"eta_star": 0.0}, ["`eta_star` is 0", "greater than 0"]),
        ("elliptical-valley", {"start": [1.0, 2.0, 3.0]}, ["`start`", "two numbers"]),
        ("elliptical-valley", {"start": 1.0}, ["`start` is 1.0", "two numbers"]),
        ("diagonal-net", {"start": 1.0}, ["`start` is 1", "list"]),
        ("diagonal-net", {"start": []}, ["`start`", "at least 1"]),
        ("diagonal-net", {"degree": 3}, ["`degree` is 3", "multiple of 2"]),
        ("diagonal-net", {"terms": [2, 1]}, ["`terms` is [2, 1]", "sum", "2 parameters"]),
        ("quadratic", {"start": [1.0]}, ["`start` has 1", "`curvatures` 2"]),
        ("diagonal-net", {"start": [1.0, "y"]}, ["`start`", '"y"', "number"]),
        ("deep-linear", {"depth": 2.5}, ["`depth` is 2.5", "whole number"]),
        ("deep-linear", {"target": "rank-oen"}, ["did you mean `rank-one`?"]),
    ],
)
def test_wrong_names_and_arguments_are_refused_in_one_sentence(name, arguments, parts):
    """Before any engine starts: the key, the value, what would be right."""
    with pytest.raises(InputError) as caught:
        toy_config(name, arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence


def test_a_toys_config_states_its_arguments_and_nothing_of_networks(tmp_path):
    """All arguments with their defaults; no data set, no width: they'd read as if they acted."""
    config = toy_config("elliptical-valley", {"a": 9})
    assert config.problem_arguments == {"a": 9.0, "start": (0.35, 0.9)}
    text = config.to_toml()
    assert RunConfig.from_toml(text, "again") == config
    for key in ("data", "network", "width", "loss", "decay_biases"):
        assert f"\n{key} =" not in text
        assert key not in config.acting()
    assert config.changed({"eta": 0.01}).problem_arguments == config.problem_arguments
    run, _ = train(tmp_path, config.changed({"steps": 3, "eta": 1e-4}))
    assert run.config.problem_arguments == config.problem_arguments
    assert run.facts["convention"] == "(1 − (a x² + y²))²"


# --- one and two parameters through the whole engine --------------------------------------------------


def test_one_parameter(tmp_path):
    """L = θ⁴/4 with decay: every column has its closed form, and there is no second eigenvalue."""
    start = torch.tensor([1.5], dtype=torch.float64)
    problem = Problem(start, lambda theta: theta[0] ** 4 / 4, "θ⁴/4")
    config = RunConfig.build(
        {**EXACT, "eta": 0.2, "weight_decay": 0.3, "steps": 40, "cadence": 1}, "test"
    )
    run, status = train(tmp_path, config, problem)
    assert status == "finished"
    theta = [1.5]
    for _ in range(40):
        theta.append((1 - 0.06) * theta[-1] - 0.2 * theta[-1] ** 3)
    theta = np.array(theta)
    close = {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(run.steps["theta_norm"], np.abs(theta), **close)
    np.testing.assert_allclose(run.measured["sharpness"], 3 * theta**2, **close)
    np.testing.assert_allclose(run.measured["beta"], 36 * theta**2, **close)
    np.testing.assert_allclose(run.measured["beta_alpha"], -6 * theta**4, **close)
    np.testing.assert_allclose(run.measured["g"], 6 * theta**2, **close)
    np.testing.assert_allclose(run.measured["gradient_u"], 1, **close)
    kappa = np.diff(theta**3) / np.diff(theta)
    np.testing.assert_allclose(run.steps["path_curvature"][:-1], kappa, rtol=1e-8)
    assert np.isnan(run.measured["eig_2"]).all()
    assert (run.measured["sharpness_residual"] == 0).all()


@pytest.mark.parametrize("name", toys.TOYS)
@pytest.mark.parametrize("reading", ["raw", "midpoint"])
def test_every_toy_runs_through_the_whole_engine(tmp_path, name, reading):
    """Thirty steps below the edge: a row a step, finite readings, nothing refused."""
    config = toy_config(name, eta=1e-3, weight_decay=0.1, steps=30, cadence=5, reading=reading)
    run, status = train(tmp_path, config)
    assert status == "finished"
    assert run.last_step == 30
    for column in ("sharpness", "eig_2", "beta", "g", "g_u", "grad_norm"):
        assert np.isfinite(run.measured[column]).all(), column
    assert np.isfinite(run.steps["path_curvature"][:-1]).all()
