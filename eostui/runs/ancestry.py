"""Of which run another is a fork."""

from __future__ import annotations

from pathlib import Path

from eostui.runs.run import Run
from eostui.runs.store.schema import DATABASE


def forked_at(run: Run) -> tuple[str, int] | None:
    """Return the id of the run that this one was forked from and the step; None if it wasn't."""
    try:
        step = int(run.facts.get("parent_step", ""))
    except ValueError:
        return None
    parent = run.facts.get("parent", "")
    return (parent, step) if parent and step >= 0 else None


def parent_path(run: Run) -> Path | None:
    """Return the directory of a fork's parent, beside its own; None if there is none any more."""
    fork = forked_at(run)
    if fork is None or fork[0] != Path(fork[0]).name:  # an id, never a path out of the shelf
        return None
    path = run.path.parent / fork[0]
    return path if (path / DATABASE).is_file() else None
