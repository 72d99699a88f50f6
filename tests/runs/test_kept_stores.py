"""Runs of every format written so far: all that can be done with a run is done with each of them."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sqlite3

import numpy as np
import pytest
import torch
from engines import entry, here, small
from formats import LAST, STORES, as_format, kept
from shown import on_screen, settled
from typer.testing import CliRunner

import eostui
from eostui.cli.app import app
from eostui.engine.recorder import Recorder
from eostui.errors import RunFormatError
from eostui.runs.analysis.phases import PHASES, TRANSIENT
from eostui.runs.analysis.run_phases import spans
from eostui.runs.launch import Fork, Resume
from eostui.runs.repair.check import check_run
from eostui.runs.repair.rebuild import repair_run
from eostui.runs.run import Run
from eostui.runs.save_preset import steered_config
from eostui.runs.store import checkpoints, schema
from eostui.runs.store.columns import (
    ARRIVALS,
    FIRST_STEP_COLUMNS,
    FROM_ARRIVALS,
    STORED_STEP_COLUMNS,
    stored_columns,
)
from eostui.runs.store.own_columns import step_columns_of
from eostui.runs.store.reader import RunReader
from eostui.runs.store.rows import in_columns
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")

#: Every format, as the program of its time wrote it.
FORMATS = range(1, schema.SCHEMA_VERSION + 1)


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    """A run of this version: a network, steered, calibrated, with checkpoints."""
    folder = tmp_path_factory.mktemp("new")
    script = {20: [("set", {"weight_decay": 0.01}), ("calibrate", {})], 30: [("checkpoint", {})]}
    return here(small(steps=40), folder, script)


@pytest.fixture(params=[*FORMATS, "network-4", "network-5"])
def old(request, new, tmp_path):
    """A store that is kept, or a new one of a network turned into an older format with checkpoints."""
    if request.param in FORMATS:
        return kept(tmp_path, request.param)
    path = tmp_path / "r"
    shutil.copytree(new, path)
    as_format(path, int(request.param[-1]))
    return path


@pytest.fixture(params=FORMATS)
def store(request, tmp_path):
    """A store that is kept, alone in a folder of runs."""
    return kept(tmp_path, request.param)


def version_of(path):
    reader = RunReader(path)
    reader.close()
    return reader.version


def stored(path):
    with sqlite3.connect(path / "run.db") as database:
        blobs = [row[0] for row in database.execute("SELECT matrix FROM steps ORDER BY id")]
    return b"".join(blobs)


def assert_sound(path):
    unsound = [finding for finding in check_run(path) if not finding.sound]
    assert not unsound, unsound


def cli(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, (arguments, done.output, done.exception)
    return done.stdout


def assert_replays(path):
    """The same to the bit, or, what another version measured, within its tolerance."""
    told = json.loads(cli("replay", path, "--json"))
    assert told["differences"] == []
    assert told["identical"] or told["recorded_by"] != told["repeated_by"]


def test_theta_at_any_step(old):
    """From its checkpoints and repeated: ‖θ‖ and L are those on record."""
    run = eostui.open_run(old)
    problem = run.problem()
    assert torch.equal(run.theta(0), problem.initial)
    for step in (run.last_step // 3, run.last_step // 2, run.last_step):
        theta = run.theta(step)
        assert float(theta.double().norm()) == pytest.approx(run["theta_norm"][step], rel=1e-12)
        assert float(problem.loss(theta)) == pytest.approx(run["loss"][step], rel=1e-6)


def after_transient(span):
    """What the first steps may turn out to be, dated to the same step, once there are enough."""
    return PHASES if span.phase is TRANSIENT else ()


def number(text):
    return float(text) if text else math.nan


def test_there_is_one_of_every_format():
    assert {path.name for path in STORES.iterdir() if path.is_dir()} == {
        f"format-{version}" for version in FORMATS
    }
    for version in FORMATS:
        with sqlite3.connect(
            f"file:{STORES}/format-{version}/run.db?immutable=1", uri=True
        ) as database:
            assert database.execute("PRAGMA user_version").fetchone() == (version,)
    assert sum(file.stat().st_size for file in STORES.rglob("*") if file.is_file()) < 1_000_000


def test_it_is_exported_as_by_the_program_that_wrote_it(store):
    """Every number to the bit; what that program had no value of may be left out."""
    version = version_of(store)
    with (STORES / f"format-{version}.csv").open(encoding="utf-8", newline="") as file:
        before = list(csv.DictReader(file))
    table = list(csv.DictReader(cli("export", store, "-o", "-").splitlines()))
    assert len(table) == len(before) == LAST + 1
    for name in before[0]:
        expected = np.array([number(row[name]) for row in before])
        if name in table[0]:
            np.testing.assert_array_equal([number(row[name]) for row in table], expected, name)
        else:
            assert np.isnan(expected).all(), name
    assert sum(bool(row["sharpness"]) for row in table) == 13


def test_it_is_listed_found_and_shown(store):
    (listed,) = json.loads(cli("runs", "list", "--runs-dir", store.parent, "--json"))
    assert listed["id"] == store.name
    assert listed["last_step"] == LAST
    shown = json.loads(cli("runs", "show", "kept", "--runs-dir", store.parent, "--json"))
    assert shown["sentence"] == "finished after 60 steps"
    assert (shown["eta"], shown["weight_decay"]) == (0.25, 0.001)
    assert shown["control_events"] == 1
    assert len(shown["predictions"]) == (1 if version_of(store) >= 3 else 0)
    assert shown["checkpoints"] == (2 if version_of(store) >= 4 else 0)
    for words in (["runs", "list"], ["runs", "show", "kept"], ["runs", "check", "kept"]):
        cli(*words, "--runs-dir", store.parent)
    with Run(store) as run:
        assert (run.landscape is not None) == (version_of(store) == 2)
        assert len(run.coordinates) == (0 if version_of(store) == 1 else 2)
        config = steered_config(run, "again")
        assert [(change.step, change.values()) for change in config.controls] == [
            (40, {"eta": 0.25})
        ]


def test_a_viewer_shows_it_on_every_screen(store):
    async def check(app, pilot):
        for _ in range(3):
            assert "kept" in app.export_screenshot()
            await pilot.press("tab")
            await settled(pilot)

    on_screen(store, check)


def test_without_its_checkpoints_it_is_resumed_from_its_rows(store):
    cli("runs", "prune", "--checkpoints", "--runs-dir", store.parent, "--yes")
    assert not checkpoints.files(store)
    with Run(store) as run:
        before = run.columns()
    here(Resume(entry(store), LAST + 5), store.parent)
    with Run(store) as run:
        (continued,) = (event for event in run.events if event.kind == "continued")
        assert continued.payload["steps"] == LAST + 1
        elsewhere = continued.payload["elsewhere"].keys() & {"torch", "device_name"}
        identical = continued.payload["identical"]
        assert identical or elsewhere or version_of(store) < 5  # S by another eigensolver
        assert run.last_step == LAST + 5
        for name in ("loss", "theta_norm", "eta"):
            np.testing.assert_array_equal(run.columns()[name][: LAST + 1], before[name])
    assert_sound(store)


def test_it_is_deleted(store):
    cli("runs", "delete", store, "--yes")
    assert not store.exists()


def test_it_opens_is_exported_and_drawn(old):
    assert_sound(old)
    table = cli("export", old, "-o", "-").splitlines()
    with Run(old) as run:
        has_cosines = version_of(old) >= 5
        assert ("step_cosine" in table[0].split(",")) == has_cosines
        assert "path_curvature" in table[0].split(",")
        assert len(table) == 1 + len(run.steps)
        assert np.isnan(run.steps["step_cosine"][:-2]).all() != has_cosines
    cli("plot", old, "--width", "80", "--height", "30")
    cli("runs", "show", old, "--json")
    assert_replays(old)


def test_it_is_gone_on_with_in_its_own_columns(old):
    version, before = version_of(old), stored(old)
    with Run(old) as run:
        told, last = spans(run), run.last_step
        columns = {name: values.copy() for name, values in run.columns().items()}
    cli("runs", "rename", old, "renamed")
    here(Resume(entry(old), last + 30), old.parent)
    assert_sound(old)
    assert version_of(old) == version
    assert stored(old).startswith(before)
    reader = RunReader(old)
    assert ("arrival_cosine" in reader.step_columns) == (version >= 5)
    reader.close()
    with Run(old) as run:
        assert run.last_step == last + 30
        assert run.facts["name"] == "renamed"
        assert np.isfinite(run.steps["path_curvature"][:-1]).all()
        for name, values in columns.items():
            known = np.isfinite(values)
            np.testing.assert_array_equal(run.columns()[name][: last + 1][known], values[known])
        (continued,) = (e.payload for e in run.events if e.kind == "continued")
        # without a checkpoint all is repeated, and S was measured by another eigensolver
        assert continued["identical"] or version < 4
        assert spans(run)[: len(told) - 1] == told[:-1]  # the recorded phases stay
        assert spans(run)[len(told) - 1].first == told[-1].first
        assert spans(run)[len(told) - 1].phase in (told[-1].phase, *after_transient(told[-1]))
    here(Resume(entry(old), last + 40), old.parent)  # and once more
    assert_sound(old)
    assert_replays(old)


@pytest.mark.parametrize("at", [35, None])
def test_a_fork_of_it_is_a_new_run(old, at):
    with Run(old) as run:
        at = run.last_step + 1 if at is None else at
        before = {name: values[:at].copy() for name, values in run.columns().items()}
        told = [span for span in spans(run) if span.first < at]
        had_cosines = "step_cosine" in before
    fork = here(Fork(entry(old), at, {"steps": at + 20}), old.parent)
    assert_sound(fork)
    assert version_of(fork) == schema.SCHEMA_VERSION
    with Run(fork) as run:
        cosine = run.steps["step_cosine"]
        assert len(cosine) == at + 21
        if not had_cosines:  # its parent's rows have none
            assert np.isnan(cosine[: at - 1]).all()
        assert np.isfinite(cosine[at:-1]).all()
        assert np.isfinite(run.steps["step_norm"][at:-1]).all()
        known_later = {
            "loss_step", "loss_step_regularized", "descent_bound", *ARRIVALS, *FROM_ARRIVALS
        }  # fmt: skip
        for name in before.keys() - known_later:
            np.testing.assert_array_equal(run.columns()[name][:at], before[name], name)
        assert spans(run)[: len(told) - 1] == told[:-1]
        assert [each.first for each in spans(run)][: len(told)] == [each.first for each in told]
    assert json.loads(cli("replay", fork, "--json"))["identical"]


def test_it_is_repaired_as_a_new_one_with_its_columns(old):
    with Run(old) as run:
        before = run.columns()
    repaired = repair_run(old)
    assert repaired.lost == []
    assert_sound(repaired.path)
    with Run(repaired.path) as run:
        for name in before.keys() & run.columns().keys():
            np.testing.assert_array_equal(run.columns()[name], before[name], name)
    here(Resume(entry(repaired.path), run.last_step + 5), old.parent)
    assert_sound(repaired.path)


def test_a_measured_column_that_a_run_has_no_place_for_is_left_out(tmp_path):
    """As when a version that measures more goes on with it."""
    path = kept(tmp_path, 2)
    with sqlite3.connect(path / "run.db") as database:
        names = [row[1] for row in database.execute("PRAGMA table_info(measurements)")]
    writer = RunWriter(path)
    writer.steps(LAST + 1, np.ones((1, 8)))
    writer.measurement(LAST + 1, {"sharpness": 3.0, "g_perp": 4.0})
    writer.close()
    with Run(path) as run:
        assert run.measured["sharpness"][-1] == 3.0
        assert np.isnan(run.measured["g_perp"]).all()
    assert "sharpness" in names
    assert "g_perp" not in names


def test_a_store_with_a_measured_column_that_nobody_writes_is_not_gone_on_with(tmp_path):
    path = kept(tmp_path, 4)
    with sqlite3.connect(path / "run.db") as database:
        database.execute("ALTER TABLE measurements RENAME COLUMN g_perp TO nonsense")
    before = (path / "run.db").read_bytes()
    with pytest.raises(RunFormatError, match="measured columns"):
        RunWriter(path)
    assert (path / "run.db").read_bytes() == before
    assert not (path / "reserve").exists()


def test_a_checkpoint_without_the_cosine_lacks_it_for_one_step(tmp_path):
    """A new run whose checkpoint is an older version's: the parent of an older run's fork, say."""
    path = kept(tmp_path, 4)
    fork = here(Fork(entry(path), 30, {"steps": 50}), tmp_path)
    plain = checkpoints.read(checkpoints.files(path)[0].path).plain
    assert "trainer.cosine" not in plain
    with Run(fork) as run:
        assert np.isnan(run.steps["step_cosine"][29])
        assert np.isfinite(run.steps["step_cosine"][30:-1]).all()


def test_columns_are_those_that_a_run_states():
    assert step_columns_of({}) == FIRST_STEP_COLUMNS
    for parameters in (1, 2, 3):
        names = stored_columns(parameters)
        assert step_columns_of({"step_columns": json.dumps(names)}) == names
    older = [*FIRST_STEP_COLUMNS, "theta_1", "theta_2"]
    assert step_columns_of({"step_columns": json.dumps(older)}) == tuple(older)


@pytest.mark.parametrize(
    "names",
    [
        [*reversed(FIRST_STEP_COLUMNS)],
        [*FIRST_STEP_COLUMNS, "arrival_cosine"],
        [*STORED_STEP_COLUMNS, "loss"],
        [*STORED_STEP_COLUMNS, "step_cosine"],
        [*STORED_STEP_COLUMNS[1:]],
        [*STORED_STEP_COLUMNS, 3],
        [*STORED_STEP_COLUMNS, ["theta_1"]],
        {"loss": 1},
    ],
)
def test_columns_that_no_engine_writes(names):
    with pytest.raises(ValueError, match="any that an engine writes"):
        step_columns_of({"step_columns": json.dumps(names)})


def test_in_columns():
    matrix = np.arange(6.0).reshape(2, 3)
    placed = in_columns(matrix, ("a", "b", "c"), ("c", "d", "a"))
    np.testing.assert_array_equal(placed, [[2, math.nan, 0], [5, math.nan, 3]])
    assert in_columns(matrix, ("a", "b", "c"), ("a", "b", "c")) is matrix
    with pytest.raises(ValueError, match="3 columns, not 2"):
        in_columns(matrix, ("a", "b"), ("a",))


def test_the_recorders_rows_are_those_of_the_columns():
    """What is stacked on the device comes under its own name."""
    taken = []

    class Taker:
        def steps(self, _first, matrix, names):
            taken.append(dict(zip(names, matrix.T, strict=True)))

        def event(self, *_event):
            pass

        def flush(self):
            pass

    recorder = Recorder(Taker(), torch.zeros(2, dtype=torch.float64), 2)
    scalars = [torch.tensor(float(value)) for value in range(1, 7)]
    recorder.write(recorder.place, *scalars, [torch.tensor(8.0), torch.tensor(9.0)])
    recorder.took({"eta": 0.5, "weight_decay": 0.25})
    recorder.flush()
    assert taken == [
        {
            "loss": 1, "theta_norm": 2, "decayed_norm": 3, "arrival_curvature": 4, "arrival_cosine": 5,
            "arrival_norm": 6,
            "eta": 0.5, "weight_decay": 0.25, "theta_1": 8, "theta_2": 9,
        }
    ]  # fmt: skip
