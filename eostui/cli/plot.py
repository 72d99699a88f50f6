"""`plot`: a static picture of a run, or of several side by side."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Annotated

import typer

from eostui.cli.members import with_members
from eostui.cli.options import AsciiOnly, Height, RunNames, RunsDir, Width, complete_panel
from eostui.cli.streams import sayable, speaks_unicode
from eostui.errors import InputError


def plot(
    runs: RunNames = None,
    panel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,…",
            help="Panels of one run, as the live view calls them: `oscillator`, `loss:linear,cosine`. "
            "Those that it shows side by side if left out.",
            autocompletion=complete_panel,
        ),
    ] = None,
    width: Width = None,
    height: Height = None,
    runs_dir: RunsDir = None,
    _ascii: AsciiOnly = False,
) -> None:
    """Print a static picture of a run, or of several as `eostui compare --still` does.

    A sweep's name means the runs of its members.

    Plain text when stdout isn't a terminal.

    Examples:

      eostui plot k3f9 --panel oscillator

      eostui plot --panel loss:linear,cosine
    """
    for flag, cells in (("--width", width), ("--height", height)):
        if cells is not None and cells < 1:
            raise InputError(f"{flag} is {cells}, but must be at least 1")
    from eostui import locations
    from eostui.figures.wanted import wanted_of
    from eostui.runs import shelf
    from eostui.runs.run import Run

    wanted = [each for text in panel or [] for each in wanted_of(text)]
    folder = locations.runs_dir(runs_dir)
    terminal = shutil.get_terminal_size((120, 40))
    columns, lines = width or terminal.columns, height or terminal.lines - 1
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if not (wanted and runs and len(runs) > 1):  # else that is wrong, whatever runs there are
        runs = with_members(folder, runs).runs
    if len(runs) > 1:
        if wanted:
            raise InputError(
                "--panel is of one run here; `eostui figure RUN RUN --panel` draws those of several"
            )
        from eostui.cli.comparison import check_selection, read_all, still_picture
        from eostui.panels.compare.view import ComparisonView
        from eostui.runs.selection import select

        selection = select(folder, runs)
        check_selection(selection, "")
        view = ComparisonView(selection.entries, unicode=speaks_unicode(sys.stdout))
        read_all(view)
        drawn = still_picture(view, width=columns, height=lines, color=color)
    else:
        from eostui.cli.static_plot import render

        with Run(shelf.find(folder, runs[0] if runs else None).path) as opened:
            drawn = render(opened, wanted, width=columns, height=lines, color=color)
    print(sayable(drawn, cells=True))
