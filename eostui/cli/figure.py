"""`figure`: runs as a picture for a paper."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eostui.cli.members import with_members
from eostui.cli.options import RunsDir, _complete_run, _complete_run_or_sweep, complete_panel
from eostui.errors import InputError, did_you_mean
from eostui.figures.wanted import AXIS_WORDS, Wanted, wanted_of

if TYPE_CHECKING:
    from eostui.figures.picture import Picture


def figure(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|SWEEP]...",
            help="Runs, and sweeps for their members: each an id, the end of it, a name, or a path. "
            "Without any, those that --filter and --group let through; the newest without these.",
            autocompletion=_complete_run_or_sweep,
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="The file: .pdf, .svg or .png. RUN.pdf or SWEEP.pdf if left out."
        ),
    ] = "",
    panel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,…",
            help="Panels, each a chart: those of the live view by their names (sharpness, drives, loss, "
            "cosine …); of several runs sharpness, rest (readings at rest against what differs), drives, "
            "loss, norm. `loss:linear` chooses the scale. Those that the live view or the comparison "
            "shows if left out.",
            autocompletion=complete_panel,
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,…", help="Columns, each a chart: `step_cosine`, `loss_step:symlog`."
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            metavar="single|double|slide|INCHES",
            help="A column, a page with two, a slide, or inches: 5 or 5x3.5.",
        ),
    ] = "single",
    axis: Annotated[
        str,
        typer.Option(
            metavar="|".join(AXIS_WORDS),
            help="What x counts; onset, of several runs: steps since S first reached 2/η − λ.",
        ),
    ] = "steps",
    x: Annotated[
        str, typer.Option("--x", metavar="FROM:TO", help="A stretch of x: 500:900, 500: or :900.")
    ] = "",
    filter: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Runs by words of their names and by conditions: `digits weight_decay>1e-3`.",
        ),
    ] = "",
    group: Annotated[
        str, typer.Option(metavar="NAME", help="Runs that were started with this --group.")
    ] = "",
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
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Write what is drawn as CSV beside it.")
    ] = False,
    style: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A style file of matplotlib's, for what shall look else."
        ),
    ] = None,
    runs_dir: RunsDir = None,
) -> None:
    """Write a figure for a paper: PDF, SVG or PNG of one run, or of several compared.

    It has the charts of the live view or of the comparison, and any column by its name, in one or two
    columns' width, legible in print and without colour. Several runs are called by the settings in which
    they differ. A file of the same runs is the same to the byte; it says which runs these are, and the
    command. An existing file is replaced when the new one is whole. Needs the extra `figures`.

    Examples:

      eostui figure k3f9 -o run.pdf

      eostui figure k3f9 --panel sharpness,loss --x 500:900 -o edge.pdf

      eostui figure k3f9 --column step_cosine --panel sharpness --size double -o cosine.svg

      eostui figure --group lam --over-seeds --size double --with-data -o lam.pdf

      eostui figure a3 --panel rest -o a3.pdf
    """
    from eostui import locations
    from eostui.figures.files import (
        Sheet,
        check_target,
        require_matplotlib,
        write_data,
        write_figure,
    )
    from eostui.figures.style import size_of

    if axis not in AXIS_WORDS:
        near = did_you_mean(axis, AXIS_WORDS)
        raise InputError(f"--axis is {axis}, but must be one of {', '.join(AXIS_WORDS)}{near}")
    if difference and baseline is None:
        raise InputError("--difference needs the run to take it from: --baseline RUN")
    size_of(size)
    wanted, x_range = _charts(panel, column), _ends(x)
    target = check_target(locations.expanded(Path(output))) if output else None
    style = None if style is None else locations.expanded(style)
    require_matplotlib()
    folder = locations.runs_dir(runs_dir)
    runs, sweep = with_members(folder, runs)
    if len(runs) > 1 or filter or group or baseline is not None:
        picture = _several(
            folder, runs, filter, group, baseline, wanted, x_range,
            axis=axis, over_seeds=over_seeds, difference=difference,
        )  # fmt: skip
    else:
        if over_seeds or axis == "onset":
            flag = "--over-seeds" if over_seeds else "--axis onset"
            raise InputError(f"{flag} is of several runs: name them, or say --filter or --group")
        picture = _one(folder, runs, wanted, x_range, flow_time=axis == "flow")
    if target is None:
        from eostui.runs import shelf

        name = picture.runs[0] if len(picture.runs) == 1 else sweep or "runs"
        name = shelf.safe_name(name)
        target = Path(f"{name}.pdf")
    sheet = Sheet(size, style)
    write_figure(picture, target, sheet)
    for subplot in picture.subplots:
        if wanted and not subplot.chart.curves:
            print(f"{subplot.name} is empty: {subplot.chart.waiting}", file=sys.stderr)
    print(f"figure in {target}", file=sys.stderr)
    if with_data:
        data = target.with_suffix(".csv")
        sidecar, rows = write_data(picture, data, sheet)
        print(f"{rows} rows in {data}, columns explained in {sidecar}", file=sys.stderr)


def _tell_live(run: str, state: str, last_step: int) -> None:
    """Say of a run that trains that more of it will come."""
    from eostui.runs.store.schema import LIVE_STATES

    if state in LIVE_STATES:
        print(f"{run} is live: drawn as it is at step {last_step}", file=sys.stderr)


def _charts(panels: list[str] | None, columns: list[str] | None) -> list[Wanted]:
    """Return the charts that are asked for, panels first."""
    found = [each for text in panels or [] for each in wanted_of(text)]
    return found + [each for text in columns or [] for each in wanted_of(text, is_column=True)]


def _ends(text: str) -> tuple[float | None, float | None]:
    """Return the ends of x that are asked for, None for one that isn't."""
    if not text:
        return None, None
    from eostui.text import parse_number

    parts = text.split(":")
    if len(parts) != 2:
        raise InputError(f"--x is {text}, but must be FROM:TO, such as 500:900, 500: or :900")
    try:
        left, right = (parse_number(part) if part.strip() else None for part in parts)
    except InputError as error:
        raise InputError(f"--x is {text}: {error}") from None
    if left is not None and right is not None and not left < right:
        raise InputError(f"--x is {text}, but must rise from its first number to its second")
    return left, right


def _one(
    folder: Path,
    runs: list[str] | None,
    wanted: list[Wanted],
    x_range: tuple[float | None, float | None],
    *,
    flow_time: bool,
) -> Picture:
    from eostui.figures.one_run import picture_of_run
    from eostui.panels.view import RunView
    from eostui.runs import shelf
    from eostui.runs.run import Run

    entry = shelf.find(folder, runs[0] if runs else None)
    with Run(entry.path) as run:
        view = RunView(run, run.state)
        _tell_live(run.path.name, run.state, run.last_step)
        if flow_time:
            view.toggle_axis()
        return picture_of_run(view, wanted, x_range)


def _several(
    folder: Path,
    runs: list[str] | None,
    filter: str,
    group: str,
    baseline: str | None,
    wanted: list[Wanted],
    x_range: tuple[float | None, float | None],
    *,
    axis: str,
    over_seeds: bool,
    difference: bool,
) -> Picture:
    from eostui.cli.comparison import chosen, read_all
    from eostui.figures.several_runs import columns_of, picture_of_comparison, usual_panels
    from eostui.panels.compare.view import AXES

    view, _ = chosen(folder, runs or [], filter, group, baseline)
    view.unicode = True
    view.show(axis=AXES[AXIS_WORDS.index(axis)], grouped=over_seeds, differing=difference)
    view.need(columns_of(wanted or usual_panels()))
    read_all(view)
    for entry in view.entries:
        _tell_live(entry.id, entry.state, entry.last_step)
    return picture_of_comparison(view, wanted, x_range)
