"""The training loop: poll, measure, record, step (DESIGN §4)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.eigenpairs import NotFiniteError
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.probes import Probe, due
from eostui.curvature.state import ProbeState
from eostui.dynamics.descent import descend, path_curvature, step_cosine
from eostui.engine.calibration import Calibrator
from eostui.engine.checkpointing import Checkpointer
from eostui.engine.comparison import Past
from eostui.engine.controls import Controls
from eostui.engine.landscape import LandscapeMapper
from eostui.engine.recorder import Divergence, Recorder
from eostui.engine.snapshot import Stateful, restore, snapshot
from eostui.problems import Problem
from eostui.runs.analysis.run_phases import chance_of
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.columns import STORED_STEP_COLUMNS, stored_columns
from eostui.runs.store.writer import Store

#: Seconds between looks for commands while paused.
PAUSED_POLL = 0.03


class Trainer:
    """Trains one problem by full-batch gradient descent with weight decay, recording every step."""

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        self.config = config
        self.problem = problem
        self.step = 0  # that of the newest row, or of the row that is being made
        self._next = 0
        self._parts: dict[str, Stateful] = {}
        schedule = {change.step: change.values() for change in config.controls}
        self.controls = Controls(config.eta, config.weight_decay, schedule=schedule)
        self.theta = problem.initial.detach().clone()
        self._state = ProbeState(config, problem)
        self._nan = self.theta.new_tensor(float("nan"))
        self._gradient: Tensor | None = None
        self._displacement: Tensor | None = None
        self._previous: Tensor | None = None  # θ before the displacement
        self._cosine = self._nan  # of the step before, with the one before that
        self._norm = self._nan  # of the step before
        self._coordinates = len(stored_columns(self.theta.numel())) - len(STORED_STEP_COLUMNS)

    def run(self, writer: Store) -> tuple[str, str]:
        """Train until the steps are done, a stop is asked for, or the run diverges.

        Args:
            writer: of the run directory, the one of `repeat` after that; whoever made it closes it.

        Returns:
            The final status (finished, stopped, diverged) and a sentence.
        """
        if not self._parts:
            self._equip(writer, None)
            writer.event(0, "started")
            writer.flush()
        try:
            while self._next <= self.config.steps:
                self.step = self._next
                if not self._may_go_on(self.step):
                    self.recorder.flush()
                    self.step = max(self.step - 1, 0)  # the newest row
                    return "stopped", f"{self.controls.stop_reason} at step {self.step}"
                self._visit(self.step)
                if self._checkpointer.due():
                    self.save()
            self.recorder.flush()
        except Divergence as divergence:
            return "diverged", self._diverged_sentence(divergence)
        except Exception:
            with contextlib.suppress(Exception):  # what failed matters more
                self.recorder.flush()
            raise
        return "finished", f"finished after {self.config.steps} steps"

    def repeat(self, writer: Store, past: Past) -> None:
        """Take the steps of `past` once more; `run` goes on from there. A stop asked for ends it early.

        Raises:
            Divergence: if they diverge.
        """
        self._equip(writer, past)
        first = self._next
        while self._next < past.until and not self.controls.stop:
            self.step = self._next
            self._repeat_controls(past)
            self._visit(self.step)
            past.progress(self._next, first, past.until)
            if self._checkpointer.due() and past.saves:
                self.save()
        self.recorder.flush()
        if past.older:
            self.recorder.begin_phases()
        if self._next == past.until:
            self._repeat_controls(past)

    def save(self) -> bool:
        """Take a checkpoint of the step that comes next; return whether it could be written."""
        self.recorder.flush()
        told = self._checkpointer.failure
        saved = self._checkpointer.take(self._next, self.snapshot)
        if not saved and self._checkpointer.failure != told:
            self.writer.event(self.step, "unsaved", {"reason": self._checkpointer.failure})
            self.writer.flush()
        return saved

    def snapshot(self) -> Checkpoint:
        """Return the whole state before the step that comes next; all rows must be flushed."""
        return snapshot(self._next, self.writer.derived_events, self._parts)

    def state(self) -> dict[str, Any]:
        """Return θ, and the θ and ∇L of the step before: the next one needs both, and with the L on
        record they tell whether it is the same problem that is gone on with."""
        return {
            "theta": self.theta,
            "gradient": self._gradient,
            "cosine": self._cosine,
            "previous": self._previous,
            # the difference of both, but for the one step after an older version's checkpoint
            **({"displacement": self._displacement} if self._previous is None else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.theta, self._gradient = state["theta"], state["gradient"]
        self._previous, self._displacement = state.get("previous"), state.get("displacement")
        if self._previous is not None:
            self._displacement = self.theta - self._previous
        # a checkpoint of an older version hasn't it: then it isn't known for one step
        self._cosine = state["cosine"].reshape(()) if "cosine" in state else self._nan
        if self._displacement is not None:
            self._norm = self.recorder.norm(self._displacement)

    def _equip(self, writer: Store, past: Past | None) -> None:
        """Get what writes, calibrates and saves, and put everything back where `past` begins."""
        self.writer = writer
        mapper = LandscapeMapper(self.problem, writer) if self._coordinates == 2 else None
        observe = None if mapper is None else mapper.observe
        self.recorder = Recorder(
            writer, self.problem.initial, self._coordinates, observe, chance_of(self.problem.facts)
        )
        self.calibrator = Calibrator(self._state, self.recorder)
        self._checkpointer = Checkpointer(self.config, writer.path, past.origin if past else 0)
        self._parts = {
            "trainer": self,
            "controls": self.controls,
            "probes": self._state,
            "recorder": self.recorder,
            "calibrator": self.calibrator,
            "checkpointer": self._checkpointer,
        }
        if mapper is not None:
            self._parts["landscape"] = mapper
        if past is not None and past.checkpoint is not None:
            restore(past.checkpoint, self._parts, self.theta.device)
            self._next = past.checkpoint.step

    def _repeat_controls(self, past: Past) -> None:
        self.controls.repeat(self._next, past.controls.get(self._next, ()))
        self._serve_calibration(self._next)

    def _visit(self, step: int) -> None:
        """Record the row of θ_step, measure what is due, and move on unless it is the last."""
        eta, weight_decay = self.controls.eta, self.controls.weight_decay
        self._state.at(step, eta, weight_decay)
        probes = due(self._state)
        shared = None
        if probes and self.config.reading == "raw":  # one graph for the step and its measurement
            shared = Point(self.problem.loss, self.theta)
            loss, gradient = shared.loss, shared.gradient
        else:
            loss, gradient = plain_gradient(self.problem.loss, self.theta)
        decayed = self.problem.decayed
        norm = self.recorder.norm(self.theta)
        self.recorder.add(
            loss,
            norm,
            norm if decayed is None else self.recorder.norm(self.theta * decayed),
            self._arrival_curvature(gradient),
            self._cosine,
            self._norm,
            eta,
            weight_decay,
            self.theta.unbind() if self._coordinates else (),
            self.calibrator.project(self.theta),
        )
        moved = descend(self.theta, gradient, eta, weight_decay, decayed)
        displacement = moved - self.theta
        sharpness = None
        if probes:
            self.recorder.flush()  # raises Divergence: nothing is measured where θ isn't finite
            values = self._measure(step, shared or self._midpoint(displacement), probes)
            sharpness = values.get("sharpness")
        length = self.recorder.norm(displacement)
        if self._displacement is not None:
            self._cosine = step_cosine(
                displacement, self._displacement, length, self._norm, self.recorder.precision
            )
        self._norm = length
        self.calibrator.watch(step, self.theta, eta, weight_decay, sharpness)
        self._previous, self.theta = self.theta, moved
        self._gradient, self._displacement = gradient, displacement
        self._next = step + 1

    def _midpoint(self, ahead: Tensor) -> Point:
        """Return the point (θ_{t−1} + 2θ_t + θ_{t+1})/4, free of the period-2 motion (MATH §8).

        At the start of a run the step that isn't there counts as 0.
        """
        behind = torch.zeros_like(ahead) if self._displacement is None else self._displacement
        return Point(self.problem.loss, self.theta + (ahead - behind) / 4)

    def _arrival_curvature(self, gradient: Tensor) -> Tensor:
        if self._gradient is None or self._displacement is None:
            return self._nan
        return path_curvature(gradient, self._gradient, self._displacement)

    def _measure(self, step: int, point: Point, probes: Sequence[Probe]) -> dict[str, float]:
        values: dict[str, float] = {}
        try:
            for probe in probes:
                values |= probe.measure(point, self._state)
        except NotFiniteError as error:  # θ and L still are: the training may go on
            self._state.forget()
            self._state.events.append(("unmeasured", {"reason": str(error)}))
        point.release()
        for kind, payload in self._state.events:
            self.writer.event(step, kind, payload)
        self._state.events.clear()
        if values:
            self.recorder.measured(step, values, self.config.reading)
        self.recorder.flush()
        return values

    def _may_go_on(self, step: int) -> bool:
        """Take commands and wait while paused; return False when the run should end."""
        self.controls.scheduled(step, self.writer)
        self.controls.poll(self.writer.path, self.writer, step)
        self._serve(step)
        if self.controls.waits():
            self.save()
            self._status("paused")
            while self.controls.waits():
                time.sleep(PAUSED_POLL)
                if self.controls.poll(self.writer.path, self.writer, step):
                    self.writer.flush()
                    self._serve(step)
            self._checkpointer.waited()
            if not self.controls.paused:
                self._status("running")
        self.controls.count_step()
        return not self.controls.stop

    def _serve(self, step: int) -> None:
        """Save or calibrate if it is asked for; a checkpoint of a step is of the time before that."""
        calibrates = self.calibrator.wants(self.controls.asked, step)
        if calibrates or self.controls.save:
            self.save()
            self.controls.save = False
        if calibrates:
            self._serve_calibration(step)

    def _serve_calibration(self, step: int) -> None:
        controls = self.controls
        self.calibrator.serve(controls.asked, step, self.theta, controls.eta, controls.weight_decay)

    def _status(self, status: str) -> None:
        self.writer.fact("status", status)
        self.writer.flush()

    def _diverged_sentence(self, divergence: Divergence) -> str:
        self.step = divergence.step
        eta = self.controls.eta
        sentence = f"diverged at step {divergence.step}: {divergence.reason}"
        if divergence.step == 0:
            return sentence  # no step was taken: η has nothing to do with it
        return f"{sentence}; with η {eta:g} the stable sharpness is below 2/η = {2 / eta:g}"
