"""`presets settings`: what can be set, and what it means."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from eostui.cli.options import AsJson
from eostui.cli.output import print_json

if TYPE_CHECKING:
    from eostui.settings import Setting

#: Columns of a line, as every terminal has them.
_WIDTH = 80


def _complete(incomplete: str) -> list[str]:
    from eostui.settings import settings

    names = dict.fromkeys(each.name for each in settings())
    return [name for name in names if name.startswith(incomplete)]


def explain(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A setting, or a toy problem; all if left out.", autocompletion=_complete
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what can be set in a preset or by `--set`: type, default, bounds or choices, meaning.

    Arguments of toy problems come last; they stand in a preset's `problem_arguments`.

    Examples:

      eostui presets settings eigenvalues

      eostui presets settings deep-linear
    """
    from eostui import settings

    found = settings.settings() if name is None else settings.find(name)
    if as_json:
        print_json([dataclasses.asdict(each) for each in found])
        return
    print("\n".join(line for each in found for line in _lines(each)))


def _lines(setting: Setting) -> list[str]:
    from eostui.settings import shown

    named = f"{setting.toy}: {setting.name}" if setting.toy else setting.name
    head = f"{named} = {shown(setting.default)}   ({setting.type})"
    return [
        *textwrap.wrap(head, _WIDTH, subsequent_indent="        ", break_on_hyphens=False),
        *textwrap.wrap(
            setting.description, _WIDTH, initial_indent="    ", subsequent_indent="    "
        ),
    ]
