"""`experiments validate`: whether the files of experiments are right."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from eostui.errors import printable


def validate_experiments(
    names: Annotated[list[str], typer.Argument(metavar="EXPERIMENT...", help="Names or paths.")],
) -> None:
    """Check experiments; a sentence for the first that is wrong, and exit code 2."""
    from eostui.experiments.experiment import load

    for name in names:
        found = load(name)
        members, criteria = found.plan().count, len(found.definition.criteria)
        told = f"{found.path}: valid, {members} members, {criteria} criteria"
        print(printable(told), file=sys.stderr)
