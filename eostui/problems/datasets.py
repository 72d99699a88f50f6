"""Data sets: read, selected, standardised. What was made of them is stated in the run's facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eostui import locations
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.problems.augmentation import AugmentedImages, drawn_views, whole_images
from eostui.problems.downloads import load_torchvision
from eostui.problems.files import RawData, read_npz
from eostui.problems.inputs import compare_scales, in_words, read_inputs, standardiser
from eostui.problems.targets import Targets, read_targets


@dataclass(frozen=True)
class Dataset:
    """Samples ready for a network.

    Attributes:
        x: float64 inputs, shape (N, …): images as (N, channels, height, width).
        y: float64 targets, shape (N, C): one-hot for classes.
        test_x: held-out inputs, or None.
        test_y: held-out targets, or None.
        classes: number of classes; 0 for regression.
        images: what `x` and `test_x` are views of, the rows (views, 4) of `AugmentedImages`; None where
            they are the inputs themselves.
        facts: what was made of the data, for the record.
        warnings: what of that may not be meant, a sentence each.
    """

    x: Tensor
    y: Tensor
    test_x: Tensor | None
    test_y: Tensor | None
    classes: int
    images: AugmentedImages | None = None
    facts: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def load_dataset(
    config: RunConfig, data_dir: Path, narrate: Callable[[str], None], *, download: bool = True
) -> Dataset:
    """Load, select and standardise the configured data; narrate what may not be meant.

    Standardisation by the data's own mean and deviation takes them over all training samples in
    the file, before the selection. Test samples are the file's own; without any (digits), they are
    the training samples that were not selected.

    Raises:
        InputError: if the files are missing, broken, or don't fit the config.
    """
    warnings: list[str] = []

    def warn(text: str) -> None:
        warnings.append(text)
        narrate(f"{raw.source}: {text}")

    raw = _read(config, data_dir, narrate, download=download)
    inputs = read_inputs(config, raw, warn)
    targets = read_targets(config, raw, warn)
    if config.data_file and config.data != "npz":
        warn(f'`data_file` isn\'t read: `data` is "{config.data}", not "npz"')
    if config.data == "npz":
        read = {**inputs.facts, **targets.facts}
        narrate(f"{raw.source}: {read['inputs']} ({read['layout']}); y {read['targets']}")
    standardise = standardiser(config, inputs, warn)
    chosen = _select(config, raw.source, targets, warn)
    test_x, test_y = inputs.test_x, targets.test_y
    if test_x is None and len(chosen) < len(inputs.x):
        rest = np.setdiff1d(np.arange(len(inputs.x)), chosen)
        test_x, test_y = inputs.x[rest], targets.y[rest]
    if test_x is not None and test_y is not None and config.test_samples != "all":
        test_x, test_y = test_x[: config.test_samples], test_y[: config.test_samples]
    taken = inputs.x[chosen]
    x, held = standardise(taken), None if test_x is None else standardise(test_x)
    compare_scales(config, x, held, warn)
    y, facts = targets.tensor(targets.y[chosen]), {}
    train, test = torch.from_numpy(x), None if held is None else torch.from_numpy(held)
    images = None
    if copies := config.static_augmentation:
        images = AugmentedImages.of(raw.source, taken, test_x, standardise)
        train = drawn_views(len(taken), copies, config.seed)
        test = None if test_x is None else whole_images(len(test_x), before=len(taken))
        y = y.repeat(copies, 1)
        facts = {"static_augmentation": f"{copies} crops, flipped or not, of {len(taken)} images"}
    return Dataset(
        x=train,
        y=y,
        images=images,
        test_x=test,
        test_y=None if test_y is None else targets.tensor(test_y),
        classes=targets.classes,
        facts={
            "data": raw.source,
            **inputs.facts,
            **targets.facts,
            "samples": str(len(train)),
            "test_samples": str(0 if held is None else len(held)),
            "standardized": standardise.told,
            **facts,
            "range": f"{in_words(taken)}; standardised {in_words(x)}",
            **({"warnings": "\n".join(warnings)} if warnings else {}),
        },
        warnings=tuple(warnings),
    )


def _read(
    config: RunConfig, data_dir: Path, narrate: Callable[[str], None], *, download: bool
) -> RawData:
    if config.data == "digits":
        return replace(read_npz(locations.shipped("assets") / "digits.npz"), source="digits")
    if config.data == "npz":
        return read_npz(Path(config.data_file))
    narrate(f"reading {config.data} from {data_dir}")
    return load_torchvision(config.data, data_dir, narrate, download=download)


def _select(
    config: RunConfig, source: str, targets: Targets, warn: Callable[[str], None]
) -> NDArray[np.int64]:
    """Return the indices of the training samples; warn of classes that none of them has."""
    chosen = _chosen(config, source, targets)
    if targets.classes:
        there, taken = (len(np.unique(y)) for y in (targets.y, targets.y[chosen]))
        if taken < there:
            warn(
                f"the {len(chosen)} training samples are of {taken} of the {there} classes: "
                '`selection` = "balanced" takes equally many of each'
            )
    return chosen


def _chosen(config: RunConfig, source: str, targets: Targets) -> NDArray[np.int64]:
    y: NDArray[Any] = targets.y
    n = len(y) if config.samples == "all" else config.samples
    if n > len(y):
        raise InputError(f"`samples` is {n}, but {source} has only {len(y)} training samples")
    if config.selection == "first":
        return np.arange(n)
    if config.selection == "random":
        return np.sort(np.random.default_rng(config.seed).permutation(len(y))[:n])
    if not targets.classes:
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
