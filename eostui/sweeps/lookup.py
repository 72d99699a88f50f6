"""How a sweep is found by what somebody calls it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eostui.errors import InputError, did_you_mean
from eostui.locations import absolute
from eostui.runs.shelf import NoSuchRunError, exact_path, find_path
from eostui.sweeps.shelf import is_sweep, name_of, names_of_sweeps, sweeps_of


def find_sweep(runs_dir: Path, wanted: str) -> Path | None:
    """Return the sweep that `wanted` names: a path, an id, a name, or the end of an id; None for none.

    Raises:
        InputError: if it could be several.
    """
    found = found_sweeps(runs_dir, wanted)
    if len(found) > 1:
        raise _could_be(wanted, found)
    return found[0] if found else None


def found_sweeps(runs_dir: Path, wanted: str) -> list[Path]:
    """Return the sweeps that `wanted` could name: that of its path or id alone, else all of that name,
    or with that end of an id."""
    if (path := _exact(runs_dir, wanted)) is not None:
        return [path]
    return [
        path
        for path in sweeps_of(runs_dir)
        if wanted and (path.name.endswith(wanted) or name_of(path) == wanted)
    ]


def sweep_named(runs_dir: Path, wanted: str) -> Path | None:
    """Return the sweep that `wanted` names, as `find_sweep` does; None where it names a run.

    Raises:
        InputError: if there is neither, or it could be several, runs among them.
    """
    path = _exact(runs_dir, wanted)
    if path is not None or not wanted or exact_path(runs_dir, wanted) is not None:
        return path
    path = find_sweep(runs_dir, wanted)
    try:
        run = find_path(runs_dir, wanted)
    except NoSuchRunError as error:
        if path is not None:
            return path
        names = [*error.names, *names_of_sweeps(runs_dir)]
        raise NoSuchRunError("run or sweep", wanted, runs_dir, names, error.unread) from None
    if path is not None:
        raise _could_be(wanted, [path, run])
    return None


def no_such_sweep(runs_dir: Path, wanted: str) -> InputError:
    """Return the error that there is no sweep of that name."""
    near = did_you_mean(wanted, names_of_sweeps(runs_dir))
    return InputError(f"there is no sweep `{wanted}` in {runs_dir}{near}")


def _exact(runs_dir: Path, wanted: str) -> Path | None:
    """Return the sweep that `wanted` is the path of, or the id; None for none."""
    for path in (Path(wanted), runs_dir / wanted) if wanted else ():
        if is_sweep(path):
            return absolute(path)
    return None


def _could_be(wanted: str, paths: Sequence[Path]) -> InputError:
    return InputError(f"`{wanted}` could be {', '.join(p.name for p in paths)}: type more of it")
