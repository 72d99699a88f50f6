"""`bench --store`: what the record of a run of a million steps costs."""

from __future__ import annotations

from eostui.cli.output import print_json
from eostui.cli.progress import ProgressBar

#: What is printed: a result's key, its text, its unit.
_LINES = (
    ("open_seconds", "opening it as the viewer does", "s"),
    ("frame_milliseconds", "a frame: four charts of 100,000 steps", "ms"),
    ("compared_frame_milliseconds", "a frame: 20 such runs compared", "ms"),
    ("viewer_megabytes", "memory of the viewer with it, at most", "MB"),
    ("csv_seconds", "exporting it as CSV, whole command", "s"),
    ("parquet_seconds", "exporting it as Parquet", "s"),
    ("database_megabytes", "its run.db", "MB"),
    ("csv_megabytes", "its CSV file", "MB"),
    ("parquet_megabytes", "its Parquet file", "MB"),
)


def bench_store(as_json: bool) -> None:
    """Make a record in a temporary folder, time what is done with it, and print that."""
    from eostui.bench.store import measure_store

    with ProgressBar("making a record") as bar:
        results = measure_store(lambda text, done, total: bar(done, total, label=text))
    if as_json:
        print_json(results)
        return
    print(f"the record of {results['steps']} steps, measured every 25")
    for key, text, unit in _LINES:
        if key in results:
            bar = results["bars"].get(key)
            told = f"  (bar: {bar:g} {unit})" if bar else ""
            print(f"  {text:<38}{results[key]:8.2f} {unit}{told}")
