"""`runs show`: one run, its state, readings, settings and what happened."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from eostui.cli.options import AsJson, RunName, RunsDir
from eostui.cli.output import own_probes, print_json, unusual_dynamics
from eostui.errors import printable


def show_run(run: RunName = None, runs_dir: RunsDir = None, as_json: AsJson = False) -> None:
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
        since = summary.pop("at_rest_from")
        summary["at_rest"] = f"no: {unrest}" if unrest else f"from step {since} on"
        for key, value in summary.items():
            shown = f"{value:.5g}" if isinstance(value, float) else printable(str(value))
            print(f"{key:<32}{shown}")
        print(f"{'created':<32}{datetime.fromtimestamp(entry.created).isoformat(' ', 'seconds')}")
        for key, value in (
            ("group", entry.group),
            ("dynamics", unusual_dynamics(entry.config)),
            ("probes", own_probes(entry.config)),
        ):
            if value:
                print(f"{key:<32}{printable(value)}")
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
