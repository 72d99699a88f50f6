"""What the phases are judged by: a block of steps in a few numbers, and the newest readings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eostui.runs.columns import STORED_STEP_COLUMNS
from eostui.runs.curvature_summary import BLOCK
from eostui.runs.series import FloatArray

#: A change of L_λ below this share of it may be rounding (float32, four units): it has no sign.
ROUNDING = 4 * 2.0**-24
#: The threshold moved by more than this share from one step to the next: what was before doesn't count.
JUMP = 0.02
#: Steps over which readings of S tell its level, and over which they tell whether it rises.
LEVEL_STEPS, TREND_STEPS = 100, 400
#: Readings that tell whether S rises, at least: halves of two, so that an alternation cancels.
LEAST_READINGS = 4
#: A reading older than this, and than twice the cadence, says nothing of now.
STALE_STEPS = 200


@dataclass(frozen=True)
class Block:
    """BLOCK steps, summed up.

    Attributes:
        first: the first step.
        threshold: 2/η − λ of the last step.
        weight_decay: λ of the last step.
        kappa: median of κ/(2/η − λ), each step against its own threshold; NaN if κ isn't known.
        flips: sign changes of the steps of L_λ.
        pairs: pairs of steps among which they were counted.
        gradient: ‖∇L_λ‖, estimated (see `gradient_norm`).
        noise: the largest ‖∇L_λ‖ that rounding of the loss can hide.
        jumped: whether the threshold jumped at the start of one of these steps.
    """

    first: int
    threshold: float
    weight_decay: float
    kappa: float
    flips: int
    pairs: int
    gradient: float
    noise: float
    jumped: bool


@dataclass(frozen=True)
class BlockSteps:
    """The same steps one by one, and the loss at both ends of each.

    Attributes:
        loss: L_λ, shape (BLOCK + 1,), each with the λ of its own row.
        change: the change of L_λ in each step, with the λ of that step, shape (BLOCK,).
        kappa: κ/(2/η − λ) of each step, shape (BLOCK,).
        steered: whether η or λ differ from those of the step before, shape (BLOCK,).
        up: whether L_λ rose beyond rounding, shape (BLOCK,).
    """

    loss: FloatArray
    change: FloatArray
    kappa: FloatArray
    steered: NDArray[np.bool_]
    up: NDArray[np.bool_]


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def summarize(
    first: int, rows: FloatArray, before: Sequence[float] | None, last_up: bool | None
) -> tuple[Block, BlockSteps]:
    """Sum up the BLOCK steps that lead from each of BLOCK + 1 stored rows to the next.

    Args:
        first: step of the first row.
        rows: shape (BLOCK + 1, len(STORED_STEP_COLUMNS)).
        before: (η, λ) of the step before, or None.
        last_up: whether the step before went up, or None.
    """
    column = dict(zip(STORED_STEP_COLUMNS, rows.T, strict=True))
    loss, eta, decay = column["loss"], column["eta"], column["weight_decay"]
    half_square = 0.5 * column["decayed_norm"] ** 2
    regularized = loss + decay * half_square
    change = np.diff(loss) + decay[:-1] * np.diff(half_square)
    eta, decay = eta[:-1], decay[:-1]
    threshold = 2 / eta - decay
    old_eta, old_decay = (eta[0], decay[0]) if before is None else before
    steered = np.empty(BLOCK, dtype=np.bool_)
    steered[0] = eta[0] != old_eta or decay[0] != old_decay
    steered[1:] = (eta[1:] != eta[:-1]) | (decay[1:] != decay[:-1])
    rounding = ROUNDING * np.abs(regularized[:-1])
    steps = BlockSteps(
        loss=regularized,
        change=change,
        kappa=column["arrival_curvature"][1:] / threshold,
        steered=steered,
        up=change > rounding,
    )
    flips = int(np.count_nonzero(steps.up[1:] != steps.up[:-1]))
    kappa = median(steps.kappa.tolist())
    return Block(
        first=first,
        threshold=float(threshold[-1]),
        weight_decay=float(decay[-1]),
        kappa=kappa,
        flips=flips + (last_up is not None and bool(steps.up[0]) != last_up),
        pairs=BLOCK - (last_up is None),
        gradient=gradient_norm(float(np.abs(change).sum()) / BLOCK, float(eta[-1]), kappa),
        noise=gradient_norm(float(rounding.sum()) / BLOCK, float(eta[-1]), kappa),
        jumped=bool(steered.any()) and _jumps(threshold, 2 / old_eta - old_decay),
    ), steps


def _jumps(threshold: FloatArray, before: float) -> bool:
    previous = np.concatenate(([before], threshold[:-1]))
    return bool((np.abs(threshold - previous) > JUMP * np.abs(previous)).any())


def gradient_norm(fall: float, eta: float, kappa: float) -> float:
    """Return ‖∇L_λ‖ from how far a step descends.

    To second order a step changes L_λ by −η‖∇L_λ‖²(1 − η(κ + λ)/2), and η(κ + λ)/2 is close to the
    ratio of κ to the threshold. Near the edge the bracket vanishes, so it is kept above 0.2: this is
    for steps far below it.

    Args:
        fall: by how much L_λ changes a step.
        eta: η.
        kappa: κ/(2/η − λ), or NaN for 0.
    """
    bracket = 1 - kappa if kappa < 0.8 else 0.2
    return math.sqrt(fall / (eta * (bracket if math.isfinite(kappa) else 1.0)))


@dataclass(frozen=True)
class Reading:
    """What was measured at a step: S, the drive βα and g; NaN where it wasn't."""

    step: int
    sharpness: float
    beta_alpha: float
    g: float


@dataclass(frozen=True)
class Level:
    """What the newest readings say; NaN where they say nothing.

    Attributes:
        sharpness: S, a median over readings.
        slope: by how much S rises a step, from the older half of the readings to the newer one.
        balance: |βα − λg|/(|βα| + |λg|), a median: 0 where the drives balance, 1 where one is alone.
    """

    sharpness: float
    slope: float
    balance: float


NOTHING_READ = Level(math.nan, math.nan, math.nan)


def level(readings: list[Reading], step: int, weight_decay: float) -> Level:
    """Return what the readings say at `step`, with λg from the λ of now."""
    if not readings:
        return NOTHING_READ
    last = readings[-1].step
    gap = last - readings[-2].step if len(readings) > 1 else 0
    if step - last > max(STALE_STEPS, 2 * gap):
        return NOTHING_READ
    newest = [reading for reading in readings if reading.step >= step - LEVEL_STEPS] or readings[
        -1:
    ]
    balances = []
    for reading in newest:
        flattening = weight_decay * reading.g
        size = abs(reading.beta_alpha) + abs(flattening)
        balances.append(abs(reading.beta_alpha - flattening) / size if size else math.nan)
    return Level(
        median([reading.sharpness for reading in newest]), _slope(readings), median(balances)
    )


def _slope(readings: list[Reading]) -> float:
    if len(readings) < LEAST_READINGS:
        return math.nan
    half = len(readings) // 2
    older, newer = readings[:half], readings[half:]
    steps = median([each.step for each in newer]) - median([each.step for each in older])
    rise = median([each.sharpness for each in newer]) - median([each.sharpness for each in older])
    return rise / steps


def kept(readings: list[Reading], step: int) -> list[Reading]:
    """Return the readings that later steps can still need."""
    recent = [reading for reading in readings if reading.step > step - TREND_STEPS]
    return recent if len(recent) >= LEAST_READINGS else readings[-LEAST_READINGS:]


def median(values: Sequence[float]) -> float:
    """Return the median of the finite values, NaN with none; on so few, numpy's is far slower."""
    known = sorted(value for value in values if math.isfinite(value))
    if not known:
        return math.nan
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
