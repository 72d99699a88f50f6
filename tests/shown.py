"""Runs opened in the application, without a terminal, to look at its widgets."""

from __future__ import annotations

import asyncio
import io
import string
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.pilot import Pilot

from eostui.oscillator_presets import OscillatorPreset
from eostui.panels.compare.view import Compare
from eostui.tui.app import EostuiApp
from eostui.tui.session import Settings, Watch

SIZES = [(120, 40), (80, 24)]

#: Letters that name styles in `screen_text`; a map has hundreds of colours.
_LETTERS = string.ascii_letters + string.digits + "".join(map(chr, range(0x100, 0x250)))


Check = Callable[[EostuiApp, Pilot[str]], Awaitable[None]]


def on_screen(
    start: Path | Watch | OscillatorPreset | Compare,
    check: Check,
    size: tuple[int, int] = SIZES[0],
    *,
    unicode: bool = True,
) -> None:
    """Open a run in the app, wait until it is shown, and check; or an oscillator or a comparison."""
    path = start.path if isinstance(start, Watch) else start
    folder = path.parent if isinstance(path, Path) else Path()

    async def session() -> None:
        app = EostuiApp(Settings(folder, folder, fps=50, unicode=unicode), start)
        async with app.run_test(size=size, notifications=True) as pilot:
            while isinstance(path, Path) and (
                app.session.view is None or not len(app.session.view.run.steps)
            ):
                await pilot.pause(0.05)
            await settled(pilot)
            await check(app, pilot)

    asyncio.run(asyncio.wait_for(session(), 120))


async def settled(pilot: Pilot[str]) -> None:
    """Let what was asked for be drawn: a new layout is drawn once it is known."""
    await pilot.pause()
    await pilot.pause(0.03)


def screen_text(app: EostuiApp) -> str:
    """Return all that is shown: its lines, then a letter for the style of each cell, with a legend.

    Trailing blanks are cut, and the commonest style is a dot.
    """
    lines = _cells(app)
    styles = [style for line in lines for _, style in line]
    common = max(dict.fromkeys(styles), key=styles.count)
    assert len({*styles}) <= len(_LETTERS)
    letters = dict(
        zip(
            (style for style in dict.fromkeys(styles) if style != common),
            _LETTERS,
            strict=False,
        )
    )
    text = ["".join(character for character, _ in line).rstrip() for line in lines]
    marks = ["".join(letters.get(style, ".") for _, style in line).rstrip(".") for line in lines]
    legend = [f"{letter}  {style}" for style, letter in {common: ".", **letters}.items()]
    return "\n".join([*text, "", *marks, "", *legend, ""])


def _cells(app: EostuiApp) -> list[list[tuple[str, str]]]:
    """Return each line's characters with their styles, as `App.export_screenshot` renders them."""
    width, height = app.size
    console = Console(
        width=width, height=height, file=io.StringIO(), force_terminal=True,
        color_system="truecolor", legacy_windows=False,
    )  # fmt: skip
    screen = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens)
    segments = Segment.filter_control(console.render(screen))
    return [
        [
            (character, str(_without_meta(segment.style)))
            for segment in line
            for character in segment.text
        ]
        for line in Segment.split_and_crop_lines(segments, width, include_new_lines=False)
    ]


def _without_meta(style: Style | None) -> Style:
    """What a style looks like, without what Textual notes in it for the mouse."""
    return Style() if style is None else style.clear_meta_and_links()
