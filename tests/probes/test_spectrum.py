"""The followed part of the spectrum, its audit, and when it is measured, through the real loop."""

from __future__ import annotations

import dataclasses
import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from engines import assert_same_rows, entry, here, small
from oracles import dense_hessian, dense_third, gradient
from probed import Probed, measure_drives, measure_sharpness, measure_smallest

from eostui.config import MOST_EIGENVALUES, RunConfig
from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.hessian_memory import HessianMemory
from eostui.curvature.point import Point
from eostui.engine.controls import POLL_EVERY
from eostui.engine.device import prepare_machine
from eostui.engine.driver import Driver
from eostui.engine.facts import initial_facts
from eostui.probes.sharpness import AUDIT_EVERY, FOLLOWED_FROM
from eostui.problems import Problem
from eostui.runs.analysis.remarks import remark
from eostui.runs.launch import Fork
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.runs.store.rows import Event
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")


def with_settings(case, **values):
    return dataclasses.replace(case, config=case.config.changed(values))


def moved(case, steps=40, eta=0.2):
    theta = case.theta
    for _ in range(steps):
        theta = theta - eta * gradient(case.problem.loss, theta)
    return theta


def spectrum(case, theta):
    """Eigenvalues of the dense Hessian in falling order, and its unit eigenvectors as rows."""
    values, vectors = torch.linalg.eigh(dense_hessian(case.problem.loss, theta))
    return values.flip(0).tolist(), vectors.flip(1).T


def followed(values):
    """The eigenvalues of a reading in their order."""
    names = [name for name in values if name.startswith("eig_") and name[4:].isdigit()]
    assert names == [f"eig_{n}" for n in range(2, len(names) + 2)]
    return [values["sharpness"], *(values[name] for name in names)]


def quadratic(matrix, seed=0):
    """L = ½θᵀAθ, and a θ."""
    matrix = torch.as_tensor(matrix, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(len(matrix), generator=generator, dtype=torch.float64)
    return Problem(initial=theta, loss=lambda at: 0.5 * at @ (matrix @ at), convention="quadratic")


# --- how many eigenvalues --------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("wanted", [1, 3, MOST_EIGENVALUES])
def test_as_many_eigenvalues_as_are_asked_for(small_case, network, wanted):
    """The largest of the dense spectrum, cold and then warm at a θ nearby."""
    case = small_case(network, activation="tanh", eigenvalues=wanted, tolerance=1e-9)
    theta = moved(case)
    state = Probed(case.config, case.problem)
    for at in (theta, theta - 0.02 * gradient(case.problem.loss, theta)):
        values = measure_sharpness(Point(case.problem.loss, at), state)
        exact, _ = spectrum(case, at)
        found = followed(values)
        assert len(found) == wanted
        assert found[0] == pytest.approx(exact[0], rel=1e-8)
        # a residual of 1 % of S: an eigenvalue lies that near, and above the bulk it is the one meant
        for value, true in zip(found, exact, strict=False):
            assert value <= true + 1e-9
            assert min(abs(value - other) for other in exact) <= 0.0101 * exact[0]
            if true > 0.1 * exact[0]:
                assert value == pytest.approx(true, abs=0.0101 * exact[0])
        assert state.eigenvectors.shape == (wanted, len(at))
        if wanted == 1:
            assert values["sharpness_gap"] == pytest.approx(exact[0] - exact[1], rel=0.15)
        else:
            assert values["sharpness_gap"] == pytest.approx(exact[0] - exact[1], rel=1e-3)


@pytest.mark.parametrize("above", [0, 1, 2, 4, 7])
def test_edge_follows_all_above_three_quarters_of_the_line_and_one_more(small_case, above):
    """η is chosen so that `above` eigenvalues lie above 0.75·2/η."""
    case = small_case("mlp", activation="tanh", eigenvalues="edge", tolerance=1e-9)
    theta = moved(case)
    exact, _ = spectrum(case, theta)
    level = 1.5 * exact[0] if above == 0 else (exact[above - 1] + exact[above]) / 2
    case = with_settings(case, eta=2 * FOLLOWED_FROM / level)
    state = Probed(case.config, case.problem)
    for _ in range(2):  # cold, then warm
        values = measure_sharpness(Point(case.problem.loss, theta), state)
        found = followed(values)
        assert len(found) == above + 1
        assert sum(value >= level for value in found) == above
        np.testing.assert_allclose(found, exact[: above + 1], atol=0.0101 * exact[0])


def test_edge_counts_up_and_down_as_eta_changes(small_case):
    """The same state at another η: more are followed where 2/η sinks, fewer where it rises."""
    case = small_case("mlp", activation="tanh", eigenvalues="edge", tolerance=1e-9)
    theta = moved(case)
    exact, _ = spectrum(case, theta)
    state = Probed(case.config, case.problem)
    point = Point(case.problem.loss, theta)
    for step, above in enumerate([1, 4, 2, 6, 1]):
        level = (exact[above - 1] + exact[above]) / 2
        state.at(step, 2 * FOLLOWED_FROM / level, 0.0)
        assert len(followed(measure_sharpness(point, state))) == above + 1


def test_edge_follows_no_more_than_the_most():
    """Forty values above the line: MOST_EIGENVALUES of them."""
    problem = quadratic(np.diag([*np.linspace(40, 30, 40), *np.linspace(1, 0, 10)]))
    config = RunConfig.build({"eigenvalues": "edge", "eta": 0.1, "dtype": "float64"}, "test")
    values = measure_sharpness(Point(problem.loss, problem.initial), Probed(config, problem))
    found = followed(values)
    assert len(found) == MOST_EIGENVALUES
    np.testing.assert_allclose(found, np.linspace(40, 30, 40)[:MOST_EIGENVALUES], atol=0.41)


def test_no_more_than_there_are():
    """P = 3: three eigenvalues, whatever is asked for."""
    problem = quadratic(np.diag([3.0, 2.0, -1.0]))
    for wanted in (MOST_EIGENVALUES, "edge"):
        config = RunConfig.build({"eigenvalues": wanted, "eta": 100.0, "dtype": "float64"}, "test")
        state = Probed(config, problem)
        values = measure_sharpness(Point(problem.loss, problem.initial), state)
        np.testing.assert_allclose(followed(values), [3.0, 2.0, -1.0], atol=1e-12)
        assert values["sharpness_gap"] == pytest.approx(1.0)


@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_smallest_eigenvalue(small_case, network):
    """eig_min is that of the dense Hessian, cold and warm, and only there if it is asked for."""
    case = small_case(network, activation="tanh", smallest_eigenvalue=True, tolerance=1e-7)
    theta = moved(case)
    state = Probed(case.config, case.problem)
    for at in (theta, theta - 0.02 * gradient(case.problem.loss, theta)):
        values = measure_smallest(Point(case.problem.loss, at), state)
        exact, _ = spectrum(case, at)
        assert list(values) == ["eig_min", "eig_min_residual", "hessian_products"]
        assert values["eig_min_residual"] < 1e-3
        assert values["eig_min"] == pytest.approx(exact[-1], abs=1e-6 * abs(exact[-1]))
    without = Probed(case.config.changed({"smallest_eigenvalue": False}), case.problem)
    assert measure_smallest(Point(case.problem.loss, theta), without) == {}


def test_a_crowded_lower_end_is_told():
    """Two thousand eigenvalues beside the smallest: the search ends early, says so once, and how far."""
    torch.manual_seed(0)
    values = torch.cat([torch.tensor([10.0]), -torch.rand(1999) * 1e-4]).double()
    point = diagonal_point(values)
    config = RunConfig.build({"smallest_eigenvalue": True, "dtype": "float64"}, "test")
    state = Probed(config, SimpleNamespace(decayed=None))
    measure_sharpness(point, state)
    for events in (["unconverged"], []):
        state.events.clear()
        found = measure_smallest(point, state)
        assert [kind for kind, _ in state.events] == events
        assert found["eig_min_residual"] > 0
    assert found["eig_min"] == pytest.approx(float(values.min()), rel=1e-2)


def diagonal_point(values, turn=0.0):
    """A point whose Hessian has these eigenvalues, the first two vectors turned by an angle."""
    matrix = torch.diag(values)
    cos, sin = math.cos(turn), math.sin(turn)
    rotation = torch.eye(len(values), dtype=torch.float64)
    rotation[:2, :2] = torch.tensor([[cos, -sin], [sin, cos]])
    matrix = rotation @ matrix @ rotation.T
    return SimpleNamespace(theta=torch.zeros_like(values), hessian_product=lambda v: matrix @ v)


@pytest.mark.parametrize("turn", [0.4, 0.5, 0.7])
def test_u_that_turns_far_is_not_lost_behind_those_after_it(turn):
    """eigenvalues = "edge": u goes to and fro by 2·turn; the following ones stay. S is S all the same."""
    torch.manual_seed(1)
    values = torch.rand(80, dtype=torch.float64)
    values[:6] = torch.tensor([12.0, 1.0, 7.0, 6.0, 6.0, 6.0])
    config = RunConfig.build({"eigenvalues": "edge", "eta": 0.2, "dtype": "float64"}, "test")
    state = Probed(config, SimpleNamespace(decayed=None))
    for reading in range(12):
        state.at(25 * reading, 0.2, 0.0)
        point = diagonal_point(values, turn if reading % 2 else -turn)
        assert measure_sharpness(point, state)["sharpness"] == pytest.approx(12.0, rel=1e-4)


def test_what_an_audit_shows_stays_while_u_goes_to_and_fro():
    """An eigenvalue that no start has: found by the audit, and at every reading after it."""
    torch.manual_seed(1)
    values = torch.rand(80, dtype=torch.float64)
    values[:4] = torch.tensor([10.0, 1.0, 5.0, 4.0])
    settings = {"eigenvalues": 2, "measure": "spectrum", "dtype": "float64"}
    state = Probed(RunConfig.build(settings, "test"), SimpleNamespace(decayed=None))
    for reading in range(AUDIT_EVERY + 10):
        values[-1] = 6.0 if reading >= 5 else 0.0
        state.at(25 * reading, 0.2, 0.0)
        point = diagonal_point(values, 0.5 if reading % 2 else -0.5)
        second = measure_sharpness(point, state)["eig_2"]
        if reading >= AUDIT_EVERY:
            assert second == pytest.approx(6.0, rel=1e-4)
    assert "audit" in [kind for kind, _ in state.events]


def test_spectrum_alone_has_no_columns_of_the_drives(small_case):
    """measure = "spectrum": the same eigenvalues, at fewer products, and nothing of ∇S."""
    readings = {}
    for measure in ("drives", "spectrum"):
        case = small_case(
            "mlp", activation="tanh", depth=3, width=8, measure=measure, vector_tolerance=1e-5
        )
        state = Probed(case.config, case.problem)
        point = Point(case.problem.loss, moved(case))
        readings[measure] = measure_sharpness(point, state) | measure_drives(point, state)
    extra = set(readings["drives"]) - set(readings["spectrum"])
    assert extra >= {"beta", "beta_alpha", "g", "g_u", "grad_norm", "beta_perp", "g_perp"}
    assert set(readings["spectrum"]) < set(readings["drives"])
    one, other = readings["spectrum"], readings["drives"]
    assert one["sharpness"] == pytest.approx(other["sharpness"], rel=2e-5)
    assert one["hessian_products"] < other["hessian_products"]


# --- one reading and the next ----------------------------------------------------------------------


def test_two_eigenvectors_that_change_places_keep_their_signs_and_show_in_the_overlap():
    """L = ½(a(s)x² + b(s)y²): at s = 0 x leads, at s = 1 y does; |⟨u, u′⟩| falls from 1 to 0."""
    config = RunConfig.build({"dtype": "float64"}, "test")

    def loss(at):
        x, y, s = at
        return 0.5 * ((5 - 2 * s) * x * x + (4 + 2 * s) * y * y)

    state = Probed(config, Problem(torch.zeros(3).double(), loss, "crossing"))
    overlaps, before = [], None
    for s in (0.0, 0.1, 1.0, 1.1, 0.0):
        values = measure_sharpness(Point(loss, torch.tensor([0, 0, s]).double()), state)
        assert followed(values) == pytest.approx(sorted((5 - 2 * s, 4 + 2 * s), reverse=True))
        assert values["sharpness_gap"] == pytest.approx(abs(1 - 4 * s))
        overlaps.append(values.get("overlap"))
        if before is not None:  # every vector points as the one it was, wherever that stood
            nearest = (state.eigenvectors @ before.T).abs().argmax(1)
            signs = (state.eigenvectors * before[nearest]).sum(1)
            np.testing.assert_allclose(signs, 1.0, atol=1e-6)
        before = state.eigenvectors.clone()
    assert overlaps[0] is None
    np.testing.assert_allclose(overlaps[1:], [1.0, 0.0, 1.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
@pytest.mark.parametrize("decay_biases", [True, False])
def test_drives_across_u_are_those_of_a_projected_gradient(small_case, loss, decay_biases):
    """∇S⊥ = ∇S − ⟨∇S, u⟩u from the dense derivatives: ‖∇S⊥‖², −⟨∇L, ∇S⊥⟩, ⟨θ, ∇S⊥⟩."""
    case = small_case(
        "mlp", activation="tanh", loss=loss, decay_biases=decay_biases, tolerance=1e-11
    )
    theta = moved(case, steps=200, eta=0.3)
    state = Probed(case.config, case.problem)
    point = Point(case.problem.loss, theta)
    values = measure_sharpness(point, state) | measure_drives(point, state)
    u = spectrum(case, theta)[1][0]
    across = dense_third(case.problem.loss, theta, u)
    assert float((across @ u).abs() / across.norm()) > 1e-3  # else there is nothing to take away
    across = across - (across @ u) * u
    slope = gradient(case.problem.loss, theta)
    pulled = theta if decay_biases else theta * case.problem.decayed
    assert values["beta_perp"] == pytest.approx(float(across @ across), rel=1e-5)
    assert values["beta_alpha_perp"] == pytest.approx(-float(slope @ across), rel=1e-5, abs=1e-9)
    assert values["g_perp"] == pytest.approx(float(pulled @ across), rel=1e-5, abs=1e-9)
    assert values["beta_perp"] < values["beta"]


# --- the audit -------------------------------------------------------------------------------------

LEADING, HIDDEN_FROM = 9.0, 5.0


def two_blocks():
    """A block-diagonal Hessian: the first value, 9, in one block; 5, 4, 3 and a bulk in the other."""
    rng = np.random.default_rng(0)
    blocks = []
    for values in (
        [LEADING, *rng.uniform(0, 1, 19)],
        [HIDDEN_FROM, 4.0, 3.0, *rng.uniform(0, 1, 27)],
    ):
        q = np.linalg.qr(rng.normal(size=(len(values), len(values))))[0]
        blocks.append((q * np.array(values)) @ q.T)
    return np.block([[blocks[0], np.zeros((20, 30))], [np.zeros((30, 20)), blocks[1]]])


def caught_in(rows, state, matrix):
    """Plant eigenvectors and a memory that know nothing of what lies outside these rows' block."""
    start = torch.zeros(1, 50, dtype=torch.float64)
    count = len(range(50)[rows])
    start[0, rows] = torch.randn(
        count, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    operator = torch.as_tensor(matrix)
    state.memory = HessianMemory()
    pairs = leading_eigenpairs(
        operator.mv, start, Target(value_tolerance=1e-9), memory=state.memory
    )
    outside = torch.ones(50, dtype=torch.bool)
    outside[rows] = False
    assert not torch.cat([pairs.vectors, pairs.guard_vectors])[:, outside].any()
    assert not state.memory.vectors[:, outside].any()
    state.eigenvectors, state.guards = pairs.vectors, pairs.guard_vectors


def test_an_audit_finds_the_vector_that_a_warm_start_has_lost():
    """From the other block 5 is read as S, until the audit comes: then 9, with an event."""
    matrix = two_blocks()
    problem = quadratic(matrix)
    state = Probed(RunConfig.build({"dtype": "float64"}, "test"), problem)
    point = Point(problem.loss, problem.initial)
    caught_in(slice(20, 50), state, matrix)
    state.readings = 1
    while state.readings < AUDIT_EVERY:
        values = measure_sharpness(point, state)
        assert values["sharpness"] == pytest.approx(HIDDEN_FROM, rel=1e-6)
        assert state.events == []
    warm_products = values["hessian_products"]
    values = measure_sharpness(point, state)
    assert values["sharpness"] == pytest.approx(LEADING, rel=1e-5)
    assert values["eig_2"] == pytest.approx(HIDDEN_FROM, rel=1e-2)
    assert values["hessian_products"] > warm_products
    assert values["overlap"] == pytest.approx(0.0, abs=1e-3)
    ((kind, payload),) = state.events
    assert kind == "audit"
    assert payload["sharpness"] == pytest.approx(LEADING, rel=1e-5)
    assert payload["warm_start"] == pytest.approx(HIDDEN_FROM, rel=1e-6)
    state.events.clear()
    values = measure_sharpness(point, state)  # and from there on it is followed
    assert values["sharpness"] == pytest.approx(LEADING, rel=1e-5)
    assert state.events == []


def test_an_audit_finds_a_second_eigenvalue_that_was_lost():
    """From the block of 9 what is read after it is below 1, until the audit finds 5."""
    matrix = two_blocks()
    problem = quadratic(matrix)
    state = Probed(RunConfig.build({"dtype": "float64", "eigenvalues": 2}, "test"), problem)
    point = Point(problem.loss, problem.initial)
    caught_in(slice(0, 20), state, matrix)
    state.readings = AUDIT_EVERY - 1
    before = measure_sharpness(point, state)
    assert before["sharpness"] == pytest.approx(LEADING, rel=1e-6)
    assert before["eig_2"] < 1
    assert state.events == []
    found = measure_sharpness(point, state)
    assert found["eig_2"] == pytest.approx(HIDDEN_FROM, rel=1e-2)
    ((kind, payload),) = state.events
    assert (kind, payload["eigenvalue"]) == ("audit", 2)
    assert payload["found"] == pytest.approx(HIDDEN_FROM, rel=1e-2)
    assert payload["warm_start"] == pytest.approx(before["eig_2"])
    assert "a larger eigenvalue 2" in remark(Event(40, 0.0, kind, payload))


def test_a_search_that_runs_out_of_products_says_so_once():
    """Eigenvalues this close take more products than there are; the next reading doesn't repeat it."""
    hard = torch.linspace(1, 0.9, 1000, dtype=torch.float64)
    sharp = {"dtype": "float64", "tolerance": 1e-12, "vector_tolerance": 1e-6}
    state = Probed(RunConfig.build(sharp, "test"), quadratic(torch.eye(1000)))
    easy = torch.cat([torch.tensor([50.0, 20.0]), torch.zeros(998)]).double()
    told = []
    for diagonal in (hard, hard, easy, hard):
        problem = Problem(torch.ones(1000).double(), lambda x, d=diagonal: 0.5 * x @ (d * x), "c")
        state.forget()
        measure_sharpness(Point(problem.loss, problem.initial), state)
        told.append([kind for kind, _ in state.events])
        if state.events:
            payload = state.events.pop()[1]
            assert payload["products"] >= 120
            assert payload["residual"] > 1e-7
    assert told == [["unconverged"], [], [], ["unconverged"]]


def test_the_products_of_the_smallest_eigenvalue_are_counted_too(small_case):
    """hessian_products is every call of the product at this reading."""
    case = small_case("mlp", activation="tanh", smallest_eigenvalue=True)
    state = Probed(case.config, case.problem)
    for _ in range(2):
        point = Point(case.problem.loss, moved(case))
        calls = []
        product = point.hessian_product
        point.hessian_product = lambda v, product=product, calls=calls: (
            calls.append(1) or product(v)
        )
        values = measure_sharpness(point, state)
        alone = values["hessian_products"]
        values |= measure_smallest(point, state)
        assert values["hessian_products"] == len(calls) > alone


def test_a_gradient_of_sharpness_that_is_infinite_is_said(tmp_path):
    """|x|^2.5 at 0: Hv is 0 there, D³L isn't finite. No drives, an event, and S all the same."""
    problem = Problem(
        torch.tensor([0.0, 1.0], dtype=torch.float64),
        lambda at: at[0].abs() ** 2.5 + at[0] ** 2 + 0.1 * at[1] ** 2,
        "c",
    )
    with train(tmp_path, problem, eta=0.01, steps=4, cadence=4) as run:
        (first, *_) = [event for event in run.events if event.kind == "unmeasured"]
        assert "∇S isn't finite" in remark(first)
        assert run.measured["sharpness"][0] == pytest.approx(2.0)
        assert np.isnan(run.measured["beta"][0])


def test_an_audit_that_finds_nothing_more_changes_nothing(small_case):
    """Every AUDIT_EVERY readings the products of both searches are counted; no event, same S."""
    case = small_case("mlp", activation="tanh", tolerance=1e-8)
    theta = moved(case)
    state = Probed(case.config, case.problem)
    point = Point(case.problem.loss, theta)
    products, top = [], spectrum(case, theta)[0][0]
    for _ in range(2 * AUDIT_EVERY + 1):
        values = measure_sharpness(point, state)
        assert values["sharpness"] == pytest.approx(top, rel=1e-6)
        products.append(values["hessian_products"])
    dear = [number for number, spent in enumerate(products) if spent > 2 * min(products)]
    assert dear == [0, AUDIT_EVERY, 2 * AUDIT_EVERY]
    assert state.events == []


# --- through the loop ------------------------------------------------------------------------------


def train(folder, problem, prepare=lambda _driver: None, **values):
    """Train a problem by the engine's own loop; return the finished run."""
    defaults = {"dtype": "float64", "device": "cpu", "threads": 1, "test_cadence": 10**6}
    config = RunConfig.build({**defaults, **values}, "test")
    machine = prepare_machine(config)
    writer = RunWriter(folder / "r", initial_facts(config, machine, problem, "r", ""))
    driver = Driver(config, problem)
    driver.begin(writer)
    prepare(driver)
    status, sentence = driver.run(writer)
    writer.close()
    assert status == "finished", sentence
    return Run(folder / "r")


def test_a_hessian_that_is_not_finite_is_said_and_training_goes_on(tmp_path):
    """|x|^1.5 at 0 has a slope and no curvature: the step is taken, its row has no S."""
    problem = Problem(
        torch.tensor([0.0, 1.0], dtype=torch.float64),
        lambda at: at[0].abs() ** 1.5 + 0.5 * at[1] ** 2,
        "c",
    )
    with train(tmp_path, problem, eta=0.1, steps=10, cadence=5) as run:
        unmeasured = [event for event in run.events if event.kind == "unmeasured"]
        assert [event.step for event in unmeasured] == [0, 5, 10]
        assert "isn't finite" in remark(unmeasured[0])
        assert np.isnan(run.measured["sharpness"]).all()
        np.testing.assert_allclose(run.steps["loss"], 0.5 * 0.9 ** (2 * np.arange(11)))


def test_an_audit_that_finds_more_is_an_event_of_the_run(tmp_path):
    """The run's record says at which step, and both numbers."""
    matrix = two_blocks()

    def prepare(driver):
        caught_in(slice(20, 50), driver.trajectory.probes.sharpness, matrix)
        driver.trajectory.probes.sharpness.readings = AUDIT_EVERY - 2

    with train(tmp_path, quadratic(matrix), prepare, eta=0.01, steps=20, cadence=5) as run:
        (event,) = [event for event in run.events if event.kind == "audit"]
        assert event.step == 10
        assert event.payload["sharpness"] == pytest.approx(LEADING, rel=1e-6)
        assert event.payload["warm_start"] == pytest.approx(HIDDEN_FROM, rel=1e-6)
        assert run.measured["step"].tolist() == [0, 5, 10, 15, 20]
        np.testing.assert_allclose(run.measured["sharpness"], [5, 5, 9, 9, 9], rtol=1e-6)


ETA = 0.1


def rising(start, rate):
    """S = start + rate·t at step t of descent with η: L = ½(start + w)x² − (rate/η)w at x = 0."""

    def loss(theta):
        x, w = theta
        return 0.5 * (start + w) * x * x - rate / ETA * w

    return Problem(torch.zeros(2).double(), loss, "rising")


def commanding(problem, folder, at, **controls):
    """The same problem; the evaluation at step `at` sends a command, as a viewer would then."""
    count = 0

    def loss(theta):
        nonlocal count
        if count == at:
            commands.send(folder / "r", "set", **controls)
            time.sleep(1.5 * POLL_EVERY)  # so that the next step looks for commands again
        count += 1
        return problem.loss(theta)

    return dataclasses.replace(problem, loss=loss)


FAR = {"eta": ETA, "cadence": 5, "far_cadence": 20, "eigenvalues": 1}


def measured_at(run):
    steps = run.measured["step"].tolist()
    assert len(set(steps)) == len(steps)
    return steps


def test_far_below_the_edge_is_measured_rarely_and_near_it_densely(tmp_path):
    """2/η = 20: dense for the first 20 steps, each 20th until S is seen above 15, then each 5th."""
    problem = rising(5.05, 0.1)  # S is 14.55 at step 95, and 15.05 at 100
    with train(tmp_path, problem, steps=140, **FAR) as run:
        steps = measured_at(run)
        wanted = [0, 5, 10, 15, 20, 40, 60, 80, *range(100, 141, 5)]
        assert steps == wanted
        np.testing.assert_allclose(
            run.measured["sharpness"], 5.05 + 0.1 * np.array(steps), rtol=1e-6
        )


def test_without_far_cadence_every_cadence_is_measured(tmp_path):
    """0, the default: the distance from the edge is no matter."""
    with train(tmp_path, rising(1.0, 0.0), steps=60, **{**FAR, "far_cadence": 0}) as run:
        assert measured_at(run) == list(range(0, 61, 5))


def test_decay_lowers_the_line_that_is_near(tmp_path):
    """Near is 0.75·(2/η − λ): at λ 8 the line is 12, and S = 10 is near from the start."""
    problem = quadratic(np.diag([10.0, 1.0]))
    with train(tmp_path / "near", problem, steps=60, weight_decay=8.0, **FAR) as run:
        assert measured_at(run) == list(range(0, 61, 5))
    with train(tmp_path / "far", problem, steps=60, **FAR) as run:
        assert measured_at(run) == [0, 5, 10, 15, 20, 40, 60]


@pytest.mark.parametrize(
    ("controls", "after"),
    [
        # far before and after: at once, densely for 20 steps, then rarely again
        ({"eta": 0.05}, [53, 55, 60, 65, 70, 80, 100, 120]),
        ({"weight_decay": 0.5}, [53, 55, 60, 65, 70, 80, 100, 120]),
        # near from there on: S = 5 above 0.75·2/η = 3.75
        ({"eta": 0.4}, [53, *range(55, 121, 5)]),
        # nothing new: no change
        ({"eta": ETA}, [60, 80, 100, 120]),
    ],
    ids=["eta", "decay", "near", "same"],
)
def test_a_change_in_mid_run_is_looked_at_at_once(tmp_path, controls, after):
    """A command taken at step 53, by a file, as from a viewer."""
    problem = commanding(rising(5.0, 0.0), tmp_path, 52, **controls)
    with train(tmp_path, problem, steps=120, **FAR) as run:
        changes = [event.step for event in run.events if event.kind == "control"]
        assert changes == ([] if controls == {"eta": ETA} else [53])
        assert measured_at(run) == [0, 5, 10, 15, 20, 40, *after]


def test_the_eigenvalues_after_s_have_a_cadence_of_their_own(small_case):
    """S is as good as ever between, and they where they are due: found again from where they were."""
    case = with_settings(small_case("mlp"), eigenvalues=4, spectrum_cadence=20, eta=0.2, cadence=5)
    probed, theta = Probed(case.config, case.problem), case.theta
    spent = {True: [], False: []}
    for step in range(0, 61, 5):
        probed.at(step, 0.2, 0.0)
        values, exact = (
            measure_sharpness(Point(case.problem.loss, theta), probed),
            spectrum(case, theta),
        )
        told = followed(values)
        assert len(told) == (4 if step % 20 == 0 else 1)
        np.testing.assert_allclose(told, exact[0][: len(told)], rtol=0, atol=2e-5 * exact[0][0])
        overlap = abs(float(probed.eigenvectors[0] @ exact[1][0]))
        assert overlap > 0.999
        spent[step % 20 == 0].append(probed.products)
        for _ in range(5):
            theta = theta - 0.2 * gradient(case.problem.loss, theta)
    assert np.mean(spent[False]) < 0.7 * np.mean(spent[True])


def test_a_cadence_of_the_spectrum_is_gone_on_with_to_the_bit(tmp_path):
    config = small(steps=60, eigenvalues=3, spectrum_cadence=20, far_cadence=0, checkpoint_every=0)
    whole = here(config, tmp_path / "whole")
    forked = here(Fork(entry(whole), 33, {}), tmp_path / "fork")
    assert_same_rows(whole, forked)
    with Run(forked) as run:
        full = run.measured["step"][np.isfinite(run.measured["eig_3"])]
        assert full.tolist() == [0, 20, 40, 60]
        counted = run.measured["step"][np.isfinite(run.measured["eigenvalues_at_edge"])]
        assert counted.tolist() == full.tolist()
