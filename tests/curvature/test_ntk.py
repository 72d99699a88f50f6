"""The NTK in its three forms, its alignment with the target, and Weyl's inequality."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from conftest import ACTIVATIONS, NETWORKS
from oracles import cnn, dense_hessian, gradient, mlp, mlp_module
from torch import nn

from eostui.curvature import ntk
from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.ntk import FORMS, centred, kernels, read_kernel, target_rows
from eostui.curvature.point import Point
from eostui.curvature.weyl import is_half_squared_error, kernel_product, residual_product
from eostui.errors import InputError
from eostui.problems import Problem
from eostui.problems.losses import cross_entropy, half_squared_error
from eostui.problems.subset import subset


def dense_jacobian(case, inputs):
    """∂f/∂θ of the network written by hand, shape (n, C, P)."""
    config = case.config
    if config.network == "mlp":
        widths = [config.width] * config.depth
        return torch.func.jacrev(lambda at: mlp(at, inputs, widths, 3, config.activation)[0])(
            case.theta
        )
    return torch.func.jacrev(lambda at: cnn(at, inputs, config.channels, 3, config.activation)[0])(
        case.theta
    )


def by_definition(jacobian):
    """The three forms, one entry after the other as MATH §5 states them."""
    n, outputs, _ = jacobian.shape
    full = torch.empty(n * outputs, n * outputs, dtype=jacobian.dtype)
    summed, traced = torch.empty(n, n).double(), torch.empty(n, n).double()
    for i in range(n):
        for j in range(n):
            for c in range(outputs):
                for d in range(outputs):
                    full[i * outputs + c, j * outputs + d] = jacobian[i, c] @ jacobian[j, d] / n
            summed[i, j] = jacobian[i].sum(0) @ jacobian[j].sum(0) / n
            traced[i, j] = sum(jacobian[i, c] @ jacobian[j, c] for c in range(outputs)) / n
    return {"full": full, "summed": summed, "traced": traced}


def relative(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


def largest(product, size, number=0):
    generator = torch.Generator().manual_seed(number)
    start = torch.randn(1, size, generator=generator, dtype=torch.float64)
    return leading_eigenpairs(
        product, start, Target(wanted=1, value_tolerance=1e-10, max_products=400)
    ).values[0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("network", NETWORKS)
def test_the_three_forms_are_those_of_the_dense_jacobian(small_case, network, activation):
    case = small_case(network, activation=activation)
    chosen = subset(case.problem, "train", 5)
    found = kernels(chosen, case.theta)
    wanted = by_definition(dense_jacobian(case, chosen.inputs))
    for form in FORMS:
        assert relative(found[form], wanted[form]) < 1e-12


def test_layers_and_rows_give_the_same_kernel_and_so_do_blocks_of_rows(small_case, monkeypatch):
    case = small_case("mlp", activation="tanh")
    chosen = subset(case.problem, "train", 7)
    by_layers = kernels(chosen, case.theta)["full"]
    monkeypatch.setattr(ntk, "_is_dense", lambda _: False)
    assert relative(kernels(chosen, case.theta)["full"], by_layers) < 1e-12
    monkeypatch.setattr(ntk, "_HELD", 8 * len(case.theta) * 3 * 4)  # four samples: blocks of two
    assert relative(kernels(chosen, case.theta)["full"], by_layers) < 1e-12


def test_a_module_of_any_kind_has_a_kernel():
    """A branching network, against torch.func's empirical NTK by jacrev and vmap."""

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(3, 4), nn.Linear(3, 4)
            self.last = nn.Linear(4, 2, bias=False)

        def forward(self, x):
            return self.last(torch.tanh(self.one(x)) * self.other(x))

    torch.manual_seed(1)
    module = Branching().double()
    x, y = torch.randn(6, 3).double(), torch.randn(6, 2).double()
    problem = Problem.from_module(module, half_squared_error, x, y, convention="½")
    chosen = subset(problem, "train")

    def one(theta, sample):
        return chosen.outputs(theta, sample[None])[0]

    jacobian = torch.func.vmap(torch.func.jacrev(one), (None, 0))(problem.initial, chosen.inputs)
    found = kernels(chosen, problem.initial)
    for form, wanted in by_definition(jacobian).items():
        assert relative(found[form], wanted) < 1e-12


def test_kernels_and_their_eigenvalues_by_curvlinops(small_case):
    """The three forms from its Jacobian, and eig(K full) from its Gauss–Newton matrix."""
    from curvlinops import GGNLinearOperator, JacobianLinearOperator

    case = small_case("mlp", activation="softplus")
    chosen = subset(case.problem, "train", 6)
    module = mlp_module(case.theta, [5, 4, 4, 3], "softplus")
    parameters, data = list(module.parameters()), [(chosen.inputs, torch.zeros(6, 3).double())]
    identity = torch.eye(len(case.theta), dtype=torch.float64)
    jacobian = (JacobianLinearOperator(module, parameters, data) @ identity).detach()
    found = kernels(chosen, case.theta)
    for form, wanted in by_definition(jacobian.reshape(6, 3, -1)).items():
        assert relative(found[form], wanted) < 1e-12
    matrix = GGNLinearOperator(module, nn.MSELoss(), parameters, data) @ identity
    theirs = torch.linalg.eigvalsh(1.5 * matrix.detach()).flip(0)  # C/2: it averages over outputs
    ours = torch.linalg.eigvalsh(found["full"]).flip(0)
    assert len(ours) == 18
    torch.testing.assert_close(ours, theirs[:18], rtol=0, atol=1e-12 * float(ours[0]))


@pytest.mark.parametrize("chunk_size", [0, 3])
@pytest.mark.parametrize("network", NETWORKS)
def test_gauss_newton_has_the_eigenvalues_of_the_full_form_on_the_same_samples(
    small_case, network, chunk_size
):
    """eig(G) = eig(K full): G from dense H less dense R is avoided; G is JᵀJ/N by torch.func."""
    case = small_case(network, activation="tanh", chunk_size=chunk_size)
    chosen = subset(case.problem, "train")
    full = kernels(chosen, case.theta)["full"]
    point = Point(case.problem.loss, case.theta)
    identity = torch.eye(len(case.theta), dtype=torch.float64)
    gauss_newton = torch.stack([point.gauss_newton_product(row) for row in identity])
    of_kernel = np.linalg.eigvalsh(full)[::-1]
    of_matrix = scipy.linalg.eigvalsh(gauss_newton.numpy())[::-1]
    count = min(len(of_kernel), len(of_matrix))
    scale = of_kernel[0]
    assert np.abs(of_kernel[:count] - of_matrix[:count]).max() < 1e-11 * scale
    assert np.abs(of_kernel[count:]).max(initial=0) < 1e-11 * scale


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
@pytest.mark.parametrize("chunk_size", [0, 3])
def test_the_largest_eigenvalue_matrix_free_is_the_exact_one(small_case, loss, chunk_size):
    case = small_case("mlp", activation="gelu", loss=loss, chunk_size=chunk_size)
    exact = kernels(subset(case.problem, "train"), case.theta)["full"]
    point = Point(case.problem.loss, case.theta)
    found = largest(kernel_product(point), len(case.theta))
    assert found == pytest.approx(float(torch.linalg.eigvalsh(exact)[-1]), rel=1e-9)


def test_weyl_holds_along_a_training(small_case):
    """|λ₁(H) − λ₁(K)| ≤ ‖R‖₂ at every tenth of 100 steps, all three against dense matrices."""
    case = small_case("mlp", activation="relu")
    theta, loss = case.theta.clone(), case.problem.loss
    chosen, size = subset(case.problem, "train"), len(case.theta)
    for step in range(100):
        if step % 10 == 0:
            hessian = dense_hessian(loss, theta)
            flat = torch.func.jacrev(lambda at: chosen.outputs(at, chosen.inputs).flatten())(theta)
            rest = hessian - flat.T @ flat / len(chosen.inputs)
            point = Point(loss, theta)
            product = residual_product(point)
            both = [largest(product, size), largest(lambda v, p=product: -p(v), size)]
            norm = float(torch.linalg.matrix_norm(rest, 2))
            assert max(both) == pytest.approx(norm, rel=1e-8)
            gap = abs(largest(point.hessian_product, size) - largest(kernel_product(point), size))
            assert gap <= norm * (1 + 1e-9)
        theta -= 0.3 * gradient(loss, theta)


def test_which_losses_have_the_inequality_in_this_form(small_case):
    for loss, holds in (("mse", True), ("cross-entropy", False)):
        for chunk_size in (0, 3):
            case = small_case("mlp", loss=loss, chunk_size=chunk_size)
            assert is_half_squared_error(case.problem.loss, case.theta) is holds
    module = nn.Linear(2, 3).double()
    x, y = torch.randn(4, 2).double(), torch.randn(4, 3).double()
    for function, holds in (
        (lambda f, t: ((f - t) ** 2).sum() / 8, True),
        (nn.functional.mse_loss, False),  # its mean over outputs too is another scale
        (lambda f, t: (f * t).sum() / 4, False),
        (lambda f, t: ((f - t) ** 4).sum() / 4, False),
    ):
        problem = Problem.from_module(module, function, x, y, convention="")
        assert is_half_squared_error(problem.loss, problem.initial) is holds
    assert not is_half_squared_error(lambda theta: theta.square().sum(), torch.ones(3))


def test_a_kernel_is_aligned_with_itself():
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    reading = read_kernel(target @ target.T, target, samples=8)
    assert reading.alignment == pytest.approx(1, abs=1e-12)
    assert reading.centred_alignment == pytest.approx(1, abs=1e-12)
    assert float(reading.shares.sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_alignments_are_what_they_are_by_definition(small_case, form):
    """Kernel and eigenvectors with the target, plain and centred, by numpy with H = 1 − 11ᵀ/n."""
    case = small_case("mlp", activation="tanh")
    chosen = subset(case.problem, "train", 6)
    kernel = kernels(chosen, case.theta)[form]
    targets = target_rows(chosen, case.theta, form)
    found = read_kernel(kernel, targets, 6)

    each = len(kernel) // 6
    middle = np.kron(np.eye(6) - np.ones((6, 6)) / 6, np.eye(each))
    k, y = kernel.numpy(), targets.numpy()
    for matrix, rows, alignment, shares in (
        (k, y, found.alignment, found.shares),
        (middle @ k @ middle, middle @ y, found.centred_alignment, found.centred_shares),
    ):
        gram = rows @ rows.T
        wanted = np.sum(matrix * gram) / np.linalg.norm(matrix) / np.linalg.norm(gram)
        assert alignment == pytest.approx(wanted, rel=1e-12)
        vectors = scipy.linalg.eigh(matrix)[1][:, ::-1][:, : len(shares)]
        wanted = ((vectors.T @ rows) ** 2).sum(1) / (rows**2).sum()
        assert np.allclose(shares[:5], wanted[:5], rtol=1e-7, atol=1e-12)
    assert np.allclose(centred(kernel, 6), middle @ k @ middle, atol=1e-12)
    values = np.linalg.eigvalsh(k)[::-1]
    assert np.allclose(found.eigenvalues, values[: min(20, len(values))], atol=1e-12)
    assert found.norm == pytest.approx(np.linalg.norm(k), rel=1e-12)


def test_a_kernel_of_zeros_and_a_target_that_is_the_same_for_all():
    zero, target = torch.zeros(6, 6), torch.randn(6, 2)
    reading = read_kernel(zero, target, 6)
    assert reading.eigenvalues.tolist() == [0.0] * 6
    assert reading.norm == 0
    assert math.isnan(reading.alignment)
    assert reading.shares.isnan().all()

    same = torch.full((6, 2), 0.3)
    reading = read_kernel(torch.eye(6), same, 6)
    assert reading.alignment == pytest.approx(1 / math.sqrt(6))
    assert math.isnan(reading.centred_alignment)
    assert reading.centred_shares.isnan().all()


def test_a_kernel_without_a_target_and_one_that_is_not_finite():
    reading = read_kernel(torch.eye(3), None, 3)
    assert reading.eigenvalues.tolist() == [1, 1, 1]
    assert math.isnan(reading.alignment)
    with pytest.raises(InputError, match="isn't finite"):
        read_kernel(torch.full((2, 2), math.nan), None, 2)


def test_samples_are_nested_and_the_same_for_every_seed(small_case):
    few = subset(small_case("mlp", seed=1).problem, "train", 4)
    more = subset(small_case("mlp", seed=2).problem, "train", 7)
    assert torch.equal(few.inputs, more.inputs[:4])
    assert torch.equal(few.targets, more.targets[:4])
    chunked = subset(small_case("mlp", chunk_size=3).problem, "train", 7)
    assert torch.equal(chunked.inputs, more.inputs)


def test_what_has_no_kernel_is_refused_in_a_sentence(small_case, monkeypatch):
    problem = small_case("mlp").problem
    total = len(problem.arrays["inputs"])
    with pytest.raises(InputError, match=f"there are {total} training samples, and 1000 were"):
        subset(problem, "train", 1000)
    alone = Problem(torch.ones(3), lambda theta: theta.square().sum(), convention="")
    with pytest.raises(InputError, match="neither samples nor outputs"):
        subset(alone, "train", 2)
    untested = Problem.from_module(
        nn.Linear(2, 1), half_squared_error, torch.randn(4, 2), torch.randn(4, 1), convention=""
    )
    with pytest.raises(InputError, match="no test samples"):
        subset(untested, "test", 2)
    coupled = Problem.from_module(
        nn.Sequential(nn.Linear(2, 3), Centre(), nn.Linear(3, 1)), half_squared_error,
        torch.randn(4, 2), torch.randn(4, 1), convention="",
    )  # fmt: skip
    with pytest.raises(InputError, match="depend on the other samples"):
        subset(coupled, "train", 2)
    monkeypatch.setattr(ntk, "MOST_ROWS", 12)
    with pytest.raises(InputError, match="has 15 rows, more than 12: 4 samples are as many"):
        kernels(subset(problem, "train", 5), problem.initial)


class Centre(nn.Module):
    """Takes away the mean over the batch, as batch normalisation does."""

    def forward(self, x):
        return x - x.mean(0)


def test_targets_are_rows_as_the_kernel_has_them():
    x, labels = torch.randn(4, 2), torch.tensor([0, 2, 1, 2])
    module = nn.Linear(2, 3)
    classes = Problem.from_module(module, nn.functional.cross_entropy, x, labels, convention="")
    chosen = subset(classes, "train")
    one_hot = torch.eye(3)[labels]
    assert torch.equal(target_rows(chosen, classes.initial, "traced"), one_hot)
    assert torch.equal(target_rows(chosen, classes.initial, "full"), one_hot.reshape(-1, 1))
    logits = Problem.from_module(module, cross_entropy, x, one_hot, convention="")
    assert torch.equal(target_rows(subset(logits, "train"), logits.initial, "summed"), one_hot)
    other = Problem.from_module(
        module, lambda f, t: (f.sum(1) - t).square().mean(), x, torch.randn(4), convention=""
    )
    assert target_rows(subset(other, "train"), other.initial, "full") is None


def test_a_large_matrix_has_its_first_eigenpairs_found_by_blocks():
    """Against LAPACK: a falling spectrum with a triple eigenvalue, one of zeros, and one that is flat."""
    size, count = 450, ntk.LEADING
    generator = torch.Generator().manual_seed(5)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    falling = 1 / torch.arange(1, size + 1).double() ** 1.5
    falling[:3] = 2.0
    matrix = (basis * falling) @ basis.T
    values, vectors = ntk.leading_of_matrix(matrix)
    wanted, oracle = scipy.linalg.eigh(matrix.numpy(), subset_by_index=[size - count, size - 1])
    assert np.allclose(values, wanted[::-1], rtol=1e-12)
    between = np.abs(np.linalg.svd(oracle[:, -3:].T @ vectors[:, :3].numpy())[1])
    assert between.min() == pytest.approx(1, abs=1e-6)
    for column in range(3, count):
        assert abs(oracle[:, -1 - column] @ vectors[:, column].numpy()) > 1 - 1e-6

    assert ntk.leading_of_matrix(torch.zeros(size, size).double())[0].tolist() == [0.0] * count
    flat = ntk.leading_of_matrix(torch.eye(size).double())[0]
    assert np.allclose(flat, 1)
    low = basis[:, :3] @ basis[:, :3].T * 5
    assert np.allclose(ntk.leading_of_matrix(low)[0], [5.0] * 3 + [0.0] * 17, atol=1e-12)
