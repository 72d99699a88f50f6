"""The optional probes of the spectrum against dense Hessians, and in runs, killed, resumed and forked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from engines import Engine, assert_same_rows, derived, entry, here, small
from oracles import dense_hessian, gradient

from eostui.config import MOST_EIGENVALUES, RunConfig
from eostui.curvature import density
from eostui.curvature.directions import random_signs
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.probes import probes_of
from eostui.probes.own import try_probes
from eostui.probes.probe_set import ProbeSet
from eostui.probes.spectral_density import DRAWS, FIRST_DRAW, STEPS
from eostui.problems import Problem
from eostui.problems.batch import loss_of_rows
from eostui.quadrature import Quadrature
from eostui.runs.analysis.remarks import TURNED_OFF
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.store.columns import AT_EDGE

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("tracked_eigenvalues", "spectral_density", "hessian_trace")
ALL = {
    "probes": NAMES, "eigenvalues": 3, "density_cadence": 100, "density_at": [7, 15],
    "trace_cadence": 50, "trace_draws": 8, "trace_samples": 40, "steps": 300,
}  # fmt: skip


def measured_at(probes, case, theta, step):
    """Readings by probe, and remarks, of all that are due at a step."""
    moment = probes.moment(step, {"eta": case.config.eta, "weight_decay": 0.0})
    readings = probes.measure(probes.due(moment), Point(case.problem.loss, theta), moment)
    return {each.probe: each for each in readings if each.values}, [
        remark for each in readings for remark in each.remarks
    ]


def probes_for(case, **values):
    config = case.config.changed({"probes": NAMES, **values})
    return ProbeSet(config, case.problem, probes_of(config))


# --- against dense oracles -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_trace_and_density_are_those_of_the_dense_hessian(small_case, network, loss):
    case = small_case(network, activation="tanh", loss=loss)
    theta = case.theta
    for _ in range(30):
        theta = theta - 0.1 * gradient(case.problem.loss, theta)
    exact = dense_hessian(case.problem.loss, theta)
    spectrum = torch.linalg.eigvalsh(exact).flip(0).numpy()
    probes = probes_for(case, trace_draws=40, eigenvalues=3)
    found, remarks = measured_at(probes, case, theta, 0)
    assert not remarks
    trace = found["hessian_trace"].values
    assert abs(trace["hessian_trace"] - float(exact.trace())) <= 3 * trace["hessian_trace_error"]
    assert trace["hessian_trace_samples"] == len(case.inputs)
    assert found["hessian_trace"].products == 43
    values = found["spectral_density"].values
    nodes, weights = values["density_nodes"], values["density_weights"]
    assert nodes.shape == weights.shape == (DRAWS, STEPS)
    np.testing.assert_allclose(np.nanmax(nodes, axis=1), spectrum[0], rtol=1e-8)
    np.testing.assert_allclose(np.nanmin(nodes, axis=1), spectrum[-1], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    rule = Quadrature(nodes, weights, len(theta))
    for order in (1, 2, 3):
        powered = torch.linalg.matrix_power(exact, order)
        draws = [random_signs(theta, case.config.seed, 0, FIRST_DRAW + n) for n in range(DRAWS)]
        each = np.array([float(z @ powered @ z) for z in draws])
        assert rule.moment(order)[0] == pytest.approx(each.mean(), rel=1e-9)
        assert rule.moment(order)[1] == pytest.approx(each.std(ddof=1) / 2, rel=1e-6)
    tracked = found["tracked_eigenvalues"].values["tracked"]
    np.testing.assert_allclose(tracked[:3], spectrum[:3], rtol=1e-3)
    assert np.isnan(tracked[3:]).all()


def test_the_trace_of_some_samples_is_that_of_their_own_loss(small_case):
    """Those numbered ⌊iN/n⌋ of N: of 7 samples, for 3, those numbered 0, 2 and 4."""
    case = small_case("mlp", activation="tanh")
    rows = torch.tensor([0, 2, 4])
    exact = dense_hessian(loss_of_rows(case.problem.loss, rows), case.theta)
    probes = probes_for(case, trace_samples=3, trace_draws=60)
    values = measured_at(probes, case, case.theta, 0)[0]["hessian_trace"].values
    assert values["hessian_trace_samples"] == 3
    assert abs(values["hessian_trace"] - float(exact.trace())) <= (
        3 * values["hessian_trace_error"]
    )
    for wanted in (7, 8, 1000):  # more than there are are all there are
        probes = probes_for(case, trace_samples=wanted)
        values = measured_at(probes, case, case.theta, 0)[0]["hessian_trace"].values
        assert values["hessian_trace_samples"] == 7
    chunks = small_case("mlp", activation="tanh", chunk_size=2)
    probes = probes_for(chunks, trace_samples=3, trace_draws=60)
    again = measured_at(probes, chunks, case.theta, 0)[0]["hessian_trace"].values
    assert again["hessian_trace"] == pytest.approx(float(exact.trace()), rel=0.5)
    assert again["hessian_trace_samples"] == 3


def test_curves_follow_directions_of_a_network_as_dense_eigenvectors_at_every_step_do(small_case):
    """The oracle follows all eigenvectors step by step; the probe sees three of them every fifth."""
    case = small_case("mlp", activation="tanh", eta=0.4)
    probes = probes_for(case, cadence=5, eigenvalues=3, density_cadence=0, tolerance=1e-10)
    theta, before, branch, seen, pairs = case.theta, None, None, {}, 0
    for step in range(251):
        values, vectors = torch.linalg.eigh(dense_hessian(case.problem.loss, theta))
        values, vectors = values.flip(0).numpy(), vectors.flip(1)
        if before is None:
            branch = np.arange(len(theta))
        else:
            branch = branch[(before.T @ vectors).abs().argmax(dim=0).numpy()]
        before = vectors
        if step % 5 == 0:
            found = measured_at(probes, case, theta, step)[0]["tracked_eigenvalues"].values
            tracked, overlaps = found["tracked"], found["tracked_overlap"]
            for number in np.flatnonzero(np.isfinite(tracked)):
                place = int(np.abs(values - tracked[number]).argmin())
                assert abs(values[place] - tracked[number]) < 1e-6 * values[0]
                if overlaps[number] > 0.75 and seen.get(number) is not None:
                    pairs += 1
                    assert seen[number] == branch[place]
                seen[number] = branch[place]
        theta = theta - 0.4 * gradient(case.problem.loss, theta)
    assert pairs > 100


def test_how_many_are_at_the_edge(tmp_path):
    """Of the eigenvalues that a reading tells, as many as are from 0.92 of the threshold on."""
    with Run(here(small(steps=200, eigenvalues=5, weight_decay=0.01), tmp_path)) as run:
        told = np.stack(
            [run.measured[n] for n in ("sharpness", *(f"eig_{k}" for k in range(2, 6)))]
        )
        at = run.measured["step"].astype(int)
        expected = (told >= AT_EDGE * run.steps["stability_threshold"][at]).sum(axis=0)
        known = np.isfinite(told[0])
        counts = run.measured["eigenvalues_at_edge"]
        np.testing.assert_array_equal(counts[known], expected[known])
        assert np.isnan(counts[~known]).all()
        assert counts[known].max() >= 1
        assert "eigenvalues_at_edge" in [column.name for column in run.exported()]


# --- in runs ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A run with all three, never interrupted."""
    return here(small(**ALL), tmp_path_factory.mktemp("plain"))


def test_they_measure_at_their_steps_and_change_nothing_of_the_run(plain, tmp_path):
    without = here(small(steps=300, eigenvalues=3), tmp_path)
    with Run(plain) as one, Run(without) as other:
        mine, others = one.columns(), other.columns()
        for name in others.keys() - {"hessian_products"}:
            rows = ~np.isnan(others[name])
            np.testing.assert_array_equal(mine[name][rows], others[name][rows], name)
        step = one.measured["step"]
        nodes = one.measured["density_nodes"]
        assert nodes.shape[1:] == (DRAWS, STEPS)
        assert step[np.isfinite(nodes[:, 0, 0])].tolist() == [0, 7, 15, 100, 200, 300]
        trace = one.measured["hessian_trace"]
        assert step[np.isfinite(trace)].tolist() == list(range(0, 301, 50))
        assert set(one.measured["hessian_trace_samples"][np.isfinite(trace)]) == {40}
        tracked = one.measured["tracked"]
        known = np.isfinite(one.measured["sharpness"])
        assert (np.isfinite(tracked).sum(axis=1) == 3 * known).all()
        found = np.sort(np.where(np.isnan(tracked), -np.inf, tracked)[known], axis=1)[:, ::-1]
        for place, name in enumerate(("sharpness", "eig_2", "eig_3")):
            np.testing.assert_array_equal(found[:, place], one.measured[name][known])
        assert "tracked" not in other.measured


def test_killed_and_resumed_they_go_on_to_the_bit(plain, tmp_path):
    engine = Engine(small(**ALL), tmp_path)
    engine.reaches(120)
    engine.kill()
    resumed = Engine(Resume(entry(engine.path)), tmp_path)
    assert resumed.ended() == 0
    assert_same_rows(plain, resumed.path, whole=True)
    assert derived(resumed.path) == derived(plain)


def test_a_fork_goes_on_with_them_and_may_choose_other_steps(plain, tmp_path):
    start = Fork(entry(plain), 120, {"density_at": [130], "steps": 200})
    with Run(here(start, tmp_path)) as fork, Run(plain) as run:
        last = int(np.searchsorted(run.measured["step"], 200, side="right"))
        for name in ("tracked", "tracked_overlap", "hessian_trace"):
            rows = np.isfinite(run.measured["sharpness"][:last])
            own = fork.measured[name][np.isfinite(fork.measured["sharpness"])]
            np.testing.assert_array_equal(own, run.measured[name][:last][rows], name)
        taken = np.isfinite(fork.measured["density_nodes"][:, 0, 0])
        assert fork.measured["step"][taken].tolist() == [0, 7, 15, 100, 130, 200]


# --- odd input -------------------------------------------------------------------------------------


def toy(matrix):
    matrix = torch.as_tensor(matrix, dtype=torch.float64)
    initial = torch.linspace(1, 2, len(matrix), dtype=torch.float64)
    return Problem(
        initial=initial, loss=lambda at: 0.5 * at @ (matrix @ at), convention="quadratic"
    )


class Case:
    """A quadratic as `small_case` makes networks."""

    def __init__(self, matrix, **values):
        self.problem = toy(matrix)
        self.config = RunConfig.build({"dtype": "float64", **values}, "test")
        self.theta = self.problem.initial


@pytest.mark.parametrize("eigenvalues", [1, 2, MOST_EIGENVALUES, "edge"])
def test_two_parameters_without_outputs(eigenvalues):
    """More eigenvalues asked for than there are, on a loss of θ alone."""
    case = Case([[3.0, 1.0], [1.0, 2.0]], eigenvalues=eigenvalues)
    found, remarks = measured_at(probes_for(case), case, case.theta, 0)
    assert not remarks
    trace = found["hessian_trace"].values
    assert trace["hessian_trace"] == pytest.approx(5, abs=3 * trace["hessian_trace_error"] + 1e-9)
    assert math.isnan(trace["hessian_trace_samples"])
    nodes = found["spectral_density"].values["density_nodes"]
    exact = np.linalg.eigvalsh([[3.0, 1.0], [1.0, 2.0]])
    np.testing.assert_allclose(nodes[:, :2], np.tile(exact, (DRAWS, 1)))
    assert np.isnan(nodes[:, 2:]).all()
    told = 2 if eigenvalues in (2, MOST_EIGENVALUES) else 1
    assert np.isfinite(found["tracked_eigenvalues"].values["tracked"]).sum() == told


def test_a_hessian_of_zeros():
    case = Case(np.zeros((5, 5)))
    found, remarks = measured_at(probes_for(case), case, case.theta, 0)
    assert not [kind for kind, _ in remarks if kind == TURNED_OFF]
    trace = found["hessian_trace"].values
    assert trace["hessian_trace"] == trace["hessian_trace_error"] == 0
    assert (found["spectral_density"].values["density_nodes"][:, 0] == 0).all()


def test_samples_are_refused_where_there_are_none():
    case = Case(np.eye(2), probes=("hessian_trace",), trace_samples=5)
    with pytest.raises(InputError, match="hessian_trace: `trace_samples` is of training samples"):
        try_probes(probes_of(case.config), case.config, case.problem)


def test_out_of_memory_turns_the_probe_off_and_not_the_run(tmp_path, monkeypatch):
    def no_room(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(density, "_tridiagonal", no_room)
    with Run(here(small(**ALL | {"steps": 60}), tmp_path)) as run:
        assert run.last_step == 60
        off = [event.payload for event in run.events if event.kind == TURNED_OFF]
        assert [each["probe"] for each in off] == ["spectral_density"]
        assert "out of memory" in off[0]["reason"]
        assert np.isfinite(run.measured["hessian_trace"]).sum() == 2
        assert np.isnan(run.measured["density_nodes"]).all()


@pytest.mark.parametrize(
    ("values", "said"),
    [({"trace_draws": 1}, "trace_draws"), ({"density_at": [-1]}, "density_at"),
     ({"trace_cadence": 0}, "trace_cadence"), ({"density_cadence": -1}, "density_cadence")],
)  # fmt: skip
def test_settings_that_make_no_sense(values, said):
    with pytest.raises(InputError, match=said):
        RunConfig.build(values, "test")
