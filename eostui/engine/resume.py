"""`resume`: a run goes on in its own directory, where its record ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from eostui.engine.comparison import ComparingWriter, Past, Progress
from eostui.engine.fingerprint import PREFIX, has_fingerprints
from eostui.engine.origin import newest_sound, origin_of
from eostui.engine.repetition import on_other_data, recognise_or_refuse, told_of_repetition
from eostui.engine.same_problem import Recognition
from eostui.engine.session import EngineSession
from eostui.errors import StoreError
from eostui.runs.analysis.remarks import PROBES_CHANGED
from eostui.runs.analysis.stops import KINDS, pending
from eostui.runs.record import Record
from eostui.runs.shelf import read_entry
from eostui.runs.store import checkpoints, commands
from eostui.runs.store.lookup import events_of
from eostui.runs.store.reader import RunReader, facts_of
from eostui.runs.store.writer import RunWriter
from eostui.stop_condition import Stop


def resume(
    session: EngineSession,
    path: Path,
    progress: Progress,
    *,
    changed_data: bool = False,
    other_stops: bool = False,
) -> ComparingWriter:
    """Take up the run at `path` where its record ends, from its newest sound checkpoint.

    Args:
        session: of the run's config; its driver goes on from here.
        path: the run directory.
        progress: told of the steps that must be repeated.
        changed_data: whether it goes on also where the problem isn't what it was.
        other_stops: whether it ends at what its config says from here on, whatever it had reached.

    Raises:
        InputError: if it can't be gone on with, or on other data without being asked for; its
            record stays as it is.
        EostuiError: if its record is damaged, or another engine drives it.
    """
    origin, until = origin_of(path), read_entry(path).last_step + 1
    begin, _ = newest_sound(path, until, origin)
    recognition = recognise_or_refuse(
        session, path, begin, until, changed_data, f"resume {path.name}"
    )
    writer = RunWriter(path)
    try:
        commands.take(path)  # they were meant for an engine that is gone
        for reason in _remove_beyond(path, until):
            writer.event(until, "unsound", {"reason": reason})
        checkpoint, unsound = newest_sound(path, until, origin)
        record = Record.of(path, checkpoint)
        store = ComparingWriter(record, path, checkpoint.events if checkpoint else 0, writer)
        past = Past(
            checkpoint, until, origin, record.controls, progress, saves=True, older=record.older
        )
        if recognition.changed and checkpoint is not None:
            past = replace(past, checkpoint=on_other_data(session, checkpoint))
        session.driver.repeat(store, past)
        session.refuse_stopped(path)
        store.end()
        if recognition.changed and past.checkpoint is not None:
            checkpoints.write(path, past.checkpoint)
    except BaseException:
        writer.close()
        raise
    for reason in unsound:
        writer.event(record.next_step, "unsound", {"reason": reason})
    if recognition.probes:
        writer.event(record.next_step, PROBES_CHANGED, {"what": recognition.probes})
        session.driver.trajectory.probes.turn_on()
    if recognition.changed:
        writer.event(record.next_step, "changed", {"what": list(recognition.changed)})
        writer.fact("changed_step", str(record.next_step))
        session.remark(writer, record.next_step)
    _go_on_to_stops(session, path, record.next_step, store if other_stops else None)
    told = told_of_repetition(session, path, record, store, recognition)
    writer.event(record.next_step, "continued", told)
    for key, value in (
        *_new_facts(session, path, recognition),
        ("config", session.config.to_toml()), ("status", "running"), ("sentence", "")
    ):  # fmt: skip
        writer.fact(key, value)
    try:
        writer.flush()
    except StoreError:
        writer.abandon()
        raise
    return store


def _go_on_to_stops(
    session: EngineSession, path: Path, step: int, store: ComparingWriter | None
) -> None:
    """Let end a run what was to end it and hasn't; or, recorded in `store`, what its config says."""
    controls = session.driver.controls
    if store is not None:
        stops = tuple(Stop(condition) for condition in session.config.stop_conditions)
        controls.stop_at(stops, store, step)
        return
    reader = RunReader(path)
    try:
        controls.stops = pending(events_of(reader, *KINDS))
    finally:
        reader.close()


def _remove_beyond(path: Path, step: int) -> Iterator[str]:
    """Remove the checkpoints after a step: their rows are lost, and other steps may take their place.

    Yields:
        A sentence for each.
    """
    for file in checkpoints.files(path):
        if file.step > step:
            file.path.unlink()
            yield f"{file.path}: removed, since the rows from step {step} to it are lost"


def _new_facts(
    session: EngineSession, path: Path, recognition: Recognition
) -> Iterator[tuple[str, str]]:
    """Yield what a run states about its problem from now on, where that isn't what it stated."""
    then, now = facts_of(path), session.facts(path, "")
    if recognition.changed or recognition.probes or not has_fingerprints(then):
        for key in dict.fromkeys((*then, *now)):
            if key.startswith((PREFIX, "problem.")) or key == "convention":
                yield key, now.get(key, "")
