"""`runs diff`: how two runs differ."""

from __future__ import annotations

import json
from typing import Any

from eostui.cli.options import AsJson, GivenRun, RunsDir
from eostui.cli.output import print_json, print_table


def diff(a: GivenRun, b: GivenRun, runs_dir: RunsDir = None, as_json: AsJson = False) -> None:
    """Tell how two runs differ: settings, machines, steering, and the first step that shows it.

    Example:

      eostui runs diff baseline k3f9
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.analysis.diff import compare_runs
    from eostui.runs.run import Run

    folder = locations.runs_dir(runs_dir)
    paths = [shelf.find(folder, name).path for name in (a, b)]
    with Run(paths[0]) as run_a, Run(paths[1]) as run_b:
        found = compare_runs(run_a, run_b)
    if as_json:
        print_json(found)
        return
    for part in ("config", "facts"):
        if found[part]:
            rows = [(key, _cell(v["a"]), _cell(v["b"])) for key, v in found[part].items()]
            print_table([(part, found["a"], found["b"]), *rows])
            print()
    if found["steering"]:
        rows = [(str(s["step"]), _cell(s["a"]), _cell(s["b"])) for s in found["steering"]]
        print_table([("set at step", found["a"], found["b"]), *rows])
        print()
    print(_told_rows(found["rows"]))


def _cell(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:g}" for name, number in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _told_rows(rows: dict[str, Any]) -> str:
    """Return a sentence on where the rows part."""
    if not rows["common_steps"]:
        return "one of them has no rows yet"
    if not rows["same_start"]:
        return "they start at different points"
    first = rows["first_difference"]
    if first is None:
        return f"the {rows['common_steps']} rows that both have are the same, bit for bit"
    return (
        f"the same start; rows differ from step {first['step']} on: "
        f"{first['column']} {first['a']!r} · {first['b']!r}"
    )
