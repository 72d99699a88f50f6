"""Figures of experiments as files: SVG beside a result, each with a title that says what it shows."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eostui.errors import InputError, printable
from eostui.sweeps.summary import write_whole

_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
#: So many charts an experiment has at most: files of more are of something else.
_MOST = 20


@dataclass(frozen=True)
class Drawing:
    """A figure of an experiment: one chart.

    Attributes:
        alternative: in words what it shows.
        svg: the picture.
    """

    alternative: str
    svg: str

    @classmethod
    def titled(cls, alternative: str, svg: str) -> Drawing:
        """Return a figure whose picture has what it shows as its title."""
        head = svg.index(">", svg.index("<svg")) + 1
        title = html.escape(printable(alternative), quote=False)
        return cls(alternative, f"{svg[:head]}\n <title>{title}</title>{svg[head:]}")


def drawing_file(result_file: Path, number: int) -> Path:
    """Return where a figure of a result is kept, numbered from 1."""
    return result_file.with_name(f"{result_file.stem}.{number}.svg")


def stored_drawings(result_file: Path) -> list[Drawing]:
    """Return the figures that are kept of a result, as far as they can be read."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        for number in range(1, _MOST + 1):
            svg = drawing_file(result_file, number).read_text(encoding="utf-8")
            title = _TITLE.search(svg)
            found.append(Drawing(html.unescape(title[1]) if title else "", svg))
    return found


def keep_drawings(result_file: Path, drawings: Sequence[Drawing]) -> None:
    """Write the figures of a result in place of those before. Raises InputError."""
    for number in range(len(drawings) + 1, _MOST + 1):
        file = drawing_file(result_file, number)
        try:
            file.unlink(missing_ok=True)
        except OSError as error:  # of a read-only disk it is so where there is no such file
            raise InputError(f"{file}: can't be removed: {error.strerror}") from None
    for number, drawing in enumerate(drawings[:_MOST], start=1):
        write_whole(drawing_file(result_file, number), drawing.svg)
