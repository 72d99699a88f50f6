"""Calibration: a reference point frozen on the way, and x and q from there on (MATH §3.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.directions import random_direction
from eostui.curvature.eigenpairs import (
    Eigenpairs,
    NotFiniteError,
    Target,
    leading_eigenpairs,
)
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.quartic import quartic_along
from eostui.dynamics import Dynamics
from eostui.dynamics.gradient_descent import GradientDescent
from eostui.engine.recorder import Recorder
from eostui.probes.drives import drives
from eostui.probes.sharpness import Sharpness
from eostui.problems import Problem
from eostui.runs.calibration import CALIBRATED, NO_PLAIN_STEPS, RESEATED, in_noise
from eostui.stability import intervenes

#: How well u is found, x and q being taken along it from now on: as the precision allows.
CONVERGED = {
    torch.float64: Target(value_tolerance=1e-12, vector_tolerance=1e-9, max_products=400),
    torch.float32: Target(value_tolerance=1e-7, vector_tolerance=1e-3, max_products=200),
}
#: On the way to a crossing S alone is asked for.
ON_THE_WAY = Target(wanted=1, value_tolerance=1e-7, vector_tolerance=None)

#: What a calibrator's state has of its reference, and of the last point below a crossing.
FRAME = ("origin", "axes", "alpha", "below_step", "below_theta")


def refuse_calibration(dynamics: type[Dynamics]) -> str | None:
    """Return why a run of this dynamics can't be calibrated, or None."""
    if dynamics is GradientDescent:
        return None
    return (
        f"the reduced oscillator is derived for {GradientDescent.name}, and this run's dynamics is "
        f"{dynamics.name}: its prediction can't be laid over it"
    )


@dataclass(frozen=True)
class ReferenceFrame:
    """A reference point and its axes: `origin` θ*, shape (P,); `axes` u and ∇S, shape (2, P)."""

    origin: Tensor
    axes: Tensor
    alpha: float

    def project(self, theta: Tensor) -> Tensor:
        """Return x = ⟨u, θ − θ*⟩ and q = ⟨∇S, θ − θ*⟩, shape (2,)."""
        return self.axes @ (theta.to(self.origin) - self.origin)


class Calibrator:
    """Calibrates when a viewer, a step or a crossing asks for it, and projects θ afterwards.

    Its measurements leave those of the run as they would be without it. What it lays over a run is
    derived for gradient descent alone: with other dynamics it refuses.
    """

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        dynamics: Dynamics,
        sharpness: Sharpness,
        recorder: Recorder,
        make_room: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin without a reference; `make_room` is called before memory is taken for one, and before
        what comes with the rows changes."""
        self._make_room = make_room
        self._config, self._problem, self._dynamics = config, problem, dynamics
        self._sharpness, self._recorder, self._writer = sharpness, recorder, recorder.writer
        self._wanted = config.calibrate_at
        self._frame: ReferenceFrame | None = None
        self._below: tuple[int, Tensor] | None = None
        self._since: list[Mapping[str, float]] = []

    def state(self) -> dict[str, Any]:
        """Return the frame, and what the search for a crossing knows."""
        frame, below = self._frame, self._below
        return {
            "wanted": self._wanted,
            "since": self._since,
            "origin": frame and frame.origin,
            "axes": frame and frame.axes,
            "alpha": frame and frame.alpha,
            "below_step": below and below[0],
            "below_theta": below and below[1],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self._wanted = state["wanted"]
        # checkpoints before 0.3.0 have η and λ without their names
        self._since = [
            since
            if isinstance(since, dict)
            else dict(zip(("eta", "weight_decay"), since, strict=True))
            for since in state["since"]
        ]
        self._frame = self._below = None
        if state["origin"] is not None:
            self._frame = ReferenceFrame(state["origin"], state["axes"], state["alpha"])
        if state["below_step"] is not None:
            self._below = state["below_step"], state["below_theta"]

    @property
    def marked(self) -> tuple[int, ...]:
        """The step at which the config asks for a calibration, if it names one."""
        return (self._wanted,) if isinstance(self._wanted, int) else ()

    def wants(self, asked: list[str], step: int) -> bool:
        """Return whether there is something to do at this step."""
        return bool(asked) or step == self._wanted

    def serve(
        self, asked: list[str], step: int, theta: Tensor, controls: Mapping[str, float]
    ) -> None:
        """Do what `wants` tells of at θ_step, before its row is recorded; empties `asked`.

        `controls` are those that move θ on.

        Raises:
            Divergence: if the rows so far diverged.
        """
        if step == self._wanted:
            asked.append("calibrate")
        while asked:
            if asked.pop(0) == "calibrate":
                refusal = self._calibrate(step, theta, controls)
            else:
                refusal = self._reseat(step, theta)
            if refusal:
                self._writer.event(step, "refused", {"reason": refusal})
            self._writer.flush()

    def project(self, theta: Tensor) -> tuple[Tensor, ...]:
        """Return x and q of θ; nothing before the first calibration."""
        return () if self._frame is None else self._frame.project(theta).unbind()

    def watch(
        self, step: int, theta: Tensor, controls: Mapping[str, float], sharpness: float | None
    ) -> None:
        """Look whether S crossed its threshold since the reading before this one, and calibrate where it
        did.

        Args:
            step: a step that was recorded and, if it was due, measured.
            theta: θ there.
            controls: those that move it on.
            sharpness: S there, None where it wasn't measured.
        """
        if self._wanted != "auto":
            return
        controls = dict(controls)
        if intervenes(controls):  # there is no way back over such a step
            self._below, self._since = None, []
            return
        above = sharpness is not None and self._is_crossed(sharpness, controls)
        if above and self._below is not None:
            self._since.append(controls)
            self._go_back(step, theta)
        elif sharpness is not None and not above:
            self._below, self._since = (step, theta), [controls]
        elif self._below is not None:
            self._since.append(controls)

    def _is_crossed(self, sharpness: float, controls: Mapping[str, float]) -> bool:
        crossed: bool = sharpness >= self._dynamics.stability.threshold(controls)
        return crossed

    def _go_back(self, step: int, theta: Tensor) -> None:
        """Calibrate at the step where S crossed, and project the steps from there to `step` again."""
        assert self._below is not None
        self._make_room()
        (start, below), since = self._below, self._since
        first, last, above = start, step, theta
        while last - first > 1:
            middle = (first + last) // 2
            moved = self._move(below, since[first - start : middle - start])
            try:
                crossed = self._is_above(moved, middle, since[middle - start])
            except NotFiniteError:
                break  # S can't be had there: the crossing is told as late as it is known
            if crossed:
                last, above = middle, moved
            else:
                first, below = middle, moved
        remaining = since[last - start :]
        refusal = self._calibrate(last, above, remaining[0])
        if refusal:
            self._writer.event(last, "refused", {"reason": refusal})
            return
        projections = [torch.stack(self.project(above))]
        for controls in remaining[:-1]:
            above = self._move(above, [controls])
            projections.append(torch.stack(self.project(above)))
        rows = torch.stack(projections).cpu().double().numpy()
        self._writer.calibrated(self._recorder.calibration, last, rows)
        self._writer.flush()

    def _is_above(self, theta: Tensor, step: int, controls: Mapping[str, float]) -> bool:
        point = Point(self._problem.loss, theta)
        sharpness = self._eigenpairs(point, step, ON_THE_WAY).values[0]
        point.release()
        return self._is_crossed(sharpness, controls)

    def _move(self, theta: Tensor, since: Sequence[Mapping[str, float]]) -> Tensor:
        """Repeat the steps that these controls made: on a CPU exactly those that were taken."""
        for controls in since:
            _, gradient = plain_gradient(self._problem.loss, theta)
            theta = self._dynamics.step(theta, gradient, controls)
        return theta

    def _calibrate(self, step: int, theta: Tensor, controls: Mapping[str, float]) -> str | None:
        """Freeze the frame at θ and tell it; return why not, or None."""
        if refusal := refuse_calibration(type(self._dynamics)):
            return refusal
        if intervenes(controls):
            return NO_PLAIN_STEPS
        self._recorder.flush()
        self._make_room()
        point = Point(self._problem.loss, theta)
        if not torch.isfinite(torch.cat([theta, point.gradient])).all():
            return "θ or its gradient isn't finite any more: there is nothing to calibrate at"
        self._wanted, self._below, self._since = "never", None, []
        try:
            told, axes = self._constants(point, step)
        except NotFiniteError as error:
            return f"{error} here: there is nothing to calibrate at"
        finally:
            point.release()
        self._frame = ReferenceFrame(self._recorder.precise(theta), axes, told["alpha"])
        number = self._recorder.begin_calibration()
        told |= {"number": number, "step": step}
        told |= {c.name: controls[c.name] for c in self._dynamics.stability.controls}
        self._writer.event(step, CALIBRATED, told)
        return None

    def _constants(self, point: Point, step: int) -> tuple[dict[str, float], Tensor]:
        """Measure what theory takes from a reference point, and its axes u and ∇S, shape (2, P)."""
        pairs = self._eigenpairs(point, step, CONVERGED[point.theta.dtype])
        product, sharpness_gradient = point.curvature_gradient(pairs.vectors[0])
        found = drives(point, pairs.vectors[0], sharpness_gradient, self._problem.decayed)
        if not found:
            raise NotFiniteError("∇S isn't finite")
        point.release()  # the points on both sides need its memory
        precise = self._recorder.precise
        axes = torch.stack([precise(pairs.vectors[0]), precise(sharpness_gradient)])
        sharpness, beta, beta_alpha = pairs.values[0], found["beta"], found["beta_alpha"]
        return {
            "sharpness": sharpness,
            "sharpness_residual": pairs.residuals[0] / abs(sharpness) if sharpness else 0.0,
            "alpha": beta_alpha / beta if beta > 0 else 0.0,
            "beta": beta,
            "beta_alpha": beta_alpha,
            "g": found["g"],
            "g_x": found["g_u"],
            "gradient_u": float(axes[0] @ precise(point.gradient)),
            "quartic": quartic_along(self._problem.loss, point.theta, axes, precise(product)),
        }, axes

    def _reseat(self, step: int, theta: Tensor) -> str | None:
        """Tell where the network is, for the prediction to start anew; return why not, or None."""
        if self._frame is None:
            return "there is no calibration yet: press c first"
        x, q = self._frame.project(theta).tolist()
        if not math.isfinite(x + q):
            return "x and q aren't finite any more"
        if in_noise(x, self._frame.alpha):
            return f"|x| is {abs(x):.1e}, still in the noise: a prediction from there would tell nothing"
        number = self._recorder.calibration
        self._writer.event(step, RESEATED, {"number": number, "step": step, "x": x, "q": q})
        return None

    def _eigenpairs(self, point: Point, step: int, target: Target) -> Eigenpairs:
        """Return the leading eigenpairs, searched from the last ones found and a fresh direction."""
        fresh = random_direction(point.theta, self._config.seed, step)[None]
        known = self._sharpness.eigenvectors
        start = fresh if known is None else torch.cat([known, fresh])
        return leading_eigenpairs(
            point.hessian_product,
            start,
            target,
            fresh=lambda number: random_direction(point.theta, self._config.seed, step, 1 + number),
            known=0 if known is None else len(known),
        )
