"""The figure of several runs: the charts of their comparison, of any column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from eostui.errors import printable
from eostui.figures.picture import Entry, Picture, Points, Subplot
from eostui.figures.wanted import AXIS_WORDS, Wanted, check_name, check_range, command_words
from eostui.panels import PANELS as PANELS_OF_A_RUN
from eostui.panels.compare.charts import (
    PANELS,
    ComparisonPanel,
    chart_of,
    resting_points,
    title_of,
)
from eostui.panels.compare.member import G_RATIO
from eostui.panels.compare.view import AXES, ComparisonView, Look
from eostui.runs.family import symbol_of, told

#: Names of panels: of a run's panel that which shows the same of several, as the comparison calls it,
#: and the column that it shows, "" for that of the others.
_NAMES = {
    "sharpness": ("curves", "sharpness"),
    "rest": ("rest", ""),
    "drives": ("drives", G_RATIO),
    "loss": ("losses", "loss"),
    "norm": ("curves", "theta_norm"),
}
#: Panels of a run that several have nothing like.
_OF_ONE = {panel.name for panel in PANELS_OF_A_RUN} - set(_NAMES)
_OF = {panel.name: panel for panel in PANELS}
#: Lines of a legend at most: of more runs a few between the first and the last stand for all.
_MOST_ENTRIES, _FEW_ENTRIES = 24, 8
#: Characters of a line of the legend, and of one that is written in full.
_LONGEST, _SHORT = 40, 28


def usual_panels() -> list[Wanted]:
    """Return the charts that stand side by side in a comparison."""
    return [Wanted(name) for name in ("sharpness", "rest", "drives", "loss")]


def wanted_panel(panel: str, view: ComparisonView, scale: str) -> Wanted:
    """Return a panel of a comparison, as the comparison calls it, of what it shows now."""
    name = next(name for name, (its, _) in _NAMES.items() if its == panel)
    if panel == "curves" and view.quantity != "sharpness":
        return Wanted(view.quantity, is_column=True, scale=scale)
    return Wanted(name, scale=scale)


def columns_of(wanted: Sequence[Wanted]) -> list[str]:
    """Return the columns that are to be read of every run."""
    named = [each.name if each.is_column else _NAMES.get(each.name, ("", ""))[1] for each in wanted]
    return [name for name in named if name]


def picture_of_comparison(
    view: ComparisonView,
    wanted: Sequence[Wanted] = (),
    x_range: tuple[float | None, float | None] = (None, None),
    columns: int = 2000,
) -> Picture:
    """Return the figure of a comparison that has read its runs.

    Args:
        view: the runs, on the x axis that is wanted; what it shows is as before afterwards.
        wanted: the charts; those of the comparison if left out.
        x_range: ends of x; None for those of all runs.
        columns: of pixels, on which a chart is drawn at most.

    Raises:
        InputError: if there is no such panel, or none of the runs has such a column.
    """
    charts = wanted or usual_panels()
    for each in charts:
        single = f"`{each.name}` is of one run" if each.name in _OF_ONE else ""
        check_name(each, _NAMES, view.names(), "several runs", single)
    before = view.quantity
    named = [each.name for each in charts if each.is_column]
    left, right = view.ends()
    check_range(x_range, (left, right), "these runs")
    ends = (
        left if x_range[0] is None else x_range[0],
        right if x_range[1] is None else x_range[1],
    )
    subplots = []
    try:
        for each in charts:
            panel, column = ("curves", each.name) if each.is_column else _NAMES[each.name]
            view.show(quantity=column or (named or [before])[0])
            subplots.append(_subplot(view, _OF[panel], each, ends, columns))
    finally:
        view.show(quantity=before)
    ids = [entry.id for entry in view.entries]
    legend, title = _legend(view)
    command = command_words(ids, wanted, x_range, *_options(view))
    return Picture(subplots, ends, ids, legend, title, command)


def _options(view: ComparisonView) -> Iterator[str]:
    """Yield the words by which the command shows what the comparison does."""
    if view.axis != AXES[0]:
        yield from ("--axis", AXIS_WORDS[AXES.index(view.axis)])
    if view.grouped:
        yield "--over-seeds"
    if view.baseline is not None:
        yield from ("--baseline", view.entries[view.baseline].id)
    if view.differing:
        yield "--difference"


def _subplot(
    view: ComparisonView,
    panel: ComparisonPanel,
    wanted: Wanted,
    ends: tuple[float, float],
    columns: int,
) -> Subplot:
    own_x = panel.own_x(view) if panel.own_x else None
    for kind in (wanted.scale,) if wanted.scale else panel.scales(view):
        chart = chart_of(panel, view, kind, own_x or ends, columns)
        if kind != "log" or not any((curve.y <= 0).any() for curve in chart.curves):
            break
    column = {"drives": G_RATIO, "losses": "loss"}.get(panel.name, view.quantity)
    label = title_of(column)
    if view.differing:
        label = f"Δ {label}"
    if panel.name == "rest":
        return Subplot(wanted.name, f"{label} at rest", chart, own_x, _at_rest(view, column))
    if len(view.looks()) > _MOST_ENTRIES:  # the legend has no letters then
        chart = replace(chart, spots=[])
    data = _lines(view, column, ends, columns)
    if panel.name == "losses":
        data += _lines(view, "test_loss", ends, columns)
    return Subplot(wanted.name, label, chart, None, data)


def _lines(
    view: ComparisonView, column: str, ends: tuple[float, float], columns: int
) -> list[Points]:
    """Return the curves of a column, and the deviations of those that are means."""
    found = []
    for line, look in zip(view.lines(column), view.looks(), strict=True):
        runs = " ".join(view.entries[place].id for place in line.members)
        parts = [("", line.trace)]
        if line.band is not None:
            parts += [(" less deviation", line.band[0]), (" plus deviation", line.band[1])]
        for what, trace in parts:
            if len(trace):
                x, y = trace.within(*ends, columns)
                found.append(Points(f"{column}{what}, {look.name}", runs, x, y))
    return found


def _at_rest(view: ComparisonView, column: str) -> list[Points]:
    """Return the readings at rest against the setting by which the runs are laid out."""
    kinds: dict[str, list[tuple[float, float, float]]] = {}
    for point in resting_points(view, column):
        kinds.setdefault(point.kind, []).append((point.x, point.reading.value, point.reading.error))
    said = {"rest": "at rest", "mean": "mean at rest", "unrest": "not at rest"}
    runs = " ".join(entry.id for entry in view.entries)
    return [
        Points(f"{column}, {said.get(kind, kind)}", runs, *np.array(rows).T)
        for kind, rows in kinds.items()
    ]


def _legend(view: ComparisonView) -> tuple[list[Entry], str]:
    """Return which curve is whose, and what the labels are values of; of many runs a few."""
    looks = view.looks()
    if len(looks) > _MOST_ENTRIES:
        return _legend_of_many(view, looks)
    full = all(len(look.name) <= _SHORT for look in looks)
    keys = view.labelled_by
    by_values = len(keys) == 1 or (bool(keys) and not full)
    labels = [look.name if full and not by_values else look.label for look in looks]
    title = ", ".join(map(symbol_of, keys)) if by_values else ""
    entries = [
        Entry(_cut(printable(label)), look.colour, look.sign)
        for label, look in zip(labels, looks, strict=True)
    ]
    return entries, title


def _legend_of_many(view: ComparisonView, looks: Sequence[Look]) -> tuple[list[Entry], str]:
    """Return what the colours stand for: values of their setting, or places in the order."""
    if view.key is None:
        named = [(look.label, look) for look in looks]
        title = f"{len(looks)} curves"
    else:
        of_value = {
            view.value(group[0]): look for group, look in zip(view.groups, looks, strict=True)
        }
        named = [(told(value), of_value[value]) for value in sorted(of_value)]
        title = f"{symbol_of(view.key)}, {len(looks)} curves"
    if len(named) > _MOST_ENTRIES:
        places = np.linspace(0, len(named) - 1, _FEW_ENTRIES).round().astype(int)
        named = [named[place] for place in places]
    return [Entry(_cut(printable(label)), look.colour, "") for label, look in named], title


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
