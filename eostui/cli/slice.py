"""`slice`: loss and sharpness of a run along a direction at a step, over steps, or over a plane."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from eostui.cli.options import AsciiOnly, AsJson, DataDir, Height, RunName, RunsDir, Trust, Width
from eostui.cli.output import print_json, print_table
from eostui.cli.progress import ProgressBar
from eostui.cli.streams import sayable
from eostui.errors import InputError, did_you_mean, printable
from eostui.slices import DIRECTIONS, UNITS, Extent

if TYPE_CHECKING:
    from eostui.engine.slicing import Slicer
    from eostui.runs.run import Run
    from eostui.runs.shelf import Entry
    from eostui.slices import Plane, Slice

Found = TypeVar("Found")

#: Points along each axis where none are asked for: of a slice, of a plane.
_POINTS, _OF_PLANE = 41, 21
#: Units each way, and steps of the path on a plane.
_REACH, _PATH = 2.0, 20
#: Rows of the terminal that charts side by side take where none are asked for, and the axis below all.
_ROWS, _AXIS = 12, 3
#: Slices that a figure can show below each other.
_MOST_IN_FIGURE = 24


def slice_(
    run: RunName = None,
    at: Annotated[
        str,
        typer.Option(
            metavar="STEP[,STEP…]|A:B[:STRIDE]",
            help="At which steps: 152, 140,146,152 or 140:164:4, both ends among them; -1 is the newest.",
        ),
    ] = "-1",
    along: Annotated[
        str,
        typer.Option(
            metavar="|".join(DIRECTIONS) + ",…",
            help="Directions: −∇L, u (the eigenvector of S), ∇S.",
        ),
    ] = ",".join(DIRECTIONS),
    reach: Annotated[
        float | None,
        typer.Option(
            help="How far each way, in units: 2 if left out. Of a plane: in half-extents of the path."
        ),
    ] = None,
    unit: Annotated[
        str,
        typer.Option(
            metavar="|".join(UNITS),
            help="Unit of --reach: the length of the step, the radius of the bounce, the longest of "
            "those of a series; or θ itself.",
        ),
    ] = UNITS[0],
    points: Annotated[
        int | None,
        typer.Option(
            help=f"Points along each axis: {_POINTS}, of a plane {_OF_PLANE} if left out."
        ),
    ] = None,
    no_sharpness: Annotated[
        bool, typer.Option("--no-sharpness", help="L alone, by forward passes: next to no cost.")
    ] = False,
    plane: Annotated[
        bool,
        typer.Option("--plane", help="L and S over the plane of u and ∇S, with the path before."),
    ] = False,
    path: Annotated[
        int | None, typer.Option(help="Steps before, projected on a plane: 20 if left out.")
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Logarithmic y axes.")] = False,
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="Write a figure: .pdf, .svg or .png."),
    ] = "",
    size: Annotated[
        str,
        typer.Option(metavar="single|double|slide|INCHES", help="Of the figure: 5 or 5x3.5."),
    ] = "double",
    csv: Annotated[str, typer.Option(help="Write a CSV file; - is stdout.")] = "",
    trust: Trust = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    width: Width = None,
    height: Height = None,
    _ascii: AsciiOnly = False,
    as_json: AsJson = False,
) -> None:
    """Cut through the landscape of a run: L and S along −∇L, u and ∇S at a step, or over a plane.

    stdout is a picture, with θ_{t−1} (○), θ_t (●), θ_{t+1} (◇) and 2/η on it, and a table; --json and
    --csv print data instead. Where θ_{t−1} and θ_{t+1} don't lie on the line they are projected on it,
    and the table tells how far off they are. Dotted is the quadratic of L at θ_t.

    Steps are taken once more from the checkpoint before, as a fork would: on a CPU the same to the bit.
    S at a point takes some tens of products; --no-sharpness leaves it out.

    Examples:

      eostui slice k3f9 --at 152 --along u

      eostui slice k3f9 --at 140:164:4 --along gradient -o hump.svg

      eostui slice k3f9 --at 152 --along u --reach 5 --unit bounce --csv - | head

      eostui slice k3f9 --at 152 --plane --path 30
    """
    for flag, cells in (("--width", width), ("--height", height)):
        if cells is not None and cells < 1:
            raise InputError(f"{flag} is {cells}, but must be at least 1")
    if csv:
        from eostui.runs.export import format_of

        format_of(csv, among=("csv",))
    if csv == "-" and as_json:
        raise InputError("--csv - and --json both want stdout: give --csv a file")
    names, extent = _directions(along), _extent(reach, unit, points, plane, not no_sharpness)
    if path is not None and not plane:
        raise InputError("--path is of a plane: say --plane too")
    if path is not None and path < 1:
        raise InputError(f"--path is {path}, but must be at least 1")
    target = _target(output, size)
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.run import Run
    from eostui.runs.trust import refuse_foreign_code

    entry = shelf.find(locations.runs_dir(runs_dir), run)
    planes: list[Plane] = []
    cuts: list[Slice] = []
    with Run(entry.path) as record:
        steps = _steps(at, entry.id, record.last_step)
        if plane and len(steps) > 1:
            raise InputError(f"--plane is of one step, and --at {at} is {len(steps)}")
        if target is not None and len(steps) * len(names) > _MOST_IN_FIGURE:
            raise InputError(
                f"a figure shows {_MOST_IN_FIGURE} slices at most, and these are "
                f"{len(steps) * len(names)}: take fewer steps, or --csv"
            )
        refuse_foreign_code(entry.config, entry.path, trusted=trust)
        folder = locations.data_dir(data_dir)
        if plane:
            planes = _cut(
                record, entry, folder, lambda s: [s.plane(steps[0], extent, path or _PATH)]
            )
        else:
            cuts = _cut(record, entry, folder, lambda s: list(s.slices(steps, names, extent)))
    all_found: list[Plane | Slice] = [*planes, *cuts]
    for remark in dict.fromkeys(each for found in all_found for each in found.remarks):
        print(f"eostui: {printable(remark)}", file=sys.stderr)
    if csv:
        _write_csv(csv, planes, cuts, entry.id)
    if target is not None:
        from eostui.figures.files import Sheet, write_figure
        from eostui.figures.slices import picture_of_plane, picture_of_slices

        command = _command(entry.id, at, along, extent, path, plane=plane, log=log)
        picture = (
            picture_of_plane(planes[0], entry.id, command)
            if plane
            else picture_of_slices(cuts, entry.id, command, log=log)
        )
        write_figure(picture, target, Sheet(size))
        print(f"figure in {target}", file=sys.stderr)
    if as_json:
        told = {"plane": planes[0].as_json()} if plane else {"slices": [c.as_json() for c in cuts]}
        print_json({"run": entry.id, "name": entry.name, **told})
    elif csv != "-" and target is None:
        _print_picture(planes, cuts, log=log, width=width, height=height)
        print_table(_rows(planes, cuts))


def _directions(text: str) -> list[str]:
    """Return the directions that are asked for, each once. Raises InputError."""
    names = [name.strip() for name in text.split(",")]
    symbols = {symbol: name for name, symbol in DIRECTIONS.items()}
    names = list(dict.fromkeys(symbols.get(name, name) for name in names))
    for name in names:
        if name not in DIRECTIONS:
            raise InputError(
                f'--along has "{name}", but must be of {", ".join(DIRECTIONS)}'
                f"{did_you_mean(name, DIRECTIONS)}"
            )
    return names


def _extent(
    reach: float | None, unit: str, points: int | None, plane: bool, sharpness: bool
) -> Extent:
    """Return how far a slice or a plane goes. Raises InputError."""
    reach = _REACH if reach is None else reach
    points = (_OF_PLANE if plane else _POINTS) if points is None else points
    if not (reach > 0 and math.isfinite(reach)):
        raise InputError(f"--reach is {reach:g}, but must be a number above 0")
    if unit not in UNITS:
        near = did_you_mean(unit, UNITS)
        raise InputError(f"--unit is {unit}, but must be one of {', '.join(UNITS)}{near}")
    if plane and unit != UNITS[0]:
        raise InputError("--unit is of slices: a plane reaches as far as the path, times --reach")
    if points < 3 or not (plane or points % 2):
        told = "at least 3" if plane else "an odd number from 3 on: θ_t is the one in the middle"
        raise InputError(f"--points is {points}, but must be {told}")
    return Extent(reach, unit, points, sharpness)


def _target(output: str, size: str) -> Path | None:
    """Return where a figure is written. Raises InputError if none can be written there."""
    if not output:
        return None
    from eostui import locations
    from eostui.figures.files import check_target, require_matplotlib
    from eostui.figures.style import size_of

    size_of(size)
    target = check_target(locations.expanded(Path(output)))
    require_matplotlib()
    return target


def _steps(text: str, run: str, last: int) -> list[int]:
    """Return the steps that are asked for, rising. Raises InputError."""
    if last < 0:
        raise InputError(f"{run} has no steps yet")
    steps: set[int] = set()
    for part in text.split(","):
        try:
            ends = [int(each) for each in part.split(":")]
        except ValueError:
            ends = []
        if not 1 <= len(ends) <= 3 or (len(ends) == 3 and ends[2] < 1):
            raise InputError(
                f'--at has "{part.strip()}", but must be steps, or a stretch of them with its stride: '
                "152, 140,146,152 or 140:164:4"
            )
        for end in ends[:2]:
            if not -last - 1 <= end <= last:
                raise InputError(f"{run} has no step {end}: it has steps 0 to {last}")
        first, *rest = (end if end >= 0 else last + 1 + end for end in ends[:2])
        until = rest[0] if rest else first
        if until < first:
            raise InputError(f'--at has "{part.strip()}", but must rise from its first step on')
        steps.update(range(first, until + 1, ends[2] if len(ends) == 3 else 1))
    return sorted(steps)


def _cut(
    record: Run, entry: Entry, data_dir: Path, cut: Callable[[Slicer], list[Found]]
) -> list[Found]:
    """Return what is cut, telling how far that is."""
    from eostui import locations

    locations.present_folder()
    name = entry.name or entry.id
    with ProgressBar("loading PyTorch") as bar:
        from eostui.engine.slicing import Slicer

        def say(text: str) -> None:
            bar.console.print(printable(text), style="dim", markup=False)

        def progress(text: str, done: int, total: int) -> None:
            bar(done, total, label=f"{name}: {text}")

        try:
            return cut(Slicer(record, entry.config, data_dir, say, progress))
        except InputError as error:
            raise InputError(f"{entry.id}: {error}") from None


def _command(
    run: str, at: str, along: str, extent: Extent, path: int | None, *, plane: bool, log: bool
) -> list[str]:
    """Return the words of the command that makes a figure again."""
    words = ["eostui", "slice", run, "--at", at]
    words += ["--plane"] if plane else ["--along", along, "--unit", extent.unit]
    words += ["--reach", f"{extent.reach:g}", "--points", str(extent.points)]
    words += ["--path", str(path)] if path is not None else []
    words += ["--no-sharpness"] if not extent.sharpness else []
    return [*words, *(["--log"] if log else [])]


def _write_csv(target: str, planes: Sequence[Plane], cuts: Sequence[Slice], run: str) -> None:
    """Write every point as a row."""
    import numpy as np

    from eostui.cli.tables import write_table
    from eostui.runs.store.columns import Column

    columns = [
        Column("step", "steps", "t, of the θ_t that the slice goes through"),
        Column("x", "θ", "distance from θ_t along the line; of a plane, along u"),
        Column("loss", "L", "L there"),
        Column("sharpness", "L/θ²", "S there; empty where it isn't finite or wasn't asked for"),
        Column("sharpness_residual", "1", "‖Hv − Sv‖/S of it"),
    ]
    values = ("x", "loss", "sharpness", "residual")
    all_found: list[Plane | Slice] = [*planes, *cuts]
    parts = {
        "step": [np.full(found.loss.size, found.step) for found in all_found],
        **{name: [getattr(cut, name) for cut in cuts] for name in values},
    }
    texts = {"along": [np.full(len(cut.x), cut.along, dtype=object) for cut in cuts]}
    columns.insert(1, Column("along", "", f"the direction: {', '.join(DIRECTIONS)}"))
    if planes:
        (plane,) = planes
        x, y = np.meshgrid(plane.x, plane.y)
        parts |= {"x": [x.ravel()], **{n: [getattr(plane, n).ravel()] for n in values[1:]}}
        texts = {"y": [y.ravel()]}
        columns[1:3] = [columns[2], Column("y", "θ", "distance along ∇S without its part along u")]
    table = {name: np.concatenate(found) for name, found in (parts | texts).items()}
    table["sharpness_residual"] = table.pop("residual")
    description = {"slice": {"run": run}}
    write_table(target, {each.name: table[each.name] for each in columns}, columns, description)


def _print_picture(
    planes: Sequence[Plane],
    cuts: Sequence[Slice],
    *,
    log: bool,
    width: int | None,
    height: int | None,
) -> None:
    """Print the charts, in the terminal's width; as high as they need where no height is given."""
    from eostui.cli.slice_pictures import of_plane, of_slices

    columns = width or shutil.get_terminal_size((120, 40)).columns
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if planes:
        of_plane(planes[0], width=columns, height=height or 2 * _ROWS, color=color)
        return
    drawn = of_slices(
        cuts, width=columns, height=height, rows=_ROWS, axis=_AXIS, log=log, color=color
    )
    print(sayable(drawn, cells=True))


def _rows(planes: Sequence[Plane], cuts: Sequence[Slice]) -> list[tuple[str, ...]]:
    """Return a table: of slices what there is at θ_t and how far S goes; of a plane its path."""
    if planes:
        titles = ("step", "along u", "along ∇S⊥", "off the plane", "L", "S")
        return [titles, *(
            (
                str(place.step), f"{place.x:.3g}", f"{place.y:.3g}", f"{place.off:.3g}",
                _number(place.loss), _number(place.sharpness),
            )
            for place in planes[0].places
        )]  # fmt: skip
    rows: list[tuple[str, ...]] = [
        ("step", "along", "L", "dL/dx", "d²L/dx²", "S", "S from", "to", "threshold", "x of t−1",
         "off", "x of t+1", "off")
    ]  # fmt: skip
    for cut in cuts:
        middle, known = len(cut.x) // 2, [each for each in cut.sharpness if math.isfinite(each)]
        places = {place.step - cut.step: place for place in cut.places}
        beside = [places.get(offset) for offset in (-1, 1)]
        far = [(place.x, place.off) if place else (math.nan, math.nan) for place in beside]
        rows.append(
            (
                str(cut.step), DIRECTIONS[cut.along], f"{cut.loss[middle]:.4g}", f"{cut.slope:.3g}",
                f"{cut.curvature:.4g}", _number(cut.sharpness[middle]),
                _number(min(known, default=math.nan)), _number(max(known, default=math.nan)),
                _number(next(iter(cut.thresholds.values()), math.nan)),
                *(_number(each, 3) for pair in far for each in pair),
            )
        )  # fmt: skip
    return rows


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else "—"
