"""Engines that are copies of one process: each run is to the bit that of a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from engines import PATIENCE, Engine, assert_same_rows, derived, entry, small

from eostui.config import RunConfig
from eostui.runs.launch import EngineProcess, Resume, StartError
from eostui.runs.run import Run
from eostui.runs.shelf import new_run_path
from eostui.runs.template import Template
from eostui.sweeps import remote
from eostui.sweeps.devices import devices_meant, worker_devices

CONFIG = small(steps=200)

#: A problem whose file leaves what it can behind: seeds, defaults of PyTorch, modules.
MESSY = """
import random
import numpy as np
import torch
from torch.func import functional_call

torch.manual_seed(5); np.random.seed(5); random.seed(5)
torch.set_default_dtype(torch.float64)
torch.set_num_threads(2)

def problem(**_):
    raise RuntimeError("no problem today")
"""


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    made = Template()
    yield made
    made.close()


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start(template: Template, config: RunConfig | Resume, folder: Path) -> EngineProcess:
    engine = EngineProcess(config, folder, folder, watched=False, engine=template.engine())
    engine.ready(lambda _: None)
    return engine


def test_one_run_after_the_other_is_as_in_a_process_of_its_own(
    template: Template, tmp_path: Path
) -> None:
    alone = Engine(CONFIG, tmp_path)
    assert alone.ended() == 0
    own = tmp_path / "messy.py"
    own.write_text(MESSY)
    other = small(steps=50, dtype="float64", activation="tanh", seed=4)
    first = start(template, other, tmp_path)
    assert first.wait(PATIENCE) is not None
    with pytest.raises(StartError, match="no problem today"):
        start(template, small(problem=f"{own}:problem"), tmp_path)
    copies = [start(template, CONFIG, tmp_path) for _ in range(2)]  # both at once
    for copy in copies:
        assert copy.wait(PATIENCE) == 0
        assert_same_rows(alone.path, copy.path, whole=True)
        assert derived(alone.path) == derived(copy.path)
        with Run(copy.path) as run, Run(alone.path) as lone:
            for fact in ("threads", "device", "torch", "status", "sentence", "config"):
                assert run.facts[fact] == lone.facts[fact]
        assert (copy.path / "engine.log").read_text().endswith("finished after 200 steps\n")


def test_an_engine_that_is_let_alone_saves_and_stops(template: Template, tmp_path: Path) -> None:
    engine = start(template, small(steps=100_000), tmp_path)
    wait_for(lambda: entry(engine.path).last_step > 5)
    engine.cancel()
    assert engine.wait(PATIENCE) == 0
    found = entry(engine.path)
    assert found.state == "stopped"
    assert found.sentence.startswith("stopped with its sweep at step")
    resumed = start(template, Resume(found, found.last_step + 20), tmp_path)
    assert resumed.wait(PATIENCE) == 0
    assert entry(engine.path).last_step == found.last_step + 20


def test_a_killed_engine_is_told_from_one_that_ended(template: Template, tmp_path: Path) -> None:
    engine = start(template, small(steps=100_000), tmp_path)
    assert engine.pid
    os.kill(engine.pid, signal.SIGKILL)
    assert engine.wait(PATIENCE) == -signal.SIGKILL
    assert entry(engine.path).state == "interrupted"
    wait_for(lambda: not Path(f"/proc/{engine.pid}").exists())  # no zombie is left


def test_a_template_that_was_killed_is_replaced(template: Template, tmp_path: Path) -> None:
    engine = start(template, small(steps=100_000), tmp_path)
    before = template.pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: template._process.poll() is not None)
    after = start(template, CONFIG, tmp_path)
    assert template.pid != before
    assert after.wait(PATIENCE) == 0
    assert engine.wait(0) is None  # its copies live on
    engine.cancel()
    assert engine.wait(PATIENCE) == 0


def test_a_copy_takes_the_device_that_is_its_own(template: Template, tmp_path: Path) -> None:
    path = new_run_path(tmp_path, "given")
    engine = EngineProcess(
        small(steps=20, device="auto"), tmp_path, tmp_path, watched=False, path=path, device="cpu",
        engine=template.engine(),
    )  # fmt: skip
    assert engine.ready(lambda _: None) == path
    assert engine.wait(PATIENCE) == 0
    assert entry(path).config.device == "auto"
    wrong = EngineProcess(
        small(device="auto"), tmp_path, tmp_path, device="cuda:77", engine=template.engine()
    )
    with pytest.raises(StartError, match="cuda:77"):
        wrong.ready(lambda _: None)


def test_workers_have_devices_in_turn(template: Template, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eostui.sweeps.devices.cores", lambda: 16)
    assert devices_meant(["auto", "cpu", "cuda:77"], template) == {
        "auto": {"cpu": None}, "cpu": {"cpu": None}, "cuda:77": {}
    }  # fmt: skip
    configs = [small(seed=seed, device="auto") for seed in range(10)]
    assert worker_devices(configs, 3, template) == ["cpu"] * 3
    assert worker_devices(configs, 20, template) == ["cpu"] * 10
    assert worker_devices([small()], None, template) == [""]
    monkeypatch.setattr("eostui.sweeps.devices.devices_meant", gpus_of(80e9, 80e9))
    assert worker_devices(configs, 3, template) == ["cuda:0", "cuda:1", "cuda:0"]
    assert worker_devices(configs, None, template) == ["cuda:0", "cuda:1"] * 4
    monkeypatch.setattr("eostui.sweeps.devices.devices_meant", gpus_of(2e9, 1e9))
    assert worker_devices(configs, None, template) == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize(
    ("memory", "workers", "counts"),
    [
        ((80e9, 80e9), None, (4, 4)),
        ((80e9, 2.5e9), None, (4, 2)),
        ((1e9, 80e9), None, (1, 4)),
        ((80e9, 0.5e9), None, (4, 0)),  # it holds none
        ((0.5e9, 0.5e9), None, (1, 1)),  # none does, by what is guessed
        ((0.5e9, 0.4e9), None, (1, 1)),  # a display takes a part of one
        ((80e9, 2.5e9, 80e9), 4, (2, 1, 1)),
        ((80e9, 2.5e9), 9, (7, 2)),  # more than are borne: by memory
        ((40e9, 20e9), 18, (12, 6)),
    ],
)
def test_a_small_gpu_gets_no_more_members_than_it_holds(
    template: Template,
    monkeypatch: pytest.MonkeyPatch,
    memory: tuple[float, ...],
    workers: int | None,
    counts: tuple[int, ...],
) -> None:
    """Of members that are expected to take 0.85 GB each."""
    monkeypatch.setattr("eostui.sweeps.devices.cores", lambda: 64)
    monkeypatch.setattr("eostui.sweeps.devices.devices_meant", gpus_of(*memory))
    configs = [small(seed=seed, device="auto") for seed in range(20)]
    found = Counter(worker_devices(configs, workers, template))
    assert tuple(found[f"cuda:{n}"] for n in range(len(memory))) == counts


def test_what_chooses_its_chunk_is_borne_by_a_gpu_that_could_not_hold_all_samples(
    template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eostui.sweeps.devices.cores", lambda: 64)
    monkeypatch.setattr("eostui.sweeps.devices.devices_meant", gpus_of(80e9, 8e9))
    large = {"data": "cifar10", "network": "cnn", "samples": 50_000, "device": "auto"}
    for chunk_size, devices in (("auto", ["cuda:0", "cuda:1"]), (0, ["cuda:0"])):
        configs = [small(**large, chunk_size=chunk_size, seed=seed) for seed in range(4)]
        assert worker_devices(configs, None, template) == devices


def test_a_worker_of_a_cluster_gives_its_small_gpu_no_more_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remote, "_process", remote._Process())
    monkeypatch.setattr(remote, "devices_meant", gpus_of(80e9, 1e9))
    with ExitStack() as members:
        given = [
            members.enter_context(remote._device(small(device="auto", seed=seed)))
            for seed in range(5)
        ]
    assert given == ["cuda:0", "cuda:1", "cuda:0", "cuda:0", "cuda:0"]
    with remote._device(small(device="cuda:1")) as device:
        assert device == ""


def gpus_of(*memory: float) -> Callable[..., dict[str, dict[str, float | None]]]:
    """What stands for a machine with GPUs that have so many bytes free."""
    here: dict[str, float | None] = {f"cuda:{n}": free for n, free in enumerate(memory)}

    def meant(asked: Sequence[str], *_: object) -> dict[str, dict[str, float | None]]:
        indexed = {each: "cuda:0" if each == "cuda" else each for each in asked}
        found = {each: {name: here[name]} if name in here else {} for each, name in indexed.items()}
        return {**found, **{each: here for each in asked if each == "auto"}}

    return meant


def test_members_that_name_a_gpu_share_it_as_others_do(
    template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many cores there are; one of several GPUs may get all members that are at work."""

    def workers(*devices: str, given: int | None = None) -> int:
        configs = [small(seed=seed, device=device) for seed in range(10) for device in devices]
        found = worker_devices(configs, given, template)
        assert {*found} == {""}
        return len(found)

    monkeypatch.setattr("eostui.sweeps.devices.cores", lambda: 64)
    monkeypatch.setattr("eostui.sweeps.cost.cores", lambda: 64)
    monkeypatch.setattr("eostui.sweeps.cost.available_memory", lambda: 1e12)
    monkeypatch.setattr("eostui.sweeps.devices.devices_meant", gpus_of(80e9, 2e9))
    assert workers("cuda") == workers("cuda:0") == workers("cuda", "cpu") == 4
    assert workers("cuda:1") == workers("cuda:0", "cuda:1") == 1
    assert workers("cuda", given=7) == 7
    assert workers("cpu") == workers("cuda:77") == 10
