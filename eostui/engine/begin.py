"""How a run begins: new, gone on with, or forked; and how one is repeated."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import eostui
from eostui.config import RunConfig
from eostui.curvature.state import ProbeState
from eostui.engine.calibration import FRAME
from eostui.engine.comparison import ComparingWriter, Difference, Past, Progress
from eostui.engine.controls import Controls
from eostui.engine.device import prepare_machine
from eostui.engine.facts import initial_facts
from eostui.engine.fingerprint import PREFIX, has_fingerprints
from eostui.engine.loop import Trainer
from eostui.engine.recognition import FLAG, Recognition, recognise
from eostui.engine.recorder import Divergence
from eostui.engine.snapshot import restore, snapshot
from eostui.errors import EostuiError, InputError, RunFormatError, StoreError
from eostui.problems import build_problem
from eostui.runs.analysis.remarks import SAID, TRUSTED
from eostui.runs.fork import copy_history
from eostui.runs.record import Record
from eostui.runs.shelf import read_entry
from eostui.runs.store import checkpoints, commands, schema
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.reader import facts_of
from eostui.runs.store.rows import Event
from eostui.runs.store.writer import RunWriter, make_durable, not_begun

#: Facts of where it was computed: other ones may round otherwise, which is told.
_ENVIRONMENT = ("eostui", "torch", "numpy", "python", "device", "device_name", "threads")


class Workshop:
    """The machine and the problem of one config, for any number of trainers.

    Attributes:
        config: the config, with what was chosen for this machine filled in.
        problem: what is trained.
        trainer: that of the run.
    """

    def __init__(
        self,
        config: RunConfig,
        data_dir: Path,
        say: Callable[[str], None],
        like: Path | None = None,
        changed: Collection[str] = (),
    ) -> None:
        """Build the problem.

        Args:
            config: of the run.
            data_dir: where the data sets are.
            say: told what is done.
            like: a run on whose device, with as many threads, it computes.
            changed: the settings that are as the config says, whatever `like` had.

        Raises:
            InputError: if the data or the device aren't there.
        """
        had: dict[str, Any] = {}
        if like is not None:
            device = facts_of(like).get("device", "cpu")
            had = {"device": device, "threads": _whole(like, "threads", "1")}
        self._machine = prepare_machine(
            config.changed({key: had[key] for key in had if key not in changed}, f"{like}")
        )
        say("building the problem")
        self.problem = build_problem(config, self._machine.device, data_dir, say)
        if config.chunk_size == "auto":  # what was chosen belongs to the run
            config = config.changed({"chunk_size": self.problem.chunk_size})
        self.config = config
        self._changed = changed
        self._say = say
        self.trainer = self._at_work = Trainer(config, self.problem)

    def stop(self, reason: str) -> None:
        """End what is at work before its next step, be it the run or a repetition that leads to it."""
        for trainer in (self.trainer, self._at_work):
            trainer.controls.request_stop(reason)

    def new(self, path: Path, name: str) -> RunWriter:
        """Make the directory of a new run. Raises EostuiError if it can't be, or `stop` was called."""
        with self._making(path, self._facts(path, name)) as writer:
            self._remark(writer, 0)
            return writer

    def resume(
        self, path: Path, progress: Progress, *, changed_data: bool = False
    ) -> ComparingWriter:
        """Take up the run at `path` where its record ends, from its newest sound checkpoint.

        Args:
            path: the run directory.
            progress: told of the steps that must be repeated.
            changed_data: whether it goes on also where the problem isn't what it was.

        Raises:
            InputError: if it can't be gone on with, or on other data without being asked for; its
                record stays as it is.
            EostuiError: if its record is damaged, or another engine drives it.
        """
        origin, until = origin_of(path), read_entry(path).last_step + 1
        begin, _ = _newest_sound(path, until, origin)
        recognition = self._recognise(path, begin, until, changed_data, f"resume {path.name}")
        writer = RunWriter(path)
        try:
            commands.take(path)  # they were meant for an engine that is gone
            for reason in _remove_beyond(path, until):
                writer.event(until, "unsound", {"reason": reason})
            checkpoint, unsound = _newest_sound(path, until, origin)
            record = Record.of(path, checkpoint)
            store = ComparingWriter(record, path, checkpoint.events if checkpoint else 0, writer)
            past = Past(
                checkpoint, until, origin, record.controls, progress, saves=True, older=record.older
            )
            if recognition.changed and checkpoint is not None:
                past = replace(past, checkpoint=self._on_other_data(checkpoint))
            self.trainer.repeat(store, past)
            self._refuse_stopped(path)
            store.end()
            if recognition.changed and past.checkpoint is not None:
                checkpoints.write(path, past.checkpoint)
        except BaseException:
            writer.close()
            raise
        for reason in unsound:
            writer.event(record.next_step, "unsound", {"reason": reason})
        if recognition.changed:
            writer.event(record.next_step, "changed", {"what": list(recognition.changed)})
            writer.fact("changed_step", str(record.next_step))
            self._remark(writer, record.next_step)
        writer.event(
            record.next_step, "continued", self._compared(path, record, store, recognition)
        )
        for key, value in (
            *self._new_facts(path, recognition),
            ("config", self.config.to_toml()), ("status", "running"), ("sentence", "")
        ):  # fmt: skip
            writer.fact(key, value)
        try:
            writer.flush()
        except StoreError:
            writer.abandon()
            raise
        return store

    def fork(
        self,
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
            path: of the new run.
            name: of the new run.
            parent: the other run directory.
            at: the first step that the new run takes itself.
            controls: η and λ from there on, where they shall be others.
            progress: told of the steps that must be repeated to get there.
            changed_data: whether it goes on also where the problem isn't what it was.

        Raises:
            InputError: if the problem isn't what it was, without being asked for.
            EostuiError: if the parent's record is damaged, there is no way to that step, or `stop` was
                called; no directory is left then.
        """
        state, changed, told = self._state_at(parent, at, progress, changed_data)
        if changed:
            state = self._on_other_data(state)
        if "calibrate_at" in self._changed:  # it counts from here on, whatever the parent waits for
            wanted = {"calibrator.wanted": self.config.calibrate_at}
            state = replace(state, plain={**state.plain, **wanted})
        facts = {**self._facts(path, name), "parent": parent.name, "parent_step": str(at)}
        with self._making(path, facts) as writer:
            copy_history(parent, writer, state, self.config.reading)
            asked = Record.of(parent, state).controls.get(at, [])
            change = _change(state, asked, controls)
            if change is not None:
                writer.past_event(change)
                asked = [*asked, change]
            if changed:
                writer.event(at, "changed", {"what": list(changed)})
            writer.event(at, "forked", told)
            self._remark(writer, at)
            writer.flush()
            make_durable(path)
            checkpoints.write(path, state)
            self.trainer.repeat(writer, Past(state, at, at, {at: asked}, progress))
            return writer

    def _state_at(
        self, path: Path, step: int, progress: Progress, changed_data: bool
    ) -> tuple[Checkpoint, Sequence[str], dict[str, Any]]:
        """Return the state of a run before a step, what changed since, and how what led there compares
        with its record.

        It is a checkpoint's, gone on from if need be.
        """
        origin = origin_of(path)
        if step < origin:
            raise InputError(_not_before(path, origin))
        checkpoint, _ = _newest_sound(path, step, origin)
        command = f"fork {path.name} --at {step}"
        recognition = self._recognise(path, checkpoint, step, changed_data, command)
        record = Record.of(path, checkpoint)
        store = ComparingWriter(record, path, checkpoint.events if checkpoint else 0, None)
        if checkpoint is not None and checkpoint.step == step:
            compared = self._compared(path, record, store, recognition)
            return checkpoint, recognition.changed, compared
        config = RunConfig.from_toml(facts_of(path)["config"], f"{path}: stored config")
        trainer = Trainer(config.changed({"chunk_size": self.config.chunk_size}), self.problem)
        self._at_work = trainer
        self._refuse_stopped(path)
        try:
            past = Past(checkpoint, step, origin, record.controls, progress, older=record.older)
            trainer.repeat(store, past)
        except Divergence as divergence:
            raise InputError(f"{path.name} diverged at step {divergence.step}") from None
        self._refuse_stopped(path)
        compared = self._compared(path, record, store, recognition)
        return trainer.snapshot(), recognition.changed, compared

    def _recognise(
        self,
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
        found = recognise(path, self.problem, self._facts(path, ""), checkpoint)
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
        self._say(found.sentence(path.name, "it goes on all the same, as was asked for"))
        return found

    def refuse_changed(self, path: Path, checkpoint: Checkpoint | None) -> None:
        """Raise InputError if the problem isn't that of a run whose steps shall be repeated."""
        found = recognise(path, self.problem, self._facts(path, ""), checkpoint)
        if found.changed:
            raise InputError(
                found.sentence(
                    path.name, "its steps can be repeated once what was there is put back"
                )
            )

    def _on_other_data(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return a state without what was computed on other data: ∇L of the step before it, where the
        search for eigenvectors was, and the reference of a calibration."""
        probes = ProbeState(self.config, self.problem)
        restore(checkpoint, {"probes": probes}, self.problem.initial.device)
        probes.forget()
        fresh = snapshot(checkpoint.step, checkpoint.events, {"probes": probes})
        plain = checkpoint.plain
        gone: dict[str, Any] = {
            "trainer.gradient": None,
            "recorder.calibration": 0,
            "recorder.calibrations": plain.get(
                "recorder.calibrations", plain["recorder.calibration"]
            ),
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

    def _compared(
        self, path: Path, record: Record, store: ComparingWriter, recognition: Recognition
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
        then, now = facts_of(path), self._facts(path, "")
        elsewhere = {key: [then.get(key, ""), now[key]] for key in _ENVIRONMENT}
        if others := {key: pair for key, pair in elsewhere.items() if pair[0] != pair[1]}:
            told["elsewhere"] = others
        if differences:
            told["difference"] = str(differences[0])
            if not recognition.changed:  # that was said
                self._say(f"repeated, it isn't what is on record: {told['difference']}")
        return told

    def _remark(self, writer: RunWriter, step: int) -> None:
        """Begin the record with what its reader must know of the problem."""
        for kind in (SAID, TRUSTED):
            if text := self.problem.facts.get(kind):
                writer.event(step, kind, {"text": text})

    def _new_facts(self, path: Path, recognition: Recognition) -> Iterator[tuple[str, str]]:
        """Yield what a run states about its problem from now on, where that isn't what it stated."""
        then, now = facts_of(path), self._facts(path, "")
        if recognition.changed or not has_fingerprints(then):
            for key in dict.fromkeys((*then, *now)):
                if key.startswith((PREFIX, "problem.")) or key == "convention":
                    yield key, now.get(key, "")

    @contextmanager
    def _making(self, path: Path, facts: Mapping[str, str]) -> Iterator[RunWriter]:
        """Make the directory of a run that begins; what fails or is stopped within leaves none."""
        writer = RunWriter(path, facts)
        try:
            yield writer
            self._refuse_stopped(path)
        except BaseException as error:
            writer.discard()
            if isinstance(error, StoreError):
                raise not_begun(path, error) from error
            raise

    def _refuse_stopped(self, path: Path) -> None:
        """Raise EostuiError if `stop` was called."""
        if self.trainer.controls.stop:
            raise EostuiError(f"{path.name}: stopped before it could begin")

    def _facts(self, path: Path, name: str) -> dict[str, str]:
        own = {"id": path.name, "name": name, "created": str(time.time())}
        return {**self._common_facts, **own}

    @functools.cached_property
    def _common_facts(self) -> dict[str, str]:
        return initial_facts(self.config, self._machine, self.problem, "", "")


@dataclass(frozen=True)
class Replay:
    """What came of taking a run's steps once more.

    Attributes:
        record: of the run, from its first own step on.
        differences: where the repetition first left it, by what differs; with a record of another
            version, by more than both allow for.
        measurements: how many were compared.
        exact: whether all of these were the same to the bit.
    """

    record: Record
    differences: list[Difference]
    measurements: int
    exact: bool

    @property
    def across_versions(self) -> bool:
        """Whether another version of eostui made the record."""
        return self.record.version not in ("", eostui.__version__)


def replay(workshop: Workshop, path: Path, progress: Progress) -> Replay:
    """Take all own steps of a run once more.

    Raises:
        InputError: if the problem isn't what it was.
        EostuiError: if the record is damaged.
    """
    origin = origin_of(path)
    checkpoint = _newest_sound(path, origin, origin)[0] if origin else None
    workshop.refuse_changed(path, checkpoint)
    record = Record.of(path, checkpoint)
    store = ComparingWriter(record, path, checkpoint.events if checkpoint else 0, None)
    past = Past(checkpoint, record.next_step, origin, record.controls, progress)
    try:
        workshop.trainer.repeat(store, past)
    except Divergence as divergence:  # as it did then, or at another step now
        if divergence.step != record.next_step - 1:
            store.note(divergence.step, "ended", "no", "diverged")
    store.end()
    differences = sorted(store.differences, key=lambda difference: difference.step)
    return Replay(record, differences, store.measured, store.exact)


def origin_of(path: Path) -> int:
    """Return the step at which a run's own steps begin: that of its fork or of a change of data, or 0.

    Raises:
        RunFormatError: if the record is damaged.
    """
    return max(_whole(path, key, "0") for key in schema.ORIGIN_FACTS)


def _not_before(path: Path, origin: int) -> str:
    """Return why a run can't be repeated before its own steps."""
    if facts_of(path).get("changed_step") == str(origin):
        return f"{path.name} went on with changed data at step {origin}: fork it there or later"
    return f"{path.name} is itself a fork from step {origin} on: fork its parent"


def _whole(path: Path, key: str, otherwise: str) -> int:
    """Return a fact of a run as a whole number. Raises RunFormatError if it is none."""
    text = facts_of(path).get(key, otherwise)
    try:
        return int(text)
    except ValueError:
        raise RunFormatError(f"{path}: its fact `{key}` is damaged: `{text}`") from None


def _remove_beyond(path: Path, step: int) -> Iterator[str]:
    """Remove the checkpoints after a step: their rows are lost, and other steps may take their place.

    Yields:
        A sentence for each.
    """
    for file in checkpoints.files(path):
        if file.step > step:
            file.path.unlink()
            yield f"{file.path}: removed, since the rows from step {step} to it are lost"


def _newest_sound(path: Path, step: int, origin: int) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest sound checkpoint up to a step, None for step 0, and what is unsound after it.

    Raises:
        RunFormatError: if there is none, and the run doesn't begin at step 0.
    """
    unsound: list[str] = []
    for file in reversed(checkpoints.files(path)):
        if origin <= file.step <= step:
            try:
                return checkpoints.read(file.path), unsound
            except RunFormatError as error:
                unsound.append(str(error))
    if origin:
        changed = facts_of(path).get("changed_step") == str(origin)
        what, then = ("change of data", "") if changed else ("fork", ": fork its parent again")
        raise RunFormatError(
            f"{path}: the checkpoint of its {what} at step {origin} is missing or damaged, "
            f"and nothing else leads to its own steps{then}"
        )
    return None, unsound


def _change(state: Checkpoint, asked: list[Event], wanted: Mapping[str, float]) -> Event | None:
    """Return the control change of a fork, after what its parent changed at the same step."""
    controls = Controls(math.nan, math.nan)
    controls.restore({name: state.plain[f"controls.{name}"] for name in ("eta", "weight_decay")})
    controls.repeat(state.step, asked)
    now = controls.state()
    changes = {name: [now[name], value] for name, value in wanted.items() if value != now[name]}
    return Event(state.step, time.time(), "control", changes) if changes else None
