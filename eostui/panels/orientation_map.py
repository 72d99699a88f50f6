"""INST's Fig. 1: how a step turns u, over η, and where u points over the plane of θ₁ and θ₂.

Of the toy diagonal-net with two parameters, L = Θ^q, Θ = θ₁θ₂, in closed form (eostui/diagonal_net.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eostui.charts.chart import Chart, Curve, Mark, Spot
from eostui.charts.numbers import compact
from eostui.charts.scales import FloatArray, Scale
from eostui.charts.shades import Line, Shades
from eostui.diagonal_net import growth, imbalance
from eostui.errors import InputError
from eostui.runs.run import Run

#: Signs and colours of the runs, in turn.
LOOKS = (
    ("●", "cool"), ("○", "warm"), ("◆", "path"), ("△", "test"), ("■", "norm"), ("◇", "mark"),
)  # fmt: skip
#: Values of R at which a line is drawn.
_LEVELS = (3.0, 10.0, 30.0)
#: Points of η, of the plane along each axis, and of the field of orientations; of θ₂ beside what it is.
_ETAS, _GRID, _FIELD, _AMPLIFIED = 400, 120, (13, 9), 10.0
#: A plane reaches this share of the paths' extent beyond them.
_MARGIN = 0.15


@dataclass(frozen=True)
class Trajectory:
    """A run of the toy.

    Attributes:
        run: its id.
        theta: θ at every step, shape (n, 2), of the steps shown.
        eta, weight_decay: of its first step.
        degree: q of L = Θ^q.
    """

    run: str
    theta: FloatArray
    eta: float
    weight_decay: float
    degree: int

    @classmethod
    def of(cls, run: Run, name: str, steps: int) -> Trajectory:
        """Read a run's first steps.

        Raises:
            InputError: if it isn't of that toy with two parameters and one product, or has no step.
        """
        config = run.config
        arguments = config.problem_arguments
        single = config.problem == "diagonal-net" and len(arguments["terms"]) < 2
        if not single or len(run.coordinates) != 2:
            raise InputError(
                f"{name} isn't of the toy diagonal-net with two parameters and one product, of which u "
                "is known in closed form: eostui run toy-diagonal-net"
            )
        columns = run.steps
        theta = np.stack([columns[each] for each in run.coordinates], axis=1)[: steps + 1]
        theta = theta[np.isfinite(theta).all(axis=1)]
        if len(theta) < 2 or not theta[0].all():
            raise InputError(f"{name} has no step yet, or begins where a parameter is 0")
        eta, decay = (float(columns[each][0]) for each in ("eta", "weight_decay"))
        return cls(name, theta, eta, decay, int(arguments["degree"]))

    def imbalance(self, step: int) -> float:
        """Return b at a step, by which R = b + √(b² + 1)."""
        first, second = self.theta[step].tolist()
        return imbalance_at(first, second, self.degree)

    def growth(self) -> float:
        """Return by what the first step multiplied b, as it was taken."""
        return self.imbalance(1) / self.imbalance(0)

    def growth_closed(self, eta: float) -> float:
        """Return INST's γ of a first step by some η, which is exact for these L."""
        first, second = self.theta[0].tolist()
        slope = _slope(first, second, self.degree)
        return growth([first, second], slope, eta, self.weight_decay)

    def orientations(self) -> FloatArray:
        """Return R = |u₁/u₂| at every step, shape (n,)."""
        b = np.array([self.imbalance(step) for step in range(len(self.theta))])
        found: FloatArray = b + np.hypot(b, 1)
        return found


def imbalance_at(first: float, second: float, degree: int) -> float:
    """Return b of θ₁ and θ₂ for L = (θ₁θ₂)^degree; inf where u is along an axis, NaN at 0."""
    if not (first or second):
        return math.nan
    product = first * second
    bend = degree * (degree - 1) * product ** (degree - 2)
    if not product:  # the slope over the bend is Θ/(q − 1): what is left is a common factor
        return math.inf
    return imbalance([first, second], _slope(first, second, degree), bend)


def _slope(first: float, second: float, degree: int) -> float:
    return degree * (first * second) ** (degree - 1)


def together(trajectories: Sequence[Trajectory]) -> Sequence[Trajectory]:
    """Return runs that can be shown in one picture.

    Raises:
        InputError: if they begin elsewhere, or have another degree or decay.
    """
    first = trajectories[0]
    for other in trajectories[1:]:
        if not np.array_equal(first.theta[0], other.theta[0]):
            differs = "start"
        elif first.degree != other.degree:
            differs = "degree"
        elif first.weight_decay != other.weight_decay:
            differs = "λ"
        else:
            continue
        raise InputError(
            f"{first.run} and {other.run} differ in their {differs}: the regimes of η are those of one"
        )
    return trajectories


@dataclass(frozen=True)
class Regimes:
    """Where γ of a first step has which value, without decay (INST, Sect. 3.2).

    Attributes:
        pole: η at which θ₁ or θ₂ is 0 after the step: γ is infinite.
        edge: η at which γ is 1 again: below it u turns to the sharp parameter, beyond it away.
        zero: η at which both are equal after the step: γ is 0.
    """

    pole: float
    edge: float
    zero: float

    @classmethod
    def of(cls, trajectory: Trajectory) -> Regimes:
        """Return those of the start."""
        first, second = trajectory.theta[0].tolist()
        small, large = sorted((abs(first), abs(second)))
        slope = abs(_slope(first, second, trajectory.degree))
        ratio = small / large
        return cls(ratio / slope, 2 * ratio / (1 + ratio**2) / slope, 1 / slope)


def regimes_chart(trajectories: Sequence[Trajectory]) -> tuple[Chart, tuple[float, float]]:
    """Return γ over η at the start, with each run's own first step on it, and the ends of η."""
    first = trajectories[0]
    regimes = Regimes.of(first)
    right = 1.1 * max(1.5 * regimes.edge, *(each.eta for each in trajectories))
    eta = np.linspace(right / _ETAS, right, _ETAS)
    closed = np.array([first.growth_closed(each) for each in eta.tolist()])
    curves = [
        Curve(np.array([0.0, right]), np.ones(2), "axis", "dashed"),
        Curve(eta, np.where(np.isfinite(closed), closed, np.nan), "sharpness", label="γ", digits=0),
    ]
    spots = [
        Spot(each.eta, each.growth(), LOOKS[number % len(LOOKS)][1], LOOKS[number % len(LOOKS)][0])
        for number, each in enumerate(trajectories)
        if np.isfinite(each.growth()) and each.growth() > 0
    ]
    marks = [] if first.weight_decay else [Mark(regimes.pole, "∞"), Mark(regimes.edge, "edge")]
    return Chart(curves, Scale("log"), marks, spots, counts="η"), (0.0, right)


def loss_chart(trajectories: Sequence[Trajectory]) -> tuple[Chart, tuple[float, float]]:
    """Return L over the plane, shaded by area, with the paths, and the ends of θ₁."""
    degree = trajectories[0].degree
    return _plane(trajectories, lambda first, second: (first * second) ** degree, (), field=False)


def orientation_chart(trajectories: Sequence[Trajectory]) -> tuple[Chart, tuple[float, float]]:
    """Return R over the plane, shaded by area, with lines of equal R, the field of u and the paths.

    A stroke of the field lies along (u₁, 10 u₂), in units of the axes: u itself would be level nearly
    everywhere.
    """
    degree = trajectories[0].degree

    def orientation(first: float, second: float) -> float:
        b = imbalance_at(first, second, degree)
        return b + math.hypot(b, 1)

    return _plane(trajectories, orientation, _LEVELS, field=True)


def _plane(
    trajectories: Sequence[Trajectory],
    value: Callable[[float, float], float],
    levels: Sequence[float],
    *,
    field: bool,
) -> tuple[Chart, tuple[float, float]]:
    paths = np.concatenate([each.theta for each in trajectories])
    low, high = paths.min(axis=0), paths.max(axis=0)
    room = _MARGIN * np.maximum(high - low, 0.02 * np.abs(paths).max())
    (left, bottom), (right, top) = low - room, high + room
    of_each = np.vectorize(value, otypes=[float])
    known = of_each(
        np.linspace(left, right, _GRID)[None, :], np.linspace(bottom, top, _GRID)[:, None]
    )
    ranked = np.sort(known[np.isfinite(known)])

    def share(at: FloatArray) -> FloatArray:
        """Return which share of the plane lies lower than these values."""
        return np.where(np.isnan(at), np.nan, np.searchsorted(ranked, at) / max(len(ranked), 1))

    lines = [
        Line(float(share(np.array(level))), f"R {level:g}")
        for level in levels
        if ranked[0] < level < ranked[-1]
    ]
    curves = [Curve(np.array([left, left]), np.array([bottom, top]), "axis")]  # the ends of y
    if field:
        curves += _field(trajectories[0].degree, (left, right, bottom, top))
    spots = [
        Spot(x, y, LOOKS[number % len(LOOKS)][1], LOOKS[number % len(LOOKS)][0])
        for number, each in enumerate(trajectories)
        for x, y in each.theta.tolist()
    ]
    shades = Shades(lambda x, y: share(of_each(x[None, :], y[:, None])), lines)
    return Chart(curves, spots=spots, counts="θ₁", shades=shades), (float(left), float(right))


def _field(degree: int, region: tuple[float, float, float, float]) -> list[Curve]:
    """Return the strokes of u over a region, left, right, bottom, top."""
    left, right, bottom, top = region
    across, upward = _FIELD
    wide, high = (right - left) / across, (top - bottom) / upward
    strokes = []
    for x in left + wide * (np.arange(across) + 0.5):
        for y in bottom + high * (np.arange(upward) + 0.5):
            direction = sharpest(x, y, degree)
            if direction is None:
                continue
            u, v = direction[0], _AMPLIFIED * direction[1]
            length = math.hypot(u, v)
            along = np.array([-0.4, 0.4]) * np.sign(u or 1.0)
            strokes.append(
                Curve(x + wide * along * u / length, y + high * along * v / length, "axis")
            )
    return strokes


def sharpest(first: float, second: float, degree: int) -> tuple[float, float] | None:
    """Return the unit eigenvector of the largest eigenvalue of ∇²(θ₁θ₂)^degree; None where ∇² is 0."""
    product = first * second
    bend = degree * (degree - 1) * product ** (degree - 2)
    mixed = _slope(first, second, degree) + bend * product
    hessian = np.array([[bend * second**2, mixed], [mixed, bend * first**2]])
    if not hessian.any():
        return None
    u = np.linalg.eigh(hessian)[1][:, -1]
    return float(u[0]), float(u[1])


def told(trajectory: Trajectory) -> dict[str, float]:
    """Return what there is to tell of a run: γ, R and L."""
    R = trajectory.orientations()
    loss = np.prod(trajectory.theta, axis=1) ** trajectory.degree
    known = np.where(np.isfinite(R), R, np.inf)
    return {
        "eta": trajectory.eta,
        "growth": trajectory.growth(),
        "growth_closed": trajectory.growth_closed(trajectory.eta),
        "orientation_start": float(R[0]),
        "orientation_after": float(R[1]),
        "orientation_least": float(known.min()),
        "at_step": int(known.argmin()),
        "orientation_end": float(R[-1]),
        "largest_loss": float(loss.max()),
    }


def summary(trajectories: Sequence[Trajectory]) -> str:
    """Return the regimes in a sentence, for runs without decay."""
    regimes = Regimes.of(trajectories[0])
    return (
        f"without decay γ is infinite at η = {compact(regimes.pole)}, 1 at {compact(regimes.edge)}, "
        f"and 0 at {compact(regimes.zero)}"
    )
