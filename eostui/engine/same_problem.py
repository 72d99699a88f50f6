"""Whether the problem that is built now is the one that a run was trained on.

Three things tell: whether its parameters fit at all, the fingerprints of its data and source, and L and
∇L computed once more at a θ of which the record has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eostui.curvature.point import plain_gradient
from eostui.engine.comparison import Difference
from eostui.engine.fingerprint import changed_probes, changes, has_fingerprints, other_shapes
from eostui.errors import InputError, RunFormatError
from eostui.problems import Problem
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.lookup import row_at
from eostui.runs.store.reader import RunReader
from eostui.stability import BATCH_LOSS, GRADIENT_DESCENT, UNDECAYED

#: The flag by which a user goes on with a problem that isn't what it was.
FLAG = "--changed-data"
#: Rounding acts like a change of θ by so many of its own roundings.
_ROUNDINGS = 100
#: Facts of versions without fingerprints that tell of other data.
_COUNTS = {"problem.samples": "training samples", "problem.test_samples": "test samples"}


@dataclass(frozen=True)
class Recomputed:
    """L and ∇L computed once more.

    Attributes:
        step: whose θ it was.
        exact: whether this θ is known to the bit.
        changed: how they differ by more than rounding, in words; "" if they don't.
        difference: the first that differs at all, None if they are the same to the bit.
    """

    step: int
    exact: bool
    changed: str
    difference: Difference | None


@dataclass(frozen=True)
class Recognition:
    """What came of the comparison.

    Attributes:
        changed: what isn't as it was, in words; empty if it is the same problem.
        rounded: what differs by rounding alone: another machine computed it.
        recomputed: L and ∇L at a step; None if the record has them for none that leads on.
        probes: how the source of its user's probes changed, in words; "" if it didn't.
    """

    changed: tuple[str, ...]
    rounded: tuple[str, ...]
    recomputed: Recomputed | None
    probes: str = ""

    def sentence(self, run: str, what_then: str) -> str:
        """Return a sentence of what changed, for the user."""
        same = self.recomputed and not self.recomputed.changed
        though = ""
        if same and self.recomputed:
            to = "the bit" if self.recomputed.difference is None else "rounding"
            though = f" (L and ∇L at step {self.recomputed.step} are the same to {to})"
        return (
            f"{run}: this isn't the problem that it was trained on: "
            f"{'; '.join(self.changed)}{though}: {what_then}"
        )


def recognise(
    path: Path, problem: Problem, now: Mapping[str, str], checkpoint: Checkpoint | None
) -> Recognition:
    """Compare a problem with the one that the run at `path` was trained on. Nothing is written.

    Args:
        path: the run directory.
        problem: as it is now.
        now: the facts that a run of it would have.
        checkpoint: of the run, from which it shall be gone on with; None for step 0.

    Raises:
        InputError: if the run's parameters aren't those of the problem, so that it can't be gone on with.
        RunFormatError: if the record is damaged.
    """
    reader = RunReader(path)
    try:
        then = reader.facts()
        _refuse_misfit(path, problem, then, now, checkpoint)
        point = _known_point(problem, checkpoint)
        row = row_at(reader, point.step) if point else {}
    finally:
        reader.close()
    if has_fingerprints(then):
        changed, rounded = changes(then, now, path)
    else:
        changed, rounded = _other_counts(then, now), []
    # where steps see batches L of all samples is on record at some steps alone
    known = row and not math.isnan(row["loss"] if BATCH_LOSS in row else 0.0)
    recomputed = _recompute(problem, point, row) if point and known else None
    if recomputed and recomputed.changed:
        changed.append(recomputed.changed)
    probes = changed_probes(then, now, path)
    return Recognition(tuple(changed), tuple(rounded), recomputed, probes)


def _refuse_misfit(
    path: Path,
    problem: Problem,
    then: Mapping[str, str],
    now: Mapping[str, str],
    checkpoint: Checkpoint | None,
) -> None:
    count = problem.initial.numel()
    misfit = other_shapes(then, now, path)
    if then.get("parameters", str(count)) != str(count):
        misfit = f"it has {count} parameters, and had {then['parameters']}"
    dtype = str(problem.initial.dtype).removeprefix("torch.")
    if then.get("dtype", dtype) != dtype:
        misfit = f"its parameters are {dtype}, and were {then['dtype']}"
    if misfit:
        raise InputError(
            f"{path.name}: its problem changed, and the run doesn't fit it any more: {misfit}. "
            "Put back what it was; what is there now is for a run of its own"
        )
    if checkpoint is not None:
        theta = checkpoint.tensors.get("trainer.theta")
        if theta is None or (theta.shape, str(theta.dtype)) != ((count,), dtype):
            raise RunFormatError(
                f"{path}: its checkpoint of step {checkpoint.step} isn't one of {count} parameters "
                f"in {dtype}"
            )


def _other_counts(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [
        f"it has {now[key]} {word}, and had {then[key]}"
        for key, word in _COUNTS.items()
        if key in then and key in now and then[key] != now[key]
    ]


@dataclass(frozen=True)
class _KnownPoint:
    """A θ whose L is on record: of which step, whether to the bit, and ∇L there if that is kept."""

    step: int
    theta: Tensor
    exact: bool
    gradient: Tensor | None


def _known_point(problem: Problem, checkpoint: Checkpoint | None) -> _KnownPoint | None:
    """Return the θ before a checkpoint, with the ∇L that moved it; without one, θ₀."""
    if checkpoint is None:
        return _KnownPoint(0, problem.initial, True, None)

    def kept(name: str) -> Tensor | None:
        array = checkpoint.tensors.get(f"trainer.{name}")
        if array is None or array.shape != tuple(problem.initial.shape):
            return None
        return torch.from_numpy(np.array(array)).to(problem.initial)

    theta, gradient = kept("theta"), kept("gradient")
    previous, displacement = kept("previous"), kept("displacement")
    if theta is None:
        return None
    if (
        gradient is None
    ):  # at its first step, or where other data begin: what was before isn't theirs
        return _KnownPoint(checkpoint.step, theta, True, None)
    if previous is not None:
        return _KnownPoint(checkpoint.step - 1, previous, True, gradient)
    if displacement is not None:  # as versions before 0.2.0 kept it; what was rounded away is lost
        return _KnownPoint(checkpoint.step - 1, theta - displacement, False, gradient)
    return None


def _recompute(problem: Problem, point: _KnownPoint, row: Mapping[str, float]) -> Recomputed:
    """Compute L and ∇L at a point and compare them with what is on record.

    By rounding L may be off as if θ were by δ = 100 ε ‖θ‖: by ‖∇L‖ δ + ½sδ², and ∇L by sδ, the
    curvature s being about the threshold at most (2/η of gradient descent); and both by √ε of themselves.
    """
    loss, gradient = plain_gradient(problem.loss, point.theta)
    theta = point.theta.double() if point.theta.device.type != "mps" else point.theta
    decayed = theta if problem.decayed is None else theta * problem.decayed.to(theta)
    eps = float(torch.finfo(problem.initial.dtype).eps)
    slope, length = float(gradient.norm()), float(theta.norm())
    delta = _ROUNDINGS * eps * length
    curvature = row.get(UNDECAYED, GRADIENT_DESCENT.undecayed(row))
    now = {
        "L": float(loss),
        "‖θ‖": length,
        "‖θ‖ over the decayed parameters": float(decayed.norm()),
    }
    then = dict(zip(now, (row["loss"], row["theta_norm"], row["decayed_norm"]), strict=True))
    allowed = dict.fromkeys(now, delta)
    allowed["L"] = slope * delta + curvature * delta**2 / 2
    difference, changed = None, []
    for name, value in now.items():
        before = then[name]
        if value == before or (math.isnan(value) and math.isnan(before)):
            continue
        if name == "L":
            difference = Difference(point.step, "L", before, value)
        if not abs(value - before) <= allowed[name] + eps**0.5 * max(abs(value), abs(before)):
            changed.append(f"{name} at step {point.step} was {before:.6g} and is {value:.6g} now")
    if point.gradient is not None and not torch.equal(gradient, point.gradient):
        apart, size = float((gradient - point.gradient).norm()), float(point.gradient.norm())
        told = f"{apart / size:.2g} of its length away" if size > 0 else f"{apart:.2g} away"
        difference = difference or Difference(point.step, "∇L", f"{size:.7g} long", told)
        if not apart <= curvature * delta + eps**0.5 * max(size, slope):
            changed.append(f"∇L at step {point.step} is {told}")
    return Recomputed(point.step, point.exact, "; ".join(changed), difference)
