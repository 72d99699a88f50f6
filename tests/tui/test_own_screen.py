"""A screen that only tests define, one line of the table: its key, the ring, palette, help, key bar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import losses_screen
import pytest
from losses_screen import ENTRY, LossesScreen
from made import facts, make_run, rows
from shown import on_screen, settled
from terminal import Terminal
from textual.pilot import Pilot
from textual.widgets import OptionList

from eostui.charts.numbers import compact
from eostui.errors import InputError
from eostui.runs.store.writer import RunWriter
from eostui.tui.app import EostuiApp
from eostui.tui.keymap import Keymap
from eostui.tui.screens.table import SCREENS, keys_by_group, refuse_unreachable


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    SCREENS.append(ENTRY)
    yield
    SCREENS.pop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_run(tmp_path / "made-aaaa", 60)


def text_of(app: EostuiApp, name: str) -> str:
    return str(app.screen.query_one(f"#{name}").render())


def losses(first: int, last: int) -> str:
    """What it shows of `made.rows`, whose loss is 1/(1 + step)."""
    return "\n".join(f"{step}: {compact(1 / (1 + step))}" for step in range(first, last + 1))


def name(app: EostuiApp) -> str:
    return type(app.screen).__name__.removesuffix("Screen")


def test_it_is_shown_and_left(path: Path) -> None:
    """By its key, round the ring both ways, and in every size; another run's charts come first still."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        await pilot.press("f12")
        await settled(pilot)
        assert isinstance(app.screen, LossesScreen)
        assert text_of(app, "losses") == losses(58, 60)
        assert "step 60" in text_of(app, "title")
        assert "R resume" in text_of(app, "keys")
        seen = []
        for key in ("tab", "tab", "tab", "shift+tab", "f12", "f4", "f12", "f2"):
            await pilot.press(key)
            await settled(pilot)
            seen.append(name(app))
        assert seen == [
            "Live", "Oscillator", "Spectrum", "Oscillator", "Losses", "Oscillator", "Losses", "Live",
        ]  # fmt: skip
        await pilot.press("f12")
        for size in ((20, 5), (1, 1), (80, 24)):
            await pilot.resize_terminal(*size)
            await settled(pilot)
            assert text_of(app, "losses") == losses(58, 60)
        await pilot.press("f2")
        assert name(app) == "Live"

    on_screen(path, check)


def test_its_keys_are_its_own(path: Path) -> None:
    """They act there alone; palette and help say so."""

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        def offered() -> set[str]:
            return {command.title for command in app.get_system_commands(app.screen)}

        assert "The newest losses" in offered()
        assert "One loss more" not in offered()
        assert "Log or linear in the focused panel" in offered()
        await pilot.press("greater_than_sign", "f12", "greater_than_sign")
        assert text_of(app, "losses") == losses(57, 60)
        assert {"One loss more", "Losses as powers of ten, or as they are"} <= offered()
        assert "Log or linear in the focused panel" not in offered()
        await pilot.press("less_than_sign", "less_than_sign", "y")
        assert text_of(app, "losses") == f"59: {1 / 60:.1e}\n60: {1 / 61:.1e}"
        await pilot.press("question_mark")
        await settled(pilot)
        help_text = "\n".join(str(part.render()) for part in app.screen.query("Static"))
        for text in (
            "f12       the newest losses",
            "Losses\n  >         one loss more",
            "y        ",
        ):
            assert text in help_text
        assert "(f12): the newest losses, one a line." in help_text
        await pilot.press("escape", "f2", "ctrl+p")
        while not app.screen.query(OptionList):
            await pilot.pause(0.05)
        await pilot.press(*"newest", "space", *"losses")
        found = app.screen.query_one(OptionList)
        while not found.option_count or found.highlighted is None:
            await pilot.pause(0.05)
        await pilot.press("enter")
        while not isinstance(app.screen, LossesScreen):
            await pilot.pause(0.05)

    on_screen(path, check)
    assert [key.text for key in keys_by_group()["losses"]][:1] == ["one loss more"]


def test_it_follows_a_live_run(tmp_path: Path) -> None:
    """New rows are drawn while it is shown, those that came meanwhile once it is shown again."""
    path = tmp_path / "made-live"
    writer = RunWriter(path, facts(1000, status="running"))
    writer.steps(0, rows(0, 20))
    writer.flush()

    def grow(first: int, last: int) -> None:
        writer.steps(first, rows(first, last))
        writer.flush()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        async def shows(last: int) -> None:
            while text_of(app, "losses") != losses(last - 2, last):
                await pilot.pause(0.05)

        await pilot.press("f12")
        await shows(20)
        grow(21, 40)
        await shows(40)
        assert "RUNNING" in text_of(app, "title")
        assert "space pause" in text_of(app, "keys")
        await pilot.press("f2")
        grow(41, 70)
        while app.session.run is None or app.session.run.last_step < 70:
            await pilot.pause(0.05)
        await pilot.press("f12")
        await shows(70)
        await pilot.press("question_mark")  # it lies below a dialog, and is drawn there
        grow(71, 90)
        screen = app.screen_stack[-2]
        while str(screen.query_one("#losses").render()) != losses(88, 90):
            await pilot.pause(0.05)

    on_screen(path, check)
    writer.close()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"key": "f6"},
            "the screen `losses` can't have the key `f6`, which is that of the screen `spectrum`: give "
            "it another; free are f9, f10, f11, f12",
        ),
        (
            {"key": "]"},
            "the screen `losses` can't have the key `]`, which is that of “η × 1.1”: give it another; "
            "free are f9, f10, f11, f12",
        ),
        ({"key": "F9"}, "but no key is called `F9`; did you mean `f9`?"),
        ({"name": "runs"}, "two screens are called `runs`"),
    ],
)  # fmt: skip
def test_one_that_its_key_would_not_reach_is_refused(change: dict[str, str], sentence: str) -> None:
    """Else it, or the screen before it, would be lost without a word."""
    SCREENS[-1] = replace(ENTRY, **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=re.escape(sentence)):
        refuse_unreachable(Keymap())


def test_a_key_that_the_user_moved_is_free() -> None:
    moved = Keymap({"preset.previous": ("f9",)})
    SCREENS[-1] = replace(ENTRY, key="p")
    refuse_unreachable(moved)
    with pytest.raises(InputError, match="previous preset"):
        refuse_unreachable(Keymap())


def test_it_is_refused_before_a_run_begins(tmp_path: Path) -> None:
    program = tmp_path / "own.py"
    program.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(losses_screen.__file__).parent)!r})\n"
        "from dataclasses import replace\n"
        "from losses_screen import ENTRY, SCREENS\n"
        "from eostui.cli import main\n"
        "SCREENS.append(replace(ENTRY, key='f7'))\n"
        "main()\n"
    )
    terminal = Terminal(
        "run", "toy-normal-form", cwd=tmp_path, program=(str(program),), EOSTUI_RUNS=str(tmp_path / "r")
    )  # fmt: skip
    assert terminal.exit_code() == 2
    assert "which is that of the screen `function`" in terminal.text
    assert not (tmp_path / "r").exists()


def test_in_a_real_terminal(path: Path) -> None:
    terminal = Terminal(
        "attach", "aaaa",
        cwd=path.parent, program=(losses_screen.__file__,), EOSTUI_RUNS=str(path.parent),
    )  # fmt: skip
    terminal.wait_for(r"FINISHED +step 60", "q quit")
    terminal.send("\x1b[24~")  # f12
    terminal.wait_for(f"58: {compact(1 / 59)}", f"60: {compact(1 / 61)}", without="sharpness")
    terminal.resize(20, 5)
    terminal.wait_for(f"60: {compact(1 / 61)}")
    terminal.resize(80, 24)
    terminal.send("\t")
    terminal.wait_for("1 sharpness")
    terminal.send("q")
    assert terminal.exit_code() == 0
    assert terminal.restored
