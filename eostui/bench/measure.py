"""What is timed: single pieces, the same measurements by several means, whole runs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eostui.bench.clock import ROUNDS, median_seconds, seconds
from eostui.bench.eigensolvers import (
    Found,
    curvlinops_product,
    rebuilt_product,
    scipy_sharpness,
)
from eostui.config import RunConfig
from eostui.curvature.capture import Programs
from eostui.curvature.graph import GraphDerivatives
from eostui.curvature.point import Point, Points, plain_gradient
from eostui.dynamics.gradient_descent import descend
from eostui.engine.driver import Driver
from eostui.errors import InputError
from eostui.probes.probe_set import ProbeSet
from eostui.problems import Problem
from eostui.problems.batch import Chunk, SummedLoss, batch_loss
from eostui.runs.store.writer import RunWriter
from eostui.stability import GRADIENT_DESCENT

#: Told what is being done, how much of it is done, and of how much (None where that isn't known).
Narrate = Callable[[str, int, int | None], None]

#: Whole runs are repeated until so many seconds are spent, so many times at most; on a GPU, which does
#: little else meanwhile, less is enough.
_ENOUGH, _ENOUGH_ON_GPU, _TURNS = 20.0, 6.0, 5
#: Seconds for each piece of work, on a CPU and on a GPU.
_BUDGET, _BUDGET_ON_GPU = 2.0, 0.5

#: Chunks that the cost of chunking is told for.
CHUNKS = 4


@dataclass(frozen=True)
class Comparison:
    """The same consecutive measurements of S alone: by eostui, warm, and by SciPy, cold.

    Seconds and products are sums over `points` measurements.

    Attributes:
        points: measurements, one cadence of training apart.
        warm_seconds, warm_products: eostui's, from the measurement before. The gradient isn't
            counted: in a run it is the training step's.
        cold_seconds, cold_products: eostui's, from a random direction and without a memory.
        scipy_seconds, scipy_products: eigsh at its default tolerance, products rebuilt.
        scipy_loose_seconds, scipy_loose_products: eigsh at the residual that eostui reached.
        curvlinops_seconds, curvlinops_products: the same on curvlinops' products; 0 without them.
        residual, scipy_loose_residual: ‖Hu − Su‖/S at its largest, eostui's and what eigsh then has.
        disagreement: largest relative difference of S to SciPy's at machine precision.
    """

    points: int
    warm_seconds: float
    warm_products: int
    cold_seconds: float
    cold_products: int
    scipy_seconds: float
    scipy_products: int
    scipy_loose_seconds: float
    scipy_loose_products: int
    curvlinops_seconds: float
    curvlinops_products: int
    residual: float
    scipy_loose_residual: float
    disagreement: float


@dataclass(frozen=True)
class WholeRun:
    """A stretch of steps, as measured runs and as bare gradient descent from the same θ.

    Attributes:
        steps: in the stretch.
        bare_seconds: plain PyTorch: forward, backward, θ − η(∇L + λθ), nothing recorded.
        measured_seconds: an engine's run, with the record, κ at every step, S, ∇S and the drives.
        configured_seconds: the same with all the eigenvalues that the preset follows.
    """

    steps: int
    bare_seconds: float
    measured_seconds: float
    configured_seconds: float


def autograd_step(config: RunConfig, problem: Problem, theta: Tensor) -> Tensor:
    """Return θ after one step of bare gradient descent as anybody writes it: the unit of this bench."""
    leaf = theta.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(problem.loss(leaf), leaf)
    return descend(theta, gradient, config.eta, config.weight_decay, problem.decayed)


def time_pieces(
    config: RunConfig, problem: Problem, theta: Tensor, narrate: Narrate
) -> dict[str, float]:
    """Return median seconds of each piece of work at θ; what doesn't apply to a problem is left out."""
    point, vector = Point(problem.loss, theta), _direction(theta)
    work: dict[str, Callable[[], object]] = {
        "bare_step": lambda: autograd_step(config, problem, theta),
        "gradient": lambda: plain_gradient(problem.loss, theta),
        "product": lambda: point.hessian_product(vector),
        "sharpness_gradient": lambda: point.third_derivative(vector),
    }
    if isinstance(problem.loss, Chunk):
        chunk = problem.loss
        graph = GraphDerivatives(chunk, theta)
        work |= {
            "gauss_newton_product": lambda: point.gauss_newton_product(vector),
            "product_autograd": lambda: graph.hessian_product(vector),
            "sharpness_gradient_autograd": lambda: graph.third_derivative(vector),
        }
        work |= _chunked(chunk, theta, vector)
        curvlinops = curvlinops_product(chunk, theta)
        if curvlinops is not None:
            work["product_curvlinops"] = lambda: curvlinops(vector)
    work["product_rebuilt"] = lambda: rebuilt_product(problem.loss, theta)(vector)
    return median_seconds(
        work, theta.device, lambda done: narrate("timing the pieces", done, ROUNDS * len(work)),
        budget=_BUDGET_ON_GPU if theta.device.type == "cuda" else _BUDGET,
    )  # fmt: skip


def _chunked(chunk: Chunk, theta: Tensor, vector: Tensor) -> dict[str, Callable[[], object]]:
    """Return a gradient, a product and ∇S of the same loss, summed over CHUNKS chunks."""
    made_of = chunk.supervised
    if made_of is None or len(made_of.inputs) < CHUNKS:
        return {}
    size = -(-len(made_of.inputs) // CHUNKS)
    loss = batch_loss(
        made_of.outputs, made_of.loss, made_of.inputs, made_of.targets, size, made_of.module,
        made_of.convolutions,
    )  # fmt: skip
    assert isinstance(loss, SummedLoss)
    point = Point(loss, theta)
    return {
        "gradient_chunked": lambda: plain_gradient(loss, theta),
        "product_chunked": lambda: point.hessian_product(vector),
        "sharpness_gradient_chunked": lambda: point.third_derivative(vector),
    }


def compare(
    config: RunConfig, problem: Problem, theta: Tensor, points: int, narrate: Narrate
) -> Comparison:
    """Measure S at `points` thetas, one cadence apart along the real trajectory, by all means."""
    config = config.changed({"eigenvalues": 1})
    warm, step = ProbeSet(config, problem), 0
    programs = Programs(theta.device, lambda _: None)
    run_points = Points(problem.loss, programs)  # as a run has them
    _ours(run_points.at(theta), warm, step, config)  # the warm start that a run would have
    total = dict.fromkeys((f.name for f in dataclasses.fields(Comparison)), 0.0)
    for done in range(points):
        narrate("S by eostui, by SciPy and by curvlinops", done, points)
        for _ in range(config.cadence):
            theta = autograd_step(config, problem, theta)
        step += config.cadence
        for name, value in _compare_at(theta, run_points, warm, step, config, problem).items():
            counted = name.endswith(("seconds", "products"))
            total[name] = total[name] + value if counted else max(total[name], value)
    run_points.leave()
    programs.release()
    counts = {name: int(n) for name, n in total.items() if name.endswith("products")}
    fields: dict[str, Any] = {**total, **counts, "points": points}
    return Comparison(**fields)


def _compare_at(
    theta: Tensor,
    points: Points,
    warm: ProbeSet,
    step: int,
    config: RunConfig,
    problem: Problem,
) -> dict[str, float]:
    """Return what S at θ costs by all means, by the names of `Comparison`."""
    loss = problem.loss
    told: dict[str, float] = {}

    def timed(name: str, measure: Callable[[], Found]) -> Found:
        results: list[Found] = []
        told[f"{name}_seconds"] = seconds(lambda: results.append(measure()), theta.device)
        told[f"{name}_products"] = results[0].products
        return results[0]

    cold = ProbeSet(config, problem)
    point = points.at(theta)  # with its gradient, which is the step's
    ours = timed("warm", lambda: _ours(point, warm, step, config))
    again = points.at(theta)
    timed("cold", lambda: _ours(again, cold, step, config))
    rebuilt = rebuilt_product(loss, theta)
    exact = timed("scipy", lambda: scipy_sharpness(rebuilt, theta, tolerance=0))
    residual = ours.residual(rebuilt)
    tolerance = max(residual, 1e-12)
    loose = timed("scipy_loose", lambda: scipy_sharpness(rebuilt, theta, tolerance=tolerance))
    theirs = curvlinops_product(loss, theta) if isinstance(loss, Chunk) else None
    if theirs is not None:
        timed("curvlinops", lambda: scipy_sharpness(theirs, theta, tolerance=tolerance))
    return {
        **told,
        "residual": residual,
        "scipy_loose_residual": loose.residual(rebuilt),
        "disagreement": abs(ours.sharpness - exact.sharpness) / (abs(exact.sharpness) or 1.0),
    }


def _ours(point: Point, probes: ProbeSet, step: int, config: RunConfig) -> Found:
    """Return S as a run measures it."""
    found = probes.sharpness.measure(point, probes.moment(step, GRADIENT_DESCENT.at_start(config)))
    assert probes.sharpness.sharpness is not None
    assert probes.sharpness.eigenvectors is not None
    return Found(probes.sharpness.sharpness, found.products, probes.sharpness.eigenvectors[0])


@contextlib.contextmanager
def a_run(
    config: RunConfig, problem: Problem, facts: dict[str, str]
) -> Iterator[tuple[Callable[[], None], Path]]:
    """Give a run that an engine would make of the config, and its directory, for as long as it is there.

    The run is a function without arguments, which raises InputError if not all steps could be taken.
    """
    with tempfile.TemporaryDirectory(prefix="eostui-bench-") as folder:
        path = Path(folder) / "run"
        writer = RunWriter(path, facts)
        driver = Driver(config, problem)

        def train() -> None:
            status, sentence = driver.run(writer)
            if status != "finished":  # stretches of different length can't be compared
                raise InputError(f"these steps can't be timed: the run {sentence}")

        try:
            yield train, path
        finally:
            writer.close()


def time_whole_run(
    config: RunConfig,
    problem: Problem,
    theta: Tensor,
    steps: int,
    facts: dict[str, str],
    narrate: Narrate,
) -> WholeRun:
    """Train `steps` steps from θ, bare and as an engine does, by turns; return the best of each.

    Whatever else a machine does makes a turn slower, never faster.
    """
    start = dataclasses.replace(problem, initial=theta)

    def measured(changes: dict[str, object]) -> float:
        with a_run(config.changed({"steps": steps, **changes}), start, facts) as (train, _):
            return seconds(train, theta.device)

    def bare(steps: int) -> None:
        at = theta
        for _ in range(steps):
            at = autograd_step(config, problem, at)

    bare(min(steps, 5))  # warms up
    work: dict[str, Callable[[], float]] = {
        "bare_seconds": lambda: seconds(lambda: bare(steps), theta.device),
        "measured_seconds": lambda: measured({"eigenvalues": 1}),
        "configured_seconds": lambda: measured({}),
    }
    best = dict.fromkeys(work, math.inf)
    begun = time.monotonic()
    enough = _ENOUGH_ON_GPU if theta.device.type == "cuda" else _ENOUGH
    for turn in range(_TURNS):
        for name, take in work.items():
            narrate(f"{steps} steps, bare and measured", turn, _TURNS)
            best[name] = min(best[name], take())
        if time.monotonic() - begun > enough:
            break
    return WholeRun(steps, **best)


def reach_edge(
    config: RunConfig, problem: Problem, limit: int, narrate: Narrate
) -> tuple[Tensor, int] | None:
    """Descend until S is within 3 % of 2/η − λ at eight measurements; None if not within `limit`."""
    theta, near, step = problem.initial, 0, 0
    probes = ProbeSet(config, problem)
    threshold = GRADIENT_DESCENT.threshold(GRADIENT_DESCENT.at_start(config))
    while step < limit:
        for _ in range(config.cadence):
            theta = autograd_step(config, problem, theta)
        step += config.cadence
        sharpness = _ours(Point(problem.loss, theta), probes, step, config).sharpness
        narrate(f"on the way to the edge: S {sharpness:.4g} of {threshold:.4g}", step, limit)
        near = near + 1 if sharpness > 0.97 * threshold else 0
        if near >= 8:
            return theta, step
    return None


def cuda_of(device: torch.device) -> str:
    """Return the CUDA version that PyTorch was built for, empty off CUDA."""
    return str(torch.version.cuda) if device.type == "cuda" else ""


def _direction(theta: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    vector: Tensor = torch.randn(theta.numel(), generator=generator).to(theta)
    return vector.div_(vector.norm())
