"""Makes a screenshot look the same in every program: dots, bars and arrows become shapes.

Textual writes a screen as SVG text and relies on the viewer to have a fixed-width font with braille,
and to honour `textLength`. Many have neither, and charts then drift away from their axes.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable

_TEXT = re.compile(
    r'<text class="(?P<style>[^"]*)" x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" '
    r'textLength="(?P<length>[\d.]+)"(?P<rest>[^>]*)>(?P<content>[^<]*)</text>'
)
_WORDS = re.compile(r"[^\s\xa0⠀-⣿▁-█▲▼◆]+|[⠀-⣿▁-█▲▼◆]")

#: Textual's cell in SVG units; a text's y is its baseline, this far below the top of its cell.
_CELL_WIDTH, _CELL_HEIGHT, _BASELINE = 12.2, 24.4, 18.5
#: Bits of a braille cell by (column, row) of the dot.
_DOTS = {(0, 0): 0, (0, 1): 1, (0, 2): 2, (1, 0): 3, (1, 1): 4, (1, 2): 5, (0, 3): 6, (1, 3): 7}
_DOT_SIZE = 3.0


def portable(svg: str) -> str:
    """Return the screenshot with every word placed by itself and every chart glyph as a path."""
    return _TEXT.sub(_redraw, svg)


def _redraw(match: re.Match[str]) -> str:
    style, rest = match["style"], match["rest"]
    x, y = float(match["x"]), float(match["y"])
    pieces, shapes = [], []
    for word in _WORDS.finditer(html.unescape(match["content"])):
        left = x + word.start() * _CELL_WIDTH
        shape = _shape(word[0])
        if shape is not None:
            shapes.append(shape(left, y - _BASELINE))
            continue
        length = len(word[0]) * _CELL_WIDTH
        pieces.append(
            f'<text class="{style}" x="{left:.1f}" y="{y:g}" textLength="{length:.1f}"{rest}>'
            f"{html.escape(word[0])}</text>"
        )
    if shapes:
        pieces.append(f'<path class="{style}" d="{"".join(shapes)}"/>')
    return "".join(pieces)


def _shape(glyph: str) -> Callable[[float, float], str] | None:
    """Return what draws a chart glyph at the top left corner of its cell; None for a word."""
    if "⠀" <= glyph <= "⣿":
        return lambda left, top: _braille(ord(glyph) - ord("⠀"), left, top)
    if "▁" <= glyph <= "█":
        share = (ord(glyph) - ord("▁") + 1) / 8
        return lambda left, top: _box(
            left, top + (1 - share) * _CELL_HEIGHT, _CELL_WIDTH, share * _CELL_HEIGHT
        )
    if glyph in "▲▼":
        return lambda left, top: _triangle(glyph == "▲", left, top)
    if glyph == "◆":
        return _diamond
    return None


def _braille(bits: int, left: float, top: float) -> str:
    return "".join(
        _box(
            left + (column + 0.5) * _CELL_WIDTH / 2 - _DOT_SIZE / 2,
            top + (row + 0.5) * _CELL_HEIGHT / 4 - _DOT_SIZE / 2,
            _DOT_SIZE,
            _DOT_SIZE,
        )
        for (column, row), bit in _DOTS.items()
        if bits >> bit & 1
    )


def _box(left: float, top: float, width: float, height: float) -> str:
    return f"M{left:.1f} {top:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"


def _triangle(up: bool, left: float, top: float) -> str:
    high, low = top + 0.3 * _CELL_HEIGHT, top + 0.75 * _CELL_HEIGHT
    base, tip = (low, high) if up else (high, low)
    half, width = _CELL_WIDTH / 2, 0.9 * _CELL_WIDTH
    return f"M{left + half - width / 2:.1f} {base:.1f}h{width:.1f}L{left + half:.1f} {tip:.1f}z"


def _diamond(left: float, top: float) -> str:
    half, tall = 0.45 * _CELL_WIDTH, 0.225 * _CELL_HEIGHT
    return (
        f"M{left + _CELL_WIDTH / 2:.1f} {top + 0.3 * _CELL_HEIGHT:.1f}"
        f"l{half:.1f} {tall:.1f}l{-half:.1f} {tall:.1f}l{-half:.1f} {-tall:.1f}z"
    )
