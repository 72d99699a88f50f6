"""`runs delete`: runs that are named go."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eostui.cli.options import RunsDir, Yes
from eostui.errors import InputError, printable


def delete(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs to delete.")],
    yes: Yes = False,
    runs_dir: RunsDir = None,
) -> None:
    """Delete runs for good. Asks first; live runs must be stopped before."""
    from eostui import locations
    from eostui.runs import shelf

    folder = locations.runs_dir(runs_dir)
    found = [shelf.find_path(folder, name) for name in names]
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("runs are deleted only after a question: add --yes to do without it")
        listed = printable(", ".join(path.name for path in found))
        if not typer.confirm(f"Delete {listed}?", err=True):
            raise typer.Exit(1)
    for path in found:
        shelf.delete(path)
        print(f"deleted {printable(path.name)}", file=sys.stderr)
