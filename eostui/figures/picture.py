"""A figure as data: its charts with the labels of their axes, and which curve is whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from eostui.charts.chart import Chart
from eostui.charts.scales import FloatArray


@dataclass(frozen=True)
class Points:
    """What one curve was drawn from.

    Attributes:
        curve: its name.
        runs: the ids of its run, or of those whose mean it is, with spaces between.
        x, y: shape (n,).
        error: of each y, shape (n,); None where there is none.
    """

    curve: str
    runs: str
    x: FloatArray
    y: FloatArray
    error: FloatArray | None = None


@dataclass(frozen=True)
class Subplot:
    """One chart of a figure.

    Attributes:
        name: of its panel or column.
        label: of its y axis.
        chart: what is drawn.
        own_x: ends of its x, where it doesn't share that of the others.
        data: what it was drawn from.
    """

    name: str
    label: str
    chart: Chart
    own_x: tuple[float, float] | None = None
    data: Sequence[Points] = ()


@dataclass(frozen=True)
class Entry:
    """A line of the legend: a run or a group of runs.

    Attributes:
        label: what it is called.
        colour: in the palette.
        sign: on its curves; "" without one.
        pattern: of them.
    """

    label: str
    colour: str
    sign: str
    pattern: str = "solid"


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        subplots: from left to right, then down.
        x_range: ends of the x that they share.
        runs: the ids of the runs.
        legend: which curve is whose; nothing of one run.
        legend_title: what its labels are values of; "" where they say it.
        command: words of the command that makes it again, but for its size and its file.
    """

    subplots: Sequence[Subplot]
    x_range: tuple[float, float]
    runs: Sequence[str]
    legend: Sequence[Entry] = field(default_factory=tuple)
    legend_title: str = ""
    command: Sequence[str] = ()
