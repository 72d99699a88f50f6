"""One orbit of the reduced map with what is derived from it once and drawn at every size."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from eostui.charts.chart import Mark
from eostui.oscillator import Orbit, Parameters, simulate
from eostui.oscillator.envelope import prediction
from eostui.oscillator.orbit import ESCAPED
from eostui.oscillator.summary import summarize
from eostui.oscillator_presets import Simulation
from eostui.runs.series import FloatArray

#: So many steps are iterated at most: more would take too long after each key.
MOST_SHOWN = 100_000
#: Digits of a value beside its curve, where there is room for them.
DIGITS = 4
#: An x this small is drawn as 0: floats end not far below.
NOTHING = 1e-280
#: Longest step of the envelope equations: in units of their fastest rate, and in the map's steps.
_FINE, _LONGEST = 0.5, 8


class OrbitView:
    """One orbit with what is derived from it: computed once, drawn at every size.

    Attributes:
        orbit: as iterated.
        summary: as in `eostui.oscillator.summary`.
        sane: rows before the end of an escape, which would flatten everything else.
    """

    def __init__(self, orbit: Orbit) -> None:
        self.orbit = orbit
        self.summary = summarize(orbit)
        rows = len(self.orbit.x)
        self.sane = slice(0, rows)
        if self.orbit.escape_step is not None:
            # S below −λ is where the unstable fixed points lie: from there nothing returns
            upright = np.flatnonzero(self.orbit.sharpness >= -self.orbit.weight_decay)
            self.sane = slice(0, int(upright[-1]) + 1 if len(upright) else rows)

    @classmethod
    def of(cls, simulation: Simulation) -> OrbitView:
        """Iterate at most MOST_SHOWN steps of an orbit."""
        steps = min(simulation.steps, MOST_SHOWN)
        return cls(simulate(simulation.parameters, simulation.start, steps))

    @property
    def parameters(self) -> Parameters:
        """The point of the parameters."""
        return self.orbit.parameters

    @property
    def steps(self) -> FloatArray:
        """0, 1, …: the position of each row."""
        return np.arange(len(self.orbit.x), dtype=np.float64)

    @cached_property
    def predicted(self) -> tuple[FloatArray, FloatArray]:
        """Steps, and the envelope equations' A at them, NaN where it would be an escape.

        Their steps are as long as the fastest rate of this orbit lets them be: computed one by one they
        would take as long as all else together.
        """
        sane, p = self.sane, self.parameters
        growth = np.abs(self.orbit.y[sane] + p.weight_decay).max()
        turning = math.sqrt(float(p.beta)) * np.abs(self.orbit.x[sane]).max()
        fastest = float(p.eta) * max(float(growth), float(turning))
        every = min(max(int(_FINE / max(fastest, NOTHING)), 1), _LONGEST)
        amplitude = prediction(self.orbit, every)[0]
        steps = self.steps[::every]
        return steps, np.where(amplitude <= ESCAPED, amplitude, np.nan)

    def marks(self) -> list[Mark]:
        """Return a mark where the orbit escaped."""
        escape = self.orbit.escape_step
        return [] if escape is None else [Mark(float(escape), f"escaped at {escape}")]

    @property
    def unit(self) -> tuple[float, str]:
        """A power of a thousand to measure x in, which leaves its ticks short, and how to say so."""
        largest = float(np.abs(self.orbit.x[self.sane]).max())
        power = 3 * math.floor(math.log10(largest) / 3) if largest > NOTHING else 0
        return 10.0**power, f" in 1e{power}" if power else ""
