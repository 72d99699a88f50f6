"""The two-layer linear network: M against autograd's Jacobian, REV's lemmas at every step of runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_runs import build, toy_config, train

from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.two_layer_linear import TwoLayerLinear, most_aligned
from eostui.dynamics.gradient_descent import descend
from eostui.errors import InputError
from eostui.probes import probes_of
from eostui.probes.own import try_probes
from eostui.problems.batch import supervised_parts

pytestmark = pytest.mark.usefixtures("one_thread")

NAME = "two-layer-linear"
SMALL = {"points": 7, "inputs": 4, "width": 6}
STARTS = ["symmetric", "random", "rank-one"]


def network_at(problem, theta):
    part = supervised_parts(problem.loss)[0]
    inputs, width = part.inputs, len(part.module.output)
    hidden, output = theta.split([width * inputs.shape[1], width])
    return TwoLayerLinear(
        hidden.view(width, -1), output, inputs.T, problem.arrays["targets"].flatten()
    )


def moved(problem, steps, eta=0.1):
    theta = problem.initial
    for _ in range(steps):
        theta = descend(theta, plain_gradient(problem.loss, theta)[1], eta, 0.0)
    return theta


@pytest.mark.parametrize("start", STARTS)
def test_kernel_is_that_of_autograds_jacobian(start):
    """M = JJᵀ/n with J by torch.func, and F, D, L by the module itself."""
    problem = build(toy_config(NAME, {**SMALL, "start": start}))
    theta = moved(problem, 10)
    (part,) = supervised_parts(problem.loss)
    jacobian = torch.func.jacrev(lambda at: part.outputs(at, part.inputs).flatten())(theta)
    network = network_at(problem, theta)
    torch.testing.assert_close(network.kernel, jacobian @ jacobian.T / 7, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(network.outputs, part.outputs(theta, part.inputs).flatten())
    loss = network.residual.square().sum() / 14
    torch.testing.assert_close(problem.loss(theta), loss, rtol=1e-13, atol=0)
    product = jacobian.T @ network.residual / 7
    torch.testing.assert_close(Point(problem.loss, theta).gradient, product, rtol=1e-12, atol=1e-14)


def test_starts_and_data_are_as_described():
    """F₀ = 0 to the bit of a symmetric start, rank one, ±1, and a geometric spectrum of XᵀX."""
    problem = build(toy_config(NAME, SMALL))
    symmetric = network_at(problem, problem.initial)
    assert symmetric.outputs.abs().max() < 1e-15
    assert set(symmetric.targets.tolist()) <= {-1.0, 1.0}
    arguments = {**SMALL, "start": "rank-one", "spectrum": "geometric", "gap": 4.0}
    other = build(toy_config(NAME, {**arguments, "hidden_scale": 0.2, "output_scale": 0.5}))
    rank_one = network_at(other, moved(other, 25))
    singular = torch.linalg.svdvals(rank_one.hidden)
    assert singular[1] < 1e-14 * singular[0]  # descent keeps it
    assert rank_one.rank_one_defect < 1e-13
    start = network_at(other, other.initial)
    assert float(start.output_norm) == pytest.approx(6 * 0.25)
    assert float(start.hidden.norm()) == pytest.approx(0.2 * (6 / 4) ** 0.5)
    found = torch.linalg.eigvalsh(start.data).flip(0)[:4]
    torch.testing.assert_close(found, 7 / 4.0 ** torch.arange(4, dtype=torch.float64))
    teacher = build(toy_config(NAME, {**SMALL, "labels": "teacher", "points": 50}))
    x, y = teacher.arrays["inputs"], teacher.arrays["targets"]
    weights = torch.zeros(4, 1, dtype=torch.float64)
    for _ in range(5000):  # the perceptron's rule comes to rest where a line parts the two labels
        wrong = (torch.sign(x @ weights) != y).flatten()
        weights += x[wrong].T @ y[wrong]
    assert not wrong.any()
    wide = build(toy_config(NAME, {**SMALL, "width": 40}))  # the same data for every width
    assert torch.equal(wide.arrays["inputs"], problem.arrays["inputs"])
    assert torch.equal(wide.arrays["targets"], problem.arrays["targets"])


@pytest.mark.parametrize(
    ("start", "decay", "eta"),
    [("symmetric", 0.0, 0.5), ("random", 0.02, 0.5), ("rank-one", 0.0, 0.2)],
)
def test_lemmas_hold_to_rounding_at_every_step_of_a_run(tmp_path, start, decay, eta):
    """REV's Lemmas 4 and 5 (with decay: the same, shrunk), λ₁(M) beside the NTK's, Lemma 3."""
    config = toy_config(
        NAME, {"start": start}, eta=eta, weight_decay=decay, steps=300, cadence=1, ntk_cadence=50,
        probes=("two_layer_linear", "weyl"),
    )  # fmt: skip
    run, status = train(tmp_path, config)
    assert status == "finished"
    measured = run.measured
    for lemma in ("lemma_4_error", "lemma_5_error"):
        assert np.isfinite(measured[lemma][:-1]).all()
        assert 0 < np.nanmax(measured[lemma]) < 2e-14
    theirs = measured["ntk_batch"]
    seen = np.isfinite(theirs)
    assert seen.sum() == 7
    np.testing.assert_allclose(measured["kernel_largest"][seen], theirs[seen], rtol=1e-10)
    below = measured["kernel_largest"] - measured["kernel_v1"]
    assert (below > -1e-12).all()
    assert (below < 2 * measured["kernel_spread"]).all()
    part = measured["kernel_output_part"] / measured["output_norm_squared"]
    np.testing.assert_allclose(part, part[0], rtol=1e-12)
    if start == "rank-one":
        assert measured["rank_one_defect"].max() < 1e-12


def test_a_lemma_with_the_printed_sign_is_off():
    """The − of REV's Lemma 5 contradicts its proof: with it M isn't met."""
    problem = build(toy_config(NAME, SMALL))
    theta = moved(problem, 5)
    before, after = (network_at(problem, moved(problem, steps)) for steps in (5, 6))
    torch.testing.assert_close(before.kernel_after(0.1, 0.0), after.kernel, rtol=1e-13, atol=0)
    outputs, along = before.outputs, before.data @ before.residual
    printed = before.kernel_after(0.1, 0.0) + 2 * 0.1 / (49 * 6) * torch.outer(along, outputs)
    assert (printed - after.kernel).norm() > 1e-4 * after.kernel.norm()
    assert torch.equal(network_at(problem, theta).kernel, before.kernel)


def test_alignment_of_the_rank_one_form_moves_forward_with_its_ratio():
    """Σ = diag(9, 3, 1) with κ ŷŷᵀ: a larger κ brings the target to an earlier eigenvector."""
    data = torch.diag(torch.tensor([9.0, 3.0, 1.0], dtype=torch.float64))
    target = torch.tensor([0.3, 0.4, 0.87], dtype=torch.float64)
    found = [most_aligned(data + k * torch.outer(target, target), target)[0] for k in (0, 4, 40)]
    assert found == [3, 2, 1]


@pytest.mark.parametrize("problem", ["deep-linear", "diagonal-net"])
def test_another_problem_is_refused_in_a_sentence(problem):
    config = toy_config(problem, probes=("two_layer_linear",))
    kinds, built = probes_of(config), build(config)
    with pytest.raises(InputError, match='of the problem "two-layer-linear" alone'):
        try_probes(kinds, config, built)


def test_a_symmetric_start_needs_pairs():
    with pytest.raises(InputError, match="`width` is 5, but must be even for a symmetric start"):
        toy_config(NAME, {"width": 5})
