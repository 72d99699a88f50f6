"""`bench --store`, `--shelf`, `--terminal`, `--sweep`: what is spent besides training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eostui.cli.output import print_json
from eostui.cli.progress import ProgressBar

Say = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Part:
    """What one of these benches prints.

    Attributes:
        title: its first line, of the results.
        begins: what the progress bar says at first.
        lines: of the table: a result's key, its text, its unit.
    """

    title: str
    begins: str
    lines: tuple[tuple[str, str, str], ...]


PARTS = {
    "store": Part(
        "the record of {steps} steps, measured every 25",
        "making a record",
        (
            ("open_seconds", "opening it as the viewer does", "s"),
            ("frame_milliseconds", "a frame: four charts of 100,000 steps", "ms"),
            ("compared_frame_milliseconds", "a frame: {compared_runs} such runs compared", "ms"),
            ("viewer_megabytes", "memory of the viewer with it, at most", "MB"),
            ("csv_seconds", "exporting it as CSV, whole command", "s"),
            ("parquet_seconds", "exporting it as Parquet", "s"),
            ("database_megabytes", "its run.db", "MB"),
            ("csv_megabytes", "its CSV file", "MB"),
            ("parquet_megabytes", "its Parquet file", "MB"),
        ),
    ),
    "shelf": Part(
        "a shelf of {runs} runs, whole commands",
        "making runs",
        (
            ("first_list_seconds", "`runs list`, the first time", "s"),
            ("list_seconds", "`runs list`, after that", "s"),
            ("completion_seconds", "completing a run's name", "s"),
        ),
    ),
    "sweep": Part(
        "a sweep of {members} members × {steps} steps, {workers} at a time",
        "beginning a sweep",
        (
            ("wall_seconds", "the whole command", "s"),
            ("member_seconds", "a member's training, in the mean", "s"),
            ("ratio", "the command, to all training over workers", "×"),
        ),
    ),
    "terminal": Part(
        "the program at a terminal of 120×40, one start after another",
        "starting the program",
        (
            ("help_seconds", "`eostui --help`", "s"),
            ("first_frame_seconds", "first frame of `eostui run {preset}`", "s"),
            ("first_point_seconds", "first point in its charts", "s"),
            ("kilobytes_per_second", "what it writes while training", "KB/s"),
        ),
    ),
}


def bench_part(name: str, as_json: bool) -> None:
    """Measure one of the PARTS in temporary folders, and print that."""
    part = PARTS[name]
    with ProgressBar(part.begins) as bar:
        results = _measure(name)(lambda text, done, total: bar(done, total, label=text))
    if as_json:
        print_json(results)
        return
    print(part.title.format(**results))
    for key, text, unit in part.lines:
        if key in results:
            bar_of = results["bars"].get(key)
            told = f"  (bar: {bar_of:g} {unit})" if bar_of else ""
            print(f"  {text.format(**results):<38}{results[key]:8.2f} {unit}{told}")


def _measure(name: str) -> Callable[[Say], dict[str, Any]]:
    """Return what measures it, loaded when it is asked for."""
    if name == "store":
        from eostui.bench.store import measure_store

        return measure_store
    if name == "shelf":
        from eostui.bench.shelf import measure_shelf

        return measure_shelf
    if name == "sweep":
        from eostui.bench.sweep import measure_sweep

        return measure_sweep
    from eostui.bench.terminal import measure_terminal

    return measure_terminal
