"""Targets as a loss takes them: classes one-hot, or values to fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.problems.files import RawData, refuse_beyond_memory
from eostui.problems.inputs import Warn, in_words, square_limit

#: Of the classes 0 … largest label, the share that may be absent from a file.
MOST_ABSENT = 0.5
#: Labels listed in a sentence.
_LISTED = 5


@dataclass(frozen=True)
class Targets:
    """Labels (N,), or values (N, C), of training and test samples.

    Attributes:
        y: int64 labels, shape (N,), or float64 values, shape (N, C).
        test_y: the same for held-out samples, or None.
        classes: how many outputs the network has for them; 0 for values.
        facts: how they were read.
    """

    y: NDArray[Any]
    test_y: NDArray[Any] | None
    classes: int
    facts: dict[str, str]

    def tensor(self, y: NDArray[Any]) -> Tensor:
        """Return some of them in float64, shape (N, C): one-hot for classes."""
        if not self.classes:
            return torch.from_numpy(y)
        return torch.nn.functional.one_hot(torch.from_numpy(y), self.classes).double()


def read_targets(config: RunConfig, raw: RawData, warn: Warn) -> Targets:
    """Tell classes from values.

    Classes are whole numbers from 0, of shape (N,) or integers of shape (N, 1), or one-hot rows; all
    other targets of shape (N, C) are values to fit.

    Raises:
        InputError: if targets are neither, training and test targets aren't alike, or more than
            `MOST_ABSENT` of the classes up to the largest label don't occur.
    """
    arrays = [raw.y] if raw.test_y is None else [raw.y, raw.test_y]
    names = ["y", "yt"][: len(arrays)]
    if all(_one_hot(array) for array in arrays) and len({a.shape[1] for a in arrays}) == 1:
        outputs = raw.y.shape[1]
        warn(f"the targets are one-hot, shape {raw.y.shape}: {outputs} classes")
        labels = [array.argmax(1).astype(np.int64) for array in arrays]
        return _classes(raw, labels, outputs, warn)
    flat = [_labels(raw.source, *each, warn) for each in zip(names, arrays, strict=True)]
    found = [array for array in flat if array is not None]
    if len(found) == len(arrays):
        largest, present = max(int(a.max()) for a in found), _present(found)
        _check_gaps(raw, largest, present)
        labels = [array.astype(np.int64) for array in found]
        return _classes(raw, labels, raw.classes or largest + 1, warn)
    if found or len({array.shape[1:] for array in arrays}) > 1:
        shapes = " and ".join(
            f"{name} {a.dtype} {a.shape}" for name, a in zip(names, arrays, strict=True)
        )
        raise InputError(
            f"{raw.source}: training and test targets aren't alike ({shapes}): both must be classes "
            "(N,), or values (N, C) with the same C"
        )
    values = [array.astype(np.float64) for array in arrays]
    for name, array in zip(names, values, strict=True):
        if np.abs(array).max() > square_limit(config.dtype):
            raise InputError(
                f"{raw.source}: {name} ranges from {in_words(array)}, the squares of which "
                f"{config.dtype} can't hold: scale them"
            )
    if raw.y.min() == raw.y.max():
        warn(f"all targets are {float(raw.y.min()):.6g}")
    told = f"{raw.y.dtype} {raw.y.shape}: {raw.y.shape[1]} values a sample, {in_words(raw.y)}"
    return Targets(values[0], values[1] if len(values) > 1 else None, 0, {"targets": told})


def _classes(raw: RawData, labels: list[NDArray[np.int64]], classes: int, warn: Warn) -> Targets:
    """Return labels as targets, with what is to be told of classes that don't occur."""
    refuse_beyond_memory(
        raw.source, f"one output for each of {classes} classes and sample",
        classes * sum(map(len, labels)),
        "if the targets are values to fit, give them the shape (N, 1) as floats",
    )  # fmt: skip
    present = _present(labels)
    training = _present(labels[:1])
    told = (
        f"{raw.y.dtype} {raw.y.shape}: {classes} classes, labels {min(present)} to {max(present)}"
    )
    if raw.classes is None:
        absent = _listed([label for label in range(classes) if label not in present])
        if absent:
            told += f", {len(present)} present"
            warn(
                f"the largest label is {max(present)}, but {len(present)} of {classes} classes occur: "
                f"none has label {absent}" + _from_one(present, classes)
            )
        elif held := _listed(sorted(present - training)):
            warn(f"label {held} occurs among the test samples alone")
        if len(present) == 1:
            warn("all samples are of one class")
        elif len(training) == len(labels[0]) > 2:
            warn(
                "every sample is a class of its own: values to fit have the shape (N, 1), as floats"
            )
    return Targets(labels[0], labels[1] if len(labels) > 1 else None, classes, {"targets": told})


def _labels(source: str, name: str, y: NDArray[Any], warn: Warn) -> NDArray[Any] | None:
    """Return the labels that `y` holds, shape (N,) in its own type; None where it holds values.

    Raises:
        InputError: if it can be neither.
    """
    whole = y.dtype.kind != "f" or bool((np.floor(y) == y).all())
    if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind != "f":
        warn(f"{name} is {y.dtype} of shape {y.shape}: classes (values to fit would be floats)")
        y = y[:, 0]
    elif y.ndim == 2:
        if y.shape[1] == 1 and whole:
            warn(f"{name} is {y.dtype} of shape {y.shape}: values to fit (classes are integers)")
        return None
    if y.ndim != 1:
        raise InputError(
            f"{source}: {name} has shape {y.shape}, but targets must be classes (N,) or values (N, C)"
        )
    if not whole or y.min() < 0:
        wrong = y[np.floor(y) != y] if not whole else y[y < 0]
        raise InputError(
            f"{source}: {name} has {float(wrong[0]):g} among its {len(y)} targets, which must be whole "
            "numbers from 0 (classes), or values of shape (N, C)"
        )
    if y.dtype.kind == "f":
        warn(
            f"{name} is {y.dtype}, but all whole numbers: classes (values would have shape (N, 1))"
        )
    return y


def _one_hot(y: NDArray[Any]) -> bool:
    """Return whether every row is 0 but for one 1."""
    if y.ndim != 2 or y.shape[1] < 2:
        return False
    ones = y == 1
    return bool((ones | (y == 0)).all() and (ones.sum(1) == 1).all())


def _check_gaps(raw: RawData, largest: int, present: set[int]) -> None:
    """Raise InputError if the network would have far more outputs than there are classes."""
    if raw.classes is not None:
        if largest >= raw.classes:
            raise InputError(
                f"{raw.source}: has the label {largest}, but only {raw.classes} classes: it is damaged"
            )
        return
    if len(present) < (1 - MOST_ABSENT) * (largest + 1):
        raise InputError(
            f"{raw.source}: the largest label is {largest}, but only {len(present)} different labels "
            f"occur, and the network would have {largest + 1} outputs: relabel them from 0 "
            "(numpy.unique(y, return_inverse=True)), or give values to fit the shape (N, 1) as floats"
        )


def _present(labels: list[NDArray[Any]]) -> set[int]:
    """Return the labels that occur, exactly, whatever their type."""
    return {int(label) for array in labels for label in np.unique(array)}


def _from_one(present: set[int], classes: int) -> str:
    """Return the likely cause where 0 alone is absent."""
    return " (are they counted from 1?)" if present == set(range(1, classes)) else ""


def _listed(labels: list[int]) -> str:
    return ", ".join(map(str, labels[:_LISTED])) + (", …" if len(labels) > _LISTED else "")
