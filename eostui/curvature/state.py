"""What measurements hand on: to each other at one step, and to the next measured step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from eostui.config import RunConfig
from eostui.problems import Problem


@dataclass
class ProbeState:
    """Carried by the engine from measurement to measurement.

    Attributes:
        config: the run's configuration.
        problem: what is trained.
        step: the step at which is measured.
        sharpness_readings: how often the sharpness was measured before.
        eigenvectors: the leading unit eigenvectors last found, shape (k, P), first the one of S: at
            this point once the sharpness probe has run, and the warm start of the next one.
    """

    config: RunConfig
    problem: Problem
    step: int = 0
    sharpness_readings: int = 0
    eigenvectors: Tensor | None = None
