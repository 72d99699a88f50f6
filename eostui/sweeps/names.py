"""Names that runs and sweeps are given: each finds one thing of its shelf, a run or a sweep."""

from __future__ import annotations

from pathlib import Path

from eostui.errors import InputError
from eostui.runs.edit import refuse_name, set_name
from eostui.runs.shelf import Entry, entries
from eostui.sweeps.shelf import found_sweeps


def rename(entry: Entry, name: str, folder: Path) -> None:
    """Give a run a name to find it by; an empty one takes it away.

    Args:
        entry: the run.
        name: printable, and of no other run or sweep on the shelf.
        folder: the shelf.

    Raises:
        InputError: if the name can't be used, or the run can't be written to.
        EostuiError: if its engine doesn't answer.
    """
    check_name(name, folder, entry.path)
    set_name(entry, name)


def check_name(name: str, folder: Path, own: Path | None = None) -> None:
    """Raise InputError if a run or a sweep can't have a name, or it finds another of the shelf.

    Args:
        name: may be empty: none.
        folder: the shelf.
        own: the run's directory, if it has one already.
    """
    refusal = refuse_name(name)
    if refusal:
        raise InputError(refusal)
    if not name:
        return
    for run in entries(folder):
        if run.path != own and (name == run.name or run.id.endswith(name)):
            raise InputError(f"the name `{name}` already finds {run.id}: choose another")
    for sweep in found_sweeps(folder, name):
        raise InputError(f"the name `{name}` already finds sweep {sweep.name}: choose another")
