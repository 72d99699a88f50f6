"""A device that is full, that fails, that is gone, and a batch that must be cut to fit into it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from engines import Engine, entry, here, small

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.engine.device import prepare_machine
from eostui.engine.explain import explain
from eostui.engine.session import EngineSession
from eostui.problems import build_problem
from eostui.problems.batch import SummedLoss, batch_loss
from eostui.problems.memory import automatic_chunk_size
from eostui.runs.launch import StartError
from eostui.runs.repair.check import check_run
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")

#: Of a batch that a GPU with little memory has no room for.
SAMPLES = 20_000

#: Problems that go wrong at about step 30: each step shrinks θ by η. How often a loss is evaluated
#: before the run is open doesn't matter then.
FAILING = """
import torch
from eostui.problems import Problem

def _failing(device, dtype, failure):
    smallest = (1 - 0.3) ** 29.5

    def loss(at):
        if at.abs().max() < smallest:
            failure()
        return at @ at / 2

    return Problem(torch.ones(3, device=device, dtype=dtype), loss, "½‖θ‖²")

def memory(device, dtype):
    return _failing(device, dtype, lambda: torch.empty(10**15, device=device))

def lost(device, dtype):
    def failure():
        if device.type == "cuda":  # an index out of range ends all that this process has on the GPU
            torch.zeros(1, device=device)[torch.tensor([5], device=device)]
            torch.cuda.synchronize(device)
        raise RuntimeError("CUDA error: device-side assert triggered\\nas PyTorch says it")
    return _failing(device, dtype, failure)
"""


@pytest.fixture
def failing(tmp_path, device):
    """Settings of a problem that goes wrong as it is named."""
    (tmp_path / "own.py").write_text(FAILING)

    def settings(name):
        return small(
            device=device, steps=60, problem=f"{tmp_path / 'own.py'}:{name}", dtype="float64"
        )

    return settings


def test_memory_that_runs_out_in_mid_run_ends_it_by_name(failing, tmp_path):
    """A real allocation that can't be had: the rows before it stay, and it can be looked at."""
    engine = Engine(failing("memory"), tmp_path)
    assert engine.ended() == 1
    with Run(engine.path) as run:
        sentence = "failed at step 30: out of memory: use a smaller `chunk_size`"
        assert run.facts["sentence"].startswith(sentence)
        assert len(run.steps["loss"]) == 30
    assert all(finding.sound for finding in check_run(engine.path))


def test_a_device_that_fails_in_mid_run_ends_it_by_name(failing, tmp_path):
    """A real failure on a GPU, an imitated one on a CPU. The rows that were on the GPU may be lost."""
    engine = Engine(failing("lost"), tmp_path)
    assert engine.ended() == 1
    with Run(engine.path) as run:
        told = run.facts["sentence"]
        assert told.startswith("failed at step 30: the GPU failed (CUDA error: device-side assert")
        assert "\n" not in told
        steps = len(run.steps["loss"])
        np.testing.assert_allclose(run.steps["loss"], 1.5 * 0.7 ** (2 * np.arange(steps)))
    assert all(finding.sound for finding in check_run(engine.path))


def test_rows_that_go_with_their_device_leave_a_sound_record(failing, tmp_path, monkeypatch):
    """Its end is told of the first step that is lost. Rows that can't be read are imitated."""
    program = (
        "import sys\n"
        "from eostui.engine import recorder\n"
        "from eostui.engine.__main__ import main\n"
        "flush = recorder.Recorder.flush\n"
        "def lost(self):\n"
        "    if self.next_step > 27:\n"
        "        raise RuntimeError('CUDA error')\n"
        "    flush(self)\n"
        "recorder.FLUSH_EVERY = 1e9\n"
        "recorder.Recorder.flush = lost\n"
        "sys.exit(main())\n"
    )
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen",
        lambda _command, **named: popen([sys.executable, "-c", program], **named),
    )  # fmt: skip
    engine = Engine(failing("lost"), tmp_path)
    assert engine.ended() == 1
    with Run(engine.path) as run:
        assert run.facts["sentence"].startswith("failed at step 30: the GPU failed")
        assert run.last_step < 27
        assert run.events[-1].kind == "failed"
        assert run.events[-1].step == run.last_step + 1
    assert all(finding.sound for finding in check_run(engine.path))


def test_a_network_too_large_for_the_device_is_a_sentence(tmp_path, device):
    """Before there is a run: nothing is left behind. It is larger than any address space: some machines
    give out all that is asked for, and end a process when it uses it."""
    np.savez(tmp_path / "narrow.npz", x=np.arange(8.0)[:, None], y=np.arange(8) % 2)
    config = small(
        device=device, width=30_000_000, depth=2, data="npz", samples="all",
        data_file=str(tmp_path / "narrow.npz"),
    )  # fmt: skip
    with pytest.raises(StartError, match=r"^out of memory: use a smaller") as caught:
        Engine(config, tmp_path)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.glob("*/run.db"))


@pytest.mark.gpu
def test_a_full_gpu_is_a_sentence_and_usable_afterwards(tmp_path, cuda):
    """This process may have a sliver of the GPU: it doesn't do for a network that a CPU holds easily."""
    config = small(device="cuda", width=4000, depth=3, steps=20)
    total = torch.cuda.get_device_properties(cuda).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(300e6 / total, cuda)
    try:
        with pytest.raises(torch.OutOfMemoryError) as caught:
            here(config, tmp_path)
        assert explain(caught.value).startswith("out of memory: use a smaller `chunk_size`")
        del caught
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, cuda)
    with Run(here(small(device="cuda", steps=20), tmp_path)) as run:
        assert len(run.steps["loss"]) == 21


def test_a_run_whose_device_is_gone_is_refused_and_can_be_forked_elsewhere(tmp_path, device):
    """No GPU is visible any more: a sentence, exit code 2, the record as it was; a fork to the CPU."""
    path = here(small(device=device, steps=60), tmp_path)
    gone = f"{device}:0" if device == "cuda" else "cuda:0"
    if device == "cpu":  # as if it had been there
        writer = RunWriter(path)
        writer.fact("device", gone)
        writer.close()
    before = (path / "run.db").read_bytes()
    blind = {
        **os.environ, "CUDA_VISIBLE_DEVICES": "", "EOSTUI_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def eostui(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "eostui", *arguments], cwd=tmp_path, env=blind, text=True,
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip

    for arguments in (("resume", path.name, "--steps", "80", "--headless"), ("replay", path.name)):
        done = eostui(*arguments)
        assert done.returncode == 2, done.stderr
        assert (
            f"{path.name} computed on {gone}, but this machine has only cpu: "
            f"`eostui fork {path.name} --set device=cpu` goes on with it there"
        ) in " ".join(done.stderr.split())
    assert (path / "run.db").read_bytes() == before
    done = eostui(
        "fork", path.name, "--at", "61", "--steps", "90", "--set", "device=cpu", "--headless"
    )
    assert done.returncode == 0, done.stderr
    with Run(tmp_path / done.stdout.strip().split("/")[-1]) as fork:
        assert fork.facts["device"] == "cpu"
        assert len(fork.steps["loss"]) == 91
        assert fork.steps["loss"][90] < fork.steps["loss"][60]
    assert entry(path).state == "finished"


def test_the_automatic_chunk_size_fits(tmp_path, device, monkeypatch):
    """A GPU that has little left: what a reading takes stays within it, and it reads the same.

    On a CPU `auto` is the whole batch; what it would be on a GPU is computed all the same.
    """
    x = np.random.default_rng(1).normal(size=(SAMPLES, 64))
    np.savez(tmp_path / "many.npz", x=x, y=np.arange(SAMPLES) % 10)
    free = 150_000_000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (free, free))
    config = RunConfig.build(
        {"data": "npz", "data_file": str(tmp_path / "many.npz"), "width": 200, "device": device},
        "test",
    )
    place = prepare_machine(config).device
    problem = build_problem(config, place, tmp_path, lambda _: None)
    whole = build_problem(config.changed({"chunk_size": 0}), place, tmp_path, lambda _: None)
    theta = problem.initial
    vector = torch.ones_like(theta) / len(theta) ** 0.5

    def reading(loss):
        point = Point(loss, theta)
        return point.gradient, point.hessian_product(vector), point.third_derivative(vector)

    made_of = whole.loss.supervised

    def first(samples):
        return batch_loss(
            made_of.outputs, made_of.loss, made_of.inputs[:samples], made_of.targets[:samples], 0
        )

    wanted = automatic_chunk_size(first, theta, SAMPLES, free)
    assert SAMPLES / 10 < wanted < SAMPLES
    exact = reading(
        whole.loss
    )  # first: memory that libraries keep for themselves isn't counted then
    if device == "cuda":
        # it was chosen by graphs on the CPU, which may keep a little more or less
        assert problem.chunk_size == pytest.approx(wanted, rel=0.05)
        before = torch.cuda.memory_allocated(place)
        torch.cuda.reset_peak_memory_stats(place)
    else:
        assert problem.chunk_size == 0
        problem = build_problem(
            config.changed({"chunk_size": wanted}), place, tmp_path, lambda _: None
        )
    found = reading(problem.loss)
    if device == "cuda":
        assert torch.cuda.max_memory_allocated(place) - before < free
    assert isinstance(problem.loss, SummedLoss)
    for mine, its in zip(found, exact, strict=True):
        assert (mine - its).norm() <= 1e-4 * its.norm()


def test_a_run_keeps_the_chunk_size_that_was_chosen(tmp_path, device, monkeypatch):
    """What is free differs from day to day; a run that is gone on with sums as it did."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (10_000_000, 10_000_000))
    config = small(device=device, samples=1000, width=200, depth=2, steps=10)
    path = here(config, tmp_path)
    chosen = entry(path).config.chunk_size
    assert (chosen == 0) == (device == "cpu")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (10**9, 10**9))
    again = EngineSession(entry(path).config, tmp_path, lambda _: None, path)
    assert again.problem.chunk_size == chosen
