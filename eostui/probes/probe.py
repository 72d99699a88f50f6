"""What a probe is: a measurement with columns, a cadence, a cost and a state of its own."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.problems import Problem
from eostui.runs.analysis.possible_probes import refusal
from eostui.runs.store.columns import BUILT_IN_COLUMNS, Column
from eostui.stability import Stability

#: A scalar, or an array of its column's shape.
Value = float | NDArray[np.float64]
#: What is spent on a reading: a forward pass, some Hessian products, or as many as a search takes.
Cost = Literal["pass", "products", "many products"]
#: A point ↦ v ↦ the product with a symmetric operator there, for v of shape (P,).
Operator = Callable[[Point], Callable[[Tensor], Tensor]]

_COLUMNS = {probe.name: probe.columns for probe in BUILT_IN_COLUMNS}


def hessian(point: Point) -> Callable[[Tensor], Tensor]:
    """Return v ↦ H v at a point: the operator of gradient descent."""
    return point.hessian_product


def refuse_impossible(config: RunConfig, probe: str) -> None:
    """Raise InputError where the config says that a run can't have an optional probe."""
    if found := refusal(probe, config):
        raise InputError(found)


def built_in_columns(name: str) -> tuple[Column, ...]:
    """Return the columns of one of the first probes, which runs/store/columns.py describes.

    They stand there, below torch, because a record that states no probes has these. A new probe, of the
    program too, has its `columns` in its class: tests/probes/class_means.py is an example.

    Raises:
        InputError: if it is none of them.
    """
    if name not in _COLUMNS:
        raise InputError(
            f"the store has no columns of a probe `{name}`: give the class its own, "
            'columns = (Column("name", "unit", "description"), …), as tests/probes/class_means.py does'
        )
    return _COLUMNS[name]


@dataclass
class Moment:
    """The step at which is measured.

    Attributes:
        step: its number.
        controls: those that move θ on from it, by name.
        stability: up to which sharpness the dynamics is stable, by its controls.
        operator: that whose largest eigenvalue counts for it.
        changed_at: the step from which on the controls have been what they are.
        theta: θ_t, shape (P,), which isn't the point of a midpoint reading; None where it isn't known.
        behind: Δθ of the step before, shape (P,); None where there was none.
        scale: the diagonal of P^{-1/2}, shape (P,), where the operator is P^{-1/2} H P^{-1/2}: u and all
            that is said of S is then in the coordinates P^{1/2}θ; None where it is H, or a user's own.
        average: the moving average of the iterates up to θ_t, shape (P,), where a probe is of it.
        displacement: Δθ of this step, from θ_t to θ_{t+1}, shape (P,); None where it isn't known.
        probes: those of the run by name: a probe may read what one before it keeps.
        readings: of the probes before it at this step, by name.
    """

    step: int
    controls: Mapping[str, float]
    stability: Stability
    operator: Operator = hessian
    changed_at: int = 0
    theta: Tensor | None = None
    behind: Tensor | None = None
    displacement: Tensor | None = None
    scale: Tensor | None = None
    average: Tensor | None = None
    probes: Mapping[str, Probe] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)

    @property
    def threshold(self) -> float:
        """The sharpness up to which the dynamics is stable: 2/η − λ of gradient descent."""
        return float(self.stability.threshold(self.controls))

    @property
    def undecayed(self) -> float:
        """The threshold without decay: 2/η of gradient descent."""
        return float(self.stability.undecayed(self.controls))


@dataclass
class Reading:
    """What a probe measured.

    Attributes:
        values: by column; columns left out stay empty.
        products: Hessian products spent.
        remarks: what there is to say beside numbers: kinds with what they tell, as JSON can hold it.
        probe: whose it is; the set of probes fills it in.
        seconds: that it took; the set of probes fills it in.
    """

    values: dict[str, Value] = field(default_factory=dict)
    products: int = 0
    remarks: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    probe: str = ""
    seconds: float = math.nan


class Probe(ABC):
    """A measurement of a run, made anew for each run.

    What it measures depends on the point, the moment and what it keeps alone: an ended run goes on from
    a checkpoint, and a replay begins anew.

    Class attributes:
        name: unlike that of any other probe of the run.
        columns: what it fills; a column belongs to one probe.
        cost: of a reading.
    """

    name: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    cost: ClassVar[Cost] = "products"

    def __init__(self, config: RunConfig, problem: Problem) -> None:
        """Take what it needs to know of the run."""
        self.config, self.problem = config, problem

    @abstractmethod
    def due(self, moment: Moment) -> bool:
        """Return whether it measures at this step, by the step and what it keeps: replay asks again."""

    @abstractmethod
    def measure(self, point: Point, moment: Moment) -> Reading:
        """Measure at a point, whose tensors stay as they are.

        What a user's own raises is told and turns it off alone, as does what its columns can't have;
        what torch, numpy and `random` draw meanwhile is keyed by the seed, the step and its name.
        """

    def state(self) -> dict[str, Any]:
        """Return what outlives a reading, by name: tensors, and values that JSON can hold."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned; entries of an older version may lack."""

    def forget(self) -> None:
        """Drop what was found so far: the next search starts cold."""
