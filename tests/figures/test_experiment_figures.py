"""Figures of an experiment: its members' course, and what the criteria read, against made records."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import summarised

from eostui.cli.experiment_reports import entries_of
from eostui.experiments.drawings import Drawing, drawing_file, keep_drawings, stored_drawings
from eostui.experiments.experiment import load
from eostui.experiments.kept import keep, kept
from eostui.experiments.report import Entry
from eostui.experiments.results import judge, result_file, rows_of
from eostui.figures import experiment as figures
from eostui.sweeps.sweep import Sweep


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """An experiment of WD whose members' records are made."""
    experiment = load("wd-fig4-mlp")
    sweep = Sweep.create(tmp_path_factory.mktemp("runs"), experiment.plan(), "", "made")
    for member in sweep.members:
        summarised.make(member.path, member.config.weight_decay, member.config.seed, group=sweep.id)
    return experiment, sweep, rows_of(sweep, experiment)


def test_what_is_drawn_of_a_reading_is_what_it_read(read):
    """Points of S at rest over λ lie where the records rest; the bound of a level is a line."""
    _, sweep, rows = read
    picture, *_ = figures._read(read[0], rows)
    (points,) = picture.subplots[0].data
    decays = [member.config.weight_decay for member in sweep.members]
    assert points.x.tolist() == decays
    expected = [summarised.resting_sharpness(m.config.weight_decay, 10) for m in sweep.members]
    np.testing.assert_allclose(points.y, expected, atol=0.02)
    a3 = load("wd-a3")
    *_, ratio = figures._read(a3, rows)
    line = next(c for c in ratio.subplots[0].chart.curves if c.colour == "theory")
    assert (line.label, line.y.tolist()) == ("near 1", [1.0, 1.0])
    (points,) = ratio.subplots[0].data
    np.testing.assert_allclose(points.y, np.array(expected) / 20, atol=1e-3)


def test_the_figures_are_small_whole_and_the_same_each_time(read):
    drawings = figures.drawings_of(*read)
    assert [d.alternative.partition(" against ")[0] for d in drawings] == [
        "sharpness S", "resting_sharpness", "sharpness_at_100", "onset"
    ]  # fmt: skip
    for drawing in drawings:
        root = ElementTree.fromstring(drawing.svg)
        assert root.find("{http://www.w3.org/2000/svg}title").text == drawing.alternative
        assert len(drawing.svg) < 60_000
        assert "<script" not in drawing.svg
        assert not re.search(r'(href|src)="(?!#)', drawing.svg)  # it asks for nothing
    assert figures.drawings_of(*read) == drawings


def test_figures_that_are_kept_are_read_again_and_fewer_replace_more(tmp_path):
    file = tmp_path / "mine.paper.json"
    made = [Drawing.titled(f"<a> & {n}", f"<svg>{n}</svg>") for n in range(3)]
    keep_drawings(file, made)
    assert stored_drawings(file) == made
    assert drawing_file(file, 1).name == "mine.paper.1.svg"
    keep_drawings(file, made[:1])
    assert stored_drawings(file) == made[:1]
    assert not drawing_file(file, 2).exists()


def test_a_report_has_figures_that_cannot_be_kept(read, tmp_path, capsys):
    """As on a read-only disk, where removing a file that isn't there fails too."""
    experiment = read[0]
    sweep = Sweep.create(tmp_path, experiment.plan(), "", "made")
    for member in sweep.members:
        summarised.make(member.path, member.config.weight_decay, member.config.seed, group=sweep.id)
    judge(experiment, sweep)
    file = result_file(sweep, experiment)
    drawing_file(file, 20).mkdir()
    (entry,) = entries_of([experiment], tmp_path, paper_scale=False, drawn=True)
    assert len(entry.drawings) == 4
    assert stored_drawings(file) == []
    assert "the figures of wd-fig4-mlp aren't kept: " in capsys.readouterr().err


def test_kept_results_stay_when_others_are_kept(read, tmp_path):
    """Of experiments that aren't at hand now nothing is lost, and the twin isn't the paper's size."""
    experiment, sweep, rows = read
    first = Entry.of(
        experiment, result=judge(experiment, sweep, rows), drawings=[Drawing("a", "<svg/>")]
    )
    keep(tmp_path, first)
    other = load("wd-a3")
    keep(tmp_path, Entry.of(other))  # without a result: nothing to keep
    every = {(e.name, e.size): e for e in kept(tmp_path, [experiment, other, load("inst-fig1")])}
    assert every["wd-fig4-mlp", "twin"].result == first.result
    assert [d.svg for d in every["wd-fig4-mlp", "twin"].drawings] == ["<svg/>"]
    assert every["wd-fig4-mlp", "paper"].state == every["wd-a3", "twin"].state == "not kept"
    assert every["wd-fig4-mlp", "paper"].needs_gpu
    assert not every["wd-fig4-mlp", "twin"].needs_gpu
    assert ("inst-fig1", "paper") not in every  # its twin is of that size
