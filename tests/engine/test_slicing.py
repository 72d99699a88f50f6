"""Slices at steps of a record: where θ lies on them, how far they go, along what there are none."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_runs import build, toy_config, train

from eostui.engine.slicing import Slicer, _Directions
from eostui.errors import InputError
from eostui.slices import DIRECTIONS, Extent, Plane, Slice

pytestmark = pytest.mark.usefixtures("one_thread")

ETA, DECAY = 0.02, 0.5


def config(**values):
    return toy_config("elliptical-valley", eta=ETA, steps=30, cadence=1, **values)


def slicer(run):
    return Slicer(run, run.config, Path(), lambda _: None, lambda *_: None)


@pytest.fixture
def run(tmp_path):
    with train(tmp_path, config(weight_decay=DECAY))[0] as run:
        yield run


def theta(run, step):
    return np.array([run.steps[name][step] for name in run.coordinates])


def test_the_steps_lie_where_they_lie(run):
    """Along −∇L, which a step leaves by ηλ times θ's part across it; L and S there are the record's."""
    (cut,) = slicer(run).slices([12], ["gradient"], Extent(reach=2.0, points=5))
    loss = build(run.config).loss
    before, here, after = (theta(run, step) for step in (11, 12, 13))
    gradient = torch.func.grad(loss)(torch.tensor(here)).numpy()
    down = -gradient / np.linalg.norm(gradient)
    assert [place.step for place in cut.places] == [11, 12, 13]
    for place, other in zip(cut.places, (before, here, after), strict=True):
        away = other - here
        assert place.x == pytest.approx(away @ down, abs=1e-14)
        assert place.off == pytest.approx(abs(away[0] * down[1] - away[1] * down[0]), abs=1e-12)
        assert place.loss == run.steps["loss"][place.step]
        assert place.sharpness == run.measured["sharpness"][place.step]
    across = here - (here @ down) * down
    assert cut.places[2].off == pytest.approx(ETA * DECAY * np.linalg.norm(across), rel=1e-9)
    np.testing.assert_allclose(cut.x, run.steps["step_norm"][12] * np.array([-2, -1, 0, 1, 2]))
    assert cut.loss[2] == run.steps["loss"][12]
    assert cut.sharpness[2] == pytest.approx(run.measured["sharpness"][12], rel=1e-10)
    assert cut.slope == pytest.approx(-np.linalg.norm(gradient), rel=1e-12)
    hessian = torch.func.hessian(loss)(torch.tensor(here)).numpy()
    assert cut.curvature == pytest.approx(down @ hessian @ down, rel=1e-10)
    assert list(cut.thresholds.values()) == pytest.approx([2 / ETA, 2 / ETA - DECAY])
    values = [float(loss(torch.tensor(here + x * down))) for x in cut.x]
    np.testing.assert_allclose(cut.loss, values, rtol=1e-12)


def test_a_series_has_one_width_and_one_side_of_u(run):
    steps = [4, 5, 6, 9]
    cuts = list(slicer(run).slices(steps, ["u", "sharpness"], Extent(points=3, reach=1.0)))
    assert [(cut.step, cut.along) for cut in cuts] == [
        (step, name) for step in steps for name in ("u", "sharpness")
    ]
    longest = max(run.steps["step_norm"][steps])
    assert {cut.x[-1] for cut in cuts} == {longest}
    # S rises along ∇S, by ‖∇S‖ at first
    for cut in cuts[1::2]:
        slope = (cut.sharpness[2] - cut.sharpness[0]) / (cut.x[2] - cut.x[0])
        assert slope > 0
    assert cuts[0].slope < 0  # downhill at first, and then on the side where it was
    loss, sided = build(run.config).loss, []
    for cut in cuts[::2]:
        here = torch.tensor(theta(run, cut.step))
        u = torch.linalg.eigh(torch.func.hessian(loss)(here))[1][:, -1]
        slope = float(torch.func.grad(loss)(here) @ u)
        assert abs(slope) == pytest.approx(abs(cut.slope), rel=1e-6)
        sided.append(u if slope * cut.slope > 0 else -u)
    assert all(float(a @ b) > 0 for a, b in pairwise(sided))
    (bounced,) = slicer(run).slices([5], ["u"], Extent(points=3, unit="bounce", reach=3.0))
    assert bounced.x[-1] == pytest.approx(3 * run.steps["bounce_norm"][5])
    (newest,) = slicer(run).slices([run.last_step], ["u"], Extent(points=3, reach=1.0))
    assert newest.x[-1] == run.steps["step_norm"][run.last_step - 1]
    assert [place.step for place in newest.places] == [run.last_step - 1, run.last_step]


def test_a_plane_holds_its_path_exactly_where_there_are_two_parameters(run):
    plane = slicer(run).plane(20, Extent(points=6, reach=1.5), 7)
    assert [place.step for place in plane.places] == list(range(13, 22))
    loss, here = build(run.config).loss, theta(run, 20)
    for place in plane.places:
        assert place.off < 1e-9
        assert math.hypot(place.x, place.y) == pytest.approx(
            np.linalg.norm(theta(run, place.step) - here), abs=1e-12
        )
        assert plane.x[0] <= place.x <= plane.x[-1]
        assert plane.y[0] <= place.y <= plane.y[-1]
    hessian = torch.func.hessian(loss)(torch.tensor(here))
    u = torch.linalg.eigh(hessian)[1][:, -1].numpy()
    up = np.array([-u[1], u[0]])
    signs = [(s, t) for s in (-1, 1) for t in (-1, 1)]
    fits = []
    for s, t in signs:
        at = here + s * plane.x[None, :, None] * u + t * plane.y[:, None, None] * up
        values = [[float(loss(torch.tensor(each))) for each in row] for row in at]
        fits.append(np.allclose(plane.loss, values, rtol=1e-9))
    assert fits.count(True) == 1  # the axes' signs are its own: one of the four
    assert Plane.of_json(plane.as_json()).places == list(plane.places)


def test_json_has_all_of_a_slice(run):
    (cut,) = slicer(run).slices([3], ["u"], Extent(points=3, sharpness=False))
    told = Slice.of_json(cut.as_json())
    assert np.isnan(told.sharpness).all()
    assert (told.x == cut.x).all()
    assert (told.places, told.thresholds) == (cut.places, cut.thresholds)


@pytest.mark.parametrize(
    ("loss", "name", "sentence"),
    [
        (lambda t: (t @ t) / 2 * 0, "gradient", "∇L is 0 at step 4"),
        (lambda t: 3 * t[0] ** 2 / 2 + t[1] ** 2 / 2, "sharpness", "∇S is 0 at step 4"),
    ],
)
def test_there_is_no_line_along_what_is_zero(loss, name, sentence):
    directions = of_loss(loss)
    if name != "gradient":
        directions.find(None)
    with pytest.raises(InputError, match=sentence):
        directions.unit(name)


def test_u_that_cannot_be_told_from_its_neighbour_is_told():
    directions = of_loss(lambda t: 2 * (t[0] ** 2 + t[1] ** 2) + t[2] ** 2 / 2)
    directions.find(None)
    (remark,) = directions.remarks("u")
    assert "step 4" in remark
    assert "can't be told from its neighbours" in remark
    assert directions.remarks("gradient") == []
    apart = of_loss(lambda t: 3 * t[0] ** 2 + 2 * t[1] ** 2 + t[2] ** 2 / 2)
    apart.find(None)
    assert apart.remarks("u") == []


def of_loss(loss) -> _Directions:
    rebuilt = SimpleNamespace(problem=SimpleNamespace(loss=loss))
    start = torch.tensor([0.3, 0.5, -0.2], dtype=torch.float64)
    return _Directions(rebuilt, start, config(), 4)


def test_what_does_not_move_has_no_length(tmp_path):
    """A run of one row has no step to count by: θ itself can be counted."""
    with train(tmp_path, config().changed({"steps": 1}, "test"))[0] as run:
        cut = slicer(run)
        with pytest.raises(InputError, match="say how far in θ"):
            list(cut.slices([0], ["u"], Extent(unit="bounce")))
        (found,) = cut.slices([0], ["u"], Extent(unit="theta", reach=0.5, points=3))
        assert found.x.tolist() == [-0.5, 0.0, 0.5]
    assert set(DIRECTIONS) == {"gradient", "u", "sharpness"}
