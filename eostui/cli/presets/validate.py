"""`presets validate`: whether presets are right."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eostui.errors import printable


def validate(
    names: Annotated[list[str], typer.Argument(metavar="PRESET...", help="Names or paths.")],
) -> None:
    """Check presets, those of sweeps too; a sentence for the first that is wrong, and exit code 2."""
    from eostui import presets as found
    from eostui.sweeps import presets as sweeps

    for name in names:
        if sweeps.is_meant(name):
            sweep = sweeps.load(name)
            members = sweep.plan().count
            print(printable(f"{sweep.path}: valid, {members} members"), file=sys.stderr)
        else:
            print(printable(f"{found.load(name).path}: valid"), file=sys.stderr)
