"""Real engine processes: what they compute, how they are steered, and how they end."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import PATIENCE, Engine, assert_same_rows, entry, small
from oracles import half_squared_error, mlp
from scipy.sparse.linalg import LinearOperator, eigsh

from eostui import locations
from eostui.config import RunConfig
from eostui.engine.controls import Controls
from eostui.engine.device import prepare_machine
from eostui.engine.driver import Driver
from eostui.engine.facts import initial_facts
from eostui.errors import EXIT_DIVERGED, EXIT_FAILED, EXIT_INPUT
from eostui.problems import build_problem
from eostui.runs.launch import EngineProcess, Fork, StartError
from eostui.runs.run import Run
from eostui.runs.store import commands, schema
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.writer import RunWriter
from eostui.stability import GRADIENT_DESCENT

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {
    "preset": "tiny",
    "data": "digits",
    "samples": 200,
    "width": 20,
    "depth": 2,
    "activation": "relu",
    "eta": 0.1,
    "weight_decay": 0.01,
    "decay_biases": False,
    "steps": 60,
    "cadence": 10,
    "test_cadence": 20,
    "dtype": "float64",
    "device": "cpu",
    "threads": 1,
    "seed": 10,
}

OWN_PROBLEMS = """
import torch
from eostui.problems import Problem


def fails_at_37(device, dtype):
    # every step shrinks θ by (1 − ηλ) − η; how often the loss is evaluated before the run is open
    smallest = (1 - 0.1 * 0.01 - 0.1) ** 36.5

    def loss(at):
        if at.abs().max() < smallest:
            raise RuntimeError("the oven is too hot")
        return 0.5 * (at * at).sum()

    return Problem(torch.ones(3, dtype=dtype), loss, "quadratic")


def start_requires_grad(device, dtype):
    layer = torch.nn.Linear(2, 1).to(dtype)
    start = torch.cat([p.reshape(-1) for p in layer.parameters()])
    return Problem(start, lambda at: 0.5 * (at * at).sum(), "quadratic")


def normal_form(device, dtype, eta, a, b, x, s, x_star, s_star):
    shift = torch.tensor([x_star, s_star], dtype=dtype)

    def loss(theta):
        x, s = theta - shift
        return 0.5 * (2 / eta + b * s) * x * x - a * s

    return Problem(torch.tensor([x, s], dtype=dtype) + shift, loss, "cubic normal form")
"""

#: η, λ, β, βα, g_x, g of the example in MATH §3.2, as a, b, x_* and s_* of the normal form.
ETA, DECAY, BETA, BETA_ALPHA, G_X, G = 0.02, 1.0, 3e4, 2.0, 1.0, 1.0
NORMAL_FORM = {
    "eta": ETA,
    "a": BETA_ALPHA / BETA**0.5,
    "b": BETA**0.5,
    "x": 1e-3,
    "s": 0.0,
    "x_star": G_X,
    "s_star": G / BETA**0.5,
}


@dataclass
class Outcome:
    """How one engine ended, and what it said on the way."""

    exit_code: int | None = None
    path: Path | None = None
    error: StartError | None = None
    progress: list[str] = field(default_factory=list)

    @property
    def run(self):
        return Run(self.path)


#: Measured at step 0 only.
RARELY = {"cadence": 10**6, "test_cadence": 10**6}


def drive(folder, config):
    """Start an engine and wait for its end."""
    outcome = Outcome()
    process = EngineProcess(config, folder, folder.parent / "data", "a name")
    try:
        outcome.path = process.ready(outcome.progress.append)
    except StartError as error:
        outcome.error = error
    outcome.exit_code = process.wait(60)
    if outcome.exit_code is None:
        process.cancel()
    return outcome


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Engines that need nobody to steer them, two at a time in the background, by name."""
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "file").write_text("")
    (folder / "own.py").write_text(OWN_PROBLEMS)
    x = np.ones((4, 2))
    x[2, 1] = np.nan
    np.savez(folder / "nan.npz", x=x, y=np.arange(4))
    wanted = {
        "first": {},
        "second": {},
        "diverging": {"eta": 5.0, "weight_decay": 0.0},
        "failing": {"problem": f"{folder / 'own.py'}:fails_at_37", "steps": 400, **RARELY},
        "nan-data": {"data": "npz", "data_file": str(folder / "nan.npz")},
        "no-device": {"device": "cuda:99"},
        "no-folder": {},
    }
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(
                drive,
                folder / ("file/runs" if name == "no-folder" else f"runs-{name}"),
                RunConfig.build({**TINY, **values}, "test"),
            )
            for name, values in wanted.items()
        }
        pool.shutdown(cancel_futures=True)


def train_here(folder, function, **values):
    """Train one of OWN_PROBLEMS by the engine's own loop, in this process; return the run."""
    file = folder / "own_problems.py"
    file.write_text(OWN_PROBLEMS)
    config = RunConfig.build({**TINY, "problem": f"{file}:{function}", **RARELY, **values}, "test")
    machine = prepare_machine(config)
    problem = build_problem(config, machine.device, folder, lambda _: None)
    writer = RunWriter(folder / "r", initial_facts(config, machine, problem, "r", ""))
    status, sentence = Driver(config, problem).run(writer)
    writer.close()
    assert status == "finished", sentence
    return Run(folder / "r")


def ended(fleet, name):
    return fleet[name].result()


# --- what a run computes ---------------------------------------------------------------------------


def plain_training(steps, eta, decay):
    """The same training written out: digits, network, loss, autograd, step; all in float64."""
    with np.load(locations.shipped("assets") / "digits.npz") as file:
        x, y = file["x"].astype(float), file["y"]
    x = torch.from_numpy((x - x.mean()) / x.std()).flatten(1)
    y = torch.from_numpy(np.eye(10)[y])
    torch.manual_seed(10)
    layers = [torch.nn.Linear(64, 20), torch.nn.Linear(20, 20), torch.nn.Linear(20, 10)]
    tensors = [p.detach().double() for layer in layers for p in layer.parameters()]
    theta = torch.cat([t.reshape(-1) for t in tensors])
    mask = torch.cat([torch.full((t.numel(),), float(t.ndim == 2)) for t in tensors]).double()

    def loss_of(at, first=0, last=200):
        return half_squared_error(mlp(at, x[first:last], [20, 20], 10, "relu")[0], y[first:last])

    table = {"loss": [], "theta_norm": [], "decayed_norm": [], "path_curvature": []}
    thetas, before = [], None
    for _ in range(steps + 1):
        leaf = theta.clone().requires_grad_()
        loss = loss_of(leaf)
        loss.backward()
        if before is not None:
            delta = theta - thetas[-1]
            table["path_curvature"].append(float((leaf.grad - before) @ delta / (delta @ delta)))
        table["loss"].append(float(loss.detach()))
        table["theta_norm"].append(float(theta.norm()))
        table["decayed_norm"].append(float((theta * mask).norm()))
        thetas.append(theta)
        before = leaf.grad
        theta = theta - eta * before - eta * decay * mask * theta
    return table, thetas, loss_of


@pytest.fixture(scope="module")
def plain():
    return plain_training(60, 0.1, 0.01)


def test_a_run_finishes_with_one_row_for_every_step(fleet):
    """Steps + 1 rows without a gap, status, sentence, facts, exit code 0; nothing stays behind."""
    outcome = ended(fleet, "first")
    assert outcome.exit_code == 0
    assert outcome.progress[0] == "loading PyTorch"
    with outcome.run as run:
        assert run.steps["step"].tolist() == list(range(61))
        assert run.state == "finished"
        assert "60 steps" in run.facts["sentence"]
        assert run.facts["id"] == outcome.path.name
        assert run.facts["name"] == "a name"
        assert run.facts["parameters"] == str(64 * 20 + 20 + 20 * 20 + 20 + 20 * 10 + 10)
        assert run.facts["convention"].startswith("½ squared error")
        assert run.config == RunConfig.build(TINY | {"chunk_size": 0}, "test")  # "auto", resolved
        assert [event.kind for event in run.events] == ["started", "phase", "phase", "finished"]
        assert [event.step for event in run.events] == [
            0,
            0,
            0,
            60,
        ]  # the first steps, then a phase
    assert not engine_alive(outcome.path)
    log = outcome.path / schema.ENGINE_LOG
    assert "finished" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_rows_equal_an_independent_training_loop(fleet, plain):
    """Loss, ‖θ‖, decayed ‖θ‖ and κ of every step agree to rounding with a loop written by hand."""
    table, _, _ = plain
    run = ended(fleet, "first").run
    for name in ("loss", "theta_norm", "decayed_norm"):
        np.testing.assert_allclose(run.steps[name], table[name], rtol=1e-10, err_msg=name)
    kappa = run.steps["path_curvature"]
    np.testing.assert_allclose(kappa[:-1], table["path_curvature"], rtol=1e-7)
    assert np.isnan(kappa[-1])
    np.testing.assert_array_equal(run.steps["eta"], 0.1)
    np.testing.assert_array_equal(run.steps["weight_decay"], 0.01)
    regularized = np.array(table["loss"]) + 0.005 * np.array(table["decayed_norm"]) ** 2
    np.testing.assert_allclose(run.steps["loss_regularized"], regularized, rtol=1e-10)


def test_sharpness_is_measured_on_its_cadence_and_agrees_with_scipy(fleet, plain):
    """At steps 0, 10 … 60 and nowhere else; S and eig_2 equal eigsh on a Hessian made by hand."""
    _, thetas, loss_of = plain
    run = ended(fleet, "first").run
    sharpness = run.columns()["sharpness"]
    assert np.flatnonzero(~np.isnan(sharpness)).tolist() == [0, 10, 20, 30, 40, 50, 60]
    for step in (0, 60):
        gradient = torch.func.grad(loss_of)

        def product(vector, at=thetas[step], gradient=gradient):
            v = torch.from_numpy(np.asarray(vector).reshape(-1))
            return torch.func.jvp(gradient, (at,), (v,))[1].numpy()

        size = len(thetas[step])
        hessian = LinearOperator((size, size), matvec=product, dtype=np.float64)
        second, first = eigsh(hessian, k=2, which="LA", tol=1e-10, return_eigenvectors=False)
        at = run.measured["step"].tolist().index(step)
        assert run.measured["sharpness"][at] == pytest.approx(first, rel=1e-5)
        assert run.measured["eig_2"][at] == pytest.approx(second, rel=1e-3)
        assert run.measured["u_error"][at] <= run.config.vector_tolerance
        slope = float(gradient(thetas[step]).norm())
        assert run.measured["grad_norm"][at] == pytest.approx(slope, rel=1e-9)


def test_test_samples_are_evaluated_on_their_own_cadence(fleet, plain):
    """At steps 0, 20, 40, 60: the loss on the 1597 digits that were not trained on."""
    _, thetas, loss_of = plain
    run = ended(fleet, "first").run
    test_loss = run.columns()["test_loss"]
    assert np.flatnonzero(~np.isnan(test_loss)).tolist() == [0, 20, 40, 60]
    for step in (0, 60):
        wanted = float(loss_of(thetas[step], first=200, last=None))
        assert test_loss[step] == pytest.approx(wanted, rel=1e-10)
    accuracy = run.columns()["test_accuracy"]
    assert 0 <= accuracy[0] < accuracy[60] <= 1


def test_the_same_run_twice_is_the_same_to_the_last_bit(fleet):
    """Same config, machine and commands: every column equal, bit for bit."""
    first, second = ended(fleet, "first"), ended(fleet, "second")
    assert first.path.name != second.path.name
    one, other = first.run.columns(), second.run.columns()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def test_descent_on_the_cubic_normal_form_is_the_reduced_map(tmp_path):
    """The whole chain against MATH §3: each row's loss and ‖θ‖ follow the iterated (x, y) map."""
    run = train_here(
        tmp_path,
        "normal_form",
        problem_arguments=NORMAL_FORM,
        eta=ETA,
        weight_decay=DECAY,
        steps=500,
    )
    alpha, x, y = BETA_ALPHA / BETA, NORMAL_FORM["x"], 0.0
    loss, norm, kappa = [], [], []
    for _ in range(501):
        s = y / NORMAL_FORM["b"]
        loss.append(0.5 * (2 / ETA + y) * x * x - NORMAL_FORM["a"] * s)
        norm.append(np.hypot(x + G_X, s + NORMAL_FORM["s_star"]))
        after = -(1 + ETA * DECAY + ETA * y) * x - ETA * DECAY * G_X
        y_after = (1 - ETA * DECAY) * y + ETA * BETA * (alpha - x * x / 2) - ETA * DECAY * G
        ds = (y_after - y) / NORMAL_FORM["b"]
        slope = (2 / ETA + y_after) * after - (2 / ETA + y) * x
        bend = NORMAL_FORM["b"] * (after**2 - x**2) / 2
        step = after - x
        kappa.append((slope * step + bend * ds) / (step**2 + ds**2))
        x, y = after, y_after
    np.testing.assert_allclose(run.steps["loss"], loss, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(run.steps["theta_norm"], norm, rtol=1e-10)
    np.testing.assert_allclose(run.steps["path_curvature"][:-1], kappa[:-1], rtol=1e-6)
    # S, β, βα, g at the start: x is nearly 0, so the closed form holds to first order in x
    assert run.measured["sharpness"][0] == pytest.approx(2 / ETA, rel=1e-4)
    assert run.measured["beta"][0] == pytest.approx(BETA, rel=1e-2)


# --- how runs end ----------------------------------------------------------------------------------


def test_a_diverging_run_keeps_its_last_row(fleet):
    """η = 5: ended as diverged with exit code 3; the row that shows it is the last one stored."""
    outcome = ended(fleet, "diverging")
    assert outcome.exit_code == EXIT_DIVERGED
    run = outcome.run
    assert run.state == "diverged"
    loss = run.steps["loss"]
    last = run.last_step
    assert run.steps["step"].tolist() == list(range(last + 1))
    assert 0 < last < 60
    limit = 1e4 * loss[0]
    assert not loss[last] <= limit
    assert (loss[:last] <= limit).all()
    assert f"step {last}" in run.facts["sentence"]
    assert "2/η = 0.4" in run.facts["sentence"]
    assert (run.events[-1].kind, run.events[-1].step) == ("diverged", last)


def test_a_failing_problem_keeps_all_rows_up_to_the_failure(fleet):
    """The user's loss raises at step 37: a named status, the reason, and rows 0 to 36."""
    outcome = ended(fleet, "failing")
    assert outcome.exit_code == EXIT_FAILED
    run = outcome.run
    assert run.state == "failed"
    assert "step 37" in run.facts["sentence"]
    assert "the oven is too hot" in run.facts["sentence"]
    assert "Traceback" in (outcome.path / schema.ENGINE_LOG).read_text()
    assert run.last_step == 36


def test_a_start_that_requires_grad_trains_all_the_same(tmp_path):
    """Parameters joined straight from a module carry a graph: the engine cuts it off."""
    run = train_here(tmp_path, "start_requires_grad")
    # ∇L = θ, so every step shrinks θ by (1 − ηλ) − η
    wanted = run.steps["theta_norm"][0] * (1 - 0.1 * 0.01 - 0.1) ** np.arange(61)
    np.testing.assert_allclose(run.steps["theta_norm"], wanted, rtol=1e-12)


def test_data_with_nan_is_refused_before_anything_is_made(fleet):
    """The file and what is wrong with it; exit code 2; no run directory."""
    outcome = ended(fleet, "nan-data")
    assert outcome.error.exit_code == outcome.exit_code == EXIT_INPUT
    assert "nan.npz" in str(outcome.error)
    assert "finite" in str(outcome.error)


def test_a_device_that_is_not_there_is_refused(fleet):
    """What was asked for and what there is; exit code 2."""
    outcome = ended(fleet, "no-device")
    assert outcome.error.exit_code == outcome.exit_code == EXIT_INPUT
    assert '`device` is "cuda:99"' in str(outcome.error)
    assert "cpu" in str(outcome.error)


def test_a_runs_folder_that_cannot_be_made_is_refused(fleet):
    """A file is in the way: the folder, and how to choose another; exit code 2."""
    outcome = ended(fleet, "no-folder")
    assert outcome.error.exit_code == outcome.exit_code == EXIT_INPUT
    assert str(Path("file") / "runs") in str(outcome.error)
    assert "--runs-dir or EOSTUI_RUNS" in str(outcome.error)


def test_refused_runs_leave_no_directory(fleet):
    """What could not start made nothing."""
    for name in ("nan-data", "no-device"):
        ended(fleet, name)
    folder = ended(fleet, "first").path.parents[1]
    assert list(folder.glob("runs-nan-data/*")) == list(folder.glob("runs-no-device/*")) == []
    assert len(list(folder.glob("runs-first/*"))) == 1


def test_a_start_that_is_cancelled_leaves_nothing(tmp_path):
    """Before `ready` the engine simply goes."""
    process = EngineProcess(RunConfig.build(TINY, "test"), tmp_path / "runs", tmp_path)
    process.cancel()
    assert process.wait(30) not in (None, 0)
    assert not (tmp_path / "runs").exists()


# --- steering --------------------------------------------------------------------------------------


def until(run, condition, timeout=30.0):
    """Refresh until `condition` holds; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        run.refresh()
        if condition():
            return
        assert time.monotonic() < deadline, "the engine didn't do it in time"
        time.sleep(0.02)


class Live:
    """An engine at work on a long run."""

    def __init__(self, folder):
        values = {**TINY, "steps": 10**8, "cadence": 500}
        self.process = EngineProcess(RunConfig.build(values, "test"), folder, folder)
        self.path = self.process.ready(lambda _: None)
        self.run = Run(self.path)
        until(self.run, lambda: self.run.last_step >= 0)

    def events(self, kind):
        return [event for event in self.run.events if event.kind == kind]

    def send(self, kind, **arguments):
        return commands.send(self.path, kind, **arguments)

    def await_events(self, kind, count=1):
        until(self.run, lambda: len(self.events(kind)) >= count)
        return self.events(kind)

    def await_step(self, step):
        until(self.run, lambda: self.run.last_step >= step)


@pytest.fixture(scope="module")
def live_engine(tmp_path_factory):
    """Start engines; whatever a test does, none outlives it."""
    started = []

    def start():
        started.append(Live(tmp_path_factory.mktemp("live")))
        return started[-1]

    yield start
    for live in started:
        live.run.close()
        if live.process.wait(0) is None:
            live.process._process.kill()
            live.process.wait(10)


@pytest.fixture(scope="module")
def steered(live_engine):
    """A run whose η and λ were changed, that was sent nonsense, SIGHUP, and at last SIGTERM."""
    live = live_engine()
    sent = {"set": live.send("set", eta=0.05, weight_decay=0.02)}
    live.await_events("control")
    refused = {
        "negative": live.send("set", eta=-1),
        "text": live.send("set", eta="fast"),
        "true": live.send("set", weight_decay=True),
        "product": live.send("set", eta=0.9, weight_decay=2),
        "step": live.send("step"),
        "unknown": live.send("dance"),
        "nan": live.send("set", eta=float("nan")),
        "infinite": live.send("set", weight_decay=float("inf")),
    }
    (live.path / schema.COMMANDS / "9-junk.json").write_text("{")
    live.await_events("refused", len(refused) + 1)
    sent["only eta"] = live.send("set", eta=0.025)
    live.await_events("control", 2)
    sent["nothing new"] = live.send("set", eta=0.025)
    sent["resume"] = live.send("resume")
    os.kill(int((live.path / schema.LOCK).read_text()), signal.SIGHUP)
    live.await_step(live.run.last_step + 200)
    assert live.run.state == "running"
    assert engine_alive(live.path)
    live.process.cancel()
    live.exit_code = live.process.wait(30)
    live.run.refresh()
    live.sent, live.refused_ids = sent, refused
    return live


def test_a_change_of_eta_and_lambda_is_an_event_and_acts_from_its_step_on(steered):
    """Rows before the event's step carry the old values, from it on the new ones; both are named."""
    first, second = steered.events("control")
    assert first.payload["eta"] == [0.1, 0.05]
    assert first.payload["weight_decay"] == [0.01, 0.02]
    assert second.payload["eta"] == [0.05, 0.025]
    assert "weight_decay" not in second.payload
    steps = np.arange(len(steered.run.steps))
    eta = np.where(steps < first.step, 0.1, np.where(steps < second.step, 0.05, 0.025))
    np.testing.assert_array_equal(steered.run.steps["eta"], eta)
    decay = np.where(steps < first.step, 0.01, 0.02)
    np.testing.assert_array_equal(steered.run.steps["weight_decay"], decay)
    assert 0 < first.step < second.step < len(steps)


def test_a_change_acts_on_the_descent_itself(steered):
    """The loss falls by about η‖∇L‖² a step: halving η halves the fall, in the rows that say so."""
    second = steered.events("control")[1].step
    fall = steered.run.steps["loss_step"]
    assert fall[second] / fall[second - 1] == pytest.approx(0.5, rel=0.05)


def test_commands_that_make_no_sense_are_refused_by_an_event(steered):
    """Each with the id of its command and a reason; η and λ stay."""
    reasons = {
        event.payload["command"]: event.payload["reason"] for event in steered.events("refused")
    }
    wanted = {
        "negative": "above 0",
        "text": "η must be a number",
        "true": "λ must be a number",
        "product": "below 1",
        "step": "paused",
        "unknown": "dance",
        "nan": "η must be finite",
        "infinite": "λ must be finite",
    }
    for name, part in wanted.items():
        assert part in reasons[steered.refused_ids[name]], name
    assert "unreadable" in reasons["9-junk"]
    assert len(reasons) == len(wanted) + 1


def test_every_command_is_answered_by_an_event_that_repeats_its_id(steered):
    """Also those that were obeyed, and those that changed nothing: the sender can tell."""
    answered = {event.payload.get("command") for event in steered.run.events}
    missing = [name for name, command in steered.sent.items() if command not in answered]
    assert missing == []


def test_sigterm_ends_a_run_as_stopped(steered):
    """Exit code 0, a status, a sentence, the last event at the last row; commands all taken."""
    assert steered.exit_code == 0
    assert steered.run.state == "stopped"
    assert "SIGTERM" in steered.run.facts["sentence"]
    assert steered.run.events[-1].kind == "stopped"
    assert steered.run.events[-1].step == steered.run.last_step
    assert steered.run.steps["step"].tolist() == list(range(steered.run.last_step + 1))
    assert not engine_alive(steered.path)
    assert os.listdir(steered.path / schema.COMMANDS) == []


def test_pause_step_resume_and_stop(live_engine):
    """A paused run stands still, takes single steps, goes on when told to, and stops when told to."""
    live = live_engine()
    live.send("pause")
    (paused,) = live.await_events("paused")
    until(live.run, lambda: live.run.state == "paused")
    assert live.run.last_step == paused.step - 1
    time.sleep(0.3)
    assert not live.run.refresh()

    live.send("set", eta=0.02)
    (control,) = live.await_events("control")
    assert control.step == paused.step
    for taken in (1, 2, 3):
        live.send("step")
        live.await_step(paused.step - 1 + taken)
        time.sleep(0.15)
        live.run.refresh()
        assert live.run.last_step == paused.step - 1 + taken
        assert live.run.state == "paused"
    assert live.run.steps["eta"][paused.step - 1] == 0.1
    assert live.run.steps["eta"][paused.step] == 0.02

    live.send("resume")
    (resumed,) = live.await_events("resumed")
    assert resumed.step == paused.step + 3
    live.await_step(resumed.step + 100)
    assert live.run.state == "running"

    live.send("pause")
    live.await_events("paused", 2)
    live.send("stop")
    assert live.process.wait(30) == 0
    live.run.refresh()
    assert live.run.state == "stopped"
    assert "stopped by its user" in live.run.facts["sentence"]
    assert live.run.last_step == live.events("paused")[1].step - 1
    assert live.run.steps["step"].tolist() == list(range(live.run.last_step + 1))


def test_a_run_pauses_by_itself_only_where_someone_can_let_it_go_on(tmp_path):
    """`pause_at` stops before its step until `resume`; a headless run passes it by; both are the same."""
    config = small(steps=60, pause_at=[20])
    watched = Engine(config, tmp_path)
    watched.reaches(19)
    with Run(watched.path) as run:
        until(run, lambda: run.state == "paused")
        time.sleep(0.3)
        run.refresh()
        assert run.last_step == 19
    assert watched.asks("resume") == 20
    assert watched.ended() == 0
    headless = EngineProcess(config, tmp_path, tmp_path, watched=False)
    path = headless.ready(lambda _text: None)
    assert headless.wait(PATIENCE) == 0
    with Run(path) as run:
        assert run.last_step == 60
        assert not [event for event in run.events if event.kind == "paused"]
    assert_same_rows(watched.path, path, whole=True)
    for at, paused in ((20, []), (19, [20])):  # a fork goes on where its parent paused
        fork = Engine(Fork(entry(path), at, {}), tmp_path)
        with Run(fork.path) as run:
            if paused:
                until(run, lambda run=run: run.state == "paused")
                fork.asks("resume")
            assert fork.ended() == 0
            run.refresh()
            assert [event.step for event in run.events if event.kind == "paused"] == paused


@pytest.fixture
def controls(tmp_path):
    """Controls with a real run directory, and a way to send and poll at once."""
    config = RunConfig.build({}, "test")
    writer = RunWriter(tmp_path / "r", {"config": config.to_toml()})
    controls = Controls(GRADIENT_DESCENT, {"eta": 0.1, "weight_decay": 0.01})

    def poll(*kinds):
        for kind in kinds:
            commands.send(writer.path, kind)
        time.sleep(0.02)
        controls.poll(writer.path, writer, 5)
        return controls

    yield poll
    writer.close()


def test_single_steps_do_not_outlast_the_pause_they_were_asked_in(controls):
    """Steps asked for just before `resume` must not be taken in the next pause."""
    assert controls("pause", "step", "step").steps_allowed == 2
    state = controls("resume", "pause")
    assert state.paused
    assert state.steps_allowed == 0


def test_only_numbers_that_descent_can_use_are_accepted():
    """The rule for η and λ, at its borders; whatever JSON can hold gets an answer."""

    def refuse_controls(eta, weight_decay):
        return GRADIENT_DESCENT.refuse({"eta": eta, "weight_decay": weight_decay})

    assert refuse_controls(0.1, 0) is None
    assert refuse_controls(1, 0.999) is None
    assert "below 1" in refuse_controls(1, 1)
    assert "above 0" in refuse_controls(0, 0)
    assert "below 0" in refuse_controls(0.1, -1e-9)
    for value in (None, "0.1", True, [0.1], {}, float("nan"), float("inf"), json.loads("1" * 400)):
        assert refuse_controls(value, 0.0)
        assert refuse_controls(0.1, value)


def test_midpoint_readings_are_taken_off_the_bounce(tmp_path):
    """Every reading equals one at (θ_{t−1} + 2θ_t + θ_{t+1})/4, θ descended here by hand."""
    config = RunConfig.build({**TINY, "reading": "midpoint"}, "test")
    machine = prepare_machine(config)
    problem = build_problem(config, machine.device, tmp_path, lambda _: None)
    writer = RunWriter(tmp_path / "r", initial_facts(config, machine, problem, "r", ""))
    Driver(config, problem).run(writer)
    writer.close()
    _, thetas, loss_of = plain_training(config.steps + 1, config.eta, config.weight_decay)
    run = Run(tmp_path / "r")
    assert run.measured["step"].tolist() == list(range(0, config.steps + 1, config.cadence))
    for step, reading in zip(
        run.measured["step"].astype(int), run.measured["grad_norm"], strict=True
    ):
        before, after = thetas[max(step - 1, 0)], thetas[step + 1]
        middle = ((before + 2 * thetas[step] + after) / 4).requires_grad_()
        loss_of(middle).backward()
        assert reading == pytest.approx(float(middle.grad.norm()), rel=1e-9)


def test_what_an_own_problem_prints_goes_to_stderr_and_the_log(tmp_path):
    """Prints, JSON among them, never reach whoever waits for the engine."""
    (tmp_path / "own.py").write_text(
        "import torch\nfrom eostui.problems import Problem\n\n"
        "def f(device, dtype):\n"
        "    print(5)\n"
        '    print(\'{"kind": "ready", "text": "/tmp"}\', flush=True)\n'
        "    return Problem(torch.ones(3, dtype=dtype), lambda t: 0.5 * (t * t).sum(), 'c')\n"
    )
    config = RunConfig.build({**TINY, "problem": f"{tmp_path / 'own.py'}:f"}, "test")
    outcome = drive(tmp_path / "runs", config)
    assert outcome.exit_code == 0
    assert outcome.path.parent == tmp_path / "runs"
    assert outcome.run.state == "finished"


def test_a_run_that_ends_while_it_is_looked_at_is_not_interrupted(tmp_path):
    """Facts read before the end and a lock tested after it: the end is read again."""
    config = RunConfig.build(TINY, "test")
    process = EngineProcess(config, tmp_path, tmp_path)
    path = process.ready(print)
    run = Run(path)
    assert run.facts["status"] == "running"
    assert process.wait(60) == 0
    assert run.facts["status"] == "running"  # not refreshed
    assert run.state == "finished"
