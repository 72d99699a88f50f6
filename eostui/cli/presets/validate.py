"""`presets validate`: whether presets are right."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eostui.errors import printable


def validate(
    names: Annotated[list[str], typer.Argument(metavar="PRESET...", help="Names or paths.")],
) -> None:
    """Check presets; a sentence for the first that is wrong, and exit code 2."""
    from eostui import presets as found

    for name in names:
        print(printable(f"{found.load(name).path}: valid"), file=sys.stderr)
