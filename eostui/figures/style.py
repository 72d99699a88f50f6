"""How a figure looks: sizes, fonts, and colours that a printer without colours tells apart too."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eostui.charts.palette import RAMP
from eostui.errors import InputError, did_you_mean

#: Widths in inches: a column, the width of a page with two, a slide.
WIDTHS = {"single": 3.35, "double": 6.9, "slide": 10.0}
#: From this width on two charts stand side by side.
SIDE_BY_SIDE = 5.0
#: Points: of labels and of the numbers on the axes, at the final size; a slide has them larger.
_TEXT, _SMALL, _ON_SLIDES = 8.0, 7.0, 1.6
_SMALLEST, _LARGEST = 1.0, 60.0
#: Colours of the palette on paper, each of another lightness than what it is drawn with.
_INKS = {
    "axis": "#444444", "title": "#000000", "mark": "#8c6d00", "theory": "#666666",
    "sharpness": "#000000", "path": "#1b9e77", "path spread": "#b7dfd2",
    "warm": "#c44e00", "warm spread": "#f3c9a8", "cool": "#0b6cae", "cool spread": "#b5d3ea",
    "shade": "#888888", "loss": "#000000", "test": "#b0558a", "norm": "#5b4bb3",
    "baseline": "#000000", "baseline band": "#bbbbbb",
}  # fmt: skip
#: Of matplotlib's ramp, which both the colour-blind and a printer in grey read, the part that is dark
#: enough for a line. None of it is the green of κ.
_RAMP, _DARK_ENOUGH = "plasma", 0.85
#: Fonts of writings that the first of them lacks, where they are installed.
_FONTS = (
    "DejaVu Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans JP", "Noto Sans SC",
    "Source Han Sans", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Hiragino Sans", "PingFang SC",
    "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS", "Noto Sans Arabic",
    "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Emoji",
)  # fmt: skip


def ink(colour: str) -> Any:
    """Return what a colour of the palette is on paper, as matplotlib takes it."""
    import matplotlib as mpl

    if colour.startswith("ramp "):
        _, index, *band = colour.split()
        share = _DARK_ENOUGH * int(index) / (len(RAMP) - 1)
        return mpl.colors.to_hex(_paler(mpl.colormaps[_RAMP](share), 0.3 if band else 1.0))
    if colour.endswith(" dim"):
        return mpl.colors.to_hex(_paler(mpl.colors.to_rgba(ink(colour[:-4])), 0.6))
    return _INKS.get(colour, "#000000")


def _paler(colour: Any, share: float) -> tuple[float, float, float]:
    """Return a colour mixed with white, opaque: what lies over another thing is the same everywhere."""
    red, green, blue = (1 - share * (1 - part) for part in colour[:3])
    return red, green, blue


def size_of(text: str) -> tuple[float, float | None]:
    """Return width and height in inches of what was typed; no height where the charts shall say it.

    Args:
        text: `single`, `double` or `slide`, or inches: `5` or `5x3.5`.

    Raises:
        InputError: if it is neither, or no size of a figure.
    """
    if text in WIDTHS:
        return WIDTHS[text], 5.63 if text == "slide" else None
    try:
        inches = [float(part) for part in text.lower().replace("×", "x").split("x")]
    except ValueError:
        inches = []
    if len(inches) not in (1, 2):
        raise InputError(
            f"--size is {text}, but must be {', '.join(WIDTHS)} or inches such as 5 or 5x3.5"
            f"{did_you_mean(text, WIDTHS)}"
        )
    if not all(_SMALLEST <= each <= _LARGEST for each in inches):
        raise InputError(
            f"--size is {text}, but must be between {_SMALLEST:g} and {_LARGEST:g} inches"
        )
    return inches[0], inches[1] if len(inches) == 2 else None


@contextmanager
def styled(width: float, style: Path | None = None) -> Iterator[None]:
    """Have matplotlib draw in the house's style, and in that of a file on top.

    Args:
        width: of the figure in inches.
        style: a style file of matplotlib's, of which each line replaces one setting.

    Raises:
        InputError: if the file can't be read, or says what matplotlib doesn't know.
    """
    import matplotlib as mpl
    from matplotlib import font_manager

    larger = _ON_SLIDES if width >= WIDTHS["slide"] else 1.0
    installed = {font.name for font in font_manager.fontManager.ttflist}
    house: Any = {
        "font.family": [name for name in _FONTS if name in installed],
        "font.size": _TEXT * larger, "axes.labelsize": _TEXT * larger,
        "axes.titlesize": _TEXT * larger, "legend.fontsize": _SMALL * larger,
        "xtick.labelsize": _SMALL * larger, "ytick.labelsize": _SMALL * larger,
        "lines.linewidth": 1.0 * larger, "lines.markersize": 3.2 * larger,
        "axes.linewidth": 0.6 * larger, "xtick.major.width": 0.6 * larger,
        "ytick.major.width": 0.6 * larger, "xtick.minor.width": 0.4 * larger,
        "ytick.minor.width": 0.4 * larger,
        "xtick.direction": "in", "ytick.direction": "in",
        "axes.spines.top": False, "axes.spines.right": False,
        "legend.frameon": False, "legend.handlelength": 2.2, "legend.handletextpad": 0.4,
        "legend.columnspacing": 1.2,
        "savefig.dpi": 300, "figure.dpi": 100, "path.simplify": True, "agg.path.chunksize": 0,
        # letters stay letters in a file, which journals ask for; a name may have a $ in it
        "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "eostui",
        "text.usetex": False, "text.parse_math": False, "axes.unicode_minus": True,
        "axes.formatter.useoffset": False,
    }  # fmt: skip
    with mpl.rc_context():
        mpl.rcdefaults()  # not a user's own, which would make the same figure another elsewhere
        mpl.rcParams.update(house)
        if style is not None:
            mpl.rcParams.update(_from_file(style))
        yield


def _from_file(style: Path) -> Any:
    """Return the settings of a style file. What matplotlib says of wrong ones is an error here."""
    import matplotlib as mpl

    said: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("matplotlib")
    before = logger.propagate
    logger.propagate = False
    logger.addHandler(listener)
    try:
        settings = mpl.rc_params_from_file(style, use_default_template=False)
    except OSError as error:
        raise InputError(f"{style}: can't be read: {error.strerror or error}") from None
    except (ValueError, KeyError) as error:
        raise InputError(f"{style}: isn't a style of matplotlib's: {error}") from None
    finally:
        logger.removeHandler(listener)
        logger.propagate = before
    if said:
        raise InputError(f"{style}: isn't a style of matplotlib's: {_first(said[0])}")
    return settings


def _first(text: str) -> str:
    """Return what is wrong without the advice that follows it."""
    return " ".join(text.partition("You probably")[0].split())
