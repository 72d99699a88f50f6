"""What is read off an orbit, to be put beside theory: its rest, and how it gets there."""

from __future__ import annotations

import cmath
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eostui.oscillator.orbit import Orbit
from eostui.oscillator.parameters import FloatArray, Parameters
from eostui.oscillator.theory import fixed_points, two_cycles

#: Within this share of an attractor's scale, an orbit has reached it: √β A of a cycle, |y + λ| of a
#: collapsed point, measured where x counts √β times.
REACHED = 0.01
#: Deviations from rest below this share of the same scale count as linear.
LINEAR = 0.05
#: Moves below this share of the scale, or of the numbers that move, count as rounding.
ROUNDING = 1e-10, 1e-13

_FEWEST_PAIRS = 8
_REFINEMENTS = 5


class OrbitReadings(NamedTuple):
    """Means over the last fifth of an orbit and the rates of its small deviations; NaN if unknown."""

    sharpness: float
    amplitude: float
    centre: float
    decay: float
    frequency: float


class Reached(NamedTuple):
    """Where orbits went, shape of the grid each.

    Attributes:
        attractor: "cycle", "collapsed", "escaped"; else "unsettled" where something attracts but isn't
            reached yet, and "wandering" where no cycle or fixed point attracts.
        decay, frequency: exact ones (Floquet) of the attractor, a step; NaN without one.
    """

    attractor: NDArray[np.str_]
    decay: FloatArray
    frequency: FloatArray


def tail_length(steps: int) -> int:
    """Return how many of the last steps a reading at rest takes in: a fifth, an even number."""
    return max(2 * (steps // 10), 2)


def reached(
    parameters: Parameters, x: FloatArray, q: FloatArray, escaped: NDArray[np.bool_]
) -> Reached:
    """Return which attractor the last states of orbits lie at; all arguments of one shape.

    An attractor is reached where the state is within REACHED of its scale.
    """
    p = parameters
    shape = np.broadcast_shapes(p.shape, np.shape(x))
    solutions = {"collapsed": fixed_points(p), "cycle": two_cycles(p)}
    settles = np.any([found.attract.any(axis=0) for found in solutions.values()], axis=0)
    attractor = np.where(escaped, "escaped", np.where(settles, "unsettled", "wandering"))
    decay, frequency = np.full(shape, np.nan), np.full(shape, np.nan)
    for name, found in solutions.items():
        with np.errstate(all="ignore"):
            edge = found.mean_q + p.offset + p.weight_decay
            scale = p.beta * found.amplitude**2 if name == "cycle" else edge**2
            nearest = np.minimum(
                p.beta * (x - found.x) ** 2 + (q - found.q) ** 2,
                p.beta * (x - found.next_x) ** 2 + (q - found.next_q) ** 2,
            )
            near = found.attract & (nearest <= REACHED**2 * scale) & ~escaped
        for k in range(3):
            attractor = np.where(near[k], name, attractor)
            decay = np.where(near[k], found.decay[k], decay)
            frequency = np.where(near[k], found.frequency[k], frequency)
    return Reached(attractor, decay, frequency)


def read(orbit: Orbit) -> OrbitReadings:
    """Return what an orbit shows by itself; at rest, NaN if it escaped."""
    if orbit.escape_step is None and len(orbit.x) > 2:
        tail = slice(-1 - tail_length(len(orbit.x) - 1), -1)
        means = (orbit.sharpness, orbit.envelope, orbit.centre)
        sharpness, amplitude, centre = (float(np.mean(values[tail])) for values in means)
    else:
        sharpness = amplitude = centre = math.nan
    return OrbitReadings(sharpness, amplitude, centre, *_rates(orbit))


def _rates(orbit: Orbit) -> tuple[float, float]:
    """Return decay and angular frequency a step of the orbit's longest linear stretch.

    Differences over two steps, w_t = z_{t+2} − z_t at even t, know nothing of theory: near any cycle
    or fixed point w_{t+2} = M w_t, and M is fitted by least squares.
    """
    rows = len(orbit.x) - len(orbit.x) % 2
    weight = math.sqrt(float(orbit.parameters.beta)) or 1.0
    states = np.stack([weight * orbit.x[:rows:2], orbit.q[:rows:2]], axis=1)
    moves = np.diff(states, axis=0)
    late = slice(len(orbit.x) // 2, -1)
    if not len(moves) or not len(orbit.x[late]):
        return math.nan, math.nan
    edge = abs(float(np.median(orbit.y[late] + orbit.weight_decay[late])))
    scale = max(weight * float(np.median(orbit.envelope[late])), edge)
    size = np.hypot(*moves.T)
    rounding = max(ROUNDING[0] * scale, ROUNDING[1] * float(np.median(np.abs(states))))
    multiplier: complex | None = 0j
    for _ in range(_REFINEMENTS):
        if multiplier is None:
            return math.nan, math.nan
        # a deviation δ moves by (μ − 1)δ, so the bound on moves needs the μ that it is to find
        largest = LINEAR * scale * abs(multiplier - 1)
        multiplier = _slowest(moves[_longest_stretch(size, rounding, largest)])
    if not multiplier:
        return math.nan, math.nan
    return -0.5 * math.log(abs(multiplier)), 0.5 * abs(cmath.phase(multiplier))


def _longest_stretch(size: FloatArray, low: float, high: float) -> slice:
    """Return the longest stretch without a size above `high`, from its first to last above `low`."""
    walls = np.concatenate(([-1], np.flatnonzero(~(size <= high)), [len(size)]))
    longest = int(np.diff(walls).argmax())
    first, last = int(walls[longest]) + 1, int(walls[longest + 1])
    known = np.flatnonzero(size[first:last] > low)
    return slice(first + known[0], first + known[-1] + 1) if len(known) else slice(0)


def _slowest(moves: FloatArray) -> complex | None:
    """Return the largest eigenvalue of the map from each row to the next; None with too few rows."""
    if len(moves) <= _FEWEST_PAIRS:
        return None
    # each pair by its own size: else the first few steps of a decay would be all that counts
    size = np.hypot(*moves[:-1].T)[:, None]
    matrix = np.linalg.lstsq(moves[:-1] / size, moves[1:] / size, rcond=None)[0]
    multipliers = np.linalg.eigvals(matrix)
    return complex(multipliers[np.abs(multipliers).argmax()])
