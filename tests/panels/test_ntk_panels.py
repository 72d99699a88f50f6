"""The panels of the NTK: its largest eigenvalues, its alignment, and Weyl's inequality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_runs import train

from eostui.config import RunConfig
from eostui.panels import PANELS
from eostui.panels.crosshair import values_at
from eostui.panels.panel import chart_of, title_of
from eostui.panels.view import RunView
from eostui.probes import ntk as ntk_probe
from eostui.problems import build_problem

pytestmark = pytest.mark.usefixtures("one_thread")
BY_NAME = {panel.name: panel for panel in PANELS}


def trained(folder: Path, small_files, **values) -> RunView:
    """A view of a small run of 12 steps: S at every second, kernels at every fourth."""
    settings = {
        "data": "npz", "data_file": str(small_files["mlp"]), "width": 4, "activation": "tanh",
        "dtype": "float64", "device": "cpu", "threads": 1, "eta": 0.3, "steps": 12, "cadence": 2,
        "ntk_cadence": 4, "ntk_samples": 5, **values,
    }  # fmt: skip
    config = RunConfig.build(settings, "test")
    problem = build_problem(config, torch.device("cpu"), Path(), lambda _: None)
    run, status = train(folder, config, problem)
    assert status == "finished"
    return RunView(run, "finished")


@pytest.fixture
def view(tmp_path, small_files):
    return trained(tmp_path, small_files, probes=("ntk", "weyl"))


def curves(panel: str, view: RunView):
    return {each.label: each for each in chart_of(BY_NAME[panel], view, "linear").curves}


def test_the_largest_eigenvalues_stand_beside_the_sharpness(view):
    drawn = curves("ntk", view)
    assert {"full", "summed", "traced", "batch", "S"} <= set(drawn)
    measured = view.run.measured
    known = ~np.isnan(measured["ntk_full"])
    assert drawn["full"].x.tolist() == [0, 4, 8, 12]
    np.testing.assert_array_equal(drawn["full"].y, measured["ntk_full"][known])
    assert drawn["S"].x.tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert "of 5 training samples" in title_of(BY_NAME["ntk"], view, "linear")


def test_the_gap_lies_below_its_bound(view):
    drawn = curves("weyl", view)
    assert (drawn["gap"].y <= drawn["‖R‖₂"].y * 1.001).all()
    assert len(drawn["gap"].y) == 4
    assert "full form, whole batch" in title_of(BY_NAME["weyl"], view, "linear")


def test_alignments_are_drawn_plain_and_centred(view):
    drawn = curves("alignment", view)
    assert set(drawn) == {
        f"{c}{form}" for form in ("full", "summed", "traced") for c in ("", "c. ")
    }
    np.testing.assert_array_equal(
        drawn["c. traced"].y, view.run.measured["ntk_traced_centred_alignment"][::2]
    )
    assert drawn["c. traced"].pattern == "dashed"


def test_the_crosshair_reads_what_the_export_has(view):
    read = {value.column: value for value in values_at(view, 9)}
    for panel in ("ntk", "weyl", "alignment"):
        for column in BY_NAME[panel].columns:
            assert read[column].step == 8
            assert read[column].value == view.run.measured[column][4]


def test_where_nothing_is_to_be_drawn_it_says_why(tmp_path, small_files, monkeypatch):
    bare = trained(tmp_path / "bare", small_files)

    def waiting(panel, view):
        chart = chart_of(BY_NAME[panel], view, "linear")
        assert not chart.curves
        return chart.waiting

    assert waiting("ntk", bare) == "no kernel: --probe ntk or weyl"
    assert waiting("alignment", bare) == "no kernel: --probe ntk"
    assert waiting("weyl", bare) == "no kernel: --probe weyl"
    entropy = trained(tmp_path / "entropy", small_files, loss="cross-entropy")
    assert "cross-entropy has no such bound" in waiting("weyl", entropy)

    def full(*_):
        raise MemoryError("no room for K")

    monkeypatch.setattr(ntk_probe, "kernels", full)
    failed = trained(tmp_path / "failed", small_files, probes=("ntk",))
    assert waiting("alignment", failed) == "the probe ntk was turned off"
    assert len(failed.run.steps) == 13
