"""Calibration: a reference point frozen on the way, and x and q from there on (MATH §3.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from eostui.curvature.eigenpairs import (
    Eigenpairs,
    NotFiniteError,
    Target,
    leading_eigenpairs,
)
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.quartic import quartic_along
from eostui.curvature.sharpness import measure_drives, random_direction
from eostui.curvature.state import ProbeState
from eostui.dynamics.descent import descend
from eostui.engine.recorder import Recorder
from eostui.runs.calibration import CALIBRATED, RESEATED, in_noise

#: How well u is found, x and q being taken along it from now on: as the precision allows.
CONVERGED = {
    torch.float64: Target(value_tolerance=1e-12, vector_tolerance=1e-9, max_products=400),
    torch.float32: Target(value_tolerance=1e-7, vector_tolerance=1e-3, max_products=200),
}
#: On the way to a crossing S alone is asked for.
ON_THE_WAY = Target(wanted=1, value_tolerance=1e-7, vector_tolerance=None)

#: What a calibrator's state has of its reference, and of the last point below a crossing.
FRAME = ("origin", "axes", "alpha", "below_step", "below_theta")


@dataclass(frozen=True)
class Frame:
    """A reference point and its axes: `origin` θ*, shape (P,); `axes` u and ∇S, shape (2, P)."""

    origin: Tensor
    axes: Tensor
    alpha: float

    def project(self, theta: Tensor) -> Tensor:
        """Return x = ⟨u, θ − θ*⟩ and q = ⟨∇S, θ − θ*⟩, shape (2,)."""
        return self.axes @ (theta.to(self.origin) - self.origin)


class Calibrator:
    """Calibrates when a viewer, a step or a crossing asks for it, and projects θ afterwards.

    Its measurements leave those of the run as they would be without it.
    """

    def __init__(self, state: ProbeState, recorder: Recorder) -> None:
        self._config, self._problem = state.config, state.problem
        self._state, self._recorder, self._writer = state, recorder, recorder.writer
        self._wanted = state.config.calibrate_at
        self._frame: Frame | None = None
        self._below: tuple[int, Tensor] | None = None
        self._since: list[tuple[float, float]] = []

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
        self._since = [(eta, weight_decay) for eta, weight_decay in state["since"]]
        self._frame = self._below = None
        if state["origin"] is not None:
            self._frame = Frame(state["origin"], state["axes"], state["alpha"])
        if state["below_step"] is not None:
            self._below = state["below_step"], state["below_theta"]

    def wants(self, asked: list[str], step: int) -> bool:
        """Return whether there is something to do at this step."""
        return bool(asked) or step == self._wanted

    def serve(
        self, asked: list[str], step: int, theta: Tensor, eta: float, weight_decay: float
    ) -> None:
        """Do what `wants` tells of at θ_step, before its row is recorded; empties `asked`.

        Raises:
            Divergence: if the rows so far diverged.
        """
        if step == self._wanted:
            asked.append("calibrate")
        while asked:
            if asked.pop(0) == "calibrate":
                refusal = self._calibrate(step, theta, eta, weight_decay)
            else:
                refusal = self._reseat(step, theta)
            if refusal:
                self._writer.event(step, "refused", {"reason": refusal})
            self._writer.flush()

    def project(self, theta: Tensor) -> tuple[Tensor, ...]:
        """Return x and q of θ; nothing before the first calibration."""
        return () if self._frame is None else self._frame.project(theta).unbind()

    def watch(
        self, step: int, theta: Tensor, eta: float, weight_decay: float, sharpness: float | None
    ) -> None:
        """Look whether S crossed 2/η − λ since the reading before this one, and calibrate where it did.

        Args:
            step: a step that was recorded and, if it was due, measured.
            theta: θ there.
            eta: the η that moves it on.
            weight_decay: the λ that moves it on.
            sharpness: S there, None where it wasn't measured.
        """
        if self._wanted != "auto":
            return
        above = sharpness is not None and sharpness >= 2 / eta - weight_decay
        if above and self._below is not None:
            self._since.append((eta, weight_decay))
            self._go_back(step, theta)
        elif sharpness is not None and not above:
            self._below, self._since = (step, theta), [(eta, weight_decay)]
        elif self._below is not None:
            self._since.append((eta, weight_decay))

    def _go_back(self, step: int, theta: Tensor) -> None:
        """Calibrate at the step where S crossed, and project the steps from there to `step` again."""
        assert self._below is not None
        (start, below), controls = self._below, self._since
        first, last, above = start, step, theta
        while last - first > 1:
            middle = (first + last) // 2
            moved = self._descend(below, controls[first - start : middle - start])
            try:
                crossed = self._is_above(moved, middle, *controls[middle - start])
            except NotFiniteError:
                break  # S can't be had there: the crossing is told as late as it is known
            if crossed:
                last, above = middle, moved
            else:
                first, below = middle, moved
        remaining = controls[last - start :]
        refusal = self._calibrate(last, above, *remaining[0])
        if refusal:
            self._writer.event(last, "refused", {"reason": refusal})
            return
        projections = [torch.stack(self.project(above))]
        for control in remaining[:-1]:
            above = self._descend(above, [control])
            projections.append(torch.stack(self.project(above)))
        rows = torch.stack(projections).cpu().double().numpy()
        self._writer.calibrated(self._recorder.calibration, last, rows)
        self._writer.flush()

    def _is_above(self, theta: Tensor, step: int, eta: float, weight_decay: float) -> bool:
        point = Point(self._problem.loss, theta)
        sharpness = self._eigenpairs(point, step, ON_THE_WAY).values[0]
        point.release()
        return sharpness >= 2 / eta - weight_decay

    def _descend(self, theta: Tensor, controls: list[tuple[float, float]]) -> Tensor:
        """Repeat the steps that η and λ tell of: on a CPU exactly those that were taken."""
        for eta, weight_decay in controls:
            _, gradient = plain_gradient(self._problem.loss, theta)
            theta = descend(theta, gradient, eta, weight_decay, self._problem.decayed)
        return theta

    def _calibrate(self, step: int, theta: Tensor, eta: float, weight_decay: float) -> str | None:
        """Freeze the frame at θ and tell it; return why not, or None."""
        self._recorder.flush()
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
        self._frame = Frame(self._recorder.precise(theta), axes, told["alpha"])
        number = self._recorder.begin_calibration()
        told |= {"number": number, "step": step, "eta": eta, "weight_decay": weight_decay}
        self._writer.event(step, CALIBRATED, told)
        return None

    def _constants(self, point: Point, step: int) -> tuple[dict[str, float], Tensor]:
        """Measure what theory takes from a reference point, and its axes u and ∇S, shape (2, P)."""
        pairs = self._eigenpairs(point, step, CONVERGED[point.theta.dtype])
        config = self._config.changed({"measure": "drives"})
        state = replace(self._state, config=config, step=step, eigenvectors=pairs.vectors)
        drives = measure_drives(point, state)
        product, sharpness_gradient = point.curvature_gradient(pairs.vectors[0])
        point.release()  # the points on both sides need its memory
        precise = self._recorder.precise
        axes = torch.stack([precise(pairs.vectors[0]), precise(sharpness_gradient)])
        sharpness, beta, beta_alpha = pairs.values[0], drives["beta"], drives["beta_alpha"]
        return {
            "sharpness": sharpness,
            "sharpness_residual": pairs.residuals[0] / abs(sharpness) if sharpness else 0.0,
            "alpha": beta_alpha / beta if beta > 0 else 0.0,
            "beta": beta,
            "beta_alpha": beta_alpha,
            "g": drives["g"],
            "g_x": drives["g_u"],
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
        known = self._state.eigenvectors
        start = fresh if known is None else torch.cat([known, fresh])
        return leading_eigenpairs(
            point.hessian_product,
            start,
            target,
            fresh=lambda number: random_direction(point.theta, self._config.seed, step, 1 + number),
            known=0 if known is None else len(known),
        )
