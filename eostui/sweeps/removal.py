"""Sweeps that go: with their members' runs, or after them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from eostui.errors import InputError
from eostui.runs import shelf
from eostui.runs.shelf import Entry
from eostui.runs.store.liveness import engine_alive
from eostui.sweeps import log
from eostui.sweeps.shelf import at_work, is_sweep
from eostui.sweeps.sweep import Sweep


def run_paths_of(path: Path) -> list[Path] | None:
    """Return the run directories of a sweep's members that are there; None if its manifest can't be
    read."""
    try:
        return [run for run in Sweep(path).run_paths if run.is_dir()]
    except InputError:
        return None


def delete_sweep(path: Path) -> None:
    """Delete a sweep's directory and its members' runs; its manifest goes last.

    Where the manifest can't be read, nobody knows the members: the directory goes alone then.

    Raises:
        InputError: if it is at work, or something of it can't be deleted.
    """
    if at_work(path):
        raise InputError(f"sweep {path.name} is at work: end that first")
    members = run_paths_of(path) or []
    if alive := [run.name for run in members if engine_alive(run)]:
        raise InputError(f"{alive[0]} is still running: `eostui stop {alive[0]}` first")
    for run in members:
        shelf.delete(run)
    shelf.delete(path)


def emptied(runs_dir: Path, gone: Iterable[Entry]) -> list[Path]:
    """Return the sweeps no member of which is left, of those that had one among the runs that are gone.

    One of which members never began isn't empty: its manifest is all that there is of them.
    """
    found = []
    for group in dict.fromkeys(entry.group for entry in gone):
        path = runs_dir / group
        if not group or group != path.name or not is_sweep(path) or at_work(path):
            continue
        with suppress(InputError):  # its manifest can't be read, and may have other members
            planned = Sweep(path).run_paths
            begun = log.begun(path)
            if all(run.name in begun and not run.is_dir() for run in planned):
                found.append(path)
    return found
