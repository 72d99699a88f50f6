"""A sweep's name where commands take runs."""

from __future__ import annotations

import csv

import pytest
from made_sweeps import finish, make_sweep
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.cli.members import with_members
from eostui.errors import InputError


@pytest.fixture
def sweep(tmp_path):
    sweep = make_sweep(tmp_path, {"weight_decay": [0.0, 0.001, 0.01]}, name="lam")
    finish(sweep, [0, 2])
    return sweep


def called(folder, *arguments):
    result = CliRunner().invoke(app, [*arguments, "--runs-dir", str(folder)])
    assert not result.exit_code, (result.output, result.exception)
    return result


@pytest.mark.parametrize("way", ["id", "name", "end", "path"])
def test_a_sweep_stands_for_its_members_that_began(sweep, tmp_path, capsys, way):
    name = {"id": sweep.id, "name": "lam", "end": sweep.id[-4:], "path": str(sweep.path)}[way]
    named = with_members(tmp_path, [name])
    assert named.runs == [str(sweep.run_paths[0]), str(sweep.run_paths[2])]
    assert named.sweep == sweep.id
    assert f"1 of the 3 members of sweep {sweep.id} haven't begun" in capsys.readouterr().err


def test_a_member_beside_its_sweep_is_meant_once(sweep, tmp_path):
    member = str(sweep.run_paths[2])
    assert with_members(tmp_path, [member, "lam"]) == ([member, str(sweep.run_paths[0])], "")


def test_a_sweep_of_which_nothing_began_says_what_begins_it(tmp_path):
    sweep = make_sweep(tmp_path, {"seed": [1, 2]})
    with pytest.raises(InputError, match=f"none of the 2 members .* `eostui resume {sweep.id}`"):
        with_members(tmp_path, [sweep.id])


def test_members_are_exported_compared_and_plotted(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called(tmp_path, "export", "lam")
    with open(f"{sweep.id}.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows[::601]] == [sweep.run_paths[n].name for n in (0, 2)]
    table = called(tmp_path, "compare", "lam", "--table").stdout.splitlines()
    assert [line.split()[1] for line in table] == ["λ", "0", "0.01"]
    assert "at rest, against λ" in called(tmp_path, "plot", "lam", "--height", "40").stdout
    called(tmp_path, "figure", "lam", "--panel", "rest")
    assert (tmp_path / f"{sweep.id}.pdf").exists()
