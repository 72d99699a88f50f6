"""Triton's kernels give what PyTorch's functions give, to the bit: on a CPU by Triton's interpreter."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from interpreted import interpreted
from torch import nn
from torch.nn import functional

from eostui.curvature import convolutions, image_kernels, pooling, triton_trial
from eostui.curvature.capture import NoHost, Programs
from eostui.curvature.convolutions import unfolded
from eostui.curvature.layers import laid_out
from eostui.curvature.point import Point
from eostui.curvature.pooling import CodedPoolNode, Pool, PoolNode
from eostui.problems import Problem
from eostui.problems.losses import half_squared_error

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("pooled", "picked", "spread", "unfolded")
BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


@pytest.fixture(scope="module")
def of_a_cpu():
    with interpreted("eostui.curvature.triton_kernels") as module:
        yield module


@pytest.fixture
def kernels(device, request):
    if device == "cuda":
        found = image_kernels.tried(torch.device("cuda:0"), torch.float32)
        assert image_kernels.refusal(torch.device("cuda:0"), torch.float32) is None
        return found
    return request.getfixturevalue("of_a_cpu")


@pytest.fixture
def by_pytorch(monkeypatch):
    """Have all asked for the kernels go without."""
    for module in (pooling, convolutions):
        monkeypatch.setattr(module, "kernels_for", lambda *_: None)


def drawn(*shape, dtype=torch.float64, seed=0, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)
    return laid_out(values, torch.channels_last)


def assert_same_bits(one, other):
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    bits = BITS[one.dtype]
    assert torch.equal(one.contiguous().view(bits), other.contiguous().view(bits))


#: Samples, channels, height, width, window.
POOLED = [
    (3, 4, 6, 8, (2, 2)),
    (2, 5, 7, 9, (2, 2)),  # a row and a column are in no window
    (2, 3, 8, 7, (3, 2)),
    (1, 130, 4, 5, (2, 3)),  # more channels than a tile has
    (2, 1, 3, 3, (3, 3)),
    (70, 2, 5, 5, (1, 2)),  # more windows than a tile has
]


@pytest.mark.usefixtures("by_pytorch")
@pytest.mark.parametrize(
    ("samples", "channels", "height", "width", "window", "dtype"),
    [(*case, torch.float32) for case in POOLED] + [(*case, torch.float64) for case in POOLED[1:3]],
)
def test_pooling(kernels, device, samples, channels, height, width, window, dtype):
    """The largest of a window, the first of equal ones, NaN and infinity among them; −0 is as 0."""
    x = drawn(samples, channels, height, width, dtype=dtype, device=device)
    x = x.round().clamp(-1, 1)  # also −0: most windows tie
    x[drawn(*x.shape, seed=1, device=device) > 1.5] = torch.nan
    # never a window of nothing else: PyTorch's kernel for channels-last then names another's on CUDA
    x[..., ::2][drawn(*x.shape, seed=2, device=device)[..., ::2] > 1.5] = -torch.inf
    wanted = Pool(nn.MaxPool2d(window), by_windows=True).at(x, torch.empty(0))
    assert isinstance(wanted, PoolNode)
    node = CodedPoolNode(kernels, window, x)
    assert_same_bits(node.output, wanted.output)
    assert node.output.stride() == laid_out(wanted.output, torch.channels_last).stride()
    rows, columns = wanted.output.shape[2:]
    row = torch.arange(rows, device=device)[:, None] * window[0] + node.codes // window[1]
    column = torch.arange(columns, device=device) * window[1] + node.codes % window[1]
    assert torch.equal(row * width + column, wanted.indices)
    dx = drawn(*x.shape, dtype=dtype, seed=3, device=device)
    assert_same_bits(node.push(dx), wanted.push(dx))
    error = drawn(*wanted.output.shape, dtype=dtype, seed=4, device=device)
    error[0, 0, 0, 0] = torch.nan
    assert_same_bits(node.transpose(error), wanted.transpose(error))
    assert_same_bits(node.transpose(error.contiguous()), wanted.transpose(error))


def test_pooling_with_nan_alone_and_windows_of_nothing(kernels, device):
    """Several NaN in a window are told apart by their bits; −∞ alone is the first; no sample is none."""
    bits = torch.tensor([[[[0x7FC00001, 0x7FC00002], [0x7FC00003, 0]]]], dtype=torch.int32)
    x = bits.view(torch.float32).to(device)
    output, codes = kernels.pooled(x, (2, 2))
    assert output.view(torch.int32).item() == 0x7FC00003
    assert codes.item() == 2
    _, codes = kernels.pooled(torch.full((1, 2, 2, 2), -torch.inf, device=device), (2, 2))
    assert not codes.any()
    none = torch.empty(0, 2, 4, 4, device=device)
    output, codes = kernels.pooled(none, (2, 2))
    assert output.shape == (0, 2, 2, 2)
    assert kernels.spread(output, codes, (2, 2), (4, 4)).shape == none.shape


#: Samples, channels, height, width, kernel, padding.
UNFOLDED = [
    (2, 4, 6, 5, (3, 3), (1, 1)),
    (3, 3, 5, 7, (3, 2), (1, 0)),
    (2, 1, 6, 6, (5, 5), (2, 2)),
    (2, 5, 3, 4, (1, 1), (0, 0)),
    (1, 130, 4, 3, (2, 3), (1, 2)),
    (70, 2, 4, 4, (3, 3), (0, 1)),
]


@pytest.mark.usefixtures("by_pytorch")
@pytest.mark.parametrize(
    ("samples", "channels", "height", "width", "kernel", "padding", "ones", "dtype"),
    [(*case, 1, torch.float32) for case in UNFOLDED]
    + [(*case, 0, torch.float64) for case in UNFOLDED[:3]],
)
def test_unfolding(kernels, device, samples, channels, height, width, kernel, padding, ones, dtype):
    """NaN, infinity and −0 are moved as they are; beside them stand ones, and zeros."""
    x = drawn(samples, channels, height, width, dtype=dtype, device=device)
    x[0, 0, 0, 0], x[0, -1, 1, 1], x[-1, 0, -1, -1] = torch.nan, -0.0, torch.inf
    wanted = unfolded(x, kernel, padding, ones=ones)
    found = kernels.unfolded(x, kernel, padding, ones=ones, columns=wanted.shape[-1])
    assert found.is_contiguous()
    assert_same_bits(found, wanted)
    other = kernels.unfolded(x.contiguous(), kernel, padding, ones=ones, columns=wanted.shape[-1])
    assert_same_bits(other, wanted)


def problem_on(device, dtype=torch.float32, samples=6):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 2),
    )
    return Problem.from_module(
        module.to(device, dtype),
        half_squared_error,
        drawn(samples, 3, 9, 9, dtype=dtype, device=device),
        drawn(samples, 2, dtype=dtype, seed=1, device=device),
        convention="test",
        convolutions="unfolded",
    )


def derivatives(problem, vector):
    point = Point(problem.loss, problem.initial)
    return point.gradient, point.hessian_product(vector), *point.curvature_gradient(vector)


def test_a_network_has_the_same_derivatives(kernels, device, monkeypatch):
    """L's first, second and third, to the bit."""
    problem = problem_on(device)
    vector = drawn(len(problem.initial), dtype=torch.float32, seed=3, device=device)
    asked = []

    def with_kernels(_, window):
        asked.append(window)
        return kernels

    found = []
    for choice in (lambda *_: None, with_kernels):
        for module in (pooling, convolutions):
            monkeypatch.setattr(module, "kernels_for", choice)
        found.append(derivatives(problem_on(device), vector))
    assert {(2, 2), (3, 3)} == set(asked)
    for one, other in zip(*found, strict=True):
        assert torch.isfinite(one).all()
        assert_same_bits(one, other)


def test_what_gives_other_numbers_is_refused(kernels, device):
    def off(function):
        def other(*arguments, **more):
            results = function(*arguments, **more)
            return (results[0] + 1, *results[1:]) if isinstance(results, tuple) else results + 1

        return other

    at = torch.device(device)
    image_kernels.compare(kernels, at, torch.float32)
    image_kernels.compare(kernels, at, torch.float64)
    for name in NAMES:
        wrong = {each: getattr(kernels, each) for each in NAMES}
        wrong[name] = off(wrong[name])
        with pytest.raises(triton_trial.Refused):
            image_kernels.compare(SimpleNamespace(**wrong), at, torch.float32)


def test_what_goes_wrong_is_a_reason(monkeypatch):
    """Whatever a compiler, a driver or a machine without them may raise; asked once."""
    calls = []

    def failing(*asked):
        calls.append(asked)
        torch.ones(2).sum().item()  # reads a value, as a comparison does
        raise RuntimeError("Failed to find C compiler.\nPlease specify")

    monkeypatch.setattr(image_kernels, "tried", failing)
    image_kernels._found.cache_clear()
    gpu = torch.device("cuda:0")
    with NoHost():
        first = image_kernels.refusal(gpu, torch.float32)
    assert first == "RuntimeError: Failed to find C compiler."
    assert image_kernels.refusal(gpu, torch.float32) == first
    assert len(calls) == 1
    assert image_kernels.refusal(torch.device("cpu"), torch.float32)
    assert image_kernels.refusal(gpu, torch.bfloat16)
    monkeypatch.setenv(triton_trial.SWITCH, "0")
    assert image_kernels.refusal(gpu, torch.float64) == "EOSTUI_TRITON is 0"
    assert len(calls) == 1
    image_kernels._found.cache_clear()


def test_memory_that_is_full_now_is_no_reason(monkeypatch):
    """Another time there may be room, and then numbers could round otherwise."""

    def failing(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(image_kernels, "tried", failing)
    image_kernels._found.cache_clear()
    gpu = torch.device("cuda:0")
    with pytest.raises(torch.OutOfMemoryError):
        image_kernels.refusal(gpu, torch.float32)
    monkeypatch.setattr(image_kernels, "tried", lambda *_: image_kernels)
    assert image_kernels.refusal(gpu, torch.float32) is None
    image_kernels._found.cache_clear()


def test_a_cpu_has_pytorchs_functions_and_never_loads_triton(monkeypatch):
    monkeypatch.delitem(sys.modules, "eostui.curvature.triton_kernels", raising=False)
    x = drawn(2, 3, 4, 4)
    assert image_kernels.kernels_for(x, (2, 2)) is None
    assert isinstance(Pool(nn.MaxPool2d(2), by_windows=True).at(x, x), PoolNode)
    derivatives(problem_on("cpu"), torch.ones_like(problem_on("cpu").initial))
    assert "eostui.curvature.triton_kernels" not in sys.modules


@pytest.mark.gpu
def test_kernels_are_captured_as_they_are_called(cuda):
    """Within a CUDA graph, on images whose kernels weren't compiled before; replayed on other numbers."""
    programs = Programs(cuda, pytest.fail)
    windows = [(2, 2), (2, 3)]

    def all_of_them(x):
        results = [unfolded(x, (3, 3), (1, 1), ones=1)]
        for window in windows:
            node = Pool(nn.MaxPool2d(window), by_windows=True).at(x, x)
            assert isinstance(node, CodedPoolNode)
            results += [node.output, node.push(x), node.transpose(node.output)]
        return tuple(results)

    program = programs.of(all_of_them)
    for seed in range(3):
        x = drawn(11, 32, 10, 13, dtype=torch.float32, seed=seed, device=cuda)
        found = [result.clone() for result in program(x)]
        assert program.captured
        for one, other in zip(found, all_of_them(x), strict=True):
            assert_same_bits(one.contiguous(), other.contiguous())


@pytest.mark.gpu
def test_offsets_beyond_32_bits(cuda):
    """The last of 3·10⁹ elements are right too."""
    samples = (2**31 // (16 * 16 * 288)) + 200
    if torch.cuda.mem_get_info(cuda)[0] < 1.5 * 4 * samples * 16 * 16 * 288:
        pytest.skip("the GPU's memory doesn't hold them")
    kernels = image_kernels.tried(cuda, torch.float32)
    x = drawn(samples, 32, 16, 16, dtype=torch.float32, device=cuda)
    rows = kernels.unfolded(x, (3, 3), (1, 1), ones=0, columns=288)
    assert rows.numel() > 2**31
    last = functional.unfold(x[-100:], 3, padding=1).view(100, 32, 9, 16, 16)
    assert torch.equal(rows[-100:], last.permute(0, 3, 4, 2, 1).reshape(100, 16, 16, 288))
