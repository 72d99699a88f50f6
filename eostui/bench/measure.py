"""What is timed: single pieces, the same measurements by two means, whole runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from eostui.bench.clock import median_seconds, seconds
from eostui.bench.eigensolvers import scipy_sharpness
from eostui.config import RunConfig
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.sharpness import measure_sharpness
from eostui.curvature.state import ProbeState
from eostui.dynamics.descent import descend
from eostui.engine.loop import Trainer
from eostui.problems import Problem
from eostui.runs.writer import RunWriter

Narrate = Callable[[str], None]


@dataclass(frozen=True)
class Pieces:
    """Median seconds of each piece of work at one θ."""

    bare_step: float
    kept_graph: float
    product_kept: float
    product_fresh: float
    sharpness_gradient: float


@dataclass(frozen=True)
class Comparison:
    """The same consecutive measurements by eostui (warm) and by SciPy (cold, products rebuilt).

    Seconds and products are sums over `points` measurements; `disagreement` is the largest relative
    difference of S to SciPy's at machine precision.
    """

    points: int
    warm_seconds: float
    warm_products: int
    scipy_seconds: float
    scipy_products: int
    scipy_loose_seconds: float
    scipy_loose_products: int
    disagreement: float


@dataclass(frozen=True)
class WholeRun:
    """A stretch of steps as a measured run and as bare gradient descent from the same θ."""

    steps: int
    measured_seconds: float
    bare_seconds: float

    @property
    def ratio(self) -> float:
        """Measured over bare."""
        return self.measured_seconds / self.bare_seconds


def bare_steps(config: RunConfig, problem: Problem, theta: Tensor, steps: int) -> Tensor:
    """Descend without measuring anything; return the new θ."""
    for _ in range(steps):
        _, gradient = plain_gradient(problem.loss, theta)
        theta = descend(theta, gradient, config.eta, config.weight_decay, problem.decayed)
    return theta


def time_pieces(config: RunConfig, problem: Problem, theta: Tensor) -> Pieces:
    """Time the pieces of a measurement at θ, each by itself."""
    device = theta.device
    point = Point(problem.loss, theta)
    vector = torch.randn(theta.numel(), generator=torch.Generator().manual_seed(0)).to(theta)
    vector /= vector.norm()
    return Pieces(
        bare_step=median_seconds(lambda: bare_steps(config, problem, theta, 1), device),
        kept_graph=median_seconds(lambda: Point(problem.loss, theta), device),
        product_kept=median_seconds(lambda: point.hessian_product(vector), device),
        product_fresh=median_seconds(
            lambda: Point(problem.loss, theta).hessian_product(vector), device
        ),
        sharpness_gradient=median_seconds(lambda: point.curvature_gradient(vector), device),
    )


def compare(config: RunConfig, problem: Problem, theta: Tensor, points: int) -> Comparison:
    """Measure S at `points` thetas, one cadence apart along the real trajectory, by both means."""
    device = theta.device
    state = ProbeState(config, problem, sharpness_readings=1)
    measure_sharpness(Point(problem.loss, theta), state)  # the warm start that a run would have
    warm = exact = loose = worst = 0.0
    products = exact_products = loose_products = 0
    for _ in range(points):
        theta = bare_steps(config, problem, theta, config.cadence)
        state.step += config.cadence
        ours: dict[str, float] = {}

        def measure(theta: Tensor = theta, ours: dict[str, float] = ours) -> None:
            ours.update(measure_sharpness(Point(problem.loss, theta), state))

        warm += seconds(measure, device)
        products += int(ours["hessian_products"])
        reference = 0.0

        def at_precision(theta: Tensor = theta) -> None:
            nonlocal reference, exact_products
            reference, count = scipy_sharpness(problem.loss, theta, tolerance=0)
            exact_products += count

        def at_residual(theta: Tensor = theta) -> None:
            nonlocal loose_products
            loose_products += scipy_sharpness(problem.loss, theta, tolerance=config.tolerance)[1]

        exact += seconds(at_precision, device)
        loose += seconds(at_residual, device)
        worst = max(worst, abs(ours["sharpness"] / reference - 1))
    return Comparison(points, warm, products, exact, exact_products, loose, loose_products, worst)


def time_whole_run(
    config: RunConfig, problem: Problem, theta: Tensor, steps: int, facts: dict[str, str]
) -> WholeRun:
    """Train `steps` steps from θ as an engine does, record and all, and bare."""
    start = Problem(
        initial=theta,
        loss=problem.loss,
        convention=problem.convention,
        test=problem.test,
        decayed=problem.decayed,
    )
    with tempfile.TemporaryDirectory() as folder:
        writer = RunWriter(Path(folder) / "run", facts)
        trainer = Trainer(config.changed({"steps": steps}), start)
        measured = seconds(lambda: trainer.run(writer), theta.device)
        writer.close()
    bare = seconds(lambda: bare_steps(config, problem, theta, steps), theta.device)
    return WholeRun(steps, measured, bare)


def reach_edge(
    config: RunConfig, problem: Problem, limit: int, narrate: Narrate
) -> tuple[Tensor, int] | None:
    """Descend until S is within 3 % of 2/η − λ at two measurements; None if not within `limit`."""
    theta, step, near = problem.initial, 0, 0
    state = ProbeState(config, problem)
    threshold = 2 / config.eta - config.weight_decay
    while step < limit:
        theta = bare_steps(config, problem, theta, config.cadence)
        step += config.cadence
        state.step = step
        sharpness = measure_sharpness(Point(problem.loss, theta), state)["sharpness"]
        narrate(f"on the way to the edge: step {step}, S {sharpness:.4g} of {threshold:.4g}")
        near = near + 1 if sharpness > 0.97 * threshold else 0
        if near >= 8:
            return theta, step
    return None
