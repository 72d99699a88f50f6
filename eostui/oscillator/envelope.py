"""The envelope equations: the bounce averaged over its two steps (WD B.3, MATH §3.1)."""

from __future__ import annotations

import math

import numpy as np

from eostui.oscillator.orbit import Orbit
from eostui.oscillator.parameters import FloatArray, Parameters


def derivative(parameters: Parameters, amplitude: float, y: float) -> tuple[float, float]:
    """Return dA/dt and dy/dt, in steps: η(λ + y)A and −ηλy + ηβ(α − ½A²) − ηλg."""
    p = parameters
    growth = p.eta * (p.weight_decay + y) * amplitude
    drive = p.beta * (p.alpha - amplitude * amplitude / 2) - p.weight_decay * (p.paper_g + y)
    return float(growth), float(p.eta * drive)


def integrate(
    parameters: Parameters, start: tuple[float, float], steps: int
) -> tuple[FloatArray, FloatArray]:
    """Solve the envelope equations by Runge and Kutta's classical method, one step a step.

    Args:
        parameters: numbers, not arrays.
        start: A and y at step 0.
        steps: for how long.

    Returns:
        A and y at steps 0 … `steps`, shape (steps + 1,) each; NaN from where they aren't finite. The
        steps are fine enough while η√β A, the change of phase in one, is below about 1.
    """
    p = parameters
    eta, keep, half = float(p.eta), float(p.eta * p.weight_decay), float(p.eta * p.beta / 2)
    drive = float(p.eta * (p.beta * p.alpha - p.weight_decay * p.paper_g))
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


def prediction(orbit: Orbit) -> tuple[FloatArray, FloatArray]:
    """Return A and y of the envelope equations from the orbit's first two states, shape (n,) each."""
    rows = len(orbit.x)
    if rows < 2:
        return np.full(rows, np.nan), np.full(rows, np.nan)
    start = float(orbit.envelope[0]), float(np.mean(orbit.y[:2]))
    return integrate(orbit.parameters, start, rows - 1)
