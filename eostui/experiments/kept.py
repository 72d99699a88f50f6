"""Results that are kept apart from their runs: numbers and figures in a folder, for a page of results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from eostui.experiments.drawings import keep_drawings, stored_drawings
from eostui.experiments.experiment import Experiment
from eostui.experiments.report import Entry, in_order, kept_name
from eostui.experiments.results import read_result, write_result

#: State of an experiment of which nothing is kept.
NOT_KEPT = "not kept"


def keep(folder: Path, entry: Entry) -> None:
    """Keep an experiment's result and figures in place of those before. Raises InputError."""
    if entry.result is None:
        return
    file = _file(folder, entry)
    write_result(file, entry.result)
    keep_drawings(file, entry.drawings)


def kept(folder: Path, experiments: Iterable[Experiment]) -> list[Entry]:
    """Return experiments with what is kept of them, those at a paper's size too, in their order.

    One whose twin is of the paper's size is there once.

    Raises:
        InputError: if the preset of one isn't valid.
    """
    entries = []
    for each in experiments:
        definition = each.definition
        entries.append(_with_result(folder, Entry.of(each, state=NOT_KEPT)))
        if definition.paper_scale not in ("", definition.twin):
            entries.append(_with_result(folder, Entry.of(each, paper_scale=True, state=NOT_KEPT)))
    return in_order(entries)


def _with_result(folder: Path, entry: Entry) -> Entry:
    file = _file(folder, entry)
    result = read_result(file)
    if result is None:
        return entry
    return Entry.of(
        entry.experiment, paper_scale=entry.paper_scale, result=result, drawings=stored_drawings(file)
    )  # fmt: skip


def _file(folder: Path, entry: Entry) -> Path:
    return folder / f"{kept_name(entry)}.json"
