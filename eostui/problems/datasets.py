"""Data sets: read, selected, standardised. What was done is stated in the run's facts."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eostui import locations
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.problems.downloads import load_torchvision


@dataclass(frozen=True)
class Dataset:
    """Samples ready for a network.

    Attributes:
        x: float64 inputs, shape (N, …): images as (N, channels, height, width).
        y: float64 targets, shape (N, C): one-hot for classes.
        test_x: held-out inputs, or None.
        test_y: held-out targets, or None.
        classes: number of classes; 0 for regression.
        facts: what was done to the data, for the record.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor | None
    test_y: Tensor | None
    classes: int
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RawData:
    """Samples as they lie in their files: x as images (channels last) or vectors."""

    x: NDArray[Any]
    y: NDArray[Any]
    test_x: NDArray[Any] | None
    test_y: NDArray[Any] | None


def load_dataset(config: RunConfig, data_dir: Path, narrate: Callable[[str], None]) -> Dataset:
    """Load, select and standardise the configured data.

    Standardisation by the data's own mean and deviation takes them over all training samples in
    the file, before the selection. Test samples are the file's own; without any (digits), they are
    the training samples that were not selected.

    Raises:
        InputError: if the files are missing, broken, or don't fit the config.
    """
    raw = _read(config, data_dir, narrate)
    x, y = _inputs(raw.x), raw.y
    test_x = None if raw.test_x is None else _inputs(raw.test_x)
    if not np.isfinite(x).all() or (test_x is not None and not np.isfinite(test_x).all()):
        raise InputError(f"{_source(config)}: the inputs have values that aren't finite")
    mean, deviation = _moments(config, x)
    chosen = _select(config, y)
    test_y = raw.test_y
    if test_x is None and len(chosen) < len(x):
        rest = np.setdiff1d(np.arange(len(x)), chosen)
        test_x, test_y = x[rest], y[rest]
    if test_x is not None and test_y is not None and config.test_samples != "all":
        test_x, test_y = test_x[: config.test_samples], test_y[: config.test_samples]
    classes = _count_classes(config, y, test_y)

    def ready(inputs: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy((inputs - mean) / deviation)

    return Dataset(
        x=ready(x[chosen]),
        y=_targets(y[chosen], classes),
        test_x=None if test_x is None else ready(test_x),
        test_y=None if test_y is None else _targets(test_y, classes),
        classes=classes,
        facts={
            "data": _source(config),
            "samples": str(len(chosen)),
            "test_samples": str(0 if test_x is None else len(test_x)),
            "standardized": f"{config.standardize}: mean {mean.ravel().round(6).tolist()}, "
            f"deviation {deviation.ravel().round(6).tolist()}",
        },
    )


def _source(config: RunConfig) -> str:
    return config.data_file if config.data == "npz" else config.data


def _read(config: RunConfig, data_dir: Path, narrate: Callable[[str], None]) -> RawData:
    if config.data == "digits":
        return _read_npz(locations.shipped("assets") / "digits.npz")
    if config.data == "npz":
        return _read_npz(Path(config.data_file))
    narrate(f"reading {config.data} from {data_dir}")
    return RawData(*load_torchvision(config.data, data_dir, narrate))


def _read_npz(path: Path) -> RawData:
    """Read x, y and, where present, xt, yt (or x_test, y_test)."""
    if not path.is_file():
        raise InputError(f"`data_file`: there is no file {path}")
    try:
        if not zipfile.is_zipfile(path):  # numpy would take it for a pickle
            raise ValueError("it is no zip archive, as `numpy.savez` makes them")
        loaded = np.load(path, allow_pickle=False)
        with loaded as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable .npz file: {error}") from None
    if not {"x", "y"} <= arrays.keys():
        raise InputError(f"{path}: has arrays {sorted(arrays)}, but needs at least x and y")
    test_x = arrays.get("xt", arrays.get("x_test"))
    test_y = arrays.get("yt", arrays.get("y_test"))
    for name, inputs, targets in (("x", arrays["x"], arrays["y"]), ("xt", test_x, test_y)):
        if (inputs is None) != (targets is None):
            raise InputError(f"{path}: test inputs and test targets must come together (xt and yt)")
        if inputs is None or targets is None:
            continue
        if inputs.ndim < 2 or not np.issubdtype(inputs.dtype, np.number):
            raise InputError(
                f"{path}: {name} has shape {inputs.shape} of {inputs.dtype}, but must be numbers "
                "with one row a sample"
            )
        if len(inputs) != len(targets) or not len(inputs):
            raise InputError(
                f"{path}: {name} has {len(inputs)} samples and its targets {len(targets)}, "
                "but they must be equal and not 0"
            )
        if not np.issubdtype(targets.dtype, np.number) or not np.isfinite(targets).all():
            raise InputError(f"{path}: the targets of {name} must be finite numbers")
    for one, other in ((arrays["x"], test_x), (arrays["y"], test_y)):
        if other is not None and one.shape[1:] != other.shape[1:]:
            raise InputError(
                f"{path}: test samples have shape {other.shape[1:]} each and training samples "
                f"{one.shape[1:]}, but they must be equal"
            )
    return RawData(arrays["x"], arrays["y"], test_x, test_y)


def _inputs(x: NDArray[Any]) -> NDArray[np.float64]:
    """Bytes become [0, 1]; images with channels last become channels first; (N, H, W) gains one."""
    values = x.astype(np.float64)
    if x.dtype == np.uint8:
        values /= 255
    if values.ndim == 3:
        values = values[:, None]
    elif values.ndim == 4 and values.shape[-1] in (1, 2, 3, 4):
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return values


def _moments(
    config: RunConfig, x: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and deviation to standardise by, shaped to broadcast over samples."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if config.standardize == "constants":
        channels = x.shape[1] if x.ndim == 4 else 1
        if len(config.mean) not in (1, channels):
            raise InputError(
                f"`mean` has {len(config.mean)} values, but the data has {channels} channels"
            )
        return np.reshape(config.mean, shape), np.reshape(config.deviation, shape)
    if config.standardize == "none":
        return np.zeros(shape[:1]), np.ones(shape[:1])
    axes = None if config.standardize == "global" or x.ndim == 2 else (0, 2, 3)
    mean, deviation = x.mean(axes, keepdims=True), x.std(axes, keepdims=True)
    if not (deviation > 0).all():
        raise InputError(f"{_source(config)}: the inputs are constant and can't be standardised")
    return mean, deviation


def _select(config: RunConfig, y: NDArray[Any]) -> NDArray[np.int64]:
    """Return the indices of the training samples."""
    n = len(y) if config.samples == "all" else config.samples
    if n > len(y):
        raise InputError(
            f"`samples` is {n}, but {_source(config)} has only {len(y)} training samples"
        )
    if config.selection == "first":
        return np.arange(n)
    if config.selection == "random":
        return np.sort(np.random.default_rng(config.seed).permutation(len(y))[:n])
    if y.ndim != 1:
        raise InputError('`selection` is "balanced", but the targets aren\'t classes')
    labels = np.unique(y)
    if n % len(labels):
        raise InputError(
            f'`samples` is {n}, but with selection = "balanced" must be a multiple of the '
            f"{len(labels)} classes"
        )
    each = n // len(labels)
    members = [np.flatnonzero(y == label) for label in labels]
    smallest = min(len(member) for member in members)
    if each > smallest:
        raise InputError(
            f"`samples` is {n}, which is {each} a class, but the smallest class has {smallest}"
        )
    return np.sort(np.concatenate([member[:each] for member in members]))


def _count_classes(config: RunConfig, y: NDArray[Any], test_y: NDArray[Any] | None) -> int:
    """Return the number of classes, 0 for regression targets (N, C)."""
    every = y if test_y is None else np.concatenate([y, test_y])
    if every.ndim == 2:
        return 0
    if every.ndim != 1:
        raise InputError(f"{_source(config)}: the targets must be classes (N,) or values (N, C)")
    if not np.issubdtype(every.dtype, np.integer) or every.min() < 0:
        raise InputError(
            f"{_source(config)}: the targets must be whole numbers from 0 (classes), "
            "or values of shape (N, C)"
        )
    return int(every.max()) + 1


def _targets(y: NDArray[Any], classes: int) -> Tensor:
    if not classes:
        return torch.from_numpy(y.astype(np.float64))
    return torch.nn.functional.one_hot(torch.from_numpy(y.astype(np.int64)), classes).double()
