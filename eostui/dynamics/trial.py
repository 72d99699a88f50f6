"""A user's dynamics is tried before there is a run: a step, its state and its threshold."""

from __future__ import annotations

import json
import math

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import plain_gradient
from eostui.dynamics.dynamics import Dynamics
from eostui.errors import InputError
from eostui.problems import Problem
from eostui.problems.batch import loss_of_rows


def try_dynamics(own: type[Dynamics], config: RunConfig, problem: Problem) -> None:
    """Take two steps from θ₀, the second also with a state that was saved and restored.

    Raises:
        InputError: if it fails, or a run of it couldn't be recorded, or gone on with to the bit.
    """
    where = f"`dynamics`: {config.dynamics}"
    try:
        refusal = _refuse(own, config, problem)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        text = " ".join(str(error).split())
        raise InputError(f"{where} failed: {type(error).__name__}: {text}") from error
    if refusal:
        raise InputError(f"{where}: {refusal}")


def _refuse(own: type[Dynamics], config: RunConfig, problem: Problem) -> str | None:
    controls = own.stability.at_start(config)
    if refusal := own.stability.refuse(controls):
        return refusal
    threshold = float(own.stability.threshold(controls))
    if not math.isfinite(threshold):
        return f"its threshold is {threshold:g} with its controls at the start"
    first = own(config, problem)
    theta = problem.initial.detach().clone()
    moved = first.step(theta, _gradient(first, 0, problem, theta), controls)
    if not isinstance(moved, Tensor) or (moved.shape, moved.dtype, moved.device) != (
        theta.shape, theta.dtype, theta.device,
    ):  # fmt: skip
        return f"its `step` must return θ of shape {tuple(theta.shape)} and {theta.dtype}, as it got it"
    if moved is theta or not torch.equal(theta, problem.initial):
        return "its `step` changes θ in place: it must return another tensor"
    if moved.requires_grad:
        return "its `step` returns a θ with a graph: detach it"
    second = own(config, problem)
    second.restore(_kept(first))
    gradient = _gradient(first, 1, problem, moved)
    onward = [dynamics.step(moved.clone(), gradient, controls) for dynamics in (first, second)]
    if not torch.equal(*onward) and not all(each.isnan().any() for each in onward):
        return "its `state` isn't all that the next step needs: restored, it steps elsewhere"
    return None


def _gradient(dynamics: Dynamics, step: int, problem: Problem, theta: Tensor) -> Tensor:
    rows = dynamics.batch(step)
    loss = problem.loss if rows is None else loss_of_rows(problem.loss, rows)
    return plain_gradient(loss, theta)[1]


def _kept(dynamics: Dynamics) -> dict[str, object]:
    """Return the state as a checkpoint keeps it."""
    return {
        name: value.clone() if isinstance(value, Tensor) else json.loads(json.dumps(value))
        for name, value in dynamics.state().items()
    }
