"""The Sweep screen in the application: members that come in, its keys, its map."""

from __future__ import annotations

import pytest
from made import make_run
from made_sweeps import begin, finish, make_sweep
from shown import on_screen, screen_text

from eostui.errors import EXIT_INPUT, InputError
from eostui.sweeps import sweep as sweeps
from eostui.sweeps.plan import Axis
from eostui.sweeps.shelf import take_stop_request
from eostui.tui.screens.runs import RunsScreen
from eostui.tui.screens.sweep import SweepScreen
from eostui.tui.sweeping import FollowedSweep, go_on
from eostui.tui.widgets.table import Table


async def until(pilot, holds, what="it"):
    """Wait until something holds, of what comes in the background."""
    for _ in range(200):
        if holds():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"{what} in vain:\n{screen_text(pilot.app)[:5000]}")


def said(app):
    return " ".join(str(note.message) for note in app._notifications)


@pytest.fixture
def sweep(tmp_path):
    make_run(tmp_path / "other", 100)
    return make_sweep(tmp_path, {"eta": [0.1, 0.2], "weight_decay": [0.0, 0.001]}, name="grid")


def shown(sweep, check, size=(120, 40)):
    """Open the screen over a shelf, and check."""

    async def opened(app, pilot):
        app.show_sweep(sweep)
        await until(pilot, lambda: isinstance(app.screen, SweepScreen), "the screen")
        await until(pilot, lambda: app.session.sweep.states, "the first look")
        await check(app, pilot)

    on_screen(sweep.path.parent / "other", opened, size)


def test_members_join_the_comparison_as_they_begin(sweep):
    async def check(app, pilot):
        view = app.session.sweep.comparing.view
        await until(pilot, lambda: "4 members" in screen_text(app), "the members")
        assert screen_text(app).count("waiting") == 4
        assert "no run has begun" in screen_text(app)
        finish(sweep, [3])
        await until(pilot, lambda: view.read == 1 == len(view.entries), "the first")
        assert view.family.differing == ("eta", "weight_decay")
        finish(sweep, [0])
        await until(pilot, lambda: view.read == 2 == len(view.entries), "the second")
        assert [entry.path for entry in view.entries] == [sweep.run_paths[n] for n in (0, 3)]
        await until(pilot, lambda: "2 of 4 done" in screen_text(app), "the title")
        assert app.session.sweep.comparing.view is view

    shown(sweep, check)


def test_a_live_member_is_followed_with_its_progress_and_what_is_left(sweep):
    async def check(app, pilot):
        member = sweep.members[1]
        writer = begin(sweep, member, 200, "running")
        try:
            await until(pilot, lambda: "running" in screen_text(app), "the member")
            await until(pilot, lambda: "██···· 200" in screen_text(app), "its bar")
            view = app.session.sweep.comparing.view
            await until(pilot, lambda: view.read == 1, "its curve")
        finally:
            writer.fact("status", "finished")
            writer.close()
        await until(pilot, lambda: "1 of 4 done" in screen_text(app), "its end")

    shown(sweep, check)


def test_members_that_are_added_are_shown_too(sweep):
    async def check(app, pilot):
        finish(sweep, [0])
        await until(pilot, lambda: "1 of 4 done" in screen_text(app), "the first")
        more, _ = sweep.extended([Axis(("weight_decay",), ((0.01,),))])
        finish(more, [4])
        await until(pilot, lambda: "2 of 6 done" in screen_text(app), "the added")
        view = app.session.sweep.comparing.view
        await until(pilot, lambda: view.read == 2, "its curve")

    shown(sweep, check)


def test_enter_opens_a_member_and_the_keys_lead_back(sweep):
    async def check(app, pilot):
        finish(sweep, [1])
        await until(pilot, lambda: "1 of 4 done" in screen_text(app), "the member")
        await pilot.press("enter")
        await until(pilot, lambda: f"{sweep.id}.000: hasn't begun" in said(app), "the sentence")
        await pilot.press("down")
        assert app.screen.query_one(Table).cursor == sweep.run_paths[1]
        await pilot.press("enter")
        await until(pilot, lambda: app.session.path == sweep.run_paths[1], "the run")
        assert app.screen is app.first
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen), "the way back")
        await pilot.press("h")
        await until(pilot, lambda: app.screen.crosshair is not None, "the crosshair")
        await pilot.press("escape")
        assert isinstance(app.screen, SweepScreen)
        assert app.screen.crosshair is None
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.first, "back")

    shown(sweep, check)


def test_the_list_of_runs_leads_to_a_members_sweep(sweep):
    async def check(app, pilot):
        finish(sweep, [0])
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen), "the list")
        await until(pilot, lambda: "2 runs" in screen_text(app), "the runs")
        await pilot.press("w")
        await until(pilot, lambda: "other is a member of no sweep" in said(app), "the sentence")
        await pilot.press("down", "w")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen), "the sweep")
        assert app.session.sweep.path == sweep.path

    on_screen(sweep.path.parent / "other", check)


def test_the_map_shows_readings_or_phases_and_one_key_has_none(sweep, tmp_path):
    finish(sweep, range(4))

    async def check(app, pilot):
        await until(pilot, lambda: "sharpness S at rest" in screen_text(app), "the map")
        await until(pilot, lambda: "λ\\η" in screen_text(app), "its keys")
        await pilot.press("m")
        await until(pilot, lambda: "phases" in screen_text(app), "the phases")
        await pilot.press("m")
        await until(pilot, lambda: "phases" not in screen_text(app), "the readings again")

    shown(sweep, check)
    line = make_sweep(tmp_path, {"weight_decay": [0.0, 0.001]})

    async def without(app, pilot):
        await pilot.press("m")
        await until(pilot, lambda: "a map takes two settings" in said(app), "the sentence")

    shown(line, without)


def test_p_stops_who_is_at_work_and_otherwise_goes_on(sweep, monkeypatch):
    gone_on = []
    monkeypatch.setattr(
        "eostui.tui.screens.sweep.go_on", lambda followed, _: gone_on.append(followed.path)
    )

    async def check(app, pilot):
        claim = sweeps.Claim(sweep.path)
        try:
            await until(pilot, lambda: "at work" in screen_text(app), "the claim")
            await pilot.press("p")
            await until(pilot, lambda: "members save and stop" in said(app), "the sentence")
            assert take_stop_request(sweep.path)
            assert not gone_on
        finally:
            claim.release()
        await until(pilot, lambda: "stopped: p goes on" in screen_text(app), "the end")
        await pilot.press("p")
        await until(pilot, lambda: gone_on == [sweep.path], "going on")
        finish(sweep, range(4))
        await until(pilot, lambda: "4 of 4 done" in screen_text(app), "all")
        await pilot.press("p")
        await until(pilot, lambda: "all members have ended" in said(app), "the sentence")
        assert gone_on == [sweep.path]

    shown(sweep, check)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (30, 8), (20, 5)])
def test_it_is_drawn_in_any_size(sweep, size):
    finish(sweep, [0, 1])

    async def check(app, pilot):
        view = app.session.sweep.comparing.view
        await until(pilot, lambda: view.read == 2, "the members")
        for key in "5", "6", "z", "1", "z":
            await pilot.press(key)
            await pilot.pause(0.05)
        assert "SWEEP" in screen_text(app)

    shown(sweep, check, size)


def test_a_sweep_that_is_deleted_meanwhile_is_told(sweep):
    async def check(app, pilot):
        (sweep.path / "sweep.toml").unlink()
        await until(pilot, lambda: sweep.path.name in said(app), "the sentence")
        assert "SWEEP" in screen_text(app)

    shown(sweep, check)


def test_what_going_on_is_refused_with_is_told(sweep, tmp_path):
    followed = FollowedSweep(sweep, unicode=True)
    followed.take(followed.look())
    claim = sweeps.Claim(sweep.path)
    try:
        go_on(followed, tmp_path)
        assert followed._begun.wait(60) == EXIT_INPUT
        followed.take(followed.look())
        assert "another process is at work" in followed.trouble
    finally:
        claim.release()
    followed.take(followed.look())
    assert not followed.trouble


def test_no_link_of_a_strangers_is_written_through(sweep, tmp_path):
    target = tmp_path / "precious"
    target.write_text("kept")
    (sweep.path / "resume.log").symlink_to(target)
    with pytest.raises(InputError, match="can't be gone on with"):
        go_on(FollowedSweep(sweep, unicode=True), tmp_path)
    assert target.read_text() == "kept"
