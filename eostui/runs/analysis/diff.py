"""How two runs differ: their configs, the machines, their steering, and the first step that shows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from eostui.runs.analysis.controls import control_changes, controls_of
from eostui.runs.run import Run

#: Facts that name a run or are of its course: they differ between any two.
_OWN = {
    "id", "name", "note", "created", "ended", "status", "sentence", "config", "columns",
    "step_columns", "parent", "parent_step", "changed_step", "training_seconds",
}  # fmt: skip
#: What a row states of θ_t and its step, in the order in which a difference is looked for.
_STATE = ("loss", "theta_norm", "decayed_norm", "theta_1", "theta_2")
_STEP = ("path_curvature",)


def compare_runs(a: Run, b: Run) -> dict[str, Any]:
    """Return how two runs differ.

    Returns:
        `config` and `facts`: by key, the values of both, None where one lacks it; `steering`: for each
        step at which a control changed in either, the new values in both; `rows`: whether the first rows
        agree (`same_start`), how many steps are in both, and the first at which a stored number differs,
        with it (`step`, `column`, `a`, `b`), None while there is none.
    """
    return {
        "a": a.path.name,
        "b": b.path.name,
        "config": _differing(
            _flat(a.config.acting(mode="json")), _flat(b.config.acting(mode="json"))
        ),
        "facts": _differing(*({k: v for k, v in r.facts.items() if k not in _OWN} for r in (a, b))),
        "steering": _steering(a, b),
        "rows": _rows(a, b),
    }


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    arguments = values.pop("problem_arguments", {})
    return values | {f"problem_arguments.{key}": value for key, value in arguments.items()}


def _differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        key: {"a": a.get(key), "b": b.get(key)}
        for key in dict.fromkeys((*a, *b))
        if a.get(key) != b.get(key)
    }


def _steering(a: Run, b: Run) -> list[dict[str, Any]]:
    of_a, of_b = control_changes(a), control_changes(b)
    return [
        {"step": step, "a": of_a.get(step), "b": of_b.get(step)} for step in sorted({*of_a, *of_b})
    ]


def _rows(a: Run, b: Run) -> dict[str, Any]:
    common = min(len(a.steps), len(b.steps))
    controls = (control.name for control in controls_of(a))
    columns = [name for name in (*_STATE, *controls, *_STEP) if name in a.steps and name in b.steps]
    difference: tuple[int, str] | None = None
    for name in columns:
        # the newest row of either doesn't know its step's curvature yet
        length = common - 1 if name == "path_curvature" else common
        x, y = a.steps[name][:length], b.steps[name][:length]
        apart = np.flatnonzero(~((x == y) | (np.isnan(x) & np.isnan(y))))
        if len(apart) and (difference is None or apart[0] < difference[0]):
            difference = int(apart[0]), name
    start = ("loss", "theta_norm", "decayed_norm")
    same = common > 0 and all(a.steps[name][0] == b.steps[name][0] for name in start)
    first = None
    if difference is not None:
        step, name = difference
        values = {key: float(run.steps[name][step]) for key, run in (("a", a), ("b", b))}
        first = {"step": step, "column": name, **values}
    return {"same_start": same, "common_steps": common, "first_difference": first}
