"""Runs of several processes: real ones, over gloo, against the same run in one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import PATIENCE, Engine, assert_same_rows, entry, here, small

import eostui
from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.engine.processes import Processes
from eostui.errors import EXIT_FAILED, EXIT_INPUT, InputError, RunFormatError
from eostui.problems.shards import shard_rows
from eostui.runs.calibration import CALIBRATED
from eostui.runs.launch import EngineProcess, Fork, Resume, StartError
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

#: 7 samples more than can be shared out evenly, beyond the edge from the first steps on.
NETWORKS = {
    "mlp": {"width": 20, "depth": 2, "samples": 101, "eta": 0.3},
    "cnn": {"network": "cnn", "channels": [4, 4], "samples": 61, "eta": 0.15},
}
EXACT = {
    "preset": "shared", "dtype": "float64", "device": "cpu", "threads": 1, "weight_decay": 0.01,
    "steps": 40, "cadence": 5, "test_cadence": 20, "calibrate_at": 25,
}  # fmt: skip


def config(network: str, **values) -> RunConfig:
    return RunConfig.build({**EXACT, **NETWORKS[network], **values}, "test")


def torchrun(*arguments: str, count: int = 2) -> list[str]:
    return [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count),
        "-m", "eostui", *arguments,
    ]  # fmt: skip


_started: list[subprocess.Popen[str]] = []


def command(*arguments: str, runs: Path, count: int = 2, **more) -> subprocess.Popen[str]:
    environment = {**os.environ, "EOSTUI_RUNS": str(runs), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        torchrun(*arguments, count=count), env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more,
    )  # fmt: skip
    _started.append(process)
    return process


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """Neither torchrun nor an engine is left at work by a test that fails."""
    yield
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE)


def preset(folder: Path, wanted: RunConfig) -> str:
    path = folder / "shared.toml"
    path.write_text(wanted.to_toml())
    return str(path)


def workers(engine: int) -> list[int]:
    """The processes that an engine started."""
    children = Path(f"/proc/{engine}/task/{engine}/children").read_text().split()
    return [int(child) for child in children]


def gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def ends(process: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not gone(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    return gone(process)


@pytest.mark.parametrize("network", NETWORKS)
def test_torchrun_gives_the_numbers_of_one_process(network, tmp_path):
    alone = here(config(network), tmp_path)
    process = command("run", preset(tmp_path, config(network)), "--headless", runs=tmp_path)
    path = Path(finished(process, "finished after 40 steps"))  # stdout is data alone
    assert path.parent == tmp_path
    with Run(alone) as one, Run(path) as two:
        assert two.config.processes == 2
        mine, theirs = one.columns(), two.columns()
        told = [
            event.payload for run in (one, two) for event in run.events if event.kind == CALIBRATED
        ]
    assert [payload["step"] for payload in told] == [25, 25]
    for constant in ("sharpness", "alpha", "beta", "beta_alpha", "g", "gradient_u", "quartic"):
        assert told[1][constant] == pytest.approx(told[0][constant], rel=1e-6), constant
    assert len(theirs["step"]) == len(mine["step"]) == 41
    # above its threshold, so that rounding would grow
    assert np.nanmax(mine["sharpness"] / mine["stability_threshold"]) > 1
    for name, steps in (
        ("sharpness", 9), ("beta_alpha", 9), ("lambda_g", 9), ("path_curvature", 40), ("loss", 41),
        ("test_loss", 3), ("x", 16), ("q", 16), ("train_accuracy", 41),
    ):  # fmt: skip
        known = np.isfinite(mine[name])
        assert np.count_nonzero(mine[name][known]) >= steps - 1, name
        np.testing.assert_array_equal(known, np.isfinite(theirs[name]), name)
        np.testing.assert_allclose(theirs[name][known], mine[name][known], 1e-6, err_msg=name)


def test_a_shard_is_a_chunk_on_another_process(tmp_path):
    """To the bit, in the precision of most runs too: sums are made in the same order."""
    even = {"samples": 90, "dtype": "float32", "chunk_size": 30}
    chunked = here(config("mlp", **even), tmp_path)
    engine = Engine(config("mlp", **even, processes=3), tmp_path)
    assert engine.ended() == 0
    assert_same_rows(chunked, engine.path, whole=True)


def test_samples_are_shared_out_in_their_order():
    assert shard_rows(7, 3) == [range(0, 3), range(3, 5), range(5, 7)]
    assert shard_rows(4, 4) == [range(n, n + 1) for n in range(4)]
    with pytest.raises(InputError, match="`processes` is 5, but there are 4 training samples"):
        shard_rows(4, 5)


EVERYTHING = """
import torch

from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.shards import ShardedLoss
from eostui.problems import SummedLoss
from eostui.probes import Column, Probe, Reading

NAMES = (
    "value", "slope", "plain", "product", "both", "third", "gauss_newton", "outputs", "along", "back",
    "losses", "slopes",
)


def all_of(loss, point):
    v = torch.linspace(-1, 1, len(point.theta)).to(point.theta)
    outputs = point.outputs()
    w = torch.linspace(-1, 1, outputs.numel()).to(outputs).view_as(outputs)
    return {
        "value": point.loss, "slope": point.gradient,
        "plain": torch.cat([p.reshape(-1) for p in plain_gradient(loss, point.theta)]),
        "product": point.hessian_product(v), "both": torch.cat(point.curvature_gradient(v)),
        "third": point.third_derivative(v), "gauss_newton": point.gauss_newton_product(v),
        "outputs": outputs, "along": point.output_product(v), "back": point.output_pullback(w),
        "losses": point.sample_losses(), "slopes": point.output_slopes(),
    }


class Everything(Probe):
    name = "everything"
    columns = (*(Column(name, "1", "how far off") for name in NAMES), Column("shards", "1", "whether"))
    cost = "products"

    def due(self, moment):
        return moment.step == 3

    def measure(self, point, moment):
        loss = self.problem.loss
        here = SummedLoss(loss.parts)
        whole = all_of(here, Point(here, point.theta))
        there = all_of(loss, point)
        between = Point(loss, 1.01 * point.theta).hessian_product(point.theta)  # another θ, and back
        again = point.hessian_product(torch.linspace(-1, 1, len(point.theta)).to(point.theta))
        assert torch.equal(again, there["product"]) and not torch.equal(between, again)
        off = {name: float((there[name] - whole[name]).norm() / whole[name].norm()) for name in NAMES}
        return Reading({**off, "shards": float(isinstance(loss, ShardedLoss))})
"""


def test_all_that_a_point_offers_is_of_all_samples(tmp_path):
    (tmp_path / "probe.py").write_text(EVERYTHING)
    probes = (f"{tmp_path / 'probe.py'}:Everything",)
    engine = Engine(config("mlp", probes=probes, steps=40, processes=2, chunk_size=20), tmp_path)
    assert engine.ended() == 0
    with Run(engine.path) as run:
        assert not [event.payload for event in run.events if event.kind == "turned_off"]
        off = {name: run.columns()[name][3] for name in ("shards", *_names())}
    assert off.pop("shards") == 1
    assert max(off.values()) < 1e-12, off


def _names() -> tuple[str, ...]:
    return eval(EVERYTHING.partition("NAMES = ")[2].partition("\n)")[0] + ")")


@pytest.mark.slow
def test_what_a_probe_asks_in_vain_leaves_the_processes_in_step(tmp_path):
    """The probe is turned off, and the run is as without it: no answer is taken for another's."""
    (tmp_path / "probe.py").write_text(
        textwrap.dedent("""
            import torch

            from eostui.probes import Column, Probe, Reading


            class Vain(Probe):
                name, cost = "vain", "products"
                columns = (Column("vain", "1", "nothing"),)

                def due(self, moment):
                    return moment.step == 7

                def measure(self, point, moment):
                    return Reading({"vain": point.hessian_product(torch.ones(3).double()).sum()})
        """)
    )
    probes = (f"{tmp_path / 'probe.py'}:Vain",)
    engine = Engine(config("mlp", probes=probes, processes=2), tmp_path)
    assert engine.ended() == 0
    with Run(engine.path) as run:
        assert [event.step for event in run.events if event.kind == "turned_off"] == [7]
    plain = Engine(config("mlp", processes=2), tmp_path)
    assert plain.ended() == 0
    with Run(engine.path) as one, Run(plain.path) as other:
        for name in ("loss", "sharpness"):
            np.testing.assert_array_equal(one.columns()[name], other.columns()[name])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A run of two processes to its end."""
    engine = Engine(small(processes=2, steps=150), tmp_path_factory.mktemp("whole"))
    assert engine.ended() == 0
    return engine.path


@pytest.mark.slow
def test_a_replay_and_a_fork_start_as_many_and_are_the_same(whole):
    line = [sys.executable, "-m", "eostui", "replay", str(whole)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.endswith("are the same, bit for bit\n"), done
    assert done.returncode == 0
    assert_same_rows(whole, fork_of(whole, 33, {}), whole=True)


def test_a_fork_may_have_another_number(whole):
    other = fork_of(whole, 40, {"processes": 1})
    with Run(whole) as two, Run(other) as one:
        assert (two.config.processes, two.facts["processes"]) == (2, "2")
        assert (one.config.processes, one.facts.get("processes")) == (1, None)
        mine, theirs = one.columns()["loss"], two.columns()["loss"]
    np.testing.assert_array_equal(mine[:40], theirs[:40])  # its parent's record
    np.testing.assert_allclose(mine[:60], theirs[:60], rtol=1e-4)  # then up to rounding


def test_a_notebook_has_the_same_theta_without_further_processes(whole, capsys):
    opened = eostui.open_run(whole)
    theta = opened.theta(55)
    assert float(Point(opened.problem().loss, theta).loss) == opened["loss"][55]
    assert "rounded" not in capsys.readouterr().err


def fork_of(parent: Path, at: int, changes: dict) -> Path:
    engine = Engine(Fork(entry(parent), at, changes), parent.parent)
    assert engine.ended() == 0
    return engine.path


def test_a_killed_worker_ends_the_run_with_a_sentence_and_it_goes_on(tmp_path, whole):
    engine = Engine(small(processes=2, steps=150), tmp_path)
    (worker,) = workers(engine.process._process.pid)
    engine.reaches(60)
    os.kill(worker, signal.SIGKILL)
    assert engine.ended() == EXIT_FAILED
    with Run(engine.path) as run:
        assert run.state == "failed"
        assert run.facts["sentence"].startswith("failed at step ")
        assert run.facts["sentence"].endswith(": process 2 of 2 was ended by SIGKILL")
        assert run.last_step >= 60
    again = Engine(Resume(entry(engine.path)), tmp_path)  # a new worker
    assert again.ended() == 0
    assert_same_rows(whole, again.path, whole=True)


def test_workers_end_with_an_engine_that_is_killed(tmp_path):
    engine = Engine(small(processes=3, steps=100_000), tmp_path)
    both = workers(engine.process._process.pid)
    assert len(both) == 2
    folder = Path(f"/proc/{both[0]}/cmdline").read_bytes().split(b"\0")[-2].decode()
    engine.reaches(20)
    assert Path(folder).is_dir()
    engine.kill()
    assert all(map(ends, both))
    assert not Path(folder).exists()


@pytest.mark.slow
def test_a_paused_run_whose_worker_is_killed_fails_when_it_is_stopped(tmp_path):
    engine = Engine(small(processes=2, steps=100_000), tmp_path)
    (worker,) = workers(engine.process._process.pid)
    engine.asks("pause")
    os.kill(worker, signal.SIGKILL)
    engine.asks("stop")
    assert engine.ended() == EXIT_FAILED
    with Run(engine.path) as run:
        assert run.facts["sentence"].endswith("process 2 of 2 was ended by SIGKILL")


@pytest.mark.slow
def test_torchrun_that_is_interrupted_stops_the_run_in_order(tmp_path):
    long = preset(tmp_path, small(steps=1_000_000))
    process = command("run", long, "--headless", runs=tmp_path, start_new_session=True)
    path = begun(tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    with Run(path) as run:
        assert run.state == "stopped"
        assert run.facts["sentence"].startswith("stopped by its user at step")


def test_torchrun_whose_worker_is_killed_ends_the_run_with_a_sentence(tmp_path):
    long = preset(tmp_path, small(steps=1_000_000))
    process = command("run", long, "--headless", runs=tmp_path)
    path = begun(tmp_path)
    (worker,) = (
        child
        for child in workers(process.pid)
        if b"eostui.engine.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    os.kill(worker, signal.SIGKILL)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == EXIT_FAILED
    with Run(path) as run:
        assert run.state == "failed"
        assert run.facts["sentence"].endswith("2 of 2 ended, or can't be reached any more")
        assert run.facts["sentence"] in told


@pytest.mark.slow
def test_a_run_of_torchrun_is_gone_on_with_and_replayed_by_it(tmp_path):
    run = [preset(tmp_path, small(steps=30)), "--headless"]
    path = finished(command("run", *run, runs=tmp_path), "finished after 30 steps")
    finished(
        command("resume", path, "--steps", "60", "--headless", runs=tmp_path), "after 60 steps"
    )
    again = finished(command("replay", path, runs=tmp_path), "sharing 100 samples out among 2")
    assert again.endswith("steps 0 to 60 with 13 measurements are the same, bit for bit")


def finished(process: subprocess.Popen[str], said: str) -> str:
    """What it printed, once it has ended as it should."""
    out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    assert said in told
    return out.strip()


def begun(folder: Path) -> Path:
    """The run in a folder, once it has taken steps."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for path in folder.glob("*/run.db"):
            with contextlib.suppress(RunFormatError):  # it is being made
                if entry(path.parent).last_step > 20:
                    return path.parent
        time.sleep(0.05)
    raise AssertionError("no run began")


@pytest.mark.slow
def test_torchrun_asked_for_another_number_than_the_run_has(tmp_path):
    process = command("run", "digits-mlp", "--headless", "--processes", "3", runs=tmp_path)
    _, told = process.communicate(timeout=PATIENCE)
    assert (
        process.returncode == EXIT_FAILED
    )  # torchrun's own; it tells the first process's beside it
    assert "eostui: torchrun started 2 processes, but `processes` of the run is 3: start as" in told
    assert f"exitcode  : {EXIT_INPUT} " in told
    assert not [*tmp_path.glob("*/run.db")]


def test_torchrun_has_no_live_view(tmp_path):
    environment = {**os.environ, "TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2", "RANK": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "eostui", "run", "digits-mlp", "--runs-dir", str(tmp_path)],
        capture_output=True, text=True, env=environment, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == EXIT_INPUT
    assert done.stderr.startswith(
        "eostui: torchrun gives its processes no terminal for the live view"
    )


OWN = """
import os

import torch
from torch import nn

from eostui.problems import Problem
from eostui.problems.norms import ElementaryBatchNorm

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
Y = torch.randn(12, 2, generator=torch.Generator().manual_seed(2))


def made(dtype, loss, *between, x=X):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), *between, nn.Tanh(), nn.Linear(4, 2)).to(dtype)
    return Problem.from_module(module, loss, x.to(dtype), Y.to(dtype), convention="c")


def mean(outputs, targets):
    return (outputs - targets).square().sum() / len(outputs)


def normalised(device, dtype):
    return made(dtype, mean, ElementaryBatchNorm(4))


def total(device, dtype):
    return made(dtype, lambda outputs, targets: (outputs - targets).square().sum())


def other_data(device, dtype):
    return made(dtype, mean, x=X + float(os.environ.get("RANK", "0")))


def of_theta(device, dtype):
    return Problem(torch.ones(3, dtype=dtype), lambda at: (at * at).sum(), "c")


def failing(device, dtype):
    worker = os.environ.get("RANK", "0") != "0"
    calls = 0

    def loss(outputs, targets):
        nonlocal calls
        calls += 1
        if worker and calls > 60:
            raise MemoryError
        return mean(outputs, targets)

    return made(dtype, loss)
"""


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ("normalised", "`processes` is 2, but the network's outputs for a sample depend on the other"),
        ("total", "`processes` is 2, but the loss isn't a mean over samples"),
        ("of_theta", "`processes` is 2, but the problem is a function of θ alone"),
        ("other_data", "process 2 of 2: its data or code aren't those of the first one: the inputs"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_out_is_refused(problem, said, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    own = RunConfig.build(
        {
            "problem": f"{tmp_path / 'own.py'}:{problem}",
            "processes": 2,
            "device": "cpu",
            "steps": 5,
        },
        "test",
    )
    engine = EngineProcess(own, tmp_path / "runs", tmp_path)
    with pytest.raises(StartError) as caught:
        engine.ready(lambda _: None)
    assert str(caught.value).startswith(said)
    assert caught.value.exit_code == EXIT_INPUT
    assert not [*(tmp_path / "runs").glob("*")]


def test_a_worker_that_fails_says_why(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    own = {"problem": f"{tmp_path / 'own.py'}:failing", "device": "cpu", "steps": 5000, "eta": 0.01}
    engine = Engine(RunConfig.build({**own, "processes": 2}, "test"), tmp_path)
    assert engine.ended() == EXIT_FAILED
    with Run(engine.path) as run:
        assert (
            ": process 2 of 2: out of memory: use a smaller `chunk_size`" in run.facts["sentence"]
        )


def test_a_device_that_is_only_one(tmp_path):
    with pytest.raises(InputError, match="`processes` is 2, but on mps a run is of one process"):
        Processes(config("mlp", processes=2), torch.device("mps"), tmp_path)


@pytest.mark.slow
def test_more_processes_than_samples(tmp_path):
    line = [sys.executable, "-m", "eostui", "run", "digits-mlp", "--headless", "--runs-dir",
            str(tmp_path), "--set", "samples=2", "--processes", "3"]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == EXIT_INPUT
    assert "eostui: `processes` is 3, but there are 2 training samples" in done.stderr
    assert not [*tmp_path.glob("*/run.db")]
