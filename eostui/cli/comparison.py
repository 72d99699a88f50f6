"""Runs side by side for the commands: read one after another, and drawn as a still picture."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.cells import set_cell_size

from eostui.charts.dots import DOTS_X
from eostui.charts.picture import plot_columns
from eostui.cli.progress import ProgressBar
from eostui.cli.streams import speaks_unicode
from eostui.errors import EostuiError, InputError, printable
from eostui.panels.compare.charts import PANELS, ComparisonPanel, chart_of
from eostui.panels.compare.member import read_member
from eostui.panels.compare.table import short_lines
from eostui.panels.compare.view import MOST_LABELS, MOST_RUNS, ComparisonView, in_order
from eostui.panels.still import GRID_WIDTH, SMALLEST, Still, draw_stills
from eostui.runs import shelf
from eostui.runs.selection import Selection, select

#: Charts from left to right, then down, where there is room for all four.
_ORDER = ("curves", "drives", "losses", "rest")
#: Rows that a chart needs at least.
_LEAST_ROWS = 9


def check_selection(selection: Selection, chosen: str) -> None:
    """Raise InputError if there is nothing to compare, or too much; tell stderr what can't be read.

    Args:
        selection: the runs.
        chosen: how they were chosen, for the sentence.
    """
    for sentence in selection.left_out:
        print(f"eostui: {printable(sentence)}", file=sys.stderr)
    count = len(selection.entries)
    if not count:
        raise InputError(
            f"there is no {'readable ' * bool(selection.unread)}run to compare{chosen}"
        )
    if count > MOST_RUNS:
        # a filter adds to runs that are named; of a sweep, the group is its id
        how = "a --filter such as"
        if not chosen:
            how = "of a sweep `eostui compare --group ID --filter` with"
        raise InputError(
            f"these are {count} runs{chosen}, but at most {MOST_RUNS} are compared; "
            f"{how} `weight_decay>1e-3 state:finished` chooses fewer"
        )


def read_all(view: ComparisonView) -> None:
    """Read what is lacking of every run; tell stderr which can't be, the others go on."""
    with ProgressBar("reading the runs", "runs") as bar:
        for place, entry in enumerate(view.entries):
            bar(place, len(view.entries), note=entry.name or entry.id)
            if not view.lacks(place):
                continue
            try:
                view.take(place, read_member(entry, view.wanted))
            except EostuiError as error:
                view.refuse(place, str(error))
                bar.console.print(
                    f"eostui: {printable(entry.id)} is left out: {printable(str(error))}",
                    markup=False, highlight=False, soft_wrap=True,
                )  # fmt: skip
    if len(view.troubles) == len(view.entries):
        raise EostuiError("none of these runs can be read")


def still_picture(view: ComparisonView, *, width: int, height: int, color: bool) -> str:
    """Draw a comparison as text, two charts side by side where the width allows it.

    A low picture lacks the last charts; a tiny one is the readings as text. Below stands which curve is
    whose.
    """
    if width < SMALLEST[0] or height < SMALLEST[1]:
        lines = [set_cell_size(line, width).rstrip() for line in short_lines(view)]
        return "\n".join(lines[:height])
    panels = sorted(PANELS, key=lambda panel: _ORDER.index(panel.name))
    across = 2 if width >= GRID_WIDTH else 1
    legend = legend_text(view, width)
    rows = height - 1
    down = max(min(len(panels) // across, rows // _LEAST_ROWS), 1)
    texts = []
    for row in range(down):
        tall = rows * (row + 1) // down - rows * row // down
        stills = [
            _still(panel, view, width // across)
            for panel in panels[row * across : (row + 1) * across]
        ]
        x_range = _ends(view)
        texts.append(draw_stills(stills, x_range, width=width, height=tall, color=color))
    return "\n".join([*texts, legend])


def legend_text(view: ComparisonView, width: int) -> str:
    """Return which sign is which run, or of many the first and the last."""
    looks = view.looks()
    if len(looks) <= MOST_LABELS:
        text = "  ".join(f"{look.sign} {look.name}" for look in looks)
    else:
        text = f"{len(looks)} curves, {looks[0].sign} {looks[0].name} … {looks[-1].sign} {looks[-1].name}"
    return set_cell_size(text, width).rstrip()


def _ends(view: ComparisonView) -> tuple[float, float]:
    left, right = view.ends()
    return left, right if right > left else left + 1.0


def _still(panel: ComparisonPanel, view: ComparisonView, width: int) -> Still:
    """Return a panel with the first of its scales, or the next if that can't show all values."""
    own = panel.own_x(view) if panel.own_x else None
    dots = max(plot_columns(width)[1], 1) * DOTS_X
    for kind in panel.scales(view):
        chart = chart_of(panel, view, kind, own or _ends(view), dots)
        if kind != "log" or not any((curve.y <= 0).any() for curve in chart.curves):
            break
    first, *others = panel.title(view)
    return Still((first if kind == "linear" else f"{first} ({kind})", *others), chart, own)


def chosen(
    folder: Path, runs: Sequence[str], filter: str, group: str, baseline: str | None
) -> tuple[ComparisonView, Selection]:
    """Return the comparison of runs that are named, or of those of the shelf that a filter and a group
    let through, in the order in which they are told, and their choice; its runs aren't read yet.

    Raises:
        InputError: if there is none, there are too many, or one of the names is of no run.
    """
    names = [*runs]
    if baseline is not None and baseline not in names:
        names.append(baseline)
    # without runs named, the shelf: all of it where no filter says less
    selection = select(folder, names, filter if runs else filter or " ", group)
    where = f" in {folder}" if not runs else ""
    where = f" that fits the filter{where}" if filter or group else where
    check_selection(selection, where)
    entries = selection.entries if runs else tuple(in_order(selection.entries))
    view = ComparisonView(entries, unicode=speaks_unicode(sys.stdout))
    if baseline is not None:
        path = shelf.find(folder, baseline).path
        view.pin([entry.path for entry in entries].index(path))
    return view, selection
