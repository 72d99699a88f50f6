"""A probe that is defined here alone: run, killed, resumed, forked, replayed, exported; a failing one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from class_means import ClassMeans
from engines import Engine, assert_same_rows, derived, entry, here, small
from toy_runs import build
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.probes import PROBES, Reading, described, probes_of
from eostui.probes.own import try_probes
from eostui.probes.probe import built_in_columns
from eostui.probes.probe_set import ProbeSet
from eostui.problems import Problem
from eostui.runs.analysis.remarks import remark
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.store.columns import BUILT_IN_COLUMNS
from eostui.runs.store.rows import Event
from eostui.runs.trust import refuse_foreign_code

#: Of the beginning of a user's file.
HEAD = """
import torch
from eostui.probes import Column, Probe, Reading


class Mine(Probe):
    name = "mine"
    columns = (Column("half", "L", "L/2"), Column("pair", "1", "two", shape=(2,)))

    def due(self, moment):
        return moment.step % 5 == 0

    def measure(self, point, moment):
        return Reading({"half": point.loss / 2})
"""

pytestmark = pytest.mark.usefixtures("one_thread")

FILE = Path(__file__).parent / "class_means.py"
OWN = {"probes": [f"{FILE}:ClassMeans"], "steps": 400}


def replayed(path):
    """What `eostui replay` says of a run."""
    done = CliRunner().invoke(app, ["replay", str(path), "--json", "--trust-code"])
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """A run with the probe, never interrupted."""
    return here(small(**OWN), tmp_path_factory.mktemp("plain"))


def test_a_probe_is_run_killed_resumed_and_replayed_to_the_bit(plain, tmp_path):
    """In a process of its own, ended by SIGKILL: arrays, random numbers and remarks come again."""
    engine = Engine(small(**OWN), tmp_path)
    assert "a probe is loaded" in engine.told
    engine.reaches(150)
    engine.kill()
    resumed = Engine(Resume(entry(engine.path)), tmp_path)
    assert resumed.ended() == 0
    assert_same_rows(plain, resumed.path, whole=True)
    assert derived(resumed.path) == derived(plain)
    (third,) = (told for told in derived(plain) if told[1] == "noted")
    assert third[0] == 14
    assert remark(Event(14, 0.0, *third[1:])).startswith(
        "at step 14 the probe class_means says: third, loss "
    )
    assert replayed(resumed.path)["identical"] is True
    with Run(plain) as run:
        means = run.measured["mean_outputs"]
        at = run.measured["step"] % 7 == 0
        assert means.shape == (len(at), 10)
        assert np.isfinite(means[at]).all()
        assert np.isnan(means[~at]).all()
        assert run.measured["step"][at].tolist() == list(range(0, 401, 7))
        both = ~np.isnan(run.measured["reading_of_s"])
        np.testing.assert_array_equal(
            run.measured["reading_of_s"][both], run.measured["sharpness"][both]
        )
        assert both.any()


def test_a_probe_changes_nothing_of_a_run(plain, tmp_path):
    """Every column of the run without it is the same; what is spent on it is counted."""
    without = here(small(steps=400), tmp_path)
    with Run(plain) as one, Run(without) as other:
        mine, others = one.columns(), other.columns()
        for name in others.keys() - {"hessian_products"}:
            rows = ~np.isnan(others[name])
            np.testing.assert_array_equal(mine[name][rows], others[name][rows], name)


def test_a_fork_goes_on_with_it_and_another_without(plain, tmp_path):
    """From a step between two checkpoints; the rows are those of the run that it left."""
    same = here(Fork(entry(plain), 203), tmp_path)
    assert_same_rows(plain, same, whole=True)
    assert replayed(same)["identical"] is True
    without = here(Fork(entry(plain), 203, {"probes": []}), tmp_path)
    assert replayed(without)["identical"] is True
    with Run(plain) as one, Run(without) as other:
        np.testing.assert_array_equal(one.steps["loss"], other.steps["loss"])
        np.testing.assert_array_equal(
            one.measured["sharpness"][~np.isnan(one.measured["sharpness"])],
            other.measured["sharpness"][~np.isnan(other.measured["sharpness"])],
        )
        mine, theirs = (
            run.measured["step"][~np.isnan(run.measured["trace"])] for run in (one, other)
        )
        assert mine[-1] == 399
        np.testing.assert_array_equal(theirs, mine[mine < 203])
    added = here(Fork(entry(without), 303, {"probes": OWN["probes"]}), tmp_path)
    with Run(added) as run:
        steps = run.measured["step"][~np.isnan(run.measured["trace"])]
        assert steps.tolist() == [*range(0, 203, 7), *range(308, 401, 7)]
    assert replayed(added)["identical"] is True


def test_its_columns_are_exported_with_their_units(plain, tmp_path):
    """A CSV with a column for each number of the array, and what each is."""
    file = tmp_path / "run.csv"
    done = CliRunner().invoke(app, ["export", str(plain), "-o", str(file)])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(file.open()))
    with Run(plain) as run:
        where = int((run.measured["step"] == 21).argmax())
        for number in range(10):
            told = float(rows[21][f"mean_outputs_{number + 1}"])
            assert told == run.measured["mean_outputs"][where][number]
        assert rows[22]["mean_outputs_1"] == ""
    described = json.loads(file.with_suffix(".json").read_text())["columns"]
    assert described["trace"]["unit"] == "L/θ²"


def test_a_probe_that_fails_is_told_and_turned_off_alone(plain, tmp_path):
    """From step 42 on nothing of it; all else goes on as without it, resumed and replayed too."""
    failing = {"probes": [f"{FILE}:ClassMeans", f"{FILE}:Failing"], "steps": 400}
    engine = Engine(small(**failing), tmp_path)
    engine.reaches(150)
    engine.kill()
    resumed = Engine(Resume(entry(engine.path)), tmp_path)
    assert resumed.ended() == 0
    (off,) = (told for told in derived(resumed.path) if told[1] == "turned_off")
    assert off[0] == 42
    assert remark(Event(42, 0.0, *off[1:])) == (
        "the probe failing is turned off from step 42 on: ZeroDivisionError: nothing to divide \ufffdby"
    )
    with Run(resumed.path) as run:
        known = ~np.isnan(run.measured["twice_the_loss"])
        steps = run.measured["step"][known].astype(int)
        assert steps.tolist() == list(range(0, 42, 7))
        np.testing.assert_allclose(
            run.measured["twice_the_loss"][known], 2 * run.steps["loss"][steps], rtol=1e-6
        )
    assert_same_rows(plain, resumed.path)
    assert replayed(resumed.path)["identical"] is True


# --- refused before a run ----------------------------------------------------------------------


def written(folder: Path, text: str, name: str = "Mine") -> RunConfig:
    file = folder / "own.py"
    file.write_text(HEAD + text)
    return small(probes=[f"{file}:{name}"])


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("", "Mien", "has no class `Mien`; did you mean `Mine`?"),
        ("X = 1 / 0", "Mine", "failed: ZeroDivisionError: division by zero"),
        ("class Other: pass", "Other", "is no Probe: derive the class from eostui.probes"),
        ("class Same(Mine): name = 'drives'", "Same", "there are two probes `drives`"),
        ("class Same(Mine): name = 'a.b'", "Same", "it has no name that a record can have"),
        (
            "class Same(Mine): columns = (Column('sharpness', '1', 'mine'),)",
            "Same",
            "there are two columns `sharpness`",
        ),
        (
            "class Same(Mine): columns = (Column('eta', '1', 'mine'),)",
            "Same",
            "can't be called `eta`: that is taken",
        ),
        ("class Same(Mine): columns = ()", "Same", "it has no `columns`"),
        ("class Same(Mine): columns = ('x',)", "Same", "'x' among its `columns`"),
        (
            "class Same(Mine): columns = (Column('x', '1', 'x', shape=(0,)),)",
            "Same",
            "the shape of its column `x`",
        ),
        ("class Same(Mine): cost = 'cheap'", "Same", 'its `cost` is "cheap", but must be one of'),
        (
            "class Bare(Probe):\n    name = 'b'\n    columns = Mine.columns",
            "Bare",
            "no method `due`",
        ),
    ],
)
def test_what_could_not_be_recorded_is_refused(tmp_path, text, name, sentence):
    """One sentence that names the setting, the file and what would be right."""
    config = written(tmp_path, text, name)
    with pytest.raises(InputError, match=r"^`probes`: ") as caught:
        probes_of(config)
    assert sentence in str(caught.value)
    assert "own.py" in str(caught.value)


def test_a_file_that_is_not_there_and_one_probe_twice(tmp_path):
    """And a probe that can't be made for a problem."""
    with pytest.raises(InputError, match=r"there is no file .*none\.py"):
        probes_of(small(probes=[f"{tmp_path / 'none.py'}:Mine"]))
    config = written(tmp_path, "")
    with pytest.raises(InputError, match="two probes `mine`"):
        probes_of(config.changed({"probes": [*config.probes, *config.probes]}))
    config = written(
        tmp_path,
        "class Picky(Mine):\n    def __init__(self, config, problem): problem.labels\n",
        "Picky",
    )
    with pytest.raises(InputError, match=r":Picky failed: AttributeError: .*labels"):
        try_probes(probes_of(config), config, quadratic())


def test_a_strangers_record_executes_no_probe(tmp_path):
    """Going on with a run whose config names a probe needs the user's word."""
    with pytest.raises(InputError, match=r"would execute code of .*:Mine.*--trust-code"):
        refuse_foreign_code(written(tmp_path, ""), tmp_path / "run")


def test_a_probe_whose_source_changed_is_gone_on_with_and_told(tmp_path):
    """θ goes its way whatever is measured: a mended probe measures again, replay says what differs."""
    text = (
        "class Mine(Mine):\n    def measure(self, point, moment):\n"
        "        return Reading({'half': float(point.loss) / SCALE})\n"
    )
    config = written(tmp_path, text.replace("SCALE", "(moment.step < 12)")).changed(
        {"steps": 20, "checkpoint_every": 0}
    )
    path = here(config, tmp_path)
    written(tmp_path, text.replace("SCALE", "2"))
    here(Resume(entry(path), 40), tmp_path)
    here(Resume(entry(path), 50), tmp_path)
    with Run(path) as run:
        (told,) = (event for event in run.events if event.kind == "probes_changed")
        known = ~np.isnan(run.measured["half"])
        steps = run.measured["step"][known].astype(int)
        assert steps.tolist() == [0, 5, 10, *range(25, 51, 5)]
        np.testing.assert_allclose(
            run.measured["half"][known],
            run.steps["loss"][steps] * np.where(steps < 12, 1.0, 0.5),
            rtol=1e-6,
        )
    assert told.step == 21
    assert "the source of own.py changed" in remark(told)
    written(tmp_path, text.replace("SCALE", "4"))
    again = replayed(path)
    assert again["identical"] is False
    assert again["probes_changed"] == "the source of own.py changed"
    assert {difference["what"] for difference in again["differences"]} <= {
        "half",
        "event",
        "measured",
    }
    child = here(Fork(entry(path), 30, {"steps": 45}), tmp_path)
    with Run(child) as run:
        assert [e.step for e in run.events if e.kind == "probes_changed"] == [21, 30]


# --- what a probe may do wrong while it measures ------------------------------------------------


def quadratic() -> Problem:
    diagonal = torch.tensor([3.0, 2.0, 1.0]).double()
    return Problem(torch.ones(3).double(), lambda at: 0.5 * at @ (diagonal * at), "quadratic")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return {'half': 1.0}", "it returned dict, but must return a Reading"),
        ("return Reading({'halve': 1.0})", "it returned `halve`, which isn't among its columns"),
        (
            "return Reading({'half': torch.ones(2)})",
            "its `half` has shape (2,), but its column has ()",
        ),
        ("return Reading({'pair': 1.0})", "its `pair` has shape (), but its column has (2,)"),
        ("return Reading({'half': 'much'})", "its `half` is 'much', but must be numbers"),
        ("return Reading({'half': 1j})", "must be numbers"),
        ("return Reading(products=-1)", "its products are -1"),
        (
            "return Reading(remarks=[('x', {'y': torch.ones(1)})])",
            "is no kind with what JSON can hold",
        ),
        ("point.theta.mul_(2); return Reading()", "it changed θ in place: work on a clone"),
        ("point.gradient.zero_(); return Reading()", "it changed ∇L in place"),
        ("moment.displacement.zero_(); return Reading()", "it changed the displacement in place"),
        ("point.theta.data += 1; return Reading()", "it changed θ in place: work on a clone"),
        ("point.gradient.numpy()[:] = 0; return Reading()", "it changed ∇L in place"),
        (
            "moment.probes['sharpness'].eigenvectors.neg_(); return Reading()",
            "it changed eigenvectors of the probe sharpness",
        ),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_what_it_does_wrong_is_told_once_and_undone(tmp_path, body, reason):
    """The other probes measure what they do without it, and so does whatever comes next."""
    text = f"class Wrong(Mine):\n    def measure(self, point, moment):\n        {body}\n"
    config, problem = written(tmp_path, text, "Wrong"), quadratic()
    with_it, without = ProbeSet(config, problem, probes_of(config)), ProbeSet(config, problem)
    told = []
    for step in range(0, 20, 5):
        readings, points, steps = [], [], []
        for probes in (with_it, without):
            moment = probes.moment(step, {"eta": 0.1, "weight_decay": 0.0})
            moment.displacement = torch.ones(3).double()
            point = Point(problem.loss, problem.initial)
            readings.append(probes.measure(probes.due(moment), point, moment))
            points.append((point.theta.tolist(), point.gradient.tolist()))
            steps.append(moment.displacement.tolist())
        assert [r.values for r in readings[0] if r.values] == [r.values for r in readings[1]]
        assert points[0] == points[1]
        assert steps[0] == steps[1]
        told += [
            payload for r in readings[0] for kind, payload in r.remarks if kind == "turned_off"
        ]
    ((off),) = told
    assert off["probe"] == "mine"
    assert reason in off["reason"]
    assert problem.initial.tolist() == [1.0, 1.0, 1.0]


def test_being_turned_off_outlives_a_checkpoint_and_ends_with_what_was_found(tmp_path):
    """Also before it is told; a state that can't be saved turns a probe off too."""
    text = "class Kept(Mine):\n    def state(self):\n        return {'x': object()}\n"
    config, problem = written(tmp_path, text, "Kept"), quadratic()
    probes = ProbeSet(config, problem, probes_of(config))
    state = probes.state()
    assert (
        state["off"]["mine"] == "its state `x` is object, but must be a tensor or what JSON holds"
    )
    again = ProbeSet(config, problem, probes_of(config))
    again.restore({**state, "sharpness.memory_values": []})
    moment = again.moment(0, {"eta": 0.3, "weight_decay": 0.0})
    due = again.due(moment)
    assert "mine" not in [probe.name for probe in due]
    *_, last = again.measure(due, Point(problem.loss, problem.initial), moment)
    assert last.remarks[0][0] == "turned_off"
    again.forget()
    assert "mine" in [probe.name for probe in again.due(moment)]


@pytest.mark.parametrize(
    ("tensor", "told"),
    [("torch.ones(2, dtype=torch.bfloat16)", "bfloat16"), ("torch.eye(2).to_sparse()", "sparse")],
)
def test_a_tensor_that_no_checkpoint_holds_ends_no_run(tmp_path, tensor, told):
    text = f"class Kept(Mine):\n    def state(self):\n        return {{'x': {tensor}}}\n"
    path = here(written(tmp_path, text, "Kept").changed({"steps": 20}), tmp_path)
    with Run(path) as run:
        assert run.facts["status"] == "finished"
    with Run(here(Resume(entry(path), 30), tmp_path)) as run:
        (off,) = (event for event in run.events if event.kind == "turned_off")
    assert "its state `x` is a tensor that no checkpoint can hold" in off.payload["reason"]
    assert told in off.payload["reason"]


def test_one_that_is_made_once_alone_is_turned_off_and_says_so(tmp_path):
    """It was tried before the run; made again for it, it fails."""
    text = (
        "class Once(Mine):\n    made = 0\n    def __init__(self, config, problem):\n"
        "        super().__init__(config, problem)\n        Once.made += 1\n"
        "        if Once.made > 1:\n            raise OSError('already open')\n"
    )
    with Run(here(written(tmp_path, text, "Once").changed({"steps": 20}), tmp_path)) as run:
        (off,) = (event for event in run.events if event.kind == "turned_off")
        assert run.facts["status"] == "finished"
    assert (off.step, off.payload["reason"]) == (0, "OSError: already open")


def test_what_it_draws_as_it_is_made_is_drawn_again_in_a_replay(tmp_path):
    """Be it by numpy, `random` or torch."""
    text = (
        "import numpy, random\n\n\nclass Drawn(Mine):\n    def __init__(self, config, problem):\n"
        "        super().__init__(config, problem)\n"
        "        self.drawn = numpy.random.rand() + random.random() + float(torch.rand(()))\n\n"
        "    def measure(self, point, moment):\n        return Reading({'half': self.drawn})\n"
    )
    path = here(written(tmp_path, text, "Drawn").changed({"steps": 20}), tmp_path)
    assert replayed(path)["identical"] is True


def test_switches_of_torch_that_it_turns_are_turned_back(tmp_path):
    """A run goes on with gradients, in its own precision."""
    text = (
        "class Switches(Mine):\n    def measure(self, point, moment):\n"
        "        torch.set_grad_enabled(False)\n        torch.set_default_dtype(torch.float64)\n"
        "        return Reading({'half': torch.tensor(0.5, dtype=torch.bfloat16)})\n"
    )
    try:
        path = here(written(tmp_path, text, "Switches").changed({"steps": 20}), tmp_path)
        assert torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float32
    finally:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
    with Run(path) as run:
        assert run.facts["status"] == "finished"
        assert set(run.measured["half"]) == {0.5}


def test_every_probe_of_the_program_is_described():
    """Names, costs and columns, as readers take them from a record that says nothing."""
    assert described(PROBES)[: len(BUILT_IN_COLUMNS)] == BUILT_IN_COLUMNS


def test_columns_that_the_store_has_not_are_a_sentence_that_says_where_they_go():
    with pytest.raises(InputError, match=r"give the class its own, .*tests/probes/class_means\.py"):
        built_in_columns("trace")


def test_a_new_probe_of_the_program_needs_its_class_and_a_line_of_the_table(tmp_path, monkeypatch):
    """Its columns stand in its class: the record describes them, an export has them."""
    monkeypatch.setattr("eostui.probes.PROBES", (*PROBES, ClassMeans))
    monkeypatch.setattr("eostui.probes.probe_set.PROBES", (*PROBES, ClassMeans))
    path = here(small(steps=10), tmp_path)
    with Run(path) as run:
        described_columns = json.loads(run.facts["columns"])
        exported = [column.name for column in run.exported()]
        assert run.measured["mean_outputs"].shape == (len(run.measured["step"]), 10)
    assert described_columns["trace"].startswith("L/θ²: tr H, by one random direction")
    assert {"trace", "mean_outputs_10"} <= {*exported}


def test_a_reading_has_its_seconds_and_its_products(small_case):
    """The time is the probe's own, the products those of its search."""
    case = small_case("mlp", activation="tanh", smallest_eigenvalue=True)
    probes = ProbeSet(case.config, case.problem)
    moment = probes.moment(0, {"eta": case.config.eta, "weight_decay": case.config.weight_decay})
    point = Point(case.problem.loss, case.theta)
    calls = []
    product = point.hessian_product
    point.hessian_product = lambda v: calls.append(1) or product(v)
    readings = probes.measure(probes.due(moment), point, moment)
    assert [reading.probe for reading in readings] == [
        "sharpness", "smallest_eigenvalue", "drives",
    ]  # fmt: skip
    assert sum(reading.products for reading in readings) == len(calls)
    assert all(0 < reading.seconds < 60 for reading in readings)
    assert isinstance(readings[0], Reading)


def test_files_in_two_folders_have_each_their_own_modules_beside_them(tmp_path):
    """A module of one name beside a problem and beside a probe; a file beside the probe alone, late."""
    for folder, value in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper_of_mine.py").write_text(f"VALUE = {value}\n")
    (tmp_path / "two" / "late_helper.py").write_text("VALUE = 3\n")
    problem = tmp_path / "one" / "own.py"
    problem.write_text(
        "import torch, helper_of_mine\nfrom eostui.problems import Problem\n\n\n"
        "def make(device, dtype):\n"
        "    theta = torch.ones(2, device=device, dtype=dtype)\n"
        "    return Problem(theta, lambda at: helper_of_mine.VALUE * at.square().sum(), 'c')\n"
    )
    text = (
        "import helper_of_mine\n\n\nclass Late(Mine):\n    def measure(self, point, moment):\n"
        "        import late_helper\n"
        "        return Reading({'half': 10 * helper_of_mine.VALUE + late_helper.VALUE})\n"
    )
    config = written(tmp_path / "two", text, "Late").changed({"problem": f"{problem}:make"})
    built = build(config)
    probes = ProbeSet(config, built, probes_of(config))
    moment = probes.moment(0, {"eta": 0.1, "weight_decay": 0.0})
    point = Point(built.loss, built.initial)
    assert float(point.loss) == 2.0
    assert probes.measure(probes.due(moment), point, moment)[-1].values == {"half": 23.0}
