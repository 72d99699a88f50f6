"""What each probe costs: its readings in a run that has all of them on, in steps of bare descent."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from eostui.bench.clock import seconds
from eostui.bench.measure import Narrate, a_run, autograd_step
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.probes import OPTIONAL, PROBES, described, probes_of
from eostui.problems import Problem
from eostui.runs.run import Run
from eostui.runs.store.own_columns import PROBES_FACT, probes_fact

#: How many eigenvalues the spectrum has that is told of beside S alone.
SPECTRUM = 5
#: Steps of a stretch of bare descent; two each come before, between and after the runs.
_STRETCH = 50


@dataclass(frozen=True)
class ProbeTimes:
    """What the readings of a probe cost.

    Attributes:
        readings: how many there were after the first, which is cold.
        reading_seconds: that one takes, the median; of the first where there is no other.
        products: Hessian products of one, the mean.
        every: steps from one to the next; NaN where there was one alone.
        why_not: why there was none; "" if there was.
    """

    readings: int = 0
    reading_seconds: float = math.nan
    products: float = math.nan
    every: float = math.nan
    why_not: str = ""


def time_probes(
    config: RunConfig,
    problem: Problem,
    theta: Tensor,
    steps: int,
    facts: Mapping[str, str],
    narrate: Narrate,
) -> dict[str, Any]:
    """Return what the readings of each probe cost in a run from θ, and a step of bare descent.

    Args:
        config: the preset's: cadences and all else are as it says.
        problem: what is trained.
        theta: where it begins, shape (P,).
        steps: of the run.
        facts: of the run directories, of the config.
        narrate: told what is done.

    Returns:
        `steps`, `bare_step` in seconds, and `probes`: `ProbeTimes` by name, those of every run first,
        among them `spectrum of 5`: S with so many eigenvalues.
    """
    start = dataclasses.replace(problem, initial=theta)
    found: dict[str, ProbeTimes] = {}
    names = []
    for name, kind in OPTIONAL.items():
        try:
            kind(config, problem)
            names.append(name)
        except InputError as error:
            found[name] = ProbeTimes(why_not=str(error))
    bare: list[float] = []

    def descend() -> None:
        at = theta
        for _ in range(_STRETCH):
            at = autograd_step(config, problem, at)

    def stretch(done: int) -> None:
        narrate("bare descent", done, 3)
        bare.extend(seconds(descend, theta.device) / _STRETCH for _ in range(2))

    def run(**changes: object) -> dict[str, ProbeTimes]:
        changed = config.changed({"steps": steps, "checkpoint_every": 0, **changes})
        stated = {**facts, **_stated(changed)}
        with a_run(changed, start, stated) as (train, path):
            train()
            with Run(path) as read:
                return _times(read)

    stretch(0)
    narrate(f"{steps} steps with all probes on", 1, 3)
    found |= run(probes=names)
    for name in {*names} - {*found}:
        found[name] = ProbeTimes(why_not="no reading in these steps")
    stretch(1)
    narrate(f"{steps} steps with {SPECTRUM} eigenvalues", 2, 3)
    spectrum = run(probes=(), eigenvalues=SPECTRUM)
    stretch(2)
    found[f"spectrum of {SPECTRUM}"] = spectrum["sharpness"]
    of_every_run = [kind.name for kind in PROBES]
    order = [*of_every_run[:1], f"spectrum of {SPECTRUM}", *of_every_run[1:], *OPTIONAL]
    return {
        "steps": steps,
        "bare_step": statistics.median(bare),
        "probes": {name: dataclasses.asdict(found[name]) for name in order if name in found},
    }


def _stated(config: RunConfig) -> dict[str, str]:
    """Return what a run with these probes states of them."""
    return {"config": config.to_toml(), PROBES_FACT: probes_fact(described(probes_of(config)))}


def _times(run: Run) -> dict[str, ProbeTimes]:
    """Return what the readings of a run cost, by probe."""
    times: dict[str, ProbeTimes] = {}
    for name, spent in run.spent.items():
        at, taken, products = (spent[each] for each in ("step", "seconds", "products"))
        later = taken[1:] if len(taken) > 1 else taken
        counted = products[1:] if len(products) > 1 else products
        known = counted[~np.isnan(counted)]
        times[name] = ProbeTimes(
            len(taken) - 1,
            float(np.median(later)),
            float(known.mean()) if len(known) else 0.0,
            float(at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else math.nan,
        )
    return times
