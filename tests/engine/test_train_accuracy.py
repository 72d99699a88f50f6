"""The accuracy on the training samples: of every step, by the pass that its loss is of."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import taped
import torch
from engines import assert_same_rows, here, small
from torch import nn

from eostui.curvature.point import Point, plain_gradient, training_pass
from eostui.engine.device import prepare_machine
from eostui.engine.facts import initial_facts
from eostui.problems import Problem, build_problem
from eostui.problems.batch import Chunk, has_accuracy, parts_of
from eostui.problems.losses import accuracy, half_squared_error
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 60


def recorded(path):
    with Run(path) as run:
        return np.array(run.steps["train_accuracy"])


def by_hand(config, tmp_path):
    """The share of right samples at every step of a loop in plain PyTorch."""
    problem = build_problem(config, torch.device("cpu"), tmp_path, lambda _text: None)
    made_of = [part.supervised for part in parts_of(problem.loss)]
    inputs = torch.cat([each.inputs for each in made_of])
    targets = torch.cat([each.targets for each in made_of])
    module = problem.module(problem.initial)
    shares = []
    for _ in range(config.steps + 1):
        outputs = module(inputs)
        right = sum(
            int(output.argmax() == target.argmax())
            for output, target in zip(outputs, targets, strict=True)
        )
        shares.append(right / len(inputs))
        loss = (
            0.5 * ((outputs - targets) ** 2).sum(1).mean()
            if config.loss == "mse"
            else nn.functional.cross_entropy(outputs, targets)
        )
        module.zero_grad()
        loss.backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= config.eta * (parameter.grad + config.weight_decay * parameter)
    return np.array(shares)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"loss": "cross-entropy", "weight_decay": 0.01},
        {"chunk_size": 37},
        {"reading": "midpoint", "cadence": 1, "far_cadence": 0},
        {"network": "cnn", "channels": (4, 4), "samples": 30, "eta": 0.05},
    ],
    ids=str,
)
def test_it_is_that_of_a_loop_in_plain_pytorch(tmp_path, values):
    config = small(steps=STEPS, dtype="float64", **values)
    shares = by_hand(config, tmp_path)
    assert len(set(shares)) > 10  # it moves
    np.testing.assert_allclose(recorded(here(config, tmp_path)), shares, rtol=0, atol=1e-12)


def test_steps_that_are_captured_have_the_same(tmp_path, monkeypatch):
    config = small(steps=STEPS)
    called = here(config, tmp_path / "called")
    taped.tape(monkeypatch)
    assert_same_rows(called, here(config, tmp_path / "captured"), whole=True)
    assert len(set(recorded(called))) > 10


class Wide(nn.Module):
    """No chain of layers: it is differentiated by autograd."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(6, 3, dtype=torch.float64)

    def forward(self, inputs):
        return self.inner(inputs).tanh() * 2


def wide(**values):
    torch.manual_seed(0)
    inputs = torch.randn(40, 6, dtype=torch.float64)
    targets = nn.functional.one_hot(torch.randint(3, (40,)), 3).double()
    return Problem.from_module(
        Wide(),
        half_squared_error,
        inputs,
        targets,
        convention="½",
        **{"accuracy": accuracy, **values},
    )


@pytest.mark.parametrize("chunk_size", [0, 7])
@pytest.mark.parametrize("network", ["chain", "graph"])
def test_it_changes_no_bit_of_loss_and_gradient(tmp_path, network, chunk_size):
    """And is the same on the way of a measured point."""
    if network == "chain":
        config = small(chunk_size=chunk_size)
        problem = build_problem(config, torch.device("cpu"), tmp_path, lambda _text: None)
    else:
        problem = wide(chunk_size=chunk_size)
    without = [
        Chunk(
            part.outputs,
            part.output_loss,
            dataclasses.replace(part.supervised, accuracy=None),
        )
        for part in parts_of(problem.loss)
    ]
    bare = (
        without[0] if len(without) == 1 else dataclasses.replace(problem.loss, parts=tuple(without))
    )
    theta = problem.initial + 0.1 * torch.randn_like(problem.initial)
    loss, gradient, share = training_pass(problem.loss, theta)
    assert len(training_pass(bare, theta)) == 2
    for one, other in zip((loss, gradient), training_pass(bare, theta), strict=True):
        assert torch.equal(one, other)
    point = Point(problem.loss, theta)
    assert torch.equal(point.accuracy, share)
    assert torch.equal(point.gradient, plain_gradient(problem.loss, theta)[1])
    assert Point(bare, theta).accuracy is None
    outputs = torch.cat([part.outputs(theta) for part in parts_of(problem.loss)])
    targets = torch.cat([part.supervised.targets for part in parts_of(problem.loss)])
    right = (outputs.argmax(1) == targets.argmax(1)).sum()
    assert float(share) == pytest.approx(int(right) / len(targets), abs=1e-15)


@pytest.mark.parametrize("chunk_size", [0, 7])
def test_all_right_is_1_exactly(chunk_size):
    problem = wide(
        chunk_size=chunk_size, accuracy=lambda outputs, _: outputs[:, 0].isfinite().float().mean()
    )
    assert float(training_pass(problem.loss, problem.initial)[2]) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    "own",
    [
        lambda outputs, targets: float((outputs.argmax(1) == targets.argmax(1)).double().mean()),
        lambda outputs, targets: outputs.argmax(1) == targets.argmax(1),
        lambda outputs, targets: torch.tensor(
            [a.argmax() == b.argmax() for a, b in zip(outputs, targets, strict=True)]
        ).double().mean(),
    ],
    ids=["a number", "a row a sample", "looks at values"],
)  # fmt: skip
def test_one_that_a_step_would_wait_for_is_not_recorded(own):
    problem = wide(accuracy=own)
    assert not has_accuracy(problem.loss)
    assert "not recorded" in problem.facts["train_accuracy"]
    assert len(training_pass(problem.loss, problem.initial)) == 2


@pytest.mark.parametrize(
    ("values", "there"),
    [
        ({}, True),
        ({"dynamics": "heavy-ball"}, True),
        ({"problem": "two-layer-scalar"}, False),
        ({"problem": "chebyshev"}, False),
    ],
    ids=str,
)
def test_a_run_states_whether_it_has_the_column(tmp_path, values, there):
    config = small(steps=3, **values)
    path = here(config, tmp_path)
    with Run(path) as run:
        assert ("train_accuracy" in run) == there
        assert ("train_accuracy" in json.loads(run.facts["step_columns"])) == there
        assert ("train_accuracy" in json.loads(run.facts["columns"])) == there
        if there:
            assert np.isfinite(run["train_accuracy"]).all()
        for control in ("eta", "weight_decay"):
            assert np.isfinite(run.measured[control]).all()


def test_values_to_fit_have_none(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "values.npz", x=rng.normal(size=(20, 4)), y=rng.normal(size=(20, 2)))
    config = small(data="npz", data_file=str(tmp_path / "values.npz"), samples=20)
    problem = build_problem(config, torch.device("cpu"), tmp_path, lambda _text: None)
    assert not has_accuracy(problem.loss)
    facts = initial_facts(config, prepare_machine(config), problem, "r", "")
    assert "train_accuracy" not in json.loads(facts["step_columns"])
