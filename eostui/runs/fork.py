"""Forks: a new run that begins as another was before a step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.errors import InputError, RunFormatError
from eostui.runs.analysis.switched_probes import FORKED, SWITCHED, names_of, probes_in_force
from eostui.runs.record import is_control
from eostui.runs.shelf import Entry
from eostui.runs.store import schema
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.lookup import events_of
from eostui.runs.store.poller import News, Poller
from eostui.runs.store.reader import RunReader, facts_of
from eostui.runs.store.readings import ProbeReading, one_by_one, unpacked
from eostui.runs.store.writer import RunWriter
from eostui.schedule import SCHEDULED, ControlChange, Ramp, begun, still_on_way
from eostui.stability import (
    ETA,
    INTERVENTIONS,
    Control,
    Description,
    at_start,
    changed_to,
    in_force,
    refuse,
)

#: What a fork may change: how long it goes on, what is measured and when. Its controls (η, λ and the
#: like) may change as well, as they may in any run.
CHANGEABLE = (
    "steps", "stop_at", "rest_window", "rest_drift", "cadence", "far_cadence", "measure", "eigenvalues",
    "spectrum_cadence", "smallest_eigenvalue", "tolerance", "vector_tolerance", "test_cadence",
    "probes", "ntk_cadence",
    "ntk_samples", "ntk_split", "density_cadence", "density_at", "trace_cadence", "trace_draws",
    "trace_samples", "ema_decay", "batch_sharpness_cadence", "batch_sharpness_draws", "noise_cadence",
    "noise_draws", "pin_at", "flow_at", "flow_substeps", "eigenvectors_budget", "calibrate_at",
    "checkpoint_every", "checkpoint_budget", "device", "threads", "processes",
)  # fmt: skip


def parent_controls(parent: Entry) -> dict[str, Control]:
    """Return what a run is steered by, by name: the controls of its dynamics, and interventions where its
    S is the Hessian's.

    Raises:
        RunFormatError: if its record is damaged.
    """
    try:
        description = Description.of_facts(facts_of(parent.path))
    except ValueError as error:
        raise RunFormatError(f"{parent.path}: {error}") from None
    interventions = () if description.operator else INTERVENTIONS
    return {control.name: control for control in (*description.controls, *interventions)}


def forked_config(parent: Entry, at: int, changes: Mapping[str, Any]) -> RunConfig:
    """Return the config of a fork. Its controls stay those that the common history began with.

    Of the changes that its parent's config makes later, those of controls that the fork changes itself
    are left out: "λ = 0 from here on" holds to its end.

    Args:
        parent: the run that is forked.
        at: the first step that the fork takes itself.
        changes: settings, with η, λ and other controls among them if they change at that step.

    Raises:
        InputError: if that step isn't there, or a setting can't change.
    """
    if not 0 <= at <= parent.last_step + 1:
        raise InputError(
            f"{parent.id} can't be forked at step {at}: it has the steps 0 to {parent.last_step}"
        )
    controls = parent_controls(parent)
    for each in INTERVENTIONS:
        if each.name in changes and each.name not in controls:
            raise InputError(
                f"`{each.name}` is given, but the dynamics {parent.config.dynamics} has no "
                "interventions: its eigenvectors aren't the Hessian's"
            )
    for key in changes:
        if key in RunConfig.model_fields and key not in (*CHANGEABLE, *controls):
            raise InputError(
                f"a fork goes on with the same problem, so `{key}` can't change; "
                f"what can: {', '.join((*controls, *CHANGEABLE))}"
            )
    where = f"fork of {parent.id}"
    asked = {key: changes[key] for key in controls if key in changes}
    refusal = refuse({**parent_controls_at(parent, at), **asked}, controls) if asked else None
    if refusal:
        raise InputError(f"{where} at step {at}: {refusal}")
    kept = {key: value for key, value in changes.items() if key not in controls}
    kept.setdefault("probes", _probes_on(parent, at))
    fired = _accuracies_reached(parent, at) if asked else set()
    kept["controls"] = _its_own_way(parent.config.controls, at, asked, fired)
    kept["forks"] = ()  # they are the parent's
    config = parent.config.changed(kept, where)
    for key in ("pin_at", "flow_at", "calibrate_at"):
        wanted = changes.get(key) and getattr(config, key)
        if isinstance(wanted, int) and wanted < at:
            raise InputError(f"`{key}` is {wanted}, but the {where} begins at step {at}")
    if config.steps < at:
        raise InputError(
            f"{where} at step {at}: it ends after {config.steps} steps: give it more by --steps"
        )
    return config


def with_eta_cut(parent: Entry, at: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes of a fork with `eta_factor`, if it is among them, as the η that it makes.

    Raises:
        InputError: if it can't be a factor of η, or η is given too.
    """
    changes = dict(changes)
    factor = changes.pop("eta_factor", None)
    if factor is None:
        return changes
    if ETA.name in changes:
        raise InputError("`eta` and `eta_factor` both say what η is: give one of them")
    if refusal := ETA.refusal(factor, "`eta_factor`"):
        raise InputError(refusal)
    return {**changes, ETA.name: parent_controls_at(parent, at)[ETA.name] * factor}


def newest_fork_step(last_step: int, state: str) -> int:
    """Return the step at which a fork goes on from where a run is.

    After its last step, whose state one that ended in order has kept, and one that was killed comes to
    again; a live run is past that soon, and nothing comes after a divergence.
    """
    past_it = state in ("finished", "stopped", "interrupted")
    return max(last_step + past_it, 0)


def _probes_on(parent: Entry, at: int) -> tuple[str, ...]:
    """Return the probes that a run measures by at a step, as a config names them.

    Raises:
        RunFormatError: if its record is damaged.
    """
    reader = RunReader(parent.path)
    try:
        switches = events_of(reader, SWITCHED, FORKED)
    finally:
        reader.close()
    references = {name: each for each, name in names_of(parent.config, reader.probes).items()}
    on = probes_in_force(parent.config, reader.probes, switches, at)
    return tuple(references.get(name, name) for name in on)


def _its_own_way(
    controls: Iterable[ControlChange], at: int, asked: Mapping[str, Any], fired: Collection[float]
) -> tuple[ControlChange, ...]:
    """Return scheduled changes without those after step `at` of what is asked for there.

    Args:
        controls: the changes.
        at: a step.
        asked: new controls from there on, by name.
        fired: the accuracies that were reached up to there.
    """
    left = []
    for change in controls:
        comes = change.at_accuracy not in fired if change.at is None else change.at > at
        keys = change.model_dump()
        if comes:
            keys = {key: value for key, value in keys.items() if key not in asked}
            if ETA.name in asked:
                keys.pop("eta_factor", None)
            start = keys.pop("warm_up_from", {})
            if start := {key: value for key, value in start.items() if key not in asked}:
                keys["warm_up_from"] = start
        if not comes or any(key not in asked for key in change.changed):
            left.append(ControlChange(**keys))
    return tuple(left)


def _accuracies_reached(parent: Entry, at: int) -> set[float]:
    """Return the accuracies by which a run's config changed its controls up to a step."""
    reader = RunReader(parent.path)
    try:
        events = events_of(reader, SCHEDULED)
        return {
            e.payload["at_accuracy"] for e in events if e.step <= at and "at_accuracy" in e.payload
        }
    finally:
        reader.close()


def parent_controls_at(parent: Entry, step: int) -> dict[str, float]:
    """Return the controls with which a run took a step, or would take its next one, by name.

    Raises:
        RunFormatError: if its record is damaged.
    """
    start = at_start(parent_controls(parent).values(), parent.config)
    reader = RunReader(parent.path)
    try:
        changes = [
            (event.step, changed_to(event.payload)) for event in events_of(reader, "control")
        ]
    except (LookupError, TypeError, ValueError) as error:
        raise RunFormatError(f"{parent.path}: a control change is damaged: {error}") from None
    finally:
        reader.close()
    return in_force(start, changes, step)


def on_their_way(parent: Entry, step: int) -> dict[str, Ramp]:
    """Return the warm-ups of a run's controls that go on at a step, or end with it, by name.

    Raises:
        RunFormatError: if its record is damaged.
    """
    ramps: dict[str, Ramp] = {}
    reader = RunReader(parent.path)
    try:
        for event in events_of(reader, "control", SCHEDULED):
            if event.step <= step and event.kind == SCHEDULED:
                ramps |= begun(event.step, event.payload)
            elif event.step <= step:
                ramps = still_on_way(ramps, event.step, event.payload)
    except (LookupError, TypeError, ValueError) as error:
        raise RunFormatError(f"{parent.path}: a control change is damaged: {error}") from None
    finally:
        reader.close()
    return {name: ramp for name, ramp in ramps.items() if step <= ramp.last}


def copy_history(parent: Path, writer: RunWriter, checkpoint: Checkpoint, reading: str) -> None:
    """Write what a run was before a checkpoint's step into a fork of it.

    Args:
        parent: the run directory that is forked.
        writer: of the fork, which has no rows yet.
        checkpoint: the state at the fork.
        reading: `raw` or `midpoint`.
    """
    step = checkpoint.step
    reader = RunReader(parent)
    try:
        first = told = 0
        for news in Poller(reader).all_news():
            rows = news.steps[: max(step - first, 0)]
            if len(rows):
                writer.steps(first, rows, reader.step_columns)
            first += len(news.steps)
            for at, probe, numbers, seconds, products in one_by_one(news.readings):
                if at < step:
                    values = unpacked(reader.probes[probe], numbers)
                    writer.reading(ProbeReading(at, probe, values, reading, seconds, products))
            _copy_calibrated(news, writer, checkpoint)
            if news.landscape is not None:
                writer.landscape(news.landscape)
            for event in news.events:
                derived = event.kind in schema.DERIVED_EVENTS
                told += derived
                if derived:
                    of_history = told <= checkpoint.events
                else:  # at the step itself, what acts from it on
                    of_history = event.step < step or (
                        # which probes are on then is in the fork's config
                        event.step == step and is_control(event) and event.kind != SWITCHED
                    )
                if of_history:
                    writer.past_event(event)
    finally:
        reader.close()


def _copy_calibrated(news: News, writer: RunWriter, checkpoint: Checkpoint) -> None:
    """Copy x and q of the calibrations that were known at the checkpoint."""
    known = int(checkpoint.plain["recorder.calibration"])
    steps, numbers = news.calibrated[:, 0], news.calibrated[:, 1]
    for number in range(1, known + 1):
        rows = news.calibrated[(numbers == number) & (steps < checkpoint.step)]
        if len(rows):
            writer.calibrated(number, int(rows[0, 0]), rows[:, 2:])
