"""`runs note`: what to remember of a run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eostui.cli.options import GivenRun, RunsDir
from eostui.errors import printable


def note(
    run: GivenRun,
    text: Annotated[str, typer.Argument(help='What to remember of the run; "" takes it away.')],
    runs_dir: RunsDir = None,
) -> None:
    """Write a note into a run's record, live or ended; `runs show` and exports have it.

    Example:

      eostui runs note k3f9 "first run with the wider net"
    """
    from eostui import locations
    from eostui.runs import edit, shelf

    entry = shelf.find(locations.runs_dir(runs_dir), run)
    edit.note(entry, text)
    print(printable(f"{entry.id}: {'noted' if text else 'has no note'}"), file=sys.stderr)
