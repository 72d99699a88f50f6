"""A summary has a row for each member, whatever became of it, and is written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
import summarised
from made import make_shelf
from made_sweeps import finish, make_sweep
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.runs import shelf
from eostui.runs.analysis.outcome import COLUMNS
from eostui.runs.run import Run
from eostui.runs.shelf import read_entry
from eostui.sweeps.knee import KNEE, TOO_FEW
from eostui.sweeps.plan import Draft
from eostui.sweeps.summary import SummaryReader, summary_of, write
from eostui.sweeps.sweep import Sweep
from eostui.sweeps.trajectories import mean_trajectories
from eostui.sweeps.transition import READINGS, transitions

DECAYS = [0.0, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 8e-3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(scope="module")
def sweep(folder):
    """Seven λ by three seeds; of seed 0 one member drifts, one diverged, one is still waiting."""
    config = RunConfig.build({"preset": "made", "steps": 2000, "eta": 0.1}, "test")
    draft = Draft(config)
    draft.take_list("weight_decay", DECAYS, "test")
    draft.take_list("seed", [0, 1, 2], "test")
    made = Sweep.create(folder, draft.plan("test"), "made-so")
    for member in made.members:
        decay, seed = member.settings["weight_decay"], member.settings["seed"]
        if (decay, seed) == (2e-3, 0):
            continue
        summarised.make(
            member.path, decay, seed, group=made.id,
            drift=-2e-3 * ((decay, seed) == (1e-4, 0)), diverges=(decay, seed) == (8e-3, 0),
        )  # fmt: skip
    return made


def test_a_row_for_each_member_whatever_became_of_it(sweep):
    found = summary_of(sweep)
    assert found.settings == ("weight_decay", "seed")
    assert found.columns[:4] == ("run", "name", "weight_decay", "seed")
    assert [row["run"] for row in found.rows] == [member.path.name for member in sweep.members]
    by = {(row["weight_decay"], row["seed"]): row for row in found.rows}
    assert by[2e-3, 0]["state"] == "waiting"
    assert by[8e-3, 0]["state"] == by[8e-3, 0]["phase"] == "diverged"
    assert "S goes" in by[1e-4, 0]["not_at_rest"]
    at_rest = [key for key, row in by.items() if row["at_rest"]]
    assert len(at_rest) == 18
    for key in at_rest:
        value, error = (by[key][f"resting_sharpness{end}"] for end in ("", "_error"))
        assert abs(value - summarised.resting_sharpness(*key)) < 6 * error


def test_the_transition_is_where_it_was_put_and_the_drives_say_where(sweep):
    found = summary_of(sweep)
    (one,) = transitions(found.rows, found.settings)
    assert (one.key, one.reading, one.fixed) == ("weight_decay", "resting_sharpness", {})
    assert one.knee.outcome == KNEE
    assert one.knee.position == pytest.approx(summarised.KNEE, rel=0.05)
    assert one.knee.low <= summarised.KNEE < one.knee.high
    assert (one.knee.seeds, one.knee.members) == (3, 18)
    assert one.knee.slope == pytest.approx(-summarised.SLOPE, rel=0.02)
    assert (one.prediction.below, one.prediction.above) == (4e-3, 8e-3)
    assert one.prediction.critical == pytest.approx(5e-3, rel=1e-3)
    assert "λ_c 0.00" in one.sentence()


def test_members_that_are_left_out_are_called_what_they_are(sweep):
    """One drifts, one diverged, one has not begun: only the first isn't at rest."""
    found = summary_of(sweep)
    (one,) = transitions(found.rows, found.settings)
    runs = {(row["weight_decay"], row["seed"]): row["run"] for row in found.rows}
    assert one.not_at_rest == (runs[1e-4, 0],)
    assert one.others_left_out == {"waiting": (runs[2e-3, 0],), "diverged": (runs[8e-3, 0],)}
    told = "; members left out: 1 not at rest, 1 waiting, 1 diverged"
    assert one.sentence().endswith(told)
    failed = [
        row | ({"state": "failed"} if row["state"] == "waiting" else {}) for row in found.rows
    ]
    (other,) = transitions(failed, found.settings)
    assert "1 not at rest, 1 failed, 1 diverged" in other.sentence()
    resting = [row for row in found.rows if row["at_rest"]]
    assert "left out" not in transitions(resting, found.settings)[0].sentence()


def test_members_not_at_rest_count_nowhere(sweep):
    """S of the drifting member and of the diverged one may be anything."""
    found = summary_of(sweep)
    rows = [
        row if row["at_rest"] else row | {"tail_sharpness": 1e9, "resting_sharpness": math.nan}
        for row in found.rows
    ]
    (one,), (other,) = (transitions(each, found.settings) for each in (found.rows, rows))
    assert one.knee == other.knee
    few = [row | ({} if row["weight_decay"] < 1e-3 else {"resting_sharpness": math.nan, "at_rest": False})
           for row in found.rows]  # fmt: skip
    (none,) = transitions(few, found.settings)
    assert none.knee.outcome == TOO_FEW
    assert "not enough members at rest: 3 values" in none.sentence()


def test_any_reading_over_any_setting(sweep, tmp_path):
    found = summary_of(sweep)
    (one,) = transitions(found.rows, found.settings, reading="resting_test_loss")
    assert one.knee.outcome == "no knee"
    by_seed = transitions(found.rows, found.settings, key="seed")
    assert [each.fixed["weight_decay"] for each in by_seed] == DECAYS
    assert {each.knee.outcome for each in by_seed} == {TOO_FEW}
    assert by_seed[0].prediction is None
    with pytest.raises(InputError, match=r"`eta` doesn't differ"):
        transitions(found.rows, found.settings, key="eta")
    with pytest.raises(InputError, match=r"no reading `resting_sharpnes`.*resting_sharpness"):
        transitions(found.rows, found.settings, reading="resting_sharpnes")
    assert "resting_sharpness_error" not in READINGS
    one_run = SummaryReader().of_runs([read_entry(summarised.make(tmp_path / "r"))])
    assert transitions(one_run.rows, one_run.settings) == ()


def test_the_kernel_at_rest_of_members_that_measured_it(tmp_path):
    """λ₁(K) and alignments of three forms; none of a member not at rest, nor of one without the probe."""
    config = RunConfig.build({"preset": "made", "steps": 2000, "eta": 0.1}, "test")
    draft = Draft(config)
    draft.take_list("weight_decay", [0.0, 1e-3, 2e-3, 4e-3, 8e-3], "test")
    made = Sweep.create(tmp_path, draft.plan("test"), "kernels")
    for place, member in enumerate(made.members):
        summarised.make(
            member.path, member.settings["weight_decay"], group=made.id, kernels=place > 0,
            drift=-2e-3 * (place == 1),
        )  # fmt: skip
    found = summary_of(made)
    without, drifting, *resting = found.rows
    names = [column.name for column in COLUMNS if column.name.startswith("resting_ntk")]
    assert len(names) == 2 * 10
    assert without["at_rest"]
    assert not drifting["at_rest"]
    assert all(math.isnan(row[name]) for row in (without, drifting) for name in names)
    for row in resting:
        for name, value in summarised.kernel(row["weight_decay"]).items():
            assert row[f"resting_{name}"] == pytest.approx(value, rel=1e-12)
            assert row[f"resting_{name}_error"] == pytest.approx(0, abs=1e-12)  # turns cancel
    write(made, found)
    (*_, last) = csv.DictReader(io.StringIO((made.path / "summary.csv").read_text()))
    assert float(last["resting_ntk_traced"]) == resting[-1]["resting_ntk_traced"]
    (one,) = transitions(found.rows, found.settings, reading="resting_ntk_full")
    assert one.reading == "resting_ntk_full"
    assert len(one.not_at_rest) == 1


def test_files_are_the_rows_in_full(sweep):
    found = summary_of(sweep)
    write(sweep, found)
    lines = list(csv.DictReader(io.StringIO((sweep.path / "summary.csv").read_text())))
    assert list(lines[0]) == list(found.columns)
    whole = json.loads((sweep.path / "summary.json").read_text())
    assert [row["run"] for row in whole["rows"]] == [line["run"] for line in lines]
    assert whole["columns"]["onset"]["unit"] == "steps"
    for line, row, stored in zip(lines, found.rows, whole["rows"], strict=True):
        for name, value in row.items():
            if isinstance(value, float) and math.isnan(value):
                assert (line[name], stored[name]) == ("", None)
            elif isinstance(value, float):
                assert float(line[name]) == value == stored[name]
            else:
                assert line[name] == (str(value).lower() if isinstance(value, bool) else str(value))
                assert stored[name] == value
    assert whole["transitions"][0]["knee"]["outcome"] == "knee"
    names = {path.name for path in sweep.path.iterdir()}
    assert {"summary.csv", "summary.json", "sweep.toml"} <= names
    assert not [name for name in names if name.startswith(".")]


def test_what_cannot_be_written_leaves_what_was_there(sweep, monkeypatch):
    found = summary_of(sweep)
    write(sweep, found)
    before = (sweep.path / "summary.csv").read_text()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match=r"summary\.csv: can't be written: No space left"):
        write(sweep, found)
    assert (sweep.path / "summary.csv").read_text() == before
    assert not [path for path in sweep.path.iterdir() if path.name.startswith(".")]


def test_runs_of_no_sweep_have_the_same_rows(sweep):
    entries = [read_entry(m.path) for m in sweep.members if m.path.exists()]
    as_runs, as_sweep = SummaryReader().of_runs(entries), summary_of(sweep)
    assert as_runs.settings == ("seed", "weight_decay") or as_runs.settings == (
        "weight_decay",
        "seed",
    )
    known = {row["run"]: row for row in as_sweep.rows}
    for row in as_runs.rows:
        assert {k: repr(v) for k, v in row.items()} == {
            k: repr(v) for k, v in known[row["run"]].items()
        }


def test_rows_of_runs_that_did_not_change_are_kept(sweep, monkeypatch):
    monkeypatch.setattr("eostui.runs.shelf_index.SETTLED", 0)
    reader = SummaryReader()
    first = reader.of_sweep(sweep)
    monkeypatch.setattr("eostui.sweeps.summary.Run", None)
    assert [repr(row) for row in reader.of_sweep(sweep).rows] == [repr(row) for row in first.rows]


def test_a_damaged_run_is_told_and_stops_nobody(tmp_path):
    entries = [
        read_entry(summarised.make(tmp_path / name, decay))
        for name, decay in (("a", 0), ("b", 1e-3))
    ]
    (tmp_path / "a" / "run.db").write_bytes(b"nothing" * 1000)
    found = SummaryReader().of_runs(entries)
    assert found.rows[0]["state"] == "unreadable"
    assert "a" in found.rows[0]["sentence"]
    assert found.rows[1]["at_rest"]


def test_two_hundred_members(tmp_path):
    make_shelf(tmp_path, 200)
    entries = shelf.entries(tmp_path)
    found = SummaryReader().of_runs(entries)
    assert len(found.rows) == 200
    assert len(found.csv().splitlines()) == 201


def test_mean_trajectories_over_seeds(sweep):
    entries = [state.entry for state in sweep.states() if state.entry is not None]
    found = mean_trajectories(entries, "sharpness")
    assert [each.settings for each in found] == [{"weight_decay": decay} for decay in DECAYS]
    one = found[0]
    readings = []
    for run in one.runs:
        with Run(sweep.path.parent / run) as opened:
            readings.append(opened.measured["sharpness"])
    assert one.steps.tolist() == list(range(0, 2001, 10))
    assert one.mean == pytest.approx(np.mean(readings, axis=0))
    assert one.deviation == pytest.approx(np.std(readings, axis=0, ddof=1))
    assert len(found[4].runs) == 2  # one waits
    with pytest.raises(InputError, match=r"no run has a column `sharpnes`.*sharpness"):
        mean_trajectories(entries, "sharpnes")
    with pytest.raises(InputError, match="nothing to average"):
        mean_trajectories(entries[:1], "sharpness")


@pytest.fixture
def two_lengths(tmp_path):
    """A sweep over the steps and three seeds, of which nothing has begun."""
    return make_sweep(tmp_path, {"steps": [200, 400], "seed": [0, 1, 2]}, name="lengths")


def test_a_seed_counts_once_in_a_mean(two_lengths, tmp_path):
    """Runs of one seed that are of two lengths are no two seeds; nor are they for a transition."""
    for member in two_lengths.members:
        finish(two_lengths, [member.number], member.config.steps)
    of_sweep = call(tmp_path, "lengths", "--mean", "sharpness").stdout
    lines = list(csv.DictReader(io.StringIO(of_sweep)))
    assert {(line["steps"], line["runs"]) for line in lines} == {("200", "3"), ("400", "3")}
    entries = [state.entry for state in two_lengths.states()]
    as_runs = mean_trajectories(entries, "sharpness")
    assert [(each.settings, len(each.runs)) for each in as_runs] == [
        ({"steps": 200}, 3), ({"steps": 400}, 3)
    ]  # fmt: skip
    assert set(SummaryReader().of_runs(entries).settings) == {"steps", "seed"}


def test_members_to_come_tell_those_there_apart(two_lengths, tmp_path):
    """No seed is there twice yet, but the plan says what differs."""
    for number in (0, 1, 5):
        finish(two_lengths, [number], two_lengths.members[number].config.steps)
    lines = list(
        csv.DictReader(io.StringIO(call(tmp_path, "lengths", "--mean", "sharpness").stdout))
    )
    assert {(line["steps"], line["runs"]) for line in lines} == {("200", "2"), ("400", "1")}


def call(folder, *words):
    result = CliRunner().invoke(app, ["runs", "summary", *words, "--runs-dir", str(folder)])
    assert result.exit_code == 0, (result.stdout, result.stderr, result.exception)
    return result


def test_the_command(sweep, folder):
    told = call(folder, "made-so").stdout
    assert "S at rest" in told
    assert "λ_c 0.00" in told
    assert "waiting" in told
    as_csv = call(folder, sweep.id, "--csv")
    assert next(csv.reader(io.StringIO(as_csv.stdout)))[:3] == ["run", "name", "weight_decay"]
    assert "λ_c" in as_csv.stderr
    assert as_csv.stdout == (sweep.path / "summary.csv").read_text()
    whole = json.loads(call(folder, "--group", sweep.id, "--json").stdout)
    assert len(whole["rows"]) == 20
    assert whole["transitions"][0]["reading"] == "resting_sharpness"
    means = list(csv.reader(io.StringIO(call(folder, sweep.id, "--mean", "loss").stdout)))
    assert means[0] == ["weight_decay", "step", "loss", "loss_deviation", "runs"]
    assert len(means) == 1 + 7 * 2001
    test_loss = call(folder, sweep.id, "--reading", "resting_test_loss").stdout
    assert "no knee" in test_loss


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "say what is summed up"),
        (("nothing-there",), "nothing-there"),
        (("--filter", "preset:other"), "no such run"),
        (("made-so", "--csv", "--json"), "only one of --csv"),
        (("made-so", "--reading", "resting"), "no reading `resting`"),
        (("made-so", "--key", "width"), "`width` doesn't differ"),
        (
            ("made-so", "--mean", "shrpness"),
            "no run has a column `shrpness`",
        ),
    ],
)
def test_wrong_use_is_one_sentence(sweep, folder, words, sentence):
    del sweep
    result = CliRunner().invoke(app, ["runs", "summary", *words, "--runs-dir", str(folder)])
    assert isinstance(result.exception, InputError)
    assert sentence in str(result.exception)


def test_every_column_is_in_the_reference():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "reference" / "summary.md").read_text()
    assert all(f"| `{column.name}` |" in page for column in COLUMNS)
