"""What is written to the terminal in fewer bytes: colours are said where they change.

Textual says all of a style before each piece of text, and takes it back after it: two thirds of what a
live view writes. The screen is the same without the repetitions, over a slow link too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from textual.driver import Driver

#: A change of style, and a move of the cursor, which changes none.
_STYLE, _MOVE = re.compile(r"\x1b\[([0-9;]*)m"), re.compile(r"\x1b\[[0-9;]*H")
_PIECES = re.compile(r"(\x1b\[[0-9;]*[mH])")
#: One code of a style, with a semicolon after it: a reset, an attribute, a foreground, a background.
_CODE = re.compile(
    r"(?:(0*)|([1-9])|(39|3[0-7]|9[0-7]|38;5;\d+|38;2;\d+;\d+;\d+)"
    r"|(49|4[0-7]|10[0-7]|48;5;\d+|48;2;\d+;\d+;\d+));"
)
#: Attributes that show where there is nothing but blanks, in the colour of the foreground: underlined,
#: reversed, struck.
_ON_BLANKS = frozenset("479")


class Pen(NamedTuple):
    """A style, as the codes that say it; "" for a colour of the terminal's own."""

    attributes: frozenset[str] = frozenset()
    foreground: str = ""
    background: str = ""


def fewer(data: str) -> str:
    """Return what has the effect of `data` on the terminal: on its screen, and on what comes next.

    What isn't known is passed on, and no style is known then until the next reset: not before the first
    one either, whoever wrote to the terminal before.
    """
    said: list[str] = []
    pen: Pen | None = None  # the terminal's; None where it isn't known
    wanted: Pen | None = None

    def dip(*, blank: bool = False) -> None:
        """Give the terminal the style that is wanted; of blanks only the background may show."""
        nonlocal pen
        if wanted is None:  # it was passed on
            return
        before, pen = pen, wanted
        if blank and before is not None:
            attributes = before.attributes | wanted.attributes
            if not attributes & _ON_BLANKS:
                lost = before.attributes - wanted.attributes
                pen = wanted._replace(foreground="" if lost else before.foreground)
        if pen != before:
            said.append(_change(before, pen))

    for piece in _PIECES.split(data):
        if style := _STYLE.fullmatch(piece):
            styled = _styled(wanted, style[1])
            if styled is None:
                dip()
                said.append(piece)
                pen = None
            wanted = styled
        elif _MOVE.fullmatch(piece):
            said.append(piece)
        elif piece:
            dip(blank=not piece.strip(" "))
            said.append(piece)
            if "\x1b" in piece:
                wanted = pen = None
    dip()
    return "".join(said)


@lru_cache(4096)
def _styled(pen: Pen | None, codes: str) -> Pen | None:
    """Return the style after a change; None where it isn't known: before a reset, or for other codes."""
    end = 0
    codes += ";"
    for code in _CODE.finditer(codes):
        if code.start() != end:
            return None
        end = code.end()
        reset, attribute, foreground, background = code.groups()
        if reset is not None:
            pen = Pen()
        elif pen is None:
            return None
        elif attribute:
            pen = pen._replace(attributes=pen.attributes | {attribute})
        elif foreground:
            pen = pen._replace(foreground="" if foreground == "39" else foreground)
        else:
            pen = pen._replace(background="" if background == "49" else background)
    return pen if end == len(codes) else None


@lru_cache(4096)
def _change(before: Pen | None, after: Pen) -> str:
    """Return what makes another style of one, or of one that isn't known."""
    if before is None or after == Pen() or before.attributes - after.attributes:
        codes = ["0", *sorted(after.attributes), after.foreground, after.background]
        return f"\x1b[{';'.join(code for code in codes if code)}m"
    codes = sorted(after.attributes - before.attributes)
    if after.foreground != before.foreground:
        codes.append(after.foreground or "39")
    if after.background != before.background:
        codes.append(after.background or "49")
    return f"\x1b[{';'.join(codes)}m"


def thrifty(driver: type[Driver]) -> type[Driver]:
    """Return a driver that writes the same in fewer bytes."""

    class ThriftyDriver(driver):  # type: ignore[misc, valid-type]
        """Says styles where they change."""

        def write(self, data: str) -> None:
            super().write(fewer(data))

    return ThriftyDriver
