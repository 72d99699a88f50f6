"""`eostui slice`: what it prints of a record, against `open_run`'s model and a dense Hessian."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import entry, here, small
from typer.testing import CliRunner

import eostui
from eostui.cli.app import app
from eostui.errors import InputError
from eostui.runs.launch import Fork
from eostui.sweeps.names import rename

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 30 steps with decay, and a fork of it from step 20 on."""
    folder = tmp_path_factory.mktemp("runs")
    path = here(small(steps=30, width=3, dtype="float64", weight_decay=0.01, eta=0.2), folder)
    rename(entry(path), "first", folder)
    fork = here(Fork(entry(path), 20, {"steps": 26}), folder)
    rename(entry(fork), "forked", folder)
    return folder


def called(folder: Path, *arguments: str):
    return CliRunner().invoke(
        app, ["slice", *arguments], env={"EOSTUI_RUNS": str(folder), "COLUMNS": "130"}
    )


def test_L_and_S_at_every_point_are_those_of_the_model(folder):
    """Of all three directions, by autograd alone; S from the Hessian of all 235 parameters."""
    found = called(folder, "first", "--at", "17", "--points", "5", "--json")
    assert found.exit_code == 0, found.stderr
    told = json.loads(found.stdout)
    assert [cut["along"] for cut in told["slices"]] == ["gradient", "u", "sharpness"]
    run = eostui.open_run("first", runs_dir=folder)
    theta, loss = run.theta(17), run.problem().loss
    values, vectors = torch.linalg.eigh(torch.func.hessian(loss)(theta))
    u = vectors[:, -1]

    def bent(at):  # uᵀHu with u held fixed: its gradient is ∇S
        return torch.func.jvp(
            lambda x: torch.func.jvp(lambda y: loss(y), (x,), (u,))[1], (at,), (u,)
        )[1]

    directions = [-torch.func.grad(loss)(theta), u, torch.func.grad(bent)(theta)]
    for cut, direction in zip(told["slices"], directions, strict=True):
        direction = direction / direction.norm()
        side = 1.0 if cut["along"] != "u" or float(direction @ directions[0]) > 0 else -1.0
        assert cut["x"][-1] == pytest.approx(2 * run.steps["step_norm"][17], rel=1e-12)
        for x, value, sharpness in zip(cut["x"], cut["loss"], cut["sharpness"], strict=True):
            at = theta + side * x * direction
            assert value == pytest.approx(float(loss(at)), rel=1e-9)
            dense = torch.linalg.eigvalsh(torch.func.hessian(loss)(at))
            assert sharpness == pytest.approx(float(dense[-1]), rel=1e-4)
        places = {place["step"]: place for place in cut["places"]}
        assert sorted(places) == [16, 17, 18]
        away = run.theta(18) - theta
        assert places[18]["x"] == pytest.approx(side * float(away @ direction), rel=1e-4, abs=1e-9)
    assert list(cut["thresholds"].values()) == pytest.approx([10.0, 9.99])
    assert float(values[-1] - values[-2]) > 1e-3  # u is one direction here


def test_pictures_tables_and_csv(folder, tmp_path):
    series = ("first", "--at", "4:8:4,-1", "--along", "u", "--points", "3")
    found = called(folder, *series)
    assert found.exit_code == 0, found.stderr
    for step in (4, 8, 30):
        assert f"L along u at step {step}" in found.stdout
    table = [line.split() for line in found.stdout.splitlines()[-4:]]
    assert table[0][:3] == ["step", "along", "L"]
    assert [row[0] for row in table[1:]] == ["4", "8", "30"]
    assert "\x1b" not in found.stdout
    rows = list(csv.DictReader(io.StringIO(called(folder, *series, "--csv", "-").stdout)))
    assert len(rows) == 3 * 3
    assert rows[0].keys() == {"step", "along", "x", "loss", "sharpness", "sharpness_residual"}
    middle = rows[1]
    run = eostui.open_run("first", runs_dir=folder)
    assert (middle["step"], float(middle["x"])) == ("4", 0.0)
    assert float(middle["loss"]) == run.steps["loss"][4]
    target = tmp_path / "cut.svg"
    drawn = called(
        folder, *series, "--no-sharpness", "--csv", str(tmp_path / "cut.csv"), "-o", str(target)
    )
    assert drawn.exit_code == 0, drawn.stderr
    assert not drawn.stdout
    assert "eostui slice" in target.read_text()
    assert len((tmp_path / "cut.csv").read_text().splitlines()) == 10


def test_a_plane_in_the_terminal_as_data_and_as_a_figure(folder, tmp_path):
    arguments = ("first", "--at", "12", "--plane", "--points", "4", "--path", "5")
    found = called(folder, *arguments, "--width", "120")
    assert found.exit_code == 0, found.stderr
    assert "L over u (→) and ∇S⊥ (↑) at step 12" in found.stdout
    steps = [line.split()[0] for line in found.stdout.splitlines()[-7:]]
    assert steps == [str(step) for step in range(7, 14)]
    plane = json.loads(called(folder, *arguments, "--json").stdout)["plane"]
    assert np.shape(plane["sharpness"]) == (4, 4)
    rows = list(csv.DictReader(io.StringIO(called(folder, *arguments, "--csv", "-").stdout)))
    assert [float(row["loss"]) for row in rows] == list(np.ravel(plane["loss"]))
    target = tmp_path / "plane.png"
    assert called(folder, *arguments, "-o", str(target)).exit_code == 0
    assert target.read_bytes().startswith(b"\x89PNG")


def test_a_fork_has_the_steps_of_its_own(folder):
    found = called(folder, "forked", "--at", "20", "--along", "gradient", "--points", "3", "--json")
    assert found.exit_code == 0, found.stderr
    (cut,) = json.loads(found.stdout)["slices"]
    assert [place["step"] for place in cut["places"]] == [20, 21]
    refused = called(folder, "forked", "--at", "19")
    assert isinstance(refused.exception, InputError)
    assert "ask its parent for step 19" in str(refused.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--along", "gradiant"], "did you mean `gradient`"),
        (["--at", "31"], "it has steps 0 to 30"),
        (["--at", "5:3"], "must rise"),
        (["--at", "1:9:0"], "140:164:4"),
        (["--at", "soon"], "140:164:4"),
        (["--points", "4"], "an odd number"),
        (["--reach", "0"], "above 0"),
        (["--reach", "nan"], "above 0"),
        (["--unit", "bounces"], "did you mean `bounce`"),
        (["--path", "3"], "say --plane too"),
        (["--plane", "--at", "3,4"], "of one step"),
        (["--plane", "--unit", "theta"], "as far as the path"),
        (["--csv", "-", "--json"], "both want stdout"),
        (["-o", "cut.gif"], ".pdf, .svg or .png"),
        (["-o", "cut.svg", "--at", "0:30"], "24 slices at most"),
    ],
)
def test_what_is_wrong_is_one_sentence(folder, arguments, said):
    found = called(folder, "first", *arguments)
    assert isinstance(found.exception, InputError), found.output
    assert said in str(found.exception)


def test_what_overflows_is_told(folder):
    arguments = ("first", "--at", "3", "--unit", "theta", "--reach", "1e200", "--along", "u")
    found = called(folder, *arguments, "--points", "5", "--json")
    assert found.exit_code == 0, found.stderr
    (cut,) = json.loads(found.stdout)["slices"]
    assert cut["sharpness"][2] is not None
    assert cut["loss"][0] is None or cut["sharpness"][0] is None
    assert "isn't finite at 4 of 5 points" in found.stderr
    assert called(folder, *arguments, "--points", "5").exit_code == 0
