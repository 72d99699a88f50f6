"""`runs list`: what is on the shelf."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eostui.charts.numbers import age
from eostui.cli.options import AsJson, RunFilter, RunsDir
from eostui.cli.output import (
    own_probes,
    print_json,
    print_table,
    readable,
    unusual_dynamics,
)
from eostui.errors import EostuiError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from eostui.runs.shelf import Entry

#: Before a run's id: what its state comes to at a glance.
_MARKS = {"running": "●", "paused": "‖", "finished": "✓", "stopped": "■", "diverged": "✗",
          "failed": "✗", "interrupted": "!"}  # fmt: skip


#: The list's columns, what says which run it is first.
_TITLES = ("", "run", "state", "steps", "η", "λ", "late S", "phase", "size", "age", "group", "dynamics",
           "probes", "id")  # fmt: skip
#: Those that are left out where no run has anything in them: ids have one where runs have names.
_OFTEN_EMPTY = ("group", "dynamics", "probes", "id")


def list_runs(
    state: Annotated[
        str, typer.Option(help="Only these, such as live or stopped,interrupted.")
    ] = "",
    preset: Annotated[str, typer.Option(help="Only runs of this preset.")] = "",
    group: Annotated[
        str, typer.Option(metavar="NAME", help="Only runs that were started with this --group.")
    ] = "",
    filter: RunFilter = "",
    runs_dir: RunsDir = None,
    as_json: AsJson = False,
) -> None:
    """List all runs, the newest first.

    ● is running, ‖ paused, ✓ finished, ■ stopped, ✗ diverged or failed, ! interrupted: its engine is
    gone. η and λ are shown as they began → as they are. Late S is the mean sharpness over the last fifth.
    A run goes by its name, or by its id if it has none. Groups, dynamics other than gradient descent, and
    probes of your own have columns where a run has them. A narrow terminal shows the columns that fit.
    ▦ is a sweep, its members in one line: `--group SWEEP` lists them.

    Examples:

      eostui runs list --filter "digits weight_decay>1e-3 -state:diverged"

      eostui runs list --filter "age<2h phase:edge,lowered" --json
    """
    from eostui import locations
    from eostui.runs.filter_fields import run_filter
    from eostui.runs.prune import parse_states

    folder = locations.runs_dir(runs_dir)
    states = parse_states(state, "--state")
    passes = run_filter(filter)
    entries = [
        entry
        for entry in readable(folder)
        if (not states or entry.state in states)
        and preset in ("", entry.config.preset)
        and group in ("", entry.group)
        and passes(entry)
    ]
    if as_json:
        print_json([_listed(entry) for entry in entries])
        return
    rows = [(entry.created, _row(entry)) for entry in entries]
    if not (state or preset or group or filter):  # what is searched for is shown itself
        rows = _folded(folder, entries)
    if not rows:
        print(
            f"no {'such ' if state or preset or group or filter else ''}runs in {folder}",
            file=sys.stderr,
        )
        return
    columns = list(zip(_TITLES, *(row for _, row in rows), strict=True))
    shown = [each for each in columns if each[0] not in _OFTEN_EMPTY or any(each[1:])]
    print_table(list(zip(*shown, strict=True)), named=_TITLES.index("run"))


def _folded(folder: Path, entries: Sequence[Entry]) -> list[tuple[float, tuple[str, ...]]]:
    """Return a row for each run and for each sweep, whose members have none; with when it was made."""
    from eostui.sweeps.shelf import sweeps_of

    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    rows: list[tuple[float, tuple[str, ...]]] = []
    members: set[Path] = set()
    for path in sweeps_of(folder):
        created, cells, of_sweep = _sweep_row(path, groups.get(path.name, []))
        rows.append((created, cells))
        members |= of_sweep
    rows += [(entry.created, _row(entry)) for entry in entries if entry.path not in members]
    return sorted(rows, key=lambda row: row[0], reverse=True)


def _sweep_row(path: Path, group: Sequence[Entry]) -> tuple[float, tuple[str, ...], set[Path]]:
    """Return when a sweep was made, its row, and its members' runs, which are of its group.

    Another run may be of that group too; where the manifest can't be read, nobody knows.
    """
    from eostui.runs.completeness import is_complete
    from eostui.runs.prune import shown_size, size
    from eostui.sweeps.shelf import at_work, name_of
    from eostui.sweeps.sweep import Sweep

    runs: Sequence[Entry] = group
    ended: list[Entry] = []
    name = name_of(path)
    try:
        sweep = Sweep(path)
        planned = set(sweep.run_paths)
        runs = [run for run in runs if run.path in planned]
        count, created = len(planned), sweep.created
        ended = [run for run in runs if is_complete(run)]
        state = "running" if at_work(path) else "done" if len(ended) == count else "unfinished"
    except EostuiError:
        count, created, state = len(runs), path.stat().st_mtime, "damaged"
    total = size(path) + sum(size(run.path) for run in runs)
    cells = {
        "": "▦", "run": name or path.name, "state": state, "steps": f"{len(ended)}/{count} members",
        "size": shown_size(total), "age": age(time.time() - created), "id": path.name if name else "",
    }  # fmt: skip
    return created, tuple(cells.get(title, "") for title in _TITLES), {run.path for run in runs}


def _row(e: Entry) -> tuple[str, ...]:
    """Return a run's cells in the list, under _TITLES."""
    from eostui.runs.prune import shown_size, size

    return (
        _MARKS.get(e.state, "?"), e.name or e.id, e.state, f"{max(e.last_step, 0)}/{e.config.steps}",
        _steered(e.config.eta, e.eta), _steered(e.config.weight_decay, e.weight_decay),
        f"{e.late_sharpness:.4g}" if math.isfinite(e.late_sharpness) else "—",
        e.phase, shown_size(size(e.path)), age(time.time() - e.created), e.group,
        unusual_dynamics(e.config), own_probes(e.config), e.id if e.name else "",
    )  # fmt: skip


def _steered(first: float, now: float) -> str:
    return f"{now:g}" if now == first else f"{first:g}→{now:g}"


def _listed(e: Entry) -> dict[str, Any]:
    from eostui.runs.prune import size

    return {
        "id": e.id, "name": e.name, "path": str(e.path), "state": e.state, "sentence": e.sentence,
        "preset": e.config.preset, "last_step": e.last_step, "steps": e.config.steps,
        "eta": e.config.eta, "weight_decay": e.config.weight_decay,
        "newest_eta": e.eta, "newest_weight_decay": e.weight_decay, "created": e.created,
        "ended": None if e.live else e.ended, "phase": e.phase,
        "late_sharpness": e.late_sharpness, "bytes": size(e.path), "note": e.note,
        "group": e.group, "dynamics": e.config.dynamics, "probes": e.config.probes,
        "parent": e.parent or None, "parent_step": e.parent_step,
    }  # fmt: skip
