"""The training loop: poll, measure, record, step (DESIGN §4)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.eigenpairs import NotFiniteError
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.probes import Probe, due
from eostui.curvature.state import ProbeState
from eostui.dynamics.descent import descend, path_curvature
from eostui.engine.calibration import Calibrator
from eostui.engine.controls import Controls
from eostui.engine.landscape import LandscapeMapper
from eostui.engine.recorder import Divergence, Recorder
from eostui.problems import Problem
from eostui.runs.columns import STORED_STEP_COLUMNS, stored_columns
from eostui.runs.writer import RunWriter

#: Seconds between looks for commands while paused.
PAUSED_POLL = 0.03


class Trainer:
    """Trains one problem by full-batch gradient descent with weight decay, recording every step."""

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        self.config = config
        self.problem = problem
        self.step = 0
        schedule = {change.step: change.values() for change in config.controls}
        self.controls = Controls(config.eta, config.weight_decay, schedule=schedule)
        self.theta = problem.initial.detach().clone()
        self._state = ProbeState(config, problem)
        self._nan = self.theta.new_tensor(float("nan"))
        self._gradient: Tensor | None = None
        self._displacement: Tensor | None = None
        self._coordinates = len(stored_columns(self.theta.numel())) - len(STORED_STEP_COLUMNS)

    def run(self, writer: RunWriter) -> tuple[str, str]:
        """Train until the steps are done, a stop is asked for, or the run diverges.

        Args:
            writer: of the run directory; whoever made it closes it.

        Returns:
            The final status (finished, stopped, diverged) and a sentence.
        """
        self.writer = writer
        observe = LandscapeMapper(self.problem, writer).observe if self._coordinates == 2 else None
        self.recorder = Recorder(writer, self.problem.initial, self._coordinates, observe)
        self.calibrator = Calibrator(self._state, self.recorder)
        writer.event(0, "started")
        writer.flush()
        try:
            for step in range(self.config.steps + 1):
                self.step = step
                if not self._may_go_on(step):
                    self.recorder.flush()
                    self.step = max(step - 1, 0)  # the newest row
                    return "stopped", f"{self.controls.stop_reason} at step {self.step}"
                self._visit(step)
            self.recorder.flush()
        except Divergence as divergence:
            return "diverged", self._diverged_sentence(divergence)
        except Exception:
            with contextlib.suppress(Exception):  # what failed matters more
                self.recorder.flush()
            raise
        return "finished", f"finished after {self.config.steps} steps"

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
            eta,
            weight_decay,
            self.theta.unbind() if self._coordinates else (),
            self.calibrator.project(self.theta),
        )
        moved = self.theta
        if step < self.config.steps:
            moved = descend(self.theta, gradient, eta, weight_decay, decayed)
        displacement = moved - self.theta
        sharpness = None
        if probes:
            self.recorder.flush()  # raises Divergence: nothing is measured where θ isn't finite
            values = self._measure(step, shared or self._midpoint(displacement), probes)
            sharpness = values.get("sharpness")
        self.calibrator.watch(step, self.theta, eta, weight_decay, sharpness)
        self.theta, self._gradient, self._displacement = moved, gradient, displacement

    def _midpoint(self, ahead: Tensor) -> Point:
        """Return the point (θ_{t−1} + 2θ_t + θ_{t+1})/4, free of the period-2 motion (MATH §8).

        At the ends of a run the step that isn't there counts as 0.
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
        self._serve_calibration(step)
        if self.controls.waits():
            self.recorder.flush()
            self._status("paused")
            while self.controls.waits():
                time.sleep(PAUSED_POLL)
                if self.controls.poll(self.writer.path, self.writer, step):
                    self.writer.flush()
                    self._serve_calibration(step)
            if not self.controls.paused:
                self._status("running")
        self.controls.count_step()
        return not self.controls.stop

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
