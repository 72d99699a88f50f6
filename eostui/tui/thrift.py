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
#: Codes of colours of their own: how many numbers follow, by the first of them.
_LONG = {"5": 1, "2": 3}
_REVERSE = "7"


class Pen(NamedTuple):
    """A style, as the numbers that say it; "" for a colour of the terminal's own."""

    attributes: frozenset[str] = frozenset()
    foreground: str = ""
    background: str = ""


@lru_cache(4096)
def _styled(pen: Pen | None, codes: str) -> Pen | None:
    """Return the style after a change; None where it isn't known: before a reset, or for other codes."""
    numbers = codes.split(";")
    while numbers:
        code = numbers.pop(0)
        if code.strip("0") == "":
            pen = Pen()
        elif pen is None:
            return None
        elif code in ("38", "48"):
            length = _LONG.get(numbers[0], 99) + 1 if numbers else 99
            if len(numbers) < length:
                return None
            colour = ";".join((code, *numbers[:length]))
            del numbers[:length]
            front = code == "38"
            pen = pen._replace(foreground=colour) if front else pen._replace(background=colour)
        elif re.fullmatch("3[0-7]|9[0-7]", code):
            pen = pen._replace(foreground=code)
        elif re.fullmatch("4[0-7]|10[0-7]", code):
            pen = pen._replace(background=code)
        elif code == "39":
            pen = pen._replace(foreground="")
        elif code == "49":
            pen = pen._replace(background="")
        elif re.fullmatch("[1-9]", code):
            pen = pen._replace(attributes=pen.attributes | {code})
        else:
            return None
    return pen


@lru_cache(4096)
def _change(before: Pen | None, after: Pen) -> str:
    """Return what makes one style of another, or of one that isn't known; "" if they are the same."""
    if after == before:
        return ""
    if before is None or after == Pen() or before.attributes - after.attributes:
        codes = ["0", *sorted(after.attributes), after.foreground, after.background]
        return f"\x1b[{';'.join(code for code in codes if code)}m"
    codes = sorted(after.attributes - before.attributes)
    if after.foreground != before.foreground:
        codes.append(after.foreground or "39")
    if after.background != before.background:
        codes.append(after.background or "49")
    return f"\x1b[{';'.join(codes)}m"


class Thrift:
    """Says styles where they change. What it knows nothing of it passes on, and knows no style then."""

    def __init__(self) -> None:
        self._pen: Pen | None = None  # the terminal's; None where it isn't known

    def fewer(self, data: str) -> str:
        """Return what has the effect of `data` on the terminal: on its screen, and on what comes next."""
        said: list[str] = []
        wanted = self._pen
        for piece in _PIECES.split(data):
            if style := _STYLE.fullmatch(piece):
                styled = _styled(wanted, style[1])
                if styled is None:
                    said += (self._to(wanted), piece)
                    self._pen = None
                wanted = styled
            elif _MOVE.fullmatch(piece):
                said.append(piece)
            elif piece:
                said += (self._to(wanted, blank=not piece.strip(" ")), piece)
                if "\x1b" in piece:
                    wanted = self._pen = None
        said.append(self._to(wanted))
        return "".join(said)

    def _to(self, wanted: Pen | None, *, blank: bool = False) -> str:
        """Return what gives the terminal a style; of blanks only the background shows."""
        if wanted is None:  # it was passed on
            return ""
        before, self._pen = self._pen, wanted
        if blank and before is not None and _REVERSE not in before.attributes | wanted.attributes:
            lost = before.attributes - wanted.attributes
            self._pen = wanted._replace(foreground="" if lost else before.foreground)
        return _change(before, self._pen)


def thrifty(driver: type[Driver]) -> type[Driver]:
    """Return a driver that writes the same in fewer bytes."""

    class ThriftyDriver(driver):  # type: ignore[misc, valid-type]
        """Passes what is written through `Thrift`."""

        _thrift: Thrift | None = None

        def write(self, data: str) -> None:
            if self._thrift is None:
                self._thrift = Thrift()
            super().write(self._thrift.fewer(data))

    return ThriftyDriver
