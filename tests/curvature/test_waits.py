"""How often a measurement makes a GPU wait, and how much it launches there, counted on a CPU.

`waits` says what a GPU says, so that the small matrices are kept by which a GPU is spared most waits.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from probed import Probed, measure_drives, measure_sharpness, measure_smallest
from test_accuracy import to_and_fro
from torch.utils._python_dispatch import TorchDispatchMode

from eostui.config import RunConfig
from eostui.curvature import basis, eigenpairs, gram_basis, host
from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.hessian_memory import HessianMemory
from eostui.curvature.point import Pairs, Point, unit_pair
from eostui.probes import drives, sharpness
from eostui.problems import Problem

pytestmark = pytest.mark.usefixtures("one_thread")

#: Views, and what fills what was made on the CPU, launch nothing.
NO_LAUNCH = (
    "view", "_unsafe_view", "t", "transpose", "select", "slice", "unsqueeze", "squeeze", "expand",
    "detach", "alias", "unbind", "split", "split_with_sizes", "as_strided", "empty", "new_empty",
    "lift_fresh", "reshape", "_reshape_alias", "permute", "squeeze_", "arange", "ones_like", "zeros_like",
)  # fmt: skip


#: Launches that a product may bring with it: its direction, its place in the basis, what is read of it;
#: in float64 the direction is made orthogonal twice.
A_PRODUCT = {"float32": 3, "float64": 5}
#: And a measurement: where it starts, what it found, what it remembers.
A_MEASUREMENT = 15
#: And a product that isn't that of a point's own program: a unit vector, and the pair.
A_PAIR = 5


class Counted(TorchDispatchMode):
    """Counts launches and waits, but for those inside products.

    Attributes:
        operations: that would be launched, by name.
        waits: calls of `host.read`.
        unread: operations that read numbers elsewhere.
    """

    def __init__(self):
        super().__init__()
        self.inside = self.reading = False
        self.begin()

    def begin(self):
        self.operations, self.waits, self.unread = Counter(), 0, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.split(".")[0]
        if not self.inside and name not in NO_LAUNCH:
            self.operations[name] += 1
            if name == "_local_scalar_dense" and not self.reading:
                self.unread.append(name)
        return function(*args, **(kwargs or {}))

    @property
    def launches(self):
        return sum(self.operations.values())


@pytest.fixture
def counted(monkeypatch):
    """Count launches and waits of measurements as on a GPU; of what is read elsewhere none is allowed."""
    count = Counted()

    def read(*tensors):
        count.waits += 1
        return host.read(*tensors)

    def outside(derivative):
        def wrapped(self, vector):
            before, count.inside = count.inside, True
            found = derivative(self, vector)
            count.inside = before
            return found

        return wrapped

    def elsewhere(*_):
        raise AssertionError("numbers are read by host.read")

    for module in (basis, gram_basis, sharpness, drives):
        monkeypatch.setattr(module, "read", read)
    monkeypatch.setattr(eigenpairs, "waits", lambda _: True)
    for name in ("hessian_product", "third_derivative"):
        monkeypatch.setattr(Point, name, outside(getattr(Point, name)))

    @outside  # on CUDA a program
    def pair(self, direction):
        return unit_pair(lambda vector: derivative(self, vector), direction, self.theta.dtype)

    derivative = Point.hessian_product
    monkeypatch.setattr(Point, "pairs", lambda self: Pairs(lambda direction: pair(self, direction)))
    for name in ("tolist", "item", "__float__", "__bool__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, elsewhere)
    return count


def along(config, matrices):
    """Measurements, one after another, of quadratics with these matrices: the probes and each point."""
    theta = torch.linspace(1, 2, len(matrices[0]), dtype=getattr(torch, config.dtype))
    problem = Problem(initial=theta, loss=lambda at: at.sum(), convention="quadratics")
    state = Probed(config, problem)
    for number, matrix in enumerate(matrices):
        h = torch.as_tensor(matrix).to(theta)
        state.at(25 * number, config.eta, 0.0)
        yield state, Point(lambda at, h=h: 0.5 * at @ (h @ at) + (at**3).sum() / 600, theta)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eigenvalues", [1, 4])
def test_a_warm_measurement_waits_at_most_once_a_product(counted, eigenvalues, dtype):
    """On a path that goes to and fro: no more waits than products, and few launches beside them."""
    config = RunConfig.build({"eigenvalues": eigenvalues, "dtype": dtype}, "test")
    looks = dtype == "float64"  # at the residuals themselves, for as many digits as are reported
    for number, (state, point) in enumerate(along(config, [*to_and_fro(12, 0.002)])):
        counted.begin()
        with counted:
            found = measure_sharpness(point, state)
        products = found["hessian_products"]
        assert counted.unread == []
        if number:
            assert counted.waits <= products - state.eigenvectors.shape[0] + 1 + looks
            assert counted.launches <= A_PRODUCT[dtype] * products + A_MEASUREMENT
        else:  # looks in fresh directions too
            assert counted.waits <= products + 10
        # of the drives all is read together
        counted.begin()
        with counted:
            measure_drives(point, state)
        assert counted.unread == []
        assert counted.waits == 1
        assert counted.launches <= 8


def test_the_smallest_eigenvalue_waits_at_most_once_a_product(counted):
    """Of −H: one launch more for each product, and nothing read of what it was before."""
    config = RunConfig.build({"smallest_eigenvalue": True, "dtype": "float32"}, "test")
    matrices = [-matrix for matrix in to_and_fro(4, 0.002)]
    for number, (state, point) in enumerate(along(config, matrices)):
        spent = measure_sharpness(point, state)["hessian_products"]
        counted.begin()
        with counted:
            products = measure_smallest(point, state)["hessian_products"] - spent
        assert counted.unread == []
        if number:
            assert counted.waits <= products
            assert (
                counted.launches <= (A_PRODUCT["float32"] + A_PAIR + 1) * products + A_MEASUREMENT
            )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_small_matrices_say_of_residuals_is_so(monkeypatch, dtype):
    """With the waits of a GPU spared: values, and residuals by products of their own, cold and warm."""
    monkeypatch.setattr(eigenpairs, "waits", lambda _: True)
    of_s = {"float32": 2e-6, "float64": 1e-9}[dtype]
    memory, vectors = HessianMemory(), None
    for number, matrix in enumerate(to_and_fro(6, 0.002)):
        operator = torch.as_tensor(matrix).to(getattr(torch, dtype))
        generator = torch.Generator().manual_seed(number)
        start = torch.randn(1, 80, generator=generator).to(operator) if vectors is None else vectors
        pairs = leading_eigenpairs(
            operator.mv,
            start,
            Target(wanted=3),
            memory=memory,
            fresh=lambda _, g=generator, o=operator: torch.randn(80, generator=g).to(o),
            known=0 if vectors is None else len(vectors),
            independent=True,
        )
        vectors = torch.cat([pairs.vectors, pairs.guard_vectors])
        exact = np.linalg.eigvalsh(matrix)[::-1]
        np.testing.assert_allclose(pairs.values, exact[:3], rtol=0, atol=1.2e-5 * exact[0])
        found, u = torch.as_tensor(matrix), pairs.vectors.double()
        defects = u @ found - torch.tensor(pairs.values, dtype=u.dtype)[:, None] * u
        np.testing.assert_allclose(
            pairs.residuals, defects.norm(dim=1), rtol=1e-3, atol=of_s * exact[0]
        )
        np.testing.assert_allclose(u @ u.T, np.eye(3), atol=of_s)


def test_start_directions_that_are_independent_are_taken_together(counted):
    """Their products are asked for before anything is read; one that depends on others costs a look."""
    matrix = next(to_and_fro(1, 0.0))
    vectors = torch.as_tensor(np.linalg.eigh(matrix)[1].T[[-1, -2, -3]].copy())
    operator = torch.as_tensor(matrix)
    for independent, waits in ((True, 1), (False, 8)):
        counted.begin()
        pairs = leading_eigenpairs(operator.mv, vectors, Target(wanted=2), independent=independent)
        assert pairs.products == 3
        assert counted.waits <= waits + 2  # residuals this small are looked at themselves


@pytest.mark.parametrize("length", [3, 5000, 9001])
def test_inner_products_in_pieces_are_inner_products(length, device):
    vectors = torch.randn(7, length, generator=torch.Generator().manual_seed(length)).double()
    found = gram_basis.inner_products(vectors[-2:].to(device), vectors.to(device)).cpu()
    exact = vectors.numpy().astype(np.longdouble)
    np.testing.assert_allclose(found, exact[-2:] @ exact.T, rtol=0, atol=1e-12 * length**0.5)


def test_small_matrices_go_to_a_device_and_back(device):
    """As they were; on the way there a GPU isn't waited for."""
    matrices = [np.random.default_rng(number).normal(size=(number, 5)) for number in (1, 3, 7)]
    beside = torch.zeros(1, dtype=torch.float64, device=device)
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        there = [host.like(matrix, beside) for matrix in matrices]
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    for found in (host.read(*there), [host.read(each)[0] for each in there]):
        for matrix, back in zip(matrices, found, strict=True):
            np.testing.assert_array_equal(back, matrix)
    assert all(each.device.type == device for each in there)
