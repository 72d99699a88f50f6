"""What a comparison keeps of one run: the columns that are drawn, in float32, and its readings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from eostui.runs.analysis.controls import controls_of, description_of
from eostui.runs.analysis.curvature_summary import without_alternation
from eostui.runs.analysis.rest import rest_outcome
from eostui.runs.analysis.resting import Resting, onset, resting, resting_of
from eostui.runs.analysis.run_phases import on_the_bounce, spans
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.runs.shelf import Entry
from eostui.runs.store.columns import ARRIVALS
from eostui.stability import INTERVENTIONS, SHARP_STEP, THRESHOLD, UNDECAYED

#: g over what decay needs to win, λ + βα/λ (MATH §3): derived here, no column of a run.
G_RATIO = "g_over_critical"
#: What the four charts show at first, and the lines in them.
DRAWN = ("sharpness", "loss", "test_loss", G_RATIO)
#: Read at rest whatever is drawn: the table has them.
READ = ("sharpness", "path_curvature", "eig_2", "loss", "test_loss", "test_accuracy")


_INTERVENTIONS = [control.name for control in INTERVENTIONS]
#: Columns of what a step did: the last row has none.
_OF_THE_STEP = (*ARRIVALS, "loss_step", "loss_step_regularized")


@dataclass(frozen=True)
class Kept:
    """A column of a run: `values` in float32 at `steps`, or at every step from 0 where that is None."""

    values: NDArray[np.float32]
    steps: NDArray[np.int32] | None = None


@dataclass(frozen=True)
class Member:
    """A run as it is compared.

    Attributes:
        entry: as the shelf lists it, its state, step and controls as they were read.
        columns: what is kept of it, by name; a column that the run hasn't is there, without a value.
        readings: over the window in which it is judged to rest or not, by name.
        unrest: why it isn't at rest there; "" if it is.
        onset: the first step at which S reaches the threshold, None without one.
        names: its columns that can be drawn.
        thresholds: what 2/η and 2/η − λ are called.
    """

    entry: Entry
    columns: Mapping[str, Kept]
    readings: Mapping[str, Resting] = field(default_factory=dict)
    unrest: str = ""
    onset: int | None = None
    names: tuple[str, ...] = ()
    thresholds: tuple[str, str] = ("2/η", "2/η − λ")

    @classmethod
    def of(cls, run: Run, entry: Entry, wanted: Iterable[str]) -> Member:
        """Keep some columns of a run that is open.

        Raises:
            RunFormatError: if what it states of its dynamics is damaged.
        """
        dynamics = description_of(run)
        phases = spans(run)
        rest = rest_outcome(run)
        last = {control.name: run.steps[control.name][-1:] for control in controls_of(run)}
        entry = replace(
            entry,
            state=run.state,
            last_step=run.last_step,
            config=run.config,
            phase=phases[-1].phase.name if phases else entry.phase,
            eta=_newest(last, "eta", entry.eta),
            weight_decay=_newest(last, "weight_decay", entry.weight_decay),
        )
        wanted = dict.fromkeys([*wanted, UNDECAYED, THRESHOLD])
        measured = [name for name in run.measured if not run.measured.shape(name)]
        own = ("step", "flow_time", "eta", "weight_decay")
        unused = [] if np.isfinite(run.steps[SHARP_STEP.name]).any() else _INTERVENTIONS
        return cls(
            entry,
            {name: kept(run, name) for name in wanted},
            {name: _reading(run, name, rest.first) for name in dict.fromkeys([*READ, *wanted])},
            rest.why,
            onset(run),
            tuple(
                dict.fromkeys(
                    [name for name in [*run.steps, *measured] if name not in [*own, *unused]]
                    + [G_RATIO]
                )
            ),
            (dynamics.undecayed_label, dynamics.label),
        )

    @property
    def at_rest(self) -> bool:
        """Whether its readings are resting values."""
        return not self.unrest


def read_member(entry: Entry, wanted: Iterable[str]) -> Member:
    """Read a run and keep some columns of it. Raises InputError or RunFormatError."""
    with Run(entry.path) as run:
        return Member.of(run, entry, wanted)


def kept(run: Run, name: str) -> Kept:
    """Return a column of a run as it is kept.

    A measured one has the steps at which it was measured alone; one that changes seldom, as controls
    and thresholds do, those at which it changes.
    """
    if name == G_RATIO:
        steps, ratio = _g_ratio(run)
        return Kept(_float32(ratio), steps.astype(np.int32))
    if name in run.steps:
        values = run.steps[name]
        if name in _OF_THE_STEP:  # of the newest row it isn't known yet, which is no gap
            values = values[:-1]
        changes = np.flatnonzero(np.diff(values))
        if len(values) and np.isfinite(values).all() and len(changes) < len(values) // 8:
            rows = np.unique(np.concatenate([[0], changes, changes + 1, [len(values) - 1]]))
            return _kept(rows, values[rows])
        return Kept(_float32(values))
    if name in run.measured:
        return _kept(run.measured["step"], run.measured[name])
    return Kept(np.empty(0, dtype=np.float32))


def _g_ratio(run: Run) -> tuple[FloatArray, FloatArray]:
    """Return the measured steps with decay, and g over λ + βα/λ there, βα freed of its alternation.

    NaN on the bounce, unless readings are taken at midpoints: βα, forced negative, says nothing there.
    """
    measured = run.measured
    rows = np.flatnonzero(
        (measured["weight_decay"] > 0)
        & np.isfinite(measured["beta_alpha"])
        & np.isfinite(measured["g"])
    )
    decay = measured["weight_decay"][rows]
    critical = decay + without_alternation(measured["beta_alpha"][rows]) / decay
    steps = measured["step"][rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = measured["g"][rows] / critical
    ratio[on_the_bounce(run, spans(run))[rows]] = np.nan
    return steps, ratio


def _reading(run: Run, name: str, first: int) -> Resting:
    if name != G_RATIO:
        return resting(run, name, first)
    steps, values = _g_ratio(run)
    return resting_of(values[steps >= first])


def _kept(steps: NDArray[np.generic], values: FloatArray) -> Kept:
    known = ~np.isnan(values)
    return Kept(_float32(values[known]), steps[known].astype(np.int32))


def _float32(values: FloatArray) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _newest(last: Mapping[str, FloatArray], name: str, before: float) -> float:
    values = last.get(name)
    value = float(values[0]) if values is not None and len(values) else math.nan
    return value if math.isfinite(value) else before
