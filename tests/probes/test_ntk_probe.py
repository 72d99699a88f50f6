"""The probes `ntk` and `weyl`: what they measure, keep, and refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from oracles import dense_hessian, mlp
from torch import nn
from toy_runs import build, toy_config

from eostui.curvature import ntk as kernels_of
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.probes import Column, probes_of
from eostui.probes import ntk as ntk_probe
from eostui.probes.ntk import Ntk
from eostui.probes.own import try_probes
from eostui.probes.probe_set import ProbeSet
from eostui.probes.weyl import Weyl
from eostui.problems import Problem
from eostui.problems.losses import half_squared_error

pytestmark = pytest.mark.usefixtures("one_thread")

CONTROLS = {"eta": 0.3, "weight_decay": 0.0}


@pytest.fixture
def case(small_case):
    return small_case(
        "mlp", activation="tanh", cadence=1, ntk_cadence=2, ntk_samples=5, probes=("weyl", "ntk")
    )


def measured(probes, case, step):
    """What is measured at a point that moves with the step, by column, and the remarks."""
    moment = probes.moment(step, CONTROLS)
    point = Point(case.problem.loss, case.theta * (1 + 0.01 * step))
    values, remarks = {}, []
    for reading in probes.measure(probes.due(moment), point, moment):
        values |= reading.values
        remarks += reading.remarks
    return values, remarks


def probes_in(case):
    return ProbeSet(case.config, case.problem, probes_of(case.config))


def jacobian(case, theta):
    """∂f/∂θ of the network written by hand, all samples in their order, shape (n, C, P)."""
    widths = [case.config.width] * case.config.depth
    return torch.func.jacrev(lambda at: mlp(at, case.inputs, widths, 3, case.config.activation)[0])(
        theta
    )


def test_they_measure_by_their_cadence_what_dense_matrices_have(case):
    probes = probes_in(case)
    assert "ntk_full" not in measured(probes, case, 1)[0]
    values, _ = measured(probes, case, 2)
    theta, rows = case.theta * 1.02, torch.randperm(7, generator=torch.Generator().manual_seed(0))
    whole = jacobian(case, theta)
    few, targets = whole[rows[:5]], case.targets[rows[:5]]

    flat = few.reshape(15, -1)
    full = (flat @ flat.T / 5).numpy()
    spectrum = np.linalg.eigvalsh(full)[::-1]
    assert values["ntk_full"] == pytest.approx(spectrum[0], rel=1e-12)
    assert np.allclose(values["ntk_full_eigenvalues"][:15], spectrum, atol=1e-12)
    assert np.isnan(values["ntk_full_eigenvalues"][15:]).all()
    y = targets.reshape(-1).numpy()
    assert values["ntk_full_alignment"] == pytest.approx(
        y @ full @ y / (np.linalg.norm(full) * (y @ y)), rel=1e-12
    )
    of_sum = few.sum(1)
    assert values["ntk_summed"] == pytest.approx(
        float(torch.linalg.eigvalsh(of_sum @ of_sum.T / 5)[-1]), rel=1e-12
    )
    traced = torch.einsum("icp,jcp->ij", few, few) / 5
    assert values["ntk_traced_norm"] == pytest.approx(float(traced.norm()), rel=1e-12)

    hessian = dense_hessian(case.problem.loss, theta)
    everything = whole.reshape(21, -1)
    gauss_newton = everything.T @ everything / 7
    of_kernel = float(torch.linalg.eigvalsh(gauss_newton)[-1])
    assert values["ntk_batch"] == pytest.approx(of_kernel, rel=1e-5)
    norm = float(torch.linalg.matrix_norm(hessian - gauss_newton, 2))
    assert values["residual_norm"] == pytest.approx(norm, rel=1e-3)
    gap = abs(float(torch.linalg.eigvalsh(hessian)[-1]) - of_kernel)
    assert values["weyl_gap"] == pytest.approx(gap, abs=3e-5 * of_kernel)
    assert values["weyl_gap"] <= values["residual_norm"]


def test_every_column_is_described_and_filled_in_its_shape(case):
    values, _ = measured(probes_in(case), case, 0)
    for kind in (Ntk, Weyl):
        for column in kind.columns:
            assert isinstance(column, Column)
            assert column.description
            assert np.shape(values[column.name]) == column.shape


def test_on_test_samples(tmp_path, small_case):
    rng = np.random.default_rng(2)
    file = tmp_path / "tested.npz"
    x, xt = rng.normal(size=(6, 5)), rng.normal(size=(8, 5))
    np.savez(file, x=x, y=np.arange(6) % 3, xt=xt, yt=np.arange(8) % 3)
    case = small_case("mlp", data_file=str(file), ntk_split="test", ntk_samples=8, probes=("ntk",))
    probe = Ntk(case.config, case.problem)
    held = case.problem.arrays["test_inputs"]
    rows = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(probe._samples.inputs, held[rows])
    values = probe.measure(Point(case.problem.loss, case.theta), None).values
    widths = [case.config.width] * case.config.depth
    flat = torch.func.jacrev(lambda at: mlp(at, held, widths, 3, "relu")[0])(case.theta).reshape(
        24, -1
    )
    assert values["ntk_full"] == pytest.approx(
        float(torch.linalg.eigvalsh(flat @ flat.T / 8)[-1]), rel=1e-12
    )


def test_a_state_that_is_taken_up_goes_on_to_the_bit(case):
    first = probes_in(case)
    for step in range(4):
        measured(first, case, step)
    state = {
        name: value.clone() if isinstance(value, torch.Tensor) else json.loads(json.dumps(value))
        for name, value in first.state().items()
    }
    assert "weyl.kernel" in state
    second = probes_in(case)
    second.restore(state)
    one, other = measured(first, case, 4)[0], measured(second, case, 4)[0]
    assert set(one) == set(other)
    for name, value in one.items():
        assert np.array_equal(value, other[name], equal_nan=True), name
    cold = probes_in(case)
    measured(cold, case, 4)
    assert not torch.equal(cold.state()["weyl.highest"], first.state()["weyl.highest"])


def test_a_linear_network_has_no_residual():
    """H = G for a model linear in θ: the bound and the gap are rounding."""
    torch.manual_seed(1)
    module = nn.Linear(4, 2).double()
    problem = Problem.from_module(
        module, half_squared_error, torch.randn(9, 4).double(), torch.randn(9, 2).double(),
        convention="½",
    )  # fmt: skip
    config = toy_config("deep-linear", cadence=1, probes=("weyl",))
    probes = ProbeSet(config, problem, probes_of(config))
    moment = probes.moment(0, CONTROLS)
    point = Point(problem.loss, problem.initial)
    (reading,) = [r for r in probes.measure(probes.due(moment), point, moment) if r.probe == "weyl"]
    assert reading.values["residual_norm"] < 1e-12
    assert reading.values["weyl_gap"] < 1e-10


@pytest.mark.parametrize("probe", ["ntk", "weyl"])
def test_a_function_of_theta_alone_is_refused_before_a_run(probe):
    config = toy_config("two-layer-scalar", probes=(probe,))
    with pytest.raises(
        InputError, match=rf"^`probes`: {probe}: the problem is a function of θ alone"
    ):
        try_probes(probes_of(config), config, build(config))


def test_cross_entropy_has_a_kernel_and_no_inequality(small_case):
    case = small_case("mlp", loss="cross-entropy", probes=("ntk",), ntk_samples=4)
    assert (
        Ntk(case.config, case.problem)
        .measure(Point(case.problem.loss, case.theta), None)
        .values["ntk_full"]
        > 0
    )
    case = small_case("mlp", loss="cross-entropy", probes=("weyl",))
    with pytest.raises(InputError, match="the loss isn't half the squared error"):
        try_probes(probes_of(case.config), case.config, case.problem)


def test_more_samples_than_there_are_or_than_a_kernel_can_have(small_case, monkeypatch):
    case = small_case("mlp", probes=("ntk",), ntk_samples=8)
    with pytest.raises(InputError, match=r"training samples, and 8 were asked for \(`ntk_samples`"):
        try_probes(probes_of(case.config), case.config, case.problem)
    monkeypatch.setattr(kernels_of, "MOST_ROWS", 12)
    case = small_case("mlp", probes=("ntk",), ntk_samples=5)
    with pytest.raises(InputError, match="has 15 rows, more than 12: 4 samples"):
        try_probes(probes_of(case.config), case.config, case.problem)


def test_where_memory_ends_it_turns_itself_off_and_the_run_goes_on(case, monkeypatch):
    def full(*_):
        raise MemoryError("no room for K")

    probes = probes_in(case)
    monkeypatch.setattr(ntk_probe, "kernels", full)
    values, remarks = measured(probes, case, 0)
    assert "sharpness" in values
    assert "weyl_gap" in values
    assert "ntk_full" not in values
    assert remarks == [("turned_off", {"probe": "ntk", "reason": "MemoryError: no room for K"})]


def test_an_operator_of_a_dynamics_own_is_not_compared_with_the_kernel(case):
    def half(point):
        return lambda vector: point.hessian_product(vector) / 2

    probes = ProbeSet(case.config, case.problem, probes_of(case.config), operator=half)
    values, remarks = measured(probes, case, 0)
    assert "weyl_gap" not in values
    assert "ntk_full" in values
    ((_, told),) = [remark for remark in remarks if remark[0] == "turned_off"]
    assert told["probe"] == "weyl"
    assert "the dynamics' own operator here, not the Hessian's" in told["reason"]
