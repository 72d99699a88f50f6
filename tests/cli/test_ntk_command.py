"""`eostui ntk`: the kernel of runs at a step, against what is computed of `open_run`'s model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import assert_same_rows, entry, here, small
from typer.testing import CliRunner

import eostui
from eostui.cli.app import app
from eostui.errors import InputError
from eostui.runs.launch import Fork, Resume
from eostui.sweeps.names import rename

pytestmark = pytest.mark.usefixtures("one_thread")

PROBED = {"probes": ("ntk", "weyl"), "ntk_cadence": 10, "ntk_samples": 20}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of 40 steps that differ in η, the first with both probes."""
    folder = tmp_path_factory.mktemp("runs")
    for name, values in (("first", PROBED), ("second", {"eta": 0.1})):
        path = here(small(steps=40, checkpoint_every=0.0, **values), folder)
        rename(entry(path), name, folder)
    return folder


def called(folder: Path, *arguments: str):
    return CliRunner().invoke(
        app, ["ntk", *arguments], env={"EOSTUI_RUNS": str(folder), "COLUMNS": "200"}
    )


def test_it_tells_what_the_model_of_a_step_has(folder):
    """λ₁ of all forms at step 17, from J of the module that `open_run` gives, by torch.func."""
    found = called(folder, "first", "--at", "17", "--samples", "8,30,all", "--json")
    assert found.exit_code == 0, found.stderr
    (told,) = json.loads(found.stdout)
    run = eostui.open_run("first", runs_dir=folder)
    assert (told["step"], told["split"], told["name"]) == (17, "train", "first")
    assert told["loss"] == pytest.approx(run.steps["loss"][17], rel=1e-6)
    assert [row["n"] for row in told["samples"]] == [8, 30, 100]

    module = run.module(17)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    inputs = run.problem().arrays["inputs"][order]
    parameters = dict(module.named_parameters())
    for row in told["samples"]:
        n = row["n"]

        def outputs(values, n=n):
            return torch.func.functional_call(module, values, (inputs[:n],))

        pieces = torch.func.jacrev(outputs)(parameters)
        rows = torch.cat([piece.flatten(2) for piece in pieces.values()], 2).double()
        flat = rows.flatten(0, 1)
        kernels = {
            "full": flat @ flat.T / n,
            "summed": rows.sum(1) @ rows.sum(1).T / n,
            "traced": torch.einsum("icp,jcp->ij", rows, rows) / n,
        }
        for form, kernel in kernels.items():
            largest = float(torch.linalg.eigvalsh(kernel)[-1])
            assert row[form]["largest"] == pytest.approx(largest, rel=1e-5)
            assert row[form]["norm"] == pytest.approx(float(kernel.norm()), rel=1e-5)


def test_a_table_with_a_line_for_each_number_and_a_sentence_for_each_run(folder):
    found = called(folder, "first", "second", "--split", "test", "--samples", "10,20")
    assert found.exit_code == 0, found.stderr
    lines = found.stdout.splitlines()
    titles = lines[0].split()
    assert titles[:3] == ["run", "η", "probes"]
    cells = [line.split() for line in lines[1:5]]
    assert [each[0] for each in cells] == ["first", "first", "second", "second"]
    assert [each[1] for each in cells] == ["0.3", "0.3", "0.1", "0.1"]
    assert [each[titles.index("n")] for each in cells] == ["10", "20", "10", "20"]
    assert all("test samples" in line for line in lines[5:])
    assert len(lines) == 7
    alone = called(folder, "first", "--samples", "10").stdout.splitlines()
    assert alone[0].split()[:4] == ["run", "step", "L", "n"]
    assert len(alone) == 2  # of one number of samples there is nothing to say


def test_runs_are_compared_at_equal_loss(folder):
    with eostui.open_run("first", runs_dir=folder) as run:
        loss = run.steps["loss"]
        level = float(loss[20]) * 1.0001
        reached = int(np.flatnonzero(loss <= level)[0])
        least = float(loss.min())
    found = called(folder, "first", "second", "--at-loss", repr(level), "--samples", "5", "--json")
    assert found.exit_code == 0, found.stderr
    told = json.loads(found.stdout)
    assert told[0]["step"] == reached
    assert [each["settings"]["eta"] for each in told] == [0.3, 0.1]
    assert all(each["loss"] <= level * (1 + 1e-6) for each in told)
    found = called(folder, "first", "--at-loss", repr(least / 2))
    assert "is left out: its loss is" in found.stderr
    assert "no run has reached a loss of" in str(found.exception)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--samples", "many"), 'has "many", but each must be a whole number above 0, or all'),
        (("--samples", "0"), 'has "0", but each must be'),
        (("--samples", "101"), "there are 100 training samples, and 101 were asked for"),
        (("--at", "41"), "has no step 41: it has steps 0 to 40"),
        (("--at", "3", "--at-loss", "1"), "only one of --at and --at-loss"),
        (("--split", "tset"), "did you mean `test`"),
    ],
)
def test_wrong_input_is_answered_in_a_sentence(folder, arguments, sentence):
    found = called(folder, "first", *arguments)
    assert isinstance(found.exception, InputError)  # which `main` tells, with exit code 2
    assert sentence in str(found.exception)
    assert found.stdout == ""


def test_a_run_gone_on_with_and_a_fork_measure_the_same_to_the_bit(tmp_path, folder):
    (whole,) = [path for path in folder.iterdir() if entry(path).name == "first"]
    part = here(small(steps=25, checkpoint_every=0.0, **PROBED), tmp_path)
    here(Resume(entry(part), steps=40), tmp_path)
    assert_same_rows(whole, part)
    child = here(Fork(entry(part), 25, {"steps": 40}), tmp_path)
    columns = [column for column in eostui.open_run(whole) if column.startswith(("ntk", "weyl"))]
    assert "ntk_full_shares_1" in columns
    one, other = eostui.open_run(whole), eostui.open_run(child)
    for column in columns:
        np.testing.assert_array_equal(one[column][30:], other[column][30:], err_msg=column)
        assert np.isfinite(one[column][30]) or "shares_2" not in column


def test_the_export_has_the_arrays_a_column_each(folder, tmp_path):
    file = tmp_path / "first.csv"
    done = CliRunner().invoke(
        app, ["export", "first", "-o", str(file)], env={"EOSTUI_RUNS": str(folder)}
    )
    assert done.exit_code == 0, done.stderr
    header = file.read_text().splitlines()[0].split(",")
    assert {"ntk_full", "weyl_gap", "ntk_traced_eigenvalues_20", "ntk_full_shares_1"} <= {*header}
