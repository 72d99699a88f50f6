"""A run goes on with the problem that it was trained on; with another one where that is asked for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import torch
from engines import PATIENCE, Engine, derived, entry, here, small
from formats import kept
from terminal import Terminal
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.engine import fingerprint
from eostui.engine.fingerprint import PREFIX, ArrayPrint, changes
from eostui.errors import EostuiError, InputError, RunFormatError
from eostui.runs.fork import copy_history
from eostui.runs.launch import Fork, Resume, StartError
from eostui.runs.prune import delete_checkpoints
from eostui.runs.run import Run
from eostui.runs.store import checkpoints, schema
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.reader import facts_of
from eostui.runs.store.rows import checksum
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")

LAST = 60
OWN = """
import torch
from torch import nn
from eostui.problems import Problem

def make(*, device, dtype):
    module = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).to(device, dtype)
    x = torch.linspace(-1, 1, 20, device=device, dtype=dtype)[:, None]
    def loss(outputs, targets):
        return 0.5 * (outputs - targets).square().mean()
    return Problem.from_module(module, loss, x, torch.sin(3 * x), convention="half of MSE")
"""


@pytest.fixture
def data(tmp_path):
    """A file of samples in four classes, with test samples."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), np.arange(40) % 4
    np.savez(tmp_path / "d.npz", x=x, y=y, xt=x[:12] + 0.1, yt=y[:12])
    return tmp_path / "d.npz"


@pytest.fixture
def run(data, tmp_path):
    """A finished run of 60 steps on these, with a checkpoint before step 31 and one at its end."""
    config = small(
        data="npz", data_file=str(data), samples="all", width=6, steps=LAST, cadence=20,
        checkpoint_every=0, far_cadence=0,
    )  # fmt: skip
    path = here(config, tmp_path / "runs", {31: [("checkpoint", {})]})
    assert [file.step for file in checkpoints.files(path)] == [31, LAST + 1]
    return path


@pytest.fixture
def own(tmp_path):
    """A finished run of 60 steps of a problem of one's own, and its file."""
    file = tmp_path / "own.py"
    file.write_text(OWN)
    config = small(
        problem=f"{file}:make", steps=LAST, cadence=20, checkpoint_every=0, far_cadence=0
    )
    return here(config, tmp_path / "runs"), file


def edit_data(data, **arrays):
    with np.load(data) as file:
        np.savez(data, **{**file, **arrays})


def contents(path):
    """All that a run's record holds."""
    with contextlib.closing(sqlite3.connect(f"file:{path / 'run.db'}?mode=ro", uri=True)) as base:
        rows = list(base.iterdump())
    return rows, {file.path.name: file.path.read_bytes() for file in checkpoints.files(path)}


def events(path, *kinds):
    with Run(path) as opened:
        return [event for event in opened.events if event.kind in kinds]


def refused(path, *, replayed=True):
    """Go on, fork and replay in vain; return what was said to whoever wanted to go on."""
    before = contents(path)
    said = []
    ways = [Resume(entry(path), 80), Fork(entry(path), LAST + 1, {"steps": 80})]
    for way in [*ways, Fork(entry(path), 40, {"steps": 80})]:
        with pytest.raises(InputError) as error:
            here(way, path.parent)
        assert error.value.exit_code == 2
        assert path.name in str(error.value) or "`problem`" in str(error.value)
        said.append(str(error.value))
    if replayed:
        done = CliRunner().invoke(app, ["replay", str(path), "--trust-code"])
        assert isinstance(done.exception, InputError), done.output
    assert contents(path) == before
    assert entry(path).state == "finished"
    assert list(path.parent.iterdir()) == [path]
    return said[0]


# --- data -------------------------------------------------------------------------------------------


def _one_label(a):
    return {"y": np.where(np.arange(40) == 7, (a["y"] + 1) % 4, a["y"])}


CHANGES = {
    "the labels turned round": (lambda a: {"y": 3 - a["y"]}, "the targets changed; L at step 60 was"),
    "one label": (_one_label, "the targets changed; L at step 60 was"),
    "one input": (lambda a: {"x": a["x"] + 0.01 * (a["x"] == a["x"][3, 2])}, "the inputs changed"),
    "another order": (lambda a: {"x": a["x"][::-1], "y": a["y"][::-1]}, "the inputs changed"),
    "fewer samples": (lambda a: {"x": a["x"][:32], "y": a["y"][:32]}, "from 40×5 float32 to 32×5"),
    "other test targets": (lambda a: {"yt": 3 - a["yt"]}, "the test targets changed (L and ∇L"),
    "fewer test samples": (lambda a: {"xt": a["xt"][:9], "yt": a["yt"][:9]}, "from 12×4 float32 to 9×4"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_changed_data_are_refused(run, data, what):
    change, sentence = CHANGES[what]
    with np.load(data) as file:
        edit_data(data, **change(dict(file)))
    said = refused(run)
    assert sentence in said
    assert f"`eostui resume {run.name} --changed-data`" in said


@pytest.mark.parametrize("what", ["one label", "fewer test samples"])
def test_a_run_without_fingerprints(run, data, what):
    """By L and ∇L alone, and by how many samples there were, as the facts of older versions say."""
    without_fingerprints(run)
    change, _ = CHANGES[what]
    with np.load(data) as file:
        before = dict(file)
    edit_data(data, **change(before))
    sentence = "L at step 60 was" if what == "one label" else "it has 9 test samples, and had 12"
    assert sentence in refused(run)
    np.savez(data, **before)
    here(Resume(entry(run), 80), run.parent)
    (told,) = events(run, "continued")
    assert (told.payload["steps"], told.payload["recomputed"]) == (0, LAST)
    assert told.payload.get("identical", True)
    edit_data(data, **change(before))  # from here on it has fingerprints
    with pytest.raises(InputError, match=r"the (test )?targets changed"):
        here(Resume(entry(run), 90), run.parent)


def without_fingerprints(path):
    """Make a run's facts and checkpoints those of version 0.1.0."""
    with contextlib.closing(sqlite3.connect(path / "run.db")) as database, database:
        database.execute(f"DELETE FROM run WHERE key LIKE '{PREFIX}%'")
        database.execute(
            "UPDATE run SET value = '0.1.0', crc32 = ? WHERE key = 'eostui'",
            (checksum(("eostui", "0.1.0")),),
        )
        database.execute("UPDATE seal SET facts = (SELECT count(*) FROM run)")
    for file in checkpoints.files(path):
        state = checkpoints.read(file.path)
        tensors = dict(state.tensors)
        tensors["trainer.displacement"] = tensors["trainer.theta"] - tensors.pop("trainer.previous")
        del tensors["trainer.cosine"]
        checkpoints.write(path, Checkpoint(state.step, state.events, tensors, state.plain))


def test_an_engine_refuses_changed_data_with_code_2(run, data):
    """The process that a viewer starts too: its sentence and its code reach whoever asked."""
    edit_data(data, y=(np.arange(40) + 1) % 4)
    before = contents(run)
    with pytest.raises(StartError, match="the targets changed") as error:
        Engine(Resume(entry(run), 80), run.parent)
    assert error.value.exit_code == 2
    assert contents(run) == before
    engine = Engine(Resume(entry(run), 80, changed_data=True), run.parent)
    assert engine.ended() == 0
    assert any("it goes on all the same" in text for text in engine.told)
    assert entry(run).last_step == 80


def test_the_live_view_says_that_data_changed(run, data):
    """By R and by f: the sentence, in a dialog; the run is finished before and after."""
    edit_data(data, y=(np.arange(40) + 1) % 4)
    before = contents(run)
    terminal = Terminal("attach", run.name, cwd=run.parent, EOSTUI_RUNS=str(run.parent))
    terminal.wait_for("FINISHED")
    for keys in (("R", "\r"), ("f", "\r")):
        for key in keys:
            terminal.send(key)
            terminal.read(0.5)
        terminal.wait_for("the targets", "--changed-data", timeout=PATIENCE)
        terminal.send(" ")
        terminal.wait_for("FINISHED", without="--changed-data")
    terminal.send("q")
    assert terminal.exit_code() == 0
    assert contents(run) == before
    assert entry(run).state == "finished"


def test_going_on_with_changed_data(run, data):
    """An event says what changed; from there on the run is one of the new data."""
    with np.load(data) as file:
        before = dict(file)
    with Run(run) as opened:
        rows = opened.columns()
    edit_data(data, y=3 - before["y"])
    here(Resume(entry(run), 80, changed_data=True), run.parent)
    (changed,) = events(run, "changed")
    (continued,) = events(run, "continued")
    assert changed.step == continued.step == LAST + 1
    assert changed.payload["what"][0] == "the targets changed"
    assert continued.payload["identical"] is False
    with Run(run) as opened:
        after = opened.columns()
    for name in rows:
        np.testing.assert_array_equal(after[name][:LAST], rows[name][:LAST], name)
    # ∇L of the new data less that of the old isn't a change along the step
    assert np.isnan(after["path_curvature"][LAST])
    assert np.isfinite(after["path_curvature"][LAST + 1 : -1]).all()
    assert after["loss"][LAST + 1] > 1.5 * after["loss"][LAST]
    told = json.loads(CliRunner().invoke(app, ["replay", str(run), "--json"]).stdout)
    assert (told["identical"], told["first_step"]) == (True, LAST + 1)
    here(Resume(entry(run), 90), run.parent)  # the new data are its own now
    assert events(run, "continued")[-1].payload["identical"]
    child = here(Fork(entry(run), 70, {"steps": 90}), run.parent)
    with Run(child) as fork, Run(run) as parent:
        np.testing.assert_array_equal(fork.steps["loss"], parent.steps["loss"])
    with pytest.raises(
        InputError, match=f"changed data at step {LAST + 1}: fork it there or later"
    ):
        here(Fork(entry(run), 40, {"steps": 80}), run.parent)
    delete_checkpoints(entry(run))  # but that from which on its steps can be taken again
    assert [file.step for file in checkpoints.files(run)] == [LAST + 1]
    assert json.loads(CliRunner().invoke(app, ["replay", str(run), "--json"]).stdout)["identical"]
    np.savez(data, **before)
    with pytest.raises(InputError, match="the targets changed"):
        here(Resume(entry(run), 99), run.parent)


def test_changed_data_go_on_from_a_state_on_record_alone(run, data):
    """Steps that lead anywhere else would have to be repeated."""
    with np.load(data) as file:
        edit_data(data, y=3 - file["y"])
    before = contents(run)
    with pytest.raises(InputError, match="before step 0, step 31, step 61"):
        here(Fork(entry(run), 40, {"steps": 80}, changed_data=True), run.parent)
    checkpoints.files(run)[-1].path.unlink()  # as after a kill
    with pytest.raises(InputError, match="before step 0, step 31"):
        here(Resume(entry(run), 80, changed_data=True), run.parent)
    assert contents(run)[0] == before[0]
    child = here(Fork(entry(run), 31, {"steps": 50}, changed_data=True), run.parent)
    (changed,) = events(child, "changed")
    assert changed.step == 31
    with Run(child) as fork, Run(run) as parent:
        np.testing.assert_array_equal(fork.steps["loss"][:31], parent.steps["loss"][:31])
        assert fork.steps["loss"][31] != parent.steps["loss"][31]
        assert np.isnan(fork.steps["path_curvature"][30])
    here(Resume(entry(child), 60), run.parent)
    assert json.loads(CliRunner().invoke(app, ["replay", str(child), "--json"]).stdout)["identical"]


# --- what is told -----------------------------------------------------------------------------------


def test_identical_is_said_of_what_was_compared(run):
    """L and ∇L at the newest step, or so many steps; nothing where nothing could be."""
    here(Resume(entry(run), 70), run.parent)
    newest = checkpoints.files(run)[-1]
    newest.path.unlink()
    here(Resume(entry(run), 80), run.parent)
    first, second = (event.payload for event in events(run, "continued"))
    assert first == {"from": 61, "steps": 0, "recomputed": 60, "identical": True}
    assert second == {"from": 61, "steps": 10, "recomputed": 60, "identical": True}
    child = here(Fork(entry(run), 31, {"steps": 60}), run.parent)
    (forked,) = events(child, "forked")
    assert forked.payload == {"from": 31, "steps": 0, "recomputed": 30, "identical": True}
    begun = here(small(steps=5), run.parent, {0: [("stop", {})]})  # without a row
    assert entry(begun).last_step == -1
    here(Resume(entry(begun)), run.parent)
    (told,) = events(begun, "continued")
    assert told.payload == {"from": 0, "steps": 0}


def test_l_and_gradient_are_recomputed_at_the_theta_before_a_checkpoint(run):
    """The θ that is kept is that of the row to the bit, and so is the L of it."""
    state = checkpoints.read(checkpoints.files(run)[-1].path)
    previous = state.tensors["trainer.previous"]
    with Run(run) as opened:
        norm = np.linalg.norm(previous.astype(np.float64))
        assert norm == pytest.approx(opened.steps["theta_norm"][LAST], rel=1e-14)
    moved = previous - np.float32(0.3) * state.tensors["trainer.gradient"]
    np.testing.assert_allclose(moved, state.tensors["trainer.theta"], rtol=0, atol=2e-7)


def test_another_machine_is_told(run):
    """Its version and device stand in the event; they alone are no reason to refuse."""
    with contextlib.closing(sqlite3.connect(run / "run.db")) as database, database:
        for key, value in (("torch", "1.0"), ("device_name", "abacus")):
            cells = (value, checksum((key, value)), key)
            database.execute("UPDATE run SET value = ?, crc32 = ? WHERE key = ?", cells)
    here(Resume(entry(run), 70), run.parent)
    (told,) = events(run, "continued")
    assert told.payload["elsewhere"]["torch"] == ["1.0", torch.__version__]
    assert told.payload["elsewhere"]["device_name"][0] == "abacus"
    assert told.payload["identical"]


# --- problems of one's own --------------------------------------------------------------------------

MISFITS = {
    "more parameters": (OWN.replace("1, 4", "1, 5").replace("4, 1", "5, 1"), "16 parameters, and had 13"),
    "fewer": (OWN.replace("1, 4", "1, 2").replace("4, 1", "2, 1"), "7 parameters, and had 13"),
    "as many, of other shapes": (
        OWN.replace("1, 4", "1, 3").replace("nn.Linear(4, 1)", "nn.PReLU(3), nn.Linear(3, 1)"),
        "its parameters' shapes changed (4×1 is 3×1 now)",
    ),
    "another name": (OWN.replace("def make", "def made"), "no function `make`; did you mean `made`"),
    "no Python": ("def", "SyntaxError"),
    "another dtype": (OWN.replace("dtype=dtype)[", "dtype=torch.float64)["), "failed: RuntimeError"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISFITS)
def test_a_problem_that_does_not_fit_any_more(own, what):
    """One sentence, code 2, and a finished run stays a finished one; also if it is asked for."""
    path, file = own
    text, sentence = MISFITS[what]
    file.write_text(text)
    said = refused(path)
    assert sentence in said
    assert "\n" not in said
    with pytest.raises(InputError):
        here(Resume(entry(path), 80, changed_data=True), path.parent)


@pytest.mark.parametrize("what", ["source", "data"])
def test_a_file_that_is_gone(own, run, data, what):
    path, file = (own[0], own[1]) if what == "source" else (run, data)
    file.rename(file.with_name("elsewhere"))
    before = contents(path)
    with pytest.raises(InputError, match=f"there is no file .*{file.name}"):
        here(Resume(entry(path), 80), path.parent)
    assert contents(path) == before


def test_another_number_of_classes(run, data):
    with np.load(data) as file:
        edit_data(data, y=np.where(np.arange(40) == 3, 4, file["y"]))
    assert "it has 71 parameters, and had 64" in refused(run)


SOURCES = {
    "a remark": (f"{OWN}\n# more to come\n", "the source of own.py changed (L and ∇L at step 60"),
    "the loss": (OWN.replace("0.5 *", "0.6 *"), "the source of own.py changed; L at step 60 was"),
    "the targets": (OWN.replace("sin(3", "sin(2"), "the targets changed; the source of own.py"),
}


@pytest.mark.parametrize("what", SOURCES)
def test_changed_source_is_refused(own, what):
    path, file = own
    text, sentence = SOURCES[what]
    file.write_text(text)
    assert sentence in refused(path)
    here(Resume(entry(path), 80, changed_data=True), path.parent)
    (changed,) = events(path, "changed")
    assert any("own.py" in part for part in changed.payload["what"])


def test_decay_that_acts_elsewhere_is_refused(own):
    """With a fingerprint, and by the norm over the decayed parameters without one."""
    path, file = own
    file.write_text(OWN.replace("convention=", "decay_biases=False, convention="))
    assert "which parameters decay acts on are new" in refused(path)
    without_fingerprints(path)
    assert "‖θ‖ over the decayed parameters at step 60 was" in refused(path)


def test_modules_beside_the_file_count(tmp_path):
    """Those that it imports, in whatever way, and they in turn; no others, and none from elsewhere."""
    files = {
        "own.py": "import helper, torch\nfrom parts.deep import thing\n",
        "helper.py": "def f():\n    from parts import other\n",
        "parts/__init__.py": "",
        "parts/deep.py": "from . import shallow\nfrom ..outside import x\n",
        "parts/shallow.py": "",
        "parts/other.py": "from .missing import y\n",
        "unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = fingerprint._source(tmp_path / "own.py")
    assert {*found} == {*files} - {"unused.py"}
    assert found["helper.py"] == hashlib.sha256(files["helper.py"].encode()).hexdigest()
    then = {f"{PREFIX}source": json.dumps(found)}
    (tmp_path / "parts/shallow.py").write_text("x = 1\n")
    (tmp_path / "parts/other.py").unlink()
    now = {f"{PREFIX}source": json.dumps(fingerprint._source(tmp_path / "own.py"))}
    changed, _ = changes(then, now, tmp_path)
    assert changed == ["the source of parts/shallow.py, parts/other.py changed"]


# --- fingerprints -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool])
@pytest.mark.parametrize("shape", [(), (3,), (7, 1, 3), (0, 2)])
def test_a_fingerprint_is_of_the_bytes(dtype, shape):
    torch.manual_seed(0)
    array = (torch.randn(shape) * 3).to(dtype)
    found = ArrayPrint.of(array)
    assert found.sha256 == hashlib.sha256(array.numpy().tobytes()).hexdigest()
    assert found.shape == shape
    assert found.norm == pytest.approx(float(array.double().norm()), rel=1e-12)
    assert ArrayPrint.model_validate_json(found.model_dump_json()) == found
    turned = torch.stack([array, array], dim=-1)[..., 0]  # not contiguous
    assert ArrayPrint.of(turned) == found


def test_rounding_is_told_from_other_data(monkeypatch):
    """By one number, also over several blocks: roundings of all elements, against one that changed."""
    monkeypatch.setattr(fingerprint, "_BLOCK", 1000)
    torch.manual_seed(0)
    x = torch.randn(4321, dtype=torch.float64)
    one = ArrayPrint.of(x.float())
    for seed in range(20):
        torch.manual_seed(seed)
        rounded = (x * (1 + 2e-7 * (torch.rand(4321, dtype=torch.float64) - 0.5))).float()
        assert not torch.equal(rounded, x.float())
        assert one.is_rounded(ArrayPrint.of(rounded))
        changed = x.float()
        changed[torch.randint(4321, ())] += 0.01
        assert not one.is_rounded(ArrayPrint.of(changed))
    assert not one.is_rounded(ArrayPrint.of(x.float()[torch.randperm(4321)]))
    assert not one.is_rounded(ArrayPrint.of(x.float().roll(1000)))  # by whole blocks
    labels = torch.randint(10, (4321,))
    assert not ArrayPrint.of(labels).is_rounded(ArrayPrint.of(labels.roll(1)))


def test_a_sum_that_is_rounded_otherwise_changes_nothing(run):
    """The bytes are the same: other threads add up their projection to other last bits."""
    then = facts_of(run)
    key = f"{PREFIX}inputs"
    print_ = json.loads(then[key])
    other = {**then, key: json.dumps({**print_, "projection": print_["projection"] * (1 + 1e-9)})}
    assert changes(then, other, run) == ([], [])


def test_a_small_change_here_is_a_change(run, data):
    """As small as a rounding, but on the machine that recorded it: nothing rounds otherwise here."""
    with np.load(data) as file:
        x = file["x"]
        edit_data(data, x=x * (1 + 1e-7 * np.random.default_rng(1).uniform(-1, 1, size=x.shape)))
    with pytest.raises(InputError, match="the inputs changed"):
        here(Resume(entry(run), 70), run.parent)
    assert entry(run).last_step == LAST


def test_a_calibration_ends_with_its_data(data, tmp_path):
    """Its reference is of the old loss: on other data there are no x and q until the next one."""
    config = small(
        data="npz", data_file=str(data), samples="all", width=6, steps=LAST, cadence=20,
        checkpoint_every=0, calibrate_at=20, far_cadence=0,
    )  # fmt: skip
    path = here(config, tmp_path / "runs")
    with np.load(data) as file:
        edit_data(data, y=3 - file["y"])
    here(Resume(entry(path), 90, changed_data=True), path.parent, {80: [("calibrate", {})]})
    with Run(path) as read:
        steps, numbers = (read.calibrations.rows[name] for name in ("step", "calibration"))
        assert steps[numbers == 1].tolist() == list(range(20, LAST + 1))
        assert steps[numbers == 2].tolist() == list(range(80, 91))


def test_data_that_are_rounded_elsewhere_are_told(run, data, monkeypatch):
    """Another machine standardises to other last bits: L and ∇L agree, and so the run goes on."""
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    with np.load(data) as file:
        noise = np.random.default_rng(1).uniform(-1, 1, size=file["x"].shape)
        edit_data(data, x=file["x"] * (1 + 1e-7 * noise))
    here(Resume(entry(run), 70), run.parent)
    (told,) = events(run, "continued")
    assert "the inputs" in told.payload["rounded"]


def test_initial_parameters_drawn_by_another_torch(run):
    """They differ, and are no reason to refuse what goes on from a checkpoint."""
    then = facts_of(run)
    other = ArrayPrint.of(torch.randn(64)).model_dump_json()
    now = {**then, f"{PREFIX}initial": other}
    assert changes(then, now, run)[0] == ["θ₀ changed"]
    assert changes(then, {**now, "torch": "9"}, run)[0] == []


@pytest.mark.parametrize("value", ["", "{}", "[1", '{"dtype": "float32"}'])
@pytest.mark.parametrize("key", ["inputs", "source", "parameters"])
def test_a_damaged_fingerprint_is_a_sentence(own, key, value):
    path, _ = own
    fact = f"{PREFIX}{key}"
    with contextlib.closing(sqlite3.connect(path / "run.db")) as database, database:
        cells = (value, checksum((fact, value)), fact)
        database.execute("UPDATE run SET value = ?, crc32 = ? WHERE key = ?", cells)
    with pytest.raises(EostuiError) as error:
        here(Resume(entry(path), 80), path.parent)
    assert isinstance(error.value, RunFormatError | InputError)
    assert entry(path).state == "finished"


# --- records of other versions ----------------------------------------------------------------------


def rewritten(path, copy, version, change=lambda _step, values: values, bit=None, untold=()):
    """Copy a run as another version would have recorded it.

    `bit` is a step whose ‖θ‖ is another, `untold` are kinds of events that aren't told.
    """
    writer = RunWriter(copy, facts_of(path) | {"eostui": version})
    steps, reading, past_event = writer.steps, writer.reading, writer.past_event

    def other_steps(first, matrix, *names):
        if bit is not None and first <= bit < first + len(matrix):
            matrix = matrix.copy()
            matrix[bit - first, 1] = np.nextafter(matrix[bit - first, 1], 9.0)
        steps(first, matrix, *names)

    writer.steps = other_steps
    writer.reading = lambda given: reading(replace(given, values=change(given.step, given.values)))
    writer.past_event = lambda event: None if event.kind in untold else past_event(event)
    copy_history(path, writer, Checkpoint(10**6, 10**6, {}, {"recorder.calibration": 9}), "raw")
    writer.close()
    return copy


def replayed(path):
    done = CliRunner().invoke(app, ["replay", str(path)])
    assert done.exit_code in (0, 1), done.exception
    told = json.loads(CliRunner().invoke(app, ["replay", str(path), "--json"]).stdout)
    return done.exit_code, done.stdout, told


#: Of the digits network at step 40, in shares of what may differ: S by 2e-5 of it, β by 8 %.
SHIFTS = {
    "sharpness": (1e-5, 1e-4), "eig_2": (0.005, 0.05), "beta": (0.03, 0.2), "g": (0.01, 2.0),
    "g_u": (0.02, 20.0), "gradient_u": (0.02, 9.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run that meets its edge, calibrated on the way."""
    folder = tmp_path_factory.mktemp("measured")
    config = small(steps=80, cadence=20, far_cadence=0, calibrate_at=30, checkpoint_every=0)
    return here(config, folder)


@pytest.mark.parametrize("column", SHIFTS)
@pytest.mark.parametrize("far", [False, True])
def test_measurements_of_another_version_may_differ_by_their_tolerance(
    measured, tmp_path, column, far
):
    """Each column by what both versions say of it; with this version's record not by a bit."""
    shift = SHIFTS[column][far]

    def shifted(step, values):
        forged = step == 40 and column in values
        return {**values, column: values[column] * (1 + shift)} if forged else values

    code, said, told = replayed(rewritten(measured, tmp_path / "a", "0.1.0", shifted))
    assert (code, told["identical"], told["recorded_by"]) == (int(far), False, "0.1.0")
    assert "recorded by eostui 0.1.0, repeated by" in said
    if far:
        assert f"step 40: {column} was" in said
        assert "the steps 0 to 80 themselves are the same, bit for bit" in said
    else:
        assert "steps 0 to 80 are the same, bit for bit, and their 6 measurements agree" in said
    current = facts_of(measured)["eostui"]
    code, said, _ = replayed(rewritten(measured, tmp_path / "b", current, shifted))
    assert code == 1
    assert "recorded by" not in said


def test_the_sign_of_u_is_a_convention(measured, tmp_path):
    def turned(_step, values):
        return values | ({"g_u": -values["g_u"]} if "g_u" in values else {})

    assert replayed(rewritten(measured, tmp_path / "a", "0.1.0", turned))[0] == 0


def test_the_steps_of_another_version_are_the_same_to_the_bit(measured, tmp_path):
    code, said, told = replayed(rewritten(measured, tmp_path / "a", "0.1.0", bit=37))
    assert code == 1
    assert "step 37: theta_norm was" in said
    assert "themselves" not in said
    assert told["differences"][0]["step"] == 37


def test_what_one_version_alone_tells_is_no_difference(measured, tmp_path):
    """Phases, audits, calibrations' events; a column; a measurement of its own."""

    def older(_step, values):
        return {key: value for key, value in values.items() if key != "g_perp"}

    assert derived(measured)
    path = rewritten(measured, tmp_path / "a", "0.1.0", older, untold=schema.DERIVED_EVENTS)
    code, said, told = replayed(path)
    assert (code, told["differences"]) == (0, [])
    assert "0.1.0" in said
    present = facts_of(measured)["eostui"]
    path = rewritten(measured, tmp_path / "b", present, older, untold=["phase"])
    assert {each["what"] for each in replayed(path)[2]["differences"]} == {"g_perp", "event"}


def test_a_search_that_says_how_bad_it_was_is_believed(measured, tmp_path):
    """Near a second eigenvalue u may be any mixture: a row's own residual and gap say so."""

    def mixed(step, values):
        if step == 40 and "sharpness" in values:
            gap = 1e-4 * values["sharpness"]
            return {**values, "sharpness_gap": gap, "sharpness_residual": 1e-4}
        return sure(step, values)

    def sure(step, values):
        forged = step == 40 and "beta" in values
        return {**values, "beta": values["beta"] / 2} if forged else values

    assert replayed(rewritten(measured, tmp_path / "a", "0.1.0", mixed))[0] == 0
    assert replayed(rewritten(measured, tmp_path / "b", "0.1.0", sure))[0] == 1


def test_a_store_that_an_older_version_wrote(tmp_path):
    """Resumed, it is the same as far as it can be told; replayed, the versions are named."""
    path = kept(tmp_path, 4)
    code, said, told = replayed(path)
    assert code == 0, said
    assert told["recorded_by"] == "0.1.0"
    here(Resume(entry(path), 80), tmp_path)
    (continued,) = events(path, "continued")
    assert continued.payload["recomputed"] == LAST
    assert continued.payload["elsewhere"]["eostui"][0] == "0.1.0"
    assert replayed(path)[0] == 0
    shutil.rmtree(path / checkpoints.FOLDER)
    here(Resume(entry(path), 90), tmp_path)
    assert events(path, "continued")[-1].payload["steps"] == 81
    assert replayed(path)[0] == 0
