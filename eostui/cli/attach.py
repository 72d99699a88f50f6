"""`attach`: a run is shown, live or ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from eostui.cli.options import AsciiOnly, Fps, LiveRunName, NoStandby, RunsDir, Theme
from eostui.cli.start import show
from eostui.errors import InputError

if TYPE_CHECKING:
    from eostui.runs.shelf import Entry


def attach(
    run: LiveRunName = None,
    runs_dir: RunsDir = None,
    fps: Fps = None,
    no_standby: NoStandby = False,
    theme: Theme = None,
    _ascii: AsciiOnly = False,
) -> None:
    """Show a run or a sweep, live or ended: the one named, else the newest live run, else the newest.

    The whole history is shown; a live run goes on being steered with the same keys, by several viewers at
    once too. A fork is shown with its parent's curves under its own. A sweep's members are compared as
    they come in, above their states and a map of two settings.
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.sweeps.lookup import sweep_named

    folder = locations.runs_dir(runs_dir)
    if run is not None and (path := sweep_named(folder, run)) is not None:
        from eostui.sweeps.sweep import Sweep

        show(Sweep(path), runs_dir, None, fps=fps, standby=not no_standby, theme=theme)
        return
    entry = shelf.find(folder, run) if run is not None else _newest(folder)
    show(entry.path, runs_dir, None, fps=fps, standby=not no_standby, theme=theme)


def _newest(folder: Path) -> Entry:
    """Return the newest live run, without one the newest. Raises InputError if there is none."""
    from eostui.runs import shelf

    found = shelf.newest(folder, live=True) or shelf.newest(folder)
    if found is None:
        raise InputError(f"there is no run in {folder}; `eostui` starts one")
    return found
