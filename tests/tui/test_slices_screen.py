"""The slices screen: what it asks for, shows and ends; with a real process, and with one that fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engines import here, small
from made import make_run
from shown import on_screen, settled
from textual.pilot import Pilot

from eostui.errors import EostuiError
from eostui.runs.request import SliceRequest
from eostui.slices import Place, Plane, Slice
from eostui.tui.app import EostuiApp
from eostui.tui.screens import slices
from eostui.tui.screens.slices import SlicesScreen
from eostui.tui.widgets.chart import ChartWidget
from eostui.tui.widgets.plane import PlaneWidget


async def until(pilot: Pilot[str], condition) -> None:
    for _ in range(1200):
        if condition():
            return
        await pilot.pause(0.05)
    raise AssertionError("it didn't come")


def sentence(app: EostuiApp) -> str:
    return str(app.screen.query_one("#sentence").render())


def title(app: EostuiApp, name: str = "slice-loss") -> str:
    return str(app.screen.query_one(f"#{name}").border_title)


@pytest.mark.usefixtures("one_thread")
def test_a_process_of_its_own_cuts_what_is_looked_at(tmp_path: Path) -> None:
    """At the newest step, then the step before, by the same process; it ends with the screen."""
    path = here(small(steps=30, width=3), tmp_path)

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("X")
        screen = app.screen
        assert isinstance(screen, SlicesScreen)
        await until(pilot, lambda: title(app).startswith("L along u at step 30"))
        process = screen._process
        assert process is not None
        assert "S along u at step 30" in title(app, "slice-sharpness")
        assert not screen.has_class("-unmapped")
        await pilot.press("left", "1")
        await until(pilot, lambda: title(app).startswith("L along −∇L at step 29"))
        assert screen._process is process
        await pilot.press("escape")
        await until(pilot, lambda: not process.alive)
        assert screen._process is None

    on_screen(path, check)


class Told:
    """Stands for the process: answers at once, keeps what it was asked."""

    asked: list[SliceRequest] = []
    alive = True

    def __init__(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def cut(self, asked: SliceRequest, progress) -> Slice | Plane:
        self.asked.append(asked)
        progress("halfway")
        if asked.step == 57:
            raise EostuiError("step 57 can't be had")
        places, thresholds = [Place(asked.step, 0.0, 0.0, 0.0, 1.0, 2.0)], {"2/η": 20.0}
        x = np.linspace(-1, 1, 5) * asked.reach
        values = np.full((2, 5), np.nan)  # nothing is finite
        if asked.along:
            return Slice(
                asked.step, asked.along, x, *values, values[0], places, thresholds, 0.0, 1.0
            )
        grid = np.add.outer(x, x)
        return Plane(asked.step, x, x, grid, grid, grid, places, thresholds, ("a remark",))


def test_keys_choose_what_is_cut_and_what_was_is_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(slices, "SliceProcess", Told)
    monkeypatch.setattr(slices, "_REST", 0.0)
    Told.asked = []

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        def told() -> list[tuple[int, str, float]]:
            return [(each.step, each.along, each.reach) for each in Told.asked]

        await pilot.press("X")
        await until(pilot, lambda: "step 60" in title(app))
        for key, part in (("3", "along ∇S"), ("minus", "∇S"), ("left", "step 59")):
            await pilot.press(key)
            await until(pilot, lambda: not app.screen._at_work)
            await settled(pilot)
            assert part in title(app)
        await pilot.press("0", "right")
        await settled(pilot)
        await until(pilot, lambda: not app.screen._at_work)
        assert told()[:4] == [
            (60, "u", 2.0), (60, "sharpness", 2.0), (60, "sharpness", 4.0), (59, "sharpness", 4.0),
        ]  # fmt: skip
        before = len(told())
        await pilot.press("2", "3", "question_mark", "escape")
        await settled(pilot)
        assert len(told()) == before  # kept, and the help took nothing from it
        assert "step 60" in title(app)
        await pilot.press("4")
        await until(pilot, lambda: "over u (→)" in title(app, "plane-loss"))
        assert "a remark" in str(app.screen.query_one("#readings").render())
        shown = [each.id for each in app.screen.query(ChartWidget) if each.display]
        assert not shown
        assert all(each.display for each in app.screen.query(PlaneWidget))
        for size in ((80, 24), (20, 5), (120, 40)):
            await pilot.resize_terminal(*size)
            await settled(pilot)
        await pilot.press("2", "left", "left", "left")
        await until(pilot, lambda: "can't be had" in sentence(app))

    on_screen(make_run(tmp_path / "made-aaaa", 60), check)
