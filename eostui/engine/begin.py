"""How a run begins: new, gone on with, or forked; and how one is repeated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.engine.comparison import ComparingWriter, Difference, Past, Progress
from eostui.engine.controls import Controls
from eostui.engine.device import prepare_machine
from eostui.engine.facts import initial_facts
from eostui.engine.loop import Trainer
from eostui.engine.recorder import Divergence
from eostui.errors import EostuiError, InputError, RunFormatError
from eostui.problems import build_problem
from eostui.runs import checkpoints, commands
from eostui.runs.branch import copy_history
from eostui.runs.checkpoints import Checkpoint
from eostui.runs.reader import facts_of
from eostui.runs.record import Record
from eostui.runs.rows import Event
from eostui.runs.shelf import read_entry
from eostui.runs.writer import RunWriter, make_durable


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
            return writer

    def resume(self, path: Path, progress: Progress) -> ComparingWriter:
        """Take up the run at `path` where its record ends, from its newest sound checkpoint.

        Raises:
            InputError: if it can't be gone on with.
            EostuiError: if its record is damaged, or another engine drives it.
        """
        writer = RunWriter(path)
        try:
            commands.take(path)  # they were meant for an engine that is gone
            origin, until = origin_of(path), read_entry(path).last_step + 1
            for reason in _remove_beyond(path, until):
                writer.event(until, "unsound", {"reason": reason})
            checkpoint, unsound = _newest_sound(path, until, origin)
            record = Record.of(path, checkpoint)
            store = ComparingWriter(record, path, checkpoint.events if checkpoint else 0, writer)
            past = Past(
                checkpoint, until, origin, record.controls, progress, saves=True, older=record.older
            )
            self.trainer.repeat(store, past)
            self._refuse_stopped(path)
        except BaseException:
            writer.close()
            raise
        for reason in unsound:
            writer.event(record.next_step, "unsound", {"reason": reason})
        writer.event(record.next_step, "continued", self._compared(record, store))
        for key, value in (
            ("config", self.config.to_toml()), ("status", "running"), ("sentence", "")
        ):  # fmt: skip
            writer.fact(key, value)
        writer.flush()
        return store

    def fork(
        self,
        path: Path,
        name: str,
        parent: Path,
        at: int,
        controls: Mapping[str, float],
        progress: Progress,
    ) -> RunWriter:
        """Make a run that begins as the one at `parent` was before step `at`.

        Args:
            path: of the new run.
            name: of the new run.
            parent: the other run directory.
            at: the first step that the new run takes itself.
            controls: η and λ from there on, where they shall be others.
            progress: told of the steps that must be repeated to get there.

        Raises:
            EostuiError: if the parent's record is damaged, there is no way to that step, or `stop` was
                called; no directory is left then.
        """
        state, told = self._state_at(parent, at, progress)
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
            writer.event(at, "forked", told)
            writer.flush()
            make_durable(path)
            checkpoints.write(path, state)
            self.trainer.repeat(writer, Past(state, at, at, {at: asked}, progress))
            return writer

    def _state_at(
        self, path: Path, step: int, progress: Progress
    ) -> tuple[Checkpoint, dict[str, Any]]:
        """Return the state of a run before a step, and how what led there compares with its record.

        It is a checkpoint's, gone on from if need be.
        """
        origin = origin_of(path)
        if step < origin:
            raise InputError(f"{path.name} is itself a fork from step {origin} on: fork its parent")
        checkpoint, _ = _newest_sound(path, step, origin)
        if checkpoint is not None and checkpoint.step == step:
            return checkpoint, {"from": step, "identical": True}
        record = Record.of(path, checkpoint)
        config = RunConfig.from_toml(facts_of(path)["config"], f"{path}: stored config")
        trainer = Trainer(config.changed({"chunk_size": self.config.chunk_size}), self.problem)
        self._at_work = trainer
        self._refuse_stopped(path)
        store = ComparingWriter(record, path, checkpoint.events if checkpoint else 0, None)
        try:
            past = Past(checkpoint, step, origin, record.controls, progress, older=record.older)
            trainer.repeat(store, past)
        except Divergence as divergence:
            raise InputError(f"{path.name} diverged at step {divergence.step}") from None
        self._refuse_stopped(path)
        return trainer.snapshot(), self._compared(record, store)

    def _compared(self, record: Record, store: ComparingWriter) -> dict[str, Any]:
        """Return what an event tells of a repetition; say it too where it left the record."""
        told: dict[str, Any] = {"from": record.first, "identical": store.identical}
        if store.differences:
            told["difference"] = str(store.differences[0])
            self._say(f"repeated, it isn't what is on record: {told['difference']}")
        return told

    @contextmanager
    def _making(self, path: Path, facts: Mapping[str, str]) -> Iterator[RunWriter]:
        """Make the directory of a run that begins; what fails or is stopped within leaves none."""
        writer = RunWriter(path, facts)
        try:
            yield writer
            self._refuse_stopped(path)
        except BaseException:
            writer.discard()
            raise

    def _refuse_stopped(self, path: Path) -> None:
        """Raise EostuiError if `stop` was called."""
        if self.trainer.controls.stop:
            raise EostuiError(f"{path.name}: stopped before it could begin")

    def _facts(self, path: Path, name: str) -> dict[str, str]:
        return initial_facts(self.config, self._machine, self.problem, path.name, name)


def replay(workshop: Workshop, path: Path, progress: Progress) -> tuple[Record, list[Difference]]:
    """Take all own steps of a run once more.

    Returns:
        Its record from there on, and where the repetition first left it, by what differs.

    Raises:
        EostuiError: if the record is damaged.
    """
    origin = origin_of(path)
    checkpoint = _newest_sound(path, origin, origin)[0] if origin else None
    record = Record.of(path, checkpoint)
    store = ComparingWriter(record, path, checkpoint.events if checkpoint else 0, None)
    past = Past(checkpoint, record.next_step, origin, record.controls, progress)
    try:
        workshop.trainer.repeat(store, past)
    except Divergence as divergence:  # as it did then, or at another step now
        if divergence.step != record.next_step - 1:
            store.note(divergence.step, "ended", "no", "diverged")
    store.end()
    return record, sorted(store.differences, key=lambda difference: difference.step)


def origin_of(path: Path) -> int:
    """Return the step at which a run's own steps begin: that of its fork, or 0."""
    return _whole(path, "parent_step", "0")


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
        raise RunFormatError(
            f"{path}: the checkpoint of its fork at step {origin} is missing or damaged, "
            "and nothing else leads to its own steps: fork its parent again"
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
