"""Maps of two-parameter problems: what the engine computes and stores, and what is drawn of it."""

from __future__ import annotations

import csv
import sqlite3

import numpy as np
import pytest
import torch
from formats import as_format
from terminal import Terminal
from toy_runs import EXACT, toy_config, train

import eostui
from eostui.charts.contours import Contour, Map, draw_map
from eostui.config import RunConfig
from eostui.engine.landscape import map_landscape
from eostui.errors import RunFormatError
from eostui.problems import Problem
from eostui.runs import shelf
from eostui.runs.export import export_files
from eostui.runs.run import Run
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.rows import checksum
from eostui.runs.store.schema import seal

pytestmark = pytest.mark.usefixtures("one_thread")


def scalar_problem(loss):
    return Problem(torch.tensor([1.5, 0.2], dtype=torch.float64), loss, "test")


def axes(landscape):
    left, right, bottom, top = landscape.region
    rows, columns = landscape.loss.shape
    return np.meshgrid(np.linspace(left, right, columns), np.linspace(bottom, top, rows))


def test_maps_are_the_closed_forms_on_the_grid():
    """½(1 − xy)² and the larger eigenvalue of its Hessian written out, row by row from the bottom."""
    problem = scalar_problem(lambda theta: 0.5 * (1 - theta[0] * theta[1]) ** 2)
    found = map_landscape(problem, np.array([-2.0, -1.0]), np.array([3.0, 4.0]))
    assert found.region == (-2.0, 3.0, -1.0, 4.0)
    x, y = axes(found)
    np.testing.assert_allclose(found.loss, 0.5 * (1 - x * y) ** 2, rtol=1e-5, atol=1e-6)
    hessian = np.stack(
        [np.stack([y * y, 2 * x * y - 1], -1), np.stack([2 * x * y - 1, x * x], -1)], -1
    )
    wanted = np.linalg.eigvalsh(hessian)[..., -1]
    np.testing.assert_allclose(found.sharpness, wanted, rtol=1e-5, atol=1e-5)


def test_what_is_not_finite_is_nan():
    """A logarithm's other side stays blank; the rest of the map doesn't suffer."""
    problem = scalar_problem(lambda theta: torch.log(theta[0]) + theta[1] ** 2)
    found = map_landscape(problem, np.array([-1.0, -1.0]), np.array([1.0, 1.0]))
    x, _ = axes(found)
    assert np.isnan(found.loss[x < 0]).all()
    assert np.isfinite(found.loss[x > 0]).all()
    np.testing.assert_allclose(found.sharpness[x > 0], 2.0, rtol=1e-6)


def test_a_run_keeps_its_path_and_a_map_around_all_of_it(tmp_path):
    """θ at every step is descent written out; one map is kept, and the whole path lies on it."""
    config = toy_config("diagonal-net", eta=0.011, weight_decay=0.5, steps=80)
    run, _ = train(tmp_path, config)
    theta = np.array([-0.1, 10.0])
    path = [theta]
    for _ in range(80):
        slope = 2 * theta.prod() * theta[::-1]
        theta = (1 - 0.011 * 0.5) * theta - 0.011 * slope
        path.append(theta)
    found = np.stack([run.steps["theta_1"], run.steps["theta_2"]], axis=1)
    np.testing.assert_allclose(found, path, rtol=1e-9, atol=1e-12)
    left, right, bottom, top = run.landscape.region
    assert (found >= [left, bottom]).all()
    assert (found <= [right, top]).all()
    x, y = axes(run.landscape)
    np.testing.assert_allclose(run.landscape.loss, x**2 * y**2, rtol=1e-4, atol=1e-5)
    with sqlite3.connect(tmp_path / "r" / "run.db") as database:
        assert database.execute("SELECT COUNT(*) FROM landscapes").fetchone() == (1,)


def test_the_map_follows_a_run_that_goes_on(tmp_path):
    """A viewer that polls gets each newer map once."""
    run, _ = train(tmp_path, toy_config("two-layer-scalar", eta=0.1, steps=20))
    first = run.landscape
    assert not run.refresh()
    maps = np.zeros((2, 3, 4), np.float32)
    newer = Landscape((0.0, 1.0, 0.0, 1.0), *maps)
    cells = newer.to_cells()
    with sqlite3.connect(tmp_path / "r" / "run.db") as database:
        database.execute("DELETE FROM landscapes")
        database.execute(
            "INSERT INTO landscapes (left, right, bottom, top, rows, columns, maps, crc32) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*cells, checksum(cells[:-1], cells[-1])),
        )
        database.execute(seal())
    assert run.refresh()
    assert run.landscape is not first
    assert run.landscape.region == newer.region
    assert run.landscape.sharpness.shape == (3, 4)


def test_exports_have_the_coordinates_of_small_problems_only(tmp_path):
    """theta_1 and theta_2 for two parameters, theta_1 for one, neither for three."""
    for count in (1, 2, 3):
        folder = tmp_path / str(count)
        folder.mkdir()
        start = torch.arange(1.0, count + 1, dtype=torch.float64)
        problem = Problem(start, lambda theta: 0.5 * theta @ theta, "½‖θ‖²")
        config = RunConfig.build({**EXACT, "eta": 0.1, "steps": 5}, "test")
        run, _ = train(folder, config, problem)
        export_files(run, folder / "out.csv")
        with (folder / "out.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        wanted = [f"theta_{n}" for n in range(1, count + 1)] if count < 3 else []
        assert [name for name in rows[0] if name.startswith("theta_")] == ["theta_norm", *wanted]
        for index, name in enumerate(wanted):
            assert [float(row[name]) for row in rows] == pytest.approx(
                (index + 1) * 0.9 ** np.arange(6)
            )
        assert (run.landscape is not None) == (count == 2)


def test_runs_of_the_first_format_are_read(tmp_path):
    """Without the fact and the table that format 2 added, as older versions wrote them."""
    problem = Problem(torch.ones(3, dtype=torch.float64), lambda theta: theta @ theta / 2, "½‖θ‖²")
    config = RunConfig.build({**EXACT, "eta": 0.1, "steps": 5}, "test")
    train(tmp_path, config, problem)[0].close()
    as_format(tmp_path / "r", 1)
    run = eostui.open_run(tmp_path / "r")
    np.testing.assert_allclose(run.steps["theta_norm"], 3**0.5 * 0.9 ** np.arange(6))
    assert run.coordinates == []
    assert run.landscape is None


def test_a_damaged_map_is_named(tmp_path):
    """As damaged rows are."""
    train(tmp_path, toy_config("two-layer-scalar", eta=0.1, steps=20))[0].close()
    with sqlite3.connect(tmp_path / "r" / "run.db") as database:
        database.execute("UPDATE landscapes SET crc32 = crc32 + 1")
    with pytest.raises(RunFormatError, match="map is damaged"):
        Run(tmp_path / "r")


def test_a_loss_that_cannot_be_mapped_trains_all_the_same(tmp_path):
    """A loss that looks at its values can't be evaluated at many θ at once: said, not hidden."""

    def loss(theta):
        return theta @ theta if float(theta.detach()[0]) > -100 else theta.sum()

    run, status = train(
        tmp_path, toy_config("diagonal-net", eta=0.1, steps=20), scalar_problem(loss)
    )
    assert status == "finished"
    assert run.landscape is None
    (refusal,) = [event for event in run.events if event.kind == "unmapped"]
    assert refusal.payload["reason"].startswith("RuntimeError")


# --- drawing ------------------------------------------------------------------------------------------


def bowl(path, contours, **kwargs):
    x, y = np.meshgrid(np.linspace(-1, 1, 81), np.linspace(-1, 1, 81))
    drawn = Map(x**2 + y**2, (-1.0, 1.0, -1.0, 1.0), np.array(path), contours)
    return draw_map(drawn, 47, 22, **kwargs)  # 40 × 20 cells of map


def cells(mask):
    """Centres of the marked cells in the coordinates of the bowl."""
    rows, columns = np.nonzero(mask[:20, 6:46])
    return (columns + 0.5) / 20 - 1, 1 - (rows + 0.5) / 10


def test_a_contour_lies_where_the_map_has_its_value():
    """On the bowl the line of 0.36 is the circle of radius 0.6, all the way round."""
    grid = bowl([(0.0, 0.0)], [Contour(0.36, "sharpness")])
    x, y = cells(grid.colours == "sharpness")
    np.testing.assert_allclose(np.hypot(x, y), 0.6, atol=0.08)
    angles = np.sort(np.arctan2(y, x))
    assert np.diff(angles).max() < 0.4
    assert not (bowl([(0.0, 0.0)], [Contour(5.0, "sharpness")]).colours == "sharpness").any()


def test_shades_rise_with_the_map_and_blank_out_nan():
    """Darker towards the corners; a NaN half shows nothing."""
    order = " ░▒▓█"
    grid = bowl([(0.9, 0.9)], [])
    levels = [order.index(chr(code)) for code in grid.codes[10, 6:46]]
    assert levels[:20] == sorted(levels[:20], reverse=True)
    assert levels[20:] == sorted(levels[20:])
    assert levels[20] == 0
    assert levels[-1] >= 3
    values = np.full((9, 9), np.nan)
    values[:, 5:] = 1.0
    drawn = Map(values, (0.0, 1.0, 0.0, 1.0), np.empty((0, 2)))
    grid = draw_map(drawn, 47, 22)
    assert (grid.codes[:20, 6:25] == ord(" ")).all()


def test_the_path_ends_at_a_sign_of_its_own():
    """Every point leaves a dot, NaN none; the newest is ● in the cell where it lies, @ in ASCII."""
    path = [(-0.97, -0.97), (np.nan, 0.0), (0.5, 0.5)]
    for unicode, sign in ((True, "●"), (False, "@")):
        grid = bowl(path, [], unicode=unicode)
        x, y = cells(grid.codes == ord(sign))
        assert (list(x), list(y)) == ([pytest.approx(0.525)], [pytest.approx(0.45)])
        assert grid.colours[19, 6] in ("path", "loss")
    assert not any(ord(c) > 127 for c in grid.text().replace("│", "").replace("─", "")
                   .replace("└", "").replace("┤", "").replace("┬", ""))  # fmt: skip
    outside = bowl([(3.0, 0.0)], [])
    assert "●" not in outside.text()


def test_a_map_too_small_to_draw_is_blank():
    """No cell for the map, no error."""
    drawn = Map(np.ones((4, 4)), (0.0, 1.0, 0.0, 1.0), np.zeros((1, 2)))
    assert draw_map(drawn, 8, 2).text().strip() == ""


# --- the screen ---------------------------------------------------------------------------------------


def test_the_screen_by_keys(tmp_path):
    """tab shows both maps; the contour's value follows η; further tabs return."""
    terminal = Terminal(
        "run", "toy-elliptical-valley", "--set", "steps=100000000", "--set", "pause_at=[]",
        cwd=tmp_path, EOSTUI_RUNS=str(tmp_path / "runs"),
    )  # fmt: skip
    terminal.wait_for("RUNNING", timeout=90)
    terminal.wait_for(r"S \d", timeout=30)
    terminal.send("\t")
    terminal.wait_for(r"contour 2/η 28\.6", "loss L over", "●")
    terminal.send("e")
    terminal.wait_for("learning rate η")
    terminal.send("0.05\r")
    terminal.wait_for(r"contour 2/η 40\.0")
    terminal.send("w")
    terminal.wait_for("weight decay λ")
    terminal.send("0.5\r")
    terminal.wait_for(r"dotted 2/η−λ 39\.5")
    terminal.resize(80, 24)
    terminal.wait_for(r"contour 2/η 40\.0")
    terminal.resize(20, 5)
    terminal.wait_for("● θ")
    terminal.resize(120, 40)
    terminal.wait_for("loss L over")
    terminal.send("\t")
    terminal.wait_for("phase portrait")
    terminal.send("\x1bOQ")
    terminal.wait_for("drives")
    terminal.send("q")
    terminal.wait_for("stop it")
    terminal.send("s")
    assert terminal.exit_code() == 0
    (entry,) = shelf.entries(tmp_path / "runs")
    with eostui.open_run(entry.path) as run:
        assert run.coordinates == ["theta_1", "theta_2"]


def test_runs_of_more_parameters_get_a_sentence(tmp_path):
    """How many it has, and where a map can be seen; tab passes such a screen by."""
    run, _ = train(tmp_path, toy_config("deep-linear", {"depth": 1, "width": 2}, eta=0.1, steps=5))
    run.close()
    terminal = Terminal("attach", str(tmp_path / "r"), cwd=tmp_path, EOSTUI_RUNS=str(tmp_path))
    terminal.wait_for("FINISHED")
    terminal.send("\x1bOR")  # f3
    terminal.wait_for("two parameters; this one has 4")
    terminal.send("\t")
    terminal.wait_for("phase portrait")
    terminal.send("\x1b[Z")  # shift+tab
    terminal.wait_for("drives")
    terminal.send("q")
    assert terminal.exit_code() == 0
