"""What a probe is: a measurement with columns, a cadence, a cost and a state of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.problems import Problem
from eostui.runs.store.columns import Column

#: A scalar, or an array of its column's shape.
Value = float | NDArray[np.float64]


@dataclass
class Moment:
    """The step at which is measured.

    Attributes:
        step: its number.
        controls: those that move θ on from it, by name.
        threshold: the sharpness up to which the dynamics is stable with them.
        changed_at: the step from which on the controls have been what they are.
        displacement: Δθ of this step, from θ_t to θ_{t+1}, shape (P,); None where it isn't known.
        probes: those of the run by name: a probe may read what one before it keeps.
    """

    step: int
    controls: Mapping[str, float]
    threshold: float
    changed_at: int = 0
    displacement: Tensor | None = None
    probes: Mapping[str, Probe] = field(default_factory=dict)


@dataclass
class Reading:
    """What a probe measured.

    Attributes:
        values: by column; columns left out stay empty.
        products: Hessian products spent.
        remarks: what there is to say beside numbers: events' kinds with their payloads.
    """

    values: dict[str, Value] = field(default_factory=dict)
    products: int = 0
    remarks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


class Probe(ABC):
    """A measurement of a run, made anew for each run.

    Class attributes:
        name: unlike that of any other probe of the run.
        columns: what it fills.
        cost: of a reading: a forward pass, some Hessian products, or more.
    """

    name: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    cost: ClassVar[Literal["pass", "products", "many products"]] = "products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        """Take what it needs to know of the run."""
        self.config, self.problem = config, problem

    @abstractmethod
    def due(self, moment: Moment) -> bool:
        """Return whether it measures at this step."""

    @abstractmethod
    def measure(self, point: Point, moment: Moment) -> Reading:
        """Measure at a point. What it raises is told, and turns this probe off alone."""

    def state(self) -> dict[str, Any]:
        """Return what outlives a reading, by name: tensors, and values that JSON can hold."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned; entries of an older version may lack."""

    def forget(self) -> None:
        """Drop what was found so far: the next search starts cold."""
