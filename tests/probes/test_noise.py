"""The covariance of gradients against explicit gradients of every sample, by torch.func in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from engines import entry, here, small
from oracles import LOSS, cnn, dense_hessian, mlp
from torch import nn
from toy_runs import build, toy_config

from eostui.curvature.directions import random_direction
from eostui.curvature.noise import covariance_product, squared_gradients
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.probes import probes_of
from eostui.probes.noise import _FIRST_DRAW, Noise
from eostui.probes.probe_set import ProbeSet
from eostui.problems import GhostBatchNorm, Problem
from eostui.problems.losses import cross_entropy
from eostui.runs.launch import Fork
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

DRAWS = 6
ALL = {"probes": ("noise",), "noise_draws": DRAWS, "noise_cadence": 5}


def losses_of(case):
    """θ ↦ the loss of every sample alone, shape (N,), of a network written by hand."""
    config = case.config
    network, sizes = (
        (mlp, [config.width] * config.depth) if config.network == "mlp" else (cnn, config.channels)
    )

    def losses(theta):
        outputs = network(theta, case.inputs, sizes, 3, config.activation)[0]
        pairs = zip(outputs, case.targets, strict=True)
        return torch.stack([LOSS[config.loss](f[None], y[None]) for f, y in pairs])

    return losses


def covariance(gradients):
    centred = gradients - gradients.mean(0)
    return centred.T @ centred / len(gradients)


def cosine(one, other):
    return float(one @ other / (one.norm() * other.norm()))


def reading(config, problem, theta, step=0):
    config = config.changed(ALL)
    probes = ProbeSet(config, problem, probes_of(config))
    moment = probes.moment(step, {"eta": 0.1, "weight_decay": 0.0})
    return probes.probes["noise"].measure(Point(problem.loss, theta), moment)


@pytest.mark.parametrize("chunk_size", [0, 3])
@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_it_is_that_of_the_samples_own_gradients(small_case, network, loss, chunk_size):
    case = small_case(network, activation="tanh", loss=loss, chunk_size=chunk_size)
    theta, losses = case.theta, losses_of(case)
    gradients = torch.func.jacrev(losses)(theta)
    exact = covariance(gradients)
    seed = case.config.seed
    draws = [random_direction(theta, seed, 0, _FIRST_DRAW + n) for n in range(DRAWS)]
    product = covariance_product(Point(case.problem.loss, theta))
    for v in draws:
        torch.testing.assert_close(product(v), exact @ v, rtol=1e-10, atol=1e-14)

    hessian = dense_hessian(lambda at: losses(at).mean(), theta)
    found = reading(case.config, case.problem, theta)
    assert found.products == 4 * DRAWS
    values = found.values
    mine = np.array([cosine(hessian @ v, exact @ v) for v in draws])
    assert values["noise_hessian_cosine"] == pytest.approx(mine.mean(), abs=1e-10)
    error = mine.std(ddof=1) / DRAWS**0.5
    assert values["noise_hessian_cosine_error"] == pytest.approx(error, abs=1e-10)
    kept = Point(case.problem.loss, theta).gauss_newton_product
    mine = np.array([cosine(kept(v), exact @ v) for v in draws])
    assert values["noise_gauss_newton_cosine"] == pytest.approx(mine.mean(), abs=1e-10)
    assert values["noise_directions"] == DRAWS
    estimates = np.array([float(v @ exact @ v) for v in draws])
    trace, error = (
        (float(exact.trace()), 0.0)
        if network == "mlp"
        else (estimates.mean(), estimates.std(ddof=1) / DRAWS**0.5)
    )
    assert values["noise_trace"] == pytest.approx(trace, rel=1e-10)
    assert values["noise_trace_error"] == pytest.approx(error, rel=1e-9)
    ratio = trace / float(losses(theta).mean())
    assert values["noise_loss_ratio"] == pytest.approx(ratio, rel=1e-10)
    squares = squared_gradients(case.problem.loss, theta)
    if network == "mlp":
        assert squares == pytest.approx(float(gradients.square().sum(1).mean()), rel=1e-12)
    else:
        assert squares is None


def test_chance_is_that_of_a_covariance_turned_at_random(small_case):
    """The mean of cos(Hv, QΣQᵀv) over rotations Q drawn by QR, all of them with their own v."""
    case = small_case("mlp", activation="tanh", width=2, depth=1)
    theta, losses = case.theta, losses_of(case)
    exact = covariance(torch.func.jacrev(losses)(theta))
    hessian = dense_hessian(lambda at: losses(at).mean(), theta)
    generator = torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    turned = []
    for _ in range(1500):
        q, r = torch.linalg.qr(normal(len(theta), len(theta)))
        q = q * r.diagonal().sign()
        v = normal(len(theta))
        turned.append(cosine(hessian @ v, q @ (exact @ (q.T @ v))))
    config = case.config.changed({**ALL, "noise_draws": 1500})
    probe = Noise(config, case.problem)
    moment = ProbeSet(config, case.problem).moment(0, {"eta": 0.1, "weight_decay": 0.0})
    found = probe.measure(Point(case.problem.loss, theta), moment).values["noise_turned_cosine"]
    error = np.std(turned) / len(turned) ** 0.5
    assert abs(found - np.mean(turned)) < 4 * error
    assert 0.02 < found < 0.3  # neither 0 nor what Σ as it is has
    assert error < 0.02


def test_batches_vary_by_it_and_less_without_replacement(small_case):
    """Over all batches of n of N, each as likely: Σ/n · (N − n)/(N − 1); with replacement Σ/n."""
    case = small_case("mlp", activation="tanh")
    gradients = torch.func.jacrev(losses_of(case))(case.theta)
    exact, samples = covariance(gradients), len(gradients)
    for size in (1, 3):
        drawn = [gradients[list(rows)].mean(0) for rows in itertools.combinations(range(7), size)]
        share = (samples - size) / (samples - 1) / size
        torch.testing.assert_close(covariance(torch.stack(drawn)), share * exact)
    drawn = [gradients[list(rows)].mean(0) for rows in itertools.product(range(7), repeat=2)]
    torch.testing.assert_close(covariance(torch.stack(drawn)), exact / 2)


def test_samples_normalised_together_have_gradients_as_their_group_has_them():
    """ℓ_i depends on θ through the group's statistics too; the mean of the g_i is ∇L."""
    torch.manual_seed(2)
    module = nn.Sequential(
        nn.Linear(4, 5), GhostBatchNorm(5, 4), nn.Tanh(), nn.Linear(5, 3)
    ).double()
    inputs, targets = torch.randn(11, 4).double(), torch.eye(3).double()[torch.arange(11) % 3]
    problem = Problem.from_module(module, cross_entropy, inputs, targets, convention="mean")
    theta = problem.initial

    def losses(at):
        outputs = problem.loss.outputs(at)
        return -(targets * outputs.log_softmax(1)).sum(1)

    gradients = torch.func.jacrev(losses)(theta)
    exact, point = covariance(gradients), Point(problem.loss, theta)
    torch.testing.assert_close(gradients.mean(0), point.gradient)
    v = random_direction(theta, 1, 1)
    torch.testing.assert_close(covariance_product(point)(v), exact @ v, rtol=1e-10, atol=1e-14)
    values = reading(small(), problem, theta).values
    assert abs(values["noise_trace"] - float(exact.trace())) < 4 * values["noise_trace_error"]


def two_classes(samples, seed):
    """A network with two outputs on samples of two classes, in float64, not at its start."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    inputs = torch.randn(samples, 3, generator=generator, dtype=torch.float64)
    classes = (inputs[:, 0] > 0).long()
    targets = torch.eye(2).double()[classes]
    return Problem.from_module(module, cross_entropy, inputs, targets, convention="mean"), classes


def test_two_classes_are_prop_3s_binary_cross_entropy_and_its_bounds_hold():
    """With h = f₁ − f₀, ℓ = log(1 + e^−yh), so ℓ'² ≤ ℓ; along a descent E‖g_i‖² is between c m² L and
    M² L, with m and M the least and the largest ‖∇h‖ there and c the least ℓ'²/ℓ. tr Σ, which is less by
    ‖∇L‖², keeps the upper bound."""
    problem, classes = two_classes(9, 3)
    theta, signs = problem.initial, 2.0 * classes - 1

    def margins(at):
        outputs = problem.loss.outputs(at)
        return signs * (outputs[:, 1] - outputs[:, 0])

    ratios = []
    for step in range(61):
        point = Point(problem.loss, theta)
        if step % 20 == 0:
            h = margins(theta)
            losses, slopes = torch.log1p(torch.exp(-h)), torch.sigmoid(-h)
            torch.testing.assert_close(losses.mean(), point.loss)
            lengths = torch.func.jacrev(margins)(theta).norm(dim=1)
            squares = squared_gradients(problem.loss, theta)
            wanted = (slopes**2 * lengths**2).mean()
            assert squares == pytest.approx(float(wanted), rel=1e-10)
            c, loss = (slopes**2 / losses).min(), float(point.loss)
            assert float(c * lengths.min() ** 2) * loss <= squares
            assert squares <= float(lengths.max() ** 2) * loss
            values = reading(small(), problem, theta).values
            assert values["noise_trace"] <= squares
            ratios.append(values["noise_loss_ratio"])
        theta = theta - 0.5 * point.gradient
    assert ratios[0] != ratios[-1]


def test_prop_3s_lower_bound_needs_samples_that_differ():
    """Of one sample, seen several times, nothing varies and L isn't 0: the proof's O(n⁻²) is ‖∇L‖²."""
    problem, _ = two_classes(1, 4)
    (part,) = [problem.loss.supervised]
    repeated = Problem.from_module(
        part.module,
        cross_entropy,
        part.inputs.repeat(6, 1),
        part.targets.repeat(6, 1),
        convention="",
    )
    values = reading(small(), repeated, problem.initial).values
    assert float(Point(repeated.loss, problem.initial).loss) > 0.1
    assert values["noise_trace"] == pytest.approx(0, abs=1e-14)


def test_a_fork_reads_what_its_parent_reads(tmp_path):
    path = here(small(steps=20, cadence=10, **ALL), tmp_path)
    fork = here(Fork(entry(path), 8, {}), tmp_path)
    with Run(path) as one, Run(fork) as other:
        for name in (column.name for column in Noise.columns):
            rows = np.isfinite(one.measured["noise_trace"])
            own = np.isfinite(other.measured["noise_trace"])
            assert one.measured["step"][rows].tolist() == [0, 5, 10, 15, 20]
            np.testing.assert_array_equal(one.measured[name][rows], other.measured[name][own])


def test_what_has_no_samples_of_its_own_is_refused():
    with pytest.raises(InputError, match="it has no samples"):
        Noise(small(**ALL), build(toy_config("two-layer-scalar", {})))
    problem, _ = two_classes(5, 1)

    def coupled(outputs, targets):
        return cross_entropy(outputs, targets) * outputs.mean().exp()

    part = problem.loss.supervised
    whole = Problem.from_module(part.module, coupled, part.inputs, part.targets, convention="")
    with pytest.raises(InputError, match="isn't a mean over samples"):
        Noise(small(**ALL), whole)
