"""Samples as they lie in files: numbers, one row a sample, with as many targets as inputs."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eostui.errors import InputError

ChannelOrder = Literal["channels-last", "channels-first"]

#: Kinds of arrays that are numbers: switches (as 0 and 1), whole numbers with and without sign, floats.
_NUMBERS = "biuf"
#: Names of inputs and targets, and of those for testing, as one pair or the other (that of Keras).
_TRAINING = (("x", "y"), ("x_train", "y_train"))
_TESTING = (("xt", "yt"), ("x_test", "y_test"))


@dataclass(frozen=True)
class RawData:
    """Arrays as they were found, checked to be numbers that belong together.

    Attributes:
        source: the file or data set, for sentences.
        x: inputs, shape (N, …), of any numeric type.
        y: targets, shape (N,) or (N, …).
        test_x: held-out inputs, shaped like `x` but for N, or None.
        test_y: held-out targets, or None.
        layout: of images, where the source itself fixes it.
        classes: how many there are, where the source itself fixes it.
    """

    source: str
    x: NDArray[Any]
    y: NDArray[Any]
    test_x: NDArray[Any] | None = None
    test_y: NDArray[Any] | None = None
    layout: ChannelOrder | None = None
    classes: int | None = None

    def __post_init__(self) -> None:
        """Raise InputError if the arrays aren't numbers, or don't belong together."""
        _check(self.source, "x", self.x, "y", self.y)
        if self.test_x is None or self.test_y is None:
            return
        _check(self.source, "xt", self.test_x, "yt", self.test_y)
        if self.x.shape[1:] != self.test_x.shape[1:]:
            raise InputError(
                f"{self.source}: the samples of xt have shape {self.test_x.shape[1:]} and those of x "
                f"{self.x.shape[1:]}, but they must be equal"
            )


def read_npz(path: Path) -> RawData:
    """Read x, y (or x_train, y_train) and, where present, xt, yt (or x_test, y_test).

    Nothing in the file is unpickled.

    Raises:
        InputError: if there is no such file, it is damaged, lacks an array or has one twice, or what
            it has isn't numbers.
    """
    if not path.is_file():
        raise InputError(
            f"`data_file`: {path} is no file"
            if path.exists()
            else f"`data_file`: there is no file {path}"
        )
    try:
        if not zipfile.is_zipfile(path):  # numpy would take it for a pickle
            raise ValueError("it is no zip archive, as `numpy.savez` makes them")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _wanted(path, file.zip)}
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            f"{path}: there isn't memory enough to read it, or it is damaged ({error})"
        ) from None
    except Exception as error:  # zipfile, zlib and numpy raise anything on damaged bytes
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path}: not a readable .npz file: {reason}") from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy hands out other members as their bytes
            raise InputError(
                f"{path}: its member {name} is no array, as `numpy.savez` writes them, but other data"
            )
    return RawData(str(path), *arrays.values())


def refuse_beyond_memory(source: str, what: str, values: int, advice: str) -> None:
    """Raise InputError if so many float64 values are more than this machine's memory holds."""
    needed, there = 8 * values, memory()
    if needed > there:
        raise InputError(
            f"{source}: {what} takes {needed / 1e9:.3g} GB as float64, and this machine has "
            f"{there / 1e9:.3g} GB of memory: {advice}"
        )


def memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _wanted(path: Path, archive: zipfile.ZipFile) -> tuple[str, ...]:
    """Return the names of inputs and targets, and of the test samples' if there are any.

    Raises:
        InputError: if they are missing, can't be chosen from, or are larger than the memory.
    """
    sizes: dict[str, list[int]] = {}
    for member in archive.infolist():
        sizes.setdefault(member.filename.removesuffix(".npy"), []).append(member.file_size)
    training = _pair(path, sizes, _TRAINING, "training")
    if not training or not all(name in sizes for name in training):
        raise InputError(f"{path}: has arrays {sorted(sizes)}, but needs at least x and y")
    testing = _pair(path, sizes, _TESTING, "test")
    if not all(name in sizes for name in testing):
        raise InputError(f"{path}: test inputs and test targets must come together (xt and yt)")
    for name in (*training, *testing):
        if len(sizes[name]) > 1:
            raise InputError(f"{path}: has {name} more than once, so which is meant isn't known")
    size = sum(sizes[name][0] for name in (*training, *testing))
    refuse_beyond_memory(str(path), "what it holds", size // 8, "store fewer samples")
    return training + testing


def _pair(
    path: Path, names: Mapping[str, object], pairs: Sequence[tuple[str, str]], which: str
) -> tuple[str, ...]:
    """Return the one of these pairs of which a name is there, or (). Raises InputError for two."""
    there = [pair for pair in pairs if any(name in names for name in pair)]
    if len(there) > 1:
        both = " and ".join(name for pair in there for name in pair if name in names)
        raise InputError(f"{path}: has {both}, so which are the {which} samples isn't known")
    return there[0] if there else ()


def _check(source: str, x_name: str, x: NDArray[Any], y_name: str, y: NDArray[Any]) -> None:
    """Raise InputError if x and y aren't finite numbers, with as many samples in both."""
    for name, array in ((x_name, x), (y_name, y)):
        _check_numbers(source, name, array)
    if x.ndim < 2 or not y.ndim:
        name, array = (x_name, x) if x.ndim < 2 else (y_name, y)
        raise InputError(
            f"{source}: {name} has shape {array.shape}, but must be numbers with one row a sample"
            + (f": as {name}[:, None] each is a sample of one value" if array.ndim else "")
        )
    if len(x) != len(y) or not len(x):
        raise InputError(
            f"{source}: {x_name} has {len(x)} samples and its targets {y_name} have {len(y)}, "
            "but they must be equal and not 0"
        )
    for name, array in ((x_name, x), (y_name, y)):
        if not array.size:
            raise InputError(
                f"{source}: {name} has shape {array.shape}, so its samples hold no values"
            )
        _check_finite(source, name, array)


def _check_numbers(source: str, name: str, array: NDArray[Any]) -> None:
    kind = array.dtype.kind
    if kind in _NUMBERS:
        return
    advice = {
        "c": "store real and imaginary parts as values of their own",
        "V": "store it as float32 (numpy has no bfloat16, for one)",
        "M": "store times as floats, in a unit of your choice",
        "m": "store times as floats, in a unit of your choice",
    }.get(kind, "store classes as whole numbers from 0")
    raise InputError(f"{source}: {name} is of type {array.dtype}, but must be numbers: {advice}")


def _check_finite(source: str, name: str, array: NDArray[Any]) -> None:
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):  # of a wider type
        bad = ~np.isfinite(array.astype(np.float64, copy=False))
    if bad.any():
        first = int(np.flatnonzero(bad.reshape(len(array), -1).any(1))[0])
        raise InputError(
            f"{source}: {name} must be finite numbers in float64, but {int(bad.sum())} of its values "
            f"aren't (the first in sample {first})"
        )
