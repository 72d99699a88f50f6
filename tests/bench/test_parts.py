"""The benches of a shelf and of a terminal, at a small size; how they are asked for and printed."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from eostui.bench.shelf import measure_shelf
from eostui.bench.sweep import measure_sweep
from eostui.bench.terminal import OnTerminal, measure_terminal
from eostui.cli import bench_parts
from eostui.cli.app import app
from eostui.errors import EostuiError
from eostui.runs.store.liveness import engine_alive


def test_a_shelf_is_listed_and_completed():
    """Real commands on real runs; which are counted by the bench itself."""
    told = []
    results = measure_shelf(lambda *done: told.append(done), runs=6, turns=1)
    assert results["runs"] == 6
    assert told[-1][0] == "completing a name"
    for name in ("first_list_seconds", "list_seconds", "completion_seconds"):
        assert 0.05 < results[name] < 60
    assert {*results["bars"]} < {*results}


def test_a_sweep_is_held_against_its_members():
    told = []
    results = measure_sweep(lambda *done: told.append(done), members=3, steps=100)
    assert (results["members"], results["steps"]) == (3, 100)
    assert told == [("a sweep of 3 members", 0, None)]
    assert results["ratio"] == pytest.approx(
        results["wall_seconds"] * results["workers"] / (3 * results["member_seconds"])
    )
    assert results["ratio"] > 1
    assert {*results["bars"]} < {*results}


def test_a_view_is_timed_and_ended(monkeypatch):
    """Help before the first frame, that before the first point; and no engine is left."""
    paths = []
    made = OnTerminal.__init__

    def noted(self, *arguments, runs):
        paths.append(runs)
        made(self, *arguments, runs=runs)

    monkeypatch.setattr(OnTerminal, "__init__", noted)
    results = measure_terminal(lambda *_: None, turns=1, watched=1.0)
    assert results["help_seconds"] > 0.05
    assert 0.1 < results["first_frame_seconds"] < results["first_point_seconds"] < 120
    assert 0.5 < results["kilobytes_per_second"] < 500
    assert {*results["bars"]} < {*results}
    assert len(paths) == 2
    assert not any(path.exists() or engine_alive(path) for path in paths)


def test_a_program_that_ends_is_told(tmp_path):
    """What it said last, instead of waiting for two minutes."""
    program = OnTerminal("run", "digits-mpl", runs=tmp_path)
    with pytest.raises(EostuiError, match=r"ended before it showed .*did you mean `digits-mlp`"):
        program.until(re.compile(b"never"))
    program.close()


@pytest.mark.parametrize("name", bench_parts.PARTS)
def test_a_part_is_printed_with_its_bars(name, monkeypatch):
    """All its lines in the table, all its figures in the JSON; two parts at once are refused."""
    figures = {key: 2.5 for key, _, _ in bench_parts.PARTS[name].lines}
    about = {
        "steps": 7,
        "runs": 8,
        "preset": "digits-mlp",
        "members": 9,
        "workers": 2,
        "compared_runs": 5,
    }
    bars = {"bars": {next(iter(figures)): 1.25}}
    monkeypatch.setattr(
        bench_parts, "_measure", lambda _: lambda _say: {**about, **figures, **bars}
    )
    shown = CliRunner().invoke(app, ["bench", f"--{name}"])
    assert shown.exit_code == 0
    assert len(re.findall(r" 2\.50 (s|ms|MB|KB/s|×)", shown.stdout)) == len(figures)
    assert shown.stdout.count("(bar: 1.25 ") == 1
    assert "{" not in shown.stdout
    told = json.loads(CliRunner().invoke(app, ["bench", f"--{name}", "--json"]).stdout)
    assert told == {**about, **figures, **bars}
    other = next(part for part in bench_parts.PARTS if part != name)
    refused = CliRunner().invoke(app, ["bench", f"--{name}", f"--{other}"])
    assert "are benches of their own: choose one" in str(refused.exception)
