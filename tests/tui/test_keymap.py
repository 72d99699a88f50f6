"""The user's own keys: read, refused with a sentence, obeyed, and shown wherever a key is."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from made import make_run
from shown import EostuiApp, settled
from textual.widgets import Static

from eostui.errors import InputError
from eostui.tui import keymap
from eostui.tui.keymap import Keymap
from eostui.tui.keys import KEYS
from eostui.tui.screens.table import keys_by_group
from eostui.tui.session import Settings
from eostui.tui.widgets.bars import TextBar
from eostui.tui.widgets.chart import ChartWidget


@pytest.fixture
def keys_file(monkeypatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path / "settings"))
    (tmp_path / "settings").mkdir()
    return tmp_path / "settings" / "keys.toml"


def chosen(keys_file: Path, text: str) -> Keymap:
    keys_file.write_text(text, encoding="utf-8")
    return keymap.read(keys_by_group())


def test_without_a_file_keys_are_as_they_are(keys_file):
    assert not keys_file.exists()
    assert keymap.read(keys_by_group()) == Keymap()


def test_the_file_that_is_written_says_what_is_so_anyway(keys_file):
    """Every key of the table is in it; taken out of its comments it changes none."""
    keymap.write(keys_by_group())
    text = keys_file.read_text(encoding="utf-8")
    assert tomllib.loads(text) == {}
    lines = [line[2:] if '" = ' in line else line for line in text.splitlines()]
    kept = chosen(keys_file, "\n".join(lines))
    every = {key.id: key for keys in keys_by_group().values() for key in keys}
    assert kept.chosen.keys() == every.keys()
    for key in every.values():
        assert set(kept.of(key).keys.split(",")) == set(key.keys.split(",")), key.id
    with pytest.raises(InputError, match="is there already, and stays as it is"):
        keymap.write(keys_by_group())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('puase = "P"', "there is no key named `puase`; did you mean `pause`"),
        ('pause = "."', "`.` can't be for both `pause` and `step`"),
        ('pause = "H"\nzoom = "H"', "`H` can't be for both `pause` and `zoom`"),
        ('zoom = ">"', "`>` can't be for both `playback.faster` and `zoom`"),
        ("pause = 5", "`pause` is 5, but must be a key"),
        ('pause = "spcae"', "no key is called `spcae`; did you mean `space`"),
        ('pause = "ctl+t"', "`ctl` is no key to hold; did you mean `ctrl`"),
        ('leave = ""', "some key must lead out"),
        ("pause = ", "not valid TOML"),
    ],
)
def test_what_cannot_be_is_refused_by_name(keys_file, text, said):
    with pytest.raises(InputError) as refused:
        chosen(keys_file, text)
    assert said in str(refused.value)
    assert str(keys_file) in str(refused.value)


def test_two_keys_may_change_places(keys_file):
    keys = chosen(
        keys_file, 'zoom = "f"\nfork = "z"\neta.up = "ctrl+]"\n"leave" = "Q"\nexport = ""'
    )
    by_id = {key.id: keys.of(key) for key in KEYS}
    assert (by_id["zoom"].keys, by_id["fork"].keys) == ("f", "z")
    assert by_id["eta.up"].keys == "ctrl+right_square_bracket"
    assert by_id["eta.up"].shown == "ctrl+]"
    assert by_id["leave"].keys == "Q,ctrl+c"
    assert (by_id["export"].keys, by_id["export"].shown) == ("", "–")


async def shown_with(keys: Keymap, folder: Path, check) -> None:
    run = make_run(folder / "made-aaaa", 60)
    app = EostuiApp(replace(Settings(folder, folder, fps=50), keymap=keys), run)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        while app.session.view is None:
            await pilot.pause(0.05)
        await settled(pilot)
        await check(app, pilot)


def run(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


def test_bar_help_and_palette_show_the_users_keys_and_screens_obey_them(keys_file, tmp_path):
    """The old keys do nothing any more; a screen with keys of its own follows too."""
    keys = chosen(
        keys_file,
        'zoom = "f"\nfork = "z"\nexport = ""\nhelp = "H"\n"setting.next" = "}"\n'
        '"weight_decay.up" = "W"\n"screen.oscillator" = "J"\n"screen.live" = "ctrl+l"',
    )  # fmt: skip

    async def check(app, pilot):
        bar = str(app.screen.query_one("#keys", TextBar).render())
        assert "z fork" in bar
        assert "csv" not in bar
        assert "H help" in bar
        await pilot.press("f")
        assert app.first.zoomed
        await pilot.press("f", "x", "question_mark")
        await settled(pilot)
        assert not app.first.zoomed
        assert app.screen is app.first
        shown = {command.title: command.help for command in app.get_system_commands(app.screen)}
        assert shown["One panel, full screen; from a mark: x to it"] == "key f"
        await pilot.press("H")
        await settled(pilot)
        text = "\n".join(str(each.render()) for each in app.screen.query(Static))
        assert "  f         one panel, full screen" in text
        assert "  –         export as CSV" in text
        await pilot.press("escape", "J")
        await settled(pilot)
        assert app.shown.picture_name == "oscillator"
        before = app.shown.settings.chosen
        await pilot.press("right_curly_bracket")
        assert app.shown.settings.chosen != before
        await pilot.press("ctrl+l")
        await settled(pilot)
        assert app.screen is app.first

    run(shown_with(keys, tmp_path, check))


def test_a_click_on_a_hint_presses_the_users_key(keys_file, tmp_path):
    keys = chosen(keys_file, 'help = "H"')

    async def check(app, pilot):
        app.clear_notifications()  # they lie over the key bar
        await settled(pilot)
        bar = str(app.screen.query_one("#keys", TextBar).render())
        await pilot.click("#keys", offset=(bar.index("H help"), 0))
        await settled(pilot)
        assert type(app.screen).__name__ == "HelpScreen"

    run(shown_with(keys, tmp_path, check))


#: Keys of which fixed texts speak.
NAMED = (
    "preset.next", "restart", "resume", "calibrate", "pause", "fork", "screen.runs",
    "screen.presets", "screen.live", "list.filter", "compare.filter", "compare.key",
    "compare.table", "compare.quantity", "overlay", "signs", "span.in", "theory", "scale",
    "panel.1", "screen.next", "reseat", "presets.start", "presets.edit", "screen.compare",
)  # fmt: skip


def test_every_text_that_names_a_key_has_the_users(keys_file, tmp_path):
    """Help, waiting charts, lists without rows, key bars and tabs; those taken away are called by the
    palette's line."""
    letters = dict(zip(NAMED, "àáâãäåæçèéêëìíîïðñòóôõöøù", strict=True))
    keys = chosen(keys_file, "\n".join(f'"{id}" = "{key}"' for id, key in letters.items()))

    async def check(app, pilot):
        key = app.session.key
        assert {id: key(id) for id in letters} == letters
        tabs = str(app.screen.query_one("#tabs").render())
        assert f"{key('panel.1')} sharpness  2 drives" in tabs
        app.action_help()
        await settled(pilot)
        text = " ".join("\n".join(str(e.render()) for e in app.screen.query(Static)).split())
        assert "‹" not in text
        for sentence in (
            f"{key('calibrate')} freezes θ*", f"{key('reseat')} restarts the prediction",
            f"Another run ({key('overlay')};", f"key {key('signs')})", f"(zoom in: {key('span.in')})",
            f"Runs ({key('screen.runs')}): all runs of the shelf. {key('pause')} marks",
            f"Presets ({key('screen.presets')})", f"{key('presets.start')} starts a run",
            f"Filter ({key('list.filter')})", f"Landscape ({key('screen.next')})",
            f"{key('theory')} takes them", f"{key('scale')} shows the one or the other",
            f"Compare ({key('screen.compare')})", f"setting of {key('compare.key')};",
            f"quantity ({key('compare.quantity')})",
        ):  # fmt: skip
            assert sentence in text, sentence
        await pilot.press("escape")
        await settled(pilot)
        app.action_show_screen("l")
        await settled(pilot)
        await pilot.press("u")  # which steers the run that is shown
        await settled(pilot)
        toasts = " ".join(str(toast.render()) for toast in app.screen.query("Toast"))
        assert f"{key('screen.live')} shows it" in toasts
        assert f"{key('screen.presets')} presets" in str(app.screen.query_one("#keys").render())
        app.screen._listed = []
        app.screen.draw_list()
        app.screen.draw_about()
        said = str(app.screen.query_one("#about").render())
        assert said == (
            f"There is no run here yet: {key('screen.presets')} lists presets, "
            f"{key('preset.next')} starts one."
        )
        app.action_show_screen("P")
        await settled(pilot)
        assert f"{key('screen.runs')} runs" in str(app.screen.query_one("#keys").render())
        app.action_show_screen("O")
        await settled(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert f"{key('compare.filter')} chooses them" in "\n".join(texts(app.screen))

    run(shown_with(keys, tmp_path, check))


def test_a_key_that_was_taken_away_is_called_by_its_line_of_the_palette(keys_file, tmp_path):
    keys = chosen(keys_file, '"preset.next" = ""\n"panel.1" = ""')

    async def check(app, _):
        assert app.session.key("preset.next") == "ctrl+p “Next preset”"
        assert " sharpness  2 drives" in str(app.screen.query_one("#tabs").render())
        assert "1 sharpness" not in str(app.screen.query_one("#tabs").render())

    run(shown_with(keys, tmp_path, check))


def test_the_palette_names_no_key_that_does_something_else_on_this_screen(tmp_path):
    """On the comparison `b` pins a baseline; on a list nothing changes the run that isn't seen."""

    async def check(app, pilot):
        def offered():
            app.session.feed.state = "running"
            return {each.title: each.help for each in app.get_system_commands(app.screen)}

        stop = "Stop at a step, a loss, a phase, an accuracy, rest"
        assert offered()[stop] == "key b"
        app.action_show_screen("O")
        await settled(pilot)
        await pilot.press("escape")
        await settled(pilot)
        assert offered()[stop] == offered()["The runs of the shelf"] == "no key here"
        assert offered()["Pin a baseline, or none"] == "key b"
        assert offered()["Choose the colours"] == "key T"
        app.action_show_screen("l")
        await settled(pilot)
        assert not {stop, "Restart from step 0", "Next preset"} & offered().keys()
        assert offered()["Fork the run"] == "key f"

    run(shown_with(Keymap(), tmp_path, check))


def texts(screen):
    """Return what the charts of a screen say where they wait."""
    return [chart._chart.waiting for chart in screen.query(ChartWidget)]
