"""`orientation`: where u points in diagonal nets, over η and over the plane (INST, Fig. 1)."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eostui.cli.members import with_members
from eostui.cli.options import AsciiOnly, AsJson, Height, RunNames, RunsDir, Width
from eostui.cli.output import print_json, print_table
from eostui.cli.streams import sayable
from eostui.errors import InputError

if TYPE_CHECKING:
    from eostui.panels.orientation_map import Trajectory

#: Rows of the terminal, where none are asked for.
_ROWS = 40


def orientation(
    runs: RunNames = None,
    steps: Annotated[int, typer.Option(help="Of each run, from its start on.")] = 60,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Write a figure: .pdf, .svg or .png.")
    ] = "",
    size: Annotated[
        str,
        typer.Option(metavar="single|double|slide|INCHES", help="Of the figure: 5 or 5x3.5."),
    ] = "double",
    runs_dir: RunsDir = None,
    width: Width = None,
    height: Height = None,
    _ascii: AsciiOnly = False,
    as_json: AsJson = False,
) -> None:
    """Map where u, the eigenvector of S, points in the toy diagonal-net, and how a step turns it.

    Of runs with two parameters from one start. γ over η: by what a step from the start multiplies b,
    with R = |u₁/u₂| = b + √(b² + 1), in closed form and as the runs' first steps had it; above 1 u turns
    to the sharp parameter, below 1 away from it. L over the plane of θ₁ and θ₂ with the runs' steps. R
    over the same plane, with strokes along u, whose θ₂ is drawn ten times as large.

    Examples:

      eostui sweep inst-diagonal-net --name dln

      eostui orientation dln

      eostui orientation dln -o map.svg
    """
    from eostui import locations
    from eostui.panels import orientation_map
    from eostui.runs import shelf
    from eostui.runs.run import Run

    for flag, cells in (("--width", width), ("--height", height), ("--steps", steps)):
        if cells is not None and cells < 1:
            raise InputError(f"{flag} is {cells}, but must be at least 1")
    if output:
        from eostui.figures.files import check_target, require_matplotlib
        from eostui.figures.style import size_of

        size_of(size)
        target = check_target(locations.expanded(Path(output)))
        require_matplotlib()
    folder = locations.runs_dir(runs_dir)
    names, _ = with_members(folder, runs)
    found = []
    for entry in [shelf.find(folder, name) for name in names] or [shelf.find(folder, None)]:
        with Run(entry.path) as run:
            found.append(orientation_map.Trajectory.of(run, entry.id, steps))
    shown = orientation_map.together(sorted(found, key=lambda each: each.eta))
    if output:
        from eostui.figures.files import Sheet, write_figure
        from eostui.figures.orientation_map import picture_of_orientations

        flags = ["--steps", str(steps)] if steps != 60 else []
        write_figure(picture_of_orientations(shown, flags), target, Sheet(size))
        print(f"figure in {target}", file=sys.stderr)
    told = [{"run": each.run, **orientation_map.told(each)} for each in shown]
    if as_json:
        regimes = orientation_map.Regimes.of(shown[0])
        print_json({"regimes": vars(regimes), "weight_decay": shown[0].weight_decay, "runs": told})
        return
    if not output:
        _print_picture(shown, width, height)
    print_table([_HEAD, *([f"{each[key]:.4g}" if key != "run" else str(each[key]) for key in _KEYS]
                          for each in told)])  # fmt: skip
    if not shown[0].weight_decay:
        print(sayable(orientation_map.summary(shown)))


_KEYS = (
    "run", "eta", "growth", "growth_closed", "orientation_start", "orientation_after",
    "orientation_least", "at_step", "orientation_end", "largest_loss",
)  # fmt: skip
_HEAD = ["run", "η", "γ", "closed", "R at 0", "at 1", "least", "at step", "at the end", "largest L"]


def _print_picture(shown: Sequence[Trajectory], width: int | None, height: int | None) -> None:
    from eostui.panels.orientation_map import loss_chart, orientation_chart, regimes_chart
    from eostui.panels.still import Still, draw_stills

    charts = (
        (("γ over η", "above 1 u turns to θ₁"), regimes_chart(shown)),
        (("L over θ₁ and θ₂",), loss_chart(shown)),
        (("R = |u₁/u₂| over θ₁ and θ₂",), orientation_chart(shown)),
    )
    stills = [Still(title, chart, ends) for title, (chart, ends) in charts]
    columns = width or shutil.get_terminal_size((100, 24)).columns
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    text = draw_stills(stills, charts[0][1][1], width=columns, height=height or _ROWS, color=color)
    print(sayable(text, cells=True))
