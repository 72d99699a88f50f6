"""eostui: a laboratory for the edge of stability that lives in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eostui.version import __version__

if TYPE_CHECKING:
    from eostui.notebook import OpenRun, Runs

__all__ = ["__version__", "open_run", "open_runs"]


def open_run(
    run: Path | str | None = None,
    *,
    runs_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
    trust_code: bool = False,
) -> OpenRun:
    """Open a run for reading, live or ended. PyTorch is loaded only if its model is asked for.

    Example:
        >>> run = eostui.open_run("baseline")  # doctest: +SKIP
        >>> run["loss"], run["sharpness"]  # numpy arrays, a value a step  # doctest: +SKIP
        >>> model = run.module(4000)  # the network as it was at step 4000  # doctest: +SKIP

    Args:
        run: a path, an id, the end of it, or a name; the newest if left out.
        runs_dir: the shelf on which it is looked for: else EOSTUI_RUNS, else the usual one.
        data_dir: where the data sets are: else EOSTUI_DATA, else the usual place.
        trust_code: whether to execute the files of a user's own that its record, or that of the run it
            was forked from, names, if its model is asked for.

    Raises:
        InputError: if there is no such run, or more than one.
        RunFormatError: if it is damaged, or of a newer format than this version's.
    """
    from eostui import notebook

    return notebook.open_run(run, runs_dir=runs_dir, data_dir=data_dir, trust_code=trust_code)


def open_runs(
    filter: str = "",
    *,
    runs_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
    trust_code: bool = False,
) -> Runs:
    """Return the runs of a shelf that pass a filter, oldest first: a sequence, and one tidy frame.

    Example:
        >>> runs = eostui.open_runs("preset:digits* weight_decay>0")  # doctest: +SKIP
        >>> frame = runs.frame(["loss", "sharpness"])  # pandas  # doctest: +SKIP

    Args:
        filter: as of `eostui runs list --filter`; all if left out.
        runs_dir, data_dir, trust_code: as in `open_run`.

    Raises:
        InputError: if the filter can't be understood, or the shelf can't be listed.
    """
    from eostui import notebook

    return notebook.open_runs(filter, runs_dir=runs_dir, data_dir=data_dir, trust_code=trust_code)
