"""Experiments judged from records: made ones whose verdict is known, and one that is really run."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import summarised
import tomli_w
from engines import PATIENCE
from made import make_run
from sweep_runs import call, done, program, sweep_on, wait_for_states
from typer.testing import CliRunner

from eostui.cli import sweeping
from eostui.cli.app import app
from eostui.experiments.costs import ExperimentCost, ExperimentCosts
from eostui.experiments.experiment import available, load
from eostui.experiments.html_report import page
from eostui.experiments.readings import READINGS
from eostui.experiments.report import Entry, markdown
from eostui.experiments.results import OnShelf, found_or_made, judge, rows_of, standing, stored
from eostui.runs.shelf import read
from eostui.runs.store.writer import RunWriter
from eostui.sweeps.plan import Draft
from eostui.sweeps.shelf import locked, sweeps_of
from eostui.sweeps.sweep import Claim, Sweep

DECAYS = (0.0, 1e-3, 1e-2)
SWEEP = """# Made.
preset = "digits-mlp"

[set]
steps = 2000

[axes]
weight_decay = [0.0, 1e-3, 1e-2]
"""
EXPERIMENT = """# Made.
paper = "mine"
figure = "Fig. 1"
claim = "S at rest falls with λ, and λ₂ comes to 2/η."
twin = "./sweep.toml"
lost = ["λ"]

[columns.late_eig]
of = "eig_2"
take = "late mean"

[[criteria]]
says = "S at rest falls"
reading = "change"
arguments = { column = "resting_sharpness", over = "weight_decay" }
must_be = "below"
value = -0.1
margin = 0.02
least_members = 3

[[criteria]]
says = "λ₂ is there"
reading = "least_ratio"
arguments = { column = "late_eig", to = "two_over_eta" }
must_be = "above"
value = 1.0
"""


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    (tmp_path / "mine.toml").write_text(EXPERIMENT)
    return load(str(tmp_path / "mine.toml"))


def made(folder: Path, experiment, decays, **more) -> Sweep:
    """A sweep whose members' records rest where these λ put them, whatever their own are."""
    sweep = Sweep.create(folder, experiment.plan(), "", "made")
    for member, decay in zip(sweep.members, decays, strict=True):
        if decay is not None:
            summarised.make(member.path, decay, member.config.seed, group=sweep.id, **more)
    return sweep


def test_records_that_show_the_claim_agree_and_those_that_contradict_it_differ(
    tmp_path, experiment
):
    agreeing = judge(experiment, made(tmp_path / "a", experiment, DECAYS))
    assert agreeing["verdict"] == "agrees"
    assert [each["verdict"] for each in agreeing["criteria"]] == ["agrees", "agrees"]
    falls = summarised.resting_sharpness(1e-2) / summarised.resting_sharpness(0) - 1
    assert agreeing["criteria"][0]["value"] == pytest.approx(falls, abs=0.02)
    assert agreeing["criteria"][1]["value"] == pytest.approx(20.5 / 20)
    for decays in ((0.0, 0.0, 0.0), (1e-2, 1e-3, 0.0)):
        shelf = tmp_path / f"d{decays[0]}"
        result = judge(experiment, made(shelf, experiment, decays))
        assert result["verdict"] == "differs"
        assert [each["verdict"] for each in result["criteria"]] == ["differs", "agrees"]


def test_members_not_at_rest_or_not_there_leave_it_undecided(tmp_path, experiment):
    result = judge(experiment, made(tmp_path / "a", experiment, DECAYS, drift=-2e-3))
    first = result["criteria"][0]
    assert (result["verdict"], first["verdict"]) == ("undecided", "undecided")
    assert "two values of λ" in first["why"]
    assert len(first["left_out"]) == 3
    assert all("not at rest: " in line for line in first["left_out"])
    assert first["value"] is None
    result = judge(experiment, made(tmp_path / "b", experiment, (0.0, None, 1e-2)))
    assert result["criteria"][0]["why"] == "too few members: 2 of 3"
    assert result["criteria"][0]["left_out"] == ["λ 0.001: waiting"]
    assert result["members"] == {"finished": 2, "waiting": 1}


def test_a_member_that_was_stopped_midway_counts_for_nothing(tmp_path, experiment):
    sweep = made(tmp_path, experiment, (0.0, 1e-3, None))
    summarised.make(sweep.members[2].path, 1e-2, group=sweep.id, status="stopped")
    result = judge(experiment, sweep)
    assert result["verdict"] == "undecided"
    assert result["members"] == {"finished": 2, "unfinished": 1}
    rows = rows_of(sweep, experiment)
    for reading, arguments in (("diverged", {}), ("share", {"column": "onset"})):
        assert READINGS[reading](rows, **arguments).members == 2


def test_how_an_experiment_stands_on_a_shelf(tmp_path, experiment):
    """Its sweep is found by what it runs; a criterion that was changed afterwards is told."""
    shelf = tmp_path / "runs"
    assert standing(experiment, OnShelf(shelf)).state == "never run"
    sweep = made(shelf, experiment, (0.0, None, 1e-2))
    other = Draft(sweep.plan.base)
    other.take_list("weight_decay", [0.0, 1e-3], "test")
    Sweep.create(shelf, other.plan("test"), "", "other")
    found = standing(experiment, OnShelf(shelf))
    assert (found.state, found.complete, found.sweep.id) == ("begun", 2, sweep.id)
    summarised.make(sweep.members[1].path, 1e-3, group=sweep.id)
    assert standing(experiment, OnShelf(shelf)).state == "done"
    judge(experiment, sweep)
    assert standing(experiment, OnShelf(shelf)).state == "agrees"
    experiment.path.write_text(EXPERIMENT.replace("value = -0.1", "value = -0.9"))
    changed = load(str(experiment.path))
    assert standing(changed, OnShelf(shelf)).state == "criteria changed"
    (sweep.path / "experiment-mine.json").write_text("{")
    assert stored(sweep, changed) is None


def test_a_sweep_whose_members_are_not_those_of_its_plan_is_another(tmp_path, experiment):
    """A manifest states both, and may be a stranger's: what is trained are the members."""
    sweep = made(tmp_path, experiment, (None, None, None))
    manifest = sweep.path / "sweep.toml"
    content = tomllib.loads(manifest.read_text())
    content["members"].reverse()  # as where some were added later
    manifest.write_text(tomli_w.dumps(content))
    assert standing(experiment, OnShelf(tmp_path)).sweep.path == sweep.path
    content["members"][1]["settings"]["dynamics"] = "/x/evil.py:Mine"
    manifest.write_text(tomli_w.dumps(content))
    assert Sweep(sweep.path).plan == experiment.plan()
    assert standing(experiment, OnShelf(tmp_path)).sweep is None


def test_a_verdict_of_a_part_of_the_members_stands_for_nothing(tmp_path, experiment):
    """One that was made while members could still be trained: nor does it once they were."""
    sweep = made(tmp_path, experiment, (0.0, None, 1e-2))
    judge(experiment, sweep)
    found = standing(experiment, OnShelf(tmp_path))
    assert (found.state, found.complete, found.result) == ("begun", 2, None)
    summarised.make(sweep.members[1].path, 1e-3, group=sweep.id)
    found = standing(experiment, OnShelf(tmp_path))
    assert (found.state, found.result) == ("done", None)
    result = judge(experiment, sweep)
    assert standing(experiment, OnShelf(tmp_path)).result == result
    shutil.rmtree(sweep.members[0].path)  # what was read of it stays true
    assert standing(experiment, OnShelf(tmp_path)).result == result


def test_a_verdict_stands_without_members_that_failed_until_they_are_repeated(tmp_path, experiment):
    """Older results say of how many members they are by their states."""
    sweep = made(tmp_path, experiment, (0.0, 1e-3, None))
    last = sweep.members[2].path
    summarised.make(last, 1e-2, group=sweep.id, status="failed")
    result = judge(experiment, sweep)
    older = {key: value for key, value in result.items() if key != "complete"}
    kept = sweep.path / "experiment-mine.json"
    for each in (result, older):
        kept.write_text(json.dumps(each))
        assert standing(experiment, OnShelf(tmp_path)).state == "undecided"
    writer = RunWriter(last)
    writer.fact("status", "finished")
    writer.close()
    for each in (result, older):
        kept.write_text(json.dumps(each))
        assert standing(experiment, OnShelf(tmp_path)).state == "done"


def test_of_several_sweeps_a_verdict_counts_then_members_then_age(tmp_path, experiment):
    def stands() -> tuple[str, Sweep]:
        found = standing(experiment, OnShelf(tmp_path))
        assert found.sweep is not None
        return found.state, found.sweep.path

    first = made(tmp_path, experiment, (None, None, None))
    second = made(tmp_path, experiment, (None, None, None))
    assert stands() == ("begun", second.path)
    for member, decay in zip(first.members, DECAYS, strict=True):
        summarised.make(member.path, decay, group=first.id)
    assert stands() == ("done", first.path)
    judge(experiment, first)
    third = made(tmp_path, experiment, DECAYS)
    assert stands() == ("agrees", first.path)
    experiment.path.write_text(EXPERIMENT.replace("value = -0.1", "value = -0.9"))
    experiment = load(str(experiment.path))
    assert stands() == ("criteria changed", first.path)
    judge(experiment, third)
    assert stands() == ("differs", third.path)


def test_the_shelf_is_looked_at_anew_before_a_sweep_is_made(tmp_path, experiment):
    """Another process made one since: there is no second of the same members."""
    shelf = OnShelf(tmp_path)
    sweep = made(tmp_path, experiment, (None, None, None))
    assert found_or_made(experiment, shelf).path == sweep.path
    assert sweeps_of(tmp_path) == [sweep.path]


def test_the_report_has_verdict_numbers_and_what_was_left_out(tmp_path, experiment):
    result = judge(experiment, made(tmp_path, experiment, (0.0, None, 1e-2)))
    definition = experiment.definition.model_copy(update={"claim": "a <b> | claim"})
    changed = dataclasses.replace(experiment, definition=definition)
    text = markdown([Entry.of(changed, result=result)])
    assert "| `mine` | mine, Fig. 1 | twin | undecided |" in text
    assert "a &lt;b> | claim" in text
    assert "- not in the text we have: λ" in text
    assert "- left out: λ 0.001: waiting" in text
    assert "undecided: too few members: 2 of 3" in text
    assert "the criteria were changed" not in text
    assert markdown([]).startswith("# Experiments")
    never = markdown([Entry.of(changed)])
    command = f"`eostui reproduce {experiment.path}`"
    assert f"| {command} | mine, Fig. 1 | a &lt;b> \\| claim | never run |" in never
    assert "3 members, 6 000 steps" in never


def test_a_report_names_experiments_by_what_the_program_finds_them_by(tmp_path):
    """By a name that is that file's, else by its path; and so their presets."""
    folder = tmp_path / "with space"
    folder.mkdir()
    shipped = load(str(available()["wd-a7"]))
    assert Entry.of(shipped).command == "eostui reproduce wd-a7"
    assert Entry.of(shipped).preset_command == "eostui sweep digits-wd-a7"
    (folder / "sweep.toml").write_text(SWEEP)
    (folder / "wd-a7.toml").write_text(EXPERIMENT)
    entry = Entry.of(load(str(folder / "wd-a7.toml")))
    for told, file in ((entry.command, "wd-a7.toml"), (entry.preset_command, "sweep.toml")):
        assert Path(shlex.split(told)[2]).samefile(folder / file)


def test_what_an_experiment_costs_is_what_it_took_or_what_runs_like_its_members_tell(
    tmp_path, experiment
):
    """Members that ended tell of those that are lacking; without any like them nothing is told."""
    shelf = tmp_path / "runs"
    assert ExperimentCosts().of(standing(experiment, OnShelf(shelf))) is None
    sweep = Sweep.create(shelf, experiment.plan(), "", "made")
    member = sweep.members[0]
    config = member.config.to_toml()
    make_run(member.path, 2000, config=config, created="1000.0")
    writer = RunWriter(member.path)
    writer.fact("ended", "1040.0")  # 2000 steps in 40 s
    writer.close()
    estimate = ExperimentCosts(read(shelf)[0]).of(standing(experiment, OnShelf(shelf)))
    assert (estimate.seconds, estimate.took) == (pytest.approx(3 * 40, rel=1e-3), False)
    begun = dataclasses.replace(standing(experiment, OnShelf(shelf)), result={"seconds": 7.0})
    assert ExperimentCosts().of(begun) is None  # it took more than that
    whole = dataclasses.replace(begun, complete=3)
    assert ExperimentCosts().of(whole) == ExperimentCost(7.0, took=True)


def test_a_result_by_other_criteria_says_so(tmp_path, experiment):
    result = judge(experiment, made(tmp_path, experiment, DECAYS)) | {"digest": "another"}
    assert "the criteria were changed since" in markdown([Entry.of(experiment, result=result)])
    assert "the criteria were changed since" in page([Entry.of(experiment, result=result)])


TINY = """# Two members that take a moment.
preset = "toy-diagonal-net"

[set]
steps = 40
probes = ["diagonal_net"]

[axes]
eta = [0.001, 0.011]
"""
BELOW = """# Below the edge the imbalance grows.
paper = "mine"
figure = "Fig. 1"
claim = "It grows."
twin = "./tiny.toml"

[columns.least_growth]
of = "imbalance_growth"
take = "least"

[[criteria]]
says = "it grows at every step"
reading = "least"
arguments = { column = "least_growth" }
where = { eta = 0.001 }
must_be = "above"
value = 1.0
"""


def test_a_tiny_experiment_from_end_to_end(tmp_path):
    """By the program itself: trained once, judged, kept; its opposite differs on the same members.

    One without its data fails in a sentence, and the other goes on.
    """
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "below.toml").write_text(BELOW)
    (tmp_path / "beyond.toml").write_text(BELOW.replace("eta = 0.001", "eta = 0.011"))
    absent = 'preset = "digits-mlp"\n\n[set]\ndata = "npz"\ndata_file = "gone.npz"\nsteps = 3\n'
    (tmp_path / "absent.toml").write_text(f"# Without data.\n{absent}")
    (tmp_path / "without.toml").write_text(BELOW.replace("./tiny", "./absent"))
    runs = tmp_path / "runs"
    files = [str(tmp_path / f"{name}.toml") for name in ("without", "below", "beyond")]
    report = tmp_path / "report.md"
    out, err = call(
        runs, ["reproduce", *files, "--workers", "1", "--json", "--report", str(report)], 1
    )
    results = {each["experiment"]: each for each in json.loads(out)}
    assert results["below"]["verdict"] == "agrees"
    assert results["beyond"]["verdict"] == "differs"
    assert results.get("without", {"verdict": "undecided"})["verdict"] == "undecided"
    assert "gone.npz" in err
    assert results["below"]["sweep"] == results["beyond"]["sweep"]
    assert results["below"]["made_with"]["device"] == "cpu"
    kept = runs / results["below"]["sweep"] / "experiment-below.json"
    assert json.loads(kept.read_text()) == results["below"]
    assert "It grows." in report.read_text()
    # again: nothing is trained, and the same is told
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/run.db")}
    again = CliRunner().invoke(app, ["reproduce", files[1], "--runs-dir", str(runs)])
    assert again.exit_code == 0, again.output
    assert "below: agrees" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in runs.glob("*/run.db")} == before


LONG = TINY.replace("steps = 40", "steps = 1000000").replace("[0.001, 0.011]", "[0.001]")


@contextmanager
def reproducing(folder: Path, names: str, *more: str) -> Iterator[Any]:
    """A process on the shelf `runs` that reproduces files; it doesn't outlive the test."""
    files = [str(folder / f"{name}.toml") for name in names.split()]
    process = program(folder / "runs", ["reproduce", *files, "--workers", "1", *more])
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            done(process, None)


@pytest.fixture
def two(tmp_path):
    """A folder with an experiment whose member takes for ever, and one that takes a moment."""
    for name, text in (("tiny", TINY), ("long-one", LONG), ("below", BELOW)):
        (tmp_path / f"{name}.toml").write_text(text)
    (tmp_path / "long.toml").write_text(BELOW.replace("./tiny", "./long-one"))
    (tmp_path / "runs").mkdir()
    return tmp_path


def verdicts(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("runs/*/experiment-*.json")]


def test_one_that_is_stopped_is_not_judged_and_no_other_begins(two):
    """By `eostui stop`, or by ctrl+c: members are whole before there is a verdict."""
    runs = two / "runs"
    with reproducing(two, "long below") as process:
        sweep = sweep_on(runs)
        wait_for_states(sweep, "running")
        call(runs, ["stop", sweep.id])
        _, err = done(process, 1)
    assert "stopped: 2 experiments are left and not judged, the same command goes on" in err
    assert (verdicts(two), sweeps_of(runs)) == ([], [sweep.path])
    with reproducing(two, "long") as process:
        wait_for_states(sweep, "running")
        process.send_signal(signal.SIGINT)
        _, err = done(process, 130)
    assert "stopped: 1 experiment is left and not judged" in err
    assert (verdicts(two), sweeps_of(runs)) == ([], [sweep.path])


@pytest.mark.parametrize(("before", "summed_up"), [("summary_of", False), ("_tell_end", True)])
def test_ctrl_c_once_members_are_whole_begins_no_other(two, monkeypatch, before, summed_up):
    """The same command judges them, whether they were summed up or not."""
    called = getattr(sweeping, before)

    def pressed(*arguments):
        signal.raise_signal(signal.SIGINT)
        return called(*arguments)

    monkeypatch.setattr(sweeping, before, pressed)
    files = [str(two / f"{name}.toml") for name in ("below", "long")]
    answer = CliRunner().invoke(app, ["reproduce", *files, "--runs-dir", str(two / "runs")])
    assert answer.exit_code == 130
    assert "stopped: 2 experiments are left and not judged" in answer.stderr
    (sweep,) = sweeps_of(two / "runs")
    assert all(state.complete for state in Sweep(sweep).states())
    assert (sweep / "summary.csv").exists() == summed_up
    assert verdicts(two) == []


#: Two of these find no sweep of their experiment at the same instant.
FOUND_OR_MADE = """
import sys, time
from pathlib import Path
from eostui.experiments.experiment import load
from eostui.experiments.results import OnShelf, found_or_made
from eostui.sweeps.sweep import Sweep
create = Sweep.create

def create_late(*arguments):
    time.sleep(3.0)
    return create(*arguments)

Sweep.create = create_late
print(found_or_made(load(sys.argv[1]), OnShelf(Path(sys.argv[2]))).path)
"""


def test_two_processes_that_need_an_experiments_sweep_at_once_have_the_same(two):
    words = [sys.executable, "-c", FOUND_OR_MADE, str(two / "below.toml"), str(two / "runs")]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [each.communicate(timeout=PATIENCE)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0]
    (path,) = sweeps_of(two / "runs")
    assert told == [f"{path}\n"] * 2


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_killed_at_any_time_it_goes_on(two, seconds):
    """By SIGKILL, so long after its sweep was made: the same command ends both, and makes none anew."""
    (two / "tiny.toml").write_text(TINY.replace("steps = 40", "steps = 1500"))
    (two / "beyond.toml").write_text(BELOW.replace("eta = 0.001", "eta = 0.011"))
    with reproducing(two, "below beyond") as process:
        sweep = sweep_on(two / "runs")
        time.sleep(seconds)
        process.kill()
        done(process, -signal.SIGKILL)
    with reproducing(two, "below beyond", "--json") as process:
        out, _ = done(process, 0)
    assert {each["experiment"]: each["verdict"] for each in json.loads(out)} == {
        "below": "agrees", "beyond": "differs"
    }  # fmt: skip
    assert sweeps_of(two / "runs") == [sweep.path]
    assert all(state.complete for state in sweep.states())


def test_members_left_leave_it_unjudged_and_a_sweep_made_meanwhile_is_found(two):
    """Somebody stops the one member, and another process has begun the other experiment."""
    runs = two / "runs"
    with reproducing(two, "long below") as process:
        sweep = sweep_on(runs)
        wait_for_states(sweep, "running")
        other = Sweep.create(runs, load(str(two / "below.toml")).plan())
        claim = Claim(other.path)
        call(runs, ["stop", sweep.members[0].path.name])
        _, err = done(process, 1)
        claim.release()
    assert "long isn't judged: 1 member is left, the same command goes on" in err
    assert f"below: another process is at work on sweep {other.id}" in err
    assert (verdicts(two), {*sweeps_of(runs)}) == ([], {sweep.path, other.path})


def test_ctrl_c_while_engines_of_the_process_before_end_begins_nothing(two):
    """One that failed before isn't counted as left."""
    runs = two / "runs"
    busy = Sweep.create(runs, load(str(two / "below.toml")).plan())
    waiting = Sweep.create(runs, load(str(two / "long.toml")).plan())
    third = LONG.replace("1000000", "41")
    (two / "third-one.toml").write_text(third)
    (two / "third.toml").write_text(BELOW.replace("./tiny", "./third-one"))
    claim = Claim(busy.path)
    with open(waiting.path / "members.lock", "w") as engine:
        assert locked(engine.fileno())
        with reproducing(two, "below long third") as process:
            lines = iter(process.stderr.readline, "")
            assert any("waiting for members to save and stop" in line for line in lines)
            process.send_signal(signal.SIGINT)
            _, err = done(process, 130)
    claim.release()
    assert "stopped by SIGINT before any member began" in err
    assert "stopped: 2 experiments are left and not judged" in err
    assert {*sweeps_of(runs)} == {busy.path, waiting.path}


def test_a_papers_size_where_there_is_none_is_refused(tmp_path, monkeypatch):
    """Of one that is given by its path, and of a paper none of whose experiments has it."""
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path))
    folder = tmp_path / "presets" / "experiments"
    folder.mkdir(parents=True)
    (folder / "tiny-sweep.toml").write_text(TINY)
    (folder / "own.toml").write_text(BELOW.replace("tiny", "tiny-sweep"))
    for name, told in (
        (str(folder / "own.toml"), "experiment own has no runs at a paper's size"),
        ("mine", "none of these experiments has runs at a paper's size"),
    ):
        words = ["reproduce", name, "--paper-scale", "--runs-dir", str(tmp_path / "runs")]
        answer = CliRunner().invoke(app, words)
        assert told in str(answer.exception)
        assert answer.exception.exit_code == 2


def test_what_presets_of_the_same_path_from_their_files_on_cost_is_told_of_each(tmp_path):
    """They are others where the files lie in other folders, and the same where they don't."""
    for folder, steps in (("a", 40), ("b", 50)):
        (tmp_path / folder).mkdir()
        tiny = TINY.replace("steps = 40", f"steps = {steps}")
        (tmp_path / folder / "tiny.toml").write_text(tiny)
        for name in ("mine", "too"):
            (tmp_path / folder / f"{name}.toml").write_text(BELOW)
    files = [str(tmp_path / folder / f"{name}.toml") for name in ("mine", "too") for folder in "ab"]
    out, _ = call(tmp_path / "runs", ["reproduce", *files, "--dry-run"])
    assert [line for line in out.splitlines() if "tiny.toml" in line] == [
        f"mine, too: {tmp_path / folder / 'tiny.toml'}" for folder in "ab"
    ]


def test_what_one_that_cannot_be_timed_costs_is_left_out(tmp_path):
    """The others are told; each line for programs names the experiments that it is of."""
    (tmp_path / "tiny.toml").write_text(TINY)
    absent = 'preset = "digits-mlp"\n\n[set]\ndata = "npz"\ndata_file = "gone.npz"\nsteps = 3\n'
    (tmp_path / "absent.toml").write_text(f"# Without data.\n{absent}")
    (tmp_path / "without.toml").write_text(BELOW.replace("./tiny", "./absent"))
    for name in ("below", "beyond"):
        (tmp_path / f"{name}.toml").write_text(BELOW)
    files = [str(tmp_path / f"{name}.toml") for name in ("without", "below", "beyond")]
    out, err = call(tmp_path / "runs", ["reproduce", *files, "--dry-run", "--json"], 1)
    (told,) = map(json.loads, out.splitlines())
    assert told["experiments"] == ["below", "beyond"]
    assert len(told["members"]) == 2
    assert "eostui: without: " in err
    assert "gone.npz" in err
    _, err = call(tmp_path / "runs", ["reproduce", files[0], "--dry-run"], None)
    assert "gone.npz" in err


def test_what_is_asked_wrongly(tmp_path):
    for words, told in (
        (["wd-fig4-mpl"], "did you mean `wd-fig4-mlp`?"),
        (["--dry-run"], "for the experiments that are named"),
        (["kinks", "--paper-scale"], "kinks has no runs at a paper's size"),
        (["wd-a7", "--workers", "0"], "must be at least 1"),
    ):
        done = CliRunner().invoke(app, ["reproduce", *words, "--runs-dir", str(tmp_path)])
        assert told in str(done.exception)
        assert done.exception.exit_code == 2


def test_the_list_has_every_experiment_with_its_state(tmp_path):
    done = CliRunner().invoke(app, ["reproduce", "--json", "--runs-dir", str(tmp_path)])
    listed = {each["experiment"]: each for each in json.loads(done.stdout)}
    assert listed["wd-fig4-mlp"]["state"] == "never run"
    assert (listed["wd-fig4-mlp"]["members"], listed["wd-fig4-mlp"]["steps"]) == (5, 60_000)
    text = CliRunner().invoke(app, ["reproduce", "--runs-dir", str(tmp_path)]).stdout
    assert set(listed) == {line.split()[0] for line in text.splitlines()[1:]}
    done = CliRunner().invoke(app, ["reproduce", "--paper-scale", "--runs-dir", str(tmp_path)])
    assert "kinks" not in done.stdout
