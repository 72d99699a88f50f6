"""Another run beside the one shown: the parent of a fork, or any run of the shelf."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eostui.charts.numbers import grouped
from eostui.charts.picture import Chart, Curve
from eostui.errors import printable
from eostui.runs.run import Run
from eostui.runs.store.schema import DATABASE
from eostui.tui.palette import DIMMED

if TYPE_CHECKING:
    from eostui.tui.panels import RunView

#: Patterns of what was measured; predictions, thresholds and spreads of the other run are left out.
_MEASURED = ("solid", "dashed")
#: Before the labels of the other run: what its curves are made of.
_SIGN = "·"
#: Characters of a run's name beside other words.
_LONGEST_NAME = 20


@dataclass(frozen=True)
class Overlay:
    """A run that is drawn under another.

    Attributes:
        view: the other run.
        word: what it is to the run shown: parent, fork, run.
        parted: the step from which on they differ, None if they never were the same.
    """

    view: RunView
    word: str
    parted: int | None

    @classmethod
    def of(cls, run: Run, other: RunView) -> Overlay:
        """Return the overlay of `other` on `run`, with what they have in common."""
        own, theirs = forked_at(run), forked_at(other.run)
        name, other_name = run.path.name, other.run.path.name
        if own and own[0] == other_name:
            return cls(other, "parent", own[1])
        if theirs and theirs[0] == name:
            return cls(other, "fork", theirs[1])
        if own and theirs and own[0] == theirs[0]:
            return cls(other, "fork", min(own[1], theirs[1]))
        return cls(other, "run", None)

    def legend(self, run: Run, *, unicode: bool) -> tuple[str, ...]:
        """Return which curves are whose, in parts."""
        lines, points = ("━━", "···") if unicode else ("--", "ooo")
        curves = f"{lines} {short(run)}  {points} {self.word} {short(self.view.run)}"
        return (
            (curves,) if self.parted is None else (curves, f"from step {grouped(self.parted)} on")
        )

    def lay_under(self, chart: Chart, other: Chart, left: float) -> Chart:
        """Return a chart with the measured curves of the same panel of the other run below its own.

        Args:
            chart: the panel of the run shown.
            other: the same panel of this overlay's run.
            left: the position from which on they differ: before it only one of them is drawn.
        """
        curves = [
            _dimmed(curve, left)
            for curve in other.curves
            if curve.pattern in _MEASURED and curve.colour in DIMMED
        ]
        marks = [
            replace(mark, text=_SIGN + mark.text, colour="theory")
            for mark in other.marks
            if mark.x > left
        ]
        return replace(chart, curves=[*curves, *chart.curves], marks=[*marks, *chart.marks])


def forked_at(run: Run) -> tuple[str, int] | None:
    """Return the id of the run that this one was forked from and the step; None if it wasn't."""
    try:
        step = int(run.facts.get("parent_step", ""))
    except ValueError:
        return None
    parent = run.facts.get("parent", "")
    return (parent, step) if parent and step >= 0 else None


def parent_path(run: Run) -> Path | None:
    """Return the directory of a fork's parent, beside its own; None if there is none any more."""
    fork = forked_at(run)
    if fork is None or fork[0] != Path(fork[0]).name:  # an id, never a path out of the shelf
        return None
    path = run.path.parent / fork[0]
    return path if (path / DATABASE).is_file() else None


def short(run: Run) -> str:
    """Return a run's name, as much of it as there is room for, or the end of its id."""
    name = printable(run.facts.get("name", "")) or printable(run.path.name.rpartition("-")[2])
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _dimmed(curve: Curve, left: float) -> Curve:
    """Return a curve from `left` on in its dim colour, as points; it starts where it still was one."""
    first = max(int(np.searchsorted(curve.x, left, side="right")) - 1, 0)
    label = _SIGN + curve.label if curve.label else ""
    return replace(
        curve,
        x=curve.x[first:],
        y=curve.y[first:],
        colour=f"{curve.colour} dim",
        pattern="pointed",
        label=label,
    )
