"""Colours: curves are seen on every theme's background, and told apart by people of any colour vision."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from made import make_run
from rich.color import Color
from shown import on_screen, settled

from eostui import locations
from eostui.charts import palette
from eostui.errors import InputError
from eostui.preferences import Preferences, read, remember
from eostui.tui import themes

#: What people who lack the cones for long, middle and short waves see of linear RGB (Machado, Oliveira
#: and Fernandes 2009, severity 1).
VISIONS = {
    "ordinary": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _colours_as_before():
    yield
    palette.use()


def linear(colour: str) -> np.ndarray:
    triplet = Color.parse(colour).get_truecolor()
    values = np.array(triplet) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, by its definition, for the white of daylight (D65)."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    share = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_contrast_is_that_of_wcag():
    """Its own examples: 21 for black on white, and #777 just fails 4.5 where #767676 passes."""
    assert palette.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert palette.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert palette.contrast("#ffffff", "#767676") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("name", themes.THEMES)
def test_curves_and_words_are_readable_in_every_theme(name):
    theme = themes.THEMES[name]
    themes.draw_charts_in(theme)
    ground = linear(theme.to_color_system().generate()["background"]) @ [0.2126, 0.7152, 0.0722]
    for colour, value in palette.COLOURS.items():
        light = linear(value) @ [0.2126, 0.7152, 0.0722]
        contrast = (max(light, ground) + 0.05) / (min(light, ground) + 0.05)
        lower = colour == "shade" or colour.endswith((" spread", " dim", " band"))
        assert contrast >= (1.69 if lower else 4.49), colour
    background = themes._hex(theme.to_color_system().generate()["background"])
    ramp = [
        palette.contrast(palette.COLOURS[f"ramp {index}"], background)
        for index in range(len(palette.RAMP))
    ]
    assert ramp == sorted(set(ramp))  # ever further from the background
    assert ramp[-1] > 1.5 * ramp[0]
    assert set(palette.PHASE_COLOURS.values()) <= set(palette.COLOURS.values())


@pytest.mark.parametrize("vision", VISIONS)
def test_the_hues_of_okabe_and_ito_are_told_apart_with_any_colour_vision(vision):
    """Any two differ by more than 10 in ΔE (1976), where about 2 is just seen."""
    themes.draw_charts_in(themes.THEMES["okabe-ito"])
    seen = {name: lab(VISIONS[vision] @ linear(palette.COLOURS[name])) for name in palette.HUES}
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 10, (one, other)


def test_the_flag_comes_before_the_variable_and_that_before_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path))
    assert themes.chosen(None) == "eostui"
    assert remember(Preferences(theme="print")) == locations.preferences_file()
    assert read() == Preferences("print")
    assert themes.chosen(None) == "print"
    monkeypatch.setenv("EOSTUI_THEME", "nord")
    assert themes.chosen(None) == "nord"
    assert themes.chosen("okabe-ito") == "okabe-ito"
    with pytest.raises(InputError, match="--theme: there is no theme `prnt`; did you mean `print`"):
        themes.chosen("prnt")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("theme = 3", "`theme` is 3, but must be text"),
        ("thme = 'print'", "unknown key `thme`; did you mean `theme`"),
        ("theme = ", "not valid TOML"),
        ("theme = 'nrd'", "there is no theme `nrd`; did you mean `nord`"),
    ],
)
def test_a_settings_file_that_is_wrong_is_named(monkeypatch, tmp_path, text, said):
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path))
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        themes.chosen(None)
    assert str(tmp_path / "settings.toml") in str(refused.value)


def test_a_theme_is_chosen_looked_at_and_remembered(monkeypatch, tmp_path: Path):
    """Under the cursor it is shown; escape takes it back, enter keeps it, for the next time too."""
    monkeypatch.setenv("EOSTUI_SETTINGS", str(tmp_path / "settings"))

    async def check(app, pilot):
        def curve():
            return palette.COLOURS["sharpness"], app.screen_stack[0].query_one(
                "#title"
            ).styles.background.hex

        dark = curve()
        await pilot.press("T", "down", "down")
        await settled(pilot)
        assert app.theme == "print"
        assert curve() == ("#000000", "#EEEEEE")
        await pilot.press("escape")
        await settled(pilot)
        assert app.theme == "eostui"
        assert curve() == dark
        await pilot.press("T", "down", "enter")
        await settled(pilot)
        while read().theme != "okabe-ito":
            await pilot.pause(0.02)
        assert app.theme == "okabe-ito"

    on_screen(make_run(tmp_path / "made-aaaa", 60), check)
