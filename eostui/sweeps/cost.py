"""What members cost, before any of them ran: in proportion, to begin with the longest; in bytes.

`work` is good for an order, not for seconds: those are told by `eostui.sweeps.trial`, which takes steps.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from eostui.config import RunConfig
from eostui.cores import cores
from eostui.errors import InputError
from eostui.network_stages import STAGES
from eostui.runs.prune import shown_size

#: Of data sets: samples to train on, inputs, pixels of a channel.
_DATA = {"digits": (1797, 64, 64), "fashion-mnist": (60_000, 784, 784),
         "cifar10": (50_000, 3072, 1024), "cifar100": (50_000, 3072, 1024),
         "npz": (5000, 3072, 1024)}  # fmt: skip
_CLASSES = {"cifar100": 100}

#: Gradients that a measurement takes, for each eigenvalue.
_PRODUCTS = 8
#: Multiplications of a step that cost as much as what is spent on any step.
_FIXED = 3e6

#: Bytes of a run's record: of any, with its log of the newest; of a step; of a measurement.
_RECORD, _ROW, _READING = 5_000_000, 120, 700
#: Bytes of an engine: of its own, beside what all copies of a template share.
_ENGINE = 150_000_000


def parameters(config: RunConfig) -> int:
    """Return about how many parameters are trained."""
    return sum(weights for weights, _ in _layers(config))


def work(config: RunConfig) -> float:
    """Return what a run costs, in multiplications."""
    samples = 1 if config.problem != "network" else _samples(config)
    forward = sum(weights * places for weights, places in _layers(config)) * samples
    eigenvalues = config.eigenvalues if isinstance(config.eigenvalues, int) else 6
    measured = _PRODUCTS * eigenvalues / config.cadence
    return config.steps * (3 * forward * (1 + 2 * measured) + _FIXED * (1 + measured))


def record_bytes(config: RunConfig) -> float:
    """Return what the record of a run takes on disk at least, its newest checkpoint included."""
    readings = config.steps / config.cadence * _READING
    return _RECORD + config.steps * _ROW + readings + checkpoint_bytes(config)


def checkpoint_bytes(config: RunConfig) -> float:
    """Return about what one checkpoint takes: θ, u, and what dynamics and eigensolver carry on."""
    eigenvalues = config.eigenvalues if isinstance(config.eigenvalues, int) else 6
    size = 8 if config.dtype == "float64" else 4
    return parameters(config) * size * (6 + 2 * eigenvalues)


def memory_bytes(config: RunConfig) -> float:
    """Return about what an engine needs: data, activations and their derivatives, vectors like θ."""
    return _memory_bytes(config, 0 if config.chunk_size == "auto" else config.chunk_size)


def _memory_bytes(config: RunConfig, chunk_size: int) -> float:
    """Return what an engine needs with so many samples a chunk; 0 for all in one."""
    size = 8 if config.dtype == "float64" else 4
    samples = 1 if config.problem != "network" else _samples(config)
    samples = min(samples, chunk_size or samples)
    units = sum(_units(config))
    return _ENGINE + size * (samples * units * 8 + parameters(config) * 60)


def least_memory_bytes(config: RunConfig) -> float:
    """Return about what an engine can do with on a GPU: a chunk that it chooses may be of one sample."""
    return _memory_bytes(config, 1 if config.chunk_size == "auto" else config.chunk_size)


def default_workers(configs: Iterable[RunConfig]) -> int:
    """Return how many members train at once on this machine's CPUs: by cores, and by memory."""
    every = list(configs)
    by_memory = available_memory() * 0.8 / max(map(memory_bytes, every))
    return max(1, min(cores() // cores_taken(every), int(by_memory), len(every)))


def cores_taken(configs: Iterable[RunConfig]) -> int:
    """Return how many cores a member takes at most; where `threads` is "auto", one for each process."""
    return max(
        (1 if config.threads == "auto" else config.threads) * config.processes for config in configs
    )


def available_memory() -> float:
    """Return how many bytes of memory are free for programs; infinite where that isn't told."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return float("inf")


def free_bytes(folder: Path) -> float:
    """Return the room on the disk of a folder, which may not be there yet."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return float(shutil.disk_usage(there).free)


def refuse_disk(folder: Path, needed: float) -> None:
    """Raise InputError if the disk of a folder, which may not be there yet, has less room than needed."""
    free = free_bytes(folder)
    if needed > free:
        raise InputError(
            f"the sweep needs about {shown_size(needed)}, but the disk of {folder} has only "
            f"{shown_size(free)} free: choose another with --runs-dir, fewer members or fewer --steps"
        )


def _samples(config: RunConfig) -> int:
    most = _DATA[config.data][0]
    images = most if config.samples == "all" else min(config.samples, most)
    return images * max(config.static_augmentation, 1)


def _layers(config: RunConfig) -> list[tuple[int, int]]:
    """Return of each layer its weights, and how often each of them is multiplied for a sample."""
    if config.problem != "network":
        return [(10, 1)]
    _, inputs, pixels = _DATA[config.data]
    classes = _CLASSES.get(config.data, 10)
    if config.network == "mlp":
        sizes = [inputs, *[config.width] * config.depth, classes]
        return [(a * b, 1) for a, b in pairwise(sizes)]
    if config.network in STAGES:
        return [
            (9 * before * channels, places)
            for before, channels, places in _stage_convolutions(config, inputs, pixels)
        ] + [((config.stages or STAGES[config.network])[-1][0] * classes, 1)]
    layers, before = [], max(inputs // pixels, 1)
    for channels in config.channels:
        layers.append((config.kernel**2 * before * channels, pixels))
        before, pixels = channels, max(pixels // 4, 1)
    return [*layers, (before * pixels * classes, 1)]


def _stage_convolutions(config: RunConfig, inputs: int, pixels: int) -> list[tuple[int, int, int]]:
    """Return of each 3×3 convolution of a network of the papers: channels in and out, and places.

    Shortcuts and dense layers between stages and head are small beside them.
    """
    found, before = [], max(inputs // pixels, 1)
    for number, (channels, layers) in enumerate(config.stages or STAGES[config.network]):
        vgg = config.network.startswith("vgg")
        for _ in range(layers if vgg else 2 * layers + (not number)):
            places = max(pixels // 4**number, 1)
            found.append((before, channels, places))
            before = channels
    return found


def _units(config: RunConfig) -> list[int]:
    """Return the sizes of what is kept of a sample: its inputs, and each layer's outputs."""
    if config.problem != "network":
        return [10]
    _, inputs, pixels = _DATA[config.data]
    if config.network == "mlp":
        return [inputs, *[config.width] * config.depth]
    if config.network in STAGES:
        # of each convolution, what is normalised and what is activated are kept too
        layers = _stage_convolutions(config, inputs, pixels)
        return [inputs, *(3 * channels * places for _, channels, places in layers)]
    outputs = [channels * pixels // 4**n for n, channels in enumerate(config.channels)]
    unfolded = [config.kernel**2 * outputs[0]]
    return [inputs, *outputs, *unfolded]
