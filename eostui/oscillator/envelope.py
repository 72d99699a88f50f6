"""The envelope equations: the bounce averaged over its two steps (WD B.3, MATH §3.1)."""

from __future__ import annotations

import math

import numpy as np

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
    eta, keep, beta = float(p.eta), float(p.eta * p.weight_decay), float(p.eta * p.beta)
    drive = float(p.eta * (p.beta * p.alpha - p.weight_decay * p.paper_g))

    def slope(a: float, y: float) -> tuple[float, float]:
        return (keep + eta * y) * a, drive - keep * y - beta * a * a / 2

    states = np.full((steps + 1, 2), math.nan)
    a, y = start
    for step in range(steps + 1):
        if not (math.isfinite(a) and math.isfinite(y)):
            break
        states[step] = a, y
        a1, y1 = slope(a, y)
        a2, y2 = slope(a + a1 / 2, y + y1 / 2)
        a3, y3 = slope(a + a2 / 2, y + y2 / 2)
        a4, y4 = slope(a + a3, y + y3)
        a, y = a + (a1 + 2 * (a2 + a3) + a4) / 6, y + (y1 + 2 * (y2 + y3) + y4) / 6
    return states[:, 0], states[:, 1]
