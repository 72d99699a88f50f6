"""Probes turned on and off by a key: what is chosen, what is said, each one's share of the time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path

from engines import small
from textual.widgets import OptionList

from eostui.runs.launch import EngineProcess
from eostui.runs.run import Run
from eostui.tui.app import EostuiApp
from eostui.tui.screens.dialogs import PickDialog
from eostui.tui.session import Settings
from eostui.tui.shares import rows, shares_line


def test_a_probe_is_turned_on_and_off_by_a_key_and_its_share_is_shown(tmp_path: Path) -> None:
    config = small(steps=10_000_000, ntk_cadence=5, ntk_samples=4, far_cadence=0)

    async def session() -> None:
        app = EostuiApp(Settings(tmp_path, tmp_path), EngineProcess(config, tmp_path, tmp_path))
        async with app.run_test(size=(80, 24)) as pilot:

            async def sees(what: Callable[[], object]) -> None:
                while not what():
                    await pilot.pause(0.05)

            def shares() -> str:
                return str(app.shown.query_one("#shares").render())

            async def pick(name: str) -> None:
                await pilot.press("K")
                await sees(
                    lambda: isinstance(app.screen, PickDialog) and app.screen.query(OptionList)
                )
                options = app.screen.query_one(OptionList)
                options.highlighted = options.get_option_index(name)
                await pilot.press("enter")

            await sees(lambda: app.session.run is not None and app.session.run.last_step > 20)
            assert shares() == ""
            await pick("ntk")
            await sees(lambda: "ntk" in shares() and "%" in shares().partition("ntk")[2])
            assert shares().startswith(" time in probes")
            assert "S " in shares()
            assert len(shares()) <= 80
            run = app.session.run
            assert run is not None
            assert run.measured["step"][-1] > 0
            await sees(lambda: math.isfinite(run.measured.newest("ntk_full")))
            assert all(len(row) <= 60 for row in rows(run, 60).values())
            assert rows(run, 200)["ntk"].startswith("● ntk ")
            assert rows(run, 200)["radius"].startswith("  radius ")
            assert [*rows(run, 200)][-3:] == ["batch_sharpness", "two_layer_linear", "diagonal_net"]
            never = "it is of batches, and the dynamics gradient-descent has none"
            assert f" can't: {never}" in rows(run, 200)["batch_sharpness"]
            await pick("batch_sharpness")  # it isn't asked for: the record tells of no refusal
            await sees(lambda: any("set dynamics" in each.message for each in app._notifications))
            await pick("ntk")
            await sees(lambda: shares() == "")
            # on a screen that shows what it measures, and how to have the rest
            await pilot.press("f7")
            await sees(lambda: app.screen is app.get_screen("function"))
            await pilot.press("f6")
            await sees(lambda: app.screen is app.get_screen("spectrum"))
            await pilot.press("q")
            await pilot.press("s")
            path = run.path
        with Run(path) as read:
            told = [e.payload["on"] for e in read.events if e.kind == "probe"]
            assert told == [True, False]
            assert not [e for e in read.events if e.kind == "refused"]
            assert shares_line(read, 80) is None

    asyncio.run(asyncio.wait_for(session(), 120))
