"""`plot`: a static picture of a run."""

from __future__ import annotations

import os
import shutil
import sys

from eostui.cli.options import AsciiOnly, Height, RunName, RunsDir, Width
from eostui.cli.streams import sayable
from eostui.errors import InputError


def plot(
    run: RunName = None,
    width: Width = None,
    height: Height = None,
    runs_dir: RunsDir = None,
    _ascii: AsciiOnly = False,
) -> None:
    """Print a static picture of a run. Plain text when stdout isn't a terminal."""
    for flag, cells in (("--width", width), ("--height", height)):
        if cells is not None and cells < 1:
            raise InputError(f"{flag} is {cells}, but must be at least 1")
    from eostui import locations
    from eostui.cli.static_plot import render
    from eostui.runs import shelf
    from eostui.runs.run import Run

    entry = shelf.find(locations.runs_dir(runs_dir), run)
    size = shutil.get_terminal_size((120, 40))
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    with Run(entry.path) as opened:
        drawn = render(
            opened, width=width or size.columns, height=height or size.lines - 1, color=color
        )
    print(sayable(drawn, cells=True))
