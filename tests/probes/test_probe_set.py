"""The probes of a run together: what a checkpoint keeps of them, of this version or an older one."""

from __future__ import annotations

import json

import pytest
import torch

from eostui.curvature.eigenpairs import NotFiniteError
from eostui.curvature.point import Point
from eostui.probes import Sharpness
from eostui.probes.probe_set import ProbeSet
from eostui.stability import HEAVY_BALL

pytestmark = pytest.mark.usefixtures("one_thread")

CONTROLS = {
    "eta": 0.3,
    "weight_decay": 0.0,
    "sharp_step": 1.0,
    "other_step": 1.0,
    "sharp_above": 1.0,
}


@pytest.fixture
def case(small_case):
    return small_case("mlp", activation="tanh", cadence=1, smallest_eigenvalue=True, eta=0.3)


def measured(probes, case, step, controls=CONTROLS):
    """What a set of probes measures at a point that moves with the step, by column."""
    moment = probes.moment(step, controls)
    point = Point(case.problem.loss, case.theta * (1 + 0.01 * step))
    values = {}
    for reading in probes.measure(probes.due(moment), point, moment):
        values |= reading.values
    return values


def saved(state):
    """The same through what a checkpoint can hold."""
    return {
        name: value.clone() if isinstance(value, torch.Tensor) else json.loads(json.dumps(value))
        for name, value in state.items()
    }


#: What version 0.2.0 called what each probe keeps, all of them in one state.
FORMERLY = {
    "sharpness.readings": "readings", "sharpness.unconverged": "unconverged",
    "sharpness.degenerate": "degenerate", "sharpness.sharpness": "sharpness",
    "sharpness.eigenvectors": "eigenvectors", "sharpness.guards": "guards",
    "sharpness.earlier": "earlier", "sharpness.others": "others",
    "sharpness.memory_values": "memory_values", "sharpness.memory_vectors": "memory_vectors",
    "smallest_eigenvalue.eigenvectors": "smallest",
    "drives.sharpness_gradient": "sharpness_gradient", "changed_at": "changed_at",
}  # fmt: skip


@pytest.mark.parametrize("older", [False, True])
def test_a_state_that_is_taken_up_goes_on_to_the_bit(case, older):
    """After three readings and a change of η, the fourth is the same, by either form of the state."""
    first = ProbeSet(case.config, case.problem)
    for step in range(3):
        measured(first, case, step, {**CONTROLS, "eta": 0.3 if step < 2 else 0.25})
    state = saved(first.state())
    if older:
        kept = {old: state[new] for new, old in FORMERLY.items()}
        state = {**kept, "step": 2, "eta": 0.25, "weight_decay": 0.0, "products": 7}
    second = ProbeSet(case.config, case.problem)
    second.restore(state)
    assert second.changed_at == 2
    wanted = measured(first, case, 3, {**CONTROLS, "eta": 0.25})
    assert measured(second, case, 3, {**CONTROLS, "eta": 0.25}) == wanted
    assert second.changed_at == 2
    assert {"sharpness", "eig_min", "beta", "overlap"} <= wanted.keys()


def test_a_state_that_lacks_what_every_version_had_is_named(case):
    """The engine makes a sentence of it."""
    with pytest.raises(KeyError, match="memory_values"):
        ProbeSet(case.config, case.problem).restore({"eta": 0.3, "weight_decay": 0.0})


def test_the_edge_is_that_of_the_dynamics(case):
    """Of the heavy ball (2 + 2μ)/η − λ, where S is near; eigenvalues from 0.75·(2 + 2μ)/η on."""
    config = case.config.changed(
        {"eigenvalues": "edge", "far_cadence": 10, "dynamics": "heavy-ball"}
    )
    probes = ProbeSet(config, case.problem, stability=HEAVY_BALL)
    controls = {"eta": 0.2, "weight_decay": 0.5, "momentum": 0.9}
    moment = probes.moment(0, controls)
    assert moment.threshold == pytest.approx(3.8 / 0.2 - 0.5)
    assert moment.undecayed == pytest.approx(3.8 / 0.2)
    moment = probes.moment(13, controls)
    for share, near in ((0.74, False), (0.76, True)):
        probes.sharpness.sharpness = share * moment.threshold
        probes.changed_at = moment.changed_at = 0
        assert probes.sharpness.due(moment) is near


def test_the_operator_of_the_dynamics_is_the_one_whose_spectrum_is_found(case):
    """Twice the Hessian has twice the sharpness."""
    twice = ProbeSet(
        case.config, case.problem, operator=lambda point: lambda v: 2 * point.hessian_product(v)
    )
    once = ProbeSet(case.config, case.problem)
    for name in ("sharpness", "eig_min"):
        one, two = (measured(probes, case, 0)[name] for probes in (once, twice))
        assert two == pytest.approx(2 * one, rel=1e-4)


def test_a_product_that_is_not_finite_ends_the_readings_of_a_step(case, monkeypatch):
    """It is told, what was found is forgotten, and the next step is measured as from the start."""
    probes = ProbeSet(case.config, case.problem)
    measured(probes, case, 0)

    def fails(*_):
        raise NotFiniteError("a Hessian product isn't finite")

    with monkeypatch.context() as patch:
        patch.setattr(Sharpness, "measure", fails)
        moment = probes.moment(1, CONTROLS)
        point = Point(case.problem.loss, case.theta)
        (reading,) = probes.measure(probes.due(moment), point, moment)
    assert reading.values == {}
    assert reading.remarks == [("unmeasured", {"reason": "a Hessian product isn't finite"})]
    assert probes.sharpness.eigenvectors is None
    fresh = ProbeSet(case.config, case.problem)
    assert measured(probes, case, 2)["sharpness"] == pytest.approx(
        measured(fresh, case, 2)["sharpness"], rel=1e-5
    )
