"""The probes of a run: which are due, what they measure, and what they keep from reading to reading."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eostui.config import RunConfig
from eostui.curvature.eigenpairs import NotFiniteError
from eostui.curvature.point import Point
from eostui.probes import PROBES
from eostui.probes.probe import Moment, Operator, Probe, Reading, hessian
from eostui.probes.sharpness import Sharpness
from eostui.problems import Problem
from eostui.stability import GRADIENT_DESCENT, Stability

#: Where checkpoints of older versions kept what each probe keeps now, by its name there.
_FORMERLY = {
    "sharpness": {
        name: name
        for name in (
            "readings", "unconverged", "degenerate", "sharpness", "eigenvectors", "guards", "earlier",
            "others", "memory_values", "memory_vectors",
        )
    },
    "smallest_eigenvalue": {"smallest": "eigenvectors"},
    "drives": {"sharpness_gradient": "sharpness_gradient"},
}  # fmt: skip


class ProbeSet:
    """The probes of a run, in the order in which they measure.

    Attributes:
        probes: by name.
        changed_at: the step from which on the controls have been what they are.
    """

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        stability: Stability = GRADIENT_DESCENT,
        operator: Operator = hessian,
    ) -> None:
        """Make them anew.

        Args:
            config: of the run.
            problem: what is trained.
            stability: of its dynamics.
            operator: whose spectrum counts for the dynamics.
        """
        self._stability, self._operator = stability, operator
        self._controls = stability.at_start(config)
        self.changed_at = 0
        self.probes: dict[str, Probe] = {kind.name: kind(config, problem) for kind in PROBES}

    @property
    def sharpness(self) -> Sharpness:
        """The probe that follows S and u."""
        probe = self.probes[Sharpness.name]
        assert isinstance(probe, Sharpness)
        return probe

    def moment(self, step: int, controls: Mapping[str, float]) -> Moment:
        """Go on to a step with these controls."""
        if dict(controls) != self._controls:
            self._controls, self.changed_at = dict(controls), step
        return Moment(
            step,
            self._controls,
            self._stability,
            self._operator,
            self.changed_at,
            probes=self.probes,
        )

    def due(self, moment: Moment) -> list[Probe]:
        """Return the probes that measure at this step."""
        return [probe for probe in self.probes.values() if probe.due(moment)]

    def measure(self, due: Sequence[Probe], point: Point, moment: Moment) -> list[Reading]:
        """Return the readings of the probes that are `due`, in their order.

        Where a Hessian product isn't finite nothing more is measured, and the next search starts cold:
        θ and L may still be finite, and the training go on.
        """
        for probe in due:
            begun = time.perf_counter()
            try:
                reading = probe.measure(point, moment)
            except NotFiniteError as error:
                self.forget()
                told = Reading(remarks=[("unmeasured", {"reason": str(error)})], probe=probe.name)
                return [*moment.readings.values(), told]
            reading.probe, reading.seconds = probe.name, time.perf_counter() - begun
            moment.readings[probe.name] = reading
        return list(moment.readings.values())

    def forget(self) -> None:
        """Drop what was found so far: the next search starts cold."""
        for probe in self.probes.values():
            probe.forget()

    def state(self) -> dict[str, Any]:
        """Return what outlives a reading, by name: tensors, and values that JSON can hold."""
        kept: dict[str, Any] = {"controls": self._controls, "changed_at": self.changed_at}
        for probe in self.probes.values():
            kept |= {f"{probe.name}.{name}": value for name, value in probe.state().items()}
        return kept

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned, of this version or an older one."""
        if "controls" in state:
            self._controls = dict(state["controls"])
        else:
            self._controls |= {name: state[name] for name in self._controls if name in state}
            state = {**_translated(state), "changed_at": state.get("changed_at", 0)}
        self.changed_at = state["changed_at"]
        for probe in self.probes.values():
            own = _of(probe.name, state)
            if own:
                probe.restore(own)

    def described(self) -> list[dict[str, Any]]:
        """Return what a run states about its probes: name, cost and columns of each."""
        return [
            {
                "name": probe.name,
                "cost": probe.cost,
                "columns": [
                    {
                        "name": column.name,
                        "unit": column.unit,
                        "description": column.description,
                        "optional": column.optional,
                        "shape": list(column.shape),
                    }
                    for column in probe.columns
                ],
            }
            for probe in self.probes.values()
        ]


def _of(probe: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one probe kept, by its own names."""
    prefix = f"{probe}."
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def _translated(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state that an older version kept of its probes, by the names of today.

    Raises:
        KeyError: if it has less than the oldest of them had.
    """
    state["memory_values"]
    return {
        f"{probe}.{new}": state[old]
        for probe, names in _FORMERLY.items()
        for old, new in names.items()
        if old in state
    }


def values_of(readings: Sequence[Reading]) -> dict[str, float]:
    """Return the scalars of all readings of a step, by column."""
    return {
        name: float(value)
        for reading in readings
        for name, value in reading.values.items()
        if np.ndim(value) == 0
    }
