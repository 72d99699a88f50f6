"""Exports, read back by other programs' readers: csv, json, pandas, pyarrow, TensorBoard."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from functools import partial
from pathlib import Path

import numpy as np
import pandas
import pytest
from engines import here, small
from hypothesis import given, settings
from hypothesis import strategies as st
from random_runs import facts_of, rows, written
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.runs.export import (
    RunTable,
    export_columns,
    export_files,
    format_of,
    write_columns,
    write_stream,
)
from eostui.runs.export.text import write_json_lines
from eostui.runs.run import Run
from eostui.runs.store.columns import DERIVED, EVERY_STEP, FIRST_STEP_COLUMNS, MEASURED, exported
from eostui.runs.store.rows import Event
from eostui.runs.store.writer import RunWriter


@pytest.fixture
def one(tmp_path):
    matrix = rows(200, seed=3)
    matrix[7, 0] = 0.1 + 0.2  # 0.30000000000000004
    matrix[8, 0] = 5e-324
    matrix[9, 0] = 1.7976931348623157e308
    measured = [
        (step, {"sharpness": 1 / (step + 3), "beta": 3.0, "beta_alpha": 1.0, "g": 0.1 * step,
                "hessian_products": 17.0})
        for step in range(0, 200, 25)
    ]  # fmt: skip
    return Run(written(tmp_path / "one-aaaa", matrix, measured, name="mine", note="a note"))


@pytest.fixture
def two(tmp_path, one):
    """And a run with θ itself, a third eigenvalue, and fewer rows."""
    matrix = np.concatenate((rows(30, seed=5), np.arange(60.0).reshape(30, 2)), axis=1)
    columns = ("loss", "theta_norm", "decayed_norm", "arrival_curvature", "eta", "weight_decay",
               "theta_1", "theta_2")  # fmt: skip
    other = written(tmp_path / "two-bbbb", matrix, [(5, {"sharpness": 2.5, "eig_3": 0.5})],
                    step_columns=json.dumps(columns))  # fmt: skip
    return [one, Run(other)]


# --- numbers ---------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.lists(st.floats(width=64), min_size=1, max_size=40))
def test_any_number_reads_back_as_the_same_float64(values):
    """Alone and among others; JSON has no infinities, so there they are null, as NaN is."""
    columns = {"x": np.array(values), "y": np.array(values[::-1])}
    stream = io.StringIO()
    assert write_columns(columns, stream) == len(values)
    cells = [line.split(",") for line in stream.getvalue().splitlines()[1:]]
    for column, read in zip(columns.values(), zip(*cells, strict=True), strict=True):
        assert [float(cell or "nan").hex() for cell in read] == [v.hex() for v in column.tolist()]
    stream = io.StringIO()
    assert write_json_lines([columns], stream) == len(values)
    for line, *wanted in zip(stream.getvalue().splitlines(), *columns.values(), strict=True):
        found = [math.nan if v is None else float(v) for v in json.loads(line).values()]
        expected = [v if math.isfinite(v) else math.nan for v in map(float, wanted)]
        assert [v.hex() for v in found] == [v.hex() for v in expected]


def test_numbers_of_every_kind_are_written_as_short_as_can_be():
    """Random bits, few digits, neighbours of powers of two and ten, halfway digits, whole numbers."""
    rng = np.random.default_rng(0)
    tens = np.array([float(f"1e{k}") for k in range(-323, 309)])
    twos = 2.0 ** np.arange(-1074, 1024)
    values = np.concatenate([
        rng.integers(0, 2**64 - 1, 40_000, dtype=np.uint64).view(np.float64),
        rng.lognormal(0, 20, 40_000) * rng.choice([-1, 1], 40_000),
        rng.integers(-(10**6), 10**6, 20_000) * 1e-3, np.round(rng.normal(size=20_000), 3),
        np.arange(20_000) * 0.15, np.arange(20_000) / 8, rng.integers(2**52, 2**60, 20_000) * 1.0,
        *(np.nextafter(each, towards) for each in (tens, twos) for towards in (0, np.inf)),
        tens, twos, np.array([0.0, -0.0, 5e-324]),
    ])  # fmt: skip
    values = values[np.isfinite(values)]
    stream = io.StringIO()
    write_columns({"x": values}, stream)
    cells = stream.getvalue().splitlines()[1:]
    assert [float(cell).hex() for cell in cells] == [value.hex() for value in values.tolist()]
    digits = [Decimal(cell).normalize().as_tuple().digits for cell in cells]
    assert digits == [Decimal(repr(v)).normalize().as_tuple().digits for v in values.tolist()]


def test_whole_numbers_have_no_point():
    counts = np.array([3.0, math.nan, 2.0**53, -7.0])
    stream = io.StringIO()
    write_columns({"hessian_products": counts}, stream)
    assert stream.getvalue() == "hessian_products\n3\n\n9007199254740992\n-7\n"
    stream = io.StringIO()
    write_json_lines([{"step": counts}], stream)
    assert [json.loads(line)["step"] for line in stream.getvalue().splitlines()] == [
        3, None, 2**53, -7,
    ]  # fmt: skip


# --- tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("measured_only", [False, True])
def test_csv_reads_back_as_the_same_float64(one, measured_only):
    """Every number exactly, every unknown one an empty cell, whole numbers without a point."""
    stream = io.StringIO()
    count = write_stream(RunTable(one, measured_only=measured_only), stream)
    lines = list(csv.reader(io.StringIO(stream.getvalue())))
    table = one.columns(measured_only=measured_only)
    told = {"g_critical"}  # optional, and known here
    names = [
        column.name
        for column in exported(FIRST_STEP_COLUMNS)
        if not column.optional or column.name in told
    ]
    assert lines[0] == list(table) == names
    assert count == len(lines) - 1 == (8 if measured_only else 200)
    for name, cells in zip(lines[0], zip(*lines[1:], strict=True), strict=True):
        back = np.array([float(cell) if cell else np.nan for cell in cells])
        np.testing.assert_array_equal(back, table[name], err_msg=name)
        assert "nan" not in cells
    products = [row[lines[0].index("hessian_products")] for row in lines[1:]]
    assert set(products) - {""} == {"17"}
    assert [row[0] for row in lines[1:3]] == (["0", "25"] if measured_only else ["0", "1"])
    last = dict(zip(lines[0], lines[-1], strict=True))
    if not measured_only:
        assert last["loss_step"] == last["path_curvature"] == ""


def test_a_table_longer_than_its_blocks(tmp_path):
    """Rows beyond the first blocks are written too, once each, in order; part of a run by its rows."""
    matrix = rows(20_003)
    measured = [(n, {"sharpness": 2.5 + n, "beta": 1.0}) for n in (0, 8191, 8192, 15_000, 20_002)]
    run = Run(written(tmp_path / "r", matrix, measured))
    stream = io.StringIO()
    assert write_stream(RunTable(run), stream) == 20_003
    lines = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [int(line["step"]) for line in lines] == list(range(20_003))
    np.testing.assert_array_equal([float(line["loss"]) for line in lines], matrix[:, 0])
    found = {i: float(line["sharpness"]) for i, line in enumerate(lines) if line["sharpness"]}
    assert found == {n: 2.5 + n for n, _ in measured}
    part = run.columns(rows=slice(8190, 8195))
    np.testing.assert_array_equal(part["sharpness"], [np.nan, 8193.5, 8194.5, np.nan, np.nan])
    assert len(run.columns(rows=slice(30_000, 40_000))["loss"]) == 0


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_a_run_without_rows(tmp_path, format):
    """Column names alone, or nothing: readers get an empty table."""
    run = Run(written(tmp_path / "r", rows(0)))
    target = tmp_path / f"out.{format}"
    assert export_files(run, target, format=format)[1] == 0
    if format == "jsonl":
        assert target.read_text() == ""
    else:
        read = {
            "csv": lambda path: pandas.read_csv(path, float_precision="round_trip"),
            "parquet": pandas.read_parquet,
        }[format]
        assert len(read(target)) == 0
        assert "loss" in read(target).columns


@pytest.mark.parametrize("order", ["first", "last", "alone"])
def test_a_run_without_rows_among_others(tmp_path, order):
    """It adds nothing to their table, whose header stands once, wherever it comes."""
    empty = [Run(written(tmp_path / f"empty-{letter}", rows(0, seed=1), [])) for letter in "ab"]
    full = Run(written(tmp_path / "full-aaaa", rows(30, seed=1), []))
    runs = {"first": [*empty, full], "last": [full, *empty], "alone": empty}[order]
    stream = io.StringIO()
    count = write_stream(RunTable(runs), stream)
    table = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert len(table) == count == (0 if order == "alone" else 30)
    assert {row["run"] for row in table} <= {"full-aaaa"}
    assert stream.getvalue().startswith("run,name,")


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_pandas_reads_every_table(one, two, tmp_path, format):
    """One run and several: the same numbers, the run's id first, unions in order."""
    read = {
        "csv": lambda path: pandas.read_csv(path, float_precision="round_trip"),
        "jsonl": lambda path: pandas.read_json(path, lines=True, engine="pyarrow"),
        "parquet": pandas.read_parquet,
    }[format]
    target = tmp_path / f"out.{format}"
    export_files(one, target, format=format)
    # pyarrow reads JSON's numbers in a hurry; to the last bit they are read by other tests
    exact = {"rtol": 1e-14, "atol": 1e-300} if format == "jsonl" else {"rtol": 0, "atol": 0}
    frame = read(target).astype(float)
    pandas.testing.assert_frame_equal(frame, one.frame().astype(float), **exact)

    export_files(two, target, format=format)
    frame = read(target)
    assert list(frame)[:4] == ["run", "name", "run_weight_decay", "step"]
    assert list(frame)[-2:] == ["theta_1", "theta_2"]
    assert frame["run"].tolist() == ["one-aaaa"] * 200 + ["two-bbbb"] * 30
    for run in two:
        own = frame[frame["run"] == run.path.name].reset_index(drop=True)
        whole_table = run.columns()
        assert own["run_weight_decay"].unique() == run.steps["weight_decay"][-1]
        for name in frame.columns[3:]:
            wanted = whole_table.get(name, np.full(len(own), np.nan))
            np.testing.assert_allclose(own[name].astype(float), wanted, **exact, err_msg=name)


def test_json_lines_are_json_to_the_last_bit(one):
    """Each line an object with every column, null where it isn't known or JSON can't say it."""
    stream = io.StringIO()
    write_stream(RunTable([one]), stream, "jsonl")
    lines = [
        json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines()
    ]
    table = one.columns()
    assert [list(line) for line in lines] == [["run", "name", *table]] * 200
    for name, values in table.items():
        wanted = [value if math.isfinite(value) else None for value in values.tolist()]
        assert [line[name] for line in lines] == wanted
    assert all(type(line["step"]) is int and line["run"] == "one-aaaa" for line in lines)


def test_an_infinite_loss(tmp_path):
    """CSV says it, JSON can't."""
    matrix = rows(3)
    matrix[2, 0] = np.inf
    run = Run(written(tmp_path / "r", matrix))
    texts = {}
    for format in ("csv", "jsonl"):
        stream = io.StringIO()
        write_stream(RunTable(run), stream, format)
        texts[format] = stream.getvalue()
    assert [row["loss"] for row in csv.DictReader(io.StringIO(texts["csv"]))][2] == "inf"
    assert json.loads(texts["jsonl"].splitlines()[2])["loss"] is None


def test_npz_has_every_column_and_arrays_in_their_shape(tmp_path):
    path = here(small(steps=20, probes=("tracked_eigenvalues",), eigenvalues=2), tmp_path)
    with Run(path) as run:
        sidecar, rows = export_files(run, tmp_path / "out.npz", format="npz")
        table, (names, shape) = run.columns(), run.arrays()["tracked"]
        measured = run.measured["step"].astype(int), run.measured["tracked"]
    assert sidecar == tmp_path / "out.json"
    with np.load(tmp_path / "out.npz", allow_pickle=False) as read:
        flat = {*names, *(f"tracked_overlap_{name[8:]}" for name in names)}
        assert {*read} == (table.keys() - flat) | {"tracked", "tracked_overlap"}
        assert read["step"].dtype == np.int64
        for name in table.keys() - flat:
            np.testing.assert_array_equal(read[name], table[name], name)
        assert read["tracked"].shape == (rows, *shape)
        np.testing.assert_array_equal(read["tracked"][measured[0]], measured[1])
        assert np.isfinite(read["tracked"]).sum() == np.isfinite(measured[1]).sum() > 0
    first = (tmp_path / "out.npz").read_bytes()
    with Run(path) as run:
        export_files(run, tmp_path / "out.npz", format="npz")
    assert (tmp_path / "out.npz").read_bytes() == first


def test_npz_of_several_runs_tells_them_apart(family, tmp_path):
    export_files(family, tmp_path / "out.npz", format="npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as read:
        ids = ["test-aaaa", "test-bbbb", "test-cccc", "toy-dddd"]
        assert read["run"].tolist() == [each for each in ids for _ in range(3)]
        assert {len(read[name]) for name in read} == {12}
        assert read["network"].dtype.kind == "U"
        assert "nan" not in read["network"]


def test_parquet_explains_itself(two, tmp_path):
    """Whole numbers as such, unknown ones null, units in the schema, the sidecar's text in the file."""
    from pyarrow import parquet

    sidecar, _ = export_files(two, tmp_path / "out.parquet", format="parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("step").type) == "int64"
    assert table.schema.field("sharpness").metadata[b"unit"] == "L/θ²".encode()
    assert table["sharpness"].null_count == 230 - 9
    told = json.loads(table.schema.metadata[b"eostui"])
    assert told == json.loads(sidecar.read_text())
    assert [run["run"]["name"] for run in told["runs"]] == ["mine", ""]
    assert list(told["columns"]) == table.column_names


def test_tensorboard_reads_the_event_files(two, tmp_path):
    """One folder a run, tags are columns, single precision, nothing where nothing is known."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = tmp_path / "logs"
    for _ in range(2):  # the second time in place of the first
        assert export_files(two, logs, format="tensorboard") == (None, 230)
    decay = two[1].steps["weight_decay"][-1]
    names = ["mine", f"weight_decay-{decay:g}-bbbb"]
    assert sorted(path.name for path in logs.iterdir()) == names
    for run, name in zip(two, names, strict=True):
        reader = EventAccumulator(str(logs / name), size_guidance={"scalars": 0})
        reader.Reload()
        table = run.columns()
        tags = {n for n, v in table.items() if not np.isnan(v).all()} - {"step"}
        assert set(reader.Tags()["scalars"]) == tags
        for tag in tags:
            known = ~np.isnan(table[tag])
            events = reader.Scalars(tag)
            assert [event.step for event in events] == table["step"][known].astype(int).tolist()
            with np.errstate(over="ignore"):
                wanted = table[tag][known].astype(np.float32)
            np.testing.assert_array_equal(np.float32([event.value for event in events]), wanted)


def test_tensorboard_wall_time_is_the_runs(tmp_path):
    """It goes with the step between two events, and never back."""
    from eostui.runs.export.tensorboard import wall_times

    path = written(tmp_path / "r", rows(101), created="1000.0")
    writer = RunWriter(path)
    for step, when in ((0, 1010.0), (50, 1020.0), (60, 900.0), (100, 1040.0)):
        writer.past_event(Event(step, when, "note", {}))
    writer.close()
    times = np.interp([0, 25, 60, 80, 100], *wall_times(Run(path)))
    np.testing.assert_allclose(times, [1010, 1015, 1020, 1030, 1040])


def test_tensorboard_does_not_replace_what_is_not_its_own(one, tmp_path):
    (tmp_path / "logs" / "mine").mkdir(parents=True)
    (tmp_path / "logs" / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match=r"thesis\.tex"):
        export_files(one, tmp_path / "logs", format="tensorboard")
    assert os.listdir(tmp_path / "logs" / "mine") == ["thesis.tex"]


# --- files -----------------------------------------------------------------------------------------


def test_sidecar_describes_every_column_and_the_run(one, tmp_path):
    """Unit and meaning of each column, the config, the facts, the events; nothing left aside."""
    sidecar, count = export_files(one, tmp_path / "out.csv")
    assert (sidecar, count) == (tmp_path / "out.json", 200)
    content = json.loads(sidecar.read_text())
    header = (tmp_path / "out.csv").read_text().partition("\n")[0].split(",")
    assert list(content["columns"]) == header
    for name, column in content["columns"].items():
        assert column["unit"], name
        assert column["description"], name
    assert RunConfig.build(content["config"], "sidecar") == one.config
    assert content["run"]["name"] == "mine"
    assert content["run"]["note"] == "a note"
    assert content["run"]["status"] == "finished"
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["out.csv", "out.json"]


def test_sidecar_has_the_events(tmp_path):
    """With their step, time, kind and content."""
    writer = RunWriter(tmp_path / "r", facts_of())
    writer.steps(0, rows(3))
    writer.event(1, "control", {"eta": [0.1, 0.2]})
    writer.close()
    (event,) = RunTable(Run(tmp_path / "r")).describe()["events"]
    assert event["step"] == 1
    assert event["kind"] == "control"
    assert event["payload"] == {"eta": [0.1, 0.2]}
    assert abs(event["unix_time"] - time.time()) < 60


def test_export_that_cannot_be_written(one, tmp_path):
    """No such folder; a target whose sidecar would overwrite it; a device; a run named twice."""
    with pytest.raises(InputError, match="can't be written"):
        export_files(one, tmp_path / "none" / "out.csv")
    with pytest.raises(InputError, match=r"name the CSV file \.csv"):
        export_files(one, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match="isn't a file"):
        export_files(one, tmp_path / "folder.csv")
    with pytest.raises(InputError, match="two runs one-aaaa"):
        export_files([one, one], tmp_path / "out.csv")


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "npz", "tensorboard"])
def test_a_failed_export_leaves_what_was_there(one, tmp_path, format):
    """The disk fills in mid-file: a sentence, the file before it whole, nothing left aside."""
    target = tmp_path / "x" / f"out.{format}"
    target.parent.mkdir()
    export_files(one, target, format=format)
    before = {p: p.read_bytes() for p in target.parent.rglob("*") if p.is_file()}

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match="No space left on device"):
        export_files(one, target, format=format, progress=fail)
    assert {p: p.read_bytes() for p in target.parent.rglob("*") if p.is_file()} == before


def test_an_interrupted_export_leaves_nothing(one, tmp_path):
    """ctrl+c goes through, and takes the half file along."""

    def interrupt(*_):
        raise KeyboardInterrupt

    for format in ("csv", "parquet", "npz", "tensorboard"):
        folder = tmp_path / f"x-{format}"
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt):
            export_files(one, folder / "out", format=format, progress=interrupt)
        assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_link_stays_a_link(one, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "out.csv")
    export_files(one, tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real" / "out.csv").read_text().startswith("step,")


def test_columns_of_texts(tmp_path):
    """As `eostui simulate` writes them; a comma in a text is quoted."""
    columns = {"eta": np.array([0.1, 0.2]), "stage": np.array(["cycle", 'a "b", c'])}
    sidecar, count = export_columns(columns, tmp_path / "t.csv", {"what": "a test"})
    assert count == 2
    assert json.loads(sidecar.read_text()) == {"what": "a test"}
    with (tmp_path / "t.csv").open(newline="") as stream:
        read = list(csv.DictReader(stream))
    assert [row["stage"] for row in read] == ["cycle", 'a "b", c']
    stream = io.StringIO()
    assert write_columns({"eta": np.array([])}, stream) == 0
    assert stream.getvalue() == "eta\n"


@pytest.mark.parametrize(
    ("name", "chosen", "wanted"),
    [
        ("a.csv", None, "csv"), ("a.JSONL", None, "jsonl"), ("a.ndjson", None, "jsonl"),
        ("a.parquet", None, "parquet"), ("a", None, "csv"), ("-", None, "csv"),
        ("a.CSV.gz", None, "csv"), ("a.ndjson.GZ", None, "jsonl"), ("a.gz", "jsonl", "jsonl"),
        (".csv", None, "csv"), ("a.pq", None, "parquet"), ("a.dat", "csv", "csv"), ("a.", None, "csv"),
        ("../x/a", None, "csv"), ("x.y/a", None, "csv"), ("logs/", "tensorboard", "tensorboard"),
        ("a.parquet", "parquet", "parquet"), ("logs", "tensorboard", "tensorboard"),
    ],
)  # fmt: skip
def test_formats_are_guessed_from_the_ending(name, chosen, wanted):
    assert format_of(name, chosen) == wanted


@pytest.mark.parametrize(
    ("name", "chosen", "advice"),
    [
        ("a.zst", None, "end it in .csv or .csv.gz or .jsonl or .jsonl.gz or .parquet"),
        ("a.csv.zst", None, "end it in"), ("a.xz", "csv", "end it in .csv or .csv.gz"),
        ("a.bz2", None, "end it in"), ("a.ZIP", "csv", "end it in"), ("a.xlsx", "csv", "end it in"),
        ("a.json", None, "end it in"), ("a.feather", "parquet", "end it in .parquet"),
        ("a.gz", None, "or say --format"), ("a.parquet.gz", None, "end it in"),
        ("a.gz", "parquet", "end it in .parquet"), ("a.csv.gz", "jsonl", "end it in .jsonl or"),
        ("a.csv", "parquet", "end it in .parquet"), ("a.pq", "csv", "end it in .csv or .csv.gz"),
        ("a.dat", None, "or say --format"), ("my.run", None, "or say --format"),
        ("a.prquet", None, "or say --format"), ("a.csv ", None, "end it in"),
        ("a/", "csv", "end it in"), ("a.csv", "tensorboard", "name a folder"),
    ],
)  # fmt: skip
def test_nothing_is_written_under_the_name_of_something_else(name, chosen, advice):
    with pytest.raises(InputError) as caught:
        format_of(name, chosen)
    assert str(caught.value).startswith(f"{name}: ")
    assert "under such a name: " in str(caught.value)
    assert advice in str(caught.value)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_compressed_text_is_the_same_text(two, tmp_path, ending):
    """Read by gzip and by pandas; the same run gives the same bytes; explained in .json beside it."""
    export_files(two, tmp_path / f"a.{ending}", format=ending)
    sidecar, rows = export_files(two, tmp_path / f"b.{ending}.gz", format=ending)
    export_files(two, tmp_path / f"c.{ending}.GZ", format=ending)
    packed = (tmp_path / f"b.{ending}.gz").read_bytes()
    assert packed[:2] == b"\x1f\x8b"
    assert gzip.decompress(packed) == (tmp_path / f"a.{ending}").read_bytes()
    assert packed == (tmp_path / f"c.{ending}.GZ").read_bytes()
    assert sidecar == tmp_path / "b.json"
    read = pandas.read_csv if ending == "csv" else partial(pandas.read_json, lines=True)
    assert len(read(tmp_path / f"b.{ending}.gz")) == rows


@pytest.mark.usefixtures("one")
def test_the_commands_refuse_such_names_before_they_compute(tmp_path):
    """`export`, `simulate --csv`, `presets save --to`: exit code 2, and no file."""
    before = set(tmp_path.rglob("*"))
    for line in (
        "export -o x.zst", "export -o x.parquet --format csv", "simulate --csv x.jsonl",
        "simulate --csv x.txt --steps 100000000", "simulate --grid g=0:1:3 --csv x.csv.bz2",
        "presets save aaaa p --to x.json",
    ):  # fmt: skip
        words = [str(tmp_path / word) if word.startswith("x.") else word for word in line.split()]
        done = CliRunner().invoke(app, words, env={"EOSTUI_RUNS": str(tmp_path)})
        assert isinstance(done.exception, InputError), line
        assert "end it" in str(done.exception)
    assert set(tmp_path.rglob("*")) == before
    target = str(tmp_path / "o.csv.gz")
    done = CliRunner().invoke(app, ["simulate", "--csv", target, "--steps", "50"])
    assert done.exit_code == 0
    assert len(gzip.decompress(Path(target).read_bytes()).splitlines()) == 52


def test_wrong_formats():
    with pytest.raises(InputError, match="did you mean `parquet`"):
        format_of("x", "parket")


@pytest.mark.parametrize(
    ("format", "module", "extra"),
    [("parquet", "pyarrow", "parquet"), ("tensorboard", "tensorboardX", "tensorboard")],
)
def test_a_missing_extra_is_one_sentence(one, tmp_path, format, module, extra, monkeypatch):
    """With the command that installs it; nothing is left behind."""
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"pip install 'eostui\[{extra}\]'"):
        export_files(one, tmp_path / "out" / "x" if format == "tensorboard" else tmp_path / "x",
                     format=format)  # fmt: skip
    assert [p.name for p in tmp_path.rglob("*") if p.is_file() and p.parent != one.path] == []


def test_every_column_has_a_unit_and_a_meaning_once():
    """The table of columns is complete and without doubles, and its order names only what exists."""
    names = [column.name for column in exported()]
    assert len(set(names)) == len(names)
    assert set(names) == {column.name for column in (*EVERY_STEP, *MEASURED, *DERIVED)}
    for column in exported():
        assert column.unit
        assert column.description


# --- live runs, and the command itself --------------------------------------------------------------


def test_a_live_run_is_exported_as_it_is_at_one_moment(tmp_path):
    """While a writer goes on: every column ends at one step, and what was measured by then is there."""
    path = tmp_path / "live-aaaa"
    writer = RunWriter(path, facts_of(status="running"))
    matrix = rows(200_000)
    begun, stop = threading.Event(), threading.Event()

    def write():  # many flushes: more than a reader takes at once
        for step in range(0, len(matrix), 5):
            writer.steps(step, matrix[step : step + 5])
            writer.measurement(step + 4, {"sharpness": float(step), "beta": 1.0})
            writer.event(step + 4, "phase", {"to": "edge", "step": step + 4})
            writer.flush()
            if step == 5 * 4500:
                begun.set()
            if stop.is_set():
                break

    # SQLite's connection stays with the thread that made it
    writer._database.close()
    import sqlite3

    writer._database = sqlite3.connect(
        path / "run.db", isolation_level=None, check_same_thread=False
    )
    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert begun.wait(60)
        lengths = []
        for _ in range(3):
            with Run(path) as run:
                last = len(run.steps) - 1
                lengths.append(last)
                assert run.measured["step"][-1] == last
                assert run.events[-1].step == last
                np.testing.assert_array_equal(run.steps["loss"], matrix[: last + 1, 0])
        assert lengths[-1] > lengths[0]
    finally:
        stop.set()
        thread.join()
        writer.close()


def eostui(folder, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "eostui", *arguments], cwd=folder, text=True, check=False, timeout=120,
        env={**os.environ, "EOSTUI_RUNS": str(folder)},
        **({"capture_output": True} | options),
    )  # fmt: skip


@pytest.mark.usefixtures("two")
def test_the_command(tmp_path):
    """Several runs into one file, the format by its ending; stdout for text formats alone."""
    done = eostui(tmp_path, "export", "aaaa", "two-bbbb", "-o", "both.jsonl")
    assert (done.returncode, done.stdout) == (0, "")
    assert "230 rows in both.jsonl, columns explained in both.json" in done.stderr
    first = json.loads((tmp_path / "both.jsonl").read_text().partition("\n")[0])
    assert first["run"] == "one-aaaa"
    done = eostui(tmp_path, "export", "mine", "--format", "jsonl", "-o", "-", "--measured-only")
    assert len(done.stdout.splitlines()) == 8
    done = eostui(tmp_path, "export", "mine", "--format", "parquet", "-o", "-")
    assert done.returncode == 2
    assert done.stderr.startswith("eostui: parquet can't be written to stdout")
    done = eostui(tmp_path, "export", "aaaa", "bbbb")
    assert (tmp_path / "runs.csv").read_text().startswith("run,name,run_weight_decay,step,")


@pytest.mark.usefixtures("one")
def test_a_reader_that_has_had_enough(tmp_path):
    """`eostui export -o - | head -1` ends quietly; a full disk behind stdout is a sentence."""
    command = f"{sys.executable} -m eostui export -o - | head -1"
    done = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "EOSTUI_RUNS": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("step,flow_time,loss,")
    assert done.stderr == ""
    with open("/dev/full", "w") as full:
        done = eostui(tmp_path, "export", "-o", "-", capture_output=False, stdout=full,
                      stderr=subprocess.PIPE)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "eostui: stdout can't be written: No space left on device\n"


def test_sigterm_takes_the_half_file_along(tmp_path):
    """And its exit code is 143."""
    written(tmp_path / "r", rows(700_000))
    target = tmp_path / "out" / "out.csv"
    target.parent.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "eostui", "export", str(tmp_path / "r"), "-o", str(target)],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in target.parent.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert os.listdir(target.parent) == []


def test_exports_load_no_torch_unless_asked_to(one, tmp_path):
    """CSV and Parquet come from processes that never load it."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom eostui.runs.export import export_files\n"
        "from eostui.runs.run import Run\n"
        f"run = Run(Path({str(one.path)!r}))\n"
        f"export_files(run, Path({str(tmp_path / 'a.csv')!r}))\n"
        f"export_files(run, Path({str(tmp_path / 'a.parquet')!r}), format='parquet')\n"
        "print({'torch', 'textual'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- what tells several runs apart --------------------------------------------------------------------


def configured(path, steps=3, **settings):
    """A run of random rows with some settings, η and λ at its newest step those of the config."""
    facts = {key: settings.pop(key) for key in ("name", "group", "status") if key in settings}
    config = RunConfig.build({"preset": "test", **settings}, "test")
    matrix = rows(steps, seed=1)
    if steps:
        matrix[-1, 4:6] = config.eta, config.weight_decay
    return Run(written(path, matrix, [(0, {"sharpness": 2.0})], config=config.to_toml(), **facts))


@pytest.fixture
def family(tmp_path):
    """Four runs with numbers, a switch, texts, lists and whole numbers that aren't alike."""
    return [
        configured(tmp_path / "test-aaaa", name="first", seed=1, bias=True, threads=2),
        configured(tmp_path / "test-bbbb", seed=2**62 + 1, bias=False, eta=0.25, group="g, \"1\""),
        configured(tmp_path / "test-cccc", network="cnn", channels=(2, 3), weight_decay=1e-3),
        configured(tmp_path / "toy-dddd", problem="cubic-normal-form", eta=1 / 3),
    ]  # fmt: skip


def test_every_setting_that_differs_is_a_column(family, tmp_path):
    """Once a run, of the kind of its values, empty where it doesn't act; in every format the same."""
    from pyarrow import parquet

    for format in ("csv", "jsonl", "parquet"):
        export_files(family, tmp_path / f"out.{format}", format=format)
    table = parquet.read_table(tmp_path / "out.parquet")
    kinds = {
        "run": "string", "name": "string", "seed": "int64", "bias": "bool", "network": "string",
        "channels": "string", "threads": "string", "run_eta": "double", "run_weight_decay": "double",
        "group": "string", "step": "int64", "eta": "double",
    }  # fmt: skip
    assert {name: str(table.schema.field(name).type) for name in kinds} == kinds
    assert table.column_names.index("step") > max(
        table.column_names.index(name) for name in kinds if name not in ("step", "eta")
    )
    rows_of = [
        dict(zip(table.column_names, row.values(), strict=True)) for row in table.to_pylist()
    ]
    assert len(rows_of) == 12
    wanted = {
        "run": ["test-aaaa", "test-bbbb", "test-cccc", "toy-dddd"], "name": ["first", "", "", ""],
        "seed": [1, 2**62 + 1, 10, 10], "bias": [True, False, True, None],
        "threads": ["2", "auto", "auto", "auto"], "channels": ["[32, 32]", "[32, 32]", "[2, 3]", None],
        "run_eta": [0.15, 0.25, 0.15, 1 / 3], "run_weight_decay": [0.0, 0.0, 1e-3, 0.0],
        "group": ["", 'g, "1"', "", ""],
    }  # fmt: skip
    assert {name: [row[name] for row in rows_of[::3]] for name in wanted} == wanted
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines == rows_of
    with (tmp_path / "out.csv").open(newline="") as stream:
        cells = list(csv.DictReader(stream))
    for row, line in zip(rows_of, cells, strict=True):
        for name in wanted:
            told = line[name] if isinstance(row[name], str) else json.loads(line[name] or "null")
            assert told == row[name], name
    described = json.loads((tmp_path / "out.json").read_text())
    assert list(described["columns"]) == table.column_names
    assert "of all random choices" in described["columns"]["seed"]["description"]
    assert "at its newest step" in described["columns"]["run_eta"]["description"]
    labels = [run["run"]["label"] for run in described["runs"]]
    assert len(set(labels)) == 4
    assert labels[3].startswith("problem cubic-normal-form, ")


def test_a_setting_that_a_column_is_called_like(tmp_path):
    """A probe of a user's own may have a column `width`."""
    named = [configured(tmp_path / f"test-{c}", width=w) for c, w in (("aaaa", 5), ("bbbb", 6))]
    assert "width" in [column.name for column in RunTable(named).columns]
    from eostui.runs.export.table import _labels
    from eostui.runs.family import Family
    from eostui.runs.shelf import read_entry

    family = Family.of(read_entry(run.path) for run in named)
    assert [label.column.name for label in _labels(family, {"width"})] == [
        "run", "name", "run_width",
    ]  # fmt: skip


def test_tensorboards_folders_are_names(tmp_path):
    """Safe ones, each another, where letters fall together too; a run in the same folder again."""
    names = ["λ=0 / a", "λ=0 : a", "実験", "..", "Case", "case", "x" * 300, "", ""]
    runs = [
        configured(tmp_path / f"test-{letter * 4}", name=name, seed=number)
        for number, (letter, name) in enumerate(zip("abcdefghi", names, strict=True))
    ]
    for _ in range(2):
        export_files(runs, tmp_path / "logs", format="tensorboard")
        assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == sorted([
            "0-a-aaaa", "0-a-bbbb", "test-cccc", "test-dddd", "Case-eeee", "case-ffff", "x" * 100,
            "seed-7-hhhh", "seed-8-iiii",
        ])  # fmt: skip
    export_files(runs[4], tmp_path / "one", format="tensorboard")
    assert os.listdir(tmp_path / "one") == ["Case"]


def test_tensorboards_folder_of_another_run_stays(tmp_path):
    """A run of the same name, of another shelf, comes beside it."""
    for shelf in ("aaaa", "bbbb", "aaaa"):
        run = configured(tmp_path / shelf / f"test-{shelf}", name="base") if shelf not in os.listdir(
            tmp_path
        ) else Run(tmp_path / shelf / f"test-{shelf}")  # fmt: skip
        export_files(run, tmp_path / "logs", format="tensorboard")
    assert sorted(os.listdir(tmp_path / "logs")) == ["base", "base-bbbb"]
    (events,) = os.listdir(tmp_path / "logs" / "base")
    assert events.endswith(".test-aaaa")


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "npz", "tensorboard"])
def test_an_export_of_a_live_run_says_so(tmp_path, format):
    """On stderr and in what explains it: live, and at which step; of one that has ended nothing."""
    writer = RunWriter(tmp_path / "test-live", facts_of(status="running"))
    writer.steps(0, rows(7))
    writer.flush()
    configured(tmp_path / "test-done", name="done")
    try:
        done = eostui(tmp_path, "export", "live", "done", "-o", "out", "--format", format)
    finally:
        writer.close()
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == "test-live is live: written as it is at step 6"
    assert "test-done" not in done.stderr
    if format != "tensorboard":
        told = json.loads((tmp_path / "out.json").read_text())["runs"]
        assert [(each["run"]["live"], each["run"]["last_step"]) for each in told] == [
            (True, 6), (False, 2),
        ]  # fmt: skip
        assert told[0]["run"]["status"] == "running"
    if format == "parquet":
        from pyarrow import parquet

        inside = json.loads(parquet.read_schema(tmp_path / "out").metadata[b"eostui"])
        assert inside["runs"] == told


def test_a_run_that_ends_while_it_is_exported_was_live(tmp_path):
    """What was read of it is of a live run, whatever it has become."""
    writer = RunWriter(tmp_path / "test-live", facts_of(status="running"))
    writer.steps(0, rows(7))
    writer.flush()
    with Run(tmp_path / "test-live") as run:
        writer.fact("status", "finished")
        writer.close()
        told = RunTable(run).describe()["run"]
    assert (told["status"], told["live"], told["last_step"]) == ("running", True, 6)


@pytest.mark.usefixtures("family")
def test_the_command_with_a_filter(tmp_path):
    """What it finds, oldest first, after those that are named; always as several runs."""
    done = eostui(tmp_path, "export", "--filter", "preset:test network:cnn", "-o", "-")
    lines = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {line["run"] for line in lines} == {"test-cccc"}
    assert done.stdout.startswith("run,name,step,")
    done = eostui(tmp_path, "export", "dddd", "--filter", "seed>10", "-o", "two.csv")
    with (tmp_path / "two.csv").open(newline="") as stream:
        assert [line["run"] for line in csv.DictReader(stream)][::3] == ["toy-dddd", "test-bbbb"]
    done = eostui(tmp_path, "export", "--filter", "nothing-is-called-so", "-o", "none.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "passes the filter `nothing-is-called-so`" in done.stderr
    assert not (tmp_path / "none.csv").exists()
    done = eostui(tmp_path, "export", "--filter", "sed=3")
    assert done.returncode == 2
    assert "did you mean `seed`" in done.stderr
