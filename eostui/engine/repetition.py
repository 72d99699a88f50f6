"""What a run's repeated steps start from, and what is told of how they compare with its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.engine.calibration import FRAME
from eostui.engine.comparison import ComparingWriter, Past, Progress
from eostui.engine.origin import origin_of
from eostui.engine.recorder import Divergence
from eostui.engine.same_problem import FLAG, Recognition, recognise
from eostui.engine.session import EngineSession
from eostui.engine.snapshot import restore, snapshot
from eostui.errors import InputError
from eostui.probes.probe_set import ProbeSet
from eostui.runs.record import Record
from eostui.runs.store import checkpoints
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.reader import facts_of

#: Facts of where it was computed: other ones may round otherwise, which is told.
_ENVIRONMENT = (
    "eostui",
    "torch",
    "numpy",
    "python",
    "device",
    "device_name",
    "threads",
    "processes",
    "tensor_cores",
)


def recognise_or_refuse(
    session: EngineSession,
    path: Path,
    checkpoint: Checkpoint | None,
    step: int,
    changed_data: bool,
    command: str,
) -> Recognition:
    """Compare the problem with that of a run, before a step of it is taken from a checkpoint on.

    Raises:
        InputError: if it isn't the same, and `changed_data` doesn't ask for that or can't have it.
    """
    found = recognise(path, session.problem, session.facts(path, ""), checkpoint)
    if "probes" in session.changed:  # a fork that was asked to measure something else
        found = replace(found, probes="")
    if found.probes:
        session.say(f"{path.name}: {found.probes}: what it measures from here on may be another")
    if not found.changed:
        return found
    if not changed_data:
        raise InputError(
            found.sentence(
                path.name,
                "put back what was there, or go on with what is there now by "
                f"`eostui {command} {FLAG}`",
            )
        )
    if (checkpoint.step if checkpoint else 0) != step:
        origin = origin_of(path)
        known = [f.step for f in checkpoints.files(path) if f.step >= origin]
        ways = dict.fromkeys([0, *known] if origin == 0 else known)
        raise InputError(
            f"{path.name}: to come to step {step}, steps would have to be repeated, and on changed "
            "data can't be; its state is on record, for `eostui fork --at`, before "
            f"{', '.join(f'step {way}' for way in ways)}"
        )
    session.say(found.sentence(path.name, "it goes on all the same, as was asked for"))
    return found


def on_other_data(session: EngineSession, checkpoint: Checkpoint) -> Checkpoint:
    """Return a state without what was computed on other data: ∇L of the step before it, where the
    search for eigenvectors was, and the reference of a calibration."""
    probes = ProbeSet(session.config, session.problem, session.probes, session.dynamics.stability)
    restore(checkpoint, {"probes": probes}, session.problem.initial.device)
    probes.forget()
    fresh = snapshot(checkpoint.step, checkpoint.events, {"probes": probes})
    plain = checkpoint.plain
    gone: dict[str, Any] = {
        "trainer.gradient": None,
        "recorder.calibration": 0,
        "recorder.calibrations": plain.get("recorder.calibrations", plain["recorder.calibration"]),
        "calibrator.since": [],
        **{f"calibrator.{name}": None for name in FRAME},
    }

    def kept(values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in values.items()
            if not name.startswith("probes.") and name not in gone
        }

    tensors = {**kept(checkpoint.tensors), **fresh.tensors}
    return replace(checkpoint, tensors=tensors, plain={**kept(plain), **fresh.plain, **gone})


def state_after(
    session: EngineSession,
    path: Path,
    checkpoint: Checkpoint | None,
    step: int,
    recognition: Recognition,
    progress: Progress,
) -> tuple[Checkpoint, dict[str, Any]]:
    """Return the state of a run before `step`, which a checkpoint leads to, and what is told of how.

    Args:
        session: of the same problem.
        path: of the run.
        checkpoint: of that step or one before it; None for step 0.
        step: its next one.
        recognition: of the problem.
        progress: told of the steps that must be repeated to get there.

    Raises:
        InputError: if these diverge.
        EostuiError: if the record is damaged, or the session was stopped.
    """
    record = Record.of(path, checkpoint)
    store = ComparingWriter(record, path, checkpoint.events if checkpoint else 0, None)
    if checkpoint is not None and checkpoint.step == step:
        return checkpoint, told_of_repetition(session, path, record, store, recognition)
    config = RunConfig.from_toml(facts_of(path)["config"], f"{path}: stored config")
    driver = session.driver_of(config.changed({"chunk_size": session.config.chunk_size}))
    session.refuse_stopped(path)
    try:
        past = Past(
            checkpoint, step, origin_of(path), record.controls, progress, older=record.older
        )
        driver.repeat(store, past)
    except Divergence as divergence:
        raise InputError(f"{path.name} diverged at step {divergence.step}") from None
    session.refuse_stopped(path)
    told = told_of_repetition(session, path, record, store, recognition)
    driver.trajectory.programs.release()  # what goes on from here needs the memory
    return driver.snapshot(), told


def told_of_repetition(
    session: EngineSession,
    path: Path,
    record: Record,
    store: ComparingWriter,
    recognition: Recognition,
) -> dict[str, Any]:
    """Return what an event tells of a repetition; say it too where it left the record.

    `steps` of the record were repeated from `from` on, L and ∇L `recomputed` at a step; `identical`
    is told only where one of them could be compared to the bit.
    """
    told: dict[str, Any] = {"from": record.first, "steps": store.compared}
    differences = [*store.differences]
    known = store.compared > 0
    if (again := recognition.recomputed) is not None:
        told["recomputed"] = again.step
        known |= again.exact or again.difference is None
        if again.exact and again.difference is not None:
            differences.append(again.difference)
    if known:
        told["identical"] = not differences and store.exact
    if recognition.rounded:
        told["rounded"] = list(recognition.rounded)
    then, now = facts_of(path), session.facts(path, "")
    elsewhere = {key: [then.get(key, ""), now.get(key, "")] for key in _ENVIRONMENT}
    if others := {key: pair for key, pair in elsewhere.items() if pair[0] != pair[1]}:
        told["elsewhere"] = others
    if differences:
        told["difference"] = str(differences[0])
        if not recognition.changed:  # that was said
            session.say(f"repeated, it isn't what is on record: {told['difference']}")
    return told
