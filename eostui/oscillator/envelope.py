"""The envelope equations: the bounce averaged over its two steps (WD B.3, MATH §3.1).

They are of the paper's map, and raise InputError where `quartic` isn't 0.
"""

from __future__ import annotations

import math

import numpy as np

from eostui.oscillator.orbit import Orbit
from eostui.oscillator.parameters import FloatArray, Parameters


def derivative(parameters: Parameters, amplitude: float, y: float) -> tuple[float, float]:
    """Return dA/dt and dy/dt, in steps: η(λ + y)A and −ηλy + ηβ(α − ½A²) − ηλg."""
    p = parameters
    p.refuse_quartic()
    growth = p.eta * (p.weight_decay + y) * amplitude
    drive = p.beta * (p.alpha - amplitude * amplitude / 2) - p.weight_decay * (p.paper_g + y)
    return float(growth), float(p.eta * drive)


def integrate(
    parameters: Parameters, start: tuple[float, float], steps: int, every: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Solve the envelope equations by Runge and Kutta's classical method.

    Args:
        parameters: numbers, not arrays.
        start: A and y at step 0.
        steps: for how long.
        every: the map's steps in one of the method's.

    Returns:
        A and y at steps 0, every, 2·every … up to `steps`, shape (steps // every + 1,) each; NaN from
        where they aren't finite. The method's steps are fine enough while η√β A, the change of phase in
        a step of the map, times `every` is below about 1.
    """
    p, rate, steps = parameters, every * parameters.eta, steps // every
    p.refuse_quartic()
    eta, keep, half = float(rate), float(rate * p.weight_decay), float(rate * p.beta / 2)
    drive = float(rate * (p.beta * p.alpha - p.weight_decay * p.paper_g))
    amplitudes, ys = [], []
    a, y = float(start[0]), float(start[1])
    for _ in range(steps + 1):
        if not (math.isfinite(a) and math.isfinite(y)):
            break
        amplitudes.append(a)
        ys.append(y)
        # the four slopes written out: a function call for each would double the time
        a1, y1 = (keep + eta * y) * a, drive - keep * y - half * a * a
        mid_a, mid_y = a + a1 / 2, y + y1 / 2
        a2, y2 = (keep + eta * mid_y) * mid_a, drive - keep * mid_y - half * mid_a * mid_a
        mid_a, mid_y = a + a2 / 2, y + y2 / 2
        a3, y3 = (keep + eta * mid_y) * mid_a, drive - keep * mid_y - half * mid_a * mid_a
        end_a, end_y = a + a3, y + y3
        a4, y4 = (keep + eta * end_y) * end_a, drive - keep * end_y - half * end_a * end_a
        a, y = a + (a1 + 2 * (a2 + a3) + a4) / 6, y + (y1 + 2 * (y2 + y3) + y4) / 6
    states = np.full((2, steps + 1), math.nan)
    states[:, : len(ys)] = amplitudes, ys
    return states[0], states[1]


def prediction(orbit: Orbit, every: int = 1) -> tuple[FloatArray, FloatArray]:
    """Return A and y of the envelope equations from an orbit's first two states.

    Args:
        orbit: of which rows 0, every, 2·every … are predicted.
        every: as in `integrate`.
    """
    rows = len(orbit.x)
    if rows < 2:
        return np.full(rows, np.nan), np.full(rows, np.nan)
    start = float(orbit.envelope[0]), float(np.mean(orbit.y[:2]))
    return integrate(orbit.parameters, start, rows - 1, every)
