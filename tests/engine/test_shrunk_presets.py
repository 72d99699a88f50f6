"""Every preset trains and measures, shrunk; and a normalised network repeats to the bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from engines import here
from shrunk import shrunk
from typer.testing import CliRunner

from eostui import locations, presets
from eostui.cli.app import app
from eostui.runs.run import Run

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = sorted(file.stem for file in locations.shipped("presets").glob("*.toml"))


def preset(name: str) -> presets.Preset:
    return presets.load(str(locations.shipped("presets") / f"{name}.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_preset_trains_for_20_steps_and_measures(name, tmp_path):
    config = shrunk(preset(name).config, tmp_path)
    path = here(config, tmp_path)
    with Run(path) as run:
        assert run.facts["status"] == "finished", run.facts["sentence"]
        assert len(run.steps) == 21
        loss = "batch_loss" if "batch_loss" in run.steps else "loss"  # of every step
        assert np.isfinite(run.steps[loss][:-1]).all()
        measured = run.columns()
        at = np.isfinite(measured["sharpness"])
        assert measured["step"][at].tolist() == [0, 20]
        if config.problem == "network":
            assert np.isfinite(measured["test_loss"]).any()


def test_every_preset_of_a_paper_has_a_twin():
    """What trains on a download for hours has one on digits, of the same network and loss."""
    of_papers = [name for name in SHIPPED if name.startswith(("inst-", "why-"))]
    assert len(of_papers) >= 10
    for name in of_papers:
        config, twin = preset(name).config, preset(f"digits-{name}").config
        assert twin.data == "digits"
        for key in (
            "network",
            "loss",
            "warm_up",
            "dynamics",
            "weight_decay",
            "probes",
            "bias",
            "static_augmentation",
            "stop_at",
        ):
            assert getattr(config, key) == getattr(twin, key)
        assert bool(config.batch_norm_group) == bool(twin.batch_norm_group)


@pytest.mark.parametrize("chunk_size", [0, 10])
def test_a_normalised_network_replays_to_the_bit(chunk_size, tmp_path):
    """Its readings of test samples too: running statistics are no state of a run."""
    config = shrunk(preset("digits-inst-vgg10").config, tmp_path)
    path = here(config.changed({"chunk_size": chunk_size}), tmp_path)
    done = CliRunner().invoke(app, ["replay", str(path), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["identical"]
