"""What each probe of a run takes, as a share of the time that training took."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eostui.runs.analysis.switched_probes import own_switches
from eostui.runs.run import Run

#: The fact of what training took so far, as JSON: `seconds` since the step `from`, pauses apart.
TRAINING_SECONDS = "training_seconds"


@dataclass(frozen=True)
class TrainingTime:
    """What training took.

    Attributes:
        first: the step from which on it is counted.
        seconds: of wall time, pauses apart.
    """

    first: int
    seconds: float

    def to_json(self) -> str:
        """Return it as a fact."""
        return json.dumps({"from": self.first, "seconds": round(self.seconds, 6)})

    @classmethod
    def of_facts(cls, facts: Mapping[str, str]) -> TrainingTime | None:
        """Return what a run states, None where that is nothing that can be."""
        try:
            told = json.loads(facts[TRAINING_SECONDS])
            first, seconds = int(told["from"]), float(told["seconds"])
        except (LookupError, TypeError, ValueError, OverflowError, RecursionError):
            return None
        return cls(first, seconds) if first >= 0 and 0 <= seconds < math.inf else None


@dataclass(frozen=True)
class ProbeCost:
    """What a probe takes.

    Attributes:
        readings: how many there are since it was turned on, or the run began.
        seconds: that one of them takes, the mean; NaN before the first.
        share: of the time that training took since then; NaN where that isn't known.
    """

    readings: int
    seconds: float
    share: float


def probe_costs(run: Run) -> dict[str, ProbeCost]:
    """Return what each probe that measured takes, by name."""
    known = TrainingTime.of_facts(run.facts)
    since: dict[str, tuple[int, float]] = {}
    for event in own_switches(run.events):
        if event.payload.get("on"):
            at = event.payload.get("seconds", math.nan)
            seconds = float(at) if isinstance(at, int | float) else math.nan
            since[str(event.payload.get("probe", ""))] = (event.step, seconds)
    costs: dict[str, ProbeCost] = {}
    for name, spent in run.spent.items():
        first, before = since.get(name, (known.first if known else 0, 0.0))
        counted = spent["seconds"][spent["step"] >= first]
        counted = counted[~np.isnan(counted)]
        whole = known.seconds - before if known else math.nan
        total = float(counted.sum())
        costs[name] = ProbeCost(
            len(counted),
            total / len(counted) if len(counted) else math.nan,
            min(total / whole, 1.0) if whole > 0 else math.nan,
        )
    return costs
