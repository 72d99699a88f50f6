"""`export`: runs as files for other programs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from eostui.cli.options import RunNames, RunsDir
from eostui.cli.progress import ProgressBar
from eostui.cli.streams import data_stream


def export(
    runs: RunNames = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="The file, or TensorBoard's folder; - is stdout. RUN.csv if left out. "
            "What ends in .csv.gz or .jsonl.gz is compressed.",
        ),
    ] = "",
    format: Annotated[
        str | None,
        typer.Option(
            metavar="csv|jsonl|parquet|tensorboard",
            help="How it is written; by the file's ending if left out, as CSV without one.",
        ),
    ] = None,
    measured_only: Annotated[
        bool, typer.Option("--measured-only", help="Only rows at which something was measured.")
    ] = False,
    runs_dir: RunsDir = None,
) -> None:
    """Write runs as a table, one row a step, with a JSON file beside it that explains the columns.

    Several runs come under each other in one table, whose first column names the run; a column that one
    of them lacks is empty there. A live run is written as it is at one moment. An existing file is
    replaced when the new one is whole. Parquet (extra `parquet`) has the explanations inside as well;
    TensorBoard (extra `tensorboard`) gets a folder of event files for each run.

    Examples:

      eostui export k3f9 -o run.csv

      eostui export -o - --measured-only | head

      eostui export baseline decay -o both.parquet

      eostui export -o run.csv.gz

      eostui export baseline decay --format tensorboard -o logs
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.export import RunTable, export_files, format_of, write_stream
    from eostui.runs.run import Run

    chosen = format_of(output, format)
    folder = locations.runs_dir(runs_dir)
    found = [shelf.find(folder, name) for name in runs] if runs else [shelf.find(folder, None)]
    with ExitStack() as stack:
        stack.enter_context(_ended_by_signals())
        opened = [stack.enter_context(Run(entry.path)) for entry in found]
        table = opened if len(opened) > 1 else opened[0]
        if output == "-":
            write_stream(RunTable(table, measured_only=measured_only), data_stream(), chosen)
            return
        stem = shelf.safe_name(found[0].id) if len(found) == 1 else "runs"
        default = "tensorboard" if chosen == "tensorboard" else f"{stem}.{chosen}"
        target = locations.expanded(Path(output or default))
        sidecar, rows = export_files(
            table,
            target,
            format=chosen,
            measured_only=measured_only,
            progress=stack.enter_context(ProgressBar(f"writing {target.name}")),
        )
    explained = f", columns explained in {sidecar}" if sidecar else ""
    print(f"{rows} rows in {target}{explained}", file=sys.stderr)


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
