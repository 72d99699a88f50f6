"""Transitions over a setting: where a reading leaves its own level, and where drives put that (λ_c)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eostui.errors import InputError, did_you_mean
from eostui.runs.analysis.outcome import COLUMNS, TEXTS
from eostui.runs.family import is_number, symbol_of, told
from eostui.runs.series import FloatArray
from eostui.sweeps.knee import CONFIDENCE, KNEE, Knee, knee

#: The reading and the setting of the paper's λ_c.
SHARPNESS, WEIGHT_DECAY = "resting_sharpness", "weight_decay"
#: The setting over which runs are repeated.
SEED = "seed"
#: States of members that count; of one that diverged, events alone do.
ENDED = ("finished", "stopped")
#: Readings that can have a knee.
READINGS = tuple(
    column.name
    for column in COLUMNS
    if column.name not in TEXTS and not column.name.endswith("_error")
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Prediction:
    """Where members' own drives put λ_c: beyond it g reaches λ + βα/λ below the edge (MATH §3.1).

    Attributes:
        below: the largest λ up to which none crosses; NaN where the smallest does.
        above: the least λ from which on all cross; NaN where the largest doesn't.
        critical: by the drives of members that don't cross, the λ at which they would have: the median.
        members: of how many that is.
    """

    below: float
    above: float
    critical: float
    members: int


@dataclass(frozen=True)
class Transition:
    """Where a reading leaves its own level as a setting grows.

    Attributes:
        key: the setting.
        reading: the column.
        fixed: other settings that differ, with their values here.
        knee: by the readings.
        prediction: by the drives; None for another setting than λ.
        not_at_rest: the ids of members that ended and are left out, since they don't rest.
        others_left_out: the ids of members that are left out since they didn't end, by their states.
    """

    key: str
    reading: str
    fixed: Mapping[str, Any]
    knee: Knee
    prediction: Prediction | None
    not_at_rest: tuple[str, ...]
    others_left_out: Mapping[str, tuple[str, ...]]

    def content(self) -> dict[str, Any]:
        """Return it for JSON."""
        return dataclasses.asdict(self) | {"sentence": self.sentence()}

    def sentence(self) -> str:
        """Return it in words."""
        symbol = "λ_c" if self.key == WEIGHT_DECAY else f"knee over {symbol_of(self.key)}"
        where = ", ".join(f"{symbol_of(key)} {told(value)}" for key, value in self.fixed.items())
        found = self.knee
        text = f"{where}: " if where else ""
        if found.outcome == KNEE:
            text += (
                f"{symbol} {found.position:.3g}, {found.low:.3g} to {found.high:.3g} ({CONFIDENCE:.0%}): "
                f"{self.reading} leaves {found.baseline:.4g} ± {found.baseline_error:.2g} there, members "
                f"scattering by {found.scatter:.2g} about the fit beyond their errors"
            )
            if found.doubtful:
                text += (
                    f" of {found.error:.2g}: they hardly lie on a level and a line, so this is less a "
                    "knee than where a smooth fall has grown"
                )
            if found.between is not None:
                text += (
                    f"; one value alone is off the level: it lies anywhere from {found.between[0]:.3g} "
                    f"to {found.between[1]:.3g}"
                )
        else:
            text += f"{symbol}: {found.outcome}: {found.why}"
        if self.prediction is not None:
            text += f"; {_predicted(self.prediction)}"
        left_out = {"not at rest": self.not_at_rest, **self.others_left_out}
        counts = ", ".join(f"{len(those)} {what}" for what, those in left_out.items() if those)
        return f"{text}; members left out: {counts}" if counts else text


def _predicted(prediction: Prediction) -> str:
    if math.isnan(prediction.below) and math.isnan(prediction.above):
        text = "the drives were not measured"
    elif math.isnan(prediction.above):
        text = f"the drives of none cross, up to {prediction.below:.3g}"
    elif math.isnan(prediction.below):
        text = f"the drives cross from {prediction.above:.3g} on"
    else:
        text = f"the drives cross between {prediction.below:.3g} and {prediction.above:.3g}"
    if prediction.critical > 0:
        text += f" (where they don't, they would have at {prediction.critical:.2g})"
    return text


def key_of(rows: Sequence[Row], settings: Sequence[str]) -> str | None:
    """Return over which setting a transition is sought: λ if it varies, else the first of numbers."""
    numeric = [
        key for key in settings if key != SEED and rows and all(is_number(row[key]) for row in rows)
    ]
    return WEIGHT_DECAY if WEIGHT_DECAY in numeric else next(iter(numeric), None)


def transitions(
    rows: Sequence[Row],
    settings: Sequence[str],
    key: str | None = None,
    reading: str = SHARPNESS,
) -> tuple[Transition, ...]:
    """Return a transition for each combination of the other settings; none where no number varies.

    Runs that differ in the seed alone are repetitions. Of those that aren't at rest `resting_…` is NaN:
    they are left out.

    Args:
        rows: of a summary.
        settings: that differ.
        key: over which of them; `key_of` if left out.
        reading: any column of numbers.

    Raises:
        InputError: if there is no such setting or column.
    """
    if key is None:
        key = key_of(rows, settings)
        if key is None:
            return ()
    if key not in settings or not all(is_number(row[key]) for row in rows):
        why = "isn't one of numbers" if key in settings else "doesn't differ"
        raise InputError(f"`{key}` {why} over these runs{did_you_mean(key, settings)}")
    if reading not in READINGS:
        raise InputError(f"there is no reading `{reading}`{did_you_mean(reading, READINGS)}")
    others = [each for each in settings if each not in (key, SEED)]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(repr(row[each]) for each in others), []).append(row)
    return tuple(_transition(group, key, reading, others) for group in groups.values())


def _transition(group: Sequence[Row], key: str, reading: str, others: Iterable[str]) -> Transition:
    seeds = [row.get(SEED) for row in group]
    several = len({repr(seed) for seed in seeds}) > 1
    resting = reading.startswith("resting_")
    found = knee(
        _column(group, key),
        _column(group, reading),
        _column(group, f"{reading}_error"),
        seeds=seeds if several else None,
    )
    left_out = [row for row in group if resting and not row["at_rest"]]
    by_state: dict[str, tuple[str, ...]] = {}
    for row in left_out:
        if row["state"] not in ENDED:
            by_state[row["state"]] = (*by_state.get(row["state"], ()), str(row["run"]))
    return Transition(
        key,
        reading,
        {each: group[0][each] for each in others},
        found,
        predicted(group) if key == WEIGHT_DECAY else None,
        tuple(str(row["run"]) for row in left_out if row["state"] in ENDED),
        by_state,
    )


def predicted(rows: Iterable[Row]) -> Prediction:
    """Return where the drives of members put λ_c, by which of them cross."""
    known = [row for row in rows if math.isfinite(row["critical_weight_decay"])]
    decays = _column(known, WEIGHT_DECAY)
    crosses = np.isfinite(_column(known, "crossing"))
    first = decays[crosses].min(initial=math.inf)
    last = decays[~crosses].max(initial=-math.inf)
    none, all_of_them = decays[decays < first], decays[decays > last]
    # those that cross have no drives as they would have been further on
    critical = _column(known, "critical_weight_decay")[~crosses]
    return Prediction(
        float(none.max()) if len(none) else math.nan,
        float(all_of_them.min()) if len(all_of_them) else math.nan,
        float(np.median(critical)) if len(critical) else math.nan,
        len(critical),
    )


def _column(rows: Iterable[Row], name: str) -> FloatArray:
    return np.array([float(row.get(name, math.nan)) for row in rows])
