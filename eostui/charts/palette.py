"""Colours with one meaning everywhere, fitted to the background they are drawn on.

Warm sharpens, cool flattens, grey is theory and thresholds, the accent is the sharpness. Patterns and
labels carry the same meaning, so nothing is lost without colour.
"""

from __future__ import annotations

from collections.abc import Mapping

#: What has a hue of its own; Okabe and Ito's set, safe for the colour-blind, is its base.
HUES = {
    "mark": "#e3b341",
    "sharpness": "#f0e442",
    "path": "#3fc79a",
    "warm": "#ff9d4d",
    "cool": "#56b4e9",
    "test": "#cc79a7",
    "norm": "#b7a1f5",
}
#: The ground and the text on it, unless a theme has others.
BACKGROUND, FOREGROUND = "#0d1117", "#c9d1d9"

#: Contrast with the background, as WCAG 2 defines it, of what is text or a curve; and of what lies under
#: a curve of its own hue.
READABLE, VISIBLE = 4.5, 1.7
#: What is grey, as shares of the text's colour in the background's.
_GREYS = {"title": 1.0, "loss": 1.0, "theory": 0.75, "axis": 0.6, "shade": 0.33}
#: The raw spread under a curve of the same hue, and what is drawn of a run laid under another: never in
#: the colours of the one shown.
_SPREADS = ("path", "warm", "cool")
DIMMED = ("sharpness", "path", "warm", "cool", "loss", "norm")
_SPREAD_SHARE, _DIMMED_SHARE = 0.5, 0.55

#: A setting's values from the least to the greatest: from blue over grey to yellow, ever lighter, so
#: that neither the colour-blind nor a print in grey mistakes one for another.
RAMP = (
    "#3f6fd1", "#4f78c9", "#5c80c1", "#6988b9", "#7590b1", "#8198aa", "#8ca0a3", "#97a79c",
    "#a2af94", "#adb68b", "#b9bd81", "#c5c575", "#d1cc68", "#ddd459", "#e9db47", "#f5e32f",
)  # fmt: skip
#: Bands of deviations, of the same values.
_BAND_SHARE = 0.45
#: The contrast of its last colour, as a share of the most that there is on the background.
_RAMP_SHARE = 0.7

#: The band of phases, by letter: warm on the way up, the path's green at the edge, cool where decay won.
OF_PHASES = {
    "T": "axis", "S": "warm", "F": "cool", "E": "path", "L": "sharpness", "C": "theory", "K": "test",
    "V": "norm", "X": "mark", "D": "mark",
}  # fmt: skip

#: The colours in use, by name, and those of the phases: `use` changes both in their place.
COLOURS: dict[str, str] = {}
PHASE_COLOURS: dict[str, str] = {}


def use(
    background: str = BACKGROUND, foreground: str = FOREGROUND, hues: Mapping[str, str] = HUES
) -> None:
    """Draw in these colours from now on.

    Args:
        background: what is drawn on, as `#rrggbb`; so are the others.
        foreground: of text.
        hues: by the names of HUES; those left out are as there.
    """
    COLOURS.update(fitted(background, foreground, hues))
    PHASE_COLOURS.update({letter: COLOURS[name] for letter, name in OF_PHASES.items()})


def fitted(background: str, foreground: str, hues: Mapping[str, str]) -> dict[str, str]:
    """Return all colours by name, each as readable on the background as it must be; see `use`."""
    own = {
        name: contrasting(mixed(foreground, background, share), background, READABLE)
        for name, share in _GREYS.items()
        if name != "shade"
    }
    own |= {
        name: contrasting(colour, background, READABLE) for name, colour in {**HUES, **hues}.items()
    }
    own |= _ramp(background)
    lower = {"shade": (foreground, _GREYS["shade"])}
    lower |= {f"{name} spread": (own[name], _SPREAD_SHARE) for name in _SPREADS}
    lower |= {f"{name} dim": (own[name], _DIMMED_SHARE) for name in DIMMED}
    compared = ("baseline", *(f"ramp {index}" for index in range(len(RAMP))))
    lower |= {f"{name} band": (own[name], _BAND_SHARE) for name in compared}
    return own | {
        name: contrasting(mixed(colour, background, share), background, VISIBLE)
        for name, (colour, share) in lower.items()
    }


def _ramp(background: str) -> dict[str, str]:
    """Return the run that others are compared with, and the ramp, ever further from the background."""
    baseline = max(("#ffffff", "#000000"), key=lambda end: contrast(end, background))
    most = _RAMP_SHARE * contrast(baseline, background) / READABLE
    last = len(RAMP) - 1
    return {"baseline": baseline} | {
        f"ramp {index}": contrasting(colour, background, READABLE * most ** (index / last))
        for index, colour in enumerate(RAMP)
    }


def mixed(colour: str, other: str, share: float) -> str:
    """Return a colour that is `share` the one and for the rest the other."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


def contrast(colour: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21 (WCAG 2.1)."""
    low, high = sorted((_luminance(colour), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def contrasting(colour: str, background: str, least: float) -> str:
    """Return the colour, lighter or darker by as little as gives it that contrast, or all there is."""
    end = max(("#ffffff", "#000000"), key=lambda end: contrast(end, background))
    steps = (mixed(end, colour, share / 50) for share in range(51))
    return next((each for each in steps if contrast(each, background) >= least), end)


def _channels(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def _luminance(colour: str) -> float:
    parts = (channel / 255 for channel in _channels(colour))
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


use()
