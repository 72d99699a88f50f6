"""Passes that are done beside a measurement: the same run to the bit, and none that isn't come to."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from engines import assert_same_rows, entry, here, small

from eostui.curvature.point import training_pass
from eostui.engine import gradients_ahead
from eostui.engine.device import prepare_machine
from eostui.engine.gradients_ahead import MOST, SWITCH, GradientsAhead, is_of_use
from eostui.problems import build_problem
from eostui.runs.launch import Fork, Resume

pytestmark = pytest.mark.usefixtures("one_thread")

#: η and λ are changed between measurements, an average goes beside, and a step is taken along u alone.
SCRIPT = {
    13: [("set", {"eta": 0.1})],
    14: [("set", {"weight_decay": 0.01})],
    31: [("probe", {"probe": "ema", "on": True})],
    42: [("set", {"sharp_step": 0.0})],
    53: [("set", {"sharp_step": 1.0})],
}


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(gradients_ahead, "cores", lambda: 2)


@pytest.fixture
def problem():
    config = small()
    return build_problem(config, prepare_machine(config).device, None, lambda _text: None)


@pytest.mark.parametrize(
    "more",
    [
        {}, {"reading": "midpoint"}, {"warm_up": 8}, {"dtype": "float64", "loss": "cross-entropy"},
        {"calibrate_at": 20}, {"cadence": 100, "far_cadence": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_is_the_same_to_the_bit(tmp_path, monkeypatch, more):
    taken = []
    take = GradientsAhead.take

    def counted(self, theta):
        taken.append(found := take(self, theta))
        return found

    monkeypatch.setattr(GradientsAhead, "take", counted)
    config = small(steps=200, ema_decay=0.9, **more)
    beside = here(config, tmp_path, SCRIPT)
    assert sum(found is not None for found in taken) > 100
    part = here(config, tmp_path, {**SCRIPT, 22: [("stop", {})]})
    here(Resume(entry(part)), tmp_path, {at: SCRIPT[at] for at in SCRIPT if at > 22})
    fork = here(Fork(entry(beside), 101, {"eta": 0.05}), tmp_path)
    monkeypatch.setenv(SWITCH, "0")
    del taken[:]
    plain = here(config, tmp_path, SCRIPT)
    assert_same_rows(plain, beside, whole=True)
    assert_same_rows(plain, part, whole=True)
    assert_same_rows(here(Fork(entry(plain), 101, {"eta": 0.05}), tmp_path), fork, whole=True)
    assert not taken
    assert "gradients-ahead" not in [thread.name for thread in threading.enumerate()]


def move(theta, gradient):
    return theta - 0.1 * gradient


def test_passes_are_those_at_the_thetas_to_come(problem):
    ahead, theta = GradientsAhead(problem.loss), problem.initial
    assert ahead.take(theta) is None
    ahead.begin(theta, move, 3)
    for _ in range(3):
        found, known = ahead.take(theta), training_pass(problem.loss, theta)
        assert found is not None
        assert all(torch.equal(*pair) for pair in zip(found, known, strict=True))
        theta = move(theta, known[1])
    assert ahead.take(theta) is None
    ahead.begin(theta, move, 10 * MOST)
    for _ in range(MOST):
        theta = move(theta, ahead.take(theta)[1])
    assert ahead.take(theta) is None


def test_a_theta_that_is_not_come_to_is_dropped_with_all_after_it(problem):
    ahead, theta = GradientsAhead(problem.loss), problem.initial
    ahead.begin(theta, move, 10)
    theta = move(theta, ahead.take(theta)[1])
    assert ahead.take(theta + 1e-3) is None
    assert ahead.take(theta) is None
    # one that is begun while the last pass of another is at work is its own alone
    ahead.begin(problem.initial, move, 10)
    ahead.begin(theta, move, 1)
    found = ahead.take(theta)
    assert torch.equal(found[1], training_pass(problem.loss, theta)[1])
    assert ahead.take(theta) is None


def test_an_error_is_left_to_the_pass_in_its_turn(problem, monkeypatch):
    """Nobody waits for what doesn't come."""
    began = threading.Event()

    def fails(_loss, _theta):
        began.set()
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gradients_ahead, "training_pass", fails)
    ahead = GradientsAhead(problem.loss)
    ahead.begin(problem.initial, move, 5)
    assert ahead.take(problem.initial) is None
    assert began.is_set()
    ahead.close()


def test_few_large_ones_wait_to_be_taken_and_closing_ends_all(problem, monkeypatch):
    """With room for two, the third waits; a thread that waits for room ends too."""
    theta, done = problem.initial, []
    monkeypatch.setattr(gradients_ahead, "BACKLOG", 2 * 2 * theta.nbytes)

    def counted(loss, theta):
        done.append(1)
        return training_pass(loss, theta)

    monkeypatch.setattr(gradients_ahead, "training_pass", counted)
    ahead = GradientsAhead(problem.loss)
    ahead.begin(theta, move, 10)
    deadline = time.monotonic() + 60
    while len(done) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(done) == 2
    theta = move(theta, ahead.take(theta)[1])
    assert ahead.take(theta) is not None
    ahead.close()
    assert "gradients-ahead" not in [thread.name for thread in threading.enumerate()]
    assert len(done) <= 4


def test_where_it_is_of_use(problem, monkeypatch):
    """With a core to spare, for networks of the program's own, unless it is switched off."""
    cpu = torch.device("cpu")
    assert is_of_use(problem.loss, cpu)
    assert not is_of_use(problem.loss, torch.device("mps"))
    assert not is_of_use(lambda theta: (theta**2).sum(), cpu)
    monkeypatch.setattr(gradients_ahead, "cores", lambda: 1)
    assert not is_of_use(problem.loss, cpu)
    monkeypatch.setattr(gradients_ahead, "cores", lambda: 2)
    monkeypatch.setenv(SWITCH, "0")
    assert not is_of_use(problem.loss, cpu)
    monkeypatch.delenv(SWITCH)
    config = small(chunk_size=30)
    chunked = build_problem(config, prepare_machine(config).device, None, lambda _text: None)
    assert not is_of_use(chunked.loss, cpu)
