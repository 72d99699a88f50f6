"""The colours of the application: themes of its own beside Textual's, and how one is chosen."""

from __future__ import annotations

import os

from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from eostui import locations, preferences
from eostui.charts import palette
from eostui.errors import InputError, did_you_mean

#: Before the name of a hue of the charts among a theme's variables.
_HUE = "hue-"


def _own(
    name: str, background: str, foreground: str, *, dark: bool, surface: str, **hues: str
) -> Theme:
    mark = hues.get("mark", palette.HUES["mark"])
    accent = hues.get("cool", palette.HUES["cool"])
    return Theme(
        name=name, background=background, foreground=foreground, dark=dark, surface=surface,
        panel=palette.mixed(foreground, background, 0.15), primary=accent, accent=mark, warning=mark,
        variables={f"{_HUE}{hue}": colour for hue, colour in hues.items()},
    )  # fmt: skip


#: The first is what is shown unless another is chosen. `okabe-ito` has their eight colours, which people
#: with any colour vision tell apart (Okabe and Ito 2008); `print` is dark on white.
OWN = (
    _own("eostui", palette.BACKGROUND, palette.FOREGROUND, dark=True, surface="#161b22"),
    _own(
        "okabe-ito", "#000000", "#ffffff", dark=True, surface="#1c1c1c",
        sharpness="#f0e442", path="#009e73", warm="#e69f00", cool="#56b4e9", test="#cc79a7",
        mark="#d55e00", norm="#0072b2",
    ),
    _own(
        "print", "#ffffff", "#000000", dark=False, surface="#eeeeee",
        sharpness="#000000", path="#00704f", warm="#c04a00", cool="#0072b2", test="#a8407c",
        mark="#8a4b00", norm="#5b3fa0",
    ),
)  # fmt: skip
DEFAULT = OWN[0].name
#: Textual's, but for those in the terminal's own colours: nobody knows their background here, so no
#: colour of a curve can be promised to be seen on it.
THEMES = {
    theme.name: theme
    for theme in (*OWN, *BUILTIN_THEMES.values())
    if not str(theme.background or "").startswith("ansi")
}


def chosen(flag: str | None) -> str:
    """Return the theme to show: `--theme`, else EOSTUI_THEME, else the one that is remembered.

    Raises:
        InputError: if there is no such theme, or what is remembered can't be read.
    """
    variable = os.environ.get("EOSTUI_THEME")
    for name, where in (
        (flag, "--theme"),
        (variable, "EOSTUI_THEME"),
        (preferences.read().theme, str(locations.preferences_file())),
    ):
        if name:
            if name not in THEMES:
                near = did_you_mean(name, THEMES) or f"; there are {', '.join(THEMES)}"
                raise InputError(f"{where}: there is no theme `{name}`{near}")
            return name
    return DEFAULT


def draw_charts_in(theme: Theme) -> None:
    """Give the charts colours that are readable on a theme's background."""
    system = theme.to_color_system().generate()
    hues = {
        name.removeprefix(_HUE): colour
        for name, colour in theme.variables.items()
        if name.startswith(_HUE)
    }
    palette.use(_hex(system["background"]), _hex(system["foreground"]), hues)


def _hex(colour: str) -> str:
    return Color.parse(colour).hex6.lower()
