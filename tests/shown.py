"""Runs opened in the application, without a terminal, to look at its widgets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from eostui.tui.app import EostuiApp
from eostui.tui.session import Settings, Watch

SIZES = [(120, 40), (80, 24)]


Check = Callable[[EostuiApp, Pilot[str]], Awaitable[None]]


def on_screen(
    start: Path | Watch, check: Check, size: tuple[int, int] = SIZES[0], *, unicode: bool = True
) -> None:
    """Open a run in the app, wait until it is shown, and check."""
    path = start.path if isinstance(start, Watch) else start

    async def session() -> None:
        app = EostuiApp(Settings(path.parent, path.parent, fps=50, unicode=unicode), start)
        async with app.run_test(size=size, notifications=True) as pilot:
            while app.session.view is None or not len(app.session.view.run.steps):
                await pilot.pause(0.05)
            await settled(pilot)
            await check(app, pilot)

    asyncio.run(asyncio.wait_for(session(), 60))


async def settled(pilot: Pilot[str]) -> None:
    """Let what was asked for be drawn: a new layout is drawn once it is known."""
    await pilot.pause()
    await pilot.pause(0.03)
