"""eostui: a laboratory for the edge of stability that lives in a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eostui.runs.run import Run

__version__ = "0.4.0"

__all__ = ["__version__", "open_run"]


def open_run(path: Path | str) -> Run:
    """Open a run directory for reading, live or ended, without loading torch.

    Example:
        >>> run = eostui.open_run("runs/digits-mlp-k3f9")  # doctest: +SKIP
        >>> run.steps["loss"], run.measured["sharpness"]  # numpy arrays  # doctest: +SKIP

    Raises:
        InputError: if `path` isn't a run directory.
        RunFormatError: if it is damaged, or of a newer format than this version's.
    """
    from eostui.runs.run import Run

    return Run(path)
