"""Columns that an experiment adds to those of a summary: a number of each member's record."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from eostui.runs.analysis.outcome import TAIL_SHARE
from eostui.runs.analysis.resting import onset
from eostui.runs.calibration import humps_at_first
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.stability import INTERVENTIONS

#: Places on a run's way that a column may begin or end at, beside steps.
Place = (
    Annotated[int, Field(ge=0, strict=True)]
    | Annotated[float, Field(gt=0, lt=1, strict=True)]
    | Literal["edge", "change"]
)

#: Values that a run's record has once, as columns with one row: the first hump of theory's oscillator in
#: y, as it was, as it was predicted, and as the paper's map predicts it; its top and its bottom.
_HUMPS: Final = {
    f"hump_{part}{suffix}": (kind, part)
    for part in ("peak", "trough")
    for suffix, kind in (("", "measured"), ("_predicted", "predicted"), ("_cubic", "cubic"))
}
_LATE: Final = "late mean"
_CONTROLS = ("eta", "weight_decay", *(share.name for share in INTERVENTIONS))


class RunColumn(BaseModel):
    """A number of a run: its column `of`, and what is taken of the values.

    Rows in which a value isn't finite are left out. The late mean is over the last fifth of the steps. An
    array's number k is `NAME_k`, as in an export. `hump_peak` and `hump_trough`, those `…_predicted` and
    `…_cubic` are those of the first hump from the first calibration on, at its step.

    Attributes:
        of: the column.
        less: another one that is subtracted from it, row by row.
        to: another one by which that is divided.
        take: what of the values that leaves; `mean change` is the mean size of the difference between
            neighbouring readings; the steps are those of the first least and greatest value; the rank
            correlation is Spearman's, the log slope that of least squares, of values above 0 alone.
        beside: the column that the last two set it against.
        start: the first row that counts, `from` in a file: a step, a share of the steps as 0.25, the
            `edge` (where S first reaches the threshold) or a `change` (the last one of η, λ or an
            intervention).
        until: the first one that counts no more; an edge or a change that isn't there leaves nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    of: str
    less: str = ""
    to: str = ""
    take: Literal[
        "first", "last", "least", "greatest", "mean", "median", "late mean", "share above 0",
        "mean change", "step of least", "step of greatest", "rank correlation", "log slope",
    ]  # fmt: skip
    beside: str = ""
    start: Place | None = Field(None, alias="from")
    until: Place | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> RunColumn:
        if (self.take in _OF_PAIRS) != bool(self.beside):
            raise ValueError(
                f'`take` = "{self.take}" needs a column `beside`'
                if self.take in _OF_PAIRS
                else f'`beside` says nothing where `take` is "{self.take}"'
            )
        if self.take == _LATE and (self.start is not None or self.until is not None):
            raise ValueError("the late mean has its own steps: `from` and `until` go with `mean`")
        return self

    @model_serializer(mode="wrap")
    def _stated(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Return what is stated alone, so that a digest changes only where a file does."""
        unset = ("", None)
        return {key: value for key, value in dump(self).items() if value not in unset}

    def value(self, run: Run) -> float:
        """Return it; NaN where the run has no such column, or nothing in it."""
        names = [name for name in (self.of, self.less, self.to, self.beside) if name]
        columns = run.columns(names=names) | _humps(run, names)
        begins, ends = self._first(run), self._last(run)
        if begins is None or ends is None or not columns.keys() >= {*names}:
            return math.nan
        values = columns[self.of]
        beside = columns.get(self.beside, values)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.less:
                values = values - columns[self.less]
            if self.to:
                values = values / columns[self.to]
        known = np.isfinite(values) & np.isfinite(beside)
        known[:begins] = False
        known[ends:] = False
        if self.take == "log slope":
            known &= (values > 0) & (beside > 0)
        at = np.flatnonzero(known)
        if not len(at):
            return math.nan
        if self.beside:
            return _OF_PAIRS[self.take](values[at], beside[at])
        if self.take in _PLACES:
            return float(at[_PLACES[self.take](values[at])])
        return _TAKES[self.take](values[at])

    def _first(self, run: Run) -> int | None:
        if self.take == _LATE:
            return math.ceil(len(run.steps) * (1 - TAIL_SHARE))
        return 0 if self.start is None else _step(run, self.start)

    def _last(self, run: Run) -> int | None:
        return len(run.steps) if self.until is None else _step(run, self.until)


def added(run: Run, columns: Mapping[str, RunColumn]) -> dict[str, float]:
    """Return an experiment's own columns of a run."""
    return {name: column.value(run) for name, column in columns.items()}


def _humps(run: Run, names: Collection[str]) -> dict[str, FloatArray]:
    """Return those of the columns that are of the first hump, known in the calibration's row alone."""
    if not _HUMPS.keys() & {*names}:
        return {}
    humps = humps_at_first(run.calibrations, run.steps)
    found = {}
    for name in _HUMPS.keys() & {*names}:
        kind, part = _HUMPS[name]
        if hump := humps.get(kind):
            found[name] = np.full(len(run.steps), np.nan)
            found[name][run.calibrations.seats[0].step] = getattr(hump, part)
    return found


def _step(run: Run, place: Place) -> int | None:
    """Return the step of a place on a run's way; None if it never came there."""
    if place == "edge":
        return onset(run)
    if isinstance(place, float):
        return math.floor(place * run.last_step)
    if place != "change":
        return place
    changed = [
        np.flatnonzero(np.diff(np.nan_to_num(run.steps[name], nan=1.0))) + 1  # 1 is no intervention
        for name in _CONTROLS
        if name in run.steps
    ]
    steps = np.concatenate(changed)
    return int(steps.max()) if len(steps) else None


def _rank_correlation(values: FloatArray, beside: FloatArray) -> float:
    """Return Spearman's coefficient; NaN where either doesn't vary."""
    x, y = (ranks - ranks.mean() for ranks in (_ranks(values), _ranks(beside)))
    if len(values) < 3 or not (x.any() and y.any()):
        return math.nan
    return float(x @ y / math.sqrt((x @ x) * (y @ y)))


def _ranks(values: FloatArray) -> FloatArray:
    """Return the ranks of values, those that tie with the mean of theirs."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    ranks: FloatArray = (ends - (count - 1) / 2)[which]
    return ranks


def _log_slope(values: FloatArray, beside: FloatArray) -> float:
    """Return p of values ∝ besideᵖ, by least squares; NaN where `beside` is constant."""
    x, y = np.log(beside), np.log(values)
    x -= x.mean()
    return float(x @ y / (x @ x)) if np.ptp(x) else math.nan


def _mean_change(values: FloatArray) -> float:
    return float(np.abs(np.diff(values)).mean()) if len(values) > 1 else math.nan


_TAKES: dict[str, Callable[[FloatArray], float]] = {
    "first": lambda values: float(values[0]),
    "last": lambda values: float(values[-1]),
    "least": lambda values: float(values.min()),
    "greatest": lambda values: float(values.max()),
    "mean": lambda values: float(values.mean()),
    _LATE: lambda values: float(values.mean()),
    "median": lambda values: float(np.median(values)),
    "share above 0": lambda values: float((values > 0).mean()),
    "mean change": _mean_change,
}
_PLACES: dict[str, Callable[[FloatArray], np.intp]] = {
    "step of least": np.argmin,
    "step of greatest": np.argmax,
}
_OF_PAIRS: dict[str, Callable[[FloatArray, FloatArray], float]] = {
    "rank correlation": _rank_correlation,
    "log slope": _log_slope,
}
