"""Commands from viewers: validated, applied between steps, each answered by an event."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.runs.analysis.stops import ASKED, REACHED
from eostui.runs.edit import refuse_name, refuse_note
from eostui.runs.store import commands
from eostui.runs.store.rows import Event
from eostui.runs.store.writer import Store
from eostui.stability import Stability, changed_to
from eostui.stop_condition import (
    LOSS,
    STEP,
    TRAIN_ACCURACY,
    Seen,
    Stop,
    conditions_of,
    content_of,
)

#: Why nothing can wait for an accuracy on the training samples.
NO_ACCURACY = "its problem has no accuracy on its training samples"
#: Seconds between looks into the commands folder while training: a key acts within this.
POLL_EVERY = 0.01


@dataclass
class Controls:
    """What viewers may change while a run goes on.

    Attributes:
        stability: of the dynamics: which controls there are.
        values: those that move θ at the next step, by name.
        paused: whether training waits.
        steps_allowed: single steps to take while paused.
        stop: whether the run should end; by whom is in `stop_reason`.
        schedule: changes of controls that the config makes, by step.
        pauses: steps before which training pauses by itself, once each.
        asked: what the calibrator is asked to do at this step, in order: `calibrate`, `reseat`.
        save: whether a checkpoint of this step is asked for.
        stops: what ends the run once it holds, beside its steps.
        steps: that it takes at most.
        knows_accuracy: whether the problem has one on its training samples.
    """

    stability: Stability
    values: dict[str, float]
    paused: bool = False
    steps_allowed: int = 0
    stop: bool = False
    stop_reason: str = ""
    schedule: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    pauses: set[int] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    save: bool = False
    stops: tuple[Stop, ...] = ()
    steps: float = math.inf
    knows_accuracy: bool = True
    _polled_at: float = 0.0

    @classmethod
    def of(cls, config: RunConfig, stability: Stability) -> Controls:
        """Return those of a run at its start."""
        schedule = {change.step: change.values() for change in config.controls}
        return cls(stability, stability.at_start(config), schedule=schedule, steps=config.steps)

    @property
    def marked(self) -> tuple[int, ...]:
        """The steps before which something is done, as far as that is known beforehand."""
        ends = (
            stop.reached + stop.condition.after
            if stop.reached is not None
            else int(float(stop.condition.value))
            for stop in self.stops
            if stop.reached is not None or stop.condition.kind == STEP
        )
        return (*self.schedule, *self.pauses, *(end + 1 for end in ends))

    def looks_at(self, kind: str) -> bool:
        """Return whether a condition of a kind is to end the run and hasn't been reached."""
        return any(stop.condition.kind == kind and stop.reached is None for stop in self.stops)

    @property
    def looks_at_each_step(self) -> bool:
        """Whether what is to end the run may hold at any step, not at measured or known ones alone."""
        return self.looks_at(LOSS) or self.looks_at(TRAIN_ACCURACY)

    def poll(self, run_path: Path, writer: Store, step: int) -> bool:
        """Take waiting commands, at most every POLL_EVERY seconds; return whether there were any.

        Args:
            run_path: the run directory.
            writer: told what was done, or refused and why.
            step: the step that will be taken next, at which changes act.
        """
        now = time.monotonic()
        if now - self._polled_at < POLL_EVERY:
            return False
        self._polled_at = now
        taken = commands.take(run_path)
        for command_id, content in taken:
            refusal = self._apply(content, writer, step)
            if refusal:
                writer.event(step, "refused", {"command": command_id, "reason": refusal})
            else:
                writer.event(step, "obeyed", {"command": command_id, "what": content["kind"]})
        return bool(taken)

    def repeat(self, step: int, events: Iterable[Event]) -> None:
        """Do again what is on record of a step: changes of controls, the scheduled ones among them, and
        calibrations."""
        for event in events:
            self.schedule = {at: change for at, change in self.schedule.items() if at != step}
            if event.kind == "control":
                self.values.update(changed_to(event.payload))
            else:
                self.asked.append(event.payload["what"])

    def state(self) -> dict[str, Any]:
        """Return their values: whether a run waits or ends isn't gone on with."""
        return dict(self.values)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.values = {control.name: state[control.name] for control in self.stability.controls}

    def scheduled(self, step: int, writer: Store) -> None:
        """Change controls, or pause, as the config says for this step: as a viewer would."""
        if step in self.schedule:
            refusal = self._set(self.schedule[step], writer, step)
            if refusal:  # a viewer has changed another one
                writer.event(step, "refused", {"command": "schedule", "reason": refusal})
        if step in self.pauses:
            self.pauses.remove(step)
            self._pause(True, writer, step)

    def waits(self) -> bool:
        """Return whether training must wait: paused, with no single step allowed, not ended."""
        return self.paused and not self.stop and not self.steps_allowed

    def count_step(self) -> None:
        """Use up one of the allowed single steps."""
        self.steps_allowed = max(self.steps_allowed - 1, 0) if self.paused else 0

    def request_stop(self, reason: str) -> None:
        """End the run before the next step."""
        self.stop, self.stop_reason = True, reason

    def _apply(self, content: Mapping[str, Any], writer: Store, step: int) -> str | None:
        """Apply one command; return why not, or None."""
        kind = content["kind"]
        if kind == "set":
            return self._set(content, writer, step)
        if kind in ("pause", "resume"):
            self._pause(kind == "pause", writer, step)
            return None
        if kind == "step":
            if not self.paused:
                return "a single step needs a paused run"
            self.steps_allowed += 1
            return None
        if kind == "stop":
            self.request_stop("stopped by its user")
            return None
        if kind == ASKED:
            return self._stop_at(content, writer, step)
        if kind == "checkpoint":
            self.save = True
            return None
        if kind in ("calibrate", "reseat"):
            self.asked.append(kind)
            return None
        if kind in ("rename", "note"):
            return _tell(content, writer)
        return f"unknown command `{kind}`"

    def look(self, seen: Seen, writer: Store) -> None:
        """Note what is reached at a step, and end the run where that was all it waited for."""
        before, self.stops = self.stops, tuple(stop.held(seen) for stop in self.stops)
        for old, new in zip(before, self.stops, strict=True):
            if new != old:
                writer.event(seen.step, REACHED, new.condition.content)
        over = [stop for stop in self.stops if stop.over(seen.step)]
        if over and not self.stop:
            self.request_stop(f"stopped as asked ({over[0].condition.told(self.stability.label)})")

    def stop_at(self, stops: tuple[Stop, ...], writer: Store, step: int) -> None:
        """Let these end the run, and nothing that was asked for before."""
        self.stops = stops
        writer.event(step, ASKED, content_of(stops))

    def _stop_at(self, content: Mapping[str, Any], writer: Store, step: int) -> str | None:
        """Take note of what ends the run; return why it can't, or None."""
        try:
            asked = tuple(Stop(stop.condition) for stop in conditions_of(content))
        except InputError as error:
            return str(error)
        for condition in (stop.condition for stop in asked):
            if condition.kind == TRAIN_ACCURACY and not self.knows_accuracy:
                return NO_ACCURACY
            if condition.kind == STEP and float(condition.value) < step:
                return f"step {condition.value} is over: step {step} comes next"
            if condition.kind == STEP and float(condition.value) >= self.steps:
                return f"the run ends at step {self.steps} anyway"
        self.stop_at(asked, writer, step)
        return None

    def _pause(self, pause: bool, writer: Store, step: int) -> None:
        if self.paused != pause:
            self.paused, self.steps_allowed = pause, 0
            writer.event(step, "paused" if pause else "resumed")

    def _set(self, content: Mapping[str, Any], writer: Store, step: int) -> str | None:
        asked = {name: value for name, value in content.items() if name != "kind"}
        if refusal := self.stability.refuse({**self.values, **asked}):
            return refusal
        changes = {
            name: [before, asked[name]]
            for name, before in self.values.items()
            if asked.get(name, before) != before
        }
        if changes:
            self.values.update(changed_to(changes))
            writer.event(step, "control", changes)
        return None


def _tell(content: Mapping[str, Any], writer: Store) -> str | None:
    """Change the run's name or note; return why not, or None."""
    key, refuse = ("name", refuse_name) if content["kind"] == "rename" else ("note", refuse_note)
    refusal = refuse(content.get(key))
    if refusal is None:
        writer.fact(key, content[key])
    return refusal
