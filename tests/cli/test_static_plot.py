"""The still picture of `eostui plot`: real run directories drawn as text, judged by that text."""

from __future__ import annotations

import re
import time
import unicodedata

import numpy as np
import pytest

from eostui.cli import static_plot
from eostui.config import RunConfig
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter

NAMES = ("sharpness", "loss", "drives", "parameter norm")


@pytest.fixture
def run_of(tmp_path):
    """Return a function that stores columns given by name as a run directory and opens it."""
    opened = []

    def build(steps, measured=(), **columns):
        given = {"loss": 1.0, "theta_norm": 5.0, "kappa": 10.0, "eta": 0.1, "decay": 0.0} | columns
        loss, norm, kappa, eta, decay = (np.broadcast_to(y, steps) for y in given.values())
        config = RunConfig.build({"preset": "test"}, "test").to_toml()
        writer = RunWriter(tmp_path / str(len(opened)), {"config": config, "status": "finished"})
        if steps:
            writer.steps(0, np.stack([loss, norm, norm, kappa, eta, decay], axis=1))
        for step, values in measured:
            writer.measurement(step, values)
        writer.close()
        with np.errstate(all="ignore"):  # the derived columns of a diverged run overflow
            opened.append(Run(writer.path))
        return opened[-1]

    yield build
    for run in opened:
        run.close()


def readings(steps, cadence=25):
    """Measurements of a run whose sharpness climbs to 18."""
    return [
        (t, {"sharpness": 8 + 10 * t / steps, "beta": 4.0, "beta_alpha": 0.5, "g": 30.0})
        for t in range(0, steps, cadence)
    ]


def lively(run_of, steps=400):
    """A run at the edge: the loss oscillates as it falls, κ is noisy, η and λ change half way."""
    t = np.arange(steps)
    late = t >= steps // 2
    return run_of(
        steps,
        readings(steps),
        loss=np.exp(-t / steps) * (1 + 0.3 * (-1.0) ** t),
        theta_norm=6 - t / steps,
        kappa=12 + 3 * np.random.default_rng(0).standard_normal(steps),
        eta=np.where(late, 0.125, 0.1),
        decay=np.where(late, 2.0, 0.0),
    )


def draw(run, width=120, height=36, color=False):
    return static_plot.render(run, width=width, height=height, color=color)


def columns_of(line):
    """Display columns: wide characters count twice, combining ones not at all."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in line
    )


def panels_of(text):
    """The lines of each panel by its name, from a picture whose panels are stacked."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith(NAMES)]
    ends = [*starts[1:], len(lines)]
    return {
        next(name for name in NAMES if lines[i].startswith(name)): lines[i:end]
        for i, end in zip(starts, ends, strict=True)
    }


def rows_with(lines, sign):
    """Rows of a panel, without its title, that hold a sign."""
    return [i for i, line in enumerate(lines[1:]) if sign in line]


def broken_runs(run_of):
    """Runs with next to nothing in them, or with values that no axis can hold."""
    grown = 10.0 ** np.arange(0, 290, 10)
    ends = np.concatenate([np.ones(600), grown, [np.inf, np.nan]])
    last = {"sharpness": 1e30, "beta": 1.0, "beta_alpha": -1e40, "g": 1e20}
    return {
        "no rows": run_of(0),
        "one row": run_of(1, kappa=np.nan),
        "one row, measured": run_of(1, readings(1), kappa=np.nan),
        "nothing measured": run_of(60),
        "a test loss alone": run_of(60, [(0, {"test_loss": 1.0})]),
        "diverged": run_of(631, [*readings(600), (630, last)], loss=ends, kappa=ends),
        "nan alone": run_of(9, loss=np.nan, theta_norm=np.nan, kappa=np.nan),
        "infinite alone": run_of(9, loss=np.inf, theta_norm=np.inf, kappa=np.inf),
        "all zero": run_of(9, loss=0.0, theta_norm=0.0, kappa=0.0),
        "negative loss": run_of(50, loss=3 - np.arange(50.0)),
        "tiny loss": run_of(9, loss=1e-310),
        "η from nothing": run_of(99, readings(99), eta=np.linspace(1e-9, 0.1, 99)),
    }


SIZES = [(120, 36), (111, 18), (110, 9), (109, 24), (80, 24), (40, 12), (30, 6), (29, 6), (20, 3)]
SIZES += [(300, 80), (120, 5), (1, 50), (0, 0), (120, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.filterwarnings("error")
def test_a_picture_never_exceeds_its_size(run_of, size):
    runs = {"lively": lively(run_of), **broken_runs(run_of)}
    for name, run in runs.items():
        lines = draw(run, *size).splitlines()
        assert len(lines) <= size[1], name
        assert max(map(columns_of, lines), default=0) <= size[0], name


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (60, 40)])
def test_a_picture_fills_its_size_with_all_panels(run_of, size):
    text = draw(lively(run_of), *size)
    assert len(text.splitlines()) == size[1]
    assert all(name in text for name in NAMES)
    assert "step" in text.splitlines()[-1]


def test_panels_stand_two_by_two_from_110_columns_on(run_of):
    run = lively(run_of)
    assert "loss" in draw(run, 110).splitlines()[0]
    assert "loss" not in draw(run, 109).splitlines()[0]


def test_low_pictures_leave_out_the_last_panels_and_tiny_ones_are_titles(run_of):
    run = lively(run_of)
    low = panels_of(draw(run, 80, 9))
    assert list(low) == ["sharpness", "loss"]
    tiny = draw(run, 29, 4).splitlines()
    assert len(tiny) == 4
    assert "S 17.38" in tiny[0]
    assert tiny[3].endswith("‖θ‖ 5.002")


def test_without_color_there_are_no_escape_sequences_and_with_it_the_same_signs(run_of):
    run = lively(run_of)
    plain, coloured = draw(run), draw(run, color=True)
    assert plain.replace("\n", "").isprintable()
    assert "\x1b[38;5;" in coloured
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines()
    assert [line.rstrip() for line in stripped] == plain.splitlines()


def test_titles_name_the_quantities_and_their_last_values(run_of):
    run = lively(run_of)
    titles = {name: lines[0] for name, lines in panels_of(draw(run, 100)).items()}
    median = np.median(run.steps["path_curvature"][:-1][-static_plot.MEDIAN_STEPS :])
    assert "•S 17.38" in titles["sharpness"]
    assert f"κ median {median:.4g}" in titles["sharpness"]
    assert "╌2/η 16" in titles["sharpness"]
    assert "┈2/η−λ 14" in titles["sharpness"]
    assert f"L {run.steps['loss'][-1]:.4g}" in titles["loss"]
    assert "(log)" in titles["loss"]
    assert "▴βα 0.5" in titles["drives"]
    assert "λg 60" in titles["drives"]
    assert "(symlog)" in titles["drives"]
    assert "‖θ‖ 5.002" in titles["parameter norm"]


def test_the_thresholds_are_drawn_and_step_where_eta_or_decay_changed(run_of):
    panel = panels_of(draw(lively(run_of), 100, 60))["sharpness"]
    edge, lower = rows_with(panel, "╌"), rows_with(panel, "┈")
    high, low = panel[1 + edge[0]], panel[1 + edge[-1]]
    assert high.index("╌") < 10  # 2/η is 20 in the first half
    assert high.rindex("╌") < 60
    assert low.rindex("╌") > 90  # and 16 in the second
    assert max(lower) > max(edge)  # there with decay the limit lies lower still
    without_decay = panels_of(draw(run_of(50, readings(50)), 100, 60))["sharpness"]
    assert not rows_with(without_decay, "┈")
    assert "2/η−λ" not in without_decay[0]


def test_a_threshold_far_above_leaves_the_axis_to_the_curvature(run_of):
    run = run_of(200, readings(200), eta=np.where(np.arange(200) < 50, 1e-6, 0.1))
    panel = panels_of(draw(run, 100, 40))["sharpness"]
    assert "(axis cut)" in panel[0]
    assert len(rows_with(panel, "•")) > 4


def test_the_loss_is_a_band_of_its_oscillation(run_of):
    """A period-2 motion is as wide on screen as it is; every other row alone would be a line."""
    t = np.arange(20_000)
    wide = run_of(len(t), loss=2 + (-1.0) ** t)  # from 1 to 3
    panel = panels_of(draw(wide, 80, 40))["loss"]
    filled = [line.count("⣿") for line in panel]
    assert sum(count > 60 for count in filled) > len(panel) // 2


def test_the_curvature_is_a_running_median(run_of):
    """One wild step in a hundred, or noise about a level, doesn't move the line."""
    t = np.arange(5_000)
    kappa = np.where(t % 100 == 0, 1e6, 10.0)
    panel = panels_of(draw(run_of(len(t), readings(len(t)), kappa=kappa), 100, 40))["sharpness"]
    assert "κ median 10 " in panel[0]
    assert "axis cut" not in panel[0]


def test_drives_show_their_signs_and_their_crossing(run_of):
    measured = [
        (t, {"sharpness": 10.0, "beta": 1.0, "beta_alpha": 4.0 - t / 25, "g": 1.0})
        for t in range(0, 200, 25)
    ]
    panel = panels_of(draw(run_of(200, measured, decay=1.0), 100, 60))["drives"]
    rows = rows_with(panel, "▴")
    zero = next(i for i, line in enumerate(panel[1:]) if re.match(r" +0┤", line))
    assert rows[0] < zero < rows[-1]
    assert rows == sorted(rows)


def test_panels_without_data_say_so(run_of):
    def titles(run):
        return {name: lines[0] for name, lines in panels_of(draw(run, 100)).items()}

    runs = broken_runs(run_of)
    assert all("no data" in title for title in titles(runs["no rows"]).values())
    unmeasured = titles(runs["nothing measured"])
    assert "S: no data" in unmeasured["sharpness"]
    assert "κ median 10" in unmeasured["sharpness"]
    assert "βα: no data  ⠒λg: no data" in unmeasured["drives"]
    assert "no data" not in unmeasured["loss"] + unmeasured["parameter norm"]
    one = titles(runs["one row, measured"])
    assert "S 8" in one["sharpness"]
    assert "κ median: no data" in one["sharpness"]
    assert "L: no data" in titles(runs["nan alone"])["loss"]


def test_a_diverged_run_keeps_what_came_before_readable(run_of):
    panels = panels_of(draw(broken_runs(run_of)["diverged"], 100, 60))
    assert "then not finite" in panels["loss"][0]
    assert "(axis cut)" in panels["sharpness"][0]
    assert len(rows_with(panels["sharpness"], "•")) > 4  # not flattened by 1e30


def test_a_picture_is_independent_of_the_one_before(run_of):
    first, second = lively(run_of), run_of(60)
    alone = draw(second, 80, 24)
    for size in ((120, 36), (100, 60)):
        draw(first, *size, color=True)
        assert draw(second, 80, 24) == alone
    assert draw(first) == draw(first)


def test_a_million_steps_are_drawn_within_a_second(run_of):
    steps = 1_000_000
    t = np.arange(steps)
    run = run_of(steps, readings(steps), loss=1 + 0.1 * (-1.0) ** t, theta_norm=5 + t / steps)
    before = time.process_time()
    text = draw(run)
    assert time.process_time() - before < 1
    assert re.search(r"[1-9]00k", text.splitlines()[-2])
