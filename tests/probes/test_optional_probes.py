"""Probes of the program that a run has where it names them: found by name, turned off alone."""

from __future__ import annotations

import pytest
import torch

from eostui import optional_probes
from eostui.config import RunConfig
from eostui.curvature.eigenpairs import NotFiniteError
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.probes import OPTIONAL, PROBES, Column, Probe, Reading, probes_of
from eostui.probes.own import try_probes
from eostui.probes.probe_set import ProbeSet

pytestmark = pytest.mark.usefixtures("one_thread")


class Length(Probe):
    """Measures |θ|, until it is told to fail."""

    name = "length"
    columns = (Column("length_of_theta", "θ", "how long θ is"),)
    cost = "pass"
    failure: Exception | None = None

    def due(self, _moment):
        return True

    def measure(self, point, _moment):
        if self.failure is not None:
            raise self.failure
        return Reading({"length_of_theta": float(point.theta.norm())})


class Later(Length):
    """Another, after it."""

    name = "later"
    columns = (Column("length_later", "θ", "how long θ is"),)

    def __init__(self, _config, _problem):
        raise InputError("this problem has no outputs")


@pytest.fixture(autouse=True)
def two_more(monkeypatch):
    for kind in (Length, Later):
        monkeypatch.setitem(optional_probes.OPTIONAL_PROBES, kind.name, str(kind.__doc__))
        monkeypatch.setitem(OPTIONAL, kind.name, kind)
    monkeypatch.setattr(Length, "failure", None)


def measured(probes, case, step):
    moment = probes.moment(step, {"eta": 0.3, "weight_decay": 0.0})
    readings = probes.measure(probes.due(moment), Point(case.problem.loss, case.theta), moment)
    return {reading.probe: reading for reading in readings if reading.values}, [
        remark for reading in readings for remark in reading.remarks
    ]


def test_each_name_has_a_class_and_none_measures_unasked():
    assert [*OPTIONAL] == [*optional_probes.OPTIONAL_PROBES]
    assert all(kind.name == name for name, kind in OPTIONAL.items())
    assert probes_of(RunConfig.build({}, "test")) == PROBES


def test_they_are_named_once_and_come_in_their_order_before_a_users_own(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "from eostui.probes import Column, Probe, Reading\n"
        "class Mine(Probe):\n"
        "    name, columns = 'mine', (Column('m', '', ''),)\n"
        "    def due(self, moment): return True\n"
        "    def measure(self, point, moment): return Reading()\n"
    )
    given = [f"{own}:Mine", "later", "length", "later"]
    config = RunConfig.build({"probes": given}, "test")
    assert config.probes == ("length", "later", f"{own}:Mine")
    assert [kind.name for kind in probes_of(config)[len(PROBES) :]] == ["length", "later", "mine"]
    assert config.own_code() == (f"{own}:Mine",)
    assert RunConfig.from_toml(config.to_toml(), "test") == config


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r'has "lenght", but .*did you mean `length`\?'):
        RunConfig.build({"probes": ["lenght"]}, "test")


def test_a_users_own_cannot_have_its_name(tmp_path):
    own = tmp_path / "mine.py"
    own.write_text(
        "from eostui.probes import Column, Probe, Reading\n"
        "class Mine(Probe):\n"
        "    name, columns = 'length', (Column('m', '', ''),)\n"
        "    def due(self, moment): return True\n"
        "    def measure(self, point, moment): return Reading()\n"
    )
    with pytest.raises(InputError, match="`length` is the name of a probe of the program"):
        probes_of(RunConfig.build({"probes": [f"{own}:Mine"]}, "test"))


def test_what_it_cannot_measure_is_refused_before_a_run(small_case):
    case = small_case("mlp", probes=("length", "later"))
    with pytest.raises(InputError, match=r"^`probes`: later: this problem has no outputs$"):
        try_probes(probes_of(case.config), case.config, case.problem)


@pytest.mark.parametrize(
    "failure", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("no")]
)
def test_one_that_fails_is_turned_off_with_a_sentence_and_the_rest_goes_on(
    small_case, monkeypatch, failure
):
    case = small_case("mlp", cadence=1, eta=0.3, probes=("length",))
    probes = ProbeSet(case.config, case.problem, probes_of(case.config))
    values, remarks = measured(probes, case, 0)
    assert values["length"].values == {"length_of_theta": float(case.theta.norm())}
    assert not remarks
    monkeypatch.setattr(Length, "failure", failure)
    values, remarks = measured(probes, case, 1)
    assert "sharpness" in values
    assert "length" not in values
    reason = f"{type(failure).__name__}: {failure}"
    assert remarks == [("turned_off", {"probe": "length", "reason": reason})]
    monkeypatch.setattr(Length, "failure", None)
    values, remarks = measured(probes, case, 2)
    assert "length" not in values
    assert not remarks
    again = ProbeSet(case.config, case.problem, probes_of(case.config))
    again.restore(probes.state())
    assert "length" not in measured(again, case, 3)[0]


def test_where_a_product_is_not_finite_it_stays_on(small_case, monkeypatch):
    case = small_case("mlp", cadence=1, eta=0.3, probes=("length",))
    probes = ProbeSet(case.config, case.problem, probes_of(case.config))
    monkeypatch.setattr(Length, "failure", NotFiniteError("a product isn't finite"))
    assert measured(probes, case, 0)[1] == [("unmeasured", {"reason": "a product isn't finite"})]
    monkeypatch.setattr(Length, "failure", None)
    assert "length" in measured(probes, case, 1)[0]
