"""Files with a user's own problem, built by the way that a run goes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.problems import build_problem

CPU = torch.device("cpu")
HEAD = """
import random
import warnings

import numpy as np
import torch
from torch import nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from eostui.problems import Evaluation, Problem, SummedLoss

X = torch.randn(12, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
Y = torch.randn(12, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
T = torch.randint(0, 9, (12, 4), generator=torch.Generator().manual_seed(3))


def mse(outputs, targets):
    return 0.5 * (outputs - targets).square().sum() / len(outputs)


def mlp():
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))


def made(module, dtype, loss=mse, x=X, y=Y, **more):
    x = x.to(dtype) if x.is_floating_point() else x
    return Problem.from_module(module.to(dtype), loss, x, y.to(dtype), convention="c", **more)


class Net(nn.Module):
    def __init__(self, forward, layer=None):
        super().__init__()
        self.first, self.second = nn.Linear(5, 7), nn.Linear(7, 2)
        self.layer = layer
        self.body = forward

    def forward(self, x):
        return self.body(self, x)


"""


def write(folder: Path, code: str, **values: object) -> RunConfig:
    """The config of a run whose problem is `f` of a file with this code after `HEAD`."""
    file = folder / "own.py"
    file.write_text(HEAD + textwrap.dedent(code))
    return RunConfig.build({"dtype": "float64", **values, "problem": f"{file}:f"}, "test")


def build(folder, code, told=None, **values):
    """The problem that the code makes, by the way that a run goes."""
    narrate = (lambda _: None) if told is None else told.append
    return build_problem(write(folder, code, **values), CPU, folder, narrate)


def refusal(folder, code, **values):
    """The sentence with which it is refused."""
    with pytest.raises(InputError) as caught:
        build(folder, code, **values)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "own.py:f" in sentence
    return sentence
