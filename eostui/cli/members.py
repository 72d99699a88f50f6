"""A sweep's name where a command takes runs: it means the runs of its members."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eostui.errors import InputError, printable


class Named(NamedTuple):
    """Runs that a command line names.

    Attributes:
        runs: each as `shelf.find` takes it.
        sweep: the id of the sweep that they are, "" if more than one sweep is named.
    """

    runs: list[str]
    sweep: str = ""


def with_members(folder: Path, names: Sequence[str] | None) -> Named:
    """Return the runs that are named, in place of a sweep's name its members that began.

    Those that didn't are told on stderr.

    Args:
        folder: the shelf.
        names: each of a run or of a sweep.

    Raises:
        InputError: if a name could be several sweeps, or none of a sweep's members began.
    """
    from eostui.sweeps.lookup import sweep_named

    runs: list[str] = []
    sweep = ""
    for name in names or ():
        path = sweep_named(folder, name)
        if path is None:
            runs.append(name)
        else:
            runs += map(str, _members(path))
            sweep = path.name
    return Named(list(dict.fromkeys(runs)), sweep if len(names or ()) == 1 else "")


def _members(path: Path) -> list[Path]:
    from eostui.runs.shelf_index import is_run
    from eostui.sweeps.sweep import Sweep

    planned = Sweep(path).run_paths
    begun = [each for each in planned if is_run(each)]
    if not begun:
        raise InputError(
            f"none of the {len(planned)} members of sweep {path.name} has begun: "
            f"`eostui resume {path.name}` begins them"
        )
    if len(begun) < len(planned):
        lacking = len(planned) - len(begun)
        what = f"{lacking} of the {len(planned)} members of sweep {path.name} haven't begun"
        print(printable(f"eostui: {what}: the others are meant"), file=sys.stderr)
    return begun
