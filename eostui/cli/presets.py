"""`presets`: list, show and validate them, and save a run as one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from eostui.cli.options import AsJson, GivenRun, PresetName, RunsDir
from eostui.cli.output import print_json, print_presets
from eostui.errors import printable

presets = typer.Typer(
    help="List, show and validate presets; save a run as one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@presets.command("list")
def list_presets(as_json: AsJson = False) -> None:
    """List all presets: shipped, and your own in the settings folder."""
    from eostui import presets as found

    print_presets(found.available(), found.load, as_json)


@presets.command()
def show(preset: PresetName, as_json: AsJson = False) -> None:
    """Print a preset's file, or with --json all its settings."""
    from eostui import presets as found
    from eostui.config import read_text

    loaded = found.load(preset)
    if as_json:
        print_json(loaded.config.acting(mode="json"))
    else:
        text = read_text(loaded.path, f"preset {loaded.path}")
        print("".join(c if c in "\n\t" else printable(c) for c in text), end="")


@presets.command()
def validate(
    names: Annotated[list[str], typer.Argument(metavar="PRESET...", help="Names or paths.")],
) -> None:
    """Check presets; a sentence for the first that is wrong, and exit code 2."""
    from eostui import presets as found

    for name in names:
        print(printable(f"{found.load(name).path}: valid"), file=sys.stderr)


@presets.command()
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
    if ":" in entry.config.problem:
        told = f"it runs the code of {entry.config.problem}"
        print(f"note: {printable(told)}", file=sys.stderr)
    print(path)
