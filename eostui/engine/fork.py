"""`fork`: a run that begins as another was before a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eostui.engine.comparison import Past, Progress
from eostui.engine.controls import Controls
from eostui.engine.origin import began_on_other_data, newest_sound, origin_of
from eostui.engine.repetition import on_other_data, recognise_or_refuse, state_after
from eostui.engine.same_problem import Recognition
from eostui.engine.session import EngineSession
from eostui.engine.snapshot import restore
from eostui.errors import InputError
from eostui.probes import PROBES
from eostui.runs.analysis.remarks import PROBES_CHANGED
from eostui.runs.analysis.stops import KINDS, inherited
from eostui.runs.fork import copy_history
from eostui.runs.record import Record
from eostui.runs.store import checkpoints
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.lookup import events_of
from eostui.runs.store.own_columns import PROBES_FACT, joined, probe_columns_of, probes_fact
from eostui.runs.store.reader import RunReader, facts_of
from eostui.runs.store.writer import RunWriter, make_durable
from eostui.stop_condition import Stop


def fork(
    session: EngineSession,
    path: Path,
    name: str,
    parent: Path,
    at: int,
    controls: Mapping[str, float],
    progress: Progress,
    *,
    changed_data: bool = False,
) -> RunWriter:
    """Make a run that begins as the one at `parent` was before step `at`.

    Args:
        session: of the fork's config; its driver goes on from here.
        path: of the new run.
        name: of the new run.
        parent: the other run directory.
        at: the first step that the new run takes itself.
        controls: those that shall have other values from there on, by name.
        progress: told of the steps that must be repeated to get there.
        changed_data: whether it goes on also where the problem isn't what it was.

    Raises:
        InputError: if the problem isn't what it was, without being asked for.
        EostuiError: if the parent's record is damaged, there is no way to that step, or the session
            was stopped; no directory is left then.
    """
    state, recognition, told = _state_at(session, parent, at, progress, changed_data)
    if recognition.changed:
        state = on_other_data(session, state)
    if "calibrate_at" in session.changed:  # it counts from here on, whatever the parent waits for
        wanted = {"calibrator.wanted": session.config.calibrate_at}
        state = replace(state, plain={**state.plain, **wanted})
    on = [kind.name for kind in session.probes[len(PROBES) :]]
    state = replace(state, plain={**state.plain, "probes.on": on})  # what its config says
    facts = {**session.facts(path, name), "parent": parent.name, "parent_step": str(at)}
    probes = joined(
        probe_columns_of(facts), probe_columns_of(facts_of(parent))
    )  # its history is of both
    facts[PROBES_FACT] = probes_fact(probes)
    with session.making(path, facts) as writer:
        copy_history(parent, writer, state, session.config.reading)
        _change(session, parent, state, controls, writer)
        if recognition.probes:
            writer.event(at, PROBES_CHANGED, {"what": recognition.probes})
        if recognition.changed:
            writer.event(at, "changed", {"what": list(recognition.changed)})
        writer.event(at, "forked", told)
        if stops := _stops(session, parent, at):
            session.driver.controls.stop_at(stops, writer, at)
        session.remark(writer, at)
        writer.flush()
        make_durable(path)
        checkpoints.write(path, state)
        session.driver.repeat(
            writer, Past(state, at, at, Record.of(path, state).controls, progress)
        )
        if recognition.probes:
            session.driver.trajectory.probes.turn_on()
        return writer


def _stops(session: EngineSession, parent: Path, at: int) -> tuple[Stop, ...]:
    """Return what is to end a fork: what it was given, or of its parent's setting what that hadn't
    reached."""
    conditions = session.config.stop_conditions
    if "stop_at" in session.changed:
        return tuple(Stop(condition) for condition in conditions)
    reader = RunReader(parent)
    try:
        return inherited(conditions, events_of(reader, *KINDS), at)
    finally:
        reader.close()


def _state_at(
    session: EngineSession, path: Path, step: int, progress: Progress, changed_data: bool
) -> tuple[Checkpoint, Recognition, dict[str, Any]]:
    """Return the state of a run before a step, what changed since, and how what led there compares
    with its record.

    It is a checkpoint's, gone on from if need be.
    """
    origin = origin_of(path)
    if step < origin:
        raise InputError(_not_before(path, origin))
    checkpoint, _ = newest_sound(path, step, origin)
    command = f"fork {path.name} --at {step}"
    recognition = recognise_or_refuse(session, path, checkpoint, step, changed_data, command)
    state, told = state_after(session, path, checkpoint, step, recognition, progress)
    return state, recognition, told


def _not_before(path: Path, origin: int) -> str:
    """Return why a run can't be repeated before its own steps."""
    if began_on_other_data(path, origin):
        return f"{path.name} went on with changed data at step {origin}: fork it there or later"
    return f"{path.name} is itself a fork from step {origin} on: fork its parent"


def _change(
    session: EngineSession,
    parent: Path,
    state: Checkpoint,
    wanted: Mapping[str, float],
    writer: RunWriter,
) -> None:
    """Record the control changes of a fork, after what its parent changed at the same step.

    Raises:
        InputError: if the controls can't be so after that.
    """
    step = state.step
    asked = Record.of(parent, state).controls.get(step, [])
    controls = Controls.of(session.config, session.dynamics.stability)
    restore(state, {"controls": controls}, session.problem.initial.device)
    if refusal := controls.fork(step, asked, wanted, writer):
        raise InputError(f"fork of {parent.name} at step {step}: {refusal}")
