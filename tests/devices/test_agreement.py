"""What is measured on a device is what the CPU measures in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engines import here, small

from eostui.curvature.point import Point
from eostui.engine.device import prepare_machine
from eostui.problems import build_problem
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

#: Smooth ones: across a kink two roundings may lie on different sides.
SMOOTH = {
    "activation": "tanh",
    "steps": 60,
    "eta": 0.05,
    "test_cadence": 20,
    "smallest_eigenvalue": True,
}
NETWORKS = {
    "mlp": SMOOTH,
    "cross-entropy": {**SMOOTH, "loss": "cross-entropy", "width": 8},
    "cnn": {**SMOOTH, "network": "cnn", "channels": [4], "samples": 60},
}
#: What a device's rounding may leave of L, ‖θ‖ and of κ, which is a small difference, as a share of the
#: column's largest value; of eigenvalues, found to `tolerance`, as a share of S; and of what u decides,
#: found to `vector_tolerance`.
TOLERANCES = {"float64": (1e-9, 1e-7, 2e-5, 0.05), "float32": (2e-4, 2e-2, 2e-3, 0.1)}


def problem_on(device, folder, **values):
    config = small(device=device, **values)
    return build_problem(config, prepare_machine(config).device, folder, lambda _: None)


@pytest.fixture(scope="module", params=NETWORKS)
def reference(request, tmp_path_factory, one_thread):  # noqa: ARG001
    """A run on the CPU in float64, and its settings."""
    values = NETWORKS[request.param]
    folder = tmp_path_factory.mktemp("reference")
    return here(small(dtype="float64", device="cpu", **values), folder), values


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_run_is_that_of_the_cpu_in_float64(reference, tmp_path, device, dtype):
    """Every step and every reading of 60 steps before the edge."""
    path, values = reference
    sums, differences, eigenvalues, rest = TOLERANCES[dtype]
    config = small(device=device, dtype=dtype, **values)
    with Run(here(config, tmp_path)) as run, Run(path) as wanted:
        assert run.facts["device"].split(":")[0] == device
        np.testing.assert_array_equal(run.measured["step"], wanted.measured["step"])
        for name in ("loss", "theta_norm"):
            close(run.steps[name], wanted.steps[name], sums, name)
        close(run.steps["path_curvature"], wanted.steps["path_curvature"], differences, "kappa")
        for name in ("test_loss", "grad_norm"):
            close(run.measured[name], wanted.measured[name], 10 * sums, name)
        scale = wanted.measured["sharpness"].max()
        for name in ("sharpness", "eig_2", "eig_min"):
            close(run.measured[name], wanted.measured[name], eigenvalues, name, scale)
        for name in ("beta", "beta_alpha", "g"):
            close(run.measured[name], wanted.measured[name], rest, name)
        assert (run.measured["sharpness_residual"] < 0.1 * wanted.measured["sharpness"]).all()


def close(found, wanted, share, name, scale=None):
    assert np.isfinite(wanted).any(), name
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted), name)
    scale = np.nanmax(np.abs(wanted)) if scale is None else scale
    np.testing.assert_allclose(found, wanted, rtol=0, atol=share * scale, err_msg=name)


@pytest.mark.parametrize("network", ["mlp", "cnn"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("chunk_size", [0, 7])
def test_derivatives_in_float32_are_those_of_the_cpu_in_float64(
    tmp_path, device, network, activation, chunk_size
):
    """L, ∇L, Hv, Gv and D³L[v, v, ·] at one θ: TF32 or another arithmetic would cost digits."""
    values = {
        "network": network, "activation": activation, "samples": 40, "width": 12, "channels": [3],
        "chunk_size": chunk_size,
    }  # fmt: skip
    exact = problem_on("cpu", tmp_path, dtype="float64", **values)
    problem = problem_on(device, tmp_path, **values)
    theta = problem.initial
    vector = torch.randn(len(theta), generator=torch.Generator().manual_seed(1)) / len(theta) ** 0.5
    at = Point(exact.loss, theta.cpu().double())
    point = Point(problem.loss, theta)
    v, v64 = vector.to(theta.device), vector.double()
    close(one(point.loss), one(at.loss), 1e-5, "loss")
    for name, mine, its in (
        ("gradient", point.gradient, at.gradient),
        ("product", point.hessian_product(v), at.hessian_product(v64)),
        ("gauss-newton", point.gauss_newton_product(v), at.gauss_newton_product(v64)),
        ("third", point.third_derivative(v), at.third_derivative(v64)),
    ):
        assert mine.device.type == device
        close(one(mine), one(its), 2e-5, name)


def one(tensor):
    return tensor.detach().double().cpu().reshape(-1).numpy()
