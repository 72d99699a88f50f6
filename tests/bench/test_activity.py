"""What a bench counts of a device: programs whose operators are known, and profiles written by hand."""

from __future__ import annotations

from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch.autograd import DeviceType

from eostui.bench.activity import activity, counted, covered

CPU = torch.device("cpu")


@pytest.mark.parametrize("times", [0, 1, 7])
def test_operators_and_reads_of_a_known_program(times):
    """A product, a sum and two reads a turn: `float` and the truth of a tensor."""
    matrix = torch.ones(8, 8)

    def work():
        for _ in range(times):
            total = (matrix @ matrix).sum()
            assert float(total)
            assert total

    seen = activity(work, CPU)
    assert (seen.operators, seen.reads) == (4 * times, 2 * times)
    assert seen.launches == seen.kernels == seen.waits == seen.copies == seen.busy_seconds == 0


def test_what_an_operator_calls_is_part_of_it_and_a_backward_pass_counts():
    """`linear` decomposes, and gradients are taken by PyTorch's own thread of the engine."""
    x, weight, bias = (torch.ones(*shape, requires_grad=True) for shape in ((3, 4), (5, 4), (5,)))
    forward = activity(lambda: torch.nn.functional.linear(x, weight, bias), CPU)
    assert forward.operators == 1
    both = activity(lambda: torch.autograd.grad((x * x).sum(), x, grad_outputs=torch.ones(())), CPU)
    # mul, sum, ones; backward expand, twice mul, add_
    assert both.operators == 7


def event(name, start, end, device=DeviceType.CPU, above=None):
    return SimpleNamespace(
        name=name, time_range=SimpleNamespace(start=start, end=end), device_type=device,
        cpu_parent=above,
    )  # fmt: skip


def test_what_a_gpu_was_asked_for():
    """A profile as CUDA's come: a graph of three kernels, two kernels apart, a copy that is waited for,
    the range itself on the device, and what the profiler does before and after.
    """
    gpu = DeviceType.CUDA
    read = event("aten::_local_scalar_dense", 60, 95, above=event("aten::item", 59, 96))
    read.cpu_parent.cpu_parent = None
    seen = counted(
        [
            event("cudaDeviceSynchronize", 1, 2),
            event("eostui.bench", 10, 100),
            event("eostui.bench", 11, 130, gpu),
            event("cudaGraphLaunch", 12, 14),
            event("aten::mm", 20, 30),
            event("cudaLaunchKernel", 22, 24),
            event("cuLaunchKernelEx", 40, 44),
            read.cpu_parent,
            read,
            event("cudaMemcpyAsync", 62, 64),
            event("cudaStreamSynchronize", 66, 94),
            event("cudaDeviceSynchronize", 101, 140),
            event("gemm", 15, 35, gpu),
            event("relu", 35, 45, gpu),
            event("relu", 50, 60, gpu),
            event("gemm", 55, 75, gpu),  # on another stream
            event("Memcpy DtoH (Device -> Pinned)", 80, 90, gpu),
            event("gemm", 110, 130, gpu),  # runs on when the host is done
        ]
    )
    assert (seen.launches, seen.kernels, seen.waits, seen.copies) == (3, 5, 1, 1)
    assert (seen.operators, seen.reads) == (2, 1)
    assert seen.busy_seconds == pytest.approx((30 + 25 + 10 + 20) * 1e-6)
    assert (seen - seen / 2).launches == 1.5


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=12))
def test_covered_is_the_union(spans):
    """Against counting unit cells."""
    intervals = [(float(start), float(start + length)) for start, length in spans]
    cells = {cell for start, length in spans for cell in range(start, start + length)}
    assert covered(intervals) == len(cells)
