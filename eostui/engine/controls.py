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
from eostui.runs.analysis.stop_condition import ASKED, REACHED, STEP, StopCondition
from eostui.runs.edit import refuse_name, refuse_note
from eostui.runs.store import commands
from eostui.runs.store.rows import Event
from eostui.runs.store.writer import Store
from eostui.stability import Stability, changed_to

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
        stop_at: what ends the run once it holds, None for nothing but its steps.
        steps: that it takes at most.
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
    stop_at: StopCondition | None = None
    steps: float = math.inf
    _polled_at: float = 0.0

    @classmethod
    def of(cls, config: RunConfig, stability: Stability) -> Controls:
        """Return those of a run at its start."""
        schedule = {change.step: change.values() for change in config.controls}
        return cls(stability, stability.at_start(config), schedule=schedule, steps=config.steps)

    @property
    def marked(self) -> tuple[int, ...]:
        """The steps before which something is done, as far as that is known beforehand."""
        return (*self.schedule, *self.pauses)

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

    def reach(self, writer: Store, step: int) -> None:
        """End the run, for what it was to stop at holds at this step."""
        if self.stop_at is not None:
            told = self.stop_at.told(self.stability.label)
            writer.event(step, REACHED, self.stop_at.content)
            self.stop_at = None
            self.request_stop(f"stopped as asked ({told})")

    def _stop_at(self, content: Mapping[str, Any], writer: Store, step: int) -> str | None:
        """Take note of what ends the run; return why it can't, or None."""
        try:
            condition = StopCondition.of(content)
        except InputError as error:
            return str(error)
        if condition is not None and condition.kind == STEP:
            if float(condition.value) < step:
                return f"step {condition.value} is over: step {step} comes next"
            if float(condition.value) >= self.steps:
                return f"the run ends at step {self.steps} anyway"
        self.stop_at = condition
        writer.event(step, ASKED, {} if condition is None else condition.content)
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
