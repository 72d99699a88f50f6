"""`runs delete`: runs that are named go, and sweeps with their members."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from eostui.cli.options import RunsDir, RunsOrSweeps, Yes
from eostui.errors import InputError, printable


def delete(names: RunsOrSweeps, yes: Yes = False, runs_dir: RunsDir = None) -> None:
    """Delete runs for good, and sweeps with all of their members. Asks first.

    Live runs, and sweeps at work, must be stopped before.
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.sweeps.lookup import sweep_named
    from eostui.sweeps.removal import delete_sweep, run_paths_of

    folder = locations.runs_dir(runs_dir)
    named = [(name, sweep_named(folder, name)) for name in names]
    members = {path: run_paths_of(path) for _, path in named if path is not None}
    # each once, however it is named: a run goes with its sweep
    with_sweeps = {run.resolve() for runs in members.values() for run in runs or ()}
    paths = [sweep or shelf.find_path(folder, name) for name, sweep in named]
    by_place = {path.resolve(): path for path in paths}
    found = [path for place, path in by_place.items() if place not in with_sweeps]
    told = [_told(path, members[path]) if path in members else path.name for path in found]
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("runs are deleted only after a question: add --yes to do without it")
        if not typer.confirm(f"Delete {printable(', '.join(told))}?", err=True):
            raise typer.Exit(1)
    for path, what in zip(found, told, strict=True):
        if path in members:
            delete_sweep(path)
        else:
            shelf.delete(path)
        print(f"deleted {printable(what)}", file=sys.stderr)


def _told(sweep: Path, members: list[Path] | None) -> str:
    """Return what goes with a sweep."""
    if members is None:
        return f"sweep {sweep.name} without its members' runs, since its manifest can't be read"
    return f"sweep {sweep.name} with the runs of {len(members)} members"
