"""`presets`: list, show and validate them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eostui.cli.options import AsJson, PresetName
from eostui.cli.output import print_json
from eostui.errors import InputError

presets = typer.Typer(
    help="List, show and validate presets.", no_args_is_help=True, rich_markup_mode=None
)


@presets.command("list")
def list_presets(as_json: AsJson = False) -> None:
    """List all presets: shipped, and your own in the settings folder."""
    from eostui import presets as found

    loaded = []
    for name in found.available():
        try:
            loaded.append(found.load(name))
        except InputError as error:  # one broken file of the user's must not hide the others
            print(f"eostui: {error}", file=sys.stderr)
    if as_json:
        rows = [{"name": p.name, "path": str(p.path), "summary": p.summary} for p in loaded]
        print_json(rows)
        return
    width = max((len(preset.name) for preset in loaded), default=0)
    for preset in loaded:
        print(f"{preset.name:<{width}}  {preset.summary}")


@presets.command()
def show(preset: PresetName, as_json: AsJson = False) -> None:
    """Print a preset's file, or with --json all its settings."""
    from eostui import presets as found

    loaded = found.load(preset)
    if as_json:
        print_json(loaded.config.acting(mode="json"))
    else:
        print(loaded.path.read_text(encoding="utf-8"), end="")


@presets.command()
def validate(
    names: Annotated[list[str], typer.Argument(metavar="PRESET...", help="Names or paths.")],
) -> None:
    """Check presets; a sentence for the first that is wrong, and exit code 2."""
    from eostui import presets as found

    for name in names:
        print(f"{found.load(name).path}: valid", file=sys.stderr)
