"""Multiple, clustered and near eigenvalues against numpy.linalg.eigh: none is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import dense_hessian
from probed import Probed, measure_sharpness
from scipy.sparse.linalg import LinearOperator, eigsh

from eostui import presets
from eostui.config import RunConfig
from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.hessian_memory import HessianMemory
from eostui.curvature.point import Point, plain_gradient
from eostui.dynamics.gradient_descent import descend
from eostui.probes.sharpness import FOLLOWED_FROM
from eostui.problems import Problem, build_problem
from eostui.runs.analysis.monitors import monitors
from eostui.runs.analysis.remarks import remark
from eostui.runs.series import Series
from eostui.runs.store.rows import Event

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 120
DTYPES = [torch.float64, torch.float32]
#: What float32 leaves of a value's error, beside the tolerance asked for.
ROUNDING = {torch.float64: 1e-12, torch.float32: 2e-6}


def rotation(size, rng):
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def turning(values, seed, *, turn=0.0, length=1):
    """Dense matrices with these eigenvalues, whose eigenvectors turn by about `turn` each time."""
    rng = np.random.default_rng(seed)
    size = len(values)
    q = rotation(size, rng)
    for _ in range(length):
        yield (q * np.asarray(values)) @ q.T
        skew = rng.normal(size=(size, size)) / np.sqrt(2 * size)
        half = 0.5 * turn * (skew - skew.T)
        q = np.linalg.solve(np.eye(size) - half, np.eye(size) + half) @ q


def random(seed, number, dtype):
    generator = torch.Generator().manual_seed(1000 * seed + number)
    return torch.randn(SIZE, generator=generator, dtype=torch.float64).to(dtype)


class Tracker:
    """Follows matrices as a run's measurements do: warm, with guards and a memory."""

    def __init__(self, target, dtype, seed=0):
        self.target, self.dtype, self.seed = target, dtype, seed
        self.memory, self.vectors = HessianMemory(), None

    def measure(self, matrix):
        operator = torch.as_tensor(matrix).to(self.dtype)
        cold = self.vectors is None
        start = random(self.seed, 0, self.dtype)[None] if cold else self.vectors
        pairs = leading_eigenpairs(
            operator.mv,
            start,
            self.target,
            memory=self.memory,
            fresh=lambda number: random(self.seed, 1 + number, self.dtype),
            known=0 if cold else len(self.vectors),
        )
        self.vectors = torch.cat([pairs.vectors, pairs.guard_vectors])
        return pairs


def check_values(pairs, matrix, dtype):
    """Every value told is the one of its number; the guard is below, and no true one is above it."""
    exact = np.linalg.eigvalsh(matrix)[::-1]
    allowed = (1e-5 + ROUNDING[dtype]) * abs(exact[0])
    np.testing.assert_allclose(pairs.values, exact[: len(pairs.values)], rtol=0, atol=allowed)
    assert pairs.converged
    return exact


BULK = np.linspace(0.6, -0.1, SIZE)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("wanted", [1, 2, 4, 8])
@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8])
def test_a_near_second_is_told_from_the_first_or_said_not_to_be(gap, wanted, dtype):
    """λ₁ = 2, λ₂ = 2(1 − gap), cold and over a slow rotation: values right, u right or admitted."""
    values = np.concatenate([[2, 2 * (1 - gap), 1.5, 1.2, 1.1, 1.0, 0.9, 0.8], BULK[8:]])
    tracker = Tracker(Target(wanted=wanted), dtype)
    for matrix in turning(values, 3, turn=0.02, length=6):
        pairs = tracker.measure(matrix)
        check_values(pairs, matrix, dtype)
        first = np.linalg.eigh(matrix)[1][:, -1]
        sine = np.sqrt(max(0.0, 1 - float(pairs.vectors[0].double().numpy() @ first) ** 2))
        if pairs.separated:
            assert sine <= 0.02 * 1.1
        else:
            assert pairs.first_vector_error > 0.02
        if dtype == torch.float64:
            assert pairs.separated, "products enough, and precision"
        else:
            assert pairs.separated or gap < 3e-4
        if not np.isnan(pairs.gap):
            assert pairs.gap == pytest.approx(2 * gap, rel=0.15, abs=5e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("wanted", [1, 2, 4, 8])
@pytest.mark.parametrize("multiplicity", [2, 3, 10])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_multiple_eigenvalues_are_found_as_often_as_they_are(place, multiplicity, wanted, dtype):
    """A value two, three or ten times, at the top or below it; cold and over a slow rotation."""
    above, below = [3.0, 2.8, 2.5][:place], [1.4, 1.2, 1.1, 1.0, 0.9, 0.8]
    values = np.concatenate([above, [2.0] * multiplicity, below])
    values = np.concatenate([values, BULK[: SIZE - len(values)]])
    tracker = Tracker(Target(wanted=wanted), dtype, seed=multiplicity)
    for matrix in turning(values, place, turn=0.02, length=5):
        pairs = tracker.measure(matrix)
        check_values(pairs, matrix, dtype)
        assert pairs.separated == (place > 0)
        guard = np.sort(values)[::-1][wanted]
        assert pairs.guard_values[0] == pytest.approx(guard, abs=0.06)
        if wanted > 1 and place == 0:
            assert pairs.gap == pytest.approx(0, abs=5e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=["float64", "float32"])
@pytest.mark.parametrize("seed", range(3))
def test_none_of_a_cluster_is_passed_over(seed, dtype):
    """24 followed, fifteen of them within 1.3 %: all, in their places, cold and over a rotation."""
    cluster = 1.50 + 0.02 * np.sort(np.random.default_rng(seed).uniform(size=15))[::-1]
    values = np.concatenate([[4, 3.5, 3, 2.4, 2], cluster, np.linspace(1.3, 0.9, 12)])
    values = np.concatenate([values, BULK[: SIZE - len(values)]])
    tracker = Tracker(Target(wanted=24), dtype, seed)
    for matrix in turning(values, seed, turn=0.01, length=4):
        check_values(tracker.measure(matrix), matrix, dtype)


#: Spectra in which a look across meets the lower values long before it could see the hidden one.
LOWER = {
    "three stand apart": [1.9, 1.8, 1.7, *np.linspace(1.2, 0, 116)],
    "evenly spaced": np.linspace(1.98, 0, 119),
    "two levels": [1.5] * 40 + [1.0] * 79,
    "a bulk far below": [1.95, *np.linspace(0.5, -3, 118)],
}


@pytest.mark.parametrize("lower", LOWER.values(), ids=LOWER)
@pytest.mark.parametrize("wanted", [1, 2, 4])
@pytest.mark.parametrize("share", [1e-1, 1e-2, 1e-3])
def test_a_look_sees_what_a_fresh_direction_has_little_of(share, wanted, lower):
    """The start has nothing of the first eigenvector, the fresh direction `share` of its usual part."""
    for seed in range(8):
        (matrix,) = turning([2.0, *lower], seed)
        hidden = torch.from_numpy(np.linalg.eigh(matrix)[1][:, -1].copy())

        def direction(number, part, hidden=hidden, seed=seed):
            drawn = random(seed, number, torch.float64)
            return drawn + (part - drawn @ hidden) * hidden

        pairs = leading_eigenpairs(
            torch.as_tensor(matrix).mv,
            direction(0, 1e-9)[None],
            Target(wanted=wanted),
            fresh=lambda number, direction=direction: direction(1 + number, share),
        )
        check_values(pairs, matrix, torch.float64)


@pytest.mark.parametrize("multiplicity", [2, 10])
def test_edge_counts_every_copy_above_the_line(multiplicity):
    """eigenvalues = "edge": all copies of two multiple values above the line, and one more."""
    values = [5.0] + [4.0] * multiplicity + [3.5] * 3 + [1.0, 0.9]
    values = np.concatenate([values, BULK[: SIZE - len(values)]])
    (matrix,) = turning(values, 5)
    operator = torch.as_tensor(matrix)
    problem = Problem(torch.ones(SIZE).double(), lambda at: 0.5 * at @ (operator @ at), "quadratic")
    eta = 2 * FOLLOWED_FROM / 2.5
    config = RunConfig.build({"eigenvalues": "edge", "eta": eta, "dtype": "float64"}, "test")
    state = Probed(config, problem)
    for _ in range(3):
        measured = measure_sharpness(Point(problem.loss, problem.initial), state)
        count = sum(name.startswith("eig_") and name[4:].isdigit() for name in measured) + 1
        assert count == 1 + multiplicity + 3 + 1


def test_a_multiple_of_the_identity_has_one_value_as_often_as_is_asked():
    """Every direction is an eigenvector, and no search is needed to say so."""
    tracker = Tracker(Target(wanted=4), torch.float64)
    for _ in range(3):
        pairs = tracker.measure(3.0 * np.eye(SIZE))
        np.testing.assert_allclose(pairs.values, 3.0, rtol=1e-13)
        assert not pairs.separated
        assert pairs.products <= 12


# --- measurements ----------------------------------------------------------------------------------


def built(**values):
    config = presets.load("digits-mlp").config.changed(values)
    return config, build_problem(config, torch.device("cpu"), Path(os.devnull), lambda _: None)


def told(values):
    """The eigenvalues of a reading in their order."""
    names = [name for name in values if name.startswith("eig_") and name[4:].isdigit()]
    return [values["sharpness"], *(values[name] for name in names)]


def test_the_first_direction_of_digits_is_the_first_though_it_alone_is_followed():
    """eigenvalues = 1, λ₁ and λ₂ 1 % apart and less from step 1500 on: S to 1e-5, u to its tolerance."""
    config, problem = built(eigenvalues=1)
    _, exact = built(dtype="float64")
    state, theta = Probed(config, problem), problem.initial
    for step in range(2101):
        if step % config.cadence == 0:
            state.at(step, config.eta, 0.0)
            values = measure_sharpness(Point(problem.loss, theta), state)
        if step in (1500, 1950, 2100):
            product = Point(exact.loss, theta.double()).hessian_product
            operator = LinearOperator(
                (len(theta), len(theta)),
                matvec=lambda v, product=product: product(torch.from_numpy(v.ravel())).numpy(),
                dtype=np.float64,
            )
            start = np.random.default_rng(step).normal(size=len(theta))
            wanted, vectors = eigsh(operator, k=2, which="LA", v0=start, ncv=40, tol=1e-9)
            assert values["sharpness"] == pytest.approx(wanted[1], rel=1e-5)
            overlap = abs(float(state.eigenvectors[0].double().numpy() @ vectors[:, 1]))
            assert np.sqrt(1 - min(overlap, 1) ** 2) <= config.vector_tolerance
            assert values["u_error"] <= config.vector_tolerance
        theta = descend(theta, plain_gradient(problem.loss, theta)[1], config.eta, 0.0, None)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_linear_network_has_every_eigenvalue_once_for_each_output(dtype):
    """Depth 0: with MSE each eigenvalue of the inputs' second moments stands tenfold; gap 0, a remark."""
    config, problem = built(depth=0, dtype=dtype, eigenvalues=12)
    exact = np.linalg.eigvalsh(dense_hessian(problem.loss, problem.initial).double())[::-1]
    state, theta = Probed(config, problem), problem.initial
    for step in (0, 25):
        state.at(step, config.eta, 0.0)
        values = measure_sharpness(Point(problem.loss, theta), state)
        np.testing.assert_allclose(told(values), exact[:12], rtol=0, atol=2e-5 * exact[0])
        assert values["u_error"] == 1
        assert values["sharpness_gap"] == pytest.approx(0, abs=2e-5 * exact[0])
        theta = descend(theta, plain_gradient(problem.loss, theta)[1], config.eta, 0.0, None)
    (event,) = state.events  # once for all in a row
    assert event[0] == "degenerate"
    assert "one direction among several" in remark(Event(0, 0.0, *event))
    row = Series(
        ["step", "weight_decay", *values, "sharpness_gradient_u", "gradient_u", "beta_alpha"]
    )
    row.append(1, {"step": 0, "weight_decay": 0.0, **values})
    steps = Series(["stability_undecayed"])
    steps.append(1, {"stability_undecayed": 2 / config.eta})
    found = {each.name: each for each in monitors(steps, row, "raw", config.vector_tolerance)}
    assert found["u stands apart"].holds is False
    assert found["u stands apart"].reading == "one of several"


@pytest.mark.parametrize("seed", range(6))
def test_the_last_pair_told_is_as_good_as_the_first(seed):
    """Twelve parameters, four followed at 1e-9, along a path: each to 1e-9 of S."""
    rng = np.random.default_rng(seed)
    core = rng.normal(size=(12, 12))
    matrix = torch.as_tensor(core @ core.T + np.diag([20.0, 20.0, 19.5, 19, *range(8)]))
    cubes = torch.as_tensor(rng.normal(size=12))

    def loss(at):
        return 0.5 * at @ (matrix @ at) + (cubes * at**3).sum() / 6 + 0.01 * (at**4).sum()

    config = RunConfig.build({"eigenvalues": 4, "tolerance": 1e-9, "dtype": "float64"}, "test")
    theta = torch.as_tensor(rng.normal(size=12))
    state = Probed(config, Problem(theta, loss, "c"))
    for step in range(8):
        state.at(step, 0.01, 0.0)
        values = measure_sharpness(Point(loss, theta), state)
        exact = np.linalg.eigvalsh(dense_hessian(loss, theta))[::-1]
        np.testing.assert_allclose(told(values), exact[:4], rtol=0, atol=1e-9 * exact[0])
        assert values["sharpness_gap"] == values["sharpness"] - values["eig_2"]
        theta = theta - 0.01 * plain_gradient(loss, theta)[1]


def test_the_gap_is_of_this_measurement_whatever_is_remembered():
    """A memory of another Hessian, as a fork's parent leaves one, changes no gap."""
    values = np.concatenate([[5, 4, 3], BULK[:40]])
    (matrix,) = turning(values, 1)
    operator = torch.as_tensor(matrix)
    problem = Problem(torch.ones(43).double(), lambda at: 0.5 * at @ (operator @ at), "quadratic")
    config = RunConfig.build({"eigenvalues": 2, "dtype": "float64"}, "test")
    state = Probed(config, problem)
    point = Point(problem.loss, problem.initial)
    measure_sharpness(point, state)
    state.memory.values = state.memory.values * 1.2 + 0.3
    state.readings = 1
    measured = measure_sharpness(point, state)
    assert measured["sharpness_gap"] == measured["sharpness"] - measured["eig_2"]
    assert measured["sharpness_gap"] == pytest.approx(1, abs=1e-4)


def test_a_state_saved_without_guards_is_taken_up():
    """Checkpoints of older versions have none: the next search finds them again."""
    (matrix,) = turning(np.concatenate([[5, 5, 4, 3], BULK[:40]]), 2)
    operator = torch.as_tensor(matrix)
    problem = Problem(torch.ones(44).double(), lambda at: 0.5 * at @ (operator @ at), "quadratic")
    config = RunConfig.build({"eigenvalues": 3, "dtype": "float64"}, "test")
    state, point = Probed(config, problem), Point(problem.loss, problem.initial)
    measure_sharpness(point, state)
    older = {
        name: kept
        for name, kept in state.probes.sharpness.state().items()
        if name not in ("guards", "degenerate")
    }
    state = Probed(config, problem)
    state.probes.sharpness.restore(older)
    measured = measure_sharpness(point, state)
    np.testing.assert_allclose(told(measured), [5, 5, 4], atol=1e-4)
    assert measured["eig_guard"] == pytest.approx(3, abs=0.05)
