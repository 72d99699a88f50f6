"""The reduced oscillator of the edge of stability: the map, its theory, its orbits (MATH §3).

Needs numpy alone.

Example:
    >>> from eostui.oscillator import Parameters, simulate, two_cycles
    >>> parameters = Parameters(eta=0.02, weight_decay=1.0, alpha=2 / 3e4, beta=3e4, g=1.0)
    >>> orbit = simulate(parameters, start=(1e-3, -1.0), steps=2000)
    >>> round(float(two_cycles(parameters).amplitude[0]), 8), round(float(orbit.envelope[-2]), 8)
    (0.01154701, 0.01154701)
"""

from eostui.oscillator.grid import Survey, survey
from eostui.oscillator.orbit import Orbit, advance, jacobian, simulate
from eostui.oscillator.parameters import Parameters
from eostui.oscillator.readings import OrbitReadings, Reached, reached, read
from eostui.oscillator.stage import STAGES, stages
from eostui.oscillator.theory import (
    LeadingOrder,
    Solutions,
    cycle_amplitude,
    fixed_points,
    floquet,
    leading_order,
    regime,
    two_cycles,
)

__all__ = [
    "STAGES",
    "LeadingOrder",
    "Orbit",
    "OrbitReadings",
    "Parameters",
    "Reached",
    "Solutions",
    "Survey",
    "advance",
    "cycle_amplitude",
    "fixed_points",
    "floquet",
    "jacobian",
    "leading_order",
    "reached",
    "read",
    "regime",
    "simulate",
    "stages",
    "survey",
    "two_cycles",
]
