"""What each panel of the oscillator screen shows: from one orbit and its theory to charts and planes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from eostui.charts.numbers import compact
from eostui.charts.picture import Chart, Curve, Mark, Spot
from eostui.charts.plane import Background, Plane, Region, Strand
from eostui.charts.scales import Scale, StickyRange, nice_above
from eostui.oscillator import Parameters, regime, simulate
from eostui.oscillator.envelope import prediction
from eostui.oscillator.orbit import ESCAPED
from eostui.oscillator.summary import summarize
from eostui.oscillator_presets import Simulation
from eostui.runs.series import FloatArray

#: So many steps are iterated at most: more would take too long after each key.
MOST_SHOWN = 100_000
#: Two levels closer than this share of what S spans look the same.
_SAME = 0.02
_DECADES = 3
#: Digits of a value beside its curve, where there is room for them.
_DIGITS = 4
#: Longest step of the envelope equations: in units of their fastest rate, and in the map's steps.
_FINE, _LONGEST = 0.5, 8
#: An x this small is drawn as 0: floats end not far below.
_NOTHING = 1e-280
#: Signs and colours of the regimes, in the order of `KINDS`; the signs are those of `simulate --grid`.
KINDS = ("cycle", "collapse", "both", "neither")
_REGIME_SIGNS = (
    ("o", "path spread"), (".", "cool spread"), ("%", "shade"), ("~", "warm spread")
)  # fmt: skip


class OscillatorView:
    """One orbit with what is derived from it: computed once, drawn at every size.

    Attributes:
        orbit: as iterated, at most MOST_SHOWN steps of it.
        summary: as in `eostui.oscillator.summary`.
        sane: rows before the end of an escape, which would flatten everything else.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        steps = min(simulation.steps, MOST_SHOWN)
        self.orbit = simulate(simulation.parameters, simulation.start, steps)
        self.summary = summarize(self.orbit)
        rows = len(self.orbit.x)
        self.sane = slice(0, rows)
        if self.orbit.escape_step is not None:
            # S below −λ is where the unstable fixed points lie: from there nothing returns
            upright = np.flatnonzero(self.orbit.sharpness >= -self.orbit.weight_decay)
            self.sane = slice(0, int(upright[-1]) + 1 if len(upright) else rows)

    @property
    def parameters(self) -> Parameters:
        """The point of the parameters."""
        return self.simulation.parameters

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
        every = min(max(int(_FINE / max(fastest, _NOTHING)), 1), _LONGEST)
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
        power = 3 * math.floor(math.log10(largest) / 3) if largest > _NOTHING else 0
        return 10.0**power, f" in 1e{power}" if power else ""


@dataclass(frozen=True)
class OscillatorPanel:
    """A panel's identity.

    Attributes:
        name: for the tabs.
        kinds: what `y` goes through.
        meaning: two sentences for the help.
    """

    name: str
    kinds: tuple[str, ...]
    meaning: str


PANELS = (
    OscillatorPanel(
        "sharpness", ("S", "y"),
        "y⁺ = (1 − ηλ)y + ηβ(α − ½x²) − ηλg moves the sharpness S = 2/η + y; y on the keyboard shows the "
        "one or the other. Dashed are 2/η and the cycle's 2/η − λ of leading order, dotted the collapsed "
        "level 2/η + βα/λ − g and, where it can be told from them, the exact level of the map.",
    ),
    OscillatorPanel(
        "x", ("linear", "symlog"),
        "x⁺ = −(1 + ηλ + ηy)x − ηλg_x bounces from side to side: even steps are a line, odd ones are "
        "stippled. Dotted is ±A of the envelope equations, dA/dt = η(λ + y)A, about the centre −½ηλg_x; "
        "the cycle rests at A² = 2(α + (λ² − λg)/β).",
    ),
    OscillatorPanel(
        "portrait", ("",),
        "Every state (x, y): dots are even steps, × odd ones, so that the period-2 motion is two "
        "strands. ● is the last state, ○ the exact states with F(F(z)) = z that it belongs to, the "
        "dashed line y = −λ, where the envelope neither grows nor shrinks.",
    ),
    OscillatorPanel(
        "regimes", ("",),
        "What attracts at each (λ, g), by the exact solutions' eigenvalues, with α, β, η and g_x as they "
        "are: o the 2-cycle, . the collapsed point, % both, ~ neither; ● is here. The line is the "
        "paper's crossing βα = λ(g − λ): above it no cycle exists to leading order.",
    ),
)  # fmt: skip


def sharpness_chart(view: OscillatorView, kind: str) -> tuple[Chart, str]:
    """Return the chart of S, or of y = S − 2/η, with its resting levels, and its title."""
    orbit, p, summary = view.orbit, view.parameters, view.summary
    shift = float(2 / p.eta) if kind == "y" else 0.0
    values, steps, sane = orbit.sharpness - shift, view.steps, view.sane
    leading, exact = summary["leading_order"], summary["exact"]
    edge, decay = float(2 / p.eta) - shift, float(p.weight_decay)
    span = max(float(np.ptp(values[sane])), decay)
    levels = [("2/η", edge, "dashed")]
    if decay:
        levels.append(("2/η−λ" if kind == "S" else "−λ", edge - decay, "dashed"))
    if not leading["cycles"] and math.isfinite(leading["sharpness"]):
        levels.append(("rest", leading["sharpness"] - shift, "dotted"))
    if exact and abs(exact["sharpness"] - leading["sharpness"]) > _SAME * span:
        levels.append(("exact", exact["sharpness"] - shift, "dotted"))
    curves = [
        Curve(steps[[0, -1]], np.full(2, level), "theory", pattern, name, _DIGITS, extended=True)
        for name, level, pattern in levels
    ]
    if orbit.escape_step is not None:
        curves.append(Curve(steps, values, "sharpness", ranged=False))
    curves.append(Curve(steps[sane], values[sane], "sharpness", label=kind, digits=_DIGITS))
    title = "sharpness S = 2/η + y" if kind == "S" else "y = S − 2/η"
    return Chart(curves, Scale(), view.marks()), title


def bounce_chart(view: OscillatorView, kind: str) -> tuple[Chart, str]:
    """Return the chart of x as two strands within ±A, and its title."""
    orbit, sane, steps = view.orbit, view.sane, view.steps
    unit, said = view.unit
    centre = view.summary["leading_order"]["centre"]
    at, amplitude = view.predicted
    curves = [
        Curve(
            at, (centre + sign * amplitude) / unit, "theory", "dotted", label, _DIGITS, ranged=False
        )
        for sign, label in ((1, "c+A" if centre else "A"), (-1, ""))
    ]
    x = orbit.x[sane] / unit
    for first, colour, pattern, name in (
        (1, "norm", "stippled", "odd"),
        (0, "loss", "solid", "even"),
    ):
        strand = x[first::2]
        curves.append(Curve(steps[sane][first::2], strand, colour, pattern, name, _DIGITS))
    largest = max(float(np.abs(x).max()), _NOTHING)
    scale = Scale(kind, 10.0 ** (math.floor(math.log10(largest)) - _DECADES))
    title = f"bounce x{said}" + ("" if kind == "linear" else f" ({kind})")
    return Chart(curves, scale, view.marks()), title


class Portrait:
    """The phase portrait; its axes grow in jumps."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start the axes anew."""
        self._x, self._y, self._unit = StickyRange(), StickyRange(), 0.0

    def plane(self, view: OscillatorView) -> tuple[Plane, str]:
        """Return the plane of (x, y), and its title."""
        unit, said = view.unit
        if unit != self._unit:
            self._unit, self._x = unit, StickyRange()
        x, y = view.orbit.x[view.sane] / unit, view.orbit.y[view.sane]
        states = (view.summary["exact"] or {}).get("states", [])
        level = -float(view.parameters.weight_decay)
        across = self._x.fit(float(x.min()), float(x.max()))
        up = self._y.fit(min(float(y.min()), level), max(float(y.max()), level))
        points = np.stack([x, y], axis=1)
        spots = [Spot(a / unit, b, "sharpness", "○") for a, b in states]
        spots.append(Spot(float(x[-1]), float(y[-1]), "mark", "●"))
        plane = Plane(
            (*across, *up),
            curves=[Curve(np.array(across), np.full(2, level), "theory", "dashed")],
            strands=[Strand(points[::2], "loss"), Strand(points[1::2], "norm", "×")],
            spots=spots,
        )
        return plane, f"phase portrait: y over x{said}"


class RegimeMap:
    """The regimes over (λ, g); its axes stay while the point is well inside."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start the axes anew."""
        self._right = self._top = 0.0

    def plane(self, view: OscillatorView) -> tuple[Plane, str]:
        """Return the plane of (λ, g), and its title."""
        p = view.parameters
        region = self._region(p)
        decay = np.linspace(region[0], region[1], 400)[1:]
        line = decay + float(p.beta * p.alpha) / decay + float(p.offset)
        fixed = (p.eta, p.alpha, p.beta, p.g_x, p.gradient_u, p.sharpness)
        background = Background(
            lambda columns, rows: regimes(fixed, region, columns, rows), _REGIME_SIGNS
        )
        plane = Plane(
            region,
            background,
            curves=[Curve(decay, line, "sharpness")],
            spots=[Spot(float(p.weight_decay), float(p.g), "mark", "●")],
        )
        here = f"λ {compact(float(p.weight_decay))}, g {compact(float(p.g))}"
        return plane, f"regimes: g over λ · {here}: {view.summary['regime']}"

    def _region(self, p: Parameters) -> Region:
        """Return λ from 0 and g from or to 0, so far that the point and the line can be seen."""
        decay, g, drive = float(p.weight_decay), float(p.paper_g), abs(float(p.beta * p.alpha))
        crossing = (g - math.sqrt(g * g - 4 * drive)) / 2 if g * g > 4 * drive and g > 0 else 0.0
        wanted = max(2 * decay, 4 * (crossing or 2 * float(p.eta) * drive), 1e-9)
        self._right = _end(self._right, decay, wanted)
        right = min(self._right, 0.999 / float(p.eta))
        g = abs(float(p.g))
        self._top = _end(self._top, g, max(2 * g, 1.5 * (right / 2 + 2 * drive / right)))
        return (0.0, right, 0.0, self._top) if float(p.g) >= 0 else (0.0, right, -self._top, 0.0)


def _end(before: float, value: float, wanted: float) -> float:
    """Return where an axis from 0 ends: where it did, unless that hides the value or squeezes it."""
    fits = before > 0 and value <= 0.9 * before and wanted > 0.2 * before
    return before if fits else nice_above(wanted)


@lru_cache(maxsize=8)
def regimes(fixed: tuple[float, ...], region: Region, columns: int, rows: int) -> NDArray[np.intp]:
    """Return the index in KINDS of what attracts at the centre of each cell, shape (rows, columns).

    Args:
        fixed: η, α, β, g_x, ⟨∇L, u⟩ and S* (or None), the same in all cells.
        region: of λ to the right and g upwards; the top row has the largest g.
        columns, rows: cells.
    """
    left, right, bottom, top = region
    eta, alpha, beta, g_x, gradient_u, sharpness = fixed
    decay = left + (np.arange(columns) + 0.5) / columns * (right - left)
    g = top - (np.arange(rows)[:, None] + 0.5) / rows * (top - bottom)
    found = regime(Parameters(eta, decay, alpha, beta, g, g_x, gradient_u, sharpness))
    kinds: NDArray[np.intp] = np.argmax(found[..., None] == np.array(KINDS), axis=-1)
    return kinds
