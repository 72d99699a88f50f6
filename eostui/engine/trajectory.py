"""A trajectory: θ on its way by a dynamics, measured and recorded, one step at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point, plain_gradient
from eostui.dynamics import Dynamics
from eostui.dynamics.path import path_curvature, step_cosine
from eostui.engine.calibration import Calibrator
from eostui.engine.landscape import LandscapeMapper
from eostui.engine.recorder import Recorder
from eostui.engine.snapshot import Stateful
from eostui.probes.probe import Moment, Probe, Value
from eostui.probes.probe_set import ProbeSet
from eostui.problems import Problem
from eostui.problems.batch import loss_of_rows
from eostui.runs.analysis.run_phases import chance_of
from eostui.runs.store.columns import COORDINATES
from eostui.runs.store.readings import ProbeReading
from eostui.runs.store.writer import Store


class Trajectory:
    """θ, what moves it, and what measures and records it. It takes a step when it is told to.

    Attributes:
        next_step: the step that comes next: that of `theta`.
        theta: θ of that step, shape (P,).
        recorder: of its rows.
        probes: what is measured of it.
        calibrator: lays theory's prediction over it.
        measured: what was measured at the newest step, by column.
    """

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        dynamics: Dynamics,
        probes: Sequence[type[Probe]],
        writer: Store,
    ) -> None:
        """Begin at θ₀.

        Args:
            config: of the run.
            problem: what is trained.
            dynamics: how it moves, made for this trajectory.
            probes: those of the run.
            writer: takes what is recorded and measured.
        """
        self.next_step = 0
        self.measured: Mapping[str, Value] = {}
        self.theta = problem.initial.detach().clone()
        self._config, self._problem, self._dynamics, self._writer = (
            config, problem, dynamics, writer,
        )  # fmt: skip
        self._nan = self.theta.new_tensor(float("nan"))
        self._gradient: Tensor | None = None  # ∇L that led here
        self._displacement: Tensor | None = None  # of the step before
        self._previous: Tensor | None = None  # θ before the displacement
        self._cosine = self._nan  # of the step before, with the one before that
        self._norm = self._nan  # of the step before
        count = self.theta.numel()
        self._coordinates = count if count <= len(COORDINATES) else 0
        self._mapper = LandscapeMapper(problem, writer) if self._coordinates == 2 else None
        self.recorder = Recorder(
            writer,
            problem.initial,
            self._coordinates,
            None if self._mapper is None else self._mapper.observe,
            chance_of(problem.facts),
            dynamics.stability,
        )
        self.probes = ProbeSet(config, problem, probes, dynamics.stability, dynamics.operator)
        self.calibrator = Calibrator(
            config, problem, dynamics, self.probes.sharpness, self.recorder
        )

    def parts(self) -> dict[str, Stateful]:
        """Return all that carries something from step to step, by its name in a checkpoint.

        The names, `trainer.theta` among them, are a format: checkpoints of all versions have them.
        """
        parts: dict[str, Stateful] = {
            "trainer": self,
            "dynamics": self._dynamics,
            "probes": self.probes,
            "recorder": self.recorder,
            "calibrator": self.calibrator,
        }
        if self._mapper is not None:
            parts["landscape"] = self._mapper
        return parts

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
        # an older version's checkpoint hasn't it, and then it isn't known for one step, or has (1,) of it
        self._cosine = state["cosine"].reshape(()) if "cosine" in state else self._nan
        if self._displacement is not None:
            self._norm = self.recorder.norm(self._displacement)

    def take_step(self, controls: Mapping[str, float]) -> None:
        """Record the row of θ_t, compute θ_{t+1}, measure what is due at θ_t, and move on.

        Args:
            controls: those of this step, by name.

        Raises:
            Divergence: if the rows so far diverged, seen when they are written.
        """
        # 1. L and ∇L at θ_t, in one graph with the measurement where that is taken at θ_t itself.
        # 2. The row of θ_t. Its "arrival" columns (κ, cosine and length) are of the step that led here,
        #    since ∇L at its end wasn't known before; readers put them into the row it began from.
        # 3. θ_{t+1} by the dynamics.
        # 4. What is due: at θ_t, or at the midpoint (θ_{t−1} + 2θ_t + θ_{t+1})/4, which needs 3.
        # 5. Cosine and length of this step for the next row; the calibrator looks; on to θ_{t+1}.
        step, self.measured = self.next_step, {}
        moment = self.probes.moment(step, controls)
        due = self.probes.due(moment)
        shared = None
        if due and self._config.reading == "raw":  # one graph for the step and its measurement
            shared = Point(self._problem.loss, self.theta)
            loss, gradient = shared.loss, shared.gradient
        else:
            loss, gradient = plain_gradient(self._problem.loss, self.theta)
        decayed = self._problem.decayed
        norm = self.recorder.norm(self.theta)
        self.recorder.add(
            loss,
            norm,
            norm if decayed is None else self.recorder.norm(self.theta * decayed),
            self._arrival_curvature(gradient),
            self._cosine,
            self._norm,
            controls,
            self.theta.unbind() if self._coordinates else (),
            self.calibrator.project(self.theta),
        )
        moved = self._dynamics.step(self.theta, self._gradient_seen(step, gradient), controls)
        moment.displacement = displacement = moved - self.theta
        sharpness = None
        if due:
            # raises Divergence: nothing is measured where θ isn't finite; and a viewer, or whoever is
            # left after a crash, has the rows before the measurement is paid for
            self.recorder.flush()
            self._measure(due, shared or self._midpoint(displacement), moment)
            sharpness = self.probes.sharpness_at(moment)
        length = self.recorder.norm(displacement)
        if self._displacement is not None:
            self._cosine = step_cosine(
                displacement, self._displacement, length, self._norm, self.recorder.precision
            )
        self._norm = length
        self.calibrator.watch(step, self.theta, controls, sharpness)
        self._previous, self.theta = self.theta, moved
        self._gradient, self._displacement = gradient, displacement
        self.next_step = step + 1

    def calibrate(self, asked: list[str], controls: Mapping[str, float]) -> None:
        """Calibrate or re-seat at θ_t, before its row is recorded, as `asked`; empties it.

        Raises:
            Divergence: if the rows so far diverged.
        """
        self.calibrator.serve(asked, self.next_step, self.theta, controls)

    def _gradient_seen(self, step: int, gradient: Tensor) -> Tensor:
        """Return the gradient by which the dynamics moves: of the full batch, or of this step's rows."""
        rows = self._dynamics.batch(step)
        if rows is None:
            return gradient
        return plain_gradient(loss_of_rows(self._problem.loss, rows), self.theta)[1]

    def _midpoint(self, ahead: Tensor) -> Point:
        """Return the point (θ_{t−1} + 2θ_t + θ_{t+1})/4, free of the period-2 motion (MATH §8).

        At the start of a run the step that isn't there counts as 0.
        """
        behind = torch.zeros_like(ahead) if self._displacement is None else self._displacement
        return Point(self._problem.loss, self.theta + (ahead - behind) / 4)

    def _arrival_curvature(self, gradient: Tensor) -> Tensor:
        if self._gradient is None or self._displacement is None:
            return self._nan
        return path_curvature(gradient, self._gradient, self._displacement)

    def _measure(self, due: Sequence[Probe], point: Point, moment: Moment) -> None:
        """Record what the probes that are due say; it is written with the next rows: see Recorder.add."""
        readings = self.probes.measure(due, point, moment)
        point.release()
        values: dict[str, Value] = {}
        for each in readings:
            for kind, payload in each.remarks:
                self._writer.event(moment.step, kind, payload)
        for each in readings:
            if each.values:
                self._writer.reading(
                    ProbeReading(
                        moment.step, each.probe, each.values, self._config.reading, each.seconds,
                        each.products,
                    )
                )  # fmt: skip
                values |= each.values
        if values:
            self.recorder.measured(moment.step, values)
        self.measured = values
