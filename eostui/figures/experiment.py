"""The figures of an experiment: the course of its members, and what each criterion reads of them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eostui.charts.chart import Chart, Curve, Spot
from eostui.charts.scales import Scale
from eostui.errors import EostuiError, printable
from eostui.experiments.criterion import Compared, Criterion
from eostui.experiments.drawings import Drawing
from eostui.experiments.experiment import Experiment
from eostui.experiments.readings import OVER, Row, Rows, number
from eostui.figures.files import svg_text
from eostui.figures.one_run import picture_of_run
from eostui.figures.picture import Picture, Points, Subplot
from eostui.figures.several_runs import picture_of_comparison
from eostui.figures.wanted import Wanted
from eostui.panels.compare.charts import by_powers, places_of, title_of
from eostui.panels.compare.member import read_member
from eostui.panels.compare.view import MOST_LABELS, MOST_RUNS, SEED, ComparisonView
from eostui.panels.view import RunView
from eostui.runs.family import is_number, symbol_of, told
from eostui.runs.run import Run
from eostui.sweeps.sweep import Sweep
from eostui.sweeps.transition import ENDED

#: Charts of an experiment at most: of courses, and of what is read.
_MOST_COURSES, _MOST_READ = 2, 4
#: Steps without which a run has no course.
_LEAST_STEPS = 2
#: Beginnings of names of a summary's columns, after which the column of a run stands that they are of.
_READ_LATE = ("resting_", "tail_")
#: Colours of groups of members, in the palette; of more groups they begin anew.
_COLOURS = ("sharpness", "warm", "cool", "path", "norm", "test")
#: Curves that are named of those that are too many.
_FEW_NAMED = 6
#: What is left free beside the outermost members, as a share of what they span.
_ROOM = 0.08


@dataclass(frozen=True)
class _Read:
    """What criteria read of the members, drawn in one chart.

    Attributes:
        column, to, never: as a reading has them.
        over: what it is set against; "" for the members' numbers.
        wheres: which members, of each criterion.
        bounds: values asked for of what is drawn, with what they are called.
    """

    column: str
    to: str
    over: str
    never: str
    wheres: list[Compared]
    bounds: dict[str, float]


def drawings_of(experiment: Experiment, sweep: Sweep, rows: Rows) -> list[Drawing]:
    """Return the figures of an experiment, each one chart, as SVG.

    Args:
        experiment: which.
        sweep: of its members.
        rows: what they came to, with the experiment's own columns.

    Raises:
        InputError: if matplotlib isn't installed.
    """
    return [
        Drawing.titled(_alternative(picture), svg_text(picture))
        for picture in (*_courses(experiment, sweep), *_read(experiment, rows))
    ]


def _alternative(picture: Picture) -> str:
    """Return in words what a figure of one chart shows."""
    (subplot,) = picture.subplots
    against = subplot.chart.counts
    curves = [printable(entry.label) for entry in picture.legend]
    title = f"{picture.legend_title} " if picture.legend_title else ""
    whose = f" of {title}{', '.join(curves)}" if curves else ""
    return f"{printable(subplot.label)} against {printable(against)}{whose}"


# --- the course of the members ------------------------------------------------------------------------


def _courses(experiment: Experiment, sweep: Sweep) -> Iterator[Picture]:
    """Yield the curves of the columns that the criteria read late, or S; nothing without any steps."""
    entries = [state.entry for state in sweep.states() if state.entry is not None][:MOST_RUNS]
    if max((entry.last_step for entry in entries), default=0) < _LEAST_STEPS:
        return
    columns = list(dict.fromkeys(_columns_of_runs(experiment)))
    if len(entries) == 1:
        with contextlib.suppress(EostuiError), Run(entries[0].path) as run:
            view = RunView(run, run.state)
            known = {column.name for column in run.exported()}
            for name in _those_known(columns, known):
                yield picture_of_run(view, [Wanted(name, is_column=True)])
        return
    view_of_all = ComparisonView(entries, varying=sweep.plan.keys)
    view_of_all.need(columns)
    for place, entry in enumerate(entries):
        try:
            view_of_all.take(place, read_member(entry, view_of_all.wanted))
        except EostuiError as error:
            view_of_all.refuse(place, str(error))
    if entries and len(view_of_all.troubles) < len(entries):
        view_of_all.show(grouped=True, key=next(_over(experiment), None))
        for name in _those_known(columns, view_of_all.names()):
            picture = picture_of_comparison(view_of_all, [Wanted(name, is_column=True)])
            yield _with_few_named(picture)


def _with_few_named(picture: Picture) -> Picture:
    """Return a figure of very many curves with some of them named, as the colours run, and no letters."""
    if len(picture.legend) <= MOST_LABELS:
        return picture
    places = np.linspace(0, len(picture.legend) - 1, _FEW_NAMED).round().astype(int).tolist()
    legend = [replace(picture.legend[place], sign="") for place in places]
    subplots = [replace(s, chart=replace(s.chart, spots=[])) for s in picture.subplots]
    return replace(picture, legend=legend, subplots=subplots)


def _over(experiment: Experiment) -> Iterator[str]:
    """Yield what the criteria set their columns against."""
    for each in _compared(experiment):
        if OVER in each.arguments:
            yield str(each.arguments[OVER])


def _columns_of_runs(experiment: Experiment) -> Iterator[str]:
    """Yield the columns of a run that the criteria's columns are of; S where they are of events."""
    for each in _compared(experiment):
        column = str(each.arguments.get("column", ""))
        if column in experiment.definition.columns:
            yield experiment.definition.columns[column].of
            continue
        beginning = next((b for b in _READ_LATE if column.startswith(b)), "")
        yield column.removeprefix(beginning) if beginning else "sharpness"


def _those_known(columns: Sequence[str], known: Any) -> list[str]:
    there = [name for name in columns if name in known]
    return (there or ["sharpness"])[:_MOST_COURSES]


def _compared(experiment: Experiment) -> Iterator[Compared]:
    for criterion in experiment.definition.criteria:
        yield from criterion.readings()


# --- what is read -------------------------------------------------------------------------------------


def _read(experiment: Experiment, rows: Rows) -> Iterator[Picture]:
    """Yield a chart of each column that criteria read, with the members as points."""
    found: dict[tuple[str, ...], _Read] = {}
    for criterion in experiment.definition.criteria:
        for compared in criterion.readings():
            column, to, over, never = (
                str(compared.arguments.get(key, "")) for key in ("column", "to", OVER, "never")
            )
            if not column:
                continue
            over = over or _the_one_that_varies(rows)
            read = found.setdefault(
                (column, to, over, never), _Read(column, to, over, never, [], {})
            )
            read.wheres.append(compared)
            if compared is criterion and (bound := _bound(criterion)) is not None:
                read.bounds[f"{criterion.must_be} {bound:.3g}"] = bound
    pictures = (picture for each in found.values() if (picture := _chart_of(each, rows)))
    for _, picture in zip(range(_MOST_READ), pictures, strict=False):
        yield picture


def _the_one_that_varies(rows: Rows) -> str:
    """Return the setting against which members are drawn where a reading names none; "" for none."""
    keys = [key for key in rows.settings if key != SEED]
    numbers = all(is_number(row.get(key)) for row in rows.rows for key in keys)
    return keys[0] if len(keys) == 1 and numbers else ""


def _bound(criterion: Criterion) -> float | None:
    """Return the value that is asked for, where it is one of what is drawn."""
    levels = ("ratio_at", "least_ratio", "greatest_ratio", "least", "greatest", "mean", "mean_at")
    if criterion.reading in levels and not isinstance(criterion.value, Compared):
        return criterion.value
    return None


def _chart_of(read: _Read, rows: Rows) -> Picture | None:
    """Return a chart of members as points, joined in their groups; None of fewer than two."""
    chosen = [
        row for row in rows.rows if any(row in each.members(rows).rows for each in read.wheres)
    ]
    points = [
        (row, x, y)
        for place, row in enumerate(chosen)
        if row["state"] in ENDED
        and math.isfinite(y := number(row, read.column, read.to, read.never))
        and math.isfinite(x := number(row, read.over) if read.over else float(place))
    ]
    if len(points) < 2:
        return None
    xs = [x for _, x, _ in points]
    along = by_powers(xs) if read.over else Scale()
    low, high = along.place(min(xs)), along.place(max(xs))
    margin = _ROOM * (high - low) or 0.5
    ends = low - margin, high + margin
    curves, spots = _groups(points, rows, read, along)
    curves += [
        Curve(np.array(ends), np.full(2, value), "theory", "dashed", label, 0, yields="far")
        for label, value in read.bounds.items()
    ]
    if read.over:
        places = places_of([_told(x) for x in xs], along)
    else:
        places = tuple((float(n), str(n)) for n in range(len(chosen)))
    label = title_of(read.column) + (f" / {title_of(read.to)}" if read.to else "")
    counts = symbol_of(read.over) if read.over else "member"
    chart = Chart(curves, spots=spots, counts=counts, places=places)
    data = [Points(read.column, "", np.array(xs), np.array([y for _, _, y in points]))]
    ids = [str(row["run"]) for row, _, _ in points]
    return Picture([Subplot(read.column, label, chart, ends, data)], ends, ids)


def _told(value: float) -> float:
    """Return a whole number as one."""
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def _groups(
    points: Sequence[tuple[Row, float, float]], rows: Rows, read: _Read, along: Scale
) -> tuple[list[Curve], list[Spot]]:
    """Return a line through the means of each group, and a spot for each member."""
    others = [
        key for key in rows.settings
        if key not in (SEED, read.over) and len({repr(row.get(key)) for row, _, _ in points}) > 1
    ]  # fmt: skip
    groups: dict[str, list[tuple[float, float]]] = {}
    for row, x, y in points:
        label = ", ".join(_setting(key, row.get(key)) for key in others)
        groups.setdefault(label, []).append((along.place(x), y))
    if not read.over and len(groups) == len(points):  # each its own: their numbers tell as much
        groups = {"": [point for group in groups.values() for point in group]}
    joined = read.over in rows.settings  # over a column, members don't follow one another
    curves, spots = [], []
    for place, (label, group) in enumerate(groups.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        named = label if len(groups) <= MOST_LABELS else ""
        if joined:
            at = sorted({x for x, _ in group})
            means = [float(np.mean([y for x, y in group if x == each])) for each in at]
            curves.append(Curve(np.array(at), np.array(means), colour, label=named, digits=0))
        # each a curve too, for which the axis makes room as it doesn't for spots
        for nth, (x, y) in enumerate(group):
            label = "" if joined or nth else named
            curves.append(Curve(np.array([x]), np.array([y]), colour, label=label, digits=0))
            spots.append(Spot(x, y, colour, "•"))
    return curves, spots


def _setting(key: str, value: Any) -> str:
    return f"{symbol_of(key)} {told(value)}" if is_number(value) else told(value)
