"""Whole trajectories over seeds: the mean and deviation of a column at each step (WD A.7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eostui.errors import InputError, did_you_mean
from eostui.runs.analysis.ensemble import mean_and_deviation
from eostui.runs.family import Family
from eostui.runs.run import Run
from eostui.runs.series import FloatArray
from eostui.runs.shelf import Entry
from eostui.sweeps.transition import SEED


@dataclass(frozen=True)
class MeanTrajectory:
    """The mean of runs that differ in the seed alone.

    Attributes:
        settings: by which it differs from the others.
        runs: the ids of the runs.
        steps: at which there is a value, shape (n,).
        mean, deviation: shape (n,), the deviation with n − 1 in its denominator; both are NaN where fewer
            than two runs have a value.
    """

    settings: Mapping[str, Any]
    runs: tuple[str, ...]
    steps: FloatArray
    mean: FloatArray
    deviation: FloatArray


def mean_trajectories(
    entries: Iterable[Entry], column: str, known: Iterable[str] = ()
) -> tuple[MeanTrajectory, ...]:
    """Return the mean trajectory of each group of runs that differ in the seed alone.

    A run counts as far as it goes, at rest or not, and where it was measured at other steps than the
    others it is interpolated between its readings.

    Args:
        entries: the runs.
        column: of theirs, as exports have it.
        known: settings in which they will differ once all are there: those of a sweep's axes.

    Raises:
        InputError: if no two runs differ in the seed alone, or none has the column.
        RunFormatError: if a run is damaged.
    """
    family = Family.of(entries, known)
    if not family.has_seeds:
        raise InputError(
            "no two of these runs differ in the seed alone: there is nothing to average"
        )
    found, known = [], dict[str, None]()
    for places in family.groups(SEED):
        curves = []
        for place in places:
            with Run(family.entries[place].path) as run:
                known |= dict.fromkeys(run)
                if column in run:
                    values = run[column]
                    at = np.flatnonzero(~np.isnan(values))
                    curves.append((at.astype(np.float64), values[at]))
        settings = family.settings[places[0]]
        found.append(
            MeanTrajectory(
                {key: settings.get(key, "") for key in family.differing if key != SEED},
                tuple(family.entries[place].id for place in places),
                *mean_and_deviation(curves),
            )
        )
    if column not in known:
        raise InputError(f"no run has a column `{column}`{did_you_mean(column, known)}")
    return tuple(found)
