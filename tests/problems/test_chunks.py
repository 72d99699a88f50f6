"""Sums over chunks against the whole and against dense derivatives; the size, its choice, its errors."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

import pytest
import torch
from conftest import ACTIVATIONS, LOSSES
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import LOSS, cnn, dense_hessian, dense_third, gradient, mlp, unit
from torch import nn

import eostui
from eostui.config import RunConfig
from eostui.curvature.point import Point, plain_gradient
from eostui.errors import InputError
from eostui.problems import Problem, SummedLoss
from eostui.problems.batch import loss_of_rows, parts_of
from eostui.problems.losses import cross_entropy, half_squared_error
from eostui.problems.memory import (
    GRAPH_SHARE,
    automatic_chunk_size,
    kept_bytes,
    unfolded_bytes,
)

# ten problems: every activation, MLP and CNN, both losses
TEN = [
    (network, activation, LOSSES[(i + j) % 2])
    for i, network in enumerate(("mlp", "cnn"))
    for j, activation in enumerate(ACTIVATIONS)
]
SIZES = (
    1,
    3,
    4,
    100,
)  # of 7 samples (MLP) and 6 (CNN): single ones, uneven, even, more than there are


def outputs_of(case):
    """θ ↦ outputs of the independent network."""
    config = case.config
    if config.network == "mlp":
        return lambda at: mlp(at, case.inputs, [4] * config.depth, 3, config.activation)[0]
    return lambda at: cnn(at, case.inputs, config.channels, 3, config.activation)[0]


def relative(found, wanted):
    return float((found - wanted).norm() / wanted.norm())


def dense_gauss_newton(case):
    """Jᵀ H_out J, shape (P, P), from the dense Jacobian and the dense Hessian in the outputs."""
    outputs, loss = outputs_of(case), LOSS[case.config.loss]
    jacobian = torch.func.jacrev(lambda at: outputs(at).flatten())(case.theta)
    at = outputs(case.theta)
    inner = torch.func.hessian(lambda flat: loss(flat.view_as(at), case.targets))(at.flatten())
    return jacobian.T @ inner @ jacobian


@pytest.mark.parametrize(("network", "activation", "loss"), TEN)
def test_every_derivative_is_the_dense_one_whatever_the_chunks(
    small_case, network, activation, loss
):
    """L, ∇L, Hv, D³L[v, v, ·] and Gv, whole and in chunks, against torch.func on a plain network."""
    case = small_case(network, activation=activation, loss=loss)
    outputs = outputs_of(case)
    vector = unit(len(case.theta), 11)

    def plain(at):
        return LOSS[loss](outputs(at), case.targets)

    wanted = {
        "loss": plain(case.theta),
        "gradient": gradient(plain, case.theta),
        "hessian": dense_hessian(plain, case.theta) @ vector,
        "third": dense_third(plain, case.theta, vector),
        "gauss-newton": dense_gauss_newton(case) @ vector,
    }
    for size in (0, *SIZES):
        problem = small_case(network, activation=activation, loss=loss, chunk_size=size).problem
        parts = problem.loss.parts if isinstance(problem.loss, SummedLoss) else (problem.loss,)
        samples = len(case.inputs)
        assert len(parts) == (1 if size in (0, 100) else -(-samples // size))
        point = Point(problem.loss, case.theta)
        product, third = point.curvature_gradient(vector)
        step_loss, step_gradient = plain_gradient(problem.loss, case.theta)
        found = [
            ("loss", point.loss),
            ("loss", problem.loss(case.theta)),
            ("loss", step_loss),
            ("gradient", point.gradient),
            ("gradient", step_gradient),
            ("hessian", point.hessian_product(vector)),
            ("hessian", product),
            ("third", third),
            ("gauss-newton", point.gauss_newton_product(vector)),
        ]
        for key, value in found:
            assert not value.requires_grad
            assert relative(value, wanted[key]) < 1e-8, (key, size)


def test_gauss_newton_and_the_residual_part_make_up_the_hessian(small_case):
    """For MSE H = G + R with R = Σ (f − y)·∇²f/N, and for ReLU networks tr H = tr G (MATH §5)."""
    case = small_case("mlp", activation="tanh", chunk_size=3)
    outputs, theta = outputs_of(case), case.theta
    residual = (outputs(theta) - case.targets).detach() / len(case.inputs)
    rest = dense_hessian(lambda at: (residual * outputs(at)).sum(), theta)
    vector = unit(len(theta), 12)
    point = Point(case.problem.loss, theta)
    difference = point.hessian_product(vector) - point.gauss_newton_product(vector)
    assert relative(difference, rest @ vector) < 1e-8

    case = small_case("mlp", activation="relu", chunk_size=2)
    point, eye = Point(case.problem.loss, case.theta), torch.eye(len(case.theta)).double()
    trace_h = sum(float(point.hessian_product(row) @ row) for row in eye)
    trace_g = sum(float(point.gauss_newton_product(row) @ row) for row in eye)
    assert trace_g > 0
    assert trace_h == pytest.approx(trace_g, rel=1e-10)


def test_gauss_newton_needs_outputs():
    """A loss of θ alone has no Gauss–Newton matrix: an error, never a number."""
    theta = torch.tensor([1.0, 2.0]).double()
    for loss in (
        lambda at: (at**4).sum(),
        SummedLoss((lambda at: at.sum(), lambda at: at[0] ** 2)),
    ):
        with pytest.raises(InputError, match=r"Problem\.from_module"):
            Point(loss, theta).gauss_newton_product(torch.ones(2).double())


# --- properties -----------------------------------------------------------------------------------


def problem_of(seed, samples, chunk_size, *, loss=cross_entropy, order=None, decay=0.0):
    """A small smooth network on random data, its loss plus ½·decay·‖θ‖², its samples reordered."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((samples, 3), generator=generator, dtype=torch.float64)
    y = torch.eye(2, dtype=torch.float64)[torch.randint(2, (samples,), generator=generator)]
    if order is not None:
        x, y = x[order], y[order]
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2)).double()
    problem = Problem.from_module(network, loss, x, y, convention="test", chunk_size=chunk_size)
    parts = problem.loss.parts if isinstance(problem.loss, SummedLoss) else (problem.loss,)
    if decay:
        parts = (*parts, lambda at: decay / 2 * (at @ at))
    return SummedLoss(parts), problem.initial


PRODUCTS = {
    "hessian": lambda point, v: point.hessian_product(v),
    "gauss-newton": lambda point, v: point.gauss_newton_product(v),
    "third": lambda point, v: point.curvature_gradient(v)[1],
}
KINDS = sorted(PRODUCTS)
cases = {
    "seed": st.integers(0, 10**6),
    "samples": st.integers(1, 9),
    "size": st.integers(0, 10),
    "loss": st.sampled_from([cross_entropy, half_squared_error]),
}


def close(found, wanted):
    return float((found - wanted).norm()) <= 1e-9 * max(1.0, float(wanted.norm()))


@settings(max_examples=20)
@given(**cases, a=st.floats(-3, 3), kind=st.sampled_from(["hessian", "gauss-newton"]))
@pytest.mark.usefixtures("one_thread")
def test_products_are_symmetric_and_linear(seed, samples, size, loss, a, kind):
    """⟨w, Mv⟩ = ⟨v, Mw⟩ and M(av + w) = aMv + Mw for M = H and M = G."""
    point = Point(*problem_of(seed, samples, size, loss=loss))
    v, w = unit(len(point.theta), seed), unit(len(point.theta), seed + 1)
    mv, mw = PRODUCTS[kind](point, v), PRODUCTS[kind](point, w)
    assert float(w @ mv) == pytest.approx(float(v @ mw), rel=1e-9, abs=1e-12)
    assert close(PRODUCTS[kind](point, a * v + w), a * mv + mw)


@settings(max_examples=20)
@given(**cases, a=st.floats(-3, 3))
@pytest.mark.usefixtures("one_thread")
def test_third_derivative_is_quadratic_in_its_direction(seed, samples, size, loss, a):
    """D³L[av, av, ·] = a² D³L[v, v, ·], and the parallelogram law holds for v and w."""
    point = Point(*problem_of(seed, samples, size, loss=loss))
    v, w = unit(len(point.theta), seed), unit(len(point.theta), seed + 1)
    third = {}
    for name, direction in (("v", v), ("w", w), ("+", v + w), ("-", v - w), ("av", a * v)):
        third[name] = PRODUCTS["third"](point, direction)
    assert close(third["av"], a * a * third["v"])
    assert close(third["+"] + third["-"], 2 * third["v"] + 2 * third["w"])


@settings(max_examples=20)
@given(**cases, shift=st.floats(1e-3, 10))
@pytest.mark.usefixtures("one_thread")
def test_a_quadratic_penalty_shifts_the_hessian_and_nothing_else(seed, samples, size, loss, shift):
    """With ½λ‖θ‖² added, Hv grows by λv, ∇L by λθ, and D³L stays."""
    plain = Point(*problem_of(seed, samples, size, loss=loss))
    shifted = Point(*problem_of(seed, samples, size, loss=loss, decay=shift))
    v = unit(len(plain.theta), seed)
    assert close(shifted.gradient, plain.gradient + shift * plain.theta.detach())
    assert close(shifted.hessian_product(v), plain.hessian_product(v) + shift * v)
    assert close(PRODUCTS["third"](shifted, v), PRODUCTS["third"](plain, v))


@settings(max_examples=20)
@given(**cases, kind=st.sampled_from(KINDS), data=st.data())
@pytest.mark.usefixtures("one_thread")
def test_neither_order_nor_chunks_of_the_samples_matter(seed, samples, size, loss, kind, data):
    """Reordered and cut elsewhere, L, ∇L and each kind of product are the same."""
    order = data.draw(st.permutations(range(samples)))
    one = Point(*problem_of(seed, samples, 0, loss=loss))
    other = Point(*problem_of(seed, samples, size, loss=loss, order=order))
    v = unit(len(one.theta), seed)
    assert close(other.loss, one.loss)
    assert close(other.gradient, one.gradient)
    assert close(PRODUCTS[kind](other, v), PRODUCTS[kind](one, v))


# --- the edges of what a loss may be --------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 3])
def test_a_linear_loss_one_parameter_and_a_loss_that_is_not_a_number(parts):
    """Zero Hessian; closed forms at P = 1; NaN goes through to every derivative instead of vanishing."""

    def split(function):
        return function if parts == 1 else SummedLoss((lambda at: function(at) / parts,) * parts)

    one = torch.ones(1).double()
    linear = Point(split(lambda at: 3 * at.sum()), one)
    assert float(linear.loss) == pytest.approx(3)
    assert linear.hessian_product(one).tolist() == [0.0]
    assert [t.tolist() for t in linear.curvature_gradient(one)] == [[0.0], [0.0]]

    power = Point(split(lambda at: (at**4).sum()), 2 * one)  # 4x³, 12x², 24x
    assert power.gradient.tolist() == pytest.approx([32.0])
    product, third = power.curvature_gradient(one)
    assert product.tolist() == pytest.approx([48.0])
    assert third.tolist() == pytest.approx([48.0])

    bad = Point(split(lambda at: (at - 1).sqrt().sum().log() * (at - 3).log().sum()), 2 * one)
    assert torch.isnan(bad.loss)
    assert torch.isnan(bad.hessian_product(one)).all()
    assert torch.isnan(bad.curvature_gradient(one)[1]).all()


def test_a_batch_of_one_sample(small_case):
    """Whole, in chunks of one, and in chunks larger than the batch: the same problem of one part."""
    for size in (0, 1, 5):
        problem = small_case("mlp", activation="tanh", samples=1, chunk_size=size).problem
        assert not isinstance(problem.loss, SummedLoss)
        assert problem.chunk_size == 0
        assert torch.isfinite(Point(problem.loss, problem.initial).gradient).all()


def test_rounding_does_not_grow_with_the_number_of_chunks():
    """In float32, 1000 chunks of one sample are as near to the float64 gradient as the whole batch."""
    generator = torch.Generator().manual_seed(4)
    x, y = (torch.randn((1000, width), generator=generator) for width in (3, 2))
    torch.manual_seed(4)
    network = nn.Linear(3, 2)

    def error(size):
        network.float()
        problem = Problem.from_module(
            network, half_squared_error, x, y, convention="test", chunk_size=size
        )
        found = plain_gradient(problem.loss, problem.initial)[1].double()
        weight, bias = (p.detach().double() for p in network.parameters())
        left = (x.double() @ weight.T + bias - y.double()) / len(x)
        wanted = torch.cat([(left.T @ x.double()).flatten(), left.sum(0)])
        return relative(found, wanted)

    assert error(1) < 2e-7
    assert error(0) < 2e-6


def test_test_samples_are_evaluated_in_chunks_too():
    """Loss and accuracy over uneven chunks equal the whole's, and no chunk is larger than asked."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn((11, 3), generator=generator, dtype=torch.float64)
    y = torch.eye(2, dtype=torch.float64)[torch.randint(2, (11,), generator=generator)]
    seen = []

    class Counting(nn.Linear):
        def forward(self, inputs):
            seen.append(len(inputs))
            return super().forward(inputs)

    def evaluate(size):
        torch.manual_seed(5)
        problem = Problem.from_module(
            Counting(3, 2).double(), cross_entropy, x[:6], y[:6], convention="test", test=(x, y),
            accuracy=lambda o, t: (o.argmax(1) == t.argmax(1)).double().mean(), chunk_size=size,
        )  # fmt: skip
        seen.clear()
        return problem.test(problem.initial)

    whole = evaluate(0)
    assert seen == [11]
    parts = evaluate(4)
    assert seen == [4, 4, 3]
    assert parts.loss == pytest.approx(whole.loss, rel=1e-13)
    assert parts.accuracy == pytest.approx(whole.accuracy, rel=1e-13)


# --- what can't be chunked ------------------------------------------------------------------------


def test_losses_that_are_sums_and_modules_that_mix_samples_are_refused():
    """Either would change with the chunk size, so a sentence says so."""
    x, y = torch.randn(5, 3).double(), torch.randn(5, 3).double()

    def make(module, loss, size):
        return Problem.from_module(module, loss, x, y, convention="test", chunk_size=size)

    def summed(outputs, targets):
        return (outputs - targets).square().sum()

    linear = nn.Linear(3, 3).double()
    assert isinstance(make(linear, summed, 0), Problem)
    with pytest.raises(InputError, match="isn't a mean over samples"):
        make(linear, summed, 2)
    mixing = nn.Sequential(linear, eostui_norm(3))
    assert isinstance(make(mixing, half_squared_error, 0), Problem)
    with pytest.raises(InputError, match="depend on the other samples"):
        make(mixing, half_squared_error, 2)
    with pytest.raises(InputError, match="leave `test` out"):
        Problem.from_module(mixing, half_squared_error, x, y, convention="test", test=(x, y))


def eostui_norm(features):
    from eostui.problems import ElementaryBatchNorm

    return ElementaryBatchNorm(features).double()


@pytest.mark.parametrize("value", [-1, 1.5, "many", True])
def test_wrong_chunk_sizes_are_a_sentence(value):
    """Negative, broken, a word, a switch: the key, the value, what would be right."""
    with pytest.raises(InputError, match="`chunk_size`"):
        RunConfig.build({"chunk_size": value}, "test")


def run_eostui(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "eostui", *arguments], capture_output=True, text=True, cwd=cwd
    )


def test_the_setting_reaches_the_run_and_its_record(tmp_path):
    """With --chunk-size the run's numbers are the whole batch's; what was chosen is in the record."""
    rows = {}
    for size in ("", "40"):
        done = run_eostui(
            "run", "digits-mlp", "--headless", "--steps", "1", "--runs-dir", str(tmp_path), "--dtype",
            "float64", "--set", "width=5", "--set", "samples=100", "--set", "tolerance=1e-6",
            *(["--chunk-size", size] if size else []),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        run = eostui.open_run(done.stdout.strip())
        assert run.config.chunk_size == int(size or 0)
        assert tomllib.loads(run.facts["config"])["chunk_size"] == int(size or 0)
        rows[size] = (run.steps["loss"][-1], run.measured["sharpness"][0], run.measured["beta"][0])
    assert rows["40"] == pytest.approx(rows[""], rel=1e-6)


def test_a_wrong_chunk_size_on_the_command_line(capsys, monkeypatch):
    """Exit code 2, one sentence."""
    from eostui.cli import main

    monkeypatch.setattr(sys, "argv", ["eostui", "run", "digits-mlp", "--chunk-size", "-3"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "`chunk_size` is -3" in capsys.readouterr().err


OWN = """
import torch
from torch import nn
from eostui.problems import Problem


def bare(device, dtype):
    return Problem(torch.ones(2, dtype=dtype), lambda at: (at ** 4).sum(), "quartic")


def fixed(device, dtype):
    return chunked(device, dtype, 4)


def chunked(device, dtype, chunk_size):
    x = torch.linspace(-1, 1, 9, dtype=dtype)[:, None]
    network = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)).to(dtype)
    return Problem.from_module(
        network, lambda o, t: (o - t).square().mean(), x, x, convention="c", chunk_size=chunk_size
    )
"""


def test_own_problems_take_the_chunk_size_as_an_argument_or_are_refused(tmp_path):
    """One loss can't be cut from outside: a function without the argument gets a sentence."""
    from eostui.problems import build_problem

    file = tmp_path / "own.py"
    file.write_text(OWN)

    def build(function, size):
        values = {"problem": f"{file}:{function}", "chunk_size": size, "dtype": "float64"}
        config = RunConfig.build(values, "test")
        return build_problem(config, torch.device("cpu"), tmp_path, print)

    assert len(build("chunked", 4).loss.parts) == 3
    assert build("chunked", "auto").chunk_size == 0
    assert build("bare", 0).chunk_size == 0
    with pytest.raises(InputError, match="takes no argument `chunk_size`") as error:
        build("bare", 4)
    assert str(file) in str(error.value)
    own_size = build(
        "fixed", "auto"
    ).chunk_size  # which the config of the run then says: resumed so
    assert own_size == build("fixed", own_size).chunk_size == 4
    with pytest.raises(InputError, match="takes no argument `chunk_size`"):
        build("fixed", 3)


# --- the automatic choice -------------------------------------------------------------------------


def test_bytes_kept_and_the_size_that_fits(small_case):
    """More memory, larger chunks; what is chosen fits, and one more sample wouldn't."""
    generator = torch.Generator().manual_seed(6)
    x = torch.randn((200, 30), generator=generator)
    network = nn.Sequential(nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 2))
    theta = torch.cat([p.detach().reshape(-1) for p in network.parameters()])

    def loss_of(samples):
        rows, targets = x[:samples].clone(), torch.zeros(samples, 2)
        return Problem.from_module(
            network, half_squared_error, rows, targets, convention="test"
        ).loss

    kept = {n: kept_bytes(loss_of(n), theta) for n in (20, 40, 200)}
    per_sample = (kept[40] - kept[20]) / 20
    assert per_sample >= 4 * (30 + 20 + 2)  # inputs, hidden units and outputs at the least
    assert kept[200] == pytest.approx(kept[40] + 160 * per_sample, rel=0.05)
    assert automatic_chunk_size(loss_of, theta, 200, 10**9) == 0
    assert automatic_chunk_size(loss_of, theta, 200, 1000) == 1
    free = int(kept[40] / GRAPH_SHARE) + 1
    size = automatic_chunk_size(loss_of, theta, 200, free)
    assert kept_bytes(loss_of(size), theta) <= GRAPH_SHARE * free
    assert kept_bytes(loss_of(size + 3), theta) > GRAPH_SHARE * free
    assert small_case("mlp").problem.chunk_size == 0  # "auto" on a CPU


def test_the_automatic_size_knows_of_unfolded_images():
    """A sample takes a row for each pixel of each convolution's output, four times over."""
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # 8×8 rows of 27
        nn.MaxPool2d(2),
        nn.Conv2d(4, 2, 2),  # 3×3 rows of 16
        nn.Flatten(),
        nn.Linear(18, 1),
    )
    samples = torch.randn(40, 3, 8, 8)
    assert unfolded_bytes(network, samples[:1]) == 4 * 4 * (64 * 27 + 9 * 16)
    assert unfolded_bytes(nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), samples[:1]) == 0
    assert not any(module._forward_hooks for module in network)
    theta = torch.cat([p.detach().reshape(-1) for p in network.parameters()])

    def loss_of(count):
        rows, targets = samples[:count].clone(), torch.zeros(count, 1)
        return Problem.from_module(
            network, half_squared_error, rows, targets, convention="test"
        ).loss

    free = int(kept_bytes(loss_of(20), theta) / GRAPH_SHARE) + 1
    each = (kept_bytes(loss_of(12), theta) - kept_bytes(loss_of(4), theta)) / 8
    plain = automatic_chunk_size(loss_of, theta, 40, free)
    assert plain == 20
    found = automatic_chunk_size(loss_of, theta, 40, free, beside=int(each))
    assert found == 10  # twice as much a sample


PEAK = """
import json, sys, torch
from torch import nn
from eostui.curvature.point import Point
from eostui.problems import Problem
from eostui.problems.losses import half_squared_error

torch.set_num_threads(1)
network = nn.Sequential(nn.Linear(2, 2000), nn.Tanh(), nn.Linear(2000, 2))
x, y = torch.randn(1000, 2), torch.randn(1000, 2)


def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(key))


def peak(size):
    problem = Problem.from_module(
        network, half_squared_error, x, y, convention="c", chunk_size=size
    )
    vector = torch.randn_like(problem.initial)
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    Point(problem.loss, problem.initial).curvature_gradient(vector)
    return status("VmHWM") - before


peak(100)  # what is allocated once
print(json.dumps({size: peak(size) for size in (100, 1000)}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_is_that_of_one_chunk():
    """With a tenth of the batch a chunk, ∇S takes less than a fifth of the whole batch's memory."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True,
        env={"MALLOC_MMAP_THRESHOLD_": "100000", "MALLOC_TRIM_THRESHOLD_": "0", **environment()},
    )  # fmt: skip
    if "Permission denied" in done.stderr:
        pytest.skip("the peak can't be reset here")
    assert done.returncode == 0, done.stderr
    peaks = json.loads(done.stdout)
    assert peaks["1000"] > 25e6
    assert peaks["100"] < peaks["1000"] / 5


def environment():
    import os

    return dict(os.environ)


# --- some samples alone -----------------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [0, 3])
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_the_loss_of_some_samples_is_their_mean(small_case, network, chunk_size):
    """Against autograd on those samples; in the order asked for, one that comes twice twice."""
    problem = small_case(network, chunk_size=chunk_size).problem
    rows = torch.tensor([4, 0, 5, 0])
    part = parts_of(problem.loss)[0].supervised
    inputs, targets = problem.arrays["inputs"][rows], problem.arrays["targets"][rows]
    leaf = problem.initial.clone().requires_grad_()
    expected = part.loss(part.outputs(leaf, inputs), targets)
    (slope,) = torch.autograd.grad(expected, leaf)
    loss, gradient = plain_gradient(loss_of_rows(problem.loss, rows), problem.initial)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-15)


def test_a_function_of_theta_alone_has_no_samples():
    with pytest.raises(InputError, match="it has no samples to choose from"):
        loss_of_rows(lambda at: at.sum(), torch.tensor([0]))
