"""Slices of the landscape at steps of a run's record: directions, lines and planes through θ_t."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.eigenpairs import Eigenpairs, NotFiniteError
from eostui.curvature.point import Point
from eostui.curvature.slices import Searcher, Values, over_line, over_plane
from eostui.dynamics.dynamics import Dynamics
from eostui.engine.handshake import TELL_EVERY, Handshake
from eostui.engine.origin import origin_of
from eostui.engine.rebuilt import Rebuilt
from eostui.errors import EostuiError, InputError
from eostui.runs.analysis.controls import description_of
from eostui.runs.request import SliceRequest, StartRequest
from eostui.runs.run import Run
from eostui.slices import (
    DIRECTIONS,
    EIGENVECTOR,
    GRADIENT,
    SHARPNESS_GRADIENT,
    Extent,
    FloatArray,
    Place,
    Plane,
    Slice,
)
from eostui.stability import THRESHOLD, UNDECAYED

#: What is done, how much of it, of how much.
Progress = Callable[[str, int, int], None]
#: The record's column with the length of a step in each unit but θ itself.
_LENGTHS = {"step": "step_norm", "bounce": "bounce_norm"}
#: A plane on which the path is flat along one axis has this share of the other's extent there.
_THINNEST = 0.1
#: Bytes of θ that are kept at most, beside those that are needed.
_MOST_KEPT = 100e6


class Slicer:
    """Cuts through the landscape of a run at its steps.

    Attributes:
        run: whose record says where θ was.
    """

    def __init__(
        self,
        run: Run,
        config: RunConfig,
        data_dir: Path,
        say: Callable[[str], None],
        progress: Progress,
        kept: int = 1,
    ) -> None:
        """Build the problem of a run.

        Args:
            run: whose record says where θ was.
            config: of the run.
            data_dir: where the data sets are.
            say: told what isn't as it was.
            progress: told of steps that are repeated, and of points.
            kept: θ of so many steps before one is kept, as long as they fit into _MOST_KEPT bytes: a
                slice there repeats no steps.

        Raises:
            InputError: as `Rebuilt` does.
            RunFormatError: if the record is damaged.
        """
        self.run, self._config, self._progress, self._kept = run, config, progress, kept
        self._origin = origin_of(run.path)
        self._rebuilt = Rebuilt(run.path, config, data_dir, say)
        self._thetas: dict[int, Tensor] = {}
        self._done = self._total = 0

    def slices(self, steps: Sequence[int], along: Sequence[str], extent: Extent) -> Iterator[Slice]:
        """Yield the slices at steps, rising, along each direction, all of one width.

        Args:
            steps: rising, on record.
            along: names of DIRECTIONS.
            extent: how far; a length that differs from step to step is the longest of them.

        Raises:
            InputError: if a direction is none there, nothing says how far, or there is no way to a step.
            EostuiError: if the record is damaged.
        """
        half = extent.reach * self._unit(steps, extent.unit)
        x = _symmetric(half, extent.points)
        self._done, self._total = 0, len(steps) * len(along) * extent.points
        u_before: Tensor | None = None
        for step in steps:
            thetas = self._thetas_at(range(step - 1, step + 2), step)
            with self._rebuilt.at_work():
                directions = _Directions(self._rebuilt, thetas[step], self._config, step)
                if extent.sharpness or set(along) - {GRADIENT}:
                    u_before = directions.find(u_before)
                cut = [
                    self._slice(directions, thetas, step, name, x, sharpness=extent.sharpness)
                    for name in along
                ]
            directions.point.release()
            yield from cut

    def plane(self, step: int, extent: Extent, steps_before: int) -> Plane:
        """Return the plane of u and ∇S through θ of a step, around the steps before it.

        Args:
            step: on record.
            extent: how far beyond the path.
            steps_before: of the path that is projected.

        Raises:
            InputError, EostuiError: as `slices`.
        """
        thetas = self._thetas_at(range(step - steps_before, step + 2), step)
        with self._rebuilt.at_work():
            directions = _Directions(self._rebuilt, thetas[step], self._config, step)
            directions.find(None)
            right, up = directions.axes()
            places = self._places(thetas, step, right, up)
            x, y = _region(places, extent, step)
            self._done, self._total = 0, len(x) * len(y)
            searcher = directions.searcher.from_here() if extent.sharpness else None
            found = over_plane(
                self._rebuilt.problem.loss, thetas[step], (right, up), x, y, searcher,
                self._tell(f"plane at step {step}"),
            )  # fmt: skip
        directions.point.release()
        loss, sharpness, residual = (
            values.reshape(len(y), len(x))
            for values in (found.loss, found.sharpness, found.residual)
        )
        return Plane(
            step, x, y, loss, sharpness, residual, places, self._thresholds(step),
            [*directions.remarks(SHARPNESS_GRADIENT), *_remarks(found)],
            found.products + directions.products,
        )  # fmt: skip

    def _slice(
        self,
        directions: _Directions,
        thetas: Mapping[int, Tensor],
        step: int,
        name: str,
        x: FloatArray,
        *,
        sharpness: bool,
    ) -> Slice:
        direction = directions.unit(name)
        here = directions.point
        slope = float(_accurate(here.gradient) @ _accurate(direction))
        curvature = float(_accurate(here.hessian_product(direction)) @ _accurate(direction))
        found = over_line(
            self._rebuilt.problem.loss, here.theta, direction, x,
            directions.searcher if sharpness else None,
            self._tell(f"step {step} along {DIRECTIONS[name]}"),
        )  # fmt: skip
        return Slice(
            step, name, x, found.loss, found.sharpness, found.residual,
            self._places(thetas, step, direction), self._thresholds(step), slope, curvature,
            [*directions.remarks(name), *_remarks(found)], found.products + 1,
        )  # fmt: skip

    def _tell(self, text: str) -> Callable[[], None]:
        def one_more() -> None:
            self._done += 1
            self._progress(text, self._done, self._total)

        return one_more

    def _thetas_at(self, steps: range, needed: int) -> dict[int, Tensor]:
        """Return θ at those of these steps that are the run's own and on record.

        Raises InputError if the one that is `needed` isn't.
        """
        there = [step for step in steps if self._origin <= step <= self.run.last_step]
        if needed not in there:
            self._rebuilt.theta(needed, self._repeated)  # is refused, with the reason
        initial = self._rebuilt.problem.initial
        kept = min(self._kept, int(_MOST_KEPT / (initial.numel() * initial.element_size())))
        missing = [step for step in there if step not in self._thetas]
        if missing:  # those before them lie on the way
            begin = max(min(missing[0], needed - kept), self._origin)
            wanted = range(begin, there[-1] + 1)
            self._thetas = {step: each for step, each in self._thetas.items() if step in wanted}
            for step in wanted:
                if step not in self._thetas:
                    self._thetas[step] = self._rebuilt.theta(step, self._repeated)
        return {step: self._thetas[step] for step in there}

    def _repeated(self, now: int, first: int, until: int) -> None:
        self._progress("repeating steps", now - first, until - first)

    def _unit(self, steps: Sequence[int], unit: str) -> float:
        """Return the length of a unit, the longest of these steps. Raises InputError without one."""
        if unit not in _LENGTHS:
            return 1.0
        lengths = self.run.steps[_LENGTHS[unit]]
        found = [lengths[max(step - before, 0)] for step in steps for before in (0, 1)]
        # the newest row doesn't have its own yet: the step before it stands for it
        own = found[::2] if np.isfinite(found[::2]).any() else found[1::2]
        longest = float(np.nanmax(own)) if np.isfinite(own).any() else math.nan
        if not longest > 0:
            where = f"step {steps[0]}" if len(steps) == 1 else "these steps"
            what = {"step": "how far θ moves", "bounce": "a bounce"}[unit]
            raise InputError(
                f"{self.run.path.name} has no record of {what} at {where} to count by: say how far in θ"
            )
        return longest

    def _places(
        self, thetas: Mapping[int, Tensor], step: int, first: Tensor, second: Tensor | None = None
    ) -> list[Place]:
        """Return where θ of each step lies on the line or the plane through θ of this one."""
        losses, places = self.run.steps["loss"], []
        measured = self.run.measured
        sharpness = dict(
            zip(measured["step"].tolist(), measured["sharpness"].tolist(), strict=True)
        )
        for number, theta in thetas.items():
            away = _accurate(theta) - _accurate(thetas[step])
            x = float(away @ _accurate(first))
            rest = away - x * _accurate(first)
            y = 0.0
            if second is not None:
                y = float(away @ _accurate(second))
                rest = rest - y * _accurate(second)
            places.append(
                Place(
                    number, x, y, float(rest.norm()), float(losses[number]),
                    sharpness.get(number, math.nan),
                )
            )  # fmt: skip
        return places

    def _thresholds(self, step: int) -> dict[str, float]:
        if self._rebuilt.dynamics.operator is not Dynamics.operator:
            return {}  # what is stable is told by another operator's eigenvalue than S
        steps, dynamics = self.run.steps, description_of(self.run)
        found = {dynamics.undecayed_label: float(steps[UNDECAYED][step])}
        if steps["weight_decay"][step]:
            found[dynamics.label] = float(steps[THRESHOLD][step])
        return found


def answer(
    request: StartRequest, first: SliceRequest, more: Iterable[str], handshake: Handshake
) -> None:
    """Tell each slice or plane that is asked for, and before it how far that is.

    Args:
        request: whose run it is.
        first: what is asked for first.
        more: JSON of what is asked for then, a line each.
        handshake: by which it is told: as `slice`, or as `error` with a sentence.

    Raises:
        InputError, EostuiError: if the problem can't be built.
    """
    told, began = 0.0, time.monotonic()

    def progress(text: str, done: int, total: int) -> None:
        nonlocal told, began
        now = time.monotonic()
        if done <= 1:
            began = now
        elif now - told >= TELL_EVERY:
            told, left = now, (total - done) * (now - began) / done
            handshake.say("progress", f"{text}: {done} of {total}, {left:.0f} s left")

    config = RunConfig.from_toml(request.config, "request")
    slicer: Slicer | None = None
    for asked in chain([first], map(SliceRequest.model_validate_json, more)):
        with Run(request.path) as run:  # anew: it may be live
            if slicer is None:
                slicer = Slicer(
                    run, config, request.data_dir, lambda text: handshake.say("progress", text),
                    progress, kept=asked.steps_before,
                )  # fmt: skip
            slicer.run = run
            try:
                handshake.say("slice", "", found=_asked_for(slicer, asked).as_json())
            except EostuiError as error:
                handshake.say("error", str(error), exit_code=error.exit_code)


def _asked_for(slicer: Slicer, asked: SliceRequest) -> Slice | Plane:
    extent = Extent(asked.reach, points=asked.points)
    if not asked.along:
        return slicer.plane(asked.step, extent, asked.steps_before)
    (cut,) = slicer.slices([asked.step], [asked.along], extent)
    return cut


class _Directions:
    """The directions at one θ, and what is known of them."""

    def __init__(self, rebuilt: Rebuilt, theta: Tensor, config: RunConfig, step: int) -> None:
        self.point = Point(rebuilt.problem.loss, theta)
        self.searcher = Searcher(config.tolerance, config.seed, step)
        self.products = 0
        self._step = step
        self._pairs: Eigenpairs | None = None
        self._u: Tensor | None = None

    def find(self, before: Tensor | None) -> Tensor:
        """Find u and return it: downhill, or on the side on which it was `before`."""
        try:
            self._pairs = pairs = self.searcher.search(self.point, vector=True)
        except NotFiniteError:
            raise InputError(
                f"the Hessian isn't finite at step {self._step}: there is no slice of it"
            ) from None
        self.products += pairs.products
        u = pairs.vectors[0]
        side = -self.point.gradient if before is None else before
        self._u = -u if float(_accurate(u) @ _accurate(side)) < 0 else u
        return self._u

    def unit(self, name: str) -> Tensor:
        """Return a direction of length 1. Raises InputError where there is none."""
        if name == EIGENVECTOR:
            assert self._u is not None
            return self._u
        vector = -self.point.gradient if name == GRADIENT else self._sharpness_gradient()
        length = float(_accurate(vector).norm())
        if not (length > 0 and math.isfinite(length)):
            what = "isn't finite" if length else "is 0"
            formula = DIRECTIONS[name].lstrip("−")
            raise InputError(f"{formula} {what} at step {self._step}: there is no line along it")
        return vector / length

    def axes(self) -> tuple[Tensor, Tensor]:
        """Return u and the direction of ∇S without its part along u. Raises InputError as `unit`."""
        u, rising = self.unit(EIGENVECTOR), self.unit(SHARPNESS_GRADIENT)
        across = _accurate(rising) - (_accurate(rising) @ _accurate(u)) * _accurate(u)
        length = float(across.norm())
        if length < 1e-6:
            raise InputError(
                f"∇S points along u at step {self._step}: there is no plane of the two"
            )
        return u, (across / length).to(u)

    def remarks(self, name: str) -> list[str]:
        """Return what to know of a direction."""
        pairs = self._pairs
        if name == GRADIENT or pairs is None or pairs.separated:
            return []
        following = (
            f", the next eigenvalue is {pairs.values[1]:.6g}" if len(pairs.values) > 1 else ""
        )
        rest = "" if name == EIGENVECTOR else ", and ∇S is no better"
        return [
            f"step {self._step}: u is known only to a sine of {pairs.first_vector_error:.2g} "
            f"(S {pairs.values[0]:.6g}{following}): it can't be told from its neighbours{rest}"
        ]

    def _sharpness_gradient(self) -> Tensor:
        assert self._u is not None
        self.products += 1
        return self.point.third_derivative(self._u)


def _symmetric(half: float, points: int) -> FloatArray:
    """Return distances from −half to half, the middle one 0 exactly."""
    side = half * np.arange(1, points // 2 + 1) / (points // 2)
    return np.concatenate([-side[::-1], [0.0], side])


def _region(places: Sequence[Place], extent: Extent, step: int) -> tuple[FloatArray, FloatArray]:
    """Return the distances along both axes of a plane around a path."""
    at = np.array([(place.x, place.y) for place in places])
    low, high = at.min(axis=0), at.max(axis=0)
    half = (high - low) / 2
    half = extent.reach * np.maximum(half, _THINNEST * half.max())
    if not half.max() > 0:
        raise InputError(f"θ doesn't move before step {step}: nothing says how wide the plane is")
    middle = (low + high) / 2
    x, y = (np.linspace(m - h, m + h, extent.points) for m, h in zip(middle, half, strict=True))
    return x, y


def _remarks(found: Values) -> list[str]:
    """Return what to know of the values."""
    remarks, count = [], len(found.loss)
    if infinite := int((~np.isfinite(found.loss)).sum()):
        remarks.append(f"L isn't finite at {infinite} of {count} points")
    if found.unconverged:
        remarks.append(f"S isn't found to its tolerance at {found.unconverged} of {count} points")
    return remarks


def _accurate(vector: Tensor) -> Tensor:
    """Return the vector in float64 where the device has it."""
    return vector if vector.device.type == "mps" else vector.to(torch.float64)
