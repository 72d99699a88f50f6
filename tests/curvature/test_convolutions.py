"""Convolutions as matrix products and max-pooling by windows, against PyTorch's own."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from eostui.curvature import convolutions
from eostui.curvature.convolutions import UnfoldedConvolution, can_unfold, unfolded
from eostui.curvature.layers import laid_out, pieces_of_sum, summed_outer
from eostui.curvature.point import Point, plain_gradient
from eostui.curvature.pooling import Pool
from eostui.problems import Problem
from eostui.problems.batch import with_convolutions
from eostui.problems.losses import half_squared_error

pytestmark = pytest.mark.usefixtures("one_thread")

#: Channels before and after, kernel, padding.
SHAPES = [
    (1, 3, (3, 3), (1, 1)),
    (2, 4, (3, 2), (1, 0)),
    (4, 2, (5, 5), (2, 2)),
    (3, 5, (1, 1), (0, 0)),
    (4, 4, (2, 4), (1, 3)),
]


def drawn(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("rows", [1, 7, 700])
@pytest.mark.parametrize("pieces", [1, 3, 7])
def test_a_sum_in_pieces_is_the_sum(rows, pieces):
    """Rows that are left over too, from fewer of them than there are pieces on."""
    delta, x = drawn(rows, 5), drawn(rows, 4, seed=1)
    wanted = torch.einsum("nh,nk->hk", delta, x)
    torch.testing.assert_close(summed_outer(delta, x, pieces), wanted, rtol=1e-13, atol=1e-13)


def test_long_sums_of_a_device_are_right(device):
    """In pieces where that is faster: of errors that are no rows in memory too."""
    for rows, outputs, inputs in ((5000, 10, 200), (20_011, 32, 28), (600, 100, 64)):
        delta = drawn(rows, outputs).to(device)
        x = drawn(rows, inputs, seed=1).to(device)
        wanted = drawn(rows, outputs).T @ drawn(rows, inputs, seed=1)
        assert (pieces_of_sum(delta, x) > 1) == (device != "cpu" and rows > 600)
        for errors in (delta, delta.T.contiguous().T):
            found = summed_outer(errors, x).cpu()
            torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
            torch.testing.assert_close(summed_outer(errors, x, 8).cpu(), found)


def cnn(kind=nn.ReLU, channels=4):
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        kind(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 5, 3, padding=1),
        kind(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 2),
    )


def problem_of(samples=6, dtype=torch.float64, convolutions="native", **more):
    torch.manual_seed(0)
    return Problem.from_module(
        cnn().to(dtype),
        half_squared_error,
        drawn(samples, 3, 9, 9, dtype=dtype),
        drawn(samples, 2, dtype=dtype, seed=1),
        convention="test",
        convolutions=convolutions,
        **more,
    )


# --- one convolution ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("before", "after", "kernel", "padding"), SHAPES)
def test_products_are_the_convolution_and_its_gradients(before, after, kernel, padding, dtype):
    """B(x, W) + b, and the gradients of ⟨δ, B(x, W) + b⟩, written over and added."""
    module = nn.Conv2d(before, after, kernel, padding=padding, dtype=dtype)
    assert can_unfold(module)
    form = UnfoldedConvolution(module, None)
    x = drawn(2, before, 6, 5, dtype=dtype).requires_grad_()
    weight = drawn(after, before, *kernel, dtype=dtype, seed=1).requires_grad_()
    bias = drawn(after, dtype=dtype, seed=2).requires_grad_()
    wanted = functional.conv2d(x, weight, bias, padding=padding)
    delta = drawn(*wanted.shape, dtype=dtype, seed=3)
    gradients = torch.autograd.grad(wanted, (x, weight, bias), delta)
    with torch.no_grad():
        rows = form.prepared(x)
        found = form.apply(rows, weight, bias, None)
        torch.testing.assert_close(found, wanted)
        unbiased = wanted - bias.view(-1, 1, 1)
        onto = laid_out(wanted.clone(), torch.channels_last)
        torch.testing.assert_close(form.apply(rows, weight, None, onto), wanted + unbiased)
        torch.testing.assert_close(form.transpose(delta, weight, rows, None), gradients[0])
        onto = laid_out(x.detach().clone(), torch.channels_last)
        torch.testing.assert_close(form.transpose(delta, weight, rows, onto), x + gradients[0])
        shares = torch.full_like(weight, torch.nan), torch.full_like(bias, torch.nan)
        form.outer(delta, rows, *shares, add=False)
        torch.testing.assert_close(shares, gradients[1:])
        form.outer(delta, rows, shares[0], None, add=True)
        torch.testing.assert_close(shares[0], 2 * gradients[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
def test_rows_are_what_pytorch_unfolds(channels, dtype):
    """To the bit, NaN and infinity too: those that are copied four at a time, and the others."""
    x = drawn(3, channels, 5, 4, dtype=dtype)
    x[0, 0, 1, 2], x[1, -1, 0, 0], x[2, 0, 4, 3] = torch.nan, torch.inf, -0.0
    rows = unfolded(x, (3, 3), (1, 1), ones=1)
    assert rows.is_contiguous()
    assert rows.shape[-1] % 4 == 0
    size = 9 * channels
    wanted = functional.unfold(x, 3, padding=1).view(3, channels, 9, 5, 4).permute(0, 3, 4, 2, 1)
    assert rows[..., :size].numpy().tobytes() == wanted.reshape(3, 5, 4, size).numpy().tobytes()
    assert (rows[..., size] == 1).all()
    assert not rows[..., size + 1 :].any()


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(2, 2, 3, stride=2),
        nn.Conv2d(2, 2, 3, dilation=2),
        nn.Conv2d(2, 2, 3, groups=2),
        nn.Conv2d(2, 2, 3, padding=3),
        nn.Conv2d(2, 2, 3, padding="same"),
    ],
    ids=["stride", "dilation", "groups", "padding", "same"],
)
def test_other_convolutions_are_left_to_the_device(module):
    assert not can_unfold(module)


# --- pooling --------------------------------------------------------------------------------------


def tied(samples, channels, height, width, dtype=torch.float64):
    """Images of few values, so that the largest of most windows stands there more than once."""
    return drawn(samples, channels, height, width, dtype=dtype).round().clamp(-1, 1)


POOLS = [
    nn.MaxPool2d(2),
    nn.MaxPool2d((2, 3)),
    nn.MaxPool2d(3, 2),
    nn.MaxPool2d(3, 2, padding=1),
    nn.MaxPool2d(2, 1, dilation=2),
    nn.MaxPool2d(3, 2, ceil_mode=True),
]


@pytest.mark.parametrize("by_windows", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("module", POOLS, ids=str)
def test_pooling_takes_the_element_that_pytorch_takes(module, channels, layout, by_windows):
    """To the bit, where elements tie too: forward, pushed, and transposed."""
    x = tied(4, channels, 7, 8)
    wanted, indices = torch.ops.aten.max_pool2d_with_indices(x, *Pool(module).settings)
    error, dx = drawn(*wanted.shape, seed=1), drawn(*x.shape, seed=2)
    leaf = x.clone().requires_grad_()
    (spread,) = torch.autograd.grad(module(leaf), leaf, error)
    node = Pool(module, by_windows=by_windows).at(laid_out(x, layout), torch.empty(0))
    assert torch.equal(node.output, wanted)
    assert torch.equal(node.indices, indices)
    taken = dx.flatten(2).gather(2, indices.flatten(2)).view_as(wanted)
    assert torch.equal(node.push(laid_out(dx, layout)), taken)
    # windows that overlap add up, in an order of the kernel's
    torch.testing.assert_close(node.transpose(laid_out(error, layout)), spread)
    if module.kernel_size == module.stride:
        assert torch.equal(node.transpose(laid_out(error, layout)), spread)


def test_pooling_on_a_cpu_takes_the_same_nan():
    """The faster kernel takes the same elements, also of windows with several NaN or all −inf."""
    x = tied(50, 3, 6, 6, torch.float32)
    x[x > 0.5] = torch.nan
    x[x < -0.5] = -torch.inf
    settings = Pool(nn.MaxPool2d(3, 2, padding=1)).settings
    wanted, indices = torch.ops.aten.max_pool2d_with_indices(x, *settings)
    node = Pool(nn.MaxPool2d(3, 2, padding=1)).at(x, torch.empty(0))
    assert torch.equal(node.output.isnan(), wanted.isnan())
    assert torch.equal(node.output.nan_to_num(), wanted.nan_to_num())
    assert torch.equal(node.indices, indices)
    assert node.output.is_contiguous()
    assert node.indices.is_contiguous()


# --- networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["channels-last", "unfolded"])
def test_ties_have_the_derivatives_that_they_have_natively(how):
    """On images of one colour every window ties."""
    problem = problem_of()
    flat = torch.full_like(problem.arrays["inputs"], 0.5)
    torch.manual_seed(0)
    problem = Problem.from_module(
        cnn().double(), half_squared_error, flat, problem.arrays["targets"], convention="test"
    )
    vector = drawn(len(problem.initial), seed=3)
    native = Point(problem.loss, problem.initial)
    other = Point(with_convolutions(problem.loss, how), problem.initial)
    torch.testing.assert_close(other.gradient, native.gradient)
    torch.testing.assert_close(other.curvature_gradient(vector), native.curvature_gradient(vector))


@pytest.mark.parametrize("how", ["channels-last", "unfolded"])
@pytest.mark.parametrize("chunk_size", [0, 4])
def test_chunks_and_rows_keep_the_way(how, chunk_size):
    """In float32 the ways round otherwise, so that which one it is can be told."""
    problem = problem_of(60, torch.float32, chunk_size=chunk_size)
    asked = problem_of(60, torch.float32, chunk_size=chunk_size, convolutions=how)
    labelled = with_convolutions(problem.loss, how)
    (native, other, same) = (
        plain_gradient(loss, problem.initial)[1] for loss in (problem.loss, asked.loss, labelled)
    )
    assert torch.equal(other, same)
    assert not torch.equal(native, other)
    torch.testing.assert_close(native, other)


def test_the_first_input_is_unfolded_once(monkeypatch):
    """For all points, and freed with the loss; in chunks, where memory is short, not kept."""
    seen, kept = [], []

    def counted(x, *arguments, **more):
        rows = unfolded(x, *arguments, **more)
        if x.shape[1] == 3:
            seen.append(x.shape)
            kept.append(weakref.ref(rows))
        return rows

    monkeypatch.setattr(convolutions, "unfolded", counted)
    problem = problem_of(convolutions="unfolded")
    for _ in range(3):
        Point(problem.loss, problem.initial).curvature_gradient(problem.initial)
    assert len(seen) == 1
    assert kept[0]() is not None
    del problem
    assert kept[0]() is None
    problem = problem_of(chunk_size=3, convolutions="unfolded")
    plain_gradient(problem.loss, problem.initial)
    assert [rows() for rows in kept] == [None] * 3


#: What an unfolded network may call: each of these gives the same bits at every call on a GPU, and none
#: reads a value back, so that it can be captured as a CUDA graph.
DETERMINISTIC = {
    "_unsafe_view", "add_", "addmm_", "alias", "arange", "as_strided", "clone", "constant_pad_nd",
    "copy_", "detach", "empty_like", "eq", "fill_", "flip", "gather", "lift_fresh",
    "max_pool2d_with_indices", "mm", "mul", "mul_", "new_empty", "new_zeros", "permute", "pow",
    "relu_", "scalar_tensor", "select", "slice", "sub", "sum", "threshold_backward", "unsqueeze",
    "view", "where", "zero_",
}  # fmt: skip


class Called(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, arguments=(), more=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*arguments, **(more or {}))


def test_an_unfolded_network_calls_nothing_that_adds_in_an_order_of_its_own():
    """And nothing that reads a value on the host."""
    problem = problem_of(convolutions="unfolded")
    plain_gradient(problem.loss, problem.initial)
    with Called() as called:
        Point(problem.loss, problem.initial).curvature_gradient(problem.initial)
    assert called.names <= DETERMINISTIC
    native = problem_of()
    with Called() as called:
        Point(native.loss, native.initial).curvature_gradient(native.initial)
    assert "max_pool2d_with_indices_backward" in called.names - DETERMINISTIC
