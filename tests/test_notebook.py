"""Runs as a notebook has them: columns by name, the model at any step, many runs as one frame."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch
from engines import Engine, entry, here, small
from made import make_run
from own import write
from random_runs import rows, written

import eostui
from eostui import notebook
from eostui.engine.rebuilt import Rebuilt
from eostui.errors import InputError
from eostui.notebook import Runs
from eostui.runs.export import export_files
from eostui.runs.launch import Fork, Resume
from eostui.runs.store import checkpoints
from eostui.runs.store.writer import RunWriter
from eostui.sweeps.names import rename

pytestmark = pytest.mark.usefixtures("one_thread")

#: Steered, with checkpoints on the way.
STEERED = {
    10: [("set", {"eta": 0.2})],
    20: [("checkpoint", {})],
    25: [("set", {"weight_decay": 0.01})],
    40: [("checkpoint", {})],
}


@pytest.fixture(scope="module")
def shelf_folder(tmp_path_factory):
    """A steered run of 60 steps, a fork of it from step 33 on, and that gone on with to step 70."""
    folder = tmp_path_factory.mktemp("runs")
    parent = here(small(steps=60, checkpoint_every=0.0), folder, STEERED)
    rename(entry(parent), "parent", folder)
    child = here(Fork(entry(parent), 33, {"eta": 0.05, "steps": 50}), folder)
    here(Resume(entry(child), steps=70), folder)
    return folder, parent, child


def stored(path, step):
    """θ of a checkpoint, read from its file."""
    (file,) = [file for file in checkpoints.files(path) if file.step == step]
    return torch.from_numpy(np.array(checkpoints.read(file.path).tensors["trainer.theta"]))


def copied(path, folder, *keep):
    """A copy of a run of which only some checkpoints are left."""
    shutil.copytree(path, folder / path.name)
    for file in checkpoints.files(folder / path.name):
        if file.step not in keep:
            file.path.unlink()
    return folder / path.name


# --- columns ---------------------------------------------------------------------------------------


def test_a_run_is_a_mapping_of_the_columns_of_its_csv(shelf_folder, tmp_path):
    run = eostui.open_run(shelf_folder[1])
    export_files(run, tmp_path / "run.csv")
    table = pandas.read_csv(tmp_path / "run.csv", float_precision="round_trip")
    assert isinstance(run, Mapping)
    assert list(run) == list(run.keys()) == list(table)
    assert len(run) == len(table.columns)
    for name, values in run.items():
        np.testing.assert_array_equal(values, table[name], err_msg=name)
    assert "sharpness" in run
    assert "sharpnes" not in run
    assert 3 not in run
    assert run.get("eig_9") is None
    assert 0 < np.isfinite(run["sharpness"]).sum() < len(run["sharpness"]) == run.last_step + 1
    with pytest.raises(KeyError, match="has no column `sharpnes`; did you mean `sharpness`"):
        run["sharpnes"]


def test_runs_are_equal_only_if_they_are_the_same(shelf_folder):
    one, other = eostui.open_run(shelf_folder[1]), eostui.open_run(shelf_folder[1])
    assert one == one.until(10) or one != other
    assert len({one, other}) == 2
    assert repr(one) == "<OpenRun parent: finished, at step 60>"


def test_a_column_is_read_alone(shelf_folder):
    """The others aren't computed for it, and the array is the caller's own."""
    run = eostui.open_run(shelf_folder[1])
    assert list(run.columns(names=("loss", "sharpness", "none"))) == ["loss", "sharpness"]
    run["loss"][:] = 0
    assert run["loss"].min() > 0


def test_a_run_is_found_by_all_that_a_command_finds_it_by(shelf_folder, tmp_path, monkeypatch):
    folder, parent, child = shelf_folder
    monkeypatch.setenv("EOSTUI_RUNS", str(folder))
    for wanted in ("parent", parent.name, parent.name[-4:], parent, str(parent)):
        assert eostui.open_run(wanted).path == parent, wanted
    assert eostui.open_run().path == child
    assert eostui.open_run("parent", runs_dir=folder).path == parent
    with pytest.raises(InputError, match=r"there is no run `parnt` .*; did you mean `parent`"):
        eostui.open_run("parnt")
    for letter in "ab":
        written(tmp_path / f"{letter}-xxxx", rows(3))
    with pytest.raises(InputError, match=r"`xxxx` could be .-xxxx, .-xxxx: type more of it"):
        eostui.open_run("xxxx", runs_dir=tmp_path)


# --- θ ---------------------------------------------------------------------------------------------


def test_theta_is_that_of_the_checkpoint_and_of_the_row(shelf_folder, tmp_path):
    """Repeated from the checkpoint before, and from step 0: the same to the bit."""
    _, parent, _ = shelf_folder
    assert {20, 40} < {file.step for file in checkpoints.files(parent)}
    with_one = eostui.open_run(copied(parent, tmp_path / "a", 20))
    with_none = eostui.open_run(copied(parent, tmp_path / "b"))
    wanted = stored(parent, 40)
    for run in (eostui.open_run(parent), with_one, with_none):
        assert torch.equal(run.theta(40), wanted)
        problem = run.problem()
        for step in (0, 9, 33, 39, 60, -1):
            theta = run.theta(step)
            assert float(theta.double().norm()) == run["theta_norm"][step]
            assert float(problem.loss(theta)) == pytest.approx(run["loss"][step], rel=1e-6)
        assert torch.equal(run.theta(), run.theta(60))
        assert torch.equal(run.theta(0), problem.initial)


def test_steps_are_those_of_plain_gradient_descent(shelf_folder):
    """From one θ to the next by autograd and the row's own η and λ alone."""
    run = eostui.open_run(shelf_folder[1])
    problem = run.problem()
    for step in (5, 24, 30):
        theta = run.theta(step).requires_grad_()
        (gradient,) = torch.autograd.grad(problem.loss(theta), theta)
        eta, decay = run["eta"][step], run["weight_decay"][step]
        wanted = theta.detach() - eta * (gradient + decay * theta.detach())
        torch.testing.assert_close(run.theta(step + 1), wanted, rtol=1e-6, atol=1e-7)
    assert {*run["eta"]} == {0.3, 0.2}  # steered on the way


def test_a_forks_inherited_steps_are_its_parents(shelf_folder, tmp_path):
    """Before the fork the parent's, after it its own, and through a resume; or a sentence."""
    _, parent, child = shelf_folder
    run, above = eostui.open_run(child), eostui.open_run(parent)
    for step in (0, 20, 32, 33):
        assert torch.equal(run.theta(step), above.theta(step))
    for step in (34, 50, 51, 70):
        assert not torch.equal(run.theta(step), above.theta(min(step, 60)))
        assert float(run.theta(step).double().norm()) == run["theta_norm"][step]
    alone = eostui.open_run(copied(child, tmp_path / "alone", 33))
    assert torch.equal(alone.theta(70), run.theta(70))
    with pytest.raises(InputError, match=rf"step 32 is {parent.name}'s, which isn't beside it"):
        alone.theta(32)
    written(tmp_path / "alone" / parent.name, rows(61))
    with pytest.raises(InputError, match="the run of that id beside it is another one"):
        alone.theta(32)
    lost = eostui.open_run(copied(child, tmp_path / "lost"))
    with pytest.raises(Exception, match="nothing else leads to its own steps"):
        lost.theta(60)
    assert lost.problem().initial.shape == run.theta(0).shape  # that can be had all the same


def test_one_step_after_the_other_costs_one_pass(shelf_folder, tmp_path, monkeypatch):
    """What was repeated last is gone on from."""
    run = eostui.open_run(copied(shelf_folder[1], tmp_path / "a"))
    taken = []
    theta = Rebuilt.theta
    monkeypatch.setattr(
        Rebuilt,
        "theta",
        lambda self, step, _: theta(self, step, lambda *told: taken.append(told[0])),
    )
    for step in (12, 30, 30, 45):
        run.theta(step)
    assert taken == list(range(1, 46))


@pytest.mark.parametrize("step", [61, 1000, -62])
def test_a_step_that_is_not_there_is_a_sentence(shelf_folder, step):
    with pytest.raises(InputError, match=rf"has no step {step}: it has steps 0 to 60"):
        eostui.open_run(shelf_folder[1]).theta(step)


def test_a_run_without_steps(tmp_path):
    run = eostui.open_run(written(tmp_path / "r", rows(0)))
    with pytest.raises(InputError, match="has no steps yet"):
        run.theta()
    assert len(run["loss"]) == 0


def test_the_process_stays_as_it_was(shelf_folder, tmp_path):
    """Threads, random numbers, determinism: a notebook's own."""
    run = eostui.open_run(copied(shelf_folder[1], tmp_path / "a"))
    before = torch.get_num_threads()
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(2)  # the run has one
    try:
        torch.manual_seed(5), np.random.seed(5), random.seed(5)
        wanted = torch.rand(1), np.random.rand(), random.random()
        torch.manual_seed(5), np.random.seed(5), random.seed(5)
        theta = run.theta(15)
        assert (torch.rand(1), np.random.rand(), random.random()) == wanted
        assert torch.get_num_threads() == 2
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_num_threads(before)
    assert float(theta.double().norm()) == run["theta_norm"][15]


def test_defaults_of_a_notebook_change_nothing(shelf_folder, tmp_path):
    """Another precision, no gradients, inference alone: θ is the same to the bit."""
    run = eostui.open_run(copied(shelf_folder[1], tmp_path / "a"))
    wanted = eostui.open_run(shelf_folder[1]).theta(15)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), torch.inference_mode():
            assert torch.equal(run.theta(15), wanted)
            assert run.module(15)[1].weight.dtype == torch.float32
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_long_repetition_is_told(monkeypatch, capsys):
    """Where there is no terminal: after some seconds, then now and then, and what it took."""
    now = [100.0]
    monkeypatch.setattr("eostui.notebook.time", SimpleNamespace(monotonic=lambda: now[0]))
    with notebook._Repetition("r-aaaa") as progress:
        for step in range(101, 401):
            now[0] += 0.125
            progress(step, 100, 400)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "r-aaaa: 24 of 300 steps repeated, 8/s, 34 s left"
    assert len(lines) == 5  # at 3, 13, 23, 33 s, and the end
    assert lines[-1].startswith("r-aaaa: 300 steps repeated in 38 s; this process has taken ")
    with notebook._Repetition("r-aaaa") as progress:
        progress(1, 0, 1)
    assert capsys.readouterr().err == ""


def test_an_interrupted_repetition_can_be_begun_again(shelf_folder, tmp_path, monkeypatch):
    """ctrl+c goes through, and leaves all as it was."""
    run = eostui.open_run(copied(shelf_folder[1], tmp_path / "a"))
    run.problem()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(notebook._Repetition, "__call__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.theta(15)
    monkeypatch.undo()
    assert torch.equal(run.theta(15), eostui.open_run(shelf_folder[1]).theta(15))


def test_a_device_that_is_not_here(shelf_folder, tmp_path, capsys):
    """The CPU instead, and stderr says so."""
    path = copied(shelf_folder[1], tmp_path / "a")
    writer = RunWriter(path)
    writer.fact("device", "cuda:7")
    writer.close()
    run = eostui.open_run(path)
    assert torch.equal(run.theta(40), stored(shelf_folder[1], 40))
    assert "was computed on cuda:7, which isn't here: on cpu" in capsys.readouterr().err


def test_changed_data(small_files, tmp_path, capsys):
    """What a checkpoint has can be had, what must be repeated can't; the problem comes with a word."""
    file = tmp_path / "data.npz"
    shutil.copy(small_files["mlp"], file)
    config = small(
        steps=30, checkpoint_every=0.0, data="npz", data_file=str(file), samples=7, width=4
    )
    path = here(config, tmp_path, {20: [("checkpoint", {})]})
    before = eostui.open_run(path)
    wanted = before.theta(20), before.theta(10)
    with np.load(file) as data:
        np.savez(file, x=data["x"] * 3 + 1, y=(data["y"] + 1) % 3)
    run = eostui.open_run(path)
    assert torch.equal(run.theta(20), wanted[0])
    with pytest.raises(InputError, match="can be repeated once what was there is put back"):
        run.theta(10)
    run.problem()
    assert "this isn't the problem that it was trained on" in capsys.readouterr().err
    # gone on with on other data: the steps from there on are of those
    here(Resume(entry(path), steps=50, changed_data=True), tmp_path)
    run = eostui.open_run(path)
    assert float(run.theta(40).double().norm()) == run["theta_norm"][40]
    assert torch.equal(run.theta(20), wanted[0])
    with pytest.raises(InputError, match=r"changed data at step 31.*at its checkpoints: step 20"):
        run.theta(10)


def test_a_live_run(tmp_path):
    """θ of the steps that it has, and more of them after `refresh`."""
    engine = Engine(small(steps=100_000), tmp_path)
    try:
        engine.reaches(30)
        run = eostui.open_run(engine.path)
        assert run.state == "running"
        step = run.last_step
        assert float(run.theta(20).double().norm()) == run["theta_norm"][20]
        engine.reaches(step + 200)
        assert run.refresh()
        assert run.last_step > step
    finally:
        engine.kill()


# --- the module ------------------------------------------------------------------------------------


def test_the_module_is_the_network_at_that_step(shelf_folder):
    """Its loss and its accuracy on the problem's data are the record's; changing it changes nothing."""
    run = eostui.open_run(shelf_folder[1])
    data = run.problem().arrays
    for step in (0, 37, 50):
        module = run.module(step)
        assert isinstance(module, torch.nn.Module)
        with torch.no_grad():
            outputs, tested = module(data["inputs"]), module(data["test_inputs"])
        loss = 0.5 * (outputs - data["targets"]).square().sum(1).mean()
        assert float(loss) == pytest.approx(run["loss"][step], rel=1e-5)
        if step % 50 == 0:
            right = (tested.argmax(1) == data["test_targets"].argmax(1)).double().mean()
            assert float(right) == pytest.approx(run["test_accuracy"][step])
    parameters = torch.nn.utils.parameters_to_vector(module.parameters())
    assert torch.equal(parameters, run.theta(50))
    with torch.no_grad():
        parameters.zero_()
        for parameter in module.parameters():
            parameter.zero_()
    assert run.module(50)[1].weight.abs().sum() > 0


OWN = """
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.frozen, self.last = nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 2)
        self.frozen.requires_grad_(False)
        self.again = self.first
        self.register_buffer("shift", torch.tensor(0.25))

    def forward(self, x):
        return self.last(torch.tanh(self.frozen(self.again(x) + self.shift)))


def f(*, device, dtype, chunk_size):
    return made(Tied(), dtype, chunk_size=chunk_size)
"""


@pytest.mark.parametrize("chunk_size", [0, 5])
def test_the_module_of_a_problem_of_ones_own(tmp_path, chunk_size):
    """With tied and frozen parameters, a buffer, in chunks; its code needs the user's word."""
    own = write(tmp_path, OWN, chunk_size=chunk_size, steps=20, device="cpu", threads=1, eta=0.05)
    path = here(own, tmp_path)
    with pytest.raises(InputError, match="if you trust it say so with `trust_code=True`"):
        eostui.open_run(path).module(7)
    run = eostui.open_run(path, trust_code=True)
    module, data = run.module(7), run.problem().arrays
    assert module.again is module.first
    assert [n for n, p in module.named_parameters() if not p.requires_grad] == [
        "frozen.weight", "frozen.bias",
    ]  # fmt: skip
    loss = 0.5 * (module(data["inputs"]) - data["targets"]).square().sum() / 12
    assert loss.item() == pytest.approx(run["loss"][7], rel=1e-12)


def test_a_toy_has_no_module(tmp_path):
    path = here(small(problem="cubic-normal-form", steps=10, eta=0.01), tmp_path)
    run = eostui.open_run(path)
    assert float(run.problem().loss(run.theta(5))) == pytest.approx(run["loss"][5], rel=1e-6)
    with pytest.raises(InputError, match="a function of θ alone: there is no module in it"):
        run.module(5)


# --- many ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two λ, two seeds, and a toy."""
    folder = tmp_path_factory.mktemp("grid")
    for decay in (0.0, 0.01):
        for seed in (1, 2):
            path = here(small(steps=30, weight_decay=decay, seed=seed), folder)
            rename(entry(path), f"w{decay:g}-{seed}", folder)
    here(small(problem="cubic-normal-form", steps=10, eta=0.01, preset="toy"), folder)
    return folder


def test_runs_are_found_by_a_filter(grid, monkeypatch):
    monkeypatch.setenv("EOSTUI_RUNS", str(grid))
    runs = eostui.open_runs("preset:small weight_decay>0")
    assert isinstance(runs, Runs)
    assert [run.facts["name"] for run in runs] == ["w0.01-1", "w0.01-2"]
    assert runs.labels == ("seed 1", "seed 2")
    assert runs[0] is runs[0] is not runs[-1]
    assert [run.path for run in runs[1:]] == [runs[1].path]
    assert runs[0].theta(10).shape == runs[0].problem().initial.shape
    assert repr(runs) == "<2 runs: seed 1, seed 2>"
    assert len(eostui.open_runs()) == 5
    with pytest.raises(InputError, match="did you mean `weight_decay`"):
        eostui.open_runs("weight_deca>0")
    with pytest.raises(IndexError):
        runs[2]


@pytest.mark.parametrize("measured_only", [False, True])
def test_their_frame_is_the_table_of_an_export(grid, tmp_path, measured_only):
    runs = eostui.open_runs(runs_dir=grid)
    frame = runs.frame(measured_only=measured_only)
    export_files(list(runs), tmp_path / "a.parquet", format="parquet", measured_only=measured_only)
    read = pandas.read_parquet(tmp_path / "a.parquet")
    assert list(read) == list(frame)
    pandas.testing.assert_frame_equal(frame, read, check_dtype=False)
    means = frame[frame["preset"] == "small"].groupby("run_weight_decay")["loss"].mean()
    for decay, mean in means.items():
        chosen = [run for run in runs if run.facts["name"].startswith(f"w{decay:g}-")]
        losses = [run.columns(measured_only=measured_only)["loss"] for run in chosen]
        assert mean == pytest.approx(np.concatenate(losses).mean())
    few = runs[:2].frame(["loss", "sharpness"])
    assert list(few) == ["run", "name", "seed", "step", "loss", "sharpness"]
    with pytest.raises(InputError, match="no run has a column `los`; did you mean `loss`"):
        runs.frame(["los"])


def test_their_settings(grid):
    settings = eostui.open_runs("preset:small", runs_dir=grid).settings
    assert list(settings) == [
        "name",
        "label",
        "state",
        "last_step",
        "seed",
        "weight_decay",
    ] or list(settings) == ["name", "label", "state", "last_step", "weight_decay", "seed"]
    assert settings["weight_decay"].tolist() == [0, 0, 0.01, 0.01]
    assert settings["label"].is_unique
    assert settings["last_step"].tolist() == [30] * 4


def test_an_empty_shelf(tmp_path):
    runs = eostui.open_runs(runs_dir=tmp_path)
    assert (len(runs), len(runs.frame()), len(runs.settings), repr(runs)) == (0, 0, 0, "<0 runs>")


def test_more_runs_than_a_process_may_have_open_files(tmp_path):
    """And no torch for all that."""
    for number in range(30):
        written(tmp_path / f"r-{number:04}", rows(20, seed=number), created=f"{number}.0")
    code = """
    import resource, sys
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    import eostui
    runs = eostui.open_runs()
    frame = runs.frame()
    print(len(runs), len(frame), frame["run"].nunique(), runs[-1]["loss"].shape)
    print({"torch", "textual", "typer"} & set(sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True,
        env={**os.environ, "EOSTUI_RUNS": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.split("\n")[:2] == ["30 600 30 (20,)", "set()"], done.stderr


def test_what_the_guide_shows_of_python_runs(grid, monkeypatch, capsys):
    """Its lines, one after the other, on a shelf of which they are true."""
    guide = (Path(__file__).parents[1] / "docs" / "guide.md").read_text(encoding="utf-8")
    section = guide.partition("## From Python\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    assert blocks
    folder = grid / "guide"
    for decay in (0.01, 0.02):
        path = here(small(steps=60, preset="digits-mlp", weight_decay=decay), folder)
    rename(entry(path), "baseline", folder)
    monkeypatch.setenv("EOSTUI_RUNS", str(folder))
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "guide.md", "exec"), names)
    assert capsys.readouterr().err.count("Error") == 0


def test_wrong_arguments_get_a_sentence(tmp_path, monkeypatch):
    """What isn't a run, a filter, a folder, a step; a name of a column alone is one column."""
    monkeypatch.setenv("EOSTUI_RUNS", str(tmp_path))
    make_run(tmp_path / "made-aaaa", 60)
    for wrong, sentence in (
        (lambda: eostui.open_run(3), "a run is an id, the end of it, a name or a path, not 3"),
        (
            lambda: eostui.open_runs(["made"]),
            "a filter is a text such as 'digits λ>0', not ['made']",
        ),
        (
            lambda: eostui.open_runs(runs_dir=tmp_path / "no"),
            f"there is no folder of runs {tmp_path}/no",
        ),
        (
            lambda: eostui.open_run().theta(2.5),
            "made-aaaa: a step is a whole number, and isn't 2.5",
        ),
        (
            lambda: eostui.open_run().module("last"),
            "made-aaaa: a step is a whole number, and isn't 'last'",
        ),
    ):
        with pytest.raises(InputError) as caught:
            wrong()
        assert str(caught.value) == sentence
    assert [*eostui.open_runs().frame("loss").columns] == ["run", "name", "step", "loss"]
    assert eostui.open_run()._row(np.int64(-1)) == 60
