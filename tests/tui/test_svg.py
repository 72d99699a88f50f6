"""Pictures of the screen that need no font."""

from __future__ import annotations

import re

from eostui.tui.svg import portable


def test_pictures_place_words_and_draw_dots() -> None:
    """Every braille dot becomes a square at its place, every word a text at its own x."""
    svg = (
        '<text class="a" x="12.2" y="20" textLength="85.4" clip-path="url(#c)">'
        "&#160;&#160;ab&#160;⠁⢀</text>"
    )
    out = portable(svg)
    assert '<text class="a" x="36.6" y="20" textLength="24.4" clip-path="url(#c)">ab</text>' in out
    assert out.count("z") == 2
    assert "⠁" not in out
    assert "&#160;" not in out
    assert '<path class="a"' in out


def test_pictures_have_a_shape_for_every_sign() -> None:
    """Each stands in its own cell, as tall as the others, so that a column is a column."""
    svg = '<text class="a" x="0" y="18.5" textLength="36.6" clip-path="url(#c)">▲▼◆</text>'
    (path,) = re.findall(r'<path class="a" d="([^"]*)"/>', portable(svg))
    shapes = [shape for shape in path.split("z") if shape]
    assert len(shapes) == 3
    for cell, shape in enumerate(shapes):
        start = [float(number) for number in re.findall(r"-?[\d.]+", shape)[:2]]
        assert 12.2 * cell <= start[0] <= 12.2 * (cell + 1)
        assert 0 <= start[1] <= 24.4
    assert "text" not in portable(svg)
