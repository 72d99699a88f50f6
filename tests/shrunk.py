"""Presets made so small that each trains in a blink, on images of noise in the place of downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eostui.config import RunConfig
from eostui.locations import DOWNLOADS
from eostui.network_stages import STAGES

#: Shapes of images, half as wide and high as they are, and classes.
_KINDS = {
    "cifar10": ((16, 16, 3), 10), "cifar100": ((16, 16, 3), 100), "fashion-mnist": ((14, 14), 10),
}  # fmt: skip


def on_noise(config: RunConfig, folder: Path, samples: int = 40) -> RunConfig:
    """Return a config of a data set that is downloaded, on noise in its place; others as they are."""
    if config.problem != "network" or config.data not in DOWNLOADS:
        return config
    shape, classes = _KINDS[config.data]
    rng = np.random.default_rng(1)
    file = folder / f"{config.data}.npz"
    x, xt = (rng.integers(0, 256, (n, *shape), dtype=np.uint8) for n in (samples, 20))
    np.savez(file, x=x, y=np.arange(samples) % classes, xt=xt, yt=np.arange(20) % classes)
    fewer = {
        key: min(value, most)
        for key, most in (("samples", samples), ("test_samples", 20))
        if isinstance(value := getattr(config, key), int)
    }
    groups = min(config.batch_norm_group, samples // 4)
    chunks = groups if config.chunk_size and groups else 0
    changed = {"batch_norm_group": groups, "chunk_size": chunks, **fewer}
    return config.changed({"data": "npz", "data_file": str(file), **changed})


def shrunk(config: RunConfig, folder: Path) -> RunConfig:
    """Return a preset's config with 20 steps, few samples and a narrow network, all else as it is."""
    values: dict[str, Any] = {
        "steps": 20, "cadence": 20, "far_cadence": 0, "test_cadence": 20, "stop_at": [], "threads": 1,
        "tolerance": 0.3, "vector_tolerance": 0.9, "eigenvalues": 1, "pause_at": [],
        "calibrate_at": "never", "device": "cpu", "batch_size": min(config.batch_size, 9),
        "trace_samples": min(config.trace_samples, 9), "trace_draws": 2, "batch_sharpness_draws": 2,
        "controls": [c.model_dump() for c in config.controls if c.at is None or c.at <= 20],
    }  # fmt: skip
    config = on_noise(config, folder)
    if config.problem == "network":
        groups = 10 if config.batch_norm_group else 0
        copies = min(config.static_augmentation, 3)
        values |= {"samples": 27 // max(copies, 1), "static_augmentation": copies}
        values |= {"width": min(config.width, 16), "batch_norm_group": groups}
        values |= {"channels": [min(each, 4) for each in config.channels]}
        values |= {"chunk_size": 20 if config.chunk_size else 0}
        if config.network in STAGES:
            values |= {"stages": [(3, 1)]}
    return config.changed(values)
