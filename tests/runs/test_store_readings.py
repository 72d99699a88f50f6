"""What probes measured, as the store has it: a run's own columns, arrays, costs; and how it is forged."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from damage import edit
from formats import as_format
from hypothesis import given, settings
from hypothesis import strategies as st
from random_runs import facts_of, rows
from toy_runs import toy_config, train

from eostui.engine import recorder
from eostui.engine.comparison import ComparingWriter
from eostui.errors import InputError, RunFormatError
from eostui.runs.export import RunTable, export_files, write_stream
from eostui.runs.fork import copy_history
from eostui.runs.record import Record
from eostui.runs.repair.check import check_run
from eostui.runs.repair.rebuild import repair_run
from eostui.runs.run import Run
from eostui.runs.store import schema
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.columns import (
    BUILT_IN_COLUMNS,
    FIRST_STEP_COLUMNS,
    MEASURED,
    NOT_WIDE,
    STORED_STEP_COLUMNS,
    Column,
    ProbeColumns,
)
from eostui.runs.store.own_columns import joined, probe_columns_of, probes_fact, step_columns_of
from eostui.runs.store.poller import Poller
from eostui.runs.store.reader import RunReader
from eostui.runs.store.readings import ProbeReading
from eostui.runs.store.rows import checksum
from eostui.runs.store.writer import RunWriter
from eostui.stability import ETA, HEAVY_BALL, MOMENTUM, WEIGHT_DECAY, Description

TRACE = ProbeColumns(
    "trace",
    "many products",
    (
        Column("hessian_trace", "L/θ²", "tr H"),
        Column("density", "1", "share of eigenvalues by bin", shape=(2, 3)),
        Column("lowest", "L/θ²", "smallest eigenvalues", optional=True, shape=(2,)),
    ),
)
DENSITY = np.arange(6.0).reshape(2, 3)
FLAT = [f"density_{k}" for k in range(1, 7)]


def begun(path, probes=(*BUILT_IN_COLUMNS, TRACE), **facts):
    stated = json.dumps(STORED_STEP_COLUMNS)
    return RunWriter(path, facts_of(probes=probes_fact(probes), step_columns=stated, **facts))


def traced(path, count=30, every=10):
    """Write a run whose own probe measures every so many steps, S every five."""
    writer = begun(path)
    for first in range(0, count, 5):
        writer.steps(first, rows(count)[first : first + 5], FIRST_STEP_COLUMNS)
        writer.reading(ProbeReading(first, "sharpness", {"sharpness": 2.0 + first}, "raw", 0.25, 4))
        if first % every == 0:
            values = {"hessian_trace": float(first), "density": DENSITY + first}
            writer.reading(ProbeReading(first, "trace", values, "raw", 0.5, 20))
        writer.flush()
    writer.close()
    return path


def assert_sound(path):
    assert not [finding for finding in check_run(path) if not finding.sound]


# --- columns of its own ----------------------------------------------------------------------------


def test_a_run_has_the_columns_that_its_probes_state(tmp_path):
    """Arrays as arrays, a row a measured step, empty where that probe didn't measure."""
    run = Run(traced(tmp_path / "r"))
    measured = run.measured
    assert measured["step"].tolist() == [0, 5, 10, 15, 20, 25]
    assert measured["density"].shape == (6, 2, 3)
    np.testing.assert_array_equal(measured["density"][4], DENSITY + 20)
    assert np.isnan(measured["density"][1]).all()
    np.testing.assert_array_equal(
        measured["hessian_trace"], [0, math.nan, 10, math.nan, 20, math.nan]
    )
    assert measured["lowest"].shape == (6, 2)
    assert measured["sharpness"].tolist() == [2, 7, 12, 17, 22, 27]
    assert run.until(12).measured["density"].shape == (3, 2, 3)
    assert_sound(run.path)


def test_what_the_readings_of_a_step_cost_is_added_up(tmp_path):
    writer = begun(tmp_path / "r")
    writer.steps(0, rows(3), FIRST_STEP_COLUMNS)
    writer.reading(ProbeReading(0, "sharpness", {"sharpness": 1.0}, seconds=0.25, products=4))
    writer.reading(
        ProbeReading(0, "smallest_eigenvalue", {"eig_min": 1.0}, seconds=0.5, products=3)
    )
    writer.reading(
        ProbeReading(0, "held_out", {"test_loss": 1.0}, seconds=1.0, products=9)
    )  # it counts none
    writer.reading(ProbeReading(1, "held_out", {"test_loss": 1.0}, seconds=2.0))
    writer.reading(ProbeReading(2, "sharpness", {"sharpness": 1.0}, products=0))
    writer.close()
    measured = Run(tmp_path / "r").measured
    np.testing.assert_array_equal(measured["hessian_products"], [7, math.nan, 0])
    np.testing.assert_array_equal(measured["measured_seconds"], [1.75, 2.0, math.nan])
    table = Run(tmp_path / "r").columns()
    assert "hessian_products" in table
    assert "measured_seconds" not in table  # two runs of the same have the same table


def test_the_export_flattens_arrays_and_says_what_the_run_says_of_them(tmp_path):
    run = Run(traced(tmp_path / "r"))
    text = io.StringIO()
    table = RunTable(run)
    write_stream(table, text)
    lines = list(csv.DictReader(text.getvalue().splitlines()))
    assert [float(lines[20][name]) for name in FLAT] == (DENSITY + 20).ravel().tolist()
    assert lines[5]["density_3"] == ""
    assert "lowest_1" not in lines[0]  # optional, and empty
    names = list(lines[0])
    assert names[-7:] == ["hessian_trace", *FLAT]
    said = table.describe()["columns"]["density_4"]
    assert said["unit"] == "1"
    assert said["description"].startswith(
        "number 4 of 6: share of eigenvalues by bin; taken at θ_t"
    )
    json_lines = io.StringIO()
    write_stream(RunTable(run, measured_only=True), json_lines, "jsonl")
    assert json.loads(json_lines.getvalue().splitlines()[2])["density_6"] == 15.0


def test_parquet_and_event_files_have_them_too(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = Run(traced(tmp_path / "r"))
    export_files(run, tmp_path / "r.parquet", format="parquet")
    read = parquet.read_table(tmp_path / "r.parquet")
    assert read["density_2"].to_pylist()[10] == 11.0
    assert read["density_2"].to_pylist()[11] is None
    export_files(run, tmp_path / "events", format="tensorboard")
    events = accumulator.EventAccumulator(str(tmp_path / "events" / "r"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("density_6")] == [(0, 5), (10, 15), (20, 25)]


def test_runs_with_columns_of_their_own_in_one_table(tmp_path):
    """Each has its own, empty for the other; those of a calibration would come last."""
    plain = begun(tmp_path / "plain", BUILT_IN_COLUMNS)
    plain.steps(0, rows(2), FIRST_STEP_COLUMNS)
    plain.close()
    text = io.StringIO()
    write_stream(RunTable([Run(tmp_path / "plain"), Run(traced(tmp_path / "r"))]), text)
    lines = list(csv.DictReader(text.getvalue().splitlines()))
    assert len(lines) == 32
    assert (lines[0]["density_1"], lines[2]["density_1"]) == ("", "0.0")
    assert next(iter(lines[0])) == "run"


@settings(max_examples=20)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.data())
def test_reading_arrays_piecewise_equals_reading_them_at_once(chunks, data):
    folder = Path(tempfile.mkdtemp())
    try:
        writer = begun(folder / "r")
        live = Run(folder / "r")
        first = 0
        for size in chunks:
            writer.steps(first, rows(sum(chunks))[first : first + size], FIRST_STEP_COLUMNS)
            first += size
            if data.draw(st.booleans()):
                writer.reading(ProbeReading(first - 1, "sharpness", {"sharpness": 1.0}, products=3))
            if data.draw(st.booleans()):
                writer.reading(
                    ProbeReading(first - 1, "trace", {"density": DENSITY * first}, seconds=0.1)
                )
            if data.draw(st.booleans()):
                writer.flush()
            if data.draw(st.booleans()):
                live.refresh()
        writer.close()
        live.refresh()
        whole = Run(folder / "r")
        for name in ("step", "sharpness", "density", "hessian_products", "measured_seconds", "eta"):
            np.testing.assert_array_equal(live.measured[name], whole.measured[name], name)
    finally:
        shutil.rmtree(folder)


def test_what_a_run_has_no_place_for_is_left_out(tmp_path):
    """Of a later version, or of a file that was changed: another probe, another column, another size."""
    path = traced(tmp_path / "r")
    writer = RunWriter(path)
    writer.steps(30, rows(31)[30:], FIRST_STEP_COLUMNS)
    writer.reading(ProbeReading(30, "other", {"hessian_trace": 1.0}))
    writer.reading(
        ProbeReading(30, "trace", {"hessian_trace": 3.0, "more": 1.0, "density": np.zeros(7)})
    )
    writer.close()
    run = Run(path)
    assert run.measured["hessian_trace"][-1] == 3.0
    assert np.isnan(run.measured["density"][-1]).all()
    assert "more" not in run.measured
    assert_sound(path)


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_an_older_run_keeps_its_one_row_a_step(tmp_path, version):
    """The readings of a step are gathered into it; a probe that it doesn't know has no place."""
    writer = RunWriter(tmp_path / "r", facts_of(step_columns=json.dumps(STORED_STEP_COLUMNS)))
    writer.close()
    as_format(tmp_path / "r", version)
    writer = RunWriter(tmp_path / "r")
    writer.steps(0, rows(4), FIRST_STEP_COLUMNS)
    for step in (0, 2):
        writer.reading(
            ProbeReading(step, "sharpness", {"sharpness": 3.0 + step}, "midpoint", 0.5, 4)
        )
        writer.reading(
            ProbeReading(step, "smallest_eigenvalue", {"eig_min": -1.0}, "midpoint", 0.5, 2)
        )
        writer.reading(ProbeReading(step, "trace", {"density": DENSITY}, "midpoint", 0.5, 2))
        writer.reading(ProbeReading(step, "held_out", {"test_loss": 0.5}, "midpoint"))
    writer.close()
    with sqlite3.connect(tmp_path / "r" / "run.db") as database:
        found = database.execute(
            "SELECT step, point, sharpness, eig_min, hessian_products, test_loss FROM measurements"
        ).fetchall()
    assert found == [(0, "midpoint", 3, -1, 6, 0.5), (2, "midpoint", 5, -1, 6, 0.5)]
    assert_sound(tmp_path / "r")
    assert Run(tmp_path / "r").measured["hessian_products"].tolist() == [6, 6]


def test_the_table_of_older_formats_is_what_it_was(tmp_path):
    """A column that is added to a probe of the program is empty in older runs, and changes no export."""
    store = Path(__file__).parents[1] / "stores" / "format-5"
    path = Path(shutil.copytree(store, tmp_path / "r"))
    with sqlite3.connect(path / "run.db") as database:
        kept = [row[1] for row in database.execute("PRAGMA table_info(measurements)")]
    with sqlite3.connect(tmp_path / "made.db") as database:
        database.executescript(schema.tables(5))
        made = [row[1] for row in database.execute("PRAGMA table_info(measurements)")]
    assert made == kept
    assert all(column.optional for column in MEASURED if column.name in NOT_WIDE)
    reader = RunReader(path)
    reader.close()
    stored = {column.name for probe in reader.probes.values() for column in probe.columns}
    assert stored == {*kept} - {"id", "step", "point", "crc32", "hessian_products"}


def test_a_fork_has_its_parents_columns_and_its_own(tmp_path):
    parent = traced(tmp_path / "parent")
    other = ProbeColumns("other", "pass", (Column("kurtosis", "1", "of the weights"),))
    reader = RunReader(parent)
    probes = joined((*BUILT_IN_COLUMNS, other), reader.probes.values())
    reader.close()
    assert [probe.name for probe in probes][-2:] == ["other", "trace"]
    fork = begun(tmp_path / "fork", probes)
    copy_history(parent, fork, Checkpoint(21, 0, {}, {"recorder.calibration": 0}), "raw")
    fork.steps(21, rows(22)[21:], FIRST_STEP_COLUMNS)
    fork.reading(ProbeReading(21, "other", {"kurtosis": 3.0}))
    fork.close()
    one, two = Run(parent).measured, Run(tmp_path / "fork").measured
    assert two["step"].tolist() == [0, 5, 10, 15, 20, 21]
    for name in ("density", "sharpness", "hessian_products", "measured_seconds"):
        np.testing.assert_array_equal(two[name][:5], one[name][:5], name)
    assert two["kurtosis"][-1] == 3.0
    assert_sound(tmp_path / "fork")


def test_a_repaired_run_keeps_them(tmp_path):
    path = traced(tmp_path / "r")
    edit(path, "UPDATE readings SET numbers = zeroblob(length(numbers)) WHERE step = 10")
    repaired = repair_run(path)
    assert any("step 10" in how for how in repaired.lost)
    assert_sound(repaired.path)
    run = Run(repaired.path)
    assert run.measured["step"].tolist() == [0, 5, 15, 20, 25]
    np.testing.assert_array_equal(run.measured["density"][3], DENSITY + 20)
    assert probe_columns_of(run.facts)[-1] == TRACE


# --- what a dynamics has ---------------------------------------------------------------------------


def test_steps_have_the_controls_and_thresholds_that_their_dynamics_states(tmp_path):
    dynamics = Description.of("heavy-ball", HEAVY_BALL).to_json()
    own = ("momentum", "stability_threshold", "stability_undecayed")
    names = (*STORED_STEP_COLUMNS, *own)
    matrix = np.tile(np.arange(1.0, 12.0), (3, 1))
    facts = facts_of(dynamics=dynamics, step_columns=json.dumps(names))
    writer = RunWriter(tmp_path / "r", facts)
    writer.steps(0, matrix)
    writer.reading(ProbeReading(1, "sharpness", {"sharpness": 1.0}))
    writer.close()
    run = Run(tmp_path / "r")
    assert [run.steps[name].tolist() for name in own] == [[9.0] * 3, [10.0] * 3, [11.0] * 3]
    assert run.steps["two_over_eta"].tolist() == [2 / 7] * 3
    assert run.measured["momentum"].tolist() == [9.0]
    said = {column.name: column.description for column in run.exported()}
    assert said["stability_threshold"] == "(2+2μ)/η−λ, the stability limit with decay"
    assert {*own} <= said.keys()
    assert run.columns()["momentum"].tolist() == [9.0] * 3


def test_gradient_descent_is_stable_up_to_2_over_eta(tmp_path):
    writer = begun(tmp_path / "r")
    writer.steps(0, rows(20), FIRST_STEP_COLUMNS)
    writer.close()
    steps = Run(tmp_path / "r").steps
    np.testing.assert_array_equal(steps["stability_undecayed"], 2 / steps["eta"])
    np.testing.assert_array_equal(
        steps["stability_threshold"], 2 / steps["eta"] - steps["weight_decay"]
    )
    assert "stability_undecayed" not in Run(tmp_path / "r").columns()


@pytest.mark.parametrize(
    "dynamics",
    [
        "[]", "7", "{", '{"controls": 3}', '{"controls": [3], "label": "x", "undecayed_label": "y"}',
        '{"controls": [], "label": "", "undecayed_label": ""}',
        *(Description.of("other", replace(HEAVY_BALL, controls=(ETA, WEIGHT_DECAY, control))).to_json()
          for control in (replace(MOMENTUM, name="loss"), replace(MOMENTUM, name="a b"))),
    ],
)  # fmt: skip
def test_a_forged_dynamics_is_a_sentence(tmp_path, dynamics):
    with pytest.raises(ValueError):  # noqa: PT011
        step_columns_of({"dynamics": dynamics, "step_columns": json.dumps(STORED_STEP_COLUMNS)})
    path = traced(tmp_path / "r")
    forge(path, "dynamics", dynamics)
    with pytest.raises(RunFormatError, match="its fact `dynamics` is damaged: "):
        Run(path)
    assert_sound(repair_run(path).path)


# --- forged facts and rows -------------------------------------------------------------------------


def forge(path, key, value):
    """Set a fact as somebody can who knows how: its checksum and the seal fit."""
    edit(path, "INSERT OR REPLACE INTO run VALUES (?, ?, ?)", key, value, checksum((key, value)))
    edit(path, "UPDATE seal SET facts = (SELECT count(*) FROM run)")


def column(**changes):
    said = {"name": "x1", "unit": "1", "description": "", "optional": False, "shape": [], **changes}
    return json.dumps([{"name": "p", "cost": "pass", "columns": [said]}])


TWICE = json.loads(column())[0]


@pytest.mark.parametrize(
    "stated",
    [
        "", "no JSON", "7", "{}", "[7]", "[" * 100_000, '[{"name": "p"}]',
        '[{"name": "p", "cost": "pass", "columns": {}}]',
        '[{"name": "p", "cost": "pass", "columns": [3]}]',
        '[{"name": 3, "cost": "pass", "columns": []}]',
        '[{"name": "", "cost": "pass", "columns": []}]',
        column(name="a,b"), column(name="x\n"), column(name="step"), column(name="theta_1"),
        column(name="sharpness"), column(name="alpha"), column(name="measured_seconds"),
        column(name="x" * 101), column(name=3), column(unit=None), column(description=[]),
        column(shape=3), column(shape=[0]), column(shape=[-1]), column(shape=[1.5]),
        column(shape=[True]), column(shape=[1 << 40]), column(shape=[1 << 20, 1 << 20]),
        column(shape=[1] * 100), column(shape=[1000, 101]), column(name="theta", shape=[2]),
        json.dumps([TWICE, TWICE]),
        json.dumps([{**TWICE, "name": f"p{k}", "columns": [{**TWICE["columns"][0], "name": f"y{k}",
                    "shape": [90_000]}]} for k in range(1000)]),
        json.dumps([TWICE, {**TWICE, "name": "q"}]),
        json.dumps([{**TWICE, "columns": TWICE["columns"] * 20_000}]),
        json.dumps([TWICE, {"name": "q", "cost": "pass", "columns": [
            {"name": "x", "unit": "", "description": "", "shape": [2], "optional": False}]}]),
    ],
)  # fmt: skip
def test_a_forged_fact_of_the_probes_is_a_sentence(tmp_path, stated):
    with pytest.raises(ValueError):  # noqa: PT011
        probe_columns_of({"probes": stated})
    path = traced(tmp_path / "r", count=5)
    forge(path, "probes", stated)
    for read in (Run, RunWriter):
        with pytest.raises(RunFormatError, match="its fact `probes` is damaged: ") as error:
            read(path)
        assert len(str(error.value)) < 500
        assert "\n" not in str(error.value)
    assert any(not finding.sound for finding in check_run(path))


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ([Column("alpha", "1", "")], "`alpha`"),
        ([Column("top", "1", ""), Column("top", "1", "")], "two columns `top`"),
        ([Column("top", "1", "", shape=(1000, 101))], "`top` is too large"),
        ([Column("top", "1", "d" * 2000)], "`description`"),
        ([Column("a b", "1", "")], "the name `a b`"),
    ],
)
def test_probes_that_no_run_can_have_are_a_sentence_before_it_begins(columns, why):
    with pytest.raises(InputError, match=f"these probes can't measure one run: .*{why}"):
        probes_fact((*BUILT_IN_COLUMNS, ProbeColumns("own", "pass", tuple(columns))))


@pytest.mark.parametrize(
    "forged",
    [
        ProbeColumns("own", "pass", (Column("momentum", "1", ""),)),
        ProbeColumns("own", "pass", (Column("stability_undecayed", "1", ""),)),
        ProbeColumns("sharpness", "pass", (Column("sharpness", "1", "", shape=(3,)),)),
        ProbeColumns("sharpness", "pass", (Column("beta", "1", ""),)),
    ],
)
def test_columns_that_readers_take_for_others_are_refused(tmp_path, forged):
    """A control of the run's dynamics, its threshold, what the program measures by that name."""
    dynamics = Description.of("heavy-ball", HEAVY_BALL).to_json()
    sound = ProbeColumns(forged.name, "pass", (Column("mine", "1", ""),))
    facts = facts_of(dynamics=dynamics, probes=probes_fact([sound]))
    writer = RunWriter(tmp_path / "r", facts)
    writer.steps(0, rows(2))
    writer.reading(ProbeReading(1, forged.name, {"mine": 1.0}))
    writer.close()
    stated = json.loads(facts["probes"])
    stated[0]["columns"][0] |= {
        "name": forged.columns[0].name, "shape": list(forged.columns[0].shape),
    }  # fmt: skip
    with pytest.raises(InputError, match="can't be recorded: "):
        RunWriter(tmp_path / "other", facts | {"probes": json.dumps(stated)})
    assert not (tmp_path / "other").exists()
    forge(tmp_path / "r", "probes", json.dumps(stated))
    with pytest.raises(RunFormatError, match="its fact `probes` is damaged: "):
        Run(tmp_path / "r")


def test_probes_that_fit_no_reading_are_a_sentence(tmp_path):
    path = traced(tmp_path / "r")
    wider = replace(TRACE, columns=(*TRACE.columns, Column("more", "1", "")))
    forge(path, "probes", probes_fact((*BUILT_IN_COLUMNS, wider)))
    with pytest.raises(RunFormatError, match="step 0 hasn't the columns of its probe"):
        Run(path)
    forge(path, "probes", probes_fact(BUILT_IN_COLUMNS))
    with pytest.raises(RunFormatError, match="of a probe that the run hasn't"):
        Run(path)


def test_what_is_said_of_a_column_is_printable(tmp_path):
    path = traced(tmp_path / "r", count=5)
    stated = json.loads(probes_fact((*BUILT_IN_COLUMNS, TRACE)))
    stated[-1]["columns"][0]["description"] = "\x1b[31mred"
    forge(path, "probes", json.dumps(stated))
    said = {c.name: c.description for c in Run(path).exported()}["hessian_trace"]
    assert said.startswith("�[31mred")


@pytest.mark.parametrize("cut", ["step", "probe"])
def test_readings_out_of_order_are_damage(tmp_path, cut):
    """A step measured twice, or before another that was measured already."""
    path = traced(tmp_path / "r")
    live = Run(path)
    with sqlite3.connect(path / schema.DATABASE) as database:
        step, probe, point, numbers, seconds, products = database.execute(
            "SELECT step, probe, point, numbers, seconds, products FROM readings WHERE id = 3"
        ).fetchone()
        step = step + 1 if cut == "step" else step
        probe = "held_out" if cut == "probe" else probe
        numbers = bytes(16) if cut == "probe" else numbers
        crc = checksum((step, probe, point, seconds, products), numbers)
        database.execute(
            "INSERT INTO readings (step, probe, point, numbers, seconds, products, crc32) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (step, probe, point, numbers, seconds, products, crc),
        )
        database.execute("UPDATE seal SET readings = readings + 1")
    for read in (live.refresh, lambda: Run(path)):
        with pytest.raises(RunFormatError, match="order of its steps"):
            read()


# --- comparing -------------------------------------------------------------------------------------


def test_a_repetition_is_compared_number_by_number(tmp_path):
    """The first number that isn't as it was is named; how long it took isn't compared."""
    path = traced(tmp_path / "r")
    record = Record.of(path, None)
    for changed, named in (
        (None, []),
        ("density_5", ["density_5"]),
        ("products", ["hessian_products"]),
    ):
        writer = ComparingWriter(record, path, 0, None)
        for first in range(0, 30, 5):
            writer.steps(first, rows(30)[first : first + 5], FIRST_STEP_COLUMNS)
            spent = 5 if changed == "products" and first == 10 else 4
            writer.reading(
                ProbeReading(first, "sharpness", {"sharpness": 2.0 + first}, "raw", 9.0, spent)
            )
            if first % 10 == 0:
                density = (DENSITY + first).ravel()
                if changed == "density_5" and first == 10:
                    density[4] += 1e-9
                values = {"hessian_trace": float(first), "density": density.reshape(2, 3)}
                writer.reading(ProbeReading(first, "trace", values, "raw", 9.0, 20))
            writer.flush()
        writer.end()
        assert [difference.what for difference in writer.differences] == named
        assert [difference.step for difference in writer.differences] == [10] * len(named)
        assert writer.measured == 6
        assert writer.exact == (changed is None)


def test_a_reading_that_doesnt_come_again_is_told(tmp_path):
    record = Record.of(traced(tmp_path / "r"), None)
    writer = ComparingWriter(record, tmp_path / "r", 0, None)
    writer.end()
    assert [difference.what for difference in writer.differences] == ["measured"]


# --- transactions ----------------------------------------------------------------------------------


def test_a_measured_step_is_one_transaction_and_its_row_is_there_before_its_reading(
    tmp_path, monkeypatch
):
    """Counted by SQLite's own trace; a viewer looks in while each measurement is made."""
    monkeypatch.setattr(recorder, "FLUSH_EVERY", math.inf)
    config = toy_config("two-layer-scalar", eta=0.1, steps=40, cadence=1)
    commits, seen = [], []
    begin = RunWriter._begin

    def traced_begin(self, facts):
        begin(self, facts)
        self._database.set_trace_callback(
            lambda statement: commits.append(statement) if statement == "COMMIT" else None
        )

    reading = RunWriter.reading

    def looked_at(self, measured_now):
        reader = RunReader(self.path)
        news = Poller(reader).poll()
        reader.close()
        measured = [each.steps[-1] for each in news.readings.values()]
        step = measured_now.step
        seen.append((len(news.steps) - 1 - step, max(measured, default=-1) < step))
        reading(self, measured_now)

    monkeypatch.setattr(RunWriter, "_begin", traced_begin)
    monkeypatch.setattr(RunWriter, "reading", looked_at)
    run, status = train(tmp_path, config)
    assert status == "finished"
    assert run.measured["step"].tolist() == list(range(41))
    assert {*seen} == {(0, True)}
    assert len(commits) <= 41 + 4  # the start, the newest reading, the end
