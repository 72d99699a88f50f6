"""`runs delete`: runs that are named go, and sweeps with their members."""

from __future__ import annotations

import sys

import typer

from eostui.cli.options import RunsDir, RunsOrSweeps, Yes
from eostui.errors import InputError, printable


def delete(names: RunsOrSweeps, yes: Yes = False, runs_dir: RunsDir = None) -> None:
    """Delete runs for good, and sweeps with all of their members. Asks first.

    Live runs, and sweeps at work, must be stopped before.
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.sweeps.removal import delete_sweep, run_paths_of
    from eostui.sweeps.shelf import sweep_named

    folder = locations.runs_dir(runs_dir)
    sweeps = {name: sweep_named(folder, name) for name in names}
    found = [sweeps[name] or shelf.find_path(folder, name) for name in names]
    members = {path: len(run_paths_of(path)) for path in sweeps.values() if path is not None}
    told = [
        f"sweep {path.name} with the runs of {members[path]} members"
        if path in members
        else path.name
        for path in found
    ]
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
