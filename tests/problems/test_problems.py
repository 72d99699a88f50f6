"""Data sets, losses, networks and the user's own problems."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import math
import pickle
import socket
import struct
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import LOSS

from eostui import locations, presets
from eostui.config import RunConfig
from eostui.curvature.point import Point
from eostui.errors import InputError
from eostui.problems import Problem, build_problem
from eostui.problems.datasets import load_dataset
from eostui.problems.losses import LOSSES, accuracy

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")


def config_of(**values):
    return RunConfig.build({"dtype": "float64", **values}, "test")


def load(folder=Path(), **values):
    """A data set by the ordinary way, with what was narrated discarded."""
    return load_dataset(config_of(**values), folder, lambda _: None)


def build(folder=Path(), **values):
    return build_problem(config_of(**values), CPU, folder, lambda _: None)


def refusal(function=load, folder=Path(), **values):
    with pytest.raises(InputError) as caught:
        function(folder, **values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def digits():
    """The shipped file as it lies on disk."""
    with np.load(locations.shipped("assets") / "digits.npz") as file:
        return file["x"], file["y"]


# --- digits: shapes, standardisation, selection, test split ---------------------------------------


def test_digits_are_the_uci_test_set(digits):
    """1797 images of 8×8 grey levels from 0 to 16 in ten classes."""
    x, y = digits
    assert x.shape == (1797, 8, 8)
    assert (x.min(), x.max()) == (0, 16)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_standardised_by_one_mean_and_deviation_over_the_whole_file(digits):
    """Over all 1797×64 values, before the selection: the first 1000 alone have other moments."""
    x, y = digits
    data = load(data="digits", samples=1000)
    wanted = (x - x.mean(dtype=float)) / x.std(dtype=float)
    assert data.x.shape == (1000, 1, 8, 8)
    assert data.x.dtype == data.y.dtype == torch.float64
    np.testing.assert_allclose(data.x[:, 0], wanted[:1000], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(data.y, np.eye(10)[y[:1000]])
    assert data.classes == 10
    assert abs(float(data.x.mean())) > 1e-4
    everything = load(data="digits")
    assert float(everything.x.mean()) == pytest.approx(0, abs=1e-12)
    assert float(everything.x.std(correction=0)) == pytest.approx(1, rel=1e-12)


def test_samples_that_were_not_selected_are_the_test_samples(digits):
    """Digits have no test file: the other 797 serve, standardised alike, in order."""
    x, y = digits
    data = load(data="digits", samples=1000)
    wanted = (x - x.mean(dtype=float)) / x.std(dtype=float)
    assert data.test_x.shape == (797, 1, 8, 8)
    np.testing.assert_allclose(data.test_x[:, 0], wanted[1000:], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(data.test_y.argmax(1), y[1000:])
    assert data.facts["test_samples"] == "797"
    few = load(data="digits", samples=1000, test_samples=5)
    torch.testing.assert_close(few.test_x, data.test_x[:5], rtol=0, atol=0)
    everything = load(data="digits", samples="all")
    assert everything.test_x is None
    assert everything.test_y is None


def test_balanced_selection_takes_the_first_of_each_class(digits):
    """As many a class, in the order of the file."""
    _, y = digits
    data = load(data="digits", samples=50, selection="balanced")
    chosen = np.sort(np.concatenate([np.flatnonzero(y == c)[:5] for c in range(10)]))
    np.testing.assert_array_equal(data.y.argmax(1), y[chosen])
    rest = np.setdiff1d(np.arange(1797), chosen)
    np.testing.assert_array_equal(data.test_y.argmax(1), y[rest])


def test_balanced_selection_must_divide_and_exist():
    """A count that isn't a multiple of the classes, or more than the smallest class has."""
    sentence = refusal(data="digits", samples=55, selection="balanced")
    assert "`samples` is 55" in sentence
    assert "multiple of the 10 classes" in sentence
    sentence = refusal(data="digits", samples=1780, selection="balanced")
    assert "178 a class" in sentence
    assert "smallest class has 174" in sentence


def test_random_selection_is_keyed_by_the_seed():
    """Without repetition, the same for the same seed, another for another."""
    first = load(data="digits", samples=300, selection="random", seed=1)
    again = load(data="digits", samples=300, selection="random", seed=1)
    other = load(data="digits", samples=300, selection="random", seed=2)
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    # the selected and the others are the whole file: nothing is drawn twice
    pixels = torch.cat([first.x, first.test_x]).flatten(1)
    everything = load(data="digits").x.flatten(1)
    key = torch.linspace(1, 2, 64).double() ** 3
    torch.testing.assert_close((pixels @ key).sort()[0], (everything @ key).sort()[0])


def test_more_samples_than_there_are():
    """The number asked for and the number there is."""
    sentence = refusal(data="digits", samples=1798)
    assert "`samples` is 1798" in sentence
    assert "digits" in sentence
    assert "1797" in sentence


# --- any .npz file --------------------------------------------------------------------------------


@pytest.fixture
def npz(tmp_path):
    """Write arrays as a real .npz; return the settings that read them."""

    def write(**arrays):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return {"data": "npz", "data_file": str(path)}

    return write


RNG = np.random.default_rng(8)
IMAGES = RNG.integers(0, 256, size=(12, 5, 6, 3)).astype(np.uint8)
CLASSES = np.arange(12) % 3


def test_bytes_become_shares_and_channels_come_first(npz):
    """Without standardisation an image is its bytes over 255, as (channels, height, width)."""
    data = load(**npz(x=IMAGES, y=CLASSES), standardize="none")
    assert data.x.shape == (12, 3, 5, 6)
    np.testing.assert_allclose(data.x, IMAGES.transpose(0, 3, 1, 2) / 255, rtol=1e-15)


def test_standardisation_by_channels_constants_and_globally(npz):
    """Each convention by hand; constants are those given, one for each channel or one for all."""
    settings = npz(x=IMAGES, y=CLASSES)
    x = IMAGES.transpose(0, 3, 1, 2) / 255

    def column(values):
        return np.reshape(values, (1, 3, 1, 1))

    by_channel = load(**settings, standardize="channels")
    mean = [x[:, c].mean() for c in range(3)]
    deviation = [x[:, c].std() for c in range(3)]
    np.testing.assert_allclose(by_channel.x, (x - column(mean)) / column(deviation), rtol=1e-12)
    constants = {"mean": [0.4914, 0.4822, 0.4465], "deviation": [0.2470, 0.2435, 0.2616]}
    fixed = load(**settings, standardize="constants", **constants)
    wanted = (x - column(constants["mean"])) / column(constants["deviation"])
    np.testing.assert_allclose(fixed.x, wanted, rtol=1e-12)
    one = load(**settings, standardize="constants", mean=[0.5], deviation=[0.25])
    np.testing.assert_allclose(one.x, (x - 0.5) / 0.25, rtol=1e-12)
    whole = load(**settings, standardize="global")
    np.testing.assert_allclose(whole.x, (x - x.mean()) / x.std(), rtol=1e-12)
    assert "0.4914" in fixed.facts["standardized"]


def test_constants_must_fit_the_channels(npz):
    """Two constants for three channels."""
    sentence = refusal(
        **npz(x=IMAGES, y=CLASSES), standardize="constants", mean=[0.1, 0.2], deviation=[1, 1]
    )
    assert "`mean` has 2 values" in sentence
    assert "3 channels" in sentence


def test_constant_inputs_cannot_be_standardised(npz):
    """A deviation of 0 would divide by zero."""
    assert "constant" in refusal(**npz(x=np.ones((3, 2)), y=np.arange(3)))


def test_test_samples_of_the_file_are_standardised_by_the_training_moments(npz):
    """xt and yt are held out, under either name, and don't enter the moments."""
    x, xt = RNG.normal(size=(9, 4)), RNG.normal(3, 2, size=(5, 4))
    for names in (("xt", "yt"), ("x_test", "y_test")):
        held_out = {names[0]: xt, names[1]: np.arange(5) % 3}
        data = load(**npz(x=x, y=np.arange(9) % 3, **held_out), samples=6)
        np.testing.assert_allclose(data.test_x, (xt - x.mean()) / x.std(), rtol=1e-12)
        assert len(data.x) == 6


def test_regression_targets_are_taken_as_they_are(npz):
    """Targets of shape (N, C) aren't classes: no one-hot, no accuracy, half squared error."""
    x, y = RNG.normal(size=(6, 2)), RNG.normal(size=(6, 4))
    settings = npz(x=x, y=y, xt=x[:3], yt=y[:3])
    data = load(**settings)
    assert data.classes == 0
    np.testing.assert_array_equal(data.y, y)
    problem = build(**settings, width=3)
    evaluation = problem.test(problem.initial)
    assert evaluation.accuracy is None
    assert math.isfinite(evaluation.loss)


def test_cross_entropy_needs_classes(npz):
    """On regression targets it is refused, by the name of the key."""
    settings = npz(x=RNG.normal(size=(6, 2)), y=RNG.normal(size=(6, 4)))
    sentence = refusal(build, **settings, loss="cross-entropy")
    assert "`loss`" in sentence
    assert "classes" in sentence
    assert "balanced" in refusal(build, **settings, selection="balanced")


@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"x": np.ones((3, 2))}, ["['x']", "x and y"]),
        ({"x": np.ones((3, 2)), "y": np.arange(4)}, ["3", "4", "equal"]),
        ({"x": np.ones((0, 2)), "y": np.arange(0)}, ["0"]),
        ({"x": np.ones(3), "y": np.arange(3)}, ["(3,)", "one row a sample"]),
        ({"x": np.array([["a"], ["b"]]), "y": np.arange(2)}, ["numbers"]),
        ({"x": np.array([[1.0], [np.nan]]), "y": np.arange(2)}, ["finite"]),
        ({"x": np.array([[1.0], [np.inf]]), "y": np.arange(2)}, ["finite"]),
        ({"x": np.ones((3, 2)), "y": np.array([0, -1, 1])}, ["whole numbers from 0"]),
        ({"x": np.ones((3, 2)), "y": np.array([0.5, 1, 1])}, ["whole numbers from 0"]),
        ({"x": np.ones((3, 2)), "y": np.ones((3, 2, 2))}, ["classes (N,) or values (N, C)"]),
        ({"x": np.ones((3, 2)), "y": np.arange(3), "xt": np.ones((1, 2))}, ["xt and yt"]),
    ],
    ids=[
        "no-y",
        "lengths",
        "empty",
        "flat",
        "text",
        "nan",
        "inf",
        "negative",
        "fraction",
        "cube",
        "xt",
    ],
)
def test_arrays_that_do_not_fit_are_refused(npz, arrays, parts):
    """The file, what is wrong with it and what would be right."""
    settings = npz(**arrays)
    sentence = refusal(**settings, standardize="none")
    for part in [settings["data_file"], *parts]:
        assert part in sentence


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.ones((3, 2)), "y": np.array([[1.0], [np.nan], [0.0]])},
        {"x": np.ones((3, 2)), "y": np.array([["a"], ["b"], ["c"]])},
        {"x": np.ones((3, 2)), "y": np.arange(3), "xt": np.ones((1, 2)), "yt": np.ones((1, 3))},
        {"x": np.ones((3, 2)), "y": np.arange(3), "xt": np.ones((1, 5)), "yt": np.arange(1)},
    ],
    ids=["nan-target", "text-target", "test-target-shape", "test-input-shape"],
)
def test_targets_and_test_samples_that_do_not_fit_are_refused_too(npz, arrays):
    """Not only x: NaN or text among the targets, and test arrays shaped unlike the training's."""
    settings = npz(**arrays)
    assert settings["data_file"] in refusal(**settings, standardize="none")


def test_files_that_are_missing_or_broken(tmp_path, npz):
    """No file, not an archive, a truncated archive, a pickle in disguise: each names the path."""
    settings = {"data": "npz", "data_file": str(tmp_path / "none.npz")}
    assert f"no file {tmp_path / 'none.npz'}" in refusal(**settings)
    broken = tmp_path / "broken.npz"
    settings["data_file"] = str(broken)
    broken.write_bytes(b"this is no archive")
    assert f"{broken}: not a readable .npz file" in refusal(**settings)
    broken.write_bytes(b"")
    assert f"{broken}: not a readable .npz file" in refusal(**settings)
    whole = Path(npz(x=RNG.normal(size=(50, 9)), y=np.arange(50))["data_file"]).read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    assert f"{broken}: not a readable .npz file" in refusal(**settings)
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 0xFF  # inside x: the archive's own checksum no longer fits
    broken.write_bytes(damaged)
    assert f"{broken}: not a readable .npz file" in refusal(**settings)
    np.savez(broken, x=np.array([{"an": "object"}]), y=np.arange(1))
    assert f"{broken}: not a readable .npz file" in refusal(**settings)


def test_a_single_array_is_not_an_npz(tmp_path):
    """What np.save writes is one array without a name: refused by the path, not with a traceback."""
    np.save(tmp_path / "lone.npy", np.ones((3, 2)))
    sentence = refusal(data="npz", data_file=str(tmp_path / "lone.npy"))
    assert str(tmp_path / "lone.npy") in sentence


# --- losses and networks --------------------------------------------------------------------------


def test_mse_is_half_the_sum_over_outputs_mean_over_samples():
    """By hand: errors (1, 2) and (0, 3): ½·(1 + 4 + 0 + 9)/2 = 3.5."""
    outputs = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    loss = LOSSES["mse"]
    assert float(loss.function(outputs, torch.zeros(2, 2))) == 3.5
    assert "½" in loss.convention
    assert "sum over outputs" in loss.convention


def test_cross_entropy_is_the_mean_over_samples():
    """By hand: logits (0, ln 3), class 0 → ln 4; class 1 → ln 4 − ln 3."""
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])
    value = float(LOSSES["cross-entropy"].function(logits, torch.eye(2)))
    assert value == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, rel=1e-6)


def test_accuracy_is_the_share_of_right_classes():
    """Two of three."""
    outputs = torch.tensor([[2.0, 1.0], [0.0, 1.0], [5.0, 1.0]])
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert float(accuracy(outputs, targets)) == pytest.approx(2 / 3)


def test_test_evaluation_is_the_same_loss_on_the_held_out_samples(digits):
    """Loss and accuracy of the network on its own outputs, computed by hand for depth 0."""
    x, y = digits
    for loss in ("mse", "cross-entropy"):
        problem = build(data="digits", samples=1000, depth=0, loss=loss)
        inputs = torch.from_numpy((x - x.mean(dtype=float)) / x.std(dtype=float)).flatten(1)[1000:]
        weight, bias = problem.initial[:640].view(10, 64), problem.initial[640:]
        outputs = inputs @ weight.T + bias
        evaluation = problem.test(problem.initial)
        wanted = LOSS[loss](outputs, torch.from_numpy(np.eye(10)[y[1000:]]))
        assert evaluation.loss == pytest.approx(float(wanted), rel=1e-12)
        right = (outputs.argmax(1).numpy() == y[1000:]).mean()
        assert evaluation.accuracy == pytest.approx(right)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"depth": 2, "width": 100}, 64 * 100 + 100 + 100 * 100 + 100 + 100 * 10 + 10),
        ({"depth": 0}, 650),
        ({"depth": 1, "width": 7, "bias": False}, 64 * 7 + 7 * 10),
        ({"network": "cnn", "channels": [4, 5]}, 4 * 9 + 4 + 5 * 4 * 9 + 5 + 5 * 4 * 10 + 10),
        ({"network": "cnn", "channels": [3], "kernel": 5}, 3 * 25 + 3 + 3 * 16 * 10 + 10),
    ],
)
def test_parameter_counts(values, wanted):
    """Counted by hand; 64-100-100-10 has 17,610."""
    assert build(data="digits", samples=20, **values).initial.shape == (wanted,)


def test_digits_mlp_of_the_reference_readings_has_17610_parameters():
    """The network of MATH §9."""
    assert build(data="digits", samples=10, depth=2, width=100).initial.numel() == 17_610


def test_cifar_mlp_of_the_reference_readings(cifar_file):
    """3072-200-200-10 has 656,810 parameters and, at seed 10, a loss of 0.538 (MATH §9)."""
    problem = build(
        data="npz",
        data_file=str(cifar_file),
        width=200,
        dtype="float32",
        standardize="constants",
        mean=[0.4914, 0.4822, 0.4465],
        deviation=[0.2470, 0.2435, 0.2616],
        seed=10,
    )
    assert problem.initial.shape == (656_810,)
    assert problem.initial.dtype == torch.float32
    assert float(problem.loss(problem.initial)) == pytest.approx(0.538, abs=1e-3)
    assert problem.facts["samples"] == "5000"
    assert problem.facts["test_samples"] == "1000"


def test_initial_parameters_are_pytorchs_default_for_the_seed():
    """θ₀ is what nn.Linear draws after torch.manual_seed(seed), weights before biases."""
    problem = build(data="digits", samples=10, depth=1, width=6, seed=10)
    torch.manual_seed(10)
    layers = [torch.nn.Linear(64, 6), torch.nn.Linear(6, 10)]
    wanted = torch.cat([p.detach().reshape(-1) for layer in layers for p in layer.parameters()])
    assert torch.equal(problem.initial, wanted.double())
    assert not problem.initial.requires_grad


def test_loss_does_not_depend_on_the_order_of_samples(npz):
    """Full batch: a permutation changes rounding only."""
    x, y = RNG.normal(size=(20, 3)), np.arange(20) % 4
    order = RNG.permutation(20)
    one = build(**npz(x=x, y=y), width=5)
    first = float(one.loss(one.initial))
    other = build(**npz(x=x[order], y=y[order]), width=5)
    assert float(other.loss(other.initial)) == pytest.approx(first, rel=1e-13)


def test_cnn_needs_images_large_enough(npz):
    """Vectors are refused, and so are images that pooling would shrink to nothing."""
    sentence = refusal(build, **npz(x=RNG.normal(size=(4, 9)), y=np.arange(4)), network="cnn")
    assert '`network` is "cnn"' in sentence
    assert "(9,)" in sentence
    sentence = refusal(build, data="digits", network="cnn", channels=[2, 2, 2, 2])
    assert "`channels` has 4" in sentence
    assert "8×8" in sentence


# --- the user's own problem -----------------------------------------------------------------------

GOOD = """
import torch
from eostui.problems import Problem


def make(device, dtype, stiffness=1.0):
    start = torch.tensor([1.0, -2.0], device=device, dtype=dtype)
    return Problem(start, lambda at: 0.5 * stiffness * (at * at).sum(), "quadratic")


def fails(device, dtype):
    raise ZeroDivisionError("oh no")


def wrong_type(device, dtype):
    return 42


def wrong_shape(device, dtype):
    return Problem(torch.zeros(2, 2), lambda at: at.sum(), "matrix")


def draws(device, dtype):
    return Problem(torch.rand(3, dtype=dtype), lambda at: at.sum(), "random start")
"""


@pytest.fixture
def own(tmp_path):
    """A file with a user's functions, and the setting that names one of them."""
    file = tmp_path / "my_problems.py"
    file.write_text(GOOD)
    return lambda function: {"problem": f"{file}:{function}"}


def test_own_problem_is_called_with_device_dtype_and_arguments(own):
    """What the function returns is the problem."""
    problem = build(**own("make"), problem_arguments={"stiffness": 3.0})
    assert isinstance(problem, Problem)
    assert problem.initial.dtype == torch.float64
    assert float(problem.loss(problem.initial)) == 0.5 * 3 * 5


def test_shipped_presets_with_an_own_problem_work():
    """The example that users copy builds a problem with a finite loss and gradient."""
    own_presets = [
        config
        for config in (presets.load(name).config for name in presets.available())
        if config.problem != "network"
    ]
    assert own_presets, "there is no such preset"
    for config in own_presets:
        problem = build_problem(config, CPU, Path(), lambda _: None)
        point = Point(problem.loss, problem.initial)
        assert torch.isfinite(point.loss)
        assert torch.isfinite(point.gradient).all()


def test_own_problem_draws_by_the_seed(own):
    """torch is seeded before the user's code runs."""
    first, again = build(**own("draws"), seed=5), build(**own("draws"), seed=5)
    assert torch.equal(first.initial, again.initial)
    assert not torch.equal(first.initial, build(**own("draws"), seed=6).initial)


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        ("mkae", ["no function `mkae`", "did you mean `make`?"]),
        ("fails", ["fails failed", "ZeroDivisionError: oh no"]),
        ("wrong_type", ["returned int", "eostui.problems.Problem"]),
        ("wrong_shape", ["shape (2, 2)", "one flat vector"]),
    ],
)
def test_own_problems_that_do_not_work_are_refused(own, function, parts):
    """The file, the function, what happened."""
    sentence = refusal(build, **own(function))
    for part in ["my_problems.py", *parts]:
        assert part in sentence


def test_own_problem_with_a_wrong_argument_or_a_broken_file(own, tmp_path):
    """An argument it doesn't take, a file that isn't there, a file that isn't Python."""
    sentence = refusal(build, **own("make"), problem_arguments={"stifness": 1})
    assert "stifness" in sentence
    assert "there is no file" in refusal(build, problem=f"{tmp_path / 'none.py'}:make")
    (tmp_path / "broken.py").write_text("def make(:\n")
    assert "SyntaxError" in refusal(build, problem=f"{tmp_path / 'broken.py'}:make")
    (tmp_path / "notes.txt").write_text("make")
    assert "isn't a Python file" in refusal(build, problem=f"{tmp_path / 'notes.txt'}:make")


def test_own_problem_file_may_have_the_name_of_a_module(tmp_path):
    """A user's colorsys.py must not become everybody's colorsys."""
    import colorsys
    import sys

    file = tmp_path / "colorsys.py"
    file.write_text(GOOD)
    try:
        build(problem=f"{file}:make")
        assert sys.modules["colorsys"] is colorsys
    finally:
        sys.modules["colorsys"] = colorsys


# --- torchvision: real loaders on tiny files in the real formats ----------------------------------


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(root, monkeypatch, name):
    """Write CIFAR batches of 4 images each as the originals are, and let their checksums pass.

    The only thing replaced is torchvision's table of files and checksums.
    """
    from torchvision import datasets

    hundred = name == "cifar100"
    loader = datasets.CIFAR100 if hundred else datasets.CIFAR10
    folder = root / loader.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(2)
    label = "fine_labels" if hundred else "labels"
    written = {}

    def batches(names):
        table = []
        for file in names:
            data = rng.integers(0, 256, size=(4, 3072)).astype(np.uint8)
            labels = rng.integers(0, loader_classes, size=4).tolist()
            entry = {"data": data, label: labels, "batch_label": file, "filenames": ["x.png"] * 4}
            (folder / file).write_bytes(pickle.dumps(entry, protocol=2))
            written[file] = (data, labels)
            table.append([file, md5(folder / file)])
        return table

    loader_classes = 100 if hundred else 10
    train = batches([file for file, _ in loader.train_list])
    test = batches([file for file, _ in loader.test_list])
    meta = {loader.meta["key"]: [f"class {i}" for i in range(loader_classes)]}
    (folder / loader.meta["filename"]).write_bytes(pickle.dumps(meta, protocol=2))
    monkeypatch.setattr(loader, "train_list", train)
    monkeypatch.setattr(loader, "test_list", test)
    entry = {**loader.meta, "md5": md5(folder / loader.meta["filename"])}
    monkeypatch.setattr(loader, "meta", entry)
    train_data = np.concatenate([written[file][0] for file, _ in train])
    train_labels = [label for file, _ in train for label in written[file][1]]
    return train_data, train_labels, *written[test[0][0]]


@pytest.mark.parametrize(("name", "count"), [("cifar10", 20), ("cifar100", 4)])
def test_cifar_is_read_by_torchvisions_loader(tmp_path, monkeypatch, name, count):
    """Pixels land where the format says: 1024 red, 1024 green, 1024 blue, row by row."""
    data, labels, test_data, test_labels = write_cifar(tmp_path, monkeypatch, name)
    loaded = load(tmp_path, data=name, standardize="none")
    assert loaded.x.shape == (count, 3, 32, 32)
    np.testing.assert_allclose(loaded.x, data.reshape(-1, 3, 32, 32) / 255, rtol=1e-15)
    assert loaded.y.argmax(1).tolist() == labels
    np.testing.assert_allclose(loaded.test_x, test_data.reshape(-1, 3, 32, 32) / 255, rtol=1e-15)
    assert loaded.test_y.argmax(1).tolist() == test_labels
    assert loaded.facts["data"] == name
    assert loaded.classes == (10 if name == "cifar10" else 100)  # whichever of them occur here
    sentence = refusal(folder=tmp_path, data=name, layout="channels-first")
    assert f"images of {name} are channels-last" in sentence


def idx_file(array):
    """The idx-ubyte format of MNIST: magic, sizes big-endian, bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_fashion(root, monkeypatch):
    """Write Fashion-MNIST's four .gz files with 6 and 3 images; the checksum table is replaced."""
    from torchvision import datasets

    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(5)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, size=(6, 28, 28)).astype(np.uint8),
        "train-labels-idx1-ubyte": np.array([3, 1, 4, 1, 5, 9], dtype=np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, size=(3, 28, 28)).astype(np.uint8),
        "t10k-labels-idx1-ubyte": np.array([2, 6, 5], dtype=np.uint8),
    }
    for name, array in arrays.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(idx_file(array)))
    resources = [(f"{name}.gz", md5(raw / f"{name}.gz")) for name in arrays]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    return raw, arrays


def test_fashion_mnist_is_read_by_torchvisions_loader(tmp_path, monkeypatch):
    """Grey images gain their one channel; labels are classes."""
    _, arrays = write_fashion(tmp_path, monkeypatch)
    loaded = load(tmp_path, data="fashion-mnist", standardize="none")
    images = arrays["train-images-idx3-ubyte"]
    assert loaded.x.shape == (6, 1, 28, 28)
    np.testing.assert_allclose(loaded.x[:, 0], images / 255, rtol=1e-15)
    assert loaded.y.argmax(1).tolist() == [3, 1, 4, 1, 5, 9]
    assert loaded.test_x.shape == (3, 1, 28, 28)
    assert loaded.test_y.argmax(1).tolist() == [2, 6, 5]


def test_damaged_fashion_mnist_is_a_sentence(tmp_path, monkeypatch):
    """An unpacking that was cut short leaves half a file, which torchvision doesn't check."""
    raw, arrays = write_fashion(tmp_path, monkeypatch)
    for name, array in arrays.items():
        (raw / name).write_bytes(idx_file(array))
    whole = (raw / "train-images-idx3-ubyte").read_bytes()
    (raw / "train-images-idx3-ubyte").write_bytes(whole[: len(whole) // 2])
    sentence = refusal(folder=tmp_path, data="fashion-mnist")
    assert "fashion-mnist" in sentence
    assert str(tmp_path) in sentence


@contextlib.contextmanager
def closed_port():
    """The address of a local port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{probe.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("name", "loader", "files"),
    [
        ("cifar10", "CIFAR10", "cifar-10-python.tar.gz"),
        ("cifar100", "CIFAR100", "cifar-100-python.tar.gz"),
        ("fashion-mnist", "FashionMNIST", "FashionMNIST/raw/*-ubyte.gz"),
    ],
)
def test_without_a_network_the_sentence_says_which_files_to_put_where(
    tmp_path, monkeypatch, name, loader, files
):
    """The real download is tried, at an address that refuses: folder, files and reason are named."""
    from torchvision import datasets

    with closed_port() as address:
        if name == "fashion-mnist":
            monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [address])
        else:
            monkeypatch.setattr(getattr(datasets, loader), "url", address + files)
        sentence = refusal(folder=tmp_path / "data", data=name)
    for part in (name, str(tmp_path / "data"), files, "refused", "--data-dir"):
        assert part in sentence


def test_data_folder_that_cannot_be_made(tmp_path):
    """A file is in the way of the folder: its path is named."""
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refusal(folder=tmp_path / "file" / "data", data="cifar10")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda file: file.write_bytes(file.read_bytes() + b"!"), "isn't what its checksum says"),
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "isn't what its checksum says"),
        (lambda file: file.write_bytes(b""), "isn't what its checksum says"),
        (Path.unlink, "is missing"),
    ],
    ids=["longer", "cut short", "empty", "gone"],
)
def test_a_damaged_folder_is_called_damaged(tmp_path, monkeypatch, name, harm, told):
    """The file and what is wrong with it; the real download is what fails next."""
    from torchvision import datasets

    write_cifar(tmp_path, monkeypatch, name)
    loader = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    file = loader.train_list[-1][0]
    path = tmp_path / loader.base_folder / file
    whole = path.read_bytes()
    harm(path)
    narrated = []
    with closed_port() as address:
        monkeypatch.setattr(loader, "url", address)
        with pytest.raises(InputError) as caught:
            load_dataset(config_of(data=name), tmp_path, narrated.append)
    sentence = str(caught.value)
    assert "isn't in" not in sentence
    for part in (f"{name} in {tmp_path} is damaged", f"{file} {told}", "refused", "--data-dir"):
        assert part in sentence
    assert any("downloading it again" in line for line in narrated)
    path.write_bytes(whole)
    assert len(load(tmp_path, data=name).x) == 4 * len(loader.train_list)


@pytest.mark.parametrize("harm", [Path.unlink, lambda file: file.write_bytes(b"")])
def test_damaged_names_of_the_classes_are_called_damaged(tmp_path, monkeypatch, harm):
    """torchvision doesn't download for these alone: what to delete is said."""
    write_cifar(tmp_path, monkeypatch, "cifar10")
    harm(tmp_path / "cifar-10-batches-py" / "batches.meta")
    sentence = refusal(folder=tmp_path, data="cifar10")
    assert f"cifar10 in {tmp_path} is damaged" in sentence
    assert "metadata" in sentence
    assert f"delete {tmp_path / 'cifar-10-batches-py'}" in sentence


def test_a_damaged_archive_is_called_damaged(tmp_path, monkeypatch):
    """A download that was cut short left half an archive and nothing unpacked."""
    from torchvision import datasets

    (tmp_path / datasets.CIFAR10.filename).write_bytes(b"half of it")
    with closed_port() as address:
        monkeypatch.setattr(datasets.CIFAR10, "url", address)
        sentence = refusal(folder=tmp_path, data="cifar10")
    assert f"is damaged ({datasets.CIFAR10.filename} isn't what its checksum says)" in sentence


@pytest.mark.parametrize(
    "content", [b"", b"no idx file", struct.pack(">HBB3I", 0, 8, 3, 9, 28, 28)]
)
def test_unpacked_files_without_a_checksum_are_called_damaged(tmp_path, monkeypatch, content):
    """Fashion-MNIST's reader trusts what is unpacked; whatever it raises becomes a sentence."""
    raw, arrays = write_fashion(tmp_path, monkeypatch)
    for name, array in arrays.items():
        (raw / name).write_bytes(idx_file(array))
    (raw / "t10k-images-idx3-ubyte").write_bytes(content)
    sentence = refusal(folder=tmp_path, data="fashion-mnist")
    assert f"fashion-mnist in {tmp_path} is damaged" in sentence
    assert f"delete {raw}" in sentence


def test_swapped_unpacked_files_are_refused(tmp_path, monkeypatch):
    """The labels of the test set beside the images of the training set."""
    raw, arrays = write_fashion(tmp_path, monkeypatch)
    for name, array in arrays.items():
        (raw / name).write_bytes(idx_file(array))
    other = (raw / "t10k-labels-idx1-ubyte").read_bytes()
    (raw / "train-labels-idx1-ubyte").write_bytes(other)
    sentence = refusal(folder=tmp_path, data="fashion-mnist")
    assert "6 samples" in sentence
    assert "3" in sentence


def test_download_is_unpacked_and_its_progress_told(tmp_path, monkeypatch):
    """From a local server that dawdles: the archive arrives, is read, and progress was narrated."""
    from torchvision import datasets

    source, target = tmp_path / "source", tmp_path / "target"
    data, *_ = write_cifar(source, monkeypatch, "cifar10")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.add(source / "cifar-10-batches-py", "cifar-10-batches-py")
    content = archive.getvalue()

    class Dawdling(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.headers.get("Method") == "HEAD":  # torchvision only asks where to go
                return
            self.wfile.write(content[:-1000])
            self.wfile.flush()
            time.sleep(0.8)
            self.wfile.write(content[-1000:])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dawdling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz"
    monkeypatch.setattr(datasets.CIFAR10, "url", address)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(content).hexdigest())
    told = []
    try:
        config = config_of(data="cifar10", standardize="none")
        loaded = load_dataset(config, target, told.append)
    finally:
        server.shutdown()
        server.server_close()
    np.testing.assert_allclose(loaded.x, data.reshape(-1, 3, 32, 32) / 255, rtol=1e-15)
    assert any("downloading cifar10" in line and "MB/s" in line for line in told)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("return Problem(torch.ones(3, dtype=dtype), lambda t: t * t, 'c')", "scalar"),
        (
            "return Problem(torch.ones(3, dtype=dtype), lambda t: torch.ones(()), 'c')",
            "depend on θ",
        ),
        ("return Problem(torch.ones(3), lambda t: (t * t).sum(), 'c')", "torch.float32"),
        ("return Problem(torch.ones(3, dtype=dtype), lambda t: (t / 0).sum(), 'c')", "inf"),
        ("return Problem(torch.ones(3).long(), lambda t: (t * t).sum(), 'c')", "torch.int64"),
        ("raise SystemExit(5)", "SystemExit"),
    ],
)
def test_an_own_problem_is_tried_before_its_run(tmp_path, body, complaint):
    """What can't be trained is refused with a sentence, before there is a run directory."""
    file = tmp_path / "own.py"
    file.write_text(
        f"import torch\nfrom eostui.problems import Problem\n\ndef f(device, dtype):\n    {body}\n"
    )
    config = RunConfig.build({"problem": f"{file}:f", "dtype": "float64"}, "test")
    with pytest.raises(InputError, match=complaint) as error:
        build_problem(config, torch.device("cpu"), tmp_path, print)
    assert str(file) in str(error.value)
