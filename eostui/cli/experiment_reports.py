"""Reports of experiments for the command line: figures drawn, files written, data kept for the docs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eostui.errors import EostuiError, InputError, printable

if TYPE_CHECKING:
    from eostui.experiments.drawings import Drawing
    from eostui.experiments.experiment import Experiment
    from eostui.experiments.readings import Rows
    from eostui.experiments.report import Entry
    from eostui.sweeps.sweep import Sweep

_HTML, _MARKDOWN = (".html", ".htm"), (".md", ".markdown")


def check_target(path: Path) -> Path:
    """Return where a report is written to, before anything is trained for it.

    Raises:
        InputError: if its ending is none of a report's, or there is no such folder.
    """
    from eostui.locations import absolute

    target = absolute(path)
    if target.suffix.lower() not in (*_HTML, *_MARKDOWN):
        raise InputError(
            f"--report {path}: a report is HTML or Markdown: end its name in .html or .md"
        )
    if not target.parent.is_dir():
        raise InputError(f"--report {path}: there is no folder {target.parent}")
    return target


def can_draw() -> bool:
    """Return whether figures can be drawn; where they can't, stderr is told why."""
    from eostui.figures.files import require_matplotlib

    try:
        require_matplotlib()
    except InputError as error:
        print(printable(f"eostui: no figures are drawn: {error}"), file=sys.stderr)
        return False
    return True


def draw(experiment: Experiment, sweep: Sweep, rows: Rows | None = None) -> Sequence[Drawing]:
    """Draw the figures of a result, keep them beside it and return them.

    If they can't be drawn there are none, and if they can't be kept they are returned all the same;
    stderr is told why.
    """
    from eostui.experiments.drawings import keep_drawings
    from eostui.experiments.results import result_file, rows_of
    from eostui.figures.experiment import drawings_of

    try:
        drawings = drawings_of(experiment, sweep, rows or rows_of(sweep, experiment))
    except EostuiError as error:  # the verdict stays whatever becomes of its figures
        print(printable(f"eostui: {experiment.name} has no figures: {error}"), file=sys.stderr)
        return ()
    try:
        keep_drawings(result_file(sweep, experiment), drawings)
    except InputError as error:
        told = f"eostui: the figures of {experiment.name} aren't kept: {error}"
        print(printable(told), file=sys.stderr)
    return drawings


def entries_of(
    chosen: Sequence[Experiment], runs_dir: Path, *, paper_scale: bool, drawn: bool
) -> list[Entry]:
    """Return what a report has of experiments, by what is on a shelf.

    Args:
        chosen: the experiments.
        runs_dir: the shelf.
        paper_scale: whether at the paper's size.
        drawn: whether it has figures; those that are lacking are drawn.
    """
    from eostui.experiments.drawings import stored_drawings
    from eostui.experiments.report import Entry, in_order
    from eostui.experiments.results import OnShelf, result_file, standing

    shelf = OnShelf(runs_dir)
    entries = []
    for each in chosen:
        found = standing(each, shelf, paper_scale=paper_scale)
        drawings: Sequence[Drawing] = ()
        if drawn and found.sweep is not None and found.result is not None:
            file = result_file(found.sweep, each)
            drawings = stored_drawings(file) or draw(each, found.sweep)
        entries.append(
            Entry.of(
                each, paper_scale=paper_scale, state=found.state, result=found.result,
                drawings=drawings,
            )
        )  # fmt: skip
    return in_order(entries)


def write_report(target: Path, entries: Sequence[Entry]) -> None:
    """Write a report, of the kind that its name ends in. Raises InputError if it can't be written."""
    from eostui.experiments.html_report import page
    from eostui.experiments.report import markdown
    from eostui.sweeps.summary import write_whole

    html = target.suffix.lower() in _HTML
    write_whole(target, page(entries) if html else markdown(entries))
    done = sum(entry.result is not None for entry in entries)
    others = len(entries) - done
    lacking = f", and {others} without a result" if others else ""
    print(printable(f"eostui: {target}: a report of {_count(done)}{lacking}"), file=sys.stderr)


def has_figures(target: Path) -> bool:
    """Return whether a report has figures: those of Markdown would be files of their own."""
    return target.suffix.lower() in _HTML


def keep(folder: Path, entries: Sequence[Entry]) -> None:
    """Keep results and their figures as files in a folder; what it has of others stays.

    Raises:
        InputError: if they can't be written.
    """
    from eostui.experiments.kept import keep as keep_entry
    from eostui.locations import absolute

    place = absolute(folder)
    done = [entry for entry in entries if entry.result is not None]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--keep {folder}: can't be made: {error.strerror}") from None
    for entry in done:
        keep_entry(place, entry)
    print(printable(f"eostui: {folder}: results of {_count(len(done))}"), file=sys.stderr)


def _count(number: int) -> str:
    return "1 experiment" if number == 1 else f"{number} experiments"
