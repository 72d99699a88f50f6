"""`presets save`: a run becomes a preset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from eostui.cli.options import GivenRun, RunsDir
from eostui.errors import printable


def save(
    run: GivenRun,
    name: Annotated[str, typer.Argument(help="The preset's name.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Its file; in your presets' folder if left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a preset of this name.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Save a run, live or ended, as a preset that repeats it: its settings, and each change of η and λ.

    The changes stand as `[[controls]]` with their steps. On the same machine's CPU the new run's rows are
    the same bit for bit.

    Examples:

      eostui presets save k3f9 decay-late && eostui run decay-late

      eostui presets save baseline steered --to ./steered.toml
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.run import Run
    from eostui.runs.save_preset import save_preset

    entry = shelf.find(locations.runs_dir(runs_dir), run)
    target = locations.expanded(to) if to else None
    with Run(entry.path) as opened:
        path = save_preset(opened, name, target, force=force)
    if own := entry.config.own_code():
        told = f"it runs the code of {', '.join(own)}"
        print(f"note: {printable(told)}", file=sys.stderr)
    print(path)
