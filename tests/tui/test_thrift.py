"""What is written in fewer bytes, on an emulated terminal beside what it was."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eostui.tui.thrift import fewer

_TEXTS = st.text(alphabet="ab⣿─ \n", min_size=1, max_size=6)
_CODES = st.sampled_from(
    [
        "", "0", "1", "3", "4", "5", "7", "9", "22", "24", "27", "31", "39", "42", "49", "95", "103",
        "38;5;244", "48;5;16", "38;2;1;2;3", "48;2;9;8;7", "38;5;74;48;5;16", "1;38;5;215;48;5;16",
        "0;4;38;5;1", "38;5", "38", "38;9;1", "1;;4", "3;", "021", "100;32",
    ]
)  # fmt: skip
_STYLES = _CODES.map("\x1b[{}m".format)
_MOVES = st.tuples(st.integers(1, 6), st.integers(1, 20)).map(lambda at: "\x1b[{};{}H".format(*at))
_OTHERS = st.sampled_from(
    ["\x1b[?2026h", "\x1b[2J", "\x1b[K", "\x1b]0;title\x07", "\x1b7", "\x1b8"]
)
_WRITES = st.lists(
    st.lists(_TEXTS | _STYLES | _MOVES | _OTHERS, max_size=12).map("".join), max_size=4
)


def shown(writes: list[str]) -> tuple[list, object]:
    """The cells of a terminal of 6 × 20 after that, as one sees them, and the style that comes next."""
    screen = pyte.Screen(20, 6)
    stream = pyte.Stream(screen)
    for write in writes:
        stream.feed(write)
    cells = []
    for line in range(6):
        for column in range(20):
            cell = screen.buffer[line][column]
            if (
                cell.data == " "
            ):  # bold, italic and blinking blanks are blanks, and so are coloured ones
                drawn = cell.reverse or cell.underscore or cell.strikethrough
                fg = cell.fg if drawn else ""
                cell = cell._replace(fg=fg, bold=False, italics=False, blink=False)
            cells.append(cell)
    return cells, (screen.cursor.x, screen.cursor.y, screen.cursor.attrs)


@given(_WRITES)
@example(["\x1b[0m\x1b[31;7ma\x1b[0m", "\x1b[42m \x1b[4m \x1b[0m \x1b[31mb"])
@example(["\x1b[0m\x1b[31mA\x1b[0m\x1b[4;32m   \x1b[0m"])
@example(["\x1b[0m\x1b[1;31;4", "m \x1b[0m"])
@example(["\x1b[1;31ma\x1b[0m\x1b[22mb", "\x1b[38;5;7mc"])
def test_the_terminal_shows_the_same(writes: list[str]) -> None:
    assert shown([fewer(write) for write in writes]) == shown(writes)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # the same colours again
        ("\x1b[0m\x1b[31;42ma\x1b[0m\x1b[31;42mb\x1b[0m", "\x1b[0;31;42mab\x1b[0m"),
        # another foreground; blanks have none
        ("\x1b[0m\x1b[31;42ma\x1b[0m\x1b[32;42m  \x1b[0m\x1b[33;42mb", "\x1b[0;31;42ma  \x1b[33mb"),
        # an attribute that ends
        ("\x1b[0m\x1b[1;31ma\x1b[0m\x1b[31mb\x1b[0m", "\x1b[0;1;31ma\x1b[0;31mb\x1b[0m"),
        # nothing is known before a reset
        ("\x1b[31ma\x1b[31mb", "\x1b[31ma\x1b[31mb"),
    ],
)  # fmt: skip
def test_styles_are_said_where_they_change(before: str, after: str) -> None:
    assert fewer(before) == after
