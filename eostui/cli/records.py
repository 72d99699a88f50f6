"""`runs list`, `show`, `delete`, and `plot`: what is on the shelf."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eostui.cli import curate, repair
from eostui.cli.options import AsciiOnly, AsJson, RunName, RunsDir
from eostui.cli.output import print_json, print_table, readable
from eostui.cli.streams import sayable
from eostui.errors import InputError, printable

if TYPE_CHECKING:
    from eostui.runs.shelf import Entry

runs = typer.Typer(rich_markup_mode=None)

#: Before a run's id: what its state comes to at a glance.
_MARKS = {"running": "●", "paused": "‖", "finished": "✓", "stopped": "■", "diverged": "✗",
          "failed": "✗", "interrupted": "!"}  # fmt: skip

#: The list's columns, what says which run it is first; ids have one of their own where runs have names.
_TITLES = ("", "run", "state", "steps", "η", "λ", "late S", "phase", "size", "age", "id")


@runs.callback(invoke_without_command=True)
def shelf_or_command(context: typer.Context) -> None:
    """List, show, name, compare, clear away runs. Without a command: list them.

    Examples:

      eostui runs                                    all, the newest first

      eostui runs list --state live --json           those at work, for programs

      eostui runs rename k3f9 baseline               a name to find it by

      eostui runs diff baseline x7q2                 how two differ

      eostui runs prune --older-than 30d --dry-run   what a clean-up would delete
    """
    if context.invoked_subcommand is None:
        list_runs()


@runs.command("list")
def list_runs(
    state: Annotated[
        str, typer.Option(help="Only these, such as live or stopped,interrupted.")
    ] = "",
    preset: Annotated[str, typer.Option(help="Only runs of this preset.")] = "",
    runs_dir: RunsDir = None,
    as_json: AsJson = False,
) -> None:
    """List all runs, the newest first.

    ● is running, ‖ paused, ✓ finished, ■ stopped, ✗ diverged or failed, ! interrupted: its engine is
    gone. η and λ are shown as they began → as they are. Late S is the mean sharpness over the last fifth.
    A run goes by its name, or by its id if it has none. A narrow terminal shows the columns that fit.
    """
    from eostui import locations
    from eostui.runs.prune import parse_states

    folder = locations.runs_dir(runs_dir)
    states = parse_states(state, "--state")
    entries = [
        entry
        for entry in readable(folder)
        if (not states or entry.state in states) and preset in ("", entry.config.preset)
    ]
    if as_json:
        print_json([_listed(entry) for entry in entries])
        return
    if not entries:
        print(f"no {'such ' if state or preset else ''}runs in {folder}", file=sys.stderr)
        return
    rows = [_TITLES, *map(_row, entries)]
    if not any(entry.name for entry in entries):
        rows = [row[:-1] for row in rows]
    print_table(rows, named=_TITLES.index("run"))


def _row(e: Entry) -> tuple[str, ...]:
    """Return a run's cells in the list, under _TITLES."""
    from eostui.runs.prune import shown_size, size

    return (
        _MARKS.get(e.state, "?"), e.name or e.id, e.state, f"{max(e.last_step, 0)}/{e.config.steps}",
        _steered(e.config.eta, e.eta), _steered(e.config.weight_decay, e.weight_decay),
        f"{e.late_sharpness:.4g}" if math.isfinite(e.late_sharpness) else "—",
        e.phase, shown_size(size(e.path)), age(time.time() - e.created), e.id if e.name else "",
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
        "parent": e.parent or None, "parent_step": e.parent_step,
    }  # fmt: skip


@runs.command()
def show(run: RunName = None, runs_dir: RunsDir = None, as_json: AsJson = False) -> None:
    """Show a run: state, resting readings, config, what happened."""
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.analysis.remarks import OF_TRUSTED, remark, trusted_gradient
    from eostui.runs.analysis.summary import summarize_run
    from eostui.runs.run import Run

    entry = shelf.find(locations.runs_dir(runs_dir), run)
    summary = summarize_run(entry.path)
    with Run(entry.path) as opened:
        if as_json:
            events = [{"step": e.step, "kind": e.kind, "payload": e.payload} for e in opened.events]
            config = opened.config.acting(mode="json")
            whole = {**summary, "facts": opened.facts, "config": config, "events": events}
            print_json(whole)
            return
        lasted = [f"{each['phase']} {each['first']}–{each['last']}" for each in summary["phases"]]
        predictions = summary.pop("predictions")
        summary["phases"] = ", ".join(lasted) or "too few steps to tell"
        unrest = summary.pop("not_at_rest")
        summary = {
            key: value for key, value in summary.items() if not (unrest and "resting_" in key)
        }
        summary["at_rest"] = f"no: {unrest}" if unrest else "over the last fifth"
        for key, value in summary.items():
            shown = f"{value:.5g}" if isinstance(value, float) else printable(str(value))
            print(f"{key:<32}{shown}")
        print(f"{'created':<32}{datetime.fromtimestamp(entry.created).isoformat(' ', 'seconds')}")
        for key in ("device", "dtype", "threads", "parameters", "convention"):
            print(f"{key:<32}{printable(opened.facts.get(key, '?'))}")
        if why := trusted_gradient(opened.facts):
            print(f"{f'S {OF_TRUSTED}':<32}{printable(why)}")
        for key, value in opened.facts.items():
            if key.startswith("problem.") and key != "problem.trusted":
                for line in value.splitlines():
                    print(f"{key.removeprefix('problem.'):<32}{printable(line)}")
        for prediction in predictions:
            print(f"{'prediction from step':<32}{_prediction(prediction)}")
        settings = opened.config.to_toml().strip().split("\n")
        print("\n" + "\n".join(map(printable, settings)) + "\n")
        for event in opened.events:
            if event.kind == "obeyed":
                continue  # what it did is an event of its own
            told = remark(event) or json.dumps(dict(event.payload), ensure_ascii=False)
            print(f"step {event.step:<8}{event.kind:<12}{printable(told)}")


@runs.command()
def delete(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Delete runs for good. Asks first; live runs must be stopped before."""
    from eostui import locations
    from eostui.runs import shelf

    folder = locations.runs_dir(runs_dir)
    found = [shelf.find_path(folder, name) for name in names]
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("runs are deleted only after a question: add --yes to do without it")
        listed = printable(", ".join(path.name for path in found))
        if not typer.confirm(f"Delete {listed}?", err=True):
            raise typer.Exit(1)
    for path in found:
        shelf.delete(path)
        print(f"deleted {printable(path.name)}", file=sys.stderr)


runs.command()(curate.rename)
runs.command()(curate.note)
runs.command()(curate.diff)
runs.command()(curate.prune)
repair.register(runs)


def plot(
    run: RunName = None,
    width: Annotated[int | None, typer.Option(help="Columns; the terminal's if left out.")] = None,
    height: Annotated[int | None, typer.Option(help="Rows; the terminal's if left out.")] = None,
    runs_dir: RunsDir = None,
    _ascii: AsciiOnly = False,
) -> None:
    """Print a static picture of a run. Plain text when stdout isn't a terminal."""
    import os

    for flag, cells in (("--width", width), ("--height", height)):
        if cells is not None and cells < 1:
            raise InputError(f"{flag} is {cells}, but must be at least 1")
    from eostui import locations
    from eostui.cli.static_plot import render
    from eostui.runs import shelf
    from eostui.runs.run import Run

    entry = shelf.find(locations.runs_dir(runs_dir), run)
    size = shutil.get_terminal_size((120, 40))
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    with Run(entry.path) as opened:
        drawn = render(
            opened, width=width or size.columns, height=height or size.lines - 1, color=color
        )
    print(sayable(drawn, cells=True))


def _prediction(told: dict[str, Any]) -> str:
    """Return one line on a prediction and what came of it."""
    text = f"{told['step']}: "
    if told["parted"] is None:
        text += "agrees to the end"
    else:
        text += (
            f"agreed for {told['parted'] - told['step']} steps, to ±{told['tolerance']:.3g} of S"
        )
    for name in ("measured", "predicted"):
        if hump := told[name]:
            text += (
                f"; {name} y {hump['peak']:.3g} at {hump['peak_step']}, "
                f"{hump['trough']:.3g} at {hump['trough_step']}"
            )
    return text


def age(seconds: float) -> str:
    """Return how long ago something was, as people say it."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
