"""Where a reading leaves its own level as a setting grows: a flat line, then a slope, fitted to members.

y = y₀ up to the knee c and y₀ + b(t − c) beyond it, with t = x or t = log x: nobody knows the law of the
fall. It is the axis on which the values lie more evenly, so that no member alone decides, unless members
scatter about the other's line by less than half as much. On the logarithmic one x = 0 lies at −∞, on the
level whatever the knee is. The fit reaches as far as the first member whose reading has gone
half of the way to the outermost, so that neither a bend further on nor a new level there moves the knee.

Members are weighted by 1/(error² + scatter²). The scatter is what they differ from the fit by beyond
their errors (Mandel & Paule 1970: that with which χ² is what is left of freedom): two trainings that
differ in the last bit of one number rest further apart than either's error says.

All minima of the fit are found in closed form (Hudson 1966): between two members it is two lines of their
own, if they meet there, else its knee is at a member.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eostui.runs.series import FloatArray

#: Values of the setting that a fit takes at least: one more than it has numbers.
LEAST_VALUES = 4
#: A slope is one where the reading ends further from the level than so many standard errors of that.
ERRORS = 3.0
#: Repetitions from which the interval is read off, and the share of them within it.
REPETITIONS, CONFIDENCE = 1000, 0.95
#: The axis on which the values lie less evenly is taken where the scatter is below this share.
BETTER = 0.5
#: Two lines are a doubtful description where members scatter about them by so many of their errors.
DOUBTFUL = 10.0
#: Axes of a fit.
LINEAR, LOGARITHMIC = "linear", "log"
#: Outcomes.
KNEE, NO_KNEE, TOO_FEW = "knee", "no knee", "not enough members at rest"


@dataclass(frozen=True)
class Knee:
    """A piecewise fit: what it found, and how well.

    Attributes:
        outcome: KNEE, NO_KNEE or TOO_FEW.
        why: a sentence on an outcome without a knee; "" with one.
        position: the knee, in units of x; NaN without one.
        low, high: the ends of its interval, which holds the share CONFIDENCE of the repetitions; `low` is
            0 on a logarithmic axis where it reaches below all members.
        between: the members' values on either side, where the slope has one member alone and the knee
            is anywhere between these: `position` is midway then.
        baseline: the level y₀, with its standard error.
        slope: b, in y by x, or by a tenfold of x on a logarithmic axis.
        change: how far beyond y₀ the fit is at its last member, with its standard error.
        scatter: of members about the fit beyond their errors.
        error: of a member, its own: the median.
        axis: LINEAR or LOGARITHMIC.
        last: the largest x that the fit reaches.
        values: how many values of x were fitted.
        members: how many readings they are of.
        seeds: how many seeds these have at most; 1 where none were told apart.
    """

    outcome: str
    why: str = ""
    position: float = math.nan
    low: float = math.nan
    high: float = math.nan
    between: tuple[float, float] | None = None
    baseline: float = math.nan
    baseline_error: float = math.nan
    slope: float = math.nan
    change: float = math.nan
    change_error: float = math.nan
    scatter: float = math.nan
    error: float = math.nan
    axis: str = LINEAR
    last: float = math.nan
    values: int = 0
    members: int = 0
    seeds: int = 1

    @property
    def doubtful(self) -> bool:
        """Whether members scatter about the fit so widely that they hardly lie on two lines at all."""
        return self.scatter > DOUBTFUL * self.error

    def level(self, x: FloatArray) -> FloatArray:
        """Return the fit at some x; NaN beyond its last member, and without a fit."""
        beyond = np.maximum(_on(self.axis, np.asarray(x, dtype=np.float64)) - self._bend, 0.0)
        with np.errstate(invalid="ignore"):
            y = self.baseline + np.where(beyond > 0, self.slope * beyond, 0.0)
        return np.where(x <= self.last, y, np.nan)

    @property
    def _bend(self) -> float:
        if self.outcome != KNEE:
            return math.inf
        return float(_on(self.axis, np.array([self.position]))[0])


def knee(
    x: FloatArray,
    y: FloatArray,
    error: FloatArray,
    *,
    seeds: Sequence[object] | None = None,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Knee:
    """Fit where readings leave the level that they have at the smallest x.

    Members of one x are averaged; the error of that mean is that by which they scatter, if it is more
    than theirs. Seeds may lie above each other, all of their members alike: that is taken off first. The
    interval is from repetitions of the fit on readings drawn about it: by the members' errors and the
    scatter, and, with several seeds, by drawing the seeds anew, each with all of its members.

    Args:
        x: the setting of each member, shape (n,), in any order.
        y: its reading; members whose reading isn't finite, such as those not at rest, are left out.
        error: its standard error; where it isn't known it is taken as the median of the others.
        seeds: of each member.
        repetitions: how many fits the interval is from.
        seed: of the repetitions; the same readings give the same interval.
    """
    x, y, error = (np.asarray(each, dtype=np.float64) for each in (x, y, error))
    known = np.isfinite(x) & np.isfinite(y)
    told = None if seeds is None else np.array([repr(each) for each in seeds])[known]
    readings = _Readings.of(x[known], y[known], error[known], told)
    if len(readings.x) < LEAST_VALUES:
        return Knee(
            TOO_FEW,
            f"{len(readings.x)} values of the setting have a reading, and a fit takes {LEAST_VALUES}",
            values=len(readings.x),
            members=int(known.sum()),
        )
    readings = readings.first(_reach(readings.y))
    axis, *others = _axes(readings.x)
    scatter, line = _fit(_on(axis, readings.x), readings)
    for other in others:
        found = _fit(_on(other, readings.x), readings)
        if found[0] < BETTER * scatter:
            axis, (scatter, line) = other, found
    return _judged(readings, axis, scatter, line, int(known.sum()), repetitions, seed)


class _Readings(NamedTuple):
    """Members by their values of x, each of shape (k,), in rising order; y of all seeds alike.

    Attributes:
        error: of y, by which it is weighted.
        own_error: that of y by the members' own errors.
        by_seed: a row for each value and a column for each seed: y, NaN where there is none.
        offsets: how far above the others each seed lies, all of its members alike.
    """

    x: FloatArray
    y: FloatArray
    error: FloatArray
    own_error: FloatArray
    by_seed: FloatArray
    offsets: FloatArray

    @classmethod
    def of(
        cls, x: FloatArray, y: FloatArray, error: FloatArray, seeds: NDArray[Any] | None
    ) -> _Readings:
        known = error[np.isfinite(error) & (error > 0)]
        error = np.where(np.isfinite(error), error, np.median(known) if len(known) else 0.0)
        # of a reading without an error, and of one whose error is below its rounding
        error = np.maximum(error, 1e-9 * np.abs(y).max(initial=0.0) or 1.0)
        values, rows = np.unique(x, return_inverse=True)
        columns = np.zeros(len(x), dtype=np.int64)
        if seeds is not None:
            columns = np.unique(seeds, return_inverse=True)[1]
        offsets = _offsets(rows, columns, y)
        y = y - offsets[columns]
        count = np.bincount(rows, minlength=len(values))
        mean = np.bincount(rows, y, len(values)) / np.maximum(count, 1)
        own = np.sqrt(np.bincount(rows, error**2, len(values))) / np.maximum(count, 1)
        squares = np.bincount(rows, (y - mean[rows]) ** 2, len(values))
        scatter = np.sqrt(squares / np.maximum(count - 1, 1) / np.maximum(count, 1))
        by_seed = np.full((len(values), len(offsets)), np.nan)
        by_seed[rows, columns] = y
        return cls(values, mean, np.maximum(own, scatter), own, by_seed, offsets)

    def first(self, count: int) -> _Readings:
        """Return those of the first values."""
        return self._replace(
            x=self.x[:count],
            y=self.y[:count],
            error=self.error[:count],
            own_error=self.own_error[:count],
            by_seed=self.by_seed[:count],
        )


def _offsets(rows: NDArray[np.int64], columns: NDArray[np.int64], y: FloatArray) -> FloatArray:
    """Return how far each seed lies above the mean of all, by y = value's level + seed's offset.

    A mean of the seeds that are at rest would else be off where one of them isn't.
    """
    several = np.bincount(columns)
    offsets = np.zeros(len(several))
    for _ in range(100 if len(several) > 1 else 0):
        level = np.bincount(rows, y - offsets[columns]) / np.maximum(np.bincount(rows), 1)
        offsets = np.bincount(columns, y - level[rows]) / several
        offsets -= offsets.mean()
    return offsets


class _Line(NamedTuple):
    """A fit: the level, the slope, the knee on its axis, Σ(weighted deviations)², and the members on it.

    `held` counts the members before the knee; `loose` is whether one member alone lies beyond it.
    """

    baseline: float
    slope: float
    bend: float
    misfit: float
    held: int
    loose: bool

    def at(self, t: FloatArray) -> FloatArray:
        """Return the fit at places of its axis."""
        beyond = np.maximum(t - self.bend, 0.0)
        return self.baseline + self.slope * np.where(np.isfinite(beyond), beyond, 0.0)


def _axes(x: FloatArray) -> tuple[str, ...]:
    """Return the axes of a fit, the one on which the values lie more evenly first."""
    if x[0] < 0:
        return (LINEAR,)
    gaps = np.diff(x), np.diff(np.log10(x[x > 0]))
    even, even_log = (float(each.std() / each.mean()) for each in gaps)
    return (LOGARITHMIC, LINEAR) if even_log < even else (LINEAR, LOGARITHMIC)


def _on(axis: str, x: FloatArray) -> FloatArray:
    """Return places on an axis: x, or its decimal logarithm, −∞ for 0."""
    if axis == LINEAR:
        return x
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(x)


def _off(axis: str, t: float) -> float:
    return t if axis == LINEAR else 10.0**t


def _reach(y: FloatArray) -> int:
    """Return how many values the fit takes: to the first that has gone half of the whole way."""
    way = np.abs(y - y[0])
    return max(int(np.argmax(way >= way.max() / 2)) + 1, LEAST_VALUES)


def _fit(t: FloatArray, readings: _Readings) -> tuple[float, _Line]:
    """Return the scatter beyond the errors, and the fit with it."""
    y, variance = readings.y, readings.error**2
    lines = _Lines(t)

    def chi(scatter: float) -> float:
        line = lines.best(y, _weights(variance, scatter))
        return line.misfit / max(len(y) - (2 if line.loose else 3), 1)

    low, high = 0.0, float(np.ptp(y))
    if high and chi(0.0) > 1:
        for _ in range(40):  # the scatter with which they deviate by as much as they should
            middle = (low + high) / 2
            low, high = (middle, high) if chi(middle) > 1 else (low, middle)
    else:
        high = 0.0
    return high, lines.best(y, _weights(variance, high))


def _weights(variance: FloatArray, scatter: float) -> FloatArray:
    whole = variance + scatter**2
    return 1 / np.maximum(whole, float(whole.max()) * 1e-12)


class _Lines:
    """Fits on one axis, of one set of readings or of many drawn about them.

    Of the members before a knee and beyond it only sums are taken, of all knees at once.
    """

    def __init__(self, t: FloatArray) -> None:
        """Take the members' places, rising; the first may be −∞."""
        self._t = t
        # that member counts on the level alone: its place is never multiplied by more than 0
        self._finite = np.isfinite(t)
        self._centre = float(np.mean(t[self._finite]))
        self._offset = np.where(self._finite, t - self._centre, 0.0)

    def best(self, y: FloatArray, weights: FloatArray) -> _Line:
        """Return the best fit of readings of shape (k,)."""
        baseline, slope, bend, misfit, held = (
            float(each[0]) for each in self.all_best(y[np.newaxis], weights)
        )
        return _Line(baseline, slope, bend, misfit, int(held), int(held) == len(self._t) - 1)

    def all_best(self, y: FloatArray, weights: FloatArray) -> tuple[FloatArray, ...]:
        """Return the best fits of readings of shape (m, k), each of shape (m,).

        Returns:
            Level, slope, knee, misfit, and how many members lie before the knee.
        """
        middle = y.mean(axis=1, keepdims=True)
        sums = _Sums(self._offset, y - middle, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = [
                np.concatenate(pair, axis=1)
                for pair in zip(self._meeting(sums), self._bent(sums), strict=True)
            ]
        misfit = np.where(np.isfinite(found[3]), found[3], np.inf)
        costs = misfit.copy()
        costs[:, len(self._t) - 2] -= 1.0  # with one member beyond, a number fewer is fitted
        place = (np.arange(len(y)), np.argmin(costs, axis=1))
        level, slope, bend, misfit, held = (each[place] for each in (*found[:3], misfit, found[4]))
        return level + middle[:, 0], slope, bend, misfit, held

    def _meeting(self, sums: _Sums) -> tuple[FloatArray, ...]:
        """Return the fits of two lines of their own that meet between the members on either side."""
        t, offset = self._t, self._offset
        left, right = sums.before, sums.beyond
        level = left.y / left.w
        at, y = right.t / right.w, right.y / right.w
        slope = (right.ty - right.t * y) / (right.tt - right.t * at)
        misfit = left.yy - left.y * level + right.yy - right.y * y
        misfit -= slope * (right.ty - right.t * y)
        bend = self._centre + at + (level - y) / slope
        inside = (bend >= t[:-1]) & (bend <= t[1:])
        misfit = np.where(inside, np.maximum(misfit, 0.0), np.inf)
        # one member beyond: the knee is anywhere between the last two
        bend[:, -1] = (t[-2] + t[-1]) / 2
        slope[:, -1] = (y[:, -1] - level[:, -1]) / ((offset[-1] - offset[-2]) / 2)
        misfit[:, -1] = np.maximum(left.yy - left.y * level, 0.0)[:, -1]
        held = np.broadcast_to(np.arange(1.0, len(t)), misfit.shape)
        return level, slope, bend, misfit, held

    def _bent(self, sums: _Sums) -> tuple[FloatArray, ...]:
        """Return the fits whose knee is at a member, but for the last."""
        at, right = self._offset[:-1], sums.beyond
        whole, y, yy = sums.whole
        lean = right.t - right.w * at  # Σ w·(t − knee) of the members beyond, and so on
        square = right.tt - 2 * at * right.t + right.w * at**2
        product = right.ty - at * right.y
        slope = (product - lean * y / whole) / (square - lean**2 / whole)
        level = (y - slope * lean) / whole
        misfit = np.maximum(yy - level * y - slope * product, 0.0)
        misfit = np.where(self._finite[:-1], misfit, np.inf)
        misfit[:, -1] = np.inf  # with one member beyond, the same as anywhere up to that one
        bend = np.broadcast_to(self._t[:-1], misfit.shape)
        held = np.broadcast_to(np.arange(1.0, len(self._t)), misfit.shape)
        return level, slope, bend, misfit, held


class _Part(NamedTuple):
    """Weighted sums over the members on one side of each of k − 1 knees: of 1, t, t², y, ty, y²."""

    w: FloatArray
    t: FloatArray
    tt: FloatArray
    y: FloatArray
    ty: FloatArray
    yy: FloatArray


class _Sums:
    """Weighted sums over the members before and beyond each knee, y of shape (m, k).

    Attributes:
        before, beyond: from the first member to each but the last, and of the others.
        whole: Σw, Σwy and Σwy² of all.
    """

    def __init__(self, t: FloatArray, y: FloatArray, w: FloatArray) -> None:
        terms = [np.atleast_2d(each) for each in (w, w * t, w * t * t, w * y, w * t * y, w * y * y)]
        self.before = _Part(*(np.cumsum(each, axis=1)[:, :-1] for each in terms))
        self.beyond = _Part(*(np.cumsum(each[:, ::-1], axis=1)[:, ::-1][:, 1:] for each in terms))
        self.whole = (
            w.sum(), (w * y).sum(axis=1, keepdims=True), (w * y * y).sum(axis=1, keepdims=True)
        )  # fmt: skip


def _judged(
    readings: _Readings,
    axis: str,
    scatter: float,
    line: _Line,
    members: int,
    repetitions: int,
    seed: int,
) -> Knee:
    """Return what the fit says, with errors and interval from repetitions."""
    t = _on(axis, readings.x)
    noise = np.sqrt(readings.own_error**2 + scatter**2)
    random = np.random.default_rng(seed)
    drawn = line.at(t) + random.normal(size=(repetitions, len(t))) * noise
    drawn += _seeds_anew(readings, repetitions, random)
    weights = _weights(readings.error**2, scatter)
    baseline, slope, bend, _, held = _Lines(t).all_best(drawn, weights)
    change = float(line.at(t)[-1] - line.baseline)
    changes = slope * (t[-1] - bend)
    # what the repetitions lack where they are drawn without an error at all
    rounding = 1e-12 * float(np.abs(readings.y).max())
    change_error = math.hypot(_spread(changes), rounding)
    fitted = Knee(
        NO_KNEE,
        baseline=line.baseline,
        baseline_error=_spread(baseline),
        change=change,
        change_error=change_error,
        scatter=scatter,
        error=float(np.median(readings.own_error)),
        axis=axis,
        last=float(readings.x[-1]),
        values=len(t),
        members=members,
        seeds=int(np.isfinite(readings.by_seed).sum(axis=1).max()),
    )
    far = ERRORS * change_error
    if not abs(change) > far:
        why = f"all lie about {line.baseline:.4g}, their outermost level no further off than {far:.2g}"
        return replace(fitted, why=why)
    if line.bend <= t[0] + 1e-9 * (t[-1] - t[1]):  # but for rounding
        way = "falls" if change < 0 else "rises"
        why = f"it {way} from the smallest value on: there is no level that it leaves"
        return replace(fitted, why=why)
    low, high = np.quantile(bend, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], method="nearest")
    if (
        np.mean(held == len(t) - 1) > (1 - CONFIDENCE) / 2
    ):  # then it is anywhere between the last two
        low, high = min(low, t[-2]), max(high, t[-1])
    if axis == LOGARITHMIC and low <= t[0]:
        low = -math.inf
    ends = (float(readings.x[-2]), float(readings.x[-1])) if line.loose else None
    return replace(
        fitted, outcome=KNEE, position=_off(axis, line.bend), slope=line.slope, between=ends,
        low=_off(axis, float(low)), high=_off(axis, float(high)),
    )  # fmt: skip


def _spread(drawn: FloatArray) -> float:
    """Return half the width that holds as much as ± one standard deviation of a normal distribution.

    Of few seeds the tails are those of Student's t: a standard deviation would be theirs.
    """
    low, high = np.quantile(drawn, [0.15865525, 0.84134475])
    return float(high - low) / 2


def _seeds_anew(readings: _Readings, repetitions: int, random: np.random.Generator) -> FloatArray:
    """Return how means over seeds change where the seeds are drawn anew, shape (repetitions, k).

    Drawn from n seeds, a mean varies by (n − 1)/n of what it does over all seeds: that is made good. How
    much it varies is itself known from n − 1 alone: as for Student's t, each repetition has another size.
    """
    known = np.isfinite(readings.by_seed)
    seeds, freedom = known.shape[1], known.shape[1] - 1
    if not freedom:
        return np.zeros((repetitions, len(known)))
    away = np.where(known, readings.by_seed - readings.y[:, np.newaxis], 0.0)
    times = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=repetitions).astype(
        np.float64
    )
    moved = times @ away.T / np.maximum(times @ known.T, 1)
    moved += (times @ readings.offsets / seeds)[:, np.newaxis]
    student = np.sqrt(freedom / random.chisquare(freedom, size=(repetitions, 1)))
    return np.asarray(moved * math.sqrt(seeds / freedom) * student)
