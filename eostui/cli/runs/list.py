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

if TYPE_CHECKING:
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
    if not entries:
        print(
            f"no {'such ' if state or preset or group or filter else ''}runs in {folder}",
            file=sys.stderr,
        )
        return
    columns = list(zip(_TITLES, *map(_row, entries), strict=True))
    shown = [each for each in columns if each[0] not in _OFTEN_EMPTY or any(each[1:])]
    print_table(list(zip(*shown, strict=True)), named=_TITLES.index("run"))


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
