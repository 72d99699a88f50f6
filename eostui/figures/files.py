"""Writes figures: PDF, SVG or PNG, the same bytes whenever the same is written, and their data as CSV."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shlex
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eostui.errors import InputError, did_you_mean
from eostui.figures.draw import draw
from eostui.figures.picture import Picture
from eostui.figures.style import size_of, styled
from eostui.figures.thinning import thinned
from eostui.runs.export import export_columns
from eostui.runs.export.files import replacing
from eostui.version import __version__

ENDINGS = (".pdf", ".svg", ".png")
#: Columns of pixels for which the data are thinned, as a figure is that fills a page.
_COLUMNS = 2000
#: Points of a chart's curves in a page that has many charts.
_FEW_POINTS = 4000
#: A number with more than two decimals, which are a hundredth of a point.
_DIGITS = re.compile(r"(\d\.\d\d)\d+")
#: matplotlib's settings are those of a process: one figure is drawn at a time.
_ONE_AT_A_TIME = threading.Lock()
_INSTALL = "figures need matplotlib: python -m pip install 'eostui[figures]'"


@dataclass(frozen=True)
class Sheet:
    """How a figure is written.

    Attributes:
        size: as `style.size_of` takes it.
        style: a style file of matplotlib's on top of the house's, or None.
    """

    size: str = "single"
    style: Path | None = None

    def command(self, picture: Picture) -> str:
        """Return the command that makes a figure again, in this size and style."""
        size = ("--size", self.size) if self.size != Sheet.size else ()
        style = ("--style", self.style.name) if self.style is not None else ()
        return shlex.join([*picture.command, *size, *style])


def check_target(target: Path) -> Path:
    """Return where a figure is written to.

    Raises:
        InputError: if its ending is none of a figure's.
    """
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        near = did_you_mean(ending, ENDINGS) if ending else ""
        raise InputError(f"{target}: no figure is written under such a name: "
                         f"end it in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}{near}")  # fmt: skip
    return target


def require_matplotlib() -> None:
    """Raise InputError if matplotlib, which an extra brings, isn't installed; it isn't loaded yet."""
    try:
        found = importlib.util.find_spec("matplotlib")
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise InputError(_INSTALL)


def write_figure(picture: Picture, target: Path, sheet: Sheet) -> None:
    """Write a figure; what was there is replaced when it is whole.

    Raises:
        InputError: if it can't be written there, matplotlib isn't installed, or the style isn't one.
    """
    ending = check_target(target).suffix.lower()[1:]
    width, height = size_of(sheet.size)
    require_matplotlib()
    with _ONE_AT_A_TIME, _quiet(), styled(width, sheet.style), replacing(target) as (aside,):
        figure = draw(picture, width, height)
        figure.savefig(aside, format=ending, metadata=_metadata(picture, ending, sheet))


def svg_text(picture: Picture) -> str:
    """Return a figure as SVG in few bytes, for a page that has many: its letters stay text.

    The same picture is the same text. It is a column wide, and its curves have as many points as are
    told apart on a screen.

    Raises:
        InputError: if matplotlib isn't installed.
    """
    width, height = size_of(Sheet.size)
    require_matplotlib()
    with _ONE_AT_A_TIME, _quiet(), styled(width), io.StringIO() as text:
        import matplotlib as mpl

        mpl.rcParams["svg.fonttype"] = "none"
        figure = draw(picture, width, height, _FEW_POINTS)
        figure.savefig(text, format="svg", metadata=_metadata(picture, "svg", Sheet()))
        written = text.getvalue()
    # its head names a document type on another machine, which no page needs
    written = written[written.index("<svg") :]
    return re.sub(r' d="[^"]*"', lambda path: _DIGITS.sub(r"\1", path[0]), written)


def write_data(picture: Picture, target: Path, sheet: Sheet) -> tuple[Path, int]:
    """Write what a figure is drawn from as CSV, with a JSON file beside it that explains its columns.

    Long curves have the points that are seen on 2000 columns of pixels: whatever draws them draws the
    same. An export has every step.

    Returns:
        The path of the JSON file and the row count.

    Raises:
        InputError: if the files can't be written there.
    """
    parts: dict[str, list[Any]] = {
        name: [] for name in ("panel", "curve", "runs", "x", "y", "error")
    }
    for subplot in picture.subplots:
        for points in subplot.data:
            left, right = subplot.own_x or picture.x_range
            rows = np.arange(len(points.x))
            if subplot.own_x is None:
                rows = thinned(points.x, points.y, left, right, _COLUMNS)
            texts = (("panel", subplot.name), ("curve", points.curve), ("runs", points.runs))
            for name, text in texts:
                parts[name].append(np.full(len(rows), text, dtype=object))
            parts["x"].append(np.asarray(points.x, dtype=np.float64)[rows])
            parts["y"].append(np.asarray(points.y, dtype=np.float64)[rows])
            error = np.full(len(points.x), np.nan) if points.error is None else points.error
            parts["error"].append(np.asarray(error, dtype=np.float64)[rows])
    columns = {
        name: np.concatenate(values) if values else np.empty(0) for name, values in parts.items()
    }
    return export_columns(columns, target, _description(picture, sheet.command(picture)))


def _description(picture: Picture, command: str) -> dict[str, Any]:
    counts = {subplot.name: subplot.chart.counts for subplot in picture.subplots}
    said = {
        "panel": "the chart: a panel or a column of the runs",
        "curve": "what is drawn in it",
        "runs": "id of the run; several where it is their mean, or a point of each",
        "x": f"position on the x axis: {', '.join(f'{n}: {c}' for n, c in counts.items())}",
        "y": "value",
        "error": "standard error of a reading at rest; empty where there is none",
    }
    return {
        "figure": {"command": command, "version": __version__, "runs": list(picture.runs)},
        "columns": {name: {"unit": "", "description": text} for name, text in said.items()},
    }


def _metadata(picture: Picture, ending: str, sheet: Sheet) -> dict[str, Any]:
    """Return what a file says of itself. It has no date unless SOURCE_DATE_EPOCH gives one: the same
    figure is the same file."""
    program, command = f"eostui {__version__}", sheet.command(picture)
    runs = list(picture.runs)
    title = "eostui: " + ", ".join(subplot.name for subplot in picture.subplots)
    if ending == "png":
        return {"Title": title, "Software": program, "Comment": command, "Source": " ".join(runs)}
    dated = "SOURCE_DATE_EPOCH" in os.environ
    if ending == "svg":
        dates = {} if dated else {"Date": None}
        return {
            "Title": title,
            "Creator": program,
            "Description": command,
            "Keywords": runs,
            **dates,
        }
    dates = {} if dated else {"CreationDate": None}
    keywords = " ".join(runs)
    return {"Title": title, "Creator": program, "Subject": command, "Keywords": keywords, **dates}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what matplotlib says of letters that no font here has: a box stands for them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        yield
