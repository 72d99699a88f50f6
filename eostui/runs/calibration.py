"""Calibrations: a network's x and q of every step, and what theory predicts for them (MATH §3.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eostui.oscillator import Parameters, simulate
from eostui.oscillator.orbit import ESCAPED
from eostui.runs.series import FloatArray, Series
from eostui.runs.store.rows import Event
from eostui.stability import GRADIENT_DESCENT, SHARP_STEP

#: Kinds of the events in which an engine tells of a calibration and of a re-seating.
CALIBRATED, RESEATED = "calibrated", "reseated"
#: Prediction and network agree while their sharpness differs by at most this share of S*.
TOLERANCE = 0.02
#: x is out of the noise, and re-seating is offered, from this share of theory's amplitude √(2α) on.
OUT_OF_NOISE = 0.03
#: Why nothing is calibrated during an intervention.
NO_PLAIN_STEPS = (
    "the reduced oscillator is of plain steps: with an intervention there is no prediction"
)
#: The parts of a `calibrated` event that are parameters of the map, by their names there.
_PARAMETERS = ("eta", "weight_decay", "alpha", "beta", "g", "g_x", "gradient_u", "sharpness")


@dataclass(frozen=True)
class Calibration:
    """A reference point θ*: its number from 1, its step, S*, α, β, and all the map's parameters."""

    number: int
    step: int
    sharpness: float
    alpha: float
    beta: float
    parameters: Parameters

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Calibration:
        """Return the calibration that an event tells of; runs from before `quartic` have 0 there."""
        values = {name: float(payload[name]) for name in _PARAMETERS}
        values["quartic"] = float(payload.get("quartic", 0.0))
        return cls(
            int(payload["number"]),
            int(payload["step"]),
            values["sharpness"],
            values["alpha"],
            values["beta"],
            Parameters(**values),
        )


@dataclass
class Seat:
    """Where a predicted orbit starts: at θ*, or at the network's own state when re-seated.

    Attributes:
        calibration: whose map it is.
        step: the step it starts at.
        x: ⟨u, θ − θ*⟩ there.
        q: ⟨∇S, θ − θ*⟩ there.
        parted: the first step at which S* + q or the measured S differs from the prediction by more
            than TOLERANCE, None while there is none.
    """

    calibration: Calibration
    step: int
    x: float
    q: float
    parted: int | None = None

    @property
    def at_reference(self) -> bool:
        """Whether it is θ* itself, not where the prediction was re-seated."""
        return self.step == self.calibration.step

    def part(self, step: int) -> None:
        """Take in a step at which they differ."""
        self.parted = step if self.parted is None else min(self.parted, step)


def in_noise(x: float, alpha: float) -> bool:
    """Return whether x is too small to seat an orbit on: below OUT_OF_NOISE of √(2α)."""
    return not abs(x) > OUT_OF_NOISE * math.sqrt(2 * max(alpha, 0.0))


def description(event: Event) -> str:
    """Return what an event says of a calibration or a re-seating; "" for any other event."""
    values = event.payload
    if event.kind == CALIBRATED:
        edge = GRADIENT_DESCENT.threshold(values)
        return (
            f"calibration {values['number']} at step {values['step']}: "
            f"S {values['sharpness']:.5g} of {edge:.5g}, βα {values['beta_alpha']:.3g}"
        )
    if event.kind == RESEATED:
        return f"prediction re-seated at step {values['step']}: x {values['x']:.3g}, q {values['q']:.3g}"
    return ""


class Calibrations:
    """The calibrated part of a run, which grows as the run does; all of it is predicted once.

    Attributes:
        rows: `step`, `calibration`, `x`, `q`, `x_predicted`, `q_predicted`: one row for every step from
            the first calibration on. Predictions are NaN once they escaped.
        seats: where predictions start, in turn.
    """

    def __init__(self) -> None:
        self.rows = Series(["step", "calibration", "x", "q", "x_predicted", "q_predicted"])
        self.seats: list[Seat] = []
        self._predicted = 0
        self._compared = 0

    def __len__(self) -> int:
        """How many calibrations there were."""
        return self.seats[-1].calibration.number if self.seats else 0

    def until(self, step: int) -> Calibrations:
        """Return what was known when `step` was the newest row; it shares the columns."""
        past = Calibrations()
        past.rows = self.rows.head(int(np.searchsorted(self.rows["step"], step, side="right")))
        past.seats = [
            replace(seat, parted=None if (seat.parted or 0) > step else seat.parted)
            for seat in self.seats
            if seat.step <= step
        ]
        return past

    def append(self, rows: FloatArray, events: list[Event], steps: Series) -> None:
        """Take in new rows and events, and predict the rows.

        Args:
            rows: step, calibration, x and q of new rows, shape (n, 4); their events came before.
            events: new events of the run.
            steps: the run's columns of every step, up to the newest of `rows` at least.
        """
        for event in events:
            if event.kind == CALIBRATED:
                calibration = Calibration.from_payload(event.payload)
                self.seats.append(Seat(calibration, calibration.step, 0.0, 0.0))
            elif event.kind == RESEATED:
                where = event.payload
                seat = Seat(self.seats[-1].calibration, where["step"], where["x"], where["q"])
                self.seats.append(seat)
        if len(rows):
            names = ("step", "calibration", "x", "q")
            self.rows.append(len(rows), dict(zip(names, rows.T, strict=True)))
            self._predict(steps)

    def compare(self, measured: Series) -> None:
        """Compare the readings of S that are new with the predicted sharpness."""
        if not len(self.rows):
            return
        steps = measured["step"][self._compared :]
        known = steps[: np.searchsorted(steps, self.rows["step"][-1], side="right")]
        readings = measured["sharpness"][self._compared :][: len(known)]
        self._compared += len(known)
        at = np.searchsorted(self.rows["step"], known)
        # on other data there are no rows until the next calibration
        taken = self.rows["step"][at] == known
        taken &= np.isfinite(readings)  # only the test samples may have been measured
        at, readings = at[taken], readings[taken]
        for first, last, seat in self._stretches(at):
            rows = at[first:last]
            predicted = seat.calibration.sharpness + self.rows["q_predicted"][rows]
            self._part(seat, rows, readings[first:last] - predicted)

    def _predict(self, steps: Series) -> None:
        """Predict the rows that have no prediction yet, each from the seat in force there."""
        new = np.arange(self._predicted, len(self.rows))
        for first, last, seat in self._stretches(new):
            at = new[first:last]
            state = (seat.x, seat.q)
            if self.rows["step"][at[0]] != seat.step:  # go on from the row before
                at = np.append(at[0] - 1, at)
                state = (self.rows["x_predicted"][at[0]], self.rows["q_predicted"][at[0]])
            orbit = _orbit(seat.calibration, state, self.rows["step"][at[:-1]], steps)
            for name, values in zip(("x_predicted", "q_predicted"), orbit, strict=True):
                self.rows.write(name, at, values)
            self._part(seat, at, self.rows["q"][at] - self.rows["q_predicted"][at])
        self._predicted = len(self.rows)

    def _stretches(self, at: NDArray[np.int64]) -> list[tuple[int, int, Seat]]:
        """Return where in rising rows `at` each seat in force there begins and ends, with the seat."""
        begins = np.array([seat.step for seat in self.seats])
        force = np.searchsorted(begins, self.rows["step"][at], side="right") - 1
        bounds = [0, *(1 + np.flatnonzero(np.diff(force))).tolist(), len(at)]
        return [
            (first, last, self.seats[force[first]])
            for first, last in pairwise(bounds)
            if last > first
        ]

    def _part(self, seat: Seat, at: NDArray[np.int64], differences: FloatArray) -> None:
        allowed = TOLERANCE * abs(seat.calibration.sharpness)
        apart = np.flatnonzero(~(np.abs(differences) <= allowed))
        if len(apart):
            seat.part(int(self.rows["step"][at[apart[0]]]))


def _orbit(
    calibration: Calibration, state: tuple[float, float], moving: FloatArray, steps: Series
) -> tuple[FloatArray, FloatArray]:
    """Return x and q from `state` on, one more than there are `moving` steps; NaN after an escape, and
    after a step with an intervention, which isn't the map's."""
    found = np.full((2, len(moving) + 1), np.nan)
    found[:, 0] = state
    if len(moving) and (np.abs(found[:, 0]) <= ESCAPED).all():
        at = moving.astype(np.int64)
        intervened = np.flatnonzero(np.isfinite(steps[SHARP_STEP.name][at]))
        at = at[: intervened[0]] if len(intervened) else at
        orbit = simulate(
            calibration.parameters,
            state,
            len(at),
            eta=steps["eta"][at],
            weight_decay=steps["weight_decay"][at],
        )
        found[:, : len(orbit.x)] = orbit.x, orbit.q
    return found[0], found[1]


class Hump(NamedTuple):
    """One turn of self-stabilisation in y = S* + q − 2/η: where it peaks and how deep it falls after."""

    peak: float
    peak_step: int
    trough: float
    trough_step: int


def first_hump(y: FloatArray, first_step: int) -> Hump | None:
    """Return the first hump: from where y rises above 0 until it is back there; None if it isn't whole.

    y is taken as the mean over two steps, which the bounce doesn't move.

    Args:
        y: of steps in a row, shape (n,); it may end in NaN.
        first_step: the step of the first.
    """
    y = (y[1:] + y[:-1]) / 2
    y = y[: int(np.isfinite(y).sum())]
    rise = _first(y > 0, 0)
    fall = _first(y < 0, rise)
    back = _first(y > 0, fall)
    if fall == len(y):
        return None
    top = rise + int(np.argmax(y[rise:fall]))
    bottom = fall + int(np.argmin(y[fall:back]))
    if bottom == len(y) - 1:  # it still falls
        return None
    return Hump(float(y[top]), first_step + top, float(y[bottom]), first_step + bottom)


def humps_at_first(calibrations: Calibrations, steps: Series) -> dict[str, Hump | None]:
    """Return the first hump from the first calibration on: `measured`, `predicted`, and `cubic`, as the
    paper's map without D⁴ predicts it. Empty where there was no calibration.

    Args:
        calibrations: of a run.
        steps: its columns of every step.
    """
    if not calibrations.seats:
        return {}
    seat = calibrations.seats[0]
    parameters = replace(seat.calibration.parameters, quartic=0.0)
    cubic = replace(seat, calibration=replace(seat.calibration, parameters=parameters))
    return _humps(calibrations, seat, steps) | {
        "cubic": _humps(calibrations, cubic, steps)["predicted"]
    }


def _humps(calibrations: Calibrations, seat: Seat, steps: Series) -> dict[str, Hump | None]:
    """Return the first hump from a seat on, followed to the next calibration: measured and predicted."""
    rows, calibration = calibrations.rows, seat.calibration
    own = (rows["calibration"] == calibration.number) & (rows["step"] >= seat.step)
    at = rows["step"][own]
    _, predicted = _orbit(calibration, (seat.x, seat.q), at[:-1], steps)
    offset = calibration.sharpness - steps["two_over_eta"][at.astype(np.int64)]
    return {
        name: first_hump(q[: len(at)] + offset, seat.step)
        for name, q in (("measured", rows["q"][own]), ("predicted", predicted))
    }


def summarize_seats(calibrations: Calibrations, steps: Series) -> list[dict[str, Any]]:
    """Return for each seat, in turn, what was predicted from there on and what came.

    The prediction of a seat is followed to the next calibration, through later re-seatings.
    """
    summaries: list[dict[str, Any]] = []
    for seat in calibrations.seats:
        humps = _humps(calibrations, seat, steps)
        summaries.append(
            {
                "calibration": seat.calibration.number,
                "step": seat.step,
                "reseated": not seat.at_reference,
                "parted": seat.parted,
                "tolerance": TOLERANCE * abs(seat.calibration.sharpness),
                **{name: hump and hump._asdict() for name, hump in humps.items()},
            }
        )
    return summaries


def _first(true: NDArray[np.bool_], start: int) -> int:
    """Return the first place from `start` on that is true; the length if there is none."""
    found = np.flatnonzero(true[start:])
    return start + int(found[0]) if len(found) else len(true)
