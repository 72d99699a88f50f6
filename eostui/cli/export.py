"""`export`: runs as files for other programs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from eostui.cli.members import with_members
from eostui.cli.options import RunFilter, RunNames, RunsDir
from eostui.cli.progress import ProgressBar
from eostui.cli.streams import data_stream
from eostui.errors import InputError, printable

if TYPE_CHECKING:
    from eostui.runs.shelf import Entry


def export(
    runs: RunNames = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="The file, or TensorBoard's folder; - is stdout. RUN.csv or SWEEP.csv if left out. "
            "What ends in .csv.gz or .jsonl.gz is compressed.",
        ),
    ] = "",
    format: Annotated[
        str | None,
        typer.Option(
            metavar="csv|jsonl|parquet|npz|tensorboard",
            help="How it is written; by the file's ending if left out, as CSV without one.",
        ),
    ] = None,
    measured_only: Annotated[
        bool, typer.Option("--measured-only", help="Only rows at which something was measured.")
    ] = False,
    filter: RunFilter = "",
    runs_dir: RunsDir = None,
) -> None:
    """Write runs as a table, one row a step, with a JSON file beside it that explains the columns.

    Several runs, a sweep's members, and those that --filter finds, come under each other in one table,
    whose first columns are the id, the name, and every setting in which they differ; η and λ of the
    runs, as they are at their newest steps, are run_eta and run_weight_decay. A column that one of them
    lacks is empty there.
    A live run is written as it is at one moment, and stderr and the JSON file say so. An existing file
    is replaced when the new one is whole. Parquet (extra `parquet`) has the explanations inside as well;
    NumPy's .npz has an array for each column, what a probe fills with arrays in its shape; TensorBoard
    (extra `tensorboard`) gets a folder of event files for each run, called by its name.

    Examples:

      eostui export k3f9 -o run.csv

      eostui export -o - --measured-only | head

      eostui export baseline decay -o both.parquet

      eostui export -o run.csv.gz

      eostui export k3f9 -o run.npz

      eostui export --filter "preset:digits* weight_decay>0" -o decayed.csv

      eostui export baseline decay --format tensorboard -o logs
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.export import RunTable, export_files, format_of, write_stream
    from eostui.runs.run import Run

    chosen = format_of(output, format)
    folder = locations.runs_dir(runs_dir)
    runs, sweep = with_members(folder, runs)
    found = [shelf.find(folder, name) for name in runs]
    if filter:
        found += _filtered(folder, filter, found)
    elif not runs:
        found = [shelf.find(folder, None)]
    alone = len(found) == 1 and not filter and not sweep
    with ExitStack() as stack:
        stack.enter_context(_ended_by_signals())
        paths = [entry.path for entry in found]
        runs_of = stack.enter_context(Run(paths[0])) if alone else paths
        table = RunTable(runs_of, measured_only=measured_only)
        for part in table.parts:
            if part.live:
                what = f"{part.path.name} is live: written as it is at step {part.last_step}"
                print(printable(what), file=sys.stderr)
        if output == "-":
            write_stream(table, data_stream(), chosen)
            return
        stem = shelf.safe_name(found[0].id) if alone else (sweep if not filter else "") or "runs"
        default = "tensorboard" if chosen == "tensorboard" else f"{stem}.{chosen}"
        target = locations.expanded(Path(output or default))
        sidecar, rows = export_files(
            table,
            target,
            format=chosen,
            progress=stack.enter_context(ProgressBar(f"writing {target.name}")),
        )
    explained = f", columns explained in {sidecar}" if sidecar else ""
    print(f"{rows} rows in {target}{explained}", file=sys.stderr)


def _filtered(folder: Path, text: str, named: list[Entry]) -> list[Entry]:
    """Return the runs of a shelf that pass a filter and aren't named already, oldest first.

    Raises:
        InputError: if the filter can't be understood, or there is no run to be written then.
    """
    from eostui.runs import shelf
    from eostui.runs.filter_fields import run_filter

    passes = run_filter(text)
    entries, unread = shelf.read(folder)
    if unread:
        print(printable(shelf.told_unread(unread)), file=sys.stderr)
    have = {entry.path for entry in named}
    found = [entry for entry in reversed(entries) if passes(entry) and entry.path not in have]
    if not found and not named:
        raise InputError(f"no run in {folder} passes the filter `{text}`")
    return found


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave the block in order at SIGTERM and SIGHUP too, so that nothing half written stays."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    ends = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
