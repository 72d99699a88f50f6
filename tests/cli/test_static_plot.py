"""The still picture of `eostui plot`: real run directories drawn as text, judged by that text."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from made import facts, make_run, rows
from typer.testing import CliRunner

from eostui.charts.numbers import compact
from eostui.cli import static_plot
from eostui.cli.app import app
from eostui.cli.options import complete_panel
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.figures.wanted import wanted_of
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter

NAMES = ("sharpness", "drives", "loss", "‖θ‖")


@pytest.fixture
def run_of(tmp_path):
    """Return a function that stores columns given by name as a run directory and opens it."""
    opened = []

    def build(steps, measured=(), events=(), **columns):
        given = {"loss": 1.0, "theta_norm": 5.0, "kappa": 10.0, "eta": 0.1, "decay": 0.0} | columns
        loss, norm, kappa, eta, decay = (np.broadcast_to(y, steps) for y in given.values())
        config = RunConfig.build({"preset": "test"}, "test").to_toml()
        writer = RunWriter(tmp_path / str(len(opened)), {"config": config, "status": "finished"})
        if steps:
            writer.steps(0, np.stack([loss, norm, norm, kappa, eta, decay], axis=1))
        for step, values in measured:
            writer.measurement(step, values)
        for event in events:
            writer.event(*event)
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


def changed(run_of):
    """A run whose record tells that η and λ were changed at step 30."""
    return run_of(
        60,
        readings(60),
        events=[(30, "control", {"eta": [0.1, 0.125], "weight_decay": [0.0, 2.0]})],
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
    assert "drives" in draw(run, 110).splitlines()[0]
    assert "drives" not in draw(run, 109).splitlines()[0]


def test_low_pictures_leave_out_the_last_panels_and_tiny_ones_are_titles(run_of):
    run = lively(run_of)
    low = panels_of(draw(run, 80, 9))
    assert list(low) == ["sharpness", "drives"]
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


def test_titles_name_the_quantities_and_labels_their_last_values(run_of):
    """Each label stands at the right end, in the row where its curve ends."""
    run = lively(run_of)
    panels = panels_of(draw(run, 100))
    median = np.median(run.steps["path_curvature"][350:375])  # of the last whole block of 25 steps
    assert panels["sharpness"][0].startswith("sharpness S  path curvature κ")
    assert "(log)" in panels["loss"][0]
    assert "(symlog)" in panels["drives"][0]
    for name, label in (
        ("sharpness", "•S 17.38"),
        ("sharpness", f"κ {compact(median, 4)}"),
        ("sharpness", "2/η 16.00"),
        ("sharpness", "2/η−λ 14.00"),
        ("loss", f"L {compact(run.steps['loss'][-1], 4)}"),
        ("drives", "▴βα 0.5000"),
        ("drives", "λg 60.00"),
        ("‖θ‖", "‖θ‖ 5.002"),
    ):
        assert any(line.endswith(label) for line in panels[name][1:]), label
    narrow = draw(run, 40, 30).splitlines()  # without room beside the plot, titles tell
    assert narrow[0].startswith("•S 17.38")
    assert any("λg 60.00" in line for line in narrow)


def ends_with(text, lines):
    """The row of the line that ends with a text."""
    return next(i for i, line in enumerate(lines) if line.endswith(text))


def test_the_thresholds_are_drawn_and_step_where_eta_or_decay_changed(run_of):
    late = np.arange(400) >= 200
    run = run_of(400, readings(400), eta=np.where(late, 0.125, 0.1), decay=np.where(late, 2.0, 0.0))
    panel = panels_of(draw(run, 100, 90))["sharpness"]
    edge, lower = ends_with("2/η 16.00", panel), ends_with("2/η−λ 14.00", panel)
    assert lower > edge  # with decay the limit lies lower
    first, second = slice(8, 44), slice(52, 86)
    (high,) = (line for line in panel[1:] if line[:6].strip() == "20┤")
    assert {"⠤⠤⠤", "⠒⠒⠒", "⠉⠉⠉", "⣀⣀⣀"} & set(high[first].split())  # 2/η is 20 in the first half
    assert not high[second].strip()
    for row in (edge, lower):  # and 16, the limit 14, in the second
        assert sum(sign != " " for sign in panel[row][second]) > 15
    without_decay = panels_of(draw(run_of(50, readings(50)), 100, 60))["sharpness"]
    assert not any("2/η−λ" in line for line in without_decay)


def test_changes_of_controls_are_marked(run_of):
    """A line in every panel where η or λ changed, and below the last one what they became."""
    run = changed(run_of)
    panels = panels_of(draw(run, 100, 60))
    for lines in panels.values():
        assert sum("┊" in line for line in lines) > 3
    assert "η→0.125 λ→2" in panels["‖θ‖"][-2]


def test_a_threshold_far_above_leaves_the_axis_to_the_curvature(run_of):
    run = run_of(200, readings(200), eta=np.where(np.arange(200) < 50, 1e-6, 0.1))
    panel = panels_of(draw(run, 100, 40))["sharpness"]
    assert "(axis cut)" in panel[0]
    assert len(rows_with(panel, "•")) > 4  # a fifth of the rows it would be, were it not cut


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
    assert any(line.endswith("κ 10.00") for line in panel)
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
    assert draw(runs["no rows"], 100).count("no step was taken") == 4
    unmeasured = draw(runs["nothing measured"], 100)
    assert "S: no data" in titles(runs["nothing measured"])["sharpness"]
    assert any(line.endswith("κ 10.00") for line in panels_of(unmeasured)["sharpness"])
    assert any("nothing was measured" in line for line in panels_of(unmeasured)["drives"])
    assert "no data" not in "".join(titles(runs["nothing measured"])[name] for name in NAMES[2:])
    one = titles(runs["one row, measured"])
    assert "κ: no data" in one["sharpness"]
    assert "•S 8.000" in draw(runs["one row, measured"], 100)
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


def test_a_million_steps_are_drawn(run_of):
    steps = 1_000_000
    t = np.arange(steps)
    run = run_of(steps, readings(steps), loss=1 + 0.1 * (-1.0) ** t, theta_norm=5 + t / steps)
    text = draw(run)
    assert re.search(r"[1-9]00k", text.splitlines()[-2])


def test_any_panel_can_be_drawn(run_of):
    """One chart has the whole width; a scale is as it is typed, and what isn't known yet is no end."""
    run = run_of(60, loss=np.linspace(2, 1, 60))
    wanted = wanted_of("cosine,loss:linear")
    picture = static_plot.render(run, wanted, width=120, height=20, color=False)
    assert picture.splitlines()[0].startswith("step cosine")
    assert picture.splitlines()[0].endswith(" loss L")
    assert "(log)" not in picture
    alone = static_plot.render(run, wanted_of("loss"), width=120, height=20, color=False)
    assert alone.splitlines()[0] == "loss L (log)"
    assert max(map(len, alone.splitlines())) > 100
    with pytest.raises(InputError, match=r"no panel `los` of this run.*did you mean `loss`"):
        static_plot.render(run, wanted_of("los"), width=120, height=20, color=False)


def test_what_the_newest_step_did_isnt_known_yet_which_is_no_gap(tmp_path):
    """A finished run's ΔL and step cosine end a step before its rows do."""
    with Run(make_run(tmp_path / "made-aaaa", 60)) as run:
        assert np.isnan(run.steps["loss_step"][-1])
        picture = static_plot.render(
            run, wanted_of("steps,cosine"), width=120, height=20, color=False
        )
    assert "loss step ΔL" in picture
    assert "not finite" not in picture


def test_the_command_completes_panels_and_refuses_those_of_several():
    assert complete_panel("c") == ["cosine", "collapse", "centre"]
    assert complete_panel("loss,cos") == ["loss,cosine"]
    done = CliRunner().invoke(app, ["plot", "a", "b", "--panel", "loss"])
    assert str(done.exception).startswith("--panel is of one run here; `eostui figure")


def test_nobody_presses_a_key_of_a_picture(tmp_path):
    """A live run that isn't calibrated is told so, without the key that the live view names."""
    writer = RunWriter(tmp_path / "made-aaaa", facts(100, status="running"))
    writer.steps(0, rows(0, 39))
    writer.flush()
    try:
        with Run(writer.path) as run:
            picture = static_plot.render(
                run, wanted_of("oscillator"), width=100, height=12, color=False
            )
    finally:
        writer.close()
    assert "this run isn't calibrated yet" in picture
    assert "press" not in picture
