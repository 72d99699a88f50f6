"""Tries a problem before it is trained on: is it a function of θ that PyTorch differentiates rightly?

What is examined is the loss of some samples where it is a module's on data, and the loss itself where
it is a function of θ alone. Each fault has a sentence of its own.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from eostui.errors import InputError
from eostui.problems import differences
from eostui.problems.batch import parts_of, trained_parameters
from eostui.problems.differentiable import custom_functions
from eostui.problems.examined import doubled, in_float64, subject_of
from eostui.problems.problem import Evaluation, HeldOutSamples, Problem
from eostui.problems.subject import Subject
from eostui.problems.trial import form_of, listed, look

#: Units of rounding by which two evaluations at one θ may differ: sums in another order, no more.
_ROUNDINGS = {"cpu": 32.0}
_ROUNDINGS_ELSEWHERE = 1e3


class Outcome(NamedTuple):
    """What an examination has to tell of a problem that may pass.

    Attributes:
        compared: how the derivatives were compared.
        estimated: why S is that of a gradient which is trusted, not the loss's own; "" for none.
    """

    compared: str
    estimated: str


def examine(
    problem: Problem,
    *,
    trusted: bool = False,
    in_double: Callable[[], Problem] | None = None,
) -> Outcome:
    """Try a problem, and refuse it with a sentence if it would be measured wrongly.

    Args:
        problem: to be trained.
        trusted: whether a gradient that isn't the loss's own is meant: an estimator.
        in_double: makes the same problem in float64; called if its loss takes no θ in float64.

    Raises:
        InputError: whatever is wrong.
    """
    _refuse_form(problem)
    subject = subject_of(problem)
    cut = look(subject)
    _refuse_unsteady(subject)
    if not subject.samples:  # all parts of a loss of θ alone
        whole, again = _value(problem), _value(problem)
        _refuse_infinite(whole)
        if not _same(whole, again, problem.initial):
            raise InputError(_unsteady(float(whole), float(again), "the second time"))
    _try_test(problem)
    compared, wrong = _compare(problem, subject, in_double)
    if cut and not wrong:
        wrong = (
            "its gradient can't be differentiated again, so that Hv and S lack a share of it: "
            f"{_customs(subject)}is marked `once_differentiable`; write its backward pass from "
            "differentiable operations, without the mark"
        )
    if wrong and not trusted:
        raise InputError(
            f"{wrong}. If an estimated gradient is meant, set trust_gradients = true: "
            "S is then marked as that of a trusted gradient"
        )
    return Outcome(compared, wrong)


def _value(problem: Problem) -> Tensor:
    """Return L(θ₀), with one part's graph in memory at a time: a loss may differentiate in itself."""
    leaf = problem.initial.detach().clone().requires_grad_()
    return torch.stack([part(leaf).detach() for part in parts_of(problem.loss)]).sum()


def _refuse_infinite(value: Tensor) -> None:
    if not torch.isfinite(value):
        raise InputError(f"its loss at θ₀ is {float(value):g}")


def _refuse_unsteady(subject: Subject) -> None:
    """Raise InputError if L or ∇L at one θ depends on what was evaluated before."""
    theta = subject.theta

    def at(place: Tensor) -> tuple[Tensor, Tensor]:
        leaf = place.detach().clone().requires_grad_()
        value = subject.loss(leaf)
        (gradient,) = torch.autograd.grad(value, leaf, materialize_grads=True)
        return value.detach(), gradient

    drawn = _other_random_states()
    first, again = at(theta), at(theta)
    _refuse_infinite(first[0])
    drew = [name for name, state in _other_random_states().items() if state != drawn[name]]
    _go_elsewhere(at, theta)
    back = at(theta)
    for later, when in ((again, "the second time"), (back, "after an evaluation elsewhere")):
        for one, other, what in zip(first, later, ("loss", "‖∇L‖"), strict=True):
            if torch.isfinite(one).all() and not _same(one, other, theta):
                raise InputError(
                    _unsteady(float(one.norm()), float(other.norm()), when, drew, what)
                )


def _go_elsewhere(at: Callable[[Tensor], object], theta: Tensor) -> None:
    """Evaluate on both sides of θ, as far away as the loss can be evaluated."""
    for away in (0.5, 0.05):
        place = next(iter(differences.directions(theta, away=away))).theta
        try:
            at(place)
            at(2 * theta - place)
        except Exception:
            if away == 0.05:
                raise
        else:
            return


def _unsteady(
    first: float, later: float, when: str, drew: list[str] | None = None, what: str = "loss"
) -> str:
    digits = 6 if f"{first:.6g}" != f"{later:.6g}" else 17
    numbers = f"{first:.{digits}g} and {later:.{digits}g}"
    why = (
        f"it draws from {' and '.join(drew)}"
        if drew
        else "it draws random numbers, keeps state from call to call, or changes its data"
    )
    return (
        f"its {what} at one and the same θ is {numbers} {when}: {why}, but full-batch descent needs the "
        "same function at every step"
    )


def _compare(
    problem: Problem, subject: Subject, in_double: Callable[[], Problem] | None
) -> tuple[str, str]:
    """Return how the derivatives were compared, and what is wrong with them or ""."""
    made: list[Callable[[], Subject | Problem]] = [partial(doubled, problem)]
    if in_double is not None:
        made.append(in_double)
    fine = next(filter(None, map(in_float64, made)), None)
    trial, steps = (subject, differences.COARSE) if fine is None else (fine, differences.FINE)
    found, sure = differences.mismatch(trial.loss, trial.theta, steps, _held(trial))
    if not sure and fine is not None and not differences.resolved(fine.loss, fine.theta):
        trial, steps = subject, differences.COARSE
        found, sure = differences.mismatch(trial.loss, trial.theta, steps, _held(trial))
    how = "float64" if steps is differences.FINE else "float32"
    how += f", {subject.samples}" if subject.samples else ""
    orders = "∇L, Hv and D³L" if steps.orders == 3 else "∇L alone"
    if not sure:
        return f"rounding or kinks hide the finite differences ({how})", ""
    if found is None:
        return f"{orders} agree with finite differences ({how})", ""
    return f"{orders} compared with finite differences ({how})", _wrong(found, trial, steps)


def _held(trial: Subject) -> Tensor:
    """Return where the padding rows of embeddings are, if they do stay: without any gradient."""
    leaf = trial.theta.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(trial.loss(leaf), leaf, materialize_grads=True)
    return trial.padding & (gradient == 0)


def _wrong(found: differences.Mismatch, trial: Subject, steps: differences.Steps) -> str:
    """Return a sentence for a derivative that isn't what autograd says."""
    name = differences.DERIVATIVES[found.order - 1]
    numbers = f"{found.autograd:.4g} by autograd but {found.differences:.4g} by finite differences"
    if found.order > 1:
        what = "its Hessian isn't that of its loss" if found.order == 2 else "∇S would be wrong"
        return f"{what}: near θ₀, {name} is {numbers} ({_customs(trial, 'is it right? ')}v random)"
    v = next(iter(differences.directions(trial.theta, _held(trial)))).v
    at_start, known = differences.along(trial.loss, differences.Direction(trial.theta, v), steps)
    reentrant = "CheckpointFunction" in _custom_names(trial)
    if reentrant or (known and at_start is None):
        why = (
            f"{'' if reentrant else 'right at θ₀ alone: '}torch.utils.checkpoint recomputes with the "
            "module's own parameters, which stay as they are"
        )
    else:
        why = (
            f"{_customs(trial, 'or ')}{_scaled_layers(trial.module)}a detached factor, a "
            "straight-through estimator or a gradient scaled on its way does that"
        )
    why += _where(trial, steps)
    return f"its gradient isn't that of its loss: near θ₀, {name} is {numbers} ({why})"


def _where(trial: Subject, steps: differences.Steps) -> str:
    """Return which parameters' share of ∇L is wrong, where the module is known."""
    if trial.module is None:
        return ""
    place = next(iter(differences.directions(trial.theta, _held(trial))))
    start, names = 0, []
    for name, parameter in list(trained_parameters(trial.module).items())[:50]:
        v = torch.zeros_like(place.v)
        v[start : start + parameter.numel()] = place.v[start : start + parameter.numel()]
        start += parameter.numel()
        found, known = differences.along(trial.loss, differences.Direction(place.theta, v), steps)
        if known and found is not None:
            names.append(f"`{name}`")
    return f"; wrong for {listed(names)}" if names else ""


def _custom_names(subject: Subject) -> list[str]:
    return custom_functions(subject.loss(subject.theta.detach().clone().requires_grad_()))


def _customs(subject: Subject, then: str = "") -> str:
    """Return the custom functions in the graph of a loss, in words that go on with `then`."""
    names = [f"`{name}`" for name in _custom_names(subject)]
    if names:
        return f"the custom function {listed(names)} {then}"
    return "" if then else "a custom function "


def _scaled_layers(module: nn.Module | None) -> str:
    modules = [] if module is None else list(module.named_modules())
    names = [f"`{name}`" for name, m in modules if getattr(m, "scale_grad_by_freq", False)]
    return f"scale_grad_by_freq of {listed(names)}, or " if names else ""


def _refuse_form(problem: Problem) -> None:
    """Raise InputError for what isn't text, or of the wrong shape."""
    initial, decayed = problem.initial.detach(), problem.decayed
    if initial.ndim != 1 or initial.numel() == 0:
        raise InputError(
            f"θ₀ has shape {tuple(initial.shape)}, but must be one flat vector of at least one number"
        )
    if not torch.isfinite(initial).all():
        raise InputError("θ₀ isn't finite")
    if decayed is not None and decayed.shape != initial.shape:
        raise InputError(
            f"`decayed` has shape {tuple(decayed.shape)}, but must have that of θ₀, "
            f"{tuple(initial.shape)}: 1 for each parameter that decay acts on, else 0"
        )
    if not isinstance(problem.convention, str):
        raise InputError(
            f"`convention` is {form_of(problem.convention)}, but must be a line of text"
        )
    for key, value in problem.facts.items():
        for wrong in (each for each in (key, value) if not isinstance(each, str)):
            raise InputError(
                f"`facts`: {key!r} is {form_of(value)}, but names and facts must be text: "
                f'use {{"{key}": str({form_of(wrong)})}}'
            )


def _try_test(problem: Problem) -> None:
    """Raise InputError if the test set can't be evaluated at θ₀."""
    test = problem.test
    if test is None:
        return
    try:
        theta = problem.initial.detach()
        found = test.tried(theta) if isinstance(test, HeldOutSamples) else test(theta)
    except InputError:
        raise
    except Exception as error:  # a user's function and data
        text = str(error).splitlines()
        raise InputError(
            f"its test set can't be evaluated: {type(error).__name__}: {text[0] if text else ''}"
        ) from error
    if not isinstance(found, Evaluation):
        raise InputError(
            f"`test` returned {form_of(found)}, but must return an Evaluation(loss, accuracy)"
        )
    for name, value in (("loss", found.loss), ("accuracy", found.accuracy)):
        if value is not None and not np.isfinite(float(value)):
            raise InputError(f"its test {name} at θ₀ is {float(value):g}")


def _same(one: Tensor, other: Tensor, theta: Tensor) -> bool:
    roundings = _ROUNDINGS.get(theta.device.type, _ROUNDINGS_ELSEWHERE)
    allowed = roundings * torch.finfo(one.dtype).eps * float(one.norm())
    return bool((one - other).norm() <= allowed)


def _other_random_states() -> dict[str, bytes]:
    return {
        "numpy's random numbers": pickle.dumps(np.random.get_state()),
        "Python's random numbers": pickle.dumps(random.getstate()),
    }
