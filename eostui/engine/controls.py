"""Commands from viewers: validated, applied between steps, each answered by an event."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.runs.analysis.stops import ASKED, REACHED
from eostui.runs.analysis.switched_probes import SWITCHED
from eostui.runs.edit import refuse_name, refuse_note
from eostui.runs.store import commands
from eostui.runs.store.rows import Event
from eostui.runs.store.writer import Store
from eostui.schedule import SCHEDULED, ControlChange, Ramp, begun, still_on_way
from eostui.stability import Stability, changed_to
from eostui.stop_condition import (
    LOSS,
    ROUNDING,
    STEP,
    TRAIN_ACCURACY,
    Seen,
    Stop,
    conditions_of,
    content_of,
)

#: By what name the state has what the schedule is about.
_SCHEDULE = "schedule"
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
        by_accuracy: those that it makes once an accuracy on the training samples is reached, in turn.
        accuracy: that of the newest row, as far as one waits for it; else NaN.
        ramps: controls that are on their way to another value, by name.
        pauses: steps before which training pauses by itself, once each.
        asked: what the calibrator is asked to do at this step, in order: `calibrate`, `reseat`.
        save: whether a checkpoint of this step is asked for.
        stops: what ends the run once it holds, beside its steps.
        steps: that it takes at most.
        knows_accuracy: whether the problem has one on its training samples.
        switch: turns the probe of a name on or off, once there are probes; returns whether that changed
            anything, and raises InputError where it can't be.
        training_seconds: what training took so far, pauses apart.
    """

    stability: Stability
    values: dict[str, float]
    paused: bool = False
    steps_allowed: int = 0
    stop: bool = False
    stop_reason: str = ""
    schedule: Mapping[int, ControlChange] = field(default_factory=dict)
    by_accuracy: tuple[ControlChange, ...] = ()
    accuracy: float = math.nan
    ramps: dict[str, Ramp] = field(default_factory=dict)
    pauses: set[int] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    save: bool = False
    stops: tuple[Stop, ...] = ()
    steps: float = math.inf
    knows_accuracy: bool = True
    switch: Callable[[str, bool], bool] | None = None
    training_seconds: float = 0.0
    _polled_at: float = 0.0
    _warm_up: int = 0
    _most_reached: float = 0.0  # of the accuracies that a change waited for
    _followed: int = -1  # the step of which it is on record what the config does there

    @classmethod
    def of(cls, config: RunConfig, stability: Stability) -> Controls:
        """Return those of a run at its start."""
        return cls(
            stability,
            stability.at_start(config),
            schedule={change.at: change for change in config.controls if change.at is not None},
            by_accuracy=tuple(change for change in config.controls if change.at is None),
            steps=config.steps,
            _warm_up=config.warm_up,
        )

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

    @property
    def never_came(self) -> str:
        """Which changes of the config came in none of the run's steps, for a sentence; "" if all did."""
        late = (change for step, change in self.schedule.items() if step > self.steps)
        return " and ".join(change.where for change in (*self.by_accuracy, *late))

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
        """Do again what is on record of a step: changes of controls, the scheduled ones among them,
        calibrations, and probes that were turned on or off."""
        for event in events:
            self._followed = step  # what the config does at a step comes before anything else there
            if event.kind == "control":
                self.values.update(changed_to(event.payload))
                self.ramps = still_on_way(self.ramps, step, event.payload)
            elif event.kind == SCHEDULED:
                self._count_reached([event.payload.get("at_accuracy", 0.0)])
                self.ramps |= begun(step, event.payload)
            elif event.kind == SWITCHED:
                if self.switch is not None:
                    with contextlib.suppress(InputError):  # its readings will be missed
                        self.switch(event.payload["probe"], event.payload["on"])
            else:
                self.asked.append(event.payload["what"])

    def fork(
        self, step: int, events: Iterable[Event], wanted: Mapping[str, float], writer: Store
    ) -> str | None:
        """Change what a fork wants otherwise from its first step on; return why it can't be, or None.

        Args:
            step: its first one.
            events: what is on record of that step of its parent; where the parent hadn't come to it,
                what the config does there comes first, as it does with any other change.
            wanted: the new values, by name.
            writer: of the fork.
        """
        self.repeat(step, events)
        if wanted and step != self._followed:
            self.scheduled(step, writer)
        return self._ask(wanted, writer, step)

    def state(self) -> dict[str, Any]:
        """Return their values, and where their schedule is: whether a run waits or ends isn't gone on
        with."""
        schedule = {
            "ramps": {name: [*vars(ramp).values()] for name, ramp in self.ramps.items()},
            "accuracy": None if math.isnan(self.accuracy) else self.accuracy,
            "reached": self._most_reached,
        }
        return {**self.values, _SCHEDULE: schedule}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        # a checkpoint of an older version has no interventions
        self.values = {
            control.name: state.get(control.name, control.initial)
            for control in self.stability.steered
        }
        schedule = state.get(_SCHEDULE, {})  # of an older version there is none
        self.ramps = {name: Ramp(*values) for name, values in schedule.get("ramps", {}).items()}
        known = schedule.get("accuracy")
        self.accuracy = math.nan if known is None else known
        self._count_reached([schedule.get("reached", 0.0)])

    def scheduled(self, step: int, writer: Store) -> None:
        """Change controls, or pause, as the config says for this step: as a viewer would."""
        # of one that is repeated the last step isn't looked for
        self.ramps = {name: ramp for name, ramp in self.ramps.items() if step <= ramp.last}
        if step != self._followed:
            self._begin_planned(writer, step)
        for change in self.by_accuracy:
            if change.at_accuracy is not None and self.accuracy >= change.at_accuracy - ROUNDING:
                self._count_reached([change.at_accuracy])
                self._begin(change, writer, step)
        if self.ramps:
            self._go_on(writer, step)
        if step in self.pauses:
            self.pauses.remove(step)
            self._pause(True, writer, step)

    def _begin_planned(self, writer: Store, step: int) -> None:
        """Begin what the config says by this step's number."""
        if step == 0 and self._warm_up:
            eta = self.values["eta"]
            start = ControlChange(step=0, eta=eta, warm_up=self._warm_up, warm_up_from={"eta": 0.0})
            self._begin(start, writer, step)
        if step in self.schedule:
            self._begin(self.schedule[step], writer, step)

    def _begin(self, change: ControlChange, writer: Store, step: int) -> None:
        """Begin a change of the config's, which is done at once if it has no warm-up."""
        told: dict[str, Any] = {}
        if change.at_accuracy is not None:
            told["at_accuracy"] = change.at_accuracy
        if ramps := change.ramps(step, self.values):
            told["warm_up"] = {name: [ramp.start, ramp.end] for name, ramp in ramps.items()}
            told["steps"] = change.warm_up
        if told:
            writer.event(step, SCHEDULED, told)
            self.ramps |= begun(step, told)
        if not ramps:
            _tell_refusal(self._ask(change.values_after(self.values), writer, step), writer, step)

    def _go_on(self, writer: Store, step: int) -> None:
        """Set the controls that are on their way to what they are at this step."""
        values = {name: ramp.at(step) for name, ramp in self.ramps.items()}
        if refusal := self._set(values, writer, step):
            _tell_refusal(refusal, writer, step)
            self._ask({name: self.values[name] for name in self.ramps}, writer, step)  # they stay
        self.ramps = {name: ramp for name, ramp in self.ramps.items() if step < ramp.last}

    def _count_reached(self, accuracies: Iterable[float]) -> None:
        """Take in that these were reached: what waited for one doesn't wait any more."""
        self._most_reached = max([self._most_reached, *accuracies])
        self.by_accuracy = tuple(
            change for change in self.by_accuracy if (change.at_accuracy or 0) > self._most_reached
        )

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
            asked = {name: value for name, value in content.items() if name != "kind"}
            return self._ask(asked, writer, step)
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
        if kind == SWITCHED:
            return self._switch(content, writer, step)
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

    def _switch(self, content: Mapping[str, Any], writer: Store, step: int) -> str | None:
        """Turn a probe on or off from this step on; return why not, or None."""
        probe, on = content.get("probe"), content.get("on")
        if not isinstance(probe, str) or not isinstance(on, bool) or self.switch is None:
            return "a probe is turned on or off by its name: `probe`, with `on` true or false"
        try:
            changed = self.switch(probe, on)
        except InputError as error:
            return str(error)
        if changed:
            # how long it is on for is told by what training took until then
            told = {"probe": probe, "on": on, "seconds": round(self.training_seconds, 6)}
            writer.event(step, SWITCHED, told)
        return None

    def _pause(self, pause: bool, writer: Store, step: int) -> None:
        if self.paused != pause:
            self.paused, self.steps_allowed = pause, 0
            writer.event(step, "paused" if pause else "resumed")

    def _ask(self, asked: Mapping[str, float], writer: Store, step: int) -> str | None:
        """Set controls that shall stay so; return why they can't be, or None.

        One that is on its way to another value goes no further, also where it has come to just the value
        that is asked for: a change from that to that is on record then.
        """
        before = dict(self.values)
        if refusal := self._set(asked, writer, step):
            return refusal
        held = {
            name: [asked[name], asked[name]]
            for name, ramp in self.ramps.items()
            if asked.get(name) in (before[name], ramp.at(step))
            and (step < ramp.last or asked[name] != ramp.end)
        }
        if held:
            writer.event(step, "control", held)
        self.ramps = {name: ramp for name, ramp in self.ramps.items() if name not in asked}
        return None

    def _set(self, values: Mapping[str, float], writer: Store, step: int) -> str | None:
        """Set controls; return why they can't be, or None."""
        if refusal := self.stability.refuse({**self.values, **values}):
            return refusal
        changes = {
            name: [before, values[name]]
            for name, before in self.values.items()
            if values.get(name, before) != before
        }
        if changes:
            self.values.update(changed_to(changes))
            writer.event(step, "control", changes)
        return None


def _tell_refusal(refusal: str | None, writer: Store, step: int) -> None:
    """Record why the config's change can't be, if it can't: a viewer has changed another control."""
    if refusal:
        writer.event(step, "refused", {"command": "schedule", "reason": refusal})


def _tell(content: Mapping[str, Any], writer: Store) -> str | None:
    """Change the run's name or note; return why not, or None."""
    key, refuse = ("name", refuse_name) if content["kind"] == "rename" else ("note", refuse_note)
    refusal = refuse(content.get(key))
    if refusal is None:
        writer.fact(key, content[key])
    return refusal
