"""`runs summary`: what the members of a sweep, or any runs, came to."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eostui.cli.options import AsJson, RunFilter, RunsDir, _complete_run_or_sweep
from eostui.cli.output import print_json, print_table
from eostui.cli.streams import data_stream
from eostui.errors import InputError, printable

if TYPE_CHECKING:
    from eostui.runs.shelf import Entry
    from eostui.sweeps.summary import Summary
    from eostui.sweeps.sweep import Sweep


def summary(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|SWEEP]...",
            help="Runs and sweeps: each an id, the end of it, a name, or a path.",
            autocompletion=_complete_run_or_sweep,
        ),
    ] = None,
    filter: RunFilter = "",
    group: Annotated[
        str, typer.Option(metavar="NAME", help="Runs that were started with this --group.")
    ] = "",
    reading: Annotated[
        str,
        typer.Option(
            metavar="COLUMN", help="What is asked for a knee, any column of numbers of the summary."
        ),
    ] = "resting_sharpness",
    key: Annotated[
        str,
        typer.Option(
            metavar="SETTING",
            help="Over which setting; weight_decay if that differs and this is left out.",
        ),
    ] = "",
    mean: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Print as CSV the mean and the deviation of a column of the runs at each step, over "
            "those that differ in the seed alone.",
        ),
    ] = "",
    runs_dir: RunsDir = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print all columns as CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what the members of a sweep came to, a row each; or any runs.

    S and κ at rest with their standard errors (in brackets the plain mean over the last fifth of a run
    that isn't at rest), onset, crossing of the drives, step cosine; then λ_c, where S at rest leaves the
    level that it has at the smallest λ, and where the drives of each member put that. --csv and --json
    have all columns, in full. Of a sweep, `summary.csv` and `summary.json` are written into its folder
    too.

    Examples:

      eostui runs summary a3

      eostui runs summary a3 --reading resting_test_loss

      eostui runs summary --group lam --csv

      eostui runs summary a7 --mean sharpness
    """
    from eostui import locations
    from eostui.sweeps.summary import write
    from eostui.sweeps.transition import transitions

    if sum((as_csv, as_json, bool(mean))) > 1:
        raise InputError("only one of --csv, --json and --mean can be given")
    sweep, entries = _chosen(locations.runs_dir(runs_dir), runs or [], filter, group)
    if mean:
        _print_means(sweep, entries, mean)
        return
    made = _made(sweep, entries)
    found = transitions(made.rows, made.settings, key or None, reading)
    if sweep is not None:
        try:
            usual = found if not key and reading == "resting_sharpness" else None
            write(sweep, made, usual)
        except InputError as error:  # a shelf that can only be read
            print(f"eostui: {printable(str(error))}", file=sys.stderr)
    if as_csv:
        data_stream().write(made.csv())
    elif as_json:
        print_json(
            {
                "settings": made.settings, "rows": made.rows,
                "transitions": [each.content() for each in found],
            }
        )  # fmt: skip
    else:
        print_table(_table(made), named=0)
    if not as_json:
        for each in found:
            print(printable(each.sentence()), file=sys.stderr if as_csv else None)


def _chosen(
    folder: Path, names: Sequence[str], filter: str, group: str
) -> tuple[Sweep | None, Sequence[Entry]]:
    """Return the sweep that is meant alone, or runs. Raises InputError if there is none."""
    from eostui.runs.selection import Selection, select
    from eostui.sweeps.lookup import sweep_named
    from eostui.sweeps.sweep import Sweep

    if not (names or filter or group):
        raise InputError("say what is summed up: a sweep, runs, --group or --filter")
    found = [sweep_named(folder, name) for name in names]
    if len(names) == 1 and found[0] is not None and not (filter or group):
        return Sweep(found[0]), ()
    entries: dict[Path, Entry] = {}
    others = [name for name, path in zip(names, found, strict=True) if path is None]
    chosen = Selection(())
    if others or filter or group:
        chosen = select(folder, others, filter, group)
    for path in found:
        if path is not None:
            for state in Sweep(path).states():
                if state.entry is not None:
                    entries[state.entry.path] = state.entry
    entries |= {entry.path: entry for entry in chosen.entries}
    for sentence in chosen.left_out:
        print(f"eostui: {printable(sentence)}", file=sys.stderr)
    if not entries:
        raise InputError(f"there is no such run in {folder}")
    return None, tuple(entries.values())


def _made(sweep: Sweep | None, entries: Sequence[Entry]) -> Summary:
    from eostui.cli.progress import ProgressBar
    from eostui.sweeps.summary import SummaryReader

    reader = SummaryReader()
    with ProgressBar("reading the runs", "runs") as bar:
        if sweep is not None:
            return reader.of_sweep(sweep, bar)
        return reader.of_runs(entries, bar)


def _table(made: Summary) -> list[tuple[str, ...]]:
    from eostui.charts.numbers import age, grouped, percent
    from eostui.panels.compare.table import with_error
    from eostui.runs.analysis.resting import Resting
    from eostui.runs.family import symbol_of, told

    titles = ("run", *map(symbol_of, made.settings), "state", "steps", "S at rest", "κ", "onset",
              "crossing", "cosine", "test", "phase", "took")  # fmt: skip

    def at_rest(row: Mapping[str, Any], name: str) -> str:
        value = row[f"resting_{name}"]
        if math.isfinite(value):
            return with_error(Resting(value, row[f"resting_{name}_error"]))
        tail = row["tail_sharpness"] if name == "sharpness" else math.nan
        return f"({tail:.4g})" if math.isfinite(tail) else "—"

    def step(value: float) -> str:
        return grouped(int(value)) if math.isfinite(value) and value >= 0 else "—"

    rows = [titles]
    for row in made.rows:
        accuracy = row["resting_test_accuracy"]
        rows.append(
            (
                row["name"] or row["run"],
                *(told(row[key]) for key in made.settings),
                row["state"],
                step(row["last_step"]),
                at_rest(row, "sharpness"),
                at_rest(row, "path_curvature"),
                step(row["onset"]),
                step(row["crossing"]),
                f"{row['step_cosine']:.2f}" if math.isfinite(row["step_cosine"]) else "—",
                percent(accuracy) if math.isfinite(accuracy) else "—",
                row["phase"] or "—",
                age(row["seconds"]) if math.isfinite(row["seconds"]) else "—",
            )
        )
    return rows


def _print_means(sweep: Sweep | None, entries: Sequence[Entry], column: str) -> None:
    """Print the mean trajectory of each group of seeds as CSV."""
    import csv

    from eostui.sweeps.trajectories import mean_trajectories

    known: tuple[str, ...] = ()
    if sweep is not None:
        entries = [state.entry for state in sweep.states() if state.entry is not None]
        known = sweep.plan.keys
    found = mean_trajectories(entries, column, known)
    writer = csv.writer(data_stream(), lineterminator="\n")
    keys = list(dict.fromkeys(key for each in found for key in each.settings))
    writer.writerow([*keys, "step", column, f"{column}_deviation", "runs"])
    for each in found:
        settings = [each.settings.get(key, "") for key in keys]
        for step, value, deviation in zip(each.steps, each.mean, each.deviation, strict=True):
            numbers = [
                repr(v) if math.isfinite(v) else "" for v in (float(value), float(deviation))
            ]
            writer.writerow([*settings, f"{step:.15g}", *numbers, len(each.runs)])
