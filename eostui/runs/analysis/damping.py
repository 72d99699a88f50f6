"""How the oscillation of S dies out after its onset: its amplitude, and the rate (MATH §3).

A rate is by step: the amplitude goes as exp(−rate·t). Theory has ηλ/2 to leading order, and exactly what
the eigenvalues of the reduced map's two steps at its cycle say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eostui.errors import InputError
from eostui.oscillator import Parameters
from eostui.oscillator.theory import two_cycles
from eostui.runs.analysis.curvature_summary import without_alternation
from eostui.runs.analysis.resting import onset
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.stability import THRESHOLD

#: Parts of the readings after onset, of each of which the amplitude is told.
WINDOWS = 8
#: Swings, from one passage of the level to the next, that a rate takes at least.
LEAST_SWINGS = 6
#: Readings that a part needs for an amplitude.
_LEAST_READINGS = 4
#: Swings are put together until there are at most so many amplitudes.
_MOST_AMPLITUDES = 400
#: A floor counts where it lowers the misfit by so many times what one more number would by chance.
_BETTER = 9.0


@dataclass(frozen=True)
class Damping:
    """How fast an oscillation dies out.

    Attributes:
        rate: a step; negative where it grows; NaN where it can't be told.
        error: its standard error, from how the amplitudes scatter about the fit.
        swings: how many there were.
    """

    rate: float = math.nan
    error: float = math.nan
    swings: int = 0


def after_onset(run: Run) -> tuple[FloatArray, FloatArray]:
    """Return the steps and S from the onset on, shape (n,) each, up to the next change of a threshold.

    S is freed of what alternates from reading to reading. Both are empty without an onset.
    """
    first = onset(run)
    if first is None:
        return np.empty(0), np.empty(0)
    changes = np.flatnonzero(np.diff(run.steps[THRESHOLD][first:]))
    last = first + int(changes[0]) if len(changes) else run.last_step
    steps = run.measured["step"]
    known = (steps >= first) & (steps <= last) & np.isfinite(run.measured["sharpness"])
    values = run.measured["sharpness"][known]
    return steps[known], without_alternation(values, columns=len(values) + 1)


def amplitudes(values: FloatArray, count: int = WINDOWS) -> FloatArray:
    """Return the amplitude in equal parts of some readings, shape (count,): √2 times their deviation.

    That is the amplitude of a sine. NaN where a part has too few readings.
    """
    found = np.full(count, np.nan)
    for place, part in enumerate(np.array_split(values, count)):
        if len(part) >= _LEAST_READINGS:
            found[place] = math.sqrt(2) * float(part.std())
    return found


def damping(steps: FloatArray, values: FloatArray) -> Damping:
    """Return how fast an oscillation dies out, by the amplitudes of its swings.

    A swing lasts from one passage of the level to the next; the level is the line through the later half
    of the readings. Each swing has a mean square m, the same share of the amplitude's square for all, so
    m = a·(exp(−2·rate·t) + ρ), where ρ is of what goes on in the end, noise or another motion. It is
    fitted to log m, each swing by the number of its readings. A linear filter of the readings, such as
    that of an alternation, leaves the rate as it is.

    Args:
        steps: of the readings, rising, shape (n,).
        values: the readings, shape (n,), all finite.
    """
    half = len(values) // 2
    if len(values) < 2 * LEAST_SWINGS:
        return Damping()
    level = np.polynomial.Polynomial.fit(steps[half:], values[half:], 1)
    away = values - level(steps)
    passes = np.flatnonzero(np.diff(np.signbit(away))) + 1
    if len(passes) < LEAST_SWINGS:
        return Damping(swings=max(len(passes) - 1, 0))
    # what comes before the first passage and after the last is no whole swing
    whole = slice(passes[0], passes[-1])
    swing = np.searchsorted(passes, np.arange(passes[0], passes[-1]), side="right") - 1
    swings = len(passes) - 1
    together = -(-swings // _MOST_AMPLITUDES)
    part = swing // together
    count = np.bincount(part).astype(np.float64)
    square = np.bincount(part, away[whole] ** 2) / count
    time = np.bincount(part, steps[whole]) / count - steps[passes[0]]
    known = square > 0
    if known.sum() < LEAST_SWINGS:
        return Damping(swings=swings)
    rate, error = _fitted(time[known], np.log(square[known]), count[known])
    return Damping(rate, error, swings)


def _fitted(time: FloatArray, logs: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Return the rate of log m = log a + log(exp(−2·rate·t) + ρ), with its standard error.

    ρ is 0 unless the fit is better with it by more than chance.
    """
    without = _best(time, logs, weights, np.zeros(1))
    rate, floor, misfit = _best(time, logs, weights, np.geomspace(1e-12, 1.0, 37))
    if without[2] - misfit <= _BETTER * misfit / max(len(time) - 3, 1):
        rate, floor, misfit = without
    decay = np.exp(-2 * rate * time)
    slopes = [np.ones(len(time)), -2 * time * decay / (decay + floor)]
    if floor:
        slopes.append(1 / (decay + floor))
    design = np.stack(slopes, axis=1) * np.sqrt(weights)[:, np.newaxis]
    covariance = np.linalg.pinv(design.T @ design)
    spread = misfit / max(len(time) - len(slopes), 1)
    return rate, math.sqrt(float(covariance[1, 1]) * spread)


def _best(
    time: FloatArray, logs: FloatArray, weights: FloatArray, floors: FloatArray
) -> tuple[float, float, float]:
    """Return rate, floor and misfit of the best fit with a floor among those given, or between them."""
    span = float(time[-1] - time[0])
    rates = np.geomspace(1e-3 / span, 2 * len(time) / span, 40)
    rates = np.concatenate([-rates[::-1], [0.0], rates])
    best = (0.0, 0.0, math.inf)
    for _ in range(7):  # ever finer about the best
        misfits = _misfits(time, logs, weights, rates, floors)
        row, column = map(int, np.unravel_index(int(np.argmin(misfits)), misfits.shape))
        best = float(rates[row]), float(floors[column]), float(misfits[row, column])
        rates, floors = _about(rates, row), _about(floors, column)
    return best


def _misfits(
    time: FloatArray, logs: FloatArray, weights: FloatArray, rates: FloatArray, floors: FloatArray
) -> FloatArray:
    """Return Σ weighted squared deviations for each rate and floor; growth has no floor."""
    misfits = np.full((len(rates), len(floors)), np.inf)
    for column, floor in enumerate(floors):
        exponent = -2 * rates[:, np.newaxis] * time
        shape = np.logaddexp(exponent, math.log(floor)) if floor else exponent
        away = logs - shape
        away -= (away @ weights / weights.sum())[:, np.newaxis]
        misfits[:, column] = away**2 @ weights
        if floor:
            misfits[rates <= 0, column] = np.inf
    return misfits


def _about(grid: FloatArray, place: int) -> FloatArray:
    """Return a grid as fine between the neighbours of a place as it was between all."""
    if len(grid) == 1:
        return grid
    low, high = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    return np.unique(np.append(np.linspace(low, high, 15), grid[place]))


def floquet_rate(run: Run) -> float:
    """Return the exact rate of the reduced map about its 2-cycle; negative where that repels.

    The map's S*, α, β, g and ⟨θ, u⟩ are of the last reading up to the onset whose βα no bounce forces
    negative. NaN without an onset, without such a reading, or without a cycle.
    """
    first = onset(run)
    if first is None:
        return math.nan
    measured = run.measured
    before = np.flatnonzero((measured["step"] <= first) & (measured["beta_alpha"] > 0))
    if not len(before) or run.config.dynamics != "gradient-descent":
        return math.nan
    row = int(before[-1])
    at = {name: float(measured[name][row]) for name in ("alpha", "beta", "g", "g_u", "sharpness")}
    controls = {name: float(run.steps[name][first]) for name in ("eta", "weight_decay")}
    try:
        parameters = Parameters(
            controls["eta"], controls["weight_decay"], at["alpha"], at["beta"],
            g=at["g"], g_x=at["g_u"], sharpness=at["sharpness"],
        )  # fmt: skip
    except InputError:  # a reading that isn't finite
        return math.nan
    cycles = two_cycles(parameters)
    decay = cycles.decay[np.isfinite(cycles.x)]
    return float(decay[0]) if len(decay) else math.nan
