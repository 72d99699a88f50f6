"""`simulate`: the reduced oscillator by itself, one orbit or a grid of them."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eostui.cli.options import AsciiOnly, AsJson, Height, Number, Theme, Width
from eostui.cli.output import print_json, print_presets
from eostui.cli.progress import ProgressBar
from eostui.cli.start import show
from eostui.cli.streams import sayable
from eostui.cli.tables import write_table
from eostui.errors import EXIT_DIVERGED, InputError

if TYPE_CHECKING:
    from eostui.oscillator.parameters import FloatArray
    from eostui.oscillator_presets import Simulation


def _complete(incomplete: str) -> list[str]:
    from eostui import oscillator_presets

    return [name for name in oscillator_presets.available() if name.startswith(incomplete)]


def simulate(
    preset: Annotated[
        str,
        typer.Argument(help="An oscillator preset's name, or a path.", autocompletion=_complete),
    ] = "oscillator-damped",
    eta: Annotated[Number, typer.Option(help="Learning rate η.")] = None,
    weight_decay: Annotated[Number, typer.Option(help="Weight decay λ.")] = None,
    alpha: Annotated[Number, typer.Option(help="α = βα/β, such as 2/3e4.")] = None,
    beta: Annotated[Number, typer.Option(help="β = ‖∇S‖².")] = None,
    g: Annotated[Number, typer.Option(help="g = ⟨θ*, ∇S⟩.")] = None,
    g_x: Annotated[Number, typer.Option(help="g_x = ⟨θ*, u⟩.")] = None,
    gradient_u: Annotated[Number, typer.Option(help="⟨∇L(θ*), u⟩.")] = None,
    sharpness: Annotated[Number, typer.Option(help="S* at θ*; 2/η if left out.")] = None,
    x: Annotated[Number, typer.Option(help="x at step 0.")] = None,
    y: Annotated[Number, typer.Option(help="y = S − 2/η at step 0.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of the map.")] = None,
    grid: Annotated[
        str, typer.Option(help="NAME=LOW:HIGH:COUNT[:log], one or two, with a comma between.")
    ] = "",
    csv: Annotated[str, typer.Option(help="Write a CSV file; - is stdout.")] = "",
    live: Annotated[
        bool, typer.Option("--live", help="Open the oscillator screen; keys change the settings.")
    ] = False,
    theme: Theme = None,
    _ascii: AsciiOnly = False,
    list_presets: Annotated[
        bool, typer.Option("--list", help="List the oscillator presets, and do no more.")
    ] = False,
    width: Width = None,
    height: Height = None,
    as_json: AsJson = False,
) -> None:
    """Iterate the reduced oscillator of the edge of stability, beside what theory says of it.

    stdout is a picture and a table: the paper's leading order, the exact answer, this orbit's own. With
    --grid it is a map of where each point ends. --json and --csv print data instead; a CSV file gets a
    JSON file beside it that explains the columns. The exit code is 3 if the orbit escaped.

    Examples:

      eostui simulate oscillator-gx --live

      eostui simulate --weight-decay 0 --steps 20000 --csv - | head

      eostui simulate --grid lambda=0:2:100,g=0:5:100 --csv map.csv
    """
    from eostui import oscillator_presets
    from eostui.text import parse_number

    if list_presets:
        _list(as_json)
        return
    for flag, cells in (("--width", width), ("--height", height)):
        if cells is not None and cells < 1:
            raise InputError(f"{flag} is {cells}, but must be at least 1")
    if csv:
        from eostui.runs.export import format_of

        format_of(csv, among=("csv",))
    if csv == "-" and as_json:
        raise InputError("--csv - and --json both want stdout: give --csv a file")
    numbers = {
        "eta": eta, "weight_decay": weight_decay, "alpha": alpha, "beta": beta, "g": g, "g_x": g_x,
        "gradient_u": gradient_u, "sharpness": sharpness, "x": x, "y": y,
    }  # fmt: skip
    values: dict[str, Any] = {k: parse_number(v) for k, v in numbers.items() if v is not None}
    values |= {} if steps is None else {"steps": steps}
    found = oscillator_presets.load(preset)
    simulation = found.simulation.changed(values)
    if live:
        if grid or csv or as_json:
            raise InputError("--live is a screen: leave out --grid, --csv and --json")
        show(replace(found, simulation=simulation), None, None, theme=theme)
    size = shutil.get_terminal_size((120, 40))
    room = width or size.columns, height or size.lines - 1
    if grid:
        _survey(simulation, grid, csv, as_json, room)
    else:
        _orbit(simulation, csv, as_json, room)


def _list(as_json: bool) -> None:
    """Print the presets, as `presets list` does."""
    from eostui import oscillator_presets

    print_presets(oscillator_presets.available(), oscillator_presets.load, as_json)


def _orbit(simulation: Simulation, csv: str, as_json: bool, room: tuple[int, int]) -> None:
    """Iterate one orbit and hand it out; exit with 3 if it escaped."""
    from eostui.cli.oscillator_pictures import picture
    from eostui.cli.oscillator_tables import ORBIT_COLUMNS, orbit_table, summary_lines
    from eostui.oscillator import simulate as iterate
    from eostui.oscillator.summary import summarize

    with ProgressBar("steps of the map") as report:
        orbit = iterate(simulation.parameters, simulation.start, simulation.steps, progress=report)
    with ProgressBar("theory and stages"):
        summary = {"settings": simulation.settings(), **summarize(orbit)}
        table = orbit_table(orbit) if csv else {}
    if csv:
        write_table(csv, table, ORBIT_COLUMNS, summary)
    if as_json:
        print_json(summary)
    elif not csv:
        lines = summary_lines(summary)
        color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        with ProgressBar("drawing"):
            drawn = picture(orbit, width=room[0], height=room[1] - len(lines), color=color)
        print(sayable(drawn, cells=True))
        print("\n".join(sayable(line, cells=True)[: room[0]] for line in lines))
    if orbit.escape_step is not None:
        print(f"the orbit escaped at step {orbit.escape_step}; {len(orbit.x)} steps before it are kept",
              file=sys.stderr)  # fmt: skip
        raise typer.Exit(EXIT_DIVERGED)


def _survey(
    simulation: Simulation, grid: str, csv: str, as_json: bool, room: tuple[int, int]
) -> None:
    """Iterate a grid and hand it out."""
    import numpy as np

    from eostui.cli.grid_axes import parse_grid
    from eostui.cli.oscillator_pictures import regime_map
    from eostui.cli.oscillator_tables import GRID_COLUMNS, grid_table
    from eostui.oscillator import Parameters, survey
    from eostui.runs.store.columns import Column

    axes = parse_grid(grid)
    # the first axis runs along rows, so that it is the one drawn to the right
    swept: dict[str, FloatArray] = dict(zip(axes, np.meshgrid(*axes.values()), strict=True))
    if len(axes) == 1:
        swept = dict(axes)
    values = simulation.settings() | swept
    try:
        parameters = Parameters(**{k: values[k] for k in Parameters.paper_names() if k in values})
    except InputError as error:
        raise InputError(f"--grid {grid}: {error}") from None
    start = values["x"], values["y"] - parameters.offset
    with ProgressBar("steps of all points") as report:
        found = survey(parameters, start, simulation.steps, progress=report)
    table = grid_table(swept, parameters, found)
    settings = {k: v for k, v in simulation.settings().items() if k not in axes}
    if csv:
        columns = (*(Column(name, "", "swept") for name in axes), *GRID_COLUMNS)
        write_table(csv, table, columns, {"settings": settings, "grid": grid})
    if as_json:
        print_json({"settings": settings, "grid": grid,
                    "points": {name: column.tolist() for name, column in table.items()}})  # fmt: skip
    elif not csv:
        from rich.console import Console

        Console(width=max(room[0], 20)).print(
            regime_map(axes, found, width=room[0], height=room[1])
        )
