"""The probe of rotations: one that is known, dense eigenvectors, resumed and forked runs, odd input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import Engine, assert_same_rows, derived, entry, here, small
from oracles import dense_hessian, gradient
from toy_runs import EXACT, toy_config, train

from eostui.config import RunConfig
from eostui.curvature import rotations as numerics
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.probes import probes_of
from eostui.probes.own import try_probes
from eostui.probes.probe_set import ProbeSet
from eostui.probes.rotations import FOLLOWING, LAGS, VECTORS
from eostui.problems import Problem
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

#: Radians a step by which the quadratic below turns.
TURN = 0.02


def turning(plane):
    """L = ½xᵀR(s)DR(s)ᵀx − s, whose descent stays at x = 0, where its Hessian turns evenly with s.

    Args:
        plane: the two axes of x in whose plane R turns.
    """
    values = torch.tensor([5.0, 4.0, 3.0, 1.0, 0.5], dtype=torch.float64)
    size, (i, j) = len(values), plane

    def loss(theta):
        x, angle = theta[:size], TURN / 0.1 * theta[size]  # η 0.1, and ∂L/∂s = −1
        cosine, sine = torch.cos(angle), torch.sin(angle)
        turned = list(x.unbind())
        turned[i], turned[j] = cosine * x[i] + sine * x[j], cosine * x[j] - sine * x[i]
        return 0.5 * (values * torch.stack(turned) ** 2).sum() - theta[size]

    return Problem(initial=torch.zeros(size + 1).double(), loss=loss, convention="it turns")


@pytest.mark.parametrize("plane", [(0, 3), (0, 1), (2, 4)])
def test_a_known_rotation_is_recovered(tmp_path, plane):
    """Of the vectors and of their span, over every T, since the pinned step, and over the map."""
    config = toy_config(
        "diagonal-net", steps=90, eta=0.1, cadence=4, probes=["rotations"], pin_at=7, eigenvalues=1
    )
    run, status = train(tmp_path, config, turning(plane))
    assert status == "finished"
    m = run.measured
    at = m["step"]
    measured = ~np.isnan(m["u_theta_cosine"][:, 0]) | (at == 0)  # θ is zero there
    assert at[measured].tolist() == [t for t in range(91) if t % 4 <= FOLLOWING or t == 7]

    def check(apart, vectors, spans, vectors_of=range(VECTORS)):
        """What is `apart` steps has turned by TURN each: in the plane, and of the rest nothing."""
        for k, found in zip(vectors_of, np.atleast_2d(vectors.T), strict=True):
            wanted = np.abs(np.cos(TURN * apart)) if k in plane else np.ones(len(apart))
            np.testing.assert_allclose(found, wanted, atol=1e-9)
        out = np.arccos(np.abs(np.cos(TURN * apart))) if max(plane) >= VECTORS else 0 * apart
        np.testing.assert_allclose(spans, np.cos(out / np.sqrt(VECTORS)), atol=1e-9)

    for lag in LAGS:
        known = ~np.isnan(m[f"span_similarity_after_{lag}"])
        times = set(at[measured].tolist())
        assert at[known].tolist() == [t for t in sorted(times) if t - lag in times]
        apart = np.full(known.sum(), float(lag))
        check(apart, m[f"similarity_after_{lag}"][known], m[f"span_similarity_after_{lag}"][known])
    pinned = at > 7
    assert set(m["pinned_step"][pinned & measured]) == {7.0}
    assert np.isnan(m["pinned_step"][~pinned]).all()
    rows = pinned & measured
    check(at[rows] - 7, m["pinned_similarity"][rows], m["pinned_span_similarity"][rows])
    for row in np.flatnonzero(measured):
        known = ~np.isnan(m["map_step"][row])
        steps = m["map_step"][row][known]
        assert steps.tolist() == [t for t in range(0, 91, 4) if t < at[row]]
        firsts = m["map_similarity"][row][known]
        check(at[row] - steps, firsts, m["map_span_similarity"][row][known], [0])
    np.testing.assert_allclose(m["u_gradient_cosine"][measured], 0, atol=1e-6)


@pytest.fixture(scope="module")
def bouncing(small_case):
    """A small network past its edge: its steps θ₀, θ₁, …, and the dense eigenvectors at each."""
    case = small_case("mlp", activation="tanh", probes=("rotations",), cadence=5, eta=1.0, **{
        key: EXACT[key] for key in ("device", "threads", "tolerance")
    })  # fmt: skip
    theta, steps, spectra = case.theta, [], []
    for _ in range(41):
        steps.append(theta)
        spectra.append(torch.linalg.eigh(dense_hessian(case.problem.loss, theta)))
        theta = theta - case.config.eta * gradient(case.problem.loss, theta)
    return case, steps, [vectors.flip(1).T[:VECTORS] for _, vectors in spectra]


@pytest.mark.parametrize("eigenvalues", [1, 2, 4])
def test_against_dense_eigenvectors(bouncing, eigenvalues):
    case, steps, vectors = bouncing
    config = case.config.changed({"eigenvalues": eigenvalues})
    probes = ProbeSet(config, case.problem, probes_of(config))
    met, errors = set(), {}
    for step, theta in enumerate(steps):
        moment = probes.moment(step, {"eta": config.eta, "weight_decay": 0.0})
        due = probes.due(moment)
        probes.measure(due, Point(case.problem.loss, theta), moment)
        assert ("rotations" in {each.name for each in due}) == (step % 5 <= FOLLOWING)
        if (reading := moment.readings.get("rotations")) is None:
            continue
        assert step % 5 or (reading.products == 0) == (eigenvalues >= VECTORS)
        values = reading.values
        errors[step] = values["u_errors"]
        for lag in LAGS:
            if f"similarity_after_{lag}" in values:
                met.add(lag)
                found = numerics.overlaps(vectors[step], vectors[step - lag][None])
                wanted = numerics.vector_similarities(found)[0]
                allowed = 1e-9 + errors[step] + errors[step - lag]
                assert (abs(values[f"similarity_after_{lag}"] - wanted) <= allowed).all()
                span = numerics.subspace_similarities(found)[0]
                off = abs(values[f"span_similarity_after_{lag}"] - span)
                assert off <= 1e-9 + allowed.sum()
        slope = gradient(case.problem.loss, theta)
        for name, along in (("u_gradient_cosine", slope), ("u_theta_cosine", theta)):
            wanted = ((vectors[step] @ along).abs() / along.norm()).numpy()
            assert (abs(values[name] - wanted) <= 1e-9 + errors[step]).all()
    every = np.stack([*errors.values()])
    assert np.median(every[:, 0]) < 1e-4
    assert np.median(every) < 1e-3
    assert met == set(LAGS)


OWN = {"probes": ["rotations"], "steps": 300, "pin_at": 60, "eta": 0.5, "checkpoint_every": 0.3}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run with the probe, never interrupted."""
    return here(small(**OWN), tmp_path_factory.mktemp("plain"))


def test_a_run_that_was_killed_goes_on_with_the_same_past(plain, tmp_path):
    engine = Engine(small(**OWN), tmp_path)
    engine.reaches(120)
    engine.kill()
    resumed = Engine(Resume(entry(engine.path)), tmp_path)
    assert resumed.ended() == 0
    assert_same_rows(plain, resumed.path, whole=True)
    assert derived(resumed.path) == derived(plain)
    with Run(plain) as run:
        steps = run.measured["map_step"][-1]
        assert steps[0] == 0
        assert 200 < steps[~np.isnan(steps)][-1] < 300
        assert np.isfinite(run.measured["pinned_span_similarity"][-1])


def test_a_fork_goes_on_with_it_and_may_have_less_room(plain, tmp_path):
    same = here(Fork(entry(plain), 203), tmp_path / "same")
    assert_same_rows(plain, same, whole=True)
    with Run(plain) as run:
        size = run.facts["parameters"]
    less = {"eigenvectors_budget": 12 * VECTORS * 4 * int(size) / 1e6}
    narrow = here(Fork(entry(plain), 203, less), tmp_path / "narrow")
    with Run(plain) as one, Run(narrow) as other:
        after = other.measured["step"] > 203
        assert (~np.isnan(other.measured["map_step"][after])).sum(axis=1).max() == 3
        for name in ("pinned_similarity", "similarity_after_2", "span_similarity_after_8"):
            np.testing.assert_allclose(one.measured[name], other.measured[name], atol=1e-6)


def test_it_changes_nothing_of_a_run(plain, tmp_path):
    config = {**OWN, "probes": []}
    without = here(small(**config), tmp_path)
    with Run(plain) as one, Run(without) as other:
        mine, others = one.columns(), other.columns()
        for name in others.keys() - {"hessian_products"}:
            rows = ~np.isnan(others[name])
            np.testing.assert_array_equal(mine[name][rows], others[name][rows], name)
        assert (
            "eigenvectors_budget" not in other.facts["config"]
        )  # but pin_at, for a probe turned on later


def test_the_edge_is_pinned_where_S_first_meets_it(tmp_path):
    path = here(small(**{**OWN, "pin_at": "edge", "eta": 0.3, "steps": 300}), tmp_path)
    with Run(path) as run:
        m = run.measured
        known = ~np.isnan(m["sharpness"])
        above = m["step"][known][m["sharpness"][known] >= 2 / 0.3]
        pinned = m["pinned_step"][~np.isnan(m["pinned_step"])]
    if not len(above):
        pytest.fail("this run must reach its edge")
    assert set(pinned) == {above[0]}


@pytest.mark.parametrize("name", ["two-layer-scalar", "four-layer-scalar"])
def test_problems_of_fewer_parameters_than_eigenvectors(tmp_path, name):
    run, status = train(
        tmp_path, toy_config(name, steps=30, eta=0.01, cadence=5, probes=["rotations"])
    )
    size = min(int(run.facts["parameters"]), VECTORS)
    assert status == "finished"
    assert not [each for each in run.events if each.kind == "turned_off"]
    found = run.measured["similarity_after_2"]
    found = found[~np.isnan(found[:, 0])]
    assert len(found)
    assert np.isfinite(found[:, :size]).all()
    assert np.isnan(found[:, size:]).all()


@pytest.mark.parametrize(
    "values", [{"loss": "cross-entropy"}, {"network": "cnn"}, {"reading": "midpoint"}]
)
def test_other_problems_and_readings(small_case, values, tmp_path):
    network = values.get("network", "mlp")
    settings = {k: v for k, v in values.items() if k != "network"}
    case = small_case(network, probes=("rotations",), cadence=5, steps=20, device="cpu", **settings)
    run, status = train(tmp_path, case.config, case.problem)
    assert status == "finished"
    assert np.isfinite(run.measured["similarity_after_2"]).any()
    assert not [each for each in run.events if each.kind == "turned_off"]


def test_a_loss_without_curvature(tmp_path):
    flat = Problem(initial=torch.ones(5).double(), loss=lambda at: at.sum(), convention="flat")
    config = toy_config("diagonal-net", steps=10, cadence=5, probes=["rotations"])
    run, status = train(tmp_path, config, flat)
    assert status == "finished"
    assert not [each for each in run.events if each.kind == "turned_off"]
    assert np.isfinite(run.measured["span_similarity_after_1"]).any()


def test_too_little_room_is_refused_and_little_is_told(small_case):
    case = small_case("mlp", probes=("rotations",), cadence=1, eigenvectors_budget=1e-6)
    with pytest.raises(
        InputError, match=r"^`probes`: rotations: `eigenvectors_budget` is 1e-06 me"
    ):
        try_probes(probes_of(case.config), case.config, case.problem)
    steps = 6 * VECTORS * 8 * len(case.theta) / 1e6
    case = small_case("mlp", probes=("rotations",), cadence=1, eigenvectors_budget=steps)
    probes = ProbeSet(case.config, case.problem, probes_of(case.config))
    told = []
    for step in range(12):
        moment = probes.moment(step, {"eta": 0.1, "weight_decay": 0.0})
        probes.measure(probes.due(moment), Point(case.problem.loss, case.theta), moment)
        reading = moment.readings["rotations"]
        told += reading.remarks
        assert len(probes.probes["rotations"].history.steps) <= 6
    (only,) = told
    assert only[1]["kind"].endswith(
        "the map compares with 0 at once, not 32; nothing is compared over 6, 8 steps"
    )
    assert {"similarity_after_4", "similarity_after_1"} <= reading.values.keys()
    assert "similarity_after_6" not in reading.values


def test_out_of_memory_turns_it_off_and_gives_back_its_room(small_case, monkeypatch):
    case = small_case("mlp", probes=("rotations",), cadence=1)
    probes = ProbeSet(case.config, case.problem, probes_of(case.config))

    def measured(step):
        moment = probes.moment(step, {"eta": 0.1, "weight_decay": 0.0})
        readings = probes.measure(probes.due(moment), Point(case.problem.loss, case.theta), moment)
        return moment, [each for reading in readings for each in reading.remarks]

    measured(0)

    def fails(*_args, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(numerics.EigenvectorHistory, "add", fails)
    moment, remarks = measured(1)
    assert "sharpness" in moment.readings
    assert remarks == [
        ("turned_off", {"probe": "rotations", "reason": "OutOfMemoryError: CUDA out of memory"})
    ]
    assert probes.probes["rotations"].history.vectors is None
    assert "rotations" not in [each.probe for each in measured(2)[0].readings.values()]


def test_settings_of_it_are_checked():
    with pytest.raises(InputError, match="`pin_at` is 50, but must be below `steps`, 50"):
        RunConfig.build({"steps": 50, "pin_at": 50}, "test")
    with pytest.raises(InputError, match="`eigenvectors_budget`"):
        RunConfig.build({"eigenvectors_budget": 0}, "test")
