"""A chart as data: curves, marks, spots, the y scale, and what x counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from eostui.charts.scales import FloatArray, Scale
from eostui.charts.shades import Shades

#: Colour of marks.
MARK = "mark"
#: What an x axis counts.
STEPS, FLOW_TIME = "steps", "flow time"


@dataclass(frozen=True)
class Curve:
    """One curve of a chart.

    Attributes:
        x: rising positions, shape (n,).
        y: values, shape (n,).
        colour: name of its colour in the palette.
        pattern: solid (measured), dashed (threshold), dotted (prediction), stippled (raw spread),
            pointed (of another run: a point a cell).
        label: its name, written at the right end of what is drawn of it with its last value there.
        digits: of that value; 0 for the name alone.
        ranged: whether the y axis makes room for it; a curve that isn't may be clipped.
        yields: where the y axis makes no room for it after all: when it is far from the others, or
            when it would flatten them.
        extended: whether the last value is drawn on to the right end, as thresholds are.
        coming: its value from the next point on, where that is another already: of a threshold whose
            control was changed while the run waits. That is drawn on to the right end, and its label
            tells it.
        smooths: whether medians may be drawn over it: its values grow at their end alone.
        sign: what each of its points is in a still picture, which may have no colours to tell it from
            other curves of its pattern; "" where it is drawn as everywhere.
        short: its label where there is no room for `label`.
    """

    x: FloatArray
    y: FloatArray
    colour: str
    pattern: str = "solid"
    label: str = ""
    digits: int = 3
    ranged: bool = True
    yields: Literal["", "far", "flattening"] = ""
    extended: bool = False
    coming: float | None = None
    sign: str = ""
    smooths: bool = False
    short: str = ""


@dataclass(frozen=True)
class Mark:
    """A vertical line where a control changed, with the new value."""

    x: float
    text: str
    colour: str = MARK


@dataclass(frozen=True)
class Spot:
    """A single point with a sign of its own, such as a crossing."""

    x: float
    y: float
    colour: str
    sign: str = "✕"


@dataclass(frozen=True)
class Chart:
    """What to draw; curves later in the list lie above earlier ones.

    Attributes:
        waiting: shown in the middle while there is nothing to draw.
        counts: what the x axis counts.
        places: what stands on the x axis in place of round values, such as those of a setting.
        shades: what is shaded below the curves, which say how far the y axis reaches.
    """

    curves: list[Curve]
    scale: Scale = field(default_factory=Scale)
    marks: list[Mark] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    waiting: str = ""
    counts: str = STEPS
    places: tuple[tuple[float, str], ...] = ()
    shades: Shades | None = None
