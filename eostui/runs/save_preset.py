"""A steered run as a preset: its config, with the changes of its controls at their steps."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eostui import locations, presets
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.runs.analysis.controls import control_changes, controls_of
from eostui.runs.export.files import replacing
from eostui.runs.run import Run
from eostui.schedule import SCHEDULED, Ramp


def steered_config(run: Run, name: str) -> RunConfig:
    """Return a config that repeats a run: on the same machine's CPU bit for bit.

    Its rows say which controls moved each step, whoever changed them; changes that wait for the next
    step,
    and those of its own config that it hasn't come to, follow. A calibration by key isn't repeated.

    Args:
        run: live or ended.
        name: of the preset.

    Raises:
        InputError: if the run's last waiting changes don't fit its config.
    """
    steps = run.steps
    config = run.config.model_dump()
    if len(steps):
        config |= {
            control.name: float(steps[control.name][0])
            for control in controls_of(run)
            if control.name in config
        }
    changes = {step: change for step, change in _changes(run).items() if step <= run.config.steps}
    if "threads" in run.facts:
        config["threads"] = int(run.facts["threads"])
    controls = [{"step": step, **values} for step, values in changes.items()]
    reached = {e.payload.get("at_accuracy") for e in run.events if e.kind == SCHEDULED}
    controls += [
        change.model_dump()
        for change in run.config.controls
        if change.at is None and change.at_accuracy not in reached
    ]
    return RunConfig.build(
        {**config, "preset": name, "warm_up": 0, "controls": controls},
        f"{run.path.name} as a preset",
    )


def save_preset(run: Run, name: str, target: Path | None = None, *, force: bool = False) -> Path:
    """Write a preset that repeats a run; return its file.

    Args:
        run: live or ended.
        name: of the preset, and of its file in the folder of the user's presets.
        target: another file.
        force: replace a file that is there, or hide a preset of this name that is shipped.

    Raises:
        InputError: if the name can't be a preset's, the file is there, or it can't be written.
    """
    if not re.fullmatch(r"[\w][\w.+-]*", name):
        raise InputError(f"`{name}` can't name a preset: use letters, digits, and . + - _ within")
    path = target or locations.user_presets_dir() / f"{name}.toml"
    if path.suffix.lower() != ".toml":
        raise InputError(f"{path}: a preset is a TOML file: end its name in .toml")
    known = presets.available()
    if not force:
        if path.exists():
            raise InputError(f"{path} is there already; --force replaces it")
        if target is None and name in known:
            raise InputError(f"the preset {name} is shipped already; --force hides it")
    config = steered_config(run, name)
    count = len(config.controls)
    origin = f"{run.path.name}, a run of {run.config.preset}"
    if parent := run.facts.get("parent"):
        origin += f" forked from {parent} at step {run.facts.get('parent_step')}"
    head = [f"{origin}, again: with {count} change{'s' * (count != 1)} of {_symbols(run)}."]
    for line in run.facts.get("note", "").splitlines():
        head += textwrap.wrap(line, 100)
    comment = "".join(f"# {line}\n" for line in head)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror}") from None
    with replacing(path) as (aside,):
        aside.write_text(f"{comment}\n{config.to_toml()}", encoding="utf-8")
    return path


def _changes(run: Run) -> dict[int, dict[str, Any]]:
    """Return what its controls are set to, by step, as entries of `controls`."""
    ramps = _ramps(run)
    changes: dict[int, dict[str, Any]] = {}

    def change(step: int, values: Mapping[str, float]) -> None:
        own = {n: v for n, v in values.items() if not any(_made(r, step, n, v) for r in ramps)}
        if own:
            changes.setdefault(step, {}).update(own)

    stated = {control.name for control in controls_of(run)}
    for control in controls_of(run):
        values = run.steps[control.name]
        for row in (1 + np.flatnonzero(np.diff(values))).tolist():
            change(row, {control.name: float(values[row])})
    for later in run.config.controls:
        if later.at is not None and later.at > run.last_step:
            keys = later.model_dump()
            del keys["step" if later.epoch is None else "epoch"]
            changes.setdefault(later.at, {}).update(keys)
    for step, new in control_changes(run).items():
        told = {key: each for key, each in new.items() if step > run.last_step or key not in stated}
        change(step, told)
    for step, new in _held(run).items():  # no row shows yet that it stays
        if step >= run.last_step:
            changes.setdefault(step, {}).update(new)
    for of_ramps in ramps:
        first = next(iter(of_ramps.values()))
        changes[first.first] = {
            **{name: ramp.end for name, ramp in of_ramps.items()},
            "warm_up": first.steps,
            "warm_up_from": {name: ramp.start for name, ramp in of_ramps.items()},
        }
    return dict(sorted(changes.items()))


def _ramps(run: Run) -> list[dict[str, Ramp]]:
    """Return its warm-ups by name, those that no row shows to have ended before their last step."""
    found, held = [], _held(run)
    for event in run.events:
        if event.kind != SCHEDULED or "warm_up" not in event.payload:
            continue
        first, steps = event.step, event.payload["steps"]
        told = event.payload["warm_up"].items()
        ramps = {name: Ramp(first, start, end, steps) for name, (start, end) in told}
        taken = range(first, min(first + steps, run.last_step + 1))
        others = [c.name for c in controls_of(run) if c.name not in ramps and first > 0]
        if (
            ramps.keys().isdisjoint(held.get(first, ()))
            and all(
                name in run.steps and all(run.steps[name][step] == ramp.at(step) for step in taken)
                for name, ramp in ramps.items()
            )
            and not any(np.diff(run.steps[name][first - 1 : first + 1]).any() for name in others)
        ):
            found.append(ramps)
    return found


def _held(run: Run) -> dict[int, dict[str, float]]:
    """Return what its controls were told to stay at while they were on their way elsewhere, by step."""
    held: dict[int, dict[str, float]] = {}
    for event in run.events:
        if event.kind == "control":
            for name, (before, after) in event.payload.items():
                if before == after:
                    held.setdefault(event.step, {})[name] = after
    return held


def _made(ramps: Mapping[str, Ramp], step: int, name: str, value: float) -> bool:
    """Return whether a control has its value by a warm-up."""
    ramp = ramps.get(name)
    return (
        ramp is not None and ramp.first <= step < ramp.first + ramp.steps and value == ramp.at(step)
    )


def _symbols(run: Run) -> str:
    *first, last = (control.symbol for control in controls_of(run))
    return f"{', '.join(first)} and {last}"
