"""The signals that phases are classified by: blocks of steps in a few numbers, the newest readings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eostui.runs.analysis.phases import JUMP, LEVEL_STEPS, STALE_STEPS, TURN
from eostui.runs.series import FloatArray
from eostui.runs.store.columns import STORED_STEP_COLUMNS
from eostui.stability import (
    BATCH_COLUMNS,
    BATCH_LOSS,
    GRADIENT_DESCENT,
    MOMENTUM,
    THRESHOLD,
    UNDECAYED,
)

#: Columns that aren't controls.
_NO_CONTROLS = {*STORED_STEP_COLUMNS, THRESHOLD, *BATCH_COLUMNS} - {"eta", "weight_decay"}


def signal_columns(of_dynamics: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the columns of the rows that phases are classified by.

    Args:
        of_dynamics: what the dynamics stores for every step beside η and λ: its other controls, its
            thresholds; of gradient descent nothing.
    """
    return (*STORED_STEP_COLUMNS, *(name for name in of_dynamics if name != UNDECAYED))


def bounded_loss(rows: FloatArray, names: Sequence[str]) -> FloatArray:
    """Return the loss by which a run may diverge, shape (n,): L, or the batch's where L isn't known.

    Args:
        rows: shape (n, len(names)).
        names: of their columns, `loss` first.
    """
    if BATCH_LOSS not in names:
        return rows[:, 0]
    known = np.isnan(rows[:, 0])
    return np.where(known, rows[:, list(names).index(BATCH_LOSS)], rows[:, 0])


def thresholds(columns: Mapping[str, FloatArray]) -> FloatArray:
    """Return the threshold at each row, shape (n,): as stored, or that of gradient descent."""
    if THRESHOLD in columns:
        return columns[THRESHOLD]
    threshold: FloatArray = GRADIENT_DESCENT.threshold(columns)
    return threshold


def control_values(columns: Mapping[str, FloatArray]) -> FloatArray:
    """Return the controls at each row, shape (n, controls)."""
    return np.stack(
        [values for name, values in columns.items() if name not in _NO_CONTROLS], axis=1
    )


def plain_arrivals(rows: FloatArray, intervened: NDArray[np.bool_]) -> FloatArray:
    """Return rows without the lengths of steps with an intervention: ‖Δθ‖/η isn't ‖∇L_λ‖ of these.

    So none is called converged, or stuck, for steps that were made short or long.

    Args:
        rows: whose columns begin with STORED_STEP_COLUMNS, shape (n, k).
        intervened: whether the step that led to each row was one, shape (n,) or longer.
    """
    intervened = intervened[: len(rows)]
    if not intervened.any():
        return rows
    rows = rows.copy()
    rows[intervened, STORED_STEP_COLUMNS.index("arrival_norm")] = np.nan
    return rows


@dataclass(frozen=True)
class Block:
    """BLOCK steps, summed up.

    Attributes:
        first: the first step.
        threshold: of the last step, 2/η − λ in gradient descent.
        weight_decay: λ of the last step.
        loss: median of L.
        cosine: median of the step cosine; NaN if it isn't known, or nothing moves.
        kappa: median of κ over the threshold, each step against its own threshold; NaN if κ isn't known.
        gradient: median of ‖∇L_λ‖, as the steps have it; NaN if it isn't known.
        promised: Σ‖Δθ‖²/η, by how much these steps would lower L_λ if it were linear; NaN if unknown.
        jumped: whether the threshold jumped at the start of one of these steps.
    """

    first: int
    threshold: float
    weight_decay: float
    loss: float
    cosine: float
    kappa: float
    gradient: float
    promised: float
    jumped: bool


@dataclass(frozen=True)
class BlockSteps:
    """The same steps one by one, and the loss at both ends of each.

    Attributes:
        loss: L_λ, shape (BLOCK + 1,), each with the λ of its own row.
        kappa: κ of each step over its threshold, shape (BLOCK,).
        steered: whether any control differs from that of the step before, shape (BLOCK,).
    """

    loss: FloatArray
    kappa: FloatArray
    steered: NDArray[np.bool_]


@dataclass(frozen=True)
class StepBefore:
    """What the step before a block was taken with: its threshold, and its controls in their order."""

    threshold: float
    controls: tuple[float, ...]


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def summarize(
    first: int,
    rows: FloatArray,
    before: StepBefore | None,
    names: Sequence[str] = STORED_STEP_COLUMNS,
    *,
    gradient_from_steps: bool = True,
) -> tuple[Block, BlockSteps, StepBefore]:
    """Sum up the BLOCK steps that lead from each of BLOCK + 1 stored rows to the next.

    Args:
        first: step of the first row.
        rows: shape (BLOCK + 1, len(names)).
        before: of the step before the first, or None.
        names: of the columns, as `signal_columns` has them.
        gradient_from_steps: whether ‖∇L_λ‖ follows from the steps.

    Returns:
        The block, its steps one by one, and its last step as the next block's `before`.
    """
    column = dict(zip(names, rows.T, strict=True))
    loss, eta, decay = column["loss"], column["eta"], column["weight_decay"]
    regularized = loss + 0.5 * decay * column["decayed_norm"] ** 2
    eta, decay = eta[:-1], decay[:-1]
    threshold, controls = thresholds(column)[:-1], control_values(column)[:-1]
    if before is None:
        before = StepBefore(float(threshold[0]), tuple(controls[0].tolist()))
    steered = (controls != np.concatenate(([before.controls], controls[:-1]))).any(axis=1)
    kappa, norm = column["arrival_curvature"][1:], column["arrival_norm"][1:]
    steps = BlockSteps(regularized, kappa / threshold, steered)
    block = Block(
        first=first,
        threshold=float(threshold[-1]),
        weight_decay=float(decay[-1]),
        loss=median(loss[:-1].tolist()),
        cosine=median(_cosines(column["arrival_cosine"][1:], kappa, eta, decay)),
        kappa=median(steps.kappa.tolist()),
        gradient=median(_gradient_norms(column, eta).tolist()) if gradient_from_steps else math.nan,
        promised=float((norm**2 / eta).sum()),
        jumped=bool(steered.any()) and _jumps(threshold, before.threshold),
    )
    return block, steps, StepBefore(block.threshold, tuple(controls[-1].tolist()))


def _gradient_norms(column: Mapping[str, FloatArray], eta: FloatArray) -> FloatArray:
    """Return ‖∇L_λ‖ at each step, from Δθ_t = −η∇L_λ + μΔθ_{t−1} with the cosine of both Δθ.

    It is ‖Δθ‖/η without momentum; with it a step is 1/(1 − μ) times as long where θ drifts.
    """
    norm = column["arrival_norm"][1:]
    if MOMENTUM.name not in column:
        return norm / eta
    # before the first step there is none, and with one of length 0 there is no cosine
    carried = column[MOMENTUM.name][:-1] * np.nan_to_num(column["arrival_norm"][:-1])
    cosine = np.nan_to_num(column["arrival_cosine"][1:])
    square = norm**2 + carried**2 - 2 * cosine * norm * carried
    norms: FloatArray = np.sqrt(np.maximum(square, 0.0)) / eta
    return norms


def _cosines(
    cosine: FloatArray, kappa: FloatArray, eta: FloatArray, decay: FloatArray
) -> list[float]:
    """Return the step cosines; 1 − η(κ + λ) where an older run has none.

    That is the cosine of the step after with this one times the ratio of their lengths, exactly
    (MATH §2), and the ratio is 1 in a bounce that lasts.
    """
    ratio = np.clip(1 - eta * (kappa + decay), -1.0, 1.0)
    cosines: list[float] = np.where(np.isnan(cosine), ratio, cosine).tolist()
    return cosines


def _jumps(threshold: FloatArray, before: float) -> bool:
    previous = np.concatenate(([before], threshold[:-1]))
    return bool((np.abs(threshold - previous) > JUMP * np.abs(previous)).any())


@dataclass(frozen=True)
class SharpnessReading:
    """What was measured at a step: S, the drive βα and g; NaN where it wasn't."""

    step: int
    sharpness: float
    beta_alpha: float
    g: float


@dataclass(frozen=True)
class Level:
    """What the newest readings say; NaN where they say nothing.

    Attributes:
        sharpness: S, a median over readings; where these are of both ends of a bounce, between the ends.
        change: by what share S changed in 100 steps.
        drive: βα − λg, a median: S rises with it, below the edge.
        balance: |βα − λg|/(|βα| + |λg|), a median: 0 where the drives balance, 1 where one is alone.
    """

    sharpness: float
    change: float
    drive: float
    balance: float


NOTHING_READ = Level(math.nan, math.nan, math.nan, math.nan)


def level(readings: list[SharpnessReading], step: int, weight_decay: float) -> Level:
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
    drives, balances = [], []
    for reading in newest:
        flattening = weight_decay * reading.g
        size = abs(reading.beta_alpha) + abs(flattening)
        drives.append(reading.beta_alpha - flattening)
        balances.append(abs(drives[-1]) / size if size else math.nan)
    return Level(_between(newest), _change(readings, newest), median(drives), median(balances))


def _between(readings: list[SharpnessReading]) -> float:
    """Return the median of S; of the means of neighbours where these lie an odd number of steps apart."""
    means = [
        (one.sharpness + other.sharpness) / 2
        for one, other in pairwise(readings)
        if (other.step - one.step) % 2
    ]
    return median(means or [reading.sharpness for reading in readings])


def _change(readings: list[SharpnessReading], newest: list[SharpnessReading]) -> float:
    older = newest[0] if len(newest) > 1 else readings[0]
    steps = newest[-1].step - older.step
    if not steps or not older.sharpness:
        return math.nan
    return (newest[-1].sharpness / older.sharpness - 1) * 100 / steps


def median_sharpness(readings: list[SharpnessReading], first: int, end: int) -> float:
    """Return the median of S measured from one step to before another; NaN if it wasn't."""
    return median([each.sharpness for each in readings if first <= each.step < end])


def still_needed(readings: list[SharpnessReading], step: int) -> list[SharpnessReading]:
    """Return the readings that later steps can need."""
    recent = [reading for reading in readings if reading.step >= step - LEVEL_STEPS]
    return recent if len(recent) > 1 else readings[-2:]


@dataclass
class Trend:
    """Which way S goes, from its turning points: of a slow drift none is too slow to be seen.

    Attributes:
        direction: 1 while it rises, −1 while it falls, 0 before that is known.
        since: the step at which it stood lowest before it rose, or highest before it fell.
    """

    direction: int = 0
    since: int = 0
    low: float = math.inf
    low_step: int = 0
    high: float = -math.inf
    high_step: int = 0

    def follow(self, step: int, sharpness: float) -> None:
        """Take in S at a step; a NaN says nothing."""
        if math.isnan(sharpness):
            return
        if sharpness < self.low:
            self.low, self.low_step = sharpness, step
        if sharpness > self.high:
            self.high, self.high_step = sharpness, step
        if self.direction <= 0 and sharpness > self.low + TURN * abs(self.low):
            self.direction, self.since = 1, self.low_step
            self.high, self.high_step = sharpness, step
        elif self.direction >= 0 and sharpness < self.high - TURN * abs(self.high):
            self.direction, self.since = -1, self.high_step
            self.low, self.low_step = sharpness, step


def median(values: Sequence[float]) -> float:
    """Return the median of the finite values, NaN with none; on so few, numpy's is far slower."""
    known = sorted(value for value in values if math.isfinite(value))
    if not known:
        return math.nan
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
