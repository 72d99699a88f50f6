"""INST's Fig. 1 from runs: regimes of γ against steps taken, R against dense eigenvectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import dense_hessian
from toy_runs import build, toy_config, train
from typer.testing import CliRunner

from eostui.cli.app import app
from eostui.diagonal_net import imbalance
from eostui.panels.orientation_map import (
    LOOKS,
    Regimes,
    Trajectory,
    imbalance_at,
    orientation_chart,
    regimes_chart,
    sharpest,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")

ETAS = (0.001, 0.011, 0.013)


def steps_of(start, degree, eta, count=1):
    """θ at every step, by autograd."""
    problem = build(toy_config("diagonal-net", {"start": start, "degree": degree}))
    theta = [problem.initial]
    for _ in range(count):
        slope = torch.func.grad(problem.loss)(theta[-1])
        theta.append(theta[-1] - eta * slope)
    return problem, torch.stack(theta).numpy()


@pytest.mark.parametrize(("start", "degree"), [([-0.1, 10.0], 2), ([0.7, -0.3], 4)])
def test_regimes_are_those_of_steps_that_are_taken(start, degree):
    problem, theta = steps_of(start, degree, 1e-3)
    regimes = Regimes.of(Trajectory("run", theta, 1e-3, 0.0, degree))

    def stepped(eta):
        return steps_of(start, degree, eta)[1][1]

    def b(at):
        return imbalance_at(*at.tolist(), degree)

    small = int(np.argmin(np.abs(start)))
    assert stepped(regimes.pole)[small] == pytest.approx(0, abs=1e-12)
    assert b(stepped(regimes.edge)) == pytest.approx(b(theta[0]), rel=1e-9)
    assert np.abs(np.subtract(*np.abs(stepped(regimes.zero)))) < 1e-9
    for eta, above in (
        (0.5 * regimes.pole, True),
        (0.99 * regimes.edge, True),
        (1.1 * regimes.edge, False),
    ):
        mine = Trajectory("run", np.stack([theta[0], stepped(eta)]), eta, 0.0, degree)
        assert (mine.growth() > 1) == above
        assert mine.growth() == pytest.approx(mine.growth_closed(eta), rel=1e-9)
    if degree == 2:  # the edge is 2/S at the minimum straight ahead, but for ξ = 1e-4
        minimum = torch.tensor([0.0, start[1]], dtype=torch.float64)
        values = torch.linalg.eigvalsh(dense_hessian(problem.loss, minimum))
        assert regimes.edge == pytest.approx(2 / float(values[-1]), rel=2e-4)


@pytest.mark.parametrize("degree", [2, 4])
def test_the_map_is_of_the_dense_hessians_eigenvector(degree):
    problem = build(toy_config("diagonal-net", {"start": [0.3, 2.0], "degree": degree}))
    for first, second in ((-0.1, 10.0), (0.4, -0.9), (1.5, 1.2)):
        at = torch.tensor([first, second], dtype=torch.float64)
        u = torch.linalg.eigh(dense_hessian(problem.loss, at))[1][:, -1].numpy()
        assert abs(np.dot(sharpest(first, second, degree), u)) == pytest.approx(1, rel=1e-12)
        b = imbalance_at(first, second, degree)
        ratio = max(abs(u)) / min(abs(u)) if abs(first) < abs(second) else abs(u[1] / u[0])
        assert b + np.hypot(b, 1) == pytest.approx(ratio, rel=1e-9)
    assert imbalance_at(0.0, 3.0, 2) == np.inf
    assert np.isnan(imbalance_at(0.0, 0.0, 2))
    assert sharpest(0.0, 3.0, 4) is None
    assert imbalance_at(0.3, 2.0, 2) == imbalance([0.3, 2.0], 1.2, 2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of the toy with three η, one with decay, and one of another toy."""
    folder = tmp_path_factory.mktemp("runs")
    others = {"decay": {"eta": 0.001, "weight_decay": 0.1}}
    for name, values in {**{f"eta-{eta}": {"eta": eta} for eta in ETAS}, **others}.items():
        config = toy_config("diagonal-net", {}, steps=20, cadence=20, **values)
        (place := folder / name).mkdir()
        train(place, config)[0].close()
    (place := folder / "other").mkdir()
    train(place, toy_config("quadratic", {}, steps=3, cadence=3))[0].close()
    return folder


def ids(folder, *names):
    return [str(next(iter(sorted((folder / name).iterdir())))) for name in names]


def test_charts_have_each_run_with_its_own_sign():
    theta = [steps_of([-0.1, 10.0], 2, eta, 20)[1] for eta in ETAS]
    runs = [Trajectory(str(eta), each, eta, 0.0, 2) for eta, each in zip(ETAS, theta, strict=True)]
    chart, (left, right) = regimes_chart(runs)
    assert left == 0
    assert right > 0.013
    assert [(spot.x, spot.sign) for spot in chart.spots] == [
        (eta, LOOKS[number][0]) for number, eta in enumerate(ETAS)
    ]
    assert [spot.y > 1 for spot in chart.spots] == [True, False, False]
    assert [mark.text for mark in chart.marks] == ["∞", "edge"]
    plane, ends = orientation_chart(runs)
    assert len(plane.spots) == 3 * 21
    assert ends[0] < theta[-1][:, 0].min() < theta[-1][:, 0].max() < ends[1]
    assert plane.shades is not None
    shaded = plane.shades.values(np.array([-0.5, 0.01, 0.5]), np.array([9.0]))
    assert shaded[0, 1] > shaded[0, 0] == shaded[0, 2]  # symmetric, and largest on the axis


def test_the_command_tells_and_draws_them(folder, tmp_path):
    runs, runner = ids(folder, *(f"eta-{eta}" for eta in ETAS)), CliRunner()
    done = runner.invoke(app, ["orientation", *runs, "--json"])
    told = json.loads(done.stdout)
    assert told["regimes"]["edge"] == pytest.approx(0.009999, rel=1e-5)
    assert [each["eta"] for each in told["runs"]] == [*ETAS]
    assert [each["orientation_after"] > each["orientation_start"] for each in told["runs"]] == [
        True, False, False,
    ]  # fmt: skip
    for size in (("--width", "120"), ("--width", "80", "--height", "24")):
        done = runner.invoke(app, ["orientation", *runs, *size])
        assert done.exit_code == 0
        assert "γ over η" in done.stdout
        assert "1 at 0.01000" in done.stdout
        assert max(map(len, done.stdout.splitlines()[: int(size[-1]) - 4])) <= 120
    target = tmp_path / "map.svg"
    assert runner.invoke(app, ["orientation", *runs, "-o", str(target)]).exit_code == 0
    assert target.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("names", "flags", "said"),
    [
        (["other"], [], "isn't of the toy diagonal-net with two parameters"),
        (["eta-0.001", "decay"], [], "differ in their λ"),
        (["eta-0.001"], ["--steps", "0"], "--steps is 0"),
        (["eta-0.001"], ["-o", "map.doc"], "map.doc"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(folder, names, flags, said):
    done = CliRunner().invoke(app, ["orientation", *ids(folder, *names), *flags])
    assert done.exit_code != 0
    assert said in str(done.exception)
