"""`runs rename`: a name to find a run by."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eostui.cli.options import GivenRun, RunsDir
from eostui.errors import printable


def rename(
    run: GivenRun,
    name: Annotated[str, typer.Argument(help='A name to find the run by; "" takes it away.')],
    runs_dir: RunsDir = None,
) -> None:
    """Give a run a name to find it by, live or ended.

    Example:

      eostui runs rename k3f9 baseline
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.sweeps import names

    folder = locations.runs_dir(runs_dir)
    entry = shelf.find(folder, run)
    names.rename(entry, name, folder)
    told = f"{entry.id}: {f'named {name}' if name else 'has no name'}"
    print(printable(told), file=sys.stderr)
