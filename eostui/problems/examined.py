"""Which samples of a problem are examined, in the run's precision and in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from eostui.errors import InputError
from eostui.problems.batch import (
    Supervised,
    batch_loss,
    function_of_theta,
    parts_of,
    supervised_parts,
)
from eostui.problems.memory import kept_bytes
from eostui.problems.problem import Problem
from eostui.problems.subject import Subject

#: Samples that are always looked at, and the bytes of their graphs and of θ that bound how many more.
_FEW, _BYTES = 8, 16e6


def doubled(problem: Problem) -> Subject:
    """Return the samples that are examined, with a module and loss that compute in float64."""
    theta = problem.initial.detach().double()
    chunks = supervised_parts(problem.loss)
    if not chunks:
        return Subject(parts_of(problem.loss)[0], theta)
    made_of = chunks[0]
    loss = made_of.loss
    if isinstance(loss, nn.Module):
        loss = copy.deepcopy(loss).double()
    inputs, targets, _ = _picked(chunks, problem.initial.detach())
    outputs = function_of_theta(made_of.module, torch.float64)
    double = Supervised(made_of.module, outputs, loss, inputs, targets, share=1.0)
    return Subject.of(double, theta, _double(inputs), _double(targets))


def subject_of(problem: Problem) -> Subject:
    """Return what of a problem is examined: some samples of a module's, else the first part."""
    theta = problem.initial.detach()
    chunks = supervised_parts(problem.loss)
    if not chunks:
        return Subject(parts_of(problem.loss)[0], theta)
    for name in ("inputs", "targets"):  # those that aren't picked too
        if not all(torch.isfinite(getattr(chunk, name)).all() for chunk in chunks):
            raise InputError(f"its {name} aren't finite")
    inputs, targets, samples = _picked(chunks, theta)
    return Subject.of(chunks[0], theta, inputs, targets, samples)


def _picked(chunks: list[Supervised], theta: Tensor) -> tuple[Tensor, Tensor, str]:
    """Return samples spread evenly over all chunks: as many as can be examined at once.

    Where samples are whole numbers, such as tokens, some stand twice among fewer than all: what counts
    frequencies shows only there.
    """
    count = sum(len(chunk.inputs) for chunk in chunks)
    few = _spread(chunks, min(_FEW, count))
    loss = batch_loss(chunks[0].outputs, chunks[0].loss, *few, 0)
    try:
        each = kept_bytes(loss, theta) / len(few[0]) + theta.numel() * 8
    except Exception:  # it may be made for one size of batch
        return *_spread(chunks, count), f"all {count} samples"
    fitting = max(int(_BYTES / each), _FEW)
    if fitting >= count:
        return *_spread(chunks, count), f"all {count} samples"
    inputs, targets = _spread(chunks, fitting)
    if not inputs.is_floating_point():
        half = slice(fitting // 2)
        inputs, targets = (torch.cat([t, t[half]]) for t in (inputs, targets))
    return inputs, targets, f"{fitting} of {count} samples"


def _spread(chunks: list[Supervised], count: int) -> tuple[Tensor, Tensor]:
    """Return `count` of all samples, evenly apart."""
    total = sum(len(chunk.inputs) for chunk in chunks)
    wanted = torch.linspace(0, total - 1, count, dtype=torch.float64).round().long()
    inputs, targets, start = [], [], 0
    for chunk in chunks:
        inside = (wanted >= start) & (wanted < start + len(chunk.inputs))
        rows = (wanted[inside] - start).to(chunk.inputs.device)
        start += len(chunk.inputs)
        inputs.append(chunk.inputs.detach()[rows])
        targets.append(chunk.targets.detach()[rows.to(chunk.targets.device)])
    found = torch.cat(inputs), torch.cat(targets)
    found[0].requires_grad_(chunks[0].inputs.requires_grad)
    return found


def in_float64(double: Callable[[], Subject | Problem]) -> Subject | None:
    """Return what is made if it can be evaluated in float64 from end to end."""
    made = None
    try:
        made = double()
        subject = made if isinstance(made, Subject) else subject_of(made)
        theta = subject.theta.detach().clone().requires_grad_()
        value = subject.loss(theta)
        (gradient,) = torch.autograd.grad(value, theta, materialize_grads=True)
    except Exception:  # the user's code may raise anything for a type that it wasn't written for
        return None
    whole = value.dtype == theta.dtype == torch.float64
    return subject if whole and bool(torch.isfinite(gradient).all()) else None


def _double(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    return tensor.detach().double().requires_grad_(tensor.requires_grad)
