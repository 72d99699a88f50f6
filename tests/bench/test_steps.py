"""What a step and a measurement of a run ask for: parts of whole runs, counted."""

from __future__ import annotations

import pytest
import torch
from engines import small

from eostui.bench.activity import activity
from eostui.bench.measure import a_run, autograd_step
from eostui.bench.steps import time_steps
from eostui.engine.device import prepare_machine
from eostui.engine.facts import initial_facts
from eostui.engine.gradients_ahead import SWITCH
from eostui.problems import build_problem

pytestmark = pytest.mark.usefixtures("one_thread")


def test_counts_are_those_of_a_whole_run(tmp_path, device, monkeypatch):
    """A step, times more steps, is what a longer run asks for beyond a shorter one."""
    monkeypatch.setenv(SWITCH, "0")  # the profiler counts what a single thread asks for
    config = small(device=device, samples=60, width=8)
    machine = prepare_machine(config)
    problem = build_problem(config, machine.device, tmp_path, lambda _: None)
    facts = initial_facts(config, machine, problem, "bench", "")
    narrated = []
    found = time_steps(
        config, problem, problem.initial, 50, facts, lambda *told: narrated.append(told)
    )
    assert {text for text, _, _ in narrated} == {
        "what a step asks of its device", "what a measurement asks of its device",
    }  # fmt: skip
    once = activity(lambda: autograd_step(config, problem, problem.initial), problem.initial.device)
    assert found["bare"]["operators"] == once.operators > 10
    never = {
        "cadence": 10**6, "far_cadence": 0, "test_cadence": 10**6, "eigenvalues": 1,
        "checkpoint_every": 0,
    }  # fmt: skip

    def whole(steps):
        with a_run(config.changed({**never, "steps": steps}), problem, facts) as (train, _):
            return activity(train, problem.initial.device)

    more = whole(130) - whole(30)
    # rows are flushed by the clock: 40 steps that are looked at may have a flush more or less, of some
    # ten operators, and so may 100
    for name in ("operators", "reads"):
        flushes = 0.1 * getattr(more, name) + 100
        assert found["step"][name] * 100 == pytest.approx(getattr(more, name), abs=flushes)
    assert found["measurement"]["operators"] > found["step"]["operators"]
    assert 1 <= found["products"] <= 40
    assert all(found[name]["seconds"] >= 0 for name in ("bare", "step", "measurement"))
    if device == "cuda":
        assert found["measurement"]["waits"] > 0
        for name in ("bare", "step", "measurement"):
            assert found[name]["busy_seconds"] > 0
            assert found[name]["kernels"] >= found[name]["launches"] > 0
        assert found["bare"]["waits"] == 0
        # a wait a stretch; the first stretches, and those that another process holds up, are of a step
        assert found["step"]["waits"] < 0.9, "rows are read in batches"
        assert found["peak_megabytes"] > 0
    else:
        assert "peak_megabytes" not in found
        assert found["step"]["reads"] == 0


def test_a_step_of_a_bench_of_one_step_is_left_out(tmp_path):
    """There is nothing to take the difference of."""
    config = small(samples=20, width=4)
    machine = prepare_machine(config)
    problem = build_problem(config, torch.device("cpu"), tmp_path, lambda _: None)
    facts = initial_facts(config, machine, problem, "bench", "")
    found = time_steps(config, problem, problem.initial, 1, facts, lambda *_: None)
    assert "step" not in found
    assert found["products"] > 0
