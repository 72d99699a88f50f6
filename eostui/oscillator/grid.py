"""Many orbits at once, reduced on the way: where each point of a grid of parameters ends up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eostui.errors import InputError
from eostui.oscillator.orbit import ESCAPED, Progress, coefficients
from eostui.oscillator.parameters import FloatArray, Parameters, Values, check
from eostui.oscillator.readings import reached, tail_length

#: Points that step together: what they need fits a core's cache.
_BATCH = 4096
_REPORT = 1000


class Survey(NamedTuple):
    """What became of each point, shape of the grid each.

    Attributes:
        attractor: where the orbit went, as in `readings.Reached`.
        sharpness: mean S over the last fifth of the steps; NaN where escaped.
        amplitude: mean ½|x_{t+1} − x_t| over the same steps; NaN where escaped.
        decay, frequency: exact, of the attractor reached; NaN without one.
        escape_step: as in `Orbit`; NaN where none.
    """

    attractor: NDArray[np.str_]
    sharpness: FloatArray
    amplitude: FloatArray
    decay: FloatArray
    frequency: FloatArray
    escape_step: FloatArray


def survey(
    parameters: Parameters,
    start: tuple[Values, Values],
    steps: int,
    *,
    progress: Progress | None = None,
) -> Survey:
    """Iterate every point of a grid; keeps no orbit, only what `Survey` names.

    Args:
        parameters: arrays that broadcast to the grid.
        start: x and q = S − S* at step 0, numbers or arrays that broadcast to the grid.
        steps: how many steps to take.
        progress: told now and then how many point-steps of how many are done.

    Raises:
        InputError: if the grid is empty, a start isn't within ±ESCAPED, there are fewer than 2 steps, or
            `quartic` isn't 0.
    """
    parameters.refuse_quartic()
    shape = np.broadcast_shapes(parameters.shape, *map(np.shape, start))
    points = int(np.prod(shape))
    for value in start:
        check(value, "the start", f"within ±{ESCAPED:g}", lambda value: np.abs(value) <= ESCAPED)
    if points == 0 or steps < 2:
        raise InputError("a survey needs at least one point and 2 steps")
    whole = parameters.flat(shape)
    x, q = (np.broadcast_to(value, shape).astype(np.float64).ravel() for value in start)
    parts = []
    for first in range(0, points, _BATCH):
        batch = slice(first, first + _BATCH)
        size = len(x[batch])

        def report(step: int, first: int = first, size: int = size) -> None:
            if progress is not None:
                progress(first * steps + size * step, points * steps)

        parts.append(_Batch(whole.part(batch), x[batch], q[batch]).run(steps, report))
    return Survey(*(np.concatenate(column).reshape(shape) for column in zip(*parts, strict=True)))


class _Batch:
    """Points in a row that step together until they escape."""

    def __init__(self, parameters: Parameters, x: FloatArray, q: FloatArray) -> None:
        self._parameters = parameters
        self._live = np.arange(len(x))
        *factors, _ = coefficients(parameters, parameters.eta, parameters.weight_decay)
        self._arrays = [x.copy(), q.copy(), *map(np.asarray, factors)]
        self._escape = np.full(len(x), np.nan)

    def run(self, steps: int, report: Callable[[int], None]) -> Survey:
        """Take all steps and sum up; arrays of shape (points,)."""
        with np.errstate(all="ignore"):  # what overflows has escaped, and says so
            self._step(1, steps - tail_length(steps), report)
            mean_q, amplitude = self._rest(steps)
        points = len(self._escape)
        x, q, sharpness, size = (np.full(points, np.nan) for _ in range(4))
        x[self._live], q[self._live] = self._arrays[:2]
        size[self._live] = amplitude[self._live]
        sharpness[self._live] = (self._parameters.reference_sharpness + mean_q)[self._live]
        where = reached(self._parameters, x, q, np.isfinite(self._escape))
        return Survey(where.attractor, sharpness, size, where.decay, where.frequency, self._escape)

    def _rest(self, steps: int) -> tuple[FloatArray, FloatArray]:
        """Take the last steps one by one; return the means of q and ½|x_{t+1} − x_t| over them."""
        mean_q, amplitude = np.zeros((2, len(self._escape)))
        tail = tail_length(steps)
        for step in range(steps - tail + 1, steps + 1):
            before, live = self._arrays[0].copy(), self._live
            mean_q[live] += self._arrays[1] / tail
            self._step(step, step, lambda _: None)
            moved = np.full(len(self._escape), np.nan)
            moved[self._live] = self._arrays[0]
            amplitude[live] += np.abs(moved[live] - before) / (2 * tail)
        return mean_q, amplitude

    def _step(self, first: int, last: int, report: Callable[[int], None]) -> None:
        """Take the steps from `first` to `last`; points that escape are noted and leave."""
        x, q, factor, eta, push, keep, drive, pull = self._arrays
        work, square = np.empty_like(x), np.empty_like(x)
        for step in range(first, last + 1):
            if not len(x):
                break
            # the same operations in the same order as for one orbit: equal to the last bit
            np.multiply(x, x, out=square)
            np.multiply(eta, q, out=work)
            np.subtract(factor, work, out=work)
            np.multiply(work, x, out=x)
            np.subtract(x, push, out=x)
            np.multiply(keep, q, out=q)
            np.add(q, drive, out=q)
            np.multiply(pull, square, out=square)
            np.subtract(q, square, out=q)
            if not (x.max() <= ESCAPED and x.min() >= -ESCAPED):  # NaN too
                stay = np.abs(x) <= ESCAPED
                self._escape[self._live[~stay]] = step
                self._live = self._live[stay]
                self._arrays = [array[stay] for array in self._arrays]
                x, q, factor, eta, push, keep, drive, pull = self._arrays
                work, square = np.empty_like(x), np.empty_like(x)
            if step % _REPORT == 0:
                report(step)
