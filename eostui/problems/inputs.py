"""Inputs as a network takes them: channels first, bytes as shares, standardised."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.problems.files import ChannelOrder, RawData, refuse_beyond_memory

Floats = NDArray[np.float64]
Warn = Callable[[str], None]

#: Usual numbers of channels: grey, grey with alpha, RGB, RGB with alpha.
USUAL_CHANNELS = (1, 2, 3, 4)
#: Factor between deviations, and deviations between means, from which on scales are called different.
OTHER_SCALE = 10.0
#: Values within so many roundings of each other are called constant.
_ROUNDINGS = 4


#: Mean and deviation of CIFAR-10's channels, customary ones.
_MEAN, _DEVIATION = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2470, 0.2435, 0.2616])
#: Those of WHY's code: of each image the deviation within it, and the mean of these over images.
_WHY_MEAN = np.array([125.307, 122.961, 113.8575]) / 255
_WHY_DEVIATION = np.array([51.5865, 50.847, 51.255]) / 255
#: Customary ones of ImageNet, by which that code standardises once more before its VGG.
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (
    np.array([0.485, 0.456, 0.406]),
    np.array([0.229, 0.224, 0.225]),
)
#: Constants by the name that `standardize` has for them.
NAMED = {
    "cifar10": (_MEAN, _DEVIATION),
    "cifar10-why": (_WHY_MEAN, _WHY_DEVIATION),
    "cifar10-why-vgg": (
        _WHY_MEAN + _WHY_DEVIATION * _IMAGENET_MEAN, _WHY_DEVIATION * _IMAGENET_DEVIATION
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """Inputs in float64, before standardisation.

    Attributes:
        source: the file or data set, for sentences.
        x: shape (N, features), images (N, channels, height, width), or (N, …).
        test_x: the same for held-out samples, or None.
        rounding: relative rounding of the values in the file, 0 for whole numbers.
        facts: how they were read.
    """

    source: str
    x: Floats
    test_x: Floats | None
    rounding: float
    facts: dict[str, str]


def read_inputs(config: RunConfig, raw: RawData, warn: Warn) -> Inputs:
    """Bring inputs into one scale and layout.

    Bytes become [0, 1]; (N, H, W) gains one channel; (N, a, b, c) are images whose layout `layout`
    tells or, if that is "auto", the one of a and c that is a usual number of channels.

    Raises:
        InputError: if the layout is ambiguous, or training and test inputs can't be on one scale.
    """
    every = raw.x.size + (0 if raw.test_x is None else raw.test_x.size)
    refuse_beyond_memory(
        raw.source, "bringing x and xt into one scale", 2 * every, "store fewer samples"
    )
    layout, told = _layout(config, raw, warn)
    divisor, test_divisor, scaling = _divisors(raw, warn)
    inputs = _arranged(raw.x, divisor, layout)
    held = "" if raw.test_x is None else f"; xt {described(raw.test_x)}"
    return Inputs(
        source=raw.source,
        x=inputs,
        test_x=None if raw.test_x is None else _arranged(raw.test_x, test_divisor, layout),
        rounding=float(np.finfo(raw.x.dtype).eps) if raw.x.dtype.kind == "f" else 0.0,
        facts={
            "inputs": f"x {described(raw.x)}{held}",
            "layout": told,
            "sample_shape": str(inputs.shape[1:]),
            "scaling": scaling,
        },
    )


def described(array: NDArray[Any]) -> str:
    """Return type, shape and range of an array in words."""
    return f"{array.dtype} {array.shape}, {in_words(array)}"


def in_words(array: NDArray[Any]) -> str:
    """Return the range of an array in words."""
    return f"{float(array.min()):.6g} to {float(array.max()):.6g}"


def _layout(config: RunConfig, raw: RawData, warn: Warn) -> tuple[ChannelOrder | None, str]:
    """Return where the channels of (N, a, b, c) are, None for other shapes; and how that is known."""
    dimensions = raw.x.ndim - 1
    if dimensions != 3:
        if config.layout != "auto" and dimensions != 2:
            warn(f"`layout` is for images, but the samples of x have shape {raw.x.shape[1:]}")
        return None, {1: "vectors", 2: "height, width: one channel"}.get(dimensions, "taken as is")
    if raw.layout is not None:
        if config.layout not in ("auto", raw.layout):
            raise InputError(
                f'`layout` is "{config.layout}", but the images of {raw.source} are {raw.layout}'
            )
        return raw.layout, raw.layout
    if config.layout != "auto":
        return config.layout, f"{config.layout}, as `layout` says"
    found = _likely(*raw.x.shape[1:])
    if found is None:
        first, height, last = raw.x.shape[1:]
        raise InputError(
            f"{raw.source}: the samples of x have shape {raw.x.shape[1:]}, which may be {last} "
            f"channels of {first}×{height} or {first} channels of {height}×{last}: "
            'set `layout` to "channels-last" or "channels-first"'
        )
    return found, f"{found}, by their number"


def _likely(first: int, middle: int, last: int) -> ChannelOrder | None:
    """Return where the channels of images are, None if that can't be told.

    They are where their number is a usual one and the other's isn't; if the other reading alone makes
    the images square, as of feature maps (64, 4, 4), neither is likely.
    """
    few_first, few_last = first in USUAL_CHANNELS, last in USUAL_CHANNELS
    square_first, square_last = middle == last, first == middle
    if few_first and not few_last and (square_first or not square_last):
        return "channels-first"
    if few_last and not few_first and (square_last or not square_first):
        return "channels-last"
    return None


def _divisors(raw: RawData, warn: Warn) -> tuple[float, float, str]:
    """Return by what x and xt are divided, in words too: bytes by 255, and both to one scale.

    Where only one of them is bytes, the range of the other tells on which scale that is.

    Raises:
        InputError: if the other has values that bytes, or bytes divided by 255, can't have.
    """
    is_bytes = raw.x.dtype == np.uint8
    if raw.test_x is None or is_bytes == (raw.test_x.dtype == np.uint8):
        return (255.0, 255.0, "bytes divided by 255") if is_bytes else (1.0, 1.0, "none")
    stored, other = (raw.x, raw.test_x) if is_bytes else (raw.test_x, raw.x)
    both = f"x is {described(raw.x)}, and xt {described(raw.test_x)}"
    if other.min() < 0 or other.max() > 255:
        raise InputError(
            f"{raw.source}: {both}: one is bytes and the other has values that bytes can't have, so "
            "they aren't on one scale: store both with the same type"
        )
    if other.max() > 1:  # bytes stored as another type
        divisors = (255.0, 255.0) if is_bytes else (1.0, 1.0)
    else:  # divided by 255 before, unless the bytes are 0 and 1 themselves
        divisor = 255.0 if stored.max() > 1 else 1.0
        divisors = (divisor, 1.0) if is_bytes else (1.0, divisor)
    scaling = f"x divided by {divisors[0]:g}, xt by {divisors[1]:g}"
    warn(f"training and test inputs are of two kinds ({both}): {scaling}, to one scale")
    return *divisors, scaling


def _arranged(x: NDArray[Any], divisor: float, layout: ChannelOrder | None) -> Floats:
    values = x.astype(np.float64)
    if divisor != 1:
        values /= divisor
    if values.ndim == 3:
        values = values[:, None]
    elif layout == "channels-last":
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    return values


@dataclass(frozen=True)
class Standardiser:
    """Subtracts a mean and divides by a deviation, both shaped to broadcast over samples.

    Attributes:
        source: the file or data set, for sentences.
        mean: of what the inputs are before.
        deviation: likewise.
        dtype: the precision in which the result must have squares.
        told: what it does, in words.
    """

    source: str
    mean: Floats
    deviation: Floats
    dtype: str
    told: str

    @np.errstate(over="ignore")
    def __call__(self, values: Floats) -> Floats:
        """Standardise inputs. Raises InputError if the result can't be held."""
        result: Floats = (values - self.mean) / self.deviation
        if not max(result.max(), -result.min()) <= square_limit(self.dtype):
            raise InputError(
                f"{self.source}: the inputs range from {in_words(values)} and, standardised, from "
                f"{in_words(result)}, the squares of which {self.dtype} can't hold: scale them"
            )
        return result


@np.errstate(over="ignore", invalid="ignore")  # what overflows is refused by its value
def standardiser(config: RunConfig, inputs: Inputs, warn: Warn) -> Standardiser:
    """Return what standardises inputs, where by moments by those over all samples of `inputs.x`.

    Raises:
        InputError: if the inputs are constant, their moments or the result can't be held, or the
            constants of the config don't fit the channels.
    """
    mean, deviation = _moments(config, inputs, warn)
    told = f"mean {_digits(mean)}, deviation {_digits(deviation)}"
    if config.standardize == "pixels":
        told = f"{mean.size} means {in_words(mean)}, as many deviations {in_words(deviation)}"
    told = f"{config.standardize}: {told}"
    return Standardiser(inputs.source, mean, deviation, config.dtype, told)


def square_limit(dtype: str) -> float:
    """Return the largest value whose square a float of this precision holds."""
    return math.sqrt(np.finfo(dtype).max)


def _moments(config: RunConfig, inputs: Inputs, warn: Warn) -> tuple[Floats, Floats]:
    """Return the mean and deviation to standardise by, shaped to broadcast over samples."""
    x = inputs.x
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if config.standardize in NAMED:
        return _named(config.standardize, inputs)
    if config.standardize == "pixels":
        return _of_pixels(inputs, warn)
    axes = (0, 2, 3) if config.standardize == "channels" and x.ndim == 4 else None
    constant = _constant(inputs, axes)
    if config.standardize in ("constants", "none"):
        if constant:
            warn(constant)
        if config.standardize == "none":
            return np.zeros(shape[:1]), np.ones(shape[:1])
        channels = x.shape[1] if x.ndim == 4 else 1
        if len(config.mean) not in (1, channels):
            raise InputError(
                f"`mean` has {len(config.mean)} values, but the data has {channels} channels"
            )
        return np.reshape(config.mean, shape), np.reshape(config.deviation, shape)
    if constant:
        raise InputError(f"{inputs.source}: {constant} and can't be standardised")
    if config.standardize == "channels" and axes is None:
        warn('`standardize` is "channels", but x are no images: one mean and deviation for all')
    mean, deviation = x.mean(axes, keepdims=True), x.std(axes, keepdims=True)
    if not np.isfinite(deviation).all() or not (deviation > 0).all():
        raise InputError(
            f"{inputs.source}: the inputs range from {in_words(x)}, and float64 can't hold the "
            "squares that their deviation is made of: scale them"
        )
    return mean, deviation


def _named(name: str, inputs: Inputs) -> tuple[Floats, Floats]:
    """Return constants by their name, for images of three channels."""
    if inputs.x.ndim != 4 or inputs.x.shape[1] != 3:
        raise InputError(
            f'`standardize` is "{name}", which is of images with 3 channels, but the samples of '
            f"{inputs.source} have shape {inputs.x.shape[1:]}"
        )
    mean, deviation = (np.reshape(values, (1, 3, 1, 1)) for values in NAMED[name])
    return mean, deviation


def _of_pixels(inputs: Inputs, warn: Warn) -> tuple[Floats, Floats]:
    """Return the mean and deviation of each value of a sample over all samples, as Cohen et al. 2021.

    Values that are the same in all training samples have no deviation: they are divided by 1, and so 0.
    """
    x = inputs.x
    mean, deviation = x.mean(0, keepdims=True), x.std(0, keepdims=True)
    low, high = x.min(0, keepdims=True), x.max(0, keepdims=True)
    size = np.maximum(np.abs(low), np.abs(high))
    same = high - low <= _ROUNDINGS * inputs.rounding * size
    if same.all():
        raise InputError(
            f"{inputs.source}: all samples are the same, and can't be standardised by their deviation"
        )
    if not np.isfinite(deviation).all() or not (deviation[~same] > 0).all():
        raise InputError(
            f"{inputs.source}: the inputs range from {in_words(x)}, and float64 can't hold the "
            "squares that their deviation is made of: scale them"
        )
    if same.any():
        warn(
            f"{int(same.sum())} of the {same.size} pixels are the same in all training samples: they "
            "become 0"
        )
    return np.where(same, low, mean), np.where(same, 1.0, deviation)


def _constant(inputs: Inputs, axes: tuple[int, ...] | None) -> str:
    """Return that the inputs, or which of their channels, don't vary; "" if they do.

    The least and the largest value tell: a deviation is rarely exactly 0, since the mean is rounded.
    """
    low, high = inputs.x.min(axes).ravel(), inputs.x.max(axes).ravel()
    size = np.maximum(np.abs(low), np.abs(high))
    same = np.flatnonzero(high - low <= _ROUNDINGS * inputs.rounding * size)
    if not len(same):
        return ""
    at, beyond = float(low[same[0]]), float(high[same[0]])
    which = (
        "the inputs are"
        if axes is None
        else f"channel {same[0] + 1} of {len(low)} of the inputs is"
    )
    if at == beyond:
        return f"{which} constant ({at:.6g} everywhere)"
    return f"{which} constant but for rounding ({at:.17g} to {beyond:.17g})"


def compare_scales(config: RunConfig, x: Floats, test_x: Floats | None, warn: Warn) -> None:
    """Warn if standardised inputs show that constants don't fit, or that test inputs lie elsewhere."""
    mean, deviation = float(x.mean()), float(x.std())
    if config.standardize in ("constants", *NAMED) and (
        abs(mean) > OTHER_SCALE or not 1 / OTHER_SCALE < deviation < OTHER_SCALE
    ):
        which = "`mean` and `deviation`" if config.standardize == "constants" else "the constants"
        warn(
            f"{which} don't fit the inputs, which standardised by them have mean "
            f"{mean:.3g} and deviation {deviation:.3g}, {in_words(x)}"
        )
    if test_x is None or not deviation:
        return
    ratio, shift = float(test_x.std()) / deviation, abs(float(test_x.mean()) - mean) / deviation
    if ratio and (not 1 / OTHER_SCALE < ratio < OTHER_SCALE or shift > OTHER_SCALE):
        warn(
            f"standardised, training inputs range from {in_words(x)} and test inputs from "
            f"{in_words(test_x)}: are they on one scale?"
        )


def _digits(values: Floats) -> list[float]:
    return [float(f"{value:.6g}") for value in values.ravel()]
