"""A screen that the program lacks: the newest losses as text. Run, this file is the program with it."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult

from eostui.charts.numbers import compact, grouped
from eostui.tui.keys import Key, on_this_screen
from eostui.tui.screens.screen import SessionScreen
from eostui.tui.screens.table import SCREENS, ScreenEntry
from eostui.tui.widgets.bars import TextBar


class LossesScreen(SessionScreen):
    """Lists the newest losses; how many, `>` and `<` change."""

    KEYS = (
        Key("losses.more", "greater_than_sign", ">", "screen.show(1)", "one loss more", group="losses"),
        Key("losses.fewer", "less_than_sign", "<", "screen.show(-1)", "one loss less", group="losses"),
        *on_this_screen({"scale": "losses as powers of ten, or as they are"}),
    )  # fmt: skip

    count, powers = 3, False

    @staticmethod
    def about() -> str:
        return "[b]Losses[/b] (f12): the newest\nlosses, one a line."

    def compose(self) -> ComposeResult:
        yield TextBar(id="title")
        yield TextBar(id="losses")
        yield TextBar(id="keys")

    def draw(self) -> None:
        self.draw_bars()
        text = self.session.message
        if self.view is not None:
            steps = self.view.run.steps
            rows = list(zip(steps["step"], steps["loss"], strict=True))[-self.count :]
            text = "\n".join(
                f"{grouped(int(step))}: {f'{loss:.1e}' if self.powers else compact(loss)}"
                for step, loss in rows
            )
        losses = self.query_one("#losses", TextBar)
        losses.styles.height = max(self.size.height - 2, 0)
        losses.show(Text(text))

    def action_show(self, more: int) -> None:
        self.count = max(self.count + more, 1)
        self.draw()

    def action_toggle_scale(self) -> None:
        self.powers = not self.powers
        self.draw()


ENTRY = ScreenEntry(
    "losses", "f12", "the newest losses", LossesScreen, lambda session: session.run is not None
)

if __name__ == "__main__":
    from eostui.cli import main

    SCREENS.append(ENTRY)
    main()
