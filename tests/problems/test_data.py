"""Data are read as they are meant or refused, and what was read is told and recorded."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from terminal import Terminal

from eostui import locations, presets
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.problems import build_problem, files
from eostui.problems.datasets import Dataset, load_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
RNG = np.random.default_rng(11)
N = 60
GREY = RNG.random((N, 8, 8))
LABELS = np.arange(N) % 4


class Files:
    """Writes arrays as a real .npz and reads it by the ordinary way."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "data.npz"

    def write(self, **arrays: np.ndarray) -> Path:
        np.savez(self.path, **{"x": GREY, "y": LABELS, **arrays})
        return self.path

    def config(self, **settings) -> RunConfig:
        values = {"data": "npz", "data_file": str(self.path), "dtype": "float64", **settings}
        return RunConfig.build(values, "test")

    def load(self, settings=None, **arrays: np.ndarray) -> Dataset:
        self.write(**arrays)
        return self.read(**(settings or {}))

    def read(self, **settings) -> Dataset:
        """Read what is there; warnings are narrated and recorded alike."""
        narrated: list[str] = []
        data = load_dataset(self.config(**settings), self.path.parent, narrated.append)
        for text in data.warnings:
            assert f"{self.path}: {text}" in narrated
        assert data.facts.get("warnings", "") == "\n".join(data.warnings)
        assert all("\n" not in text for text in narrated)
        return data

    def refusal(self, settings=None, **arrays: np.ndarray) -> str:
        """The sentence with which these arrays are refused; it names the file."""
        self.write(**arrays)
        return self.broken(**(settings or {}))

    def broken(self, **settings) -> str:
        with pytest.raises(InputError) as caught:
            self.read(**settings)
        sentence = str(caught.value)
        assert str(self.path) in sentence
        assert "\n" not in sentence
        assert "Error" not in sentence
        return sentence


@pytest.fixture
def npz(tmp_path: Path) -> Files:
    return Files(tmp_path)


# --- constants -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.5, 0.1, 1 / 3, -1e-300, 7.7e300])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inputs_equal_everywhere_are_constant(npz, value, dtype):
    """Also values whose mean is rounded, so that the deviation isn't 0 (0.1: 1.4e-17)."""
    x = np.full((N, 8, 8), value, dtype if abs(value) < 1e38 else "float64")
    sentence = npz.refusal(x=x)
    assert f"constant ({float(x[0, 0, 0]):.6g} everywhere)" in sentence
    if value < 1:  # nothing divides then, so it's allowed
        told = npz.load({"standardize": "none"}, x=x)
        assert any("constant" in text for text in told.warnings)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_constant_channel_is_named(npz, dtype):
    """Of three channels the second is 0.3 everywhere; for all channels at once that is no fault."""
    x = RNG.random((N, 8, 8, 3)).astype(dtype)
    x[..., 1] = 0.3
    sentence = npz.refusal({"standardize": "channels"}, x=x)
    assert "channel 2 of 3" in sentence
    assert "constant (0.3 everywhere)" in sentence
    data = npz.load({"standardize": "global"}, x=x)
    channels = x.astype(float).transpose(0, 3, 1, 2)
    wanted = (channels - channels.mean()) / channels.std()
    np.testing.assert_allclose(data.x, wanted, rtol=1e-10, atol=1e-12)


def test_inputs_that_vary_by_rounding_alone_are_constant(npz):
    """0.1 computed in two ways; a variation of a millionth is a variation."""
    x = np.full((N, 8, 8), 0.3)
    x[::2] = 0.1 + 0.2
    assert x.min() < x.max()
    assert "constant but for rounding" in npz.refusal(x=x)
    assert "constant but for rounding" in npz.refusal(
        x=np.nextafter(GREY * 0 + 1, LABELS[:, None, None])
    )
    data = npz.load(x=0.3 + 1e-6 * GREY)
    assert float(data.x.std(correction=0)) == pytest.approx(1, rel=1e-9)
    whole = np.full((N, 8, 8), 10**9)
    whole[0] += 1
    assert float(npz.load(x=whole).x.std(correction=0)) == pytest.approx(1, rel=1e-6)


# --- layout ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [
        (16, 12, 5),  # hyperspectral, say: five channels
        (3, 8, 4),  # three channels of 8×4, or four of 3×8
        (4, 6, 3),
        (1, 8, 1),
        (28, 28, 28),
        (64, 4, 4),  # feature maps of a network, channels first …
        (512, 1, 1),
        (4, 4, 64),  # … and last
    ],
)
def test_ambiguous_images_are_refused_and_layout_decides(npz, shape):
    """Both readings are named, and the setting; either value of it reads them as it says."""
    x = RNG.random((N, *shape))
    sentence = npz.refusal(x=x)
    first, middle, last = shape
    for part in (
        str(shape),
        f"{last} channels of {first}×{middle}",
        f"{first} channels of {middle}×{last}",
        "`layout`",
        '"channels-last"',
        '"channels-first"',
    ):
        assert part in sentence
    for layout, wanted in (("channels-last", x.transpose(0, 3, 1, 2)), ("channels-first", x)):
        data = npz.read(layout=layout, standardize="none")
        np.testing.assert_array_equal(data.x, wanted)
        assert data.facts["layout"].startswith(layout)
        assert data.facts["sample_shape"] == str(wanted.shape[1:])
        assert data.warnings == ()


@pytest.mark.parametrize("height", [5, 8, 28, 32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_usual_numbers_of_channels_tell_the_layout(npz, channels, height):
    """Square images or not, channels last or first: by the number that channels usually have."""
    for width in (height, height + 3):
        last = RNG.random((6, height, width, channels))
        first = last.transpose(0, 3, 1, 2)
        for x, name in ((last, "channels-last"), (first, "channels-first")):
            data = npz.load({"standardize": "none"}, x=x, y=np.arange(6) % 2)
            np.testing.assert_array_equal(data.x, first)
            assert data.facts["layout"].startswith(name)


def test_layout_where_there_is_none(npz):
    """Vectors have no layout, which is told; grey images of one channel need none."""
    vectors = npz.load({"layout": "channels-last"}, x=RNG.random((N, 5)))
    assert any("`layout`" in text for text in vectors.warnings)
    assert npz.load({"layout": "channels-last"}).warnings == ()
    volumes = npz.load(x=RNG.random((N, 2, 3, 4, 5)))
    assert volumes.x.shape == (N, 2, 3, 4, 5)
    by_channel = npz.read(standardize="channels")
    assert any("are no images" in text for text in by_channel.warnings)
    torch.testing.assert_close(by_channel.x, volumes.x, rtol=0, atol=0)


def test_a_wrong_layout_has_the_nearest_one(npz):
    npz.write()
    with pytest.raises(InputError, match="did you mean `channels-last`"):
        npz.config(layout="channels_last")


# --- classes and values ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", ">i4", "uint64"])
def test_integers_of_shape_n_1_are_classes(npz, dtype):
    """As Keras has them: the same as of shape (N,), and told."""
    y = (LABELS % 2).astype(dtype)
    data = npz.load(y=y[:, None], xt=GREY[:8], yt=y[:8, None])
    flat = npz.load(y=y, xt=GREY[:8], yt=y[:8])
    assert data.classes == flat.classes == 2
    assert torch.equal(data.y, flat.y)
    assert torch.equal(data.test_y, flat.test_y)
    assert any("shape (60, 1): classes" in text for text in data.warnings)
    assert flat.warnings == ()
    assert "2 classes" in data.facts["targets"]


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_whole_floats_are_classes_if_flat_and_values_if_not(npz, dtype):
    """(N,) has no other meaning than classes; (N, 1) is the shape of values to fit. Both are told."""
    y = LABELS.astype(dtype)
    classes = npz.load(y=y)
    assert classes.classes == 4
    assert any("classes" in text and dtype in text for text in classes.warnings)
    values = npz.load(y=y[:, None])
    assert values.classes == 0
    np.testing.assert_array_equal(values.y, y[:, None])
    assert any("values to fit" in text for text in values.warnings)
    fractions = npz.load(y=y[:, None] + dtype_half(dtype))
    assert (fractions.classes, fractions.warnings) == (0, ())


def dtype_half(dtype: str) -> np.ndarray:
    return np.array(0.5, dtype)


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool"])
def test_one_hot_rows_are_classes(npz, dtype):
    """As Keras' to_categorical makes them: the same run as with labels, with an accuracy."""
    rows = np.eye(4)[LABELS].astype(dtype)
    data = npz.load(y=rows, xt=GREY[:8], yt=rows[:8])
    assert data.classes == 4
    assert torch.equal(data.y, npz.load(y=LABELS, xt=GREY[:8], yt=LABELS[:8]).y)
    npz.write(y=rows)
    problem = build_problem(
        npz.config(width=4, loss="cross-entropy", samples=50), CPU, Path(os.devnull), lambda _: None
    )
    assert problem.test(problem.initial).accuracy is not None
    several = rows.copy()
    several[0] = 1
    assert npz.load(y=several).classes == 0


@pytest.mark.parametrize(
    ("labels", "largest", "present"),
    [
        (np.where(np.arange(N) == 7, 255, LABELS).astype(np.uint8), 255, 5),
        (np.where(np.arange(N) == 7, 2**31, LABELS), 2**31, 5),
        (np.where(np.arange(N) == 7, 2**63 + 2**20, LABELS).astype(np.uint64), 2**63 + 2**20, 5),
        (np.where(np.arange(N) == 7, 1e300, LABELS), int(1e300), 5),
        (LABELS * 10, 30, 4),
        (1_000_000 + np.arange(N), 1_000_059, 60),  # numbers of houses, prices, years
    ],
    ids=["255", "2**31", "beyond int64", "float", "tens", "offset"],
)
def test_labels_with_more_gaps_than_classes_are_refused(npz, labels, largest, present):
    """The largest label, how many occur, and what would be right."""
    sentence = npz.refusal(y=labels)
    for part in (str(largest), f"only {present} different", "relabel", "(N, 1) as floats"):
        assert part in sentence


def test_small_gaps_are_told(npz):
    """The largest label, the classes present, those absent, and a likely cause."""
    gap = npz.load(y=np.where(LABELS == 2, 5, LABELS))
    assert gap.classes == 6
    told = "\n".join(gap.warnings)
    assert "largest label is 5" in told
    assert "4 of 6 classes occur" in told
    assert "2, 4" in told
    assert "counted from 1" not in told
    assert "6 classes, labels 0 to 5, 4 present" in gap.facts["targets"]
    assert "counted from 1" in "\n".join(npz.load(y=LABELS + 1).warnings)
    held = npz.load(xt=GREY[:4], yt=np.array([0, 1, 4, 4]))
    assert held.classes == 5
    assert any("label 4 occurs among the test samples alone" in text for text in held.warnings)


def test_classes_that_are_hardly_classes_are_told(npz):
    """One class, a class for each sample, and classes that the chosen samples don't have."""
    one = npz.load(y=LABELS * 0)
    assert any("of one class" in text for text in one.warnings)
    with pytest.raises(InputError, match="single class"):
        build_problem(npz.config(loss="cross-entropy"), CPU, Path(os.devnull), lambda _: None)
    assert any("a class of its own" in text for text in npz.load(y=np.arange(N)).warnings)
    by_class = npz.load({"samples": 20}, y=np.sort(LABELS))
    assert any("of 2 of the 4 classes" in text for text in by_class.warnings)
    balanced = npz.load({"samples": 20, "selection": "balanced"}, y=np.sort(LABELS))
    assert balanced.warnings == ()
    assert any("targets are 3" in text for text in npz.load(y=np.full((N, 2), 3.0)).warnings)


@pytest.mark.parametrize(
    ("y", "parts"),
    [
        (np.where(LABELS == 1, -1, LABELS), ["-1", "whole numbers from 0"]),
        (LABELS * 2 - 1.0, ["-1", "whole numbers from 0"]),
        (LABELS + 0.25, ["0.25", "whole numbers from 0"]),
        (np.where(LABELS == 1, -1, LABELS)[:, None], ["-1", "whole numbers from 0"]),
        (np.ones((N, 0)), ["(60, 0)"]),
        (np.array(3), ["()", "one row a sample"]),
        (LABELS + 0j, ["complex128", "numbers"]),
        (np.array(["cat", "dog"])[LABELS % 2], ["<U3", "whole numbers"]),
        (np.array([b"cat", b"dog"])[LABELS % 2], ["|S3", "whole numbers"]),
        (np.datetime64("2020-01-01") + LABELS, ["datetime64", "numbers"]),
        (np.where(LABELS == 1, np.nan, LABELS)[:, None], ["15 of its values", "sample 1"]),
        (np.where(LABELS == 1, np.inf, LABELS), ["finite"]),
        (LABELS[:-1], ["60", "59"]),
        (np.ones((N, 2, 2)), ["classes (N,) or values (N, C)"]),
        (np.full((N, 1), 1e200) * GREY[:, 0, :1], ["1e+200", "float64"]),
    ],
    ids=["negative", "signs", "fraction", "negative-n1", "empty", "0-d", "complex", "text", "bytes",
         "dates", "nan", "inf", "count", "cube", "huge"],
)  # fmt: skip
def test_targets_that_are_neither_are_refused(npz, y, parts):
    sentence = npz.refusal(y=y)
    if "1e+200" in parts:  # whichever draw is the largest
        parts = ["e+199", "float64"]
    for part in parts:
        assert part in sentence


def test_training_and_test_targets_must_be_alike(npz):
    """Classes and values, or values of two widths."""
    for y, yt in (
        (LABELS, GREY[:8, 0, :1]),
        (GREY[:, 0, :1], LABELS[:8]),
        (GREY[:, 0, :2], GREY[:8, 0, :3]),
        (np.eye(4)[LABELS], LABELS[:8]),
    ):
        sentence = npz.refusal(y=y, xt=GREY[:8], yt=yt)
        assert "aren't alike" in sentence
        assert str(yt.shape) in sentence


# --- members, types and archives -------------------------------------------------------------------


def test_a_member_that_is_no_array_is_refused(npz):
    """numpy hands out members without its magic as bytes; only x, y, xt, yt are looked at."""
    with zipfile.ZipFile(npz.path, "w") as archive:
        archive.writestr("x", b"hello")
        archive.writestr("y", b"1,2,3")
    assert "member x is no array" in npz.broken()
    npz.write()
    with zipfile.ZipFile(npz.path, "a") as archive:
        archive.writestr("readme.txt", b"what this is")
        archive.writestr("meta.npy", b"no array either")
    assert npz.read().classes == 4


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (GREY + 1j, ["complex128", "real and imaginary"]),
        (np.full((N, 3), "a"), ["<U1"]),
        (np.full((N, 3), b"ab"), ["|S2"]),
        (np.full((N, 3), np.datetime64("2020-01-01")), ["datetime64", "floats"]),
        (np.full((N, 3), np.timedelta64(3, "s")), ["timedelta64", "floats"]),
        (np.zeros((N, 3), "V2"), ["|V2", "bfloat16"]),  # how numpy writes ml_dtypes' bfloat16
        (np.zeros((N, 3), [("a", "f4"), ("b", "i2")]), ["float32"]),
        (np.full((N, 3), None), ["Object arrays"]),
        (np.array(3.0), ["()", "one row a sample"]),
        (GREY[:, 0, 0], ["(60,)", "x[:, None]"]),
        (np.ones((N, 0)), ["(60, 0)"]),
        (np.ones((N, 0, 8)), ["(60, 0, 8)"]),
        (np.ones((0, 8)), ["0 samples"]),
        (GREY[:-1], ["59", "60"]),
    ],
    ids=["complex", "text", "bytes", "dates", "durations", "bfloat16", "records", "objects", "0-d",
         "flat", "no-features", "no-height", "no-samples", "count"],
)  # fmt: skip
def test_inputs_that_are_no_numbers_are_refused(npz, x, parts):
    sentence = npz.refusal(x=x)
    for part in parts:
        assert part in sentence
    if len(np.shape(x)) > 1 and len(x) == N:  # the test inputs are looked at in the same way
        assert parts[0].strip("()") in npz.refusal(xt=x, yt=LABELS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_placed(npz, value):
    x = GREY.copy()
    x[17, 3, 2:5] = value
    sentence = npz.refusal(x=x)
    assert "x must be finite" in sentence
    assert "3 of its values" in sentence
    assert "sample 17" in sentence
    sentence = npz.refusal(xt=x, yt=LABELS)
    assert "xt must be finite" in sentence


@pytest.mark.skipif(
    np.finfo(np.longdouble).max == np.finfo(float).max, reason="they are the same here"
)
def test_long_doubles_beyond_doubles_are_refused(npz):
    assert "finite numbers in float64" in npz.refusal(x=GREY * np.longdouble("1e400"))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.astype(">f8"),
        lambda x: x.astype(">f4"),
        lambda x: x.astype("<f2"),
        lambda x: np.asfortranarray(x),
        lambda x: x[::-1, :, ::2],
        lambda x: (x * 1000).astype(">u2"),
        lambda x: x > 0.5,
        lambda x: x.astype(np.longdouble),
    ],
    ids=[
        "big-endian",
        "big-endian-4",
        "half",
        "fortran",
        "strided",
        "uint16",
        "bool",
        "longdouble",
    ],
)
def test_every_type_of_number_is_read_by_its_value(npz, make):
    """Byte order, memory order and width don't matter; only bytes are scaled."""
    x = make(GREY)
    y = LABELS.astype(">i2")
    np.savez_compressed(npz.path, x=x, y=y)
    data = npz.read(standardize="none")
    np.testing.assert_array_equal(data.x[:, 0], x.astype(np.float64))
    np.testing.assert_array_equal(data.y.argmax(1), LABELS)
    assert data.facts["scaling"] == "none"
    assert str(x.dtype) in data.facts["inputs"]
    assert data.warnings == ()


def test_one_sample_is_enough(npz):
    data = npz.load(x=GREY[:1], y=np.array([0]))
    assert data.x.shape == (1, 1, 8, 8)
    assert float(data.x.std(correction=0)) == pytest.approx(1)
    assert "constant" in npz.refusal(x=np.ones((1, 1)), y=np.array([0]))


def test_archives_that_hold_a_name_twice_are_refused(npz):
    """Twice in the zip, with and without .npy, and test samples under both their names."""

    def member(array: np.ndarray) -> bytes:
        stream = io.BytesIO()
        np.save(stream, array)
        return stream.getvalue()

    for second in ("x.npy", "x"):
        npz.write()
        with zipfile.ZipFile(npz.path, "a") as archive:
            if second == "x.npy":
                with pytest.warns(UserWarning, match="Duplicate"):
                    archive.writestr(second, member(GREY + 1))
            else:
                archive.writestr(second, member(GREY + 1))
        assert "has x more than once" in npz.broken()
    two = {"xt": GREY[:5], "yt": LABELS[:5], "x_test": GREY[:6], "y_test": LABELS[:6]}
    assert "xt and yt and x_test and y_test" in npz.refusal(**two)
    assert "come together" in npz.refusal(x_test=GREY[:5])


def test_names_as_keras_has_them(npz):
    """x_train, y_train, x_test, y_test, as in its mnist.npz; two names for one thing are refused."""
    keras = {"x_train": GREY, "y_train": LABELS, "x_test": GREY[:5], "y_test": LABELS[:5]}
    np.savez(npz.path, **keras)
    data = npz.read()
    ours = npz.load(xt=GREY[:5], yt=LABELS[:5])
    assert torch.equal(data.x, ours.x)
    assert torch.equal(data.test_y, ours.test_y)
    assert "x and y and x_train" in npz.refusal(x_train=GREY)
    np.savez(npz.path, x=GREY, y_train=LABELS)
    assert "x and y_train" in npz.broken()
    np.savez(npz.path, x_train=GREY, labels=LABELS)
    assert "['labels', 'x_train']" in npz.broken()


def test_a_data_file_that_is_not_read_is_told(npz):
    """Named without data = "npz": the digits are trained on, and it is said."""
    config = RunConfig.build({"data_file": str(npz.write())}, "test")
    data = load_dataset(config, Path(os.devnull), lambda _: None)
    assert data.facts["data"] == "digits"
    assert any("`data_file` isn't read" in text for text in data.warnings)


def test_encrypted_truncated_and_unknown_compression_are_sentences(npz):
    npz.write()
    whole = npz.path.read_bytes()
    locked = bytearray(whole)
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := whole.find(magic, place + 1)) >= 0:
            locked[place + flags] |= 1
    npz.path.write_bytes(locked)
    assert "encrypted" in npz.broken()
    other = bytearray(whole)
    for magic, method in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = -1
        while (place := whole.find(magic, place + 1)) >= 0:
            other[place + method : place + method + 2] = struct.pack("<H", 97)
    npz.path.write_bytes(other)
    assert "not a readable .npz file" in npz.broken()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        npz.path.write_bytes(whole[:length])
        assert "not a readable .npz file" in npz.broken()


def test_a_header_that_promises_too_much_is_a_sentence(npz):
    """A forged shape asks for petabytes: no allocation is blamed on the settings of the run."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000000), }"
    header += b" " * (117 - len(header)) + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
    npz.write()
    with zipfile.ZipFile(npz.path) as archive:
        y = archive.read("y.npy")
    with zipfile.ZipFile(npz.path, "w") as archive:
        archive.writestr("x.npy", array)
        archive.writestr("y.npy", y)
    assert "memory" in npz.broken()


def test_data_beyond_the_memory_are_refused_before_they_are_read(npz, monkeypatch):
    """The only thing replaced is how much memory there is."""
    x = (GREY * 255).astype(np.uint8)
    monkeypatch.setattr(files, "memory", lambda: 1000)
    sentence = npz.refusal(x=x)
    assert "what it holds takes" in sentence
    monkeypatch.setattr(files, "memory", lambda: 16 * x.size - 1)  # the file fits, float64 doesn't
    sentence = npz.refusal(x=x)
    assert "bringing x and xt into one scale takes 6.14e-05 GB as float64" in sentence
    assert "fewer samples" in sentence
    monkeypatch.setattr(files, "memory", lambda: 16 * x.size)
    assert npz.load(x=x).classes == 4
    monkeypatch.setattr(files, "memory", lambda: 8 * N * N - 1)
    sentence = npz.refusal(x=np.arange(2.0 * N).reshape(N, 2), y=np.arange(N))
    assert "60 classes" in sentence
    assert "(N, 1) as floats" in sentence


def test_damaged_bytes_are_read_or_refused_but_never_a_traceback(npz):
    """A thousand small files with bytes changed at random: each is data, or a sentence."""
    np.savez_compressed(npz.path, x=GREY[:8], y=LABELS[:8])
    packed = npz.path.read_bytes()
    np.savez(npz.path, x=GREY[:8, :2, :2], y=LABELS[:8])
    plain = npz.path.read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    for turn in range(1000):
        damaged = bytearray(plain if turn % 2 else packed)
        for place in rng.integers(0, len(damaged), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        npz.path.write_bytes(damaged)
        try:
            files.read_npz(npz.path)
        except InputError:
            refused += 1
    assert refused > 500


def test_a_folder_and_a_pipe_are_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    for name in ("pipe.npz", "folder.npz"):
        with pytest.raises(InputError, match=rf"{name} is no file"):
            files.read_npz(tmp_path / name)


# --- scales ----------------------------------------------------------------------------------------

BYTES = RNG.integers(0, 256, size=(N, 8, 8)).astype(np.uint8)


@pytest.mark.parametrize("standardize", ["global", "none"])
@pytest.mark.parametrize("kind", ["float32", "int64", "uint16", "float64"])
def test_bytes_and_the_same_values_as_another_type_come_to_one_scale(npz, kind, standardize):
    """Either may be the training inputs: the test set is that of equal kinds, and it is told."""
    settings = {"standardize": standardize}
    same = npz.load(settings, x=BYTES, xt=BYTES[:20], yt=LABELS[:20])
    for x, xt in ((BYTES, BYTES.astype(kind)), (BYTES.astype(kind), BYTES)):
        mixed = npz.load(settings, x=x, xt=xt[:20], yt=LABELS[:20])
        factor = 1.0 if standardize == "global" or x.dtype == np.uint8 else 255.0
        torch.testing.assert_close(mixed.test_x, factor * same.test_x, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(mixed.x, factor * same.x, rtol=1e-12, atol=1e-12)
        assert any("two kinds" in text and kind in text for text in mixed.warnings)


def test_bytes_and_values_that_were_divided_before_come_to_one_scale(npz):
    """[0, 1] tells that the division was made; bytes of 0 and 1 themselves aren't divided."""
    share = (BYTES / 255).astype(np.float32)
    for x, xt in ((BYTES, share), (share, BYTES)):
        data = npz.load({"standardize": "none"}, x=x, xt=xt, yt=LABELS)
        np.testing.assert_allclose(data.test_x, data.x, rtol=1e-6)
        assert float(data.x.max()) == 1
    black_white = BYTES > 127
    for x, xt in (
        (black_white, black_white.astype(np.uint8)),
        (black_white.astype(np.uint8), black_white),
        (black_white.astype(np.uint8), black_white.astype(float)),
    ):
        data = npz.load({"standardize": "none"}, x=x, xt=xt, yt=LABELS)
        assert torch.equal(data.test_x, data.x)


@pytest.mark.parametrize("other", [GREY - 0.5, GREY * 1000, (GREY * 4095).astype(np.uint16)])
def test_bytes_and_values_that_bytes_cannot_have_are_refused(npz, other):
    for x, xt in ((BYTES, other), (other, BYTES)):
        sentence = npz.refusal(x=x, xt=xt, yt=LABELS)
        assert "one scale" in sentence
        assert "uint8" in sentence
        assert str(other.dtype) in sentence


@pytest.mark.parametrize("factor_and_shift", [(255, 0), (1 / 255, 0), (1, 50), (-30, 0)], ids=str)
def test_test_inputs_on_another_scale_are_told(npz, factor_and_shift):
    """One type, but one of the two was divided, or shifted: a warning with both ranges."""
    factor, shift = factor_and_shift
    data = npz.load(xt=GREY[:20] * factor + shift, yt=LABELS[:20])
    assert any("on one scale?" in text for text in data.warnings)
    near = npz.load(xt=GREY[:20] * 3 + 1, yt=LABELS[:20])
    assert near.warnings == ()


def test_constants_for_another_scale_are_told(npz):
    """Means of images in [0, 1] on floats up to 255, which aren't divided; right ones say nothing."""
    settings = {"standardize": "constants", "mean": [0.5], "deviation": [0.29]}
    told = npz.load(settings, x=BYTES.astype(float)).warnings
    assert any("don't fit the inputs" in text and "255" in text for text in told)
    assert npz.load(settings, x=BYTES).warnings == ()


@pytest.mark.parametrize(
    ("x", "settings"),
    [
        (GREY * 1e308, {}),
        (GREY * 1e200, {}),
        ((GREY - 0.5) * 1e160, {"standardize": "channels"}),
        (GREY * 1e-200, {}),
        (GREY * 1e-320, {}),
        (GREY * 1e160, {"standardize": "none"}),
        (GREY * 1e39, {"standardize": "none", "dtype": "float32"}),
        (GREY * 1e25, {"standardize": "none", "dtype": "float32"}),
        (GREY, {"standardize": "constants", "mean": [0], "deviation": [1e-170]}),
        ((GREY - 0.5) * 1e308 * 2, {}),
    ],
    ids=["1e308", "1e200", "channels", "1e-200", "subnormal", "none", "beyond-single", "its-square",
         "constants", "both-signs"],
)  # fmt: skip
def test_values_whose_squares_overflow_are_refused(npz, x, settings):
    """The range, and the precision that can't hold it; the same data scaled are read."""
    sentence = npz.refusal(settings, x=x)
    assert "scale them" in sentence
    assert settings.get("dtype", "float64") in sentence
    assert npz.load({"dtype": "float32"}, x=GREY * 1e30).warnings == ()


# --- what was read is told -------------------------------------------------------------------------


def test_facts_state_what_was_made_of_the_file(npz):
    """Types, shapes, layout, classes, ranges before and after, scaling."""
    x = RNG.integers(0, 200, size=(N, 6, 9, 3)).astype(np.uint8)
    data = npz.load({"samples": 40}, x=x, xt=x[:8], yt=LABELS[:8])
    share = x / 255
    assert data.facts["data"] == str(npz.path)
    assert data.facts["inputs"] == (
        f"x uint8 (60, 6, 9, 3), {x.min()} to {x.max()}; xt uint8 (8, 6, 9, 3), {x[:8].min()} to "
        f"{x[:8].max()}"
    )
    assert data.facts["layout"] == "channels-last, by their number"
    assert data.facts["sample_shape"] == "(3, 6, 9)"
    assert data.facts["scaling"] == "bytes divided by 255"
    assert data.facts["targets"] == "int64 (60,): 4 classes, labels 0 to 3"
    assert (data.facts["samples"], data.facts["test_samples"]) == ("40", "8")
    low, high = ((v - share.mean()) / share.std() for v in (share[:40].min(), share[:40].max()))
    assert f"standardised {low:.6g} to {high:.6g}" in data.facts["range"]
    assert f"mean [{share.mean():.6g}], deviation [{share.std():.6g}]" in data.facts["standardized"]


def test_small_moments_are_told_with_their_digits(npz):
    """Not as 0.0: six digits that count, whatever the size."""
    facts = npz.load(x=GREY * 1e-9).facts
    assert f"mean [{GREY.mean() * 1e-9:.6g}]" in facts["standardized"]


def test_shipped_presets_have_nothing_to_warn_of():
    """No false alarm on any preset whose data come with the program."""
    narrated: list[str] = []
    for name in presets.available():
        config = presets.load(name).config
        if config.problem == "network" and config.data == "digits":
            data = load_dataset(config, Path(os.devnull), narrated.append)
            assert data.warnings == ()
    assert narrated == []


def eostui(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = {
        name: str(folder / name) for name in ("EOSTUI_RUNS", "EOSTUI_SETTINGS", "EOSTUI_DATA")
    }
    return subprocess.run(
        [sys.executable, "-m", "eostui", *arguments], cwd=folder, capture_output=True, text=True,
        env={**os.environ, **places, "COLUMNS": "300"}, timeout=120, check=False,
    )  # fmt: skip


def test_doctor_tells_of_data_before_a_run(npz):
    """As lines, as JSON, and as a refusal with exit code 2; settings decide as in a run."""
    folder = npz.path.parent
    npz.write(x=RNG.random((N, 16, 12, 5)), y=LABELS[:, None])
    done = eostui(folder, "doctor", "--data", "data.npz")
    assert (done.returncode, done.stdout) == (2, "")
    assert "`layout`" in done.stderr
    assert "Traceback" not in done.stderr
    chosen = ("--set", "layout=channels-last", "--set", "samples=30")
    done = eostui(folder, "doctor", "--data", "data.npz", *chosen)
    assert done.returncode == 0, done.stderr
    for part in ("(5, 16, 12)", "channels-last", "4 classes", "samples       30", "warning"):
        assert part in done.stdout
    done = eostui(folder, "doctor", "--data", "data.npz", *chosen, "--json")
    told = json.loads(done.stdout)
    assert told["sample_shape"] == "(5, 16, 12)"
    assert any("(60, 1): classes" in text for text in told["warnings"])


def test_doctor_takes_data_sets_and_downloads_nothing(tmp_path):
    done = eostui(tmp_path, "doctor", "--data", "digits")
    assert "uint8 (1797, 8, 8), 0 to 16" in done.stdout
    done = eostui(tmp_path, "doctor", "--data", "cifar10")
    assert done.returncode == 2
    assert (
        f"cifar10 isn't in {tmp_path / 'EOSTUI_DATA'}; a run would download 170 MB" in done.stderr
    )
    assert not (tmp_path / "EOSTUI_DATA").exists()
    assert eostui(tmp_path, "doctor", "--set", "samples=3").returncode == 2
    checks = json.loads(eostui(tmp_path, "doctor", "--json").stdout)
    assert {"torch", "devices", "digits"} <= {check["name"] for check in checks}


RUN = ["--steps", "20", "--set", "width=4", "--set", "data=npz", "--set", "data_file=data.npz"]


def test_a_run_narrates_and_records_what_was_read(npz):
    """On stderr at the start; in `runs show`, in its JSON and in the JSON file beside an export."""
    folder = npz.path.parent
    npz.write(x=BYTES, y=LABELS[:, None], xt=BYTES[:20].astype(np.float32), yt=LABELS[:20, None])
    done = eostui(folder, "run", "digits-mlp", "--headless", "--set", "samples=all", *RUN)
    assert done.returncode == 0, done.stderr
    for part in ("uint8 (60, 8, 8)", "two kinds", "(60, 1): classes", "to one scale"):
        assert part in done.stderr
    assert done.stdout.strip().startswith(str(folder / "EOSTUI_RUNS"))
    shown = eostui(folder, "runs", "show").stdout
    for part in (
        "height, width: one channel",
        "x divided by 255, xt by 255",
        "4 classes",
        "two kinds",
    ):
        assert part in shown
    facts = json.loads(eostui(folder, "runs", "show", "--json").stdout)["facts"]
    assert facts["problem.sample_shape"] == "(1, 8, 8)"
    assert len(facts["problem.warnings"].splitlines()) == 3
    assert eostui(folder, "export", "-o", "run.csv").returncode == 0
    beside = json.loads((folder / "run.json").read_text())["run"]
    assert beside["problem.targets"] == facts["problem.targets"]


def test_a_refused_file_leaves_no_run(npz):
    """label 2³¹: the sentence and exit code 2, where memory was blamed before."""
    folder = npz.path.parent
    npz.write(y=np.where(np.arange(N) == 3, 2**31, LABELS))
    done = eostui(folder, "run", "digits-mlp", "--headless", "--set", "samples=all", *RUN)
    assert done.returncode == 2
    assert "2147483648" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == [npz.path]


def test_the_live_view_says_what_may_not_be_meant(npz):
    """In a real terminal: the warning stands on the run's own screen, not only while it starts."""
    folder = npz.path.parent
    npz.write(y=LABELS[:, None])
    terminal = Terminal(
        "run", "digits-mlp", "--set", "samples=all", *RUN[2:], "--steps", "1000000",
        cwd=folder, EOSTUI_RUNS=str(folder / "runs"),
    )  # fmt: skip
    terminal.wait_for(r"\(60, 1\): classes", r"RUNNING +step")
    terminal.send("q")
    terminal.wait_for("stop it")
    terminal.send("s")
    assert terminal.exit_code() == 0


# --- presets from elsewhere ------------------------------------------------------------------------

PRESET = "# Mine: λ late.\n# Second.\neta = 0.3\nweight_decay = 1e-3\n"


@pytest.mark.parametrize(
    "content",
    [
        PRESET.encode("utf-8-sig"),
        PRESET.encode("utf-16"),
        b"\xfe\xff" + PRESET.encode("utf-16-be"),
        PRESET.replace("\n", "\r\n").encode("utf-8-sig"),
        PRESET.replace("\n", "\r\n").encode(),
        PRESET.replace("\n", "\r").encode(),
        PRESET.rstrip().encode(),
    ],
    ids=["mark", "utf-16", "utf-16-be", "mark-crlf", "crlf", "cr", "no-newline"],
)
def test_presets_as_other_systems_write_them_are_read(tmp_path, content):
    """A byte order mark, UTF-16 with its mark, other line ends; by every command that reads one."""
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    preset = presets.load(str(file))
    assert (preset.config.eta, preset.config.weight_decay) == (0.3, 1e-3)
    assert preset.description == "Mine: λ late.\nSecond."


def test_a_preset_with_a_mark_by_the_command_line(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_bytes(PRESET.encode("utf-16"))
    assert eostui(tmp_path, "presets", "validate", "mine.toml").returncode == 0
    assert eostui(tmp_path, "presets", "show", "mine.toml").stdout == PRESET
    file.write_bytes(
        b"\xef\xbb\xbf"
        + (locations.shipped("presets") / "oscillator" / "oscillator-gx.toml").read_bytes()
    )
    done = eostui(tmp_path, "simulate", "mine.toml", "--steps", "5")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (PRESET.encode("utf-16-le"), "zero bytes"),
        (b"eta = 0.3\n# caf\xe9\n", "line 2"),
        ("eta = 0.3\nnetwork = “mlp”\n".encode(), "left double quotation mark"),
        ("\u00a0eta = 0.3\n".encode(), "no-break space"),
        (b"eta = 0,3\n", "not valid TOML"),
    ],
    ids=["utf-16-without-mark", "latin-1", "quotes", "space", "comma"],
)
def test_presets_that_are_no_toml_say_what_stands_there(tmp_path, content, part):
    file = tmp_path / "mine.toml"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        presets.load(str(file))
    assert str(file) in str(caught.value)
    assert part in str(caught.value)
