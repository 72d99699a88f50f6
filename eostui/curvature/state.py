"""What measurements hand on: to each other at one step, and to the next measured step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.hessian_memory import HessianMemory
from eostui.problems import Problem


@dataclass
class ProbeState:
    """Carried by the engine from measurement to measurement.

    Attributes:
        config: the run's configuration.
        problem: what is trained.
        step: the step at which is measured.
        eta: learning rate η of that step; the config's before the first.
        weight_decay: λ of that step; the config's before the first.
        changed_at: the step from which on η and λ have been what they are.
        readings: how often the sharpness was measured before.
        products: Hessian products spent at the last reading.
        unconverged: whether the last search ended before it was good enough.
        unconverged_smallest: whether the last search for the smallest eigenvalue did.
        degenerate: whether u was then one direction among several, for all that could be told.
        sharpness: S last found.
        eigenvectors: the leading unit eigenvectors last found, shape (k, P), first the one of S: at
            this point once the sharpness probe has run, and the warm start of the next one.
        guards: the vectors followed beyond them, shape (m, P): the warm start of the next search too.
        earlier: the first of the eigenvectors that were found before, one and two readings before,
            shape (2, P); None until there are two readings.
        others: the eigenvectors and guards after the first one reading before, shape (m, P).
        smallest: the eigenvectors of the smallest eigenvalues, shape (m, P), if the first is followed.
        sharpness_gradient: ∇S last found, shape (P,).
        memory: what is known of H from the measurements so far.
        events: what the probes have to say beside numbers, (kind, payload); the engine takes them.
    """

    config: RunConfig
    problem: Problem
    step: int = 0
    eta: float = math.nan
    weight_decay: float = math.nan
    changed_at: int = 0
    readings: int = 0
    products: int = 0
    unconverged: bool = False
    unconverged_smallest: bool = False
    degenerate: bool = False
    sharpness: float | None = None
    eigenvectors: Tensor | None = None
    guards: Tensor | None = None
    earlier: Tensor | None = None
    others: Tensor | None = None
    smallest: Tensor | None = None
    sharpness_gradient: Tensor | None = None
    memory: HessianMemory = field(default_factory=HessianMemory)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if math.isnan(self.eta):  # given ones stay, a λ of 0 among them
            self.eta, self.weight_decay = self.config.eta, self.config.weight_decay

    def at(self, step: int, eta: float, weight_decay: float) -> None:
        """Go on to a step with these η and λ."""
        if (eta, weight_decay) != (self.eta, self.weight_decay):
            self.eta, self.weight_decay, self.changed_at = eta, weight_decay, step
        self.step = step

    def state(self) -> dict[str, Any]:
        """Return what outlives a measurement, by name: tensors and plain values."""
        kept = {name: getattr(self, name) for name in self._kept()}
        memory = {"memory_values": self.memory.values.tolist()}
        if self.memory.vectors is not None:
            memory["memory_vectors"] = self.memory.vectors
        return {**kept, **memory}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        for name in self._kept():
            setattr(self, name, state.get(name, getattr(self, name)))  # some came later
        self.memory = HessianMemory()
        self.memory.vectors = state.get("memory_vectors")
        self.memory.values = np.array(state["memory_values"], dtype=np.float64)

    @classmethod
    def _kept(cls) -> list[str]:
        """Return the fields that are kept as they are: all but what the run gives and what has parts."""
        others = ("config", "problem", "memory", "events")
        return [each.name for each in fields(cls) if each.name not in others]

    def forget(self) -> None:
        """Drop what was found so far: the next search starts cold."""
        self.sharpness = self.eigenvectors = self.guards = None
        self.earlier = self.others = None
        self.smallest = self.sharpness_gradient = None
        self.memory = HessianMemory()
