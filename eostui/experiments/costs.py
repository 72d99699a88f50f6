"""What experiments cost on this machine: what they took, or what runs like theirs tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eostui.experiments.results import Standing
from eostui.runs.cost import Costs
from eostui.runs.shelf import Entry
from eostui.sweeps.plan import Plan


@dataclass(frozen=True)
class ExperimentCost:
    """How long an experiment's members train, one after another.

    Attributes:
        seconds: of all of them.
        took: whether they took it; else it is by the speed of runs of the same settings.
    """

    seconds: float
    took: bool


class ExperimentCosts:
    """Tells what experiments cost, by the runs of a shelf; what a run says is read once."""

    def __init__(self, entries: Sequence[Entry] = ()) -> None:
        """`entries` are of the shelf, the newest first."""
        self.entries = entries
        self._costs = Costs()

    def of(self, standing: Standing) -> ExperimentCost | None:
        """Return what an experiment costs; None where nothing like one of its members ran here."""
        if standing.result is not None and standing.complete == standing.plan.count:
            return ExperimentCost(float(standing.result["seconds"]), took=True)
        seconds = self._estimated(standing.plan)
        return None if seconds is None else ExperimentCost(seconds, took=False)

    def _estimated(self, plan: Plan) -> float | None:
        total = 0.0
        alike = [entry for entry in self.entries if entry.config.preset == plan.base.preset]
        if not alike:
            return None
        for config in plan.configs():
            cost = self._costs.of(config, alike)
            if cost is None:
                return None
            total += cost.seconds(config.steps)
        return total
