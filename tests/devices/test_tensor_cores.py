"""Products on tensor cores are as near as those of float32: on a CPU by Triton's interpreter."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from interpreted import interpreted
from torch import nn

from eostui.curvature import tensor_cores, triton_trial
from eostui.curvature.capture import Programs
from eostui.curvature.layers import Affine, Dense
from eostui.curvature.point import Point, training_pass
from eostui.curvature.taylor import chain_of, is_on_tensor_cores
from eostui.curvature.tensor_cores import InPieces
from eostui.problems import Problem
from eostui.problems.batch import loss_of_rows
from eostui.problems.losses import half_squared_error

pytestmark = pytest.mark.usefixtures("one_thread")

#: Rows and columns of a result, terms of its elements.
SHAPES = [(1, 1, 1), (5, 3, 7), (64, 128, 32), (70, 150, 301), (3, 20, 5000)]


@pytest.fixture(scope="module")
def of_a_cpu():
    """The interpreter takes the bits of a bfloat16 for its value in products: that is mended here."""
    pytest.importorskip("triton")
    import triton.language as tl
    from triton.runtime import interpreter

    multiplied = interpreter.InterpreterBuilder.create_dot

    def wide(handle):
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        numbers = (handle.data.astype(np.uint32) << 16).view(np.float32)
        return interpreter.TensorHandle(numbers, tl.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            interpreter.InterpreterBuilder,
            "create_dot",
            lambda self, a, b, *more: multiplied(self, wide(a), wide(b), *more),
        )
        with interpreted("eostui.curvature.triton_products") as module:
            yield module


@pytest.fixture
def products(device, request):
    if device == "cuda":
        return tensor_cores.tried(torch.device("cuda:0"))
    return request.getfixturevalue("of_a_cpu")


@pytest.fixture
def taken(products, monkeypatch):
    """Have the products taken on any device, for layers of any size."""
    monkeypatch.setattr(tensor_cores, "_found", lambda _: products)
    monkeypatch.setattr(tensor_cores, "_WORTH", 0)


def drawn(*shape, seed=0, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device)


def network(device, dtype=torch.float32, images=40):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(75, 9), nn.Tanh(), nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 3)
    )
    problem = Problem.from_module(
        module.to(device, dtype),
        half_squared_error,
        drawn(images, 3, 5, 5, seed=1, device=device).to(dtype),
        drawn(images, 3, seed=2, device=device).to(dtype),
        convention="test",
    )
    return problem, drawn(problem.initial.numel(), seed=3, device=device).to(dtype)


def first_form(problem):
    chain = chain_of(problem.loss.supervised)
    return next(layer.form for layer in chain.layers if isinstance(layer, Affine))


def derivatives(problem, vector):
    point = Point(problem.loss, problem.initial)
    return (
        *training_pass(problem.loss, problem.initial)[:2],
        point.hessian_product(vector),
        point.gauss_newton_product(vector),
        point.third_derivative(vector),
    )


def test_a_matrix_is_the_sum_of_its_pieces(products, device):
    """Exactly, whatever its size and sign; the padding is zeros."""
    x = drawn(21, 37, device=device) * torch.logspace(-25, 25, 37, device=device)
    x[3, 4], x[5, 6] = 0.0, 1.0
    pieces = products.cut(x)
    assert pieces.shape == (3, 32, 48)
    assert pieces.dtype == torch.bfloat16
    assert torch.equal(pieces.double().sum(0)[:21, :37], x.double())
    assert not pieces[:, 21:].any()
    assert not pieces[:, :, 37:].any()


@pytest.mark.parametrize(("rows", "columns", "terms"), SHAPES)
def test_products_are_as_near_as_those_of_float32(products, device, rows, columns, terms):
    a, b = drawn(rows, terms, device=device), drawn(columns, terms, seed=1, device=device)
    exact = a.double() @ b.double().T
    size = a.double().abs() @ b.double().abs().T
    usual = ((a @ b.T).double() - exact).abs() / size
    by_rows = products.by_rows(products.cut(a), products.cut(b), (rows, columns))
    # of transposed views, which aren't contiguous
    by_columns = products.by_columns(products.cut(a.T), products.cut(b.T), (rows, columns))
    for shares in (by_rows, by_columns):
        assert shares.shape[1:] == (rows, columns)
        off = (shares.sum(0).double() - exact).abs() / size
        assert off.max() < 3e-7
        if terms > 100:
            assert off.square().mean() < 1.5 * usual.square().mean()


def test_the_same_to_the_bit_at_every_call(products, device):
    a = products.cut(drawn(130, 2000, device=device))
    b = products.cut(drawn(40, 2000, seed=1, device=device))
    one, other = (products.by_rows(a, b, (130, 40)) for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.usefixtures("taken")
def test_a_networks_derivatives(device):
    """L, ∇L, Hv, Gv and ∇S are those of float64, as near as by PyTorch's products."""
    problem, vector = network(device)
    exact_problem, exact_vector = network("cpu", torch.float64)
    assert type(first_form(problem)) is InPieces
    assert is_on_tensor_cores(problem.loss)
    assert not is_on_tensor_cores(exact_problem.loss)
    found, exact = derivatives(problem, vector), derivatives(exact_problem, exact_vector)
    for one, other in zip(found, exact, strict=True):
        assert (one.cpu().double() - other).norm() < 2e-6 * other.norm()


@pytest.mark.usefixtures("taken")
def test_other_inputs_are_pytorchs(device):
    constant, other = drawn(12, 30, device=device), drawn(12, 30, seed=1, device=device)
    weight, bias = drawn(4, 30, seed=2, device=device), drawn(4, seed=3, device=device)
    form = tensor_cores.in_pieces(constant, 4)
    assert torch.equal(
        form.apply(other, weight, bias, None), Dense().apply(other, weight, bias, None)
    )
    onto = drawn(12, 4, seed=4, device=device)
    assert torch.allclose(
        form.apply(constant, weight, None, onto.clone()), onto + constant @ weight.T, atol=1e-5
    )
    delta, results = drawn(12, 4, seed=5, device=device), []
    for each in (form, Dense()):
        into, of_bias = torch.ones_like(weight), torch.empty_like(bias)
        each.outer(delta, other, into, of_bias, add=True)
        results.append((into, of_bias))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.usefixtures("taken")
def test_what_is_added_is_added(device):
    constant, delta = drawn(12, 30, device=device), drawn(12, 4, seed=5, device=device)
    into = torch.ones(4, 30, device=device)
    tensor_cores.in_pieces(constant, 4).outer(delta, constant, into, None, add=True)
    assert torch.allclose(into, 1 + delta.T @ constant, atol=1e-5)


@pytest.mark.usefixtures("taken")
def test_batches_keep_nothing(device):
    """Those of a step of SGD come once, however large they are."""
    problem, _ = network(device)
    batch = loss_of_rows(problem.loss, torch.arange(30))
    assert type(first_form(SimpleNamespace(loss=batch))) is Dense
    assert type(first_form(problem)) is InPieces


def test_only_what_is_worth_it_is_cut(monkeypatch, of_a_cpu):
    monkeypatch.setattr(tensor_cores, "_found", lambda _: of_a_cpu)
    assert tensor_cores.in_pieces(drawn(10, 10), 10) is None
    monkeypatch.setattr(tensor_cores, "_WORTH", 1000)
    assert tensor_cores.in_pieces(drawn(10, 10), 10) is not None
    assert tensor_cores.in_pieces(drawn(10, 10), 9) is None
    assert tensor_cores.in_pieces(drawn(10, 10).double(), 10) is None
    monkeypatch.setattr(
        tensor_cores, "_MOST", 3 * 26 * 26 - 1
    )  # numbers that a kernel couldn't count
    assert tensor_cores.in_pieces(drawn(10, 10), 10) is None


@pytest.mark.usefixtures("taken")
def test_a_batch_in_chunks_keeps_nothing(device):
    problem, _ = network(device)
    chunked = Problem.from_module(
        nn.Sequential(nn.Flatten(), nn.Linear(75, 3)).to(device),
        half_squared_error,
        drawn(40, 3, 5, 5, seed=1, device=device),
        drawn(40, 3, seed=2, device=device),
        convention="test",
        chunk_size=20,
    )
    assert type(first_form(problem)) is InPieces
    for part in chunked.loss.parts:
        assert type(first_form(SimpleNamespace(loss=part))) is Dense


def test_products_that_are_off_are_refused(products, device):
    def off(a, b, shape):
        return products.by_rows(a, b, shape) * (1 + 1e-5)

    at = torch.device(device)
    tensor_cores.compare(products, at)
    wrong = SimpleNamespace(cut=products.cut, by_columns=products.by_columns, by_rows=off)
    with pytest.raises(triton_trial.Refused, match="further off"):
        tensor_cores.compare(wrong, at)


def test_a_cpu_never_loads_them(monkeypatch):
    monkeypatch.delitem(sys.modules, "eostui.curvature.triton_products", raising=False)
    monkeypatch.setattr(tensor_cores, "_WORTH", 0)
    problem, vector = network("cpu")
    derivatives(problem, vector)
    assert type(first_form(problem)) is Dense
    assert "eostui.curvature.triton_products" not in sys.modules


@pytest.mark.gpu
def test_an_older_gpu_has_pytorchs(cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(triton_trial.Refused):
        tensor_cores.tried(cuda)


@pytest.mark.gpu
def test_they_are_captured_as_they_are_called(cuda, monkeypatch):
    monkeypatch.setattr(tensor_cores, "_WORTH", 0)
    tensor_cores._found.cache_clear()
    problem, _ = network(cuda, images=5000)
    assert type(first_form(problem)) is InPieces
    program = Programs(cuda, pytest.fail).of(lambda theta: training_pass(problem.loss, theta)[:2])
    for seed in range(3):
        theta = drawn(problem.initial.numel(), seed=seed, device=cuda)
        found = [each.clone() for each in program(theta)]
        for one, other in zip(found, training_pass(problem.loss, theta)[:2], strict=True):
            assert torch.equal(one, other)
