"""`bench --start`: how soon the next run is there, with an engine on standby and without."""

from __future__ import annotations

import statistics

from eostui.cli.output import print_json
from eostui.cli.progress import ProgressBar

#: How often each is timed, with an engine on standby and without.
_WARM, _COLD = 10, 3


def bench_start(as_json: bool) -> None:
    """Drive the live view by keys, time what they begin, and print that."""
    from eostui.bench.start import measure_starts

    with ProgressBar("opening the live view") as bar:
        results = measure_starts(_WARM, _COLD, lambda text: bar(0, None, label=text))
    if as_json:
        print_json(results)
        return
    print(f"from a key to the first row in the view: median of {_WARM}; cold, of {_COLD}")
    for what, limit in results["bars"].items():
        warm, cold = (
            statistics.median(results[f"{how}_seconds"][what]) for how in ("warm", "cold")
        )
        print(f"  {what:<38}{warm:8.2f} s  (bar: {limit:g} s)  cold {cold:.2f} s")
    for key, text in (
        ("standby_resident", "memory of the engine on standby"),
        ("standby_own", "  of it not shared with other engines"),
    ):
        if results[key] is not None:
            print(f"  {text:<38}{results[key]:8.0f} MB")
