"""Run directories of random rows, written without an engine."""

from __future__ import annotations

import numpy as np

from eostui.config import RunConfig
from eostui.runs.store.writer import RunWriter


def facts_of(**facts):
    config = RunConfig.build({"preset": "test"}, "test").to_toml()
    return {"config": config, "status": "finished", "created": "1.0", "name": "", **facts}


def rows(count, seed=0):
    """Stored rows as an engine might write them: η and λ change on the way, decay spares biases."""
    rng = np.random.default_rng(seed)
    norm = rng.uniform(5, 9, count)
    eta = rng.choice([0.02, 0.1, 0.15], count)
    decay = rng.choice([0.0, 0.001, 0.3], count)
    arrival = rng.normal(12, 1, count)
    if count:
        arrival[0] = np.nan
    loss = rng.lognormal(size=count)
    return np.stack([loss, norm, norm * rng.uniform(0.5, 1, count), arrival, eta, decay], axis=1)


def written(path, matrix, measurements=(), **facts):
    """Make a run directory with these rows, and close it."""
    writer = RunWriter(path, facts_of(**facts))
    if len(matrix):
        writer.steps(0, matrix)
    for step, values in measurements:
        writer.measurement(step, values)
    writer.close()
    return path
