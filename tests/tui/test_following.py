"""A run that is shown: what happens to its directory, another run beside it, and playing it back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import facts, make_fork, make_run, measure, rows

from eostui.charts.picture import draw
from eostui.charts.scales import StickyRange
from eostui.errors import RunFormatError
from eostui.panels import PANELS
from eostui.panels.overlay import legend
from eostui.panels.panel import chart_of
from eostui.panels.view import Overlay, RunView
from eostui.runs import shelf
from eostui.runs.ancestry import parent_path
from eostui.runs.launch import EngineProcess
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter
from eostui.tui import follower as following
from eostui.tui import playback
from eostui.tui.app import EostuiApp
from eostui.tui.follower import GONE, UNREADABLE, Follower, open_run
from eostui.tui.playback import Playback
from eostui.tui.session import Settings as StartSettings


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once what can't be read."""
    monkeypatch.setattr(following, "RETRY_EVERY", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_run(tmp_path / "made-aaaa", 500)


def look(follower: Follower) -> str:
    follower.apply(follower.fetch())
    return follower.state


def test_a_locked_store_is_said_and_tried_again(path: Path) -> None:
    """While another program locks the store the state says so; then everything is read."""
    other = sqlite3.connect(path / "run.db", isolation_level=None)
    other.execute(
        "PRAGMA journal_mode=DELETE"
    )  # as on a network file system: a writer locks all out
    follower = Follower(path)
    other.execute("BEGIN EXCLUSIVE")
    assert look(follower) == UNREADABLE
    assert "locked by another program" in follower.trouble
    assert len(follower.run.steps) == 501
    other.execute("ROLLBACK")
    other.close()
    assert look(follower) == "finished"
    assert follower.trouble == ""


def test_a_read_that_fails_half_way_loses_no_row(path: Path, monkeypatch) -> None:
    """What a failing read had taken is read again: without that the rows before it were skipped."""
    follower = Follower(path)
    writer = RunWriter(path)
    writer.steps(501, rows(501, 600))
    measure(writer, 501, 600)
    writer.event(600, "started")
    writer.flush()
    poller = follower.run._poller
    once = poller._new_events

    def fail() -> None:
        monkeypatch.setattr(poller, "_new_events", once)
        raise RunFormatError("the disk hiccups")

    monkeypatch.setattr(poller, "_new_events", fail)
    assert look(follower) == UNREADABLE
    assert follower.trouble == "the disk hiccups"
    look(follower)
    writer.close()
    assert follower.run.last_step == 600
    assert (follower.run.steps["loss"] == 1 / (1 + np.arange(601))).all()
    assert follower.run.measured["step"].tolist() == list(range(0, 601, 25))
    assert len(follower.run.events) == 2


def test_a_directory_that_vanishes_and_returns(path: Path) -> None:
    """Gone, its rows are still there; back, it is followed on, another file in its place too."""
    follower = Follower(path)
    aside = path.rename(path.with_name("aside"))
    assert look(follower) == GONE
    assert str(path) in follower.trouble
    assert len(follower.run.steps) == 501
    aside.rename(path)
    assert look(follower) == "finished"
    shutil.copytree(path, aside)
    shutil.rmtree(path)
    assert look(follower) == GONE
    aside.rename(path)
    writer = RunWriter(path)
    writer.steps(501, rows(501, 550))
    writer.close()
    assert look(follower) == "finished"
    assert follower.run.last_step == 550


def test_a_run_that_ends_and_is_gone_on_with(path: Path) -> None:
    """The state follows: finished, running under another engine, interrupted when that one is gone."""
    follower = Follower(path)
    assert follower.state == "finished"
    writer = RunWriter(path)
    writer.fact("status", "running")
    writer.steps(501, rows(501, 510))
    writer.flush()
    assert look(follower) == "running"
    assert follower.run.last_step == 510
    writer.close()  # its lock with it, as if it had been killed
    assert look(follower) == "interrupted"


def test_a_run_of_another_user_is_followed_too() -> None:
    """In a folder that may only be read: once its owner has gone on with it, it is opened anew."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    path = make_run(folder / "made-aaaa", 500)
    user = os.geteuid()

    def lent(as_user: int, mode: int) -> None:
        os.seteuid(user)
        path.chmod(mode | 0o111)
        for name in ("run.db", "lock"):
            (path / name).chmod(mode)
        os.seteuid(as_user)

    reader = 65534 if user == 0 else user
    try:
        lent(reader, 0o444)
        follower = Follower(path)
        assert look(follower) == "finished"
        run = follower.run
        lent(user, 0o644)
        writer = RunWriter(path)
        writer.steps(501, rows(501, 550))
        writer.close()
        lent(reader, 0o444)
        assert look(follower) == "finished"
        assert follower.run.last_step == 550
        assert follower.run is not run
        run = follower.run
        look(follower)
        assert follower.run is run, "nothing is new: it isn't opened again"
    finally:
        lent(user, 0o755)
        shutil.rmtree(folder)


def test_a_long_run_is_shown_while_it_is_read(tmp_path: Path) -> None:
    """It begins with its first rows, all the others follow, each once, with their measurements."""
    writer = RunWriter(tmp_path / "made-long", facts(149_999))
    for first in range(0, 150_000, 1000):
        writer.steps(first, rows(first, first + 999))
        measure(writer, first, first + 999)
    writer.close()
    follower = Follower(tmp_path / "made-long")
    begun = follower.run.last_step
    assert 0 < begun < 149_999
    while look(follower) == "finished" and follower.run.last_step > begun:
        begun = follower.run.last_step
    assert (follower.run.steps["loss"] == 1 / (1 + np.arange(150_000))).all()
    assert follower.run.measured["step"].tolist() == list(range(0, 150_000, 25))
    whole = open_run(tmp_path / "made-long", whole=True).follower.run
    assert whole.last_step == 149_999


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_no_machine_is_too_fast_or_too_slow_for_a_long_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Of what is read but not taken in yet there is never much; and each look says that more is left."""
    writer = RunWriter(tmp_path / "made-long", facts(499_999))
    for first in range(0, 500_000, 10_000):
        writer.steps(first, rows(first, first + 9_999))
    writer.close()
    follower = Follower(tmp_path / "made-long")
    time = itertools.count(1.0, seconds)  # that each look at the clock takes
    monkeypatch.setattr(following.time, "monotonic", lambda: next(time))
    while (update := follower.fetch()).more:
        assert 0 < sum(len(part.steps) for part in update.news) < 200_000
        follower.apply(update)
    follower.apply(update)
    assert follower.run.last_step == 499_999


def test_a_damaged_run_shows_what_is_sound(tmp_path: Path) -> None:
    """The rows before the damage are shown; the state and a sentence tell of the rest."""
    path = make_run(tmp_path / "made-aaaa", 500)
    writer = RunWriter(path)
    for first in range(501, 80_000, 1000):
        writer.steps(first, rows(first, first + 999))
    writer.close()
    with contextlib.closing(sqlite3.connect(path / "run.db")) as database, database:
        database.execute(
            "UPDATE steps SET matrix = zeroblob(length(matrix)) WHERE first_step = 70501"
        )
    follower = Follower(path)
    while follower.state != UNREADABLE:
        look(follower)
    assert "damaged" in follower.trouble
    assert follower.run.last_step == 70_500
    assert (follower.run.steps["loss"] == 1 / (1 + np.arange(70_501))).all()


@pytest.mark.parametrize("what", ["calibration", "config"])
def test_rows_that_make_no_sense(path: Path, what: str) -> None:
    """Sound as written, by whoever wrote them: a sentence that stays, until another file takes over."""
    follower = Follower(path)
    sound = shutil.copytree(path, path.with_name("sound"))
    writer = RunWriter(path)
    if what == "calibration":
        writer.event(500, "reseated", {"step": 500, "x": 0.1, "q": 0.0})  # of none
    else:
        writer.fact("config", "steps = 'many'")
    writer.close()
    assert look(follower) == UNREADABLE
    assert (
        "calibrations don't fit" if what == "calibration" else "stored config"
    ) in follower.trouble
    before = follower.trouble
    assert look(follower) == UNREADABLE
    assert follower.trouble == before
    assert len(follower.run.steps) == 501
    shutil.rmtree(path)
    sound.rename(path)
    assert look(follower) == "finished"
    assert look(follower) == "finished"
    follower.close()


def test_failures_are_spaced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that can't be read isn't asked at every frame."""
    monkeypatch.setattr(following, "RETRY_EVERY", 30.0)
    follower = Follower(path)
    aside = path.rename(path.with_name("aside"))
    assert look(follower) == GONE
    aside.rename(path)
    assert look(follower) == GONE


def test_a_store_is_closed_while_another_thread_reads_it(tmp_path: Path) -> None:
    """What is shown may be changed at any instant; Python itself crashed, so it is another process."""
    path = make_run(tmp_path / "made-aaaa", 20_000)
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_MEANWHILE, path],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "100\n"


CLOSED_MEANWHILE = """
import random, sqlite3, sys, threading, time
from pathlib import Path
from eostui.tui.follower import Follower

path, chance, closed = Path(sys.argv[1]), random.Random(1), 0
for _ in range(100):
    follower = Follower(path)
    thread = threading.Thread(target=follower.fetch)
    thread.start()
    time.sleep(chance.uniform(0.0, 0.001))
    follower.close()
    thread.join()
    try:
        follower.run.fetch()
    except sqlite3.ProgrammingError:
        closed += 1
print(closed)
"""


def test_a_run_that_was_measured_long_ago_is_listed(tmp_path: Path) -> None:
    """A run without any measurement among its newest steps is on the shelf, its sharpness unknown."""
    writer = RunWriter(tmp_path / "made-aaaa", facts(500))
    writer.steps(0, rows(0, 500))
    measure(writer, 0, 100)
    writer.close()
    (entry,) = shelf.entries(tmp_path)
    assert entry.last_step == 500
    assert np.isnan(entry.late_sharpness)


@pytest.fixture
def family(tmp_path: Path) -> tuple[Path, Path]:
    """A run and its fork from step 200 on."""
    parent = make_run(tmp_path / "made-aaaa", 500)
    return parent, make_fork(tmp_path / "made-bbbb", "made-aaaa", 200, 400)


def view_of(path: Path) -> RunView:
    opened = open_run(path)
    view = RunView(opened.follower.run, opened.follower.state)
    if opened.parent is not None:
        view.lay_over(Overlay.of(view.run, RunView(opened.parent.run, opened.parent.state)))
    return view


def test_the_parent_lies_under_its_fork_from_the_fork_on(family: tuple[Path, Path]) -> None:
    """Its measured curves are drawn from the step of the fork, in other colours and as points."""
    view = view_of(family[1])
    for index, name, values in (
        (0, "·S", {10.0}),
        (2, "·L", set((1 / (1 + np.arange(200, 501))).tolist())),
        (3, "·‖θ‖", {8.0}),
    ):
        chart = chart_of(PANELS[index], view, "linear")
        (under,) = (curve for curve in chart.curves if curve.label == name)
        assert under.pattern == "pointed"
        assert under.colour.endswith(" dim")
        assert under.x[0] in (175.0, 200.0)  # measured every 25 steps, S starts at what both have
        assert under.x[-1] == 500.0
        assert set(under.y.tolist()) <= values | {1 / 176}
        patterns = [curve.pattern for curve in chart.curves]
        drawn_first = patterns.count("pointed")  # the fork is drawn over its parent
        assert patterns[:drawn_first] == ["pointed"] * drawn_first
        assert chart.curves[-1].x[-1] == 400.0
    marks = [(mark.x, mark.text) for mark in chart.marks]
    assert marks == [(200.0, "fork λ→0")]


def test_points_differ_from_lines_without_colour(family: tuple[Path, Path]) -> None:
    """Where both runs are in sight, one is points and the other braille; ASCII has letters for points."""
    chart = chart_of(PANELS[3], view_of(family[1]), "linear")
    grid = draw(chart, 80, 20, (0.0, 500.0), StickyRange())
    lines = grid.text().split("\n")
    assert any(line.count("·") > 20 for line in lines)
    fork = next(line.index("┊") for line in lines if "┊" in line)
    assert not any("·" in line[:fork] for line in lines)
    assert "o" * 20 in draw(chart, 80, 20, (0.0, 500.0), StickyRange(), unicode=False).text()


def test_flow_time_is_each_runs_own(family: tuple[Path, Path]) -> None:
    """On flow time the runs part where the fork is, at η · 200."""
    view = view_of(family[1])
    view.toggle_axis()
    chart = chart_of(PANELS[2], view, "log")
    (under,) = (curve for curve in chart.curves if curve.label == "·L")
    assert under.x[0] == pytest.approx(20.0)
    assert under.x[-1] == pytest.approx(50.0)


def test_what_another_run_is(family: tuple[Path, Path], tmp_path: Path) -> None:
    """Parent, fork, sibling, stranger: and from where on they differ."""
    parent, child = (RunView(Run(path), "finished") for path in family)
    sibling = RunView(Run(make_fork(tmp_path / "made-cccc", "made-aaaa", 100, 300)), "finished")
    other = RunView(Run(make_run(tmp_path / "made-dddd", 50)), "finished")
    for run, laid, expected in (
        (child, parent, ("parent", 200)),
        (parent, child, ("fork", 200)),
        (child, sibling, ("fork", 100)),
        (child, other, ("run", None)),
    ):
        overlay = Overlay.of(run.run, laid)
        assert (overlay.word, overlay.parted) == expected
    assert legend(Overlay.of(child.run, parent), child.run, unicode=True) == (
        "━━ bbbb  ··· parent aaaa",
        "from step 200 on",
    )


@pytest.mark.parametrize("parent", ["made-aaaa", "gone", "../made-aaaa", "/etc", "..", "."])
def test_a_parent_is_looked_for_on_the_shelf_alone(tmp_path: Path, parent: str) -> None:
    """Deleted, it is left out; a path out of the shelf is no id."""
    make_run(tmp_path / "made-aaaa", 50)
    make_run(tmp_path / "shelf" / "made-aaaa", 50)
    fork = make_fork(tmp_path / "shelf" / "made-bbbb", parent, 20, 50)
    found = parent_path(Run(fork))
    assert found == (fork.with_name("made-aaaa") if parent == "made-aaaa" else None)
    assert (open_run(fork).parent is None) == (found is None)


@pytest.mark.parametrize("step", ["", "-5", "many", "1e3"])
def test_a_fork_whose_step_is_damaged_has_no_parent(tmp_path: Path, step: str) -> None:
    make_run(tmp_path / "made-aaaa", 50)
    fork = make_run(tmp_path / "made-bbbb", 50, parent="made-aaaa", parent_step=step)
    assert open_run(fork).parent is None
    assert view_of(fork).marks() == []


@given(step=st.integers(-1, 500))
def test_a_run_at_an_earlier_step(whole: tuple[Run, Path], step: int) -> None:
    """It is what a run has that was written up to that step and no further."""
    run, _ = whole
    past = run.until(step)
    assert past.last_step == step
    assert past.steps["step"].tolist() == list(range(step + 1))
    assert past.measured["step"].tolist() == list(range(0, step + 1, 25))
    assert [event.step for event in past.events] == [
        event.step for event in run.events if event.step <= step
    ]
    view = RunView(run, "finished")
    view.update(past)
    again = RunView(past, "finished")
    assert view.medians.rows.tolist() == again.medians.rows.tolist()
    np.testing.assert_array_equal(view.medians.medians, again.medians.medians)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    path = make_fork(tmp_path_factory.mktemp("whole") / "made-eeee", "nobody", 200, 500)
    return Run(path), path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands until the test moves it."""
    now = [100.0]
    monkeypatch.setattr(playback.time, "monotonic", lambda: now[0])
    return now


def test_playing_back(whole: tuple[Run, Path], clock: list[float]) -> None:
    """Steps are revealed at the speed asked for, held, scrubbed, and played again from the end."""
    film = Playback(Follower(whole[1]), 100.0)

    def shown_after(seconds: float) -> int:
        clock[0] += seconds
        film.apply(film.fetch())
        return film.shown.last_step

    assert film.shown.last_step == 0
    assert shown_after(0.5) == 50
    assert film.state == "playing"
    film.hold()
    assert shown_after(9.0) == 50
    assert film.state == "held"
    film.move(-20)
    assert shown_after(0.0) == 30
    film.move(-100)
    assert shown_after(0.0) == 0
    film.pace(1)
    film.hold()
    assert shown_after(1.0) == 200
    film.move_to_end(1)
    assert shown_after(0.0) == 500
    assert film.state == "held"
    film.hold()
    assert shown_after(0.25) == 50


def test_the_whole_run_takes_a_minute(whole: tuple[Run, Path], clock: list[float]) -> None:
    """Without a speed; and a run that grows meanwhile is played on."""
    film = Playback(Follower(whole[1]), None)
    clock[0] += 30.0
    film.apply(film.fetch())
    assert film.shown.last_step == 250
    assert film.speed == pytest.approx(500 / 60)


def test_a_live_run_can_be_played_back(path: Path, clock: list[float]) -> None:
    """Its new rows lie ahead of the cursor."""
    film = Playback(Follower(path), 1200.0)
    writer = RunWriter(path)
    writer.steps(501, rows(501, 700))
    writer.flush()
    clock[0] += 0.5
    film.apply(film.fetch())
    assert film.shown.last_step == 600
    writer.close()


class Begun(EngineProcess):
    """Stands for an engine that made a run ready."""

    def __init__(self, path: Path) -> None:
        self.config, self.path = shelf.read_entry(path).config, path

    def ready(self, progress: Callable[[str], None]) -> Path:
        progress("repeating")
        return self.path

    def let_go(self) -> None:
        pass

    cancel = let_go


@pytest.mark.parametrize("kind", ["forked", "continued"])
def test_a_start_that_left_the_record_is_told(path: Path, kind: str) -> None:
    """Of a fork or a run that was gone on with, when it is opened and when it is followed."""

    def write(difference: str) -> None:
        writer = RunWriter(path)
        writer.event(500, kind, {"from": 0, "identical": False, "difference": difference})
        writer.close()

    write("step 70: theta_norm was 8.0, now 8.1")

    async def session() -> None:
        app = EostuiApp(StartSettings(path.parent, path.parent), Begun(path))
        async with app.run_test(size=(120, 40)) as pilot:

            async def told(sentence: str) -> None:
                while not any(sentence in each.message for each in app._notifications):
                    await pilot.pause(0.05)

            await told("step 70: theta_norm was 8.0, now 8.1")
            write("step 71: loss was 2.0, now 2.1")
            await told("step 71: loss was 2.0, now 2.1")

    asyncio.run(asyncio.wait_for(session(), 60))
