"""What is shown of a sweep, by numbers: rows of members, the map of two keys, forecasts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from made_sweeps import begin, finish, make_sweep, rest

from eostui.panels.compare.member import read_member
from eostui.panels.compare.view import ComparisonView
from eostui.panels.sweep.forecast import Forecast
from eostui.panels.sweep.map import PHASE, draw_map, map_of, narrow, two_axes
from eostui.panels.sweep.members import counted, done_share, member_rows, what_varies

DECAYS, ETAS = [0.0, 0.001, 0.01], [0.1, 0.2]


def compared(sweep):
    """The comparison of the members that began, read."""
    view = ComparisonView([each.entry for each in sweep.states() if each.entry is not None])
    for place, entry in enumerate(view.entries):
        view.take(place, read_member(entry, view.wanted))
    return view


@pytest.fixture
def sweep(tmp_path):
    return make_sweep(tmp_path, {"eta": ETAS, "weight_decay": DECAYS})


def test_a_row_tells_each_member(sweep):
    finish(sweep, [0, 1])
    begin(sweep, sweep.members[2], 150, "stopped").close()
    rows = member_rows(sweep.states(), compared(sweep), Forecast())
    assert [row.number for row in rows] == [f"{n:03}" for n in range(6)]
    assert [row.settings for row in rows[:4]] == [
        ("0.1", "0"), ("0.1", "0.001"), ("0.1", "0.01"), ("0.2", "0"),
    ]  # fmt: skip
    assert [row.state for row in rows] == ["finished"] * 2 + ["stopped"] + ["waiting"] * 3
    assert [row.progress for row in rows[:4]] == [
        "██████ 600", "██████ 600", "██···· 150", "",
    ]  # fmt: skip
    assert rows[0].sharpness.strip("()").startswith("20")
    assert rows[3].sharpness == "–"
    assert rows[0].phase
    assert not rows[3].phase
    assert counted(sweep.states()) == "2 finished, 1 stopped, 3 waiting"
    assert what_varies(sweep.states()) == "η, λ"


def test_bars_are_ascii_where_nothing_else_can_be_shown(sweep):
    begin(sweep, sweep.members[0], 300, "stopped").close()
    row = member_rows(sweep.states(), compared(sweep), Forecast(), unicode=False)[0]
    assert row.progress == "###... 300"


def test_the_share_counts_what_members_cost(tmp_path):
    sweep = make_sweep(tmp_path, {"steps": [100, 300]}, steps=100)
    begin(sweep, sweep.members[1], 150, "stopped").close()
    # work is in proportion to the steps: half of three quarters
    assert done_share(sweep.states()) == pytest.approx(0.375)


def test_the_map_has_each_resting_value_at_its_place(sweep):
    finish(sweep, [0, 2, 5])
    view = compared(sweep)
    shown = map_of(sweep.plan, sweep.states(), view, "sharpness")
    assert (shown.across, shown.columns) == ("η", ("0.1", "0.2"))
    assert (shown.down, shown.rows) == ("λ", ("0", "0.001", "0.01"))
    got = {(r, c): cell for r, row in enumerate(shown.cells) for c, cell in enumerate(row)}
    for number, member in enumerate(sweep.members):
        cell = got[number % 3, number // 3]
        assert cell.known == (number in (0, 2, 5))
        if cell.known:
            assert cell.low == cell.high == pytest.approx(rest(member))
    assert shown.ends == pytest.approx((19.0, 20.0))


def test_members_that_differ_in_the_seed_are_one_mean_of_those_at_rest(tmp_path):
    axes = {"eta": ETAS, "weight_decay": DECAYS, "seed": [0, 1, 2]}
    sweep = make_sweep(tmp_path, axes)
    finish(sweep, range(18))
    view = compared(sweep)
    for place in range(3):
        unrest = "" if place else "made not to rest"
        view.members[place] = replace(view.members[place], unrest=unrest)
    cell = map_of(sweep.plan, sweep.states(), view, "sharpness").cells[0][0]
    # of the three seeds the first isn't at rest, so it is in no mean: 20 − 0.1 and 20 − 0.2 are
    assert (cell.low, cell.high) == pytest.approx((19.85, 19.85))
    for place in range(3):
        view.members[place] = replace(view.members[place], unrest="made not to rest")
    cell = map_of(sweep.plan, sweep.states(), view, "sharpness").cells[0][0]
    assert (cell.low, cell.high) == pytest.approx((19.8, 20.0))
    assert not cell.at_rest
    assert cell.text() == "(19.8…20.0)"


def test_a_third_key_is_a_range(tmp_path):
    sweep = make_sweep(tmp_path, {"weight_decay": DECAYS, "eta": ETAS, "width": [40, 30]})
    finish(sweep, range(12))
    view = compared(sweep)
    view.members = [replace(member, unrest="") for member in view.members]
    cells = map_of(sweep.plan, sweep.states(), view, "sharpness").cells
    assert [[(c.low, c.high) for c in row] for row in cells] == [
        [pytest.approx((19.8 - 100 * decay, 19.9 - 100 * decay))] * 2 for decay in DECAYS
    ]


def test_one_key_or_seeds_alone_make_no_map(tmp_path):
    for axes in ({"weight_decay": DECAYS}, {"weight_decay": DECAYS, "seed": [0, 1]}):
        assert two_axes(make_sweep(tmp_path, axes).plan) is None


def test_phases_are_letters(sweep):
    finish(sweep, [0])
    shown = map_of(sweep.plan, sweep.states(), compared(sweep), PHASE)
    letters = [[cell.phases for cell in row] for row in shown.cells]
    assert len(letters[0][0]) == 1
    assert letters[0][1] == letters[2][1] == ""
    text = draw_map(shown, 30, 4).text()
    assert letters[0][0] in text.splitlines()[1]


def test_a_map_is_drawn_in_numbers_or_where_there_is_no_room_in_digits(sweep):
    finish(sweep, range(6))
    view = compared(sweep)
    view.members = [replace(member, unrest="") for member in view.members]
    shown = map_of(sweep.plan, sweep.states(), view, "sharpness")
    lines = draw_map(shown, 30, 5).text().splitlines()
    assert [line.split() for line in lines[:4]] == [
        [r"λ\η", "0.1", "0.2"], ["0", "20.0", "20.0"], ["0.001", "19.9", "19.9"],
        ["0.01", "19.0", "19.0"],
    ]  # fmt: skip
    assert not narrow(shown, 30)
    assert narrow(shown, 12)
    lines = draw_map(shown, 12, 5).text().splitlines()
    assert [line.split()[1:] for line in lines[1:4]] == [["9", "9"], ["8", "8"], ["0", "0"]]
    assert "0 19.0 … 9 20.0" in shown.title(digits=True)
    # nothing of it fits anywhere: no error
    for width in range(1, 12):
        for height in range(1, 5):
            draw_map(shown, width, height, unicode=False)


def test_a_forecast_goes_by_the_pace_of_late():
    forecast = Forecast()
    assert math.isnan(forecast.seconds("a", 100))
    for now in range(100):
        forecast.see("a", float(now), 2.0 * now if now < 50 else 100 + 10.0 * (now - 50))
    # 590 at 99 s, 10 a second over the last half minute
    assert forecast.seconds("a", 1090) == pytest.approx(50.0)
    forecast.see("a", 100.0, 0.0)  # it begins anew
    assert math.isnan(forecast.seconds("a", 1090))
    forecast.forget("a")
    assert math.isnan(forecast.seconds("a", 1090))


def test_a_member_that_stands_still_has_no_forecast():
    forecast = Forecast()
    for now in range(5):
        forecast.see("a", float(now), 7.0)
    assert math.isnan(forecast.seconds("a", 100))


def test_runs_that_come_later_find_their_place_in_a_comparison(sweep):
    finish(sweep, [0, 4])
    view = compared(sweep)
    view.pin(1)
    before = view.members[1]
    finish(sweep, [1])
    view.arrange([each.entry for each in sweep.states() if each.entry is not None])
    assert [entry.path for entry in view.entries] == [sweep.run_paths[n] for n in (0, 1, 4)]
    assert view.members[2] is before
    assert view.members[1] is None
    assert view.baseline == 2
    assert view.lacks(1)
    assert view.read == 2
    view.take(1, read_member(view.entries[1], view.wanted))
    assert view.value(2) == 0.001
    assert view.trace(2, "loss").right == 600


def test_a_member_that_lives_again_is_read_again(sweep):
    begin(sweep, sweep.members[0], 150, "stopped").close()
    view = compared(sweep)
    entry = sweep.states()[0].entry
    view.arrange([entry])
    assert not view.lacks(0)
    view.arrange([replace(entry, state="running")])
    assert view.lacks(0)
