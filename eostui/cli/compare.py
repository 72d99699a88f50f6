"""`compare`: any number of runs side by side."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eostui.cli.members import with_members
from eostui.cli.options import (
    AsciiOnly,
    AsJson,
    Fps,
    Height,
    RunsDir,
    Theme,
    Width,
    _complete_run,
    _complete_run_or_sweep,
)  # fmt: skip
from eostui.cli.output import print_json, print_table
from eostui.cli.start import show
from eostui.cli.streams import sayable
from eostui.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from eostui.panels.compare.view import ComparisonView

#: What x counts, by what is typed.
_AXES = ("steps", "flow", "onset")


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|SWEEP]...",
            help="Runs, and sweeps for their members: each an id, the end of it, a name, or a path. "
            "Without any, those that --filter and --group let through; all without these.",
            autocompletion=_complete_run_or_sweep,
        ),
    ] = None,
    filter: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Runs by words of their names and by conditions: `digits weight_decay>1e-3 state:live`.",
        ),
    ] = "",
    group: Annotated[
        str, typer.Option(metavar="NAME", help="Runs that were started with this --group.")
    ] = "",
    column: Annotated[
        str, typer.Option(help="What is drawn and read at rest, any column of the runs.")
    ] = "sharpness",
    axis: Annotated[
        str,
        typer.Option(
            metavar="|".join(_AXES),
            help="What x counts; onset: steps since S first reached 2/η − λ.",
        ),
    ] = "steps",
    over_seeds: Annotated[
        bool,
        typer.Option(
            "--over-seeds", help="Runs that differ in the seed alone as their mean ± deviation."
        ),
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="The run on top of the others.", autocompletion=_complete_run
        ),
    ] = None,
    difference: Annotated[
        bool, typer.Option("--difference", help="Everything less the baseline.")
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Print the table.")] = False,
    still: Annotated[bool, typer.Option("--still", help="Print a static picture.")] = False,
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="Write the table: .csv or .json by its ending."),
    ] = "",
    width: Width = None,
    height: Height = None,
    runs_dir: RunsDir = None,
    fps: Fps = None,
    theme: Theme = None,
    _ascii: AsciiOnly = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs: their curves, their readings at rest against the setting that differs, a table.

    The settings that differ are found, and the runs are called by them and by their names. In a
    terminal the Compare screen opens; elsewhere, and with --table, --json or -o, there is a table:
    what differs, state, steps, S, κ, λ₂ and the loss over the last steps (rest_window) with their
    standard errors (in brackets where a run isn't at rest), test accuracy, phase.

    Examples:

      eostui compare baseline k3f9

      eostui compare --filter 'digits weight_decay>1e-4' --over-seeds

      eostui compare --group lam --table

      eostui compare --group lam --still --width 100 --ascii
    """
    from eostui import locations

    _check(axis, width, height, difference and baseline is None)
    if sum((table, still, bool(output), as_json)) > 1:
        raise InputError("only one of --table, --still, --json and -o can be given")
    from eostui.cli.comparison import chosen, read_all, still_picture
    from eostui.panels.compare.view import AXES, Compare

    folder = locations.runs_dir(runs_dir)
    view, selection = chosen(folder, with_members(folder, runs).runs, filter, group, baseline)
    view.show(quantity=column, axis=AXES[_AXES.index(axis)], grouped=over_seeds)
    view.show(differing=difference)
    printed = table or still or output or as_json or not sys.stdout.isatty()
    if not printed:
        show(Compare(view, selection.left_out), runs_dir, None, fps=fps, theme=theme)
        return
    read_all(view)
    if column not in view.names():
        raise InputError(f"no run has a column `{column}`{did_you_mean(column, view.names())}")
    if still:
        size = shutil.get_terminal_size((120, 40))
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        drawn = still_picture(
            view, width=width or size.columns, height=height or size.lines - 1, color=color
        )
        print(sayable(drawn, cells=True))
    elif output:
        _write(view, locations.expanded(Path(output)))
    elif as_json:
        from eostui.panels.compare.table import records

        print_json(records(view))
    else:
        from eostui.panels.compare.table import rows

        print_table(rows(view), named=0)


def _check(axis: str, width: int | None, height: int | None, alone: bool) -> None:
    if axis not in _AXES:
        raise InputError(
            f"--axis is {axis}, but must be one of {', '.join(_AXES)}{did_you_mean(axis, _AXES)}"
        )
    for flag, cells in (("--width", width), ("--height", height)):
        if cells is not None and cells < 1:
            raise InputError(f"{flag} is {cells}, but must be at least 1")
    if alone:
        raise InputError("--difference needs the run to take it from: --baseline RUN")


def _write(view: ComparisonView, target: Path) -> None:
    """Write the table as CSV, or as JSON where the file is named so."""
    import csv
    import io
    import json

    from eostui.panels.compare.table import flat_records, records
    from eostui.text import plain

    if target.suffix == ".json":
        text = json.dumps(plain(records(view)), ensure_ascii=False, indent=1) + "\n"
    elif target.suffix == ".csv":
        lines = flat_records(view)
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        text = stream.getvalue()
    else:
        raise InputError(f"-o is {target}, but must end in .csv or .json")
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target}: can't be written: {error.strerror}") from None
    print(f"{len(view.entries)} rows in {target}", file=sys.stderr)
