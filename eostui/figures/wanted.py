"""What a figure is to show, as it is typed: panels and columns, each with a scale or its usual one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from eostui.errors import InputError, did_you_mean

SCALES = ("linear", "log", "symlog")
#: What x counts, as it is typed, in the order of a comparison's `AXES`.
AXIS_WORDS = ("steps", "flow", "onset")
#: Panels of several runs alone.
OF_SEVERAL = ("rest",)
#: What else looks like a panel, and where it can be had as a picture.
_ELSEWHERE = {
    "landscape": "the landscape is maps, not curves: the live view shows it, and saves it as SVG",
    "portrait": "the phase portrait is of the reduced map: `eostui simulate --live` shows it",
    "regimes": "the map of regimes is of the reduced map: `eostui simulate --live` shows it",
}


@dataclass(frozen=True)
class Wanted:
    """One chart of a figure.

    Attributes:
        name: of a panel, or of a column.
        is_column: which of them.
        scale: of y; "" for the usual one.
    """

    name: str
    is_column: bool = False
    scale: str = ""


def wanted_of(text: str, *, is_column: bool = False) -> list[Wanted]:
    """Return the charts of a list such as `sharpness,loss:linear`.

    Raises:
        InputError: if a scale isn't one, or a name is lacking.
    """
    found = []
    for part in text.split(","):
        name, colon, scale = part.strip().partition(":")
        flag = "--column" if is_column else "--panel"
        if not name:
            raise InputError(f"{flag} is `{text}`: a name is lacking; `a,b` are two")
        if colon and scale not in SCALES:
            raise InputError(
                f"{flag} {part.strip()}: the scale must be one of {', '.join(SCALES)}"
                f"{did_you_mean(scale, SCALES)}"
            )
        found.append(Wanted(name, is_column, scale))
    return found


def check_name(
    wanted: Wanted, panels: Collection[str], columns: Collection[str], of: str, elsewhere: str = ""
) -> None:
    """Raise InputError if there is no such panel or column.

    Args:
        wanted: the chart.
        panels: names of panels.
        columns: names of columns.
        of: whose they are: `this run`, `several runs`.
        elsewhere: what to say of a panel that others have; "" where none has it.
    """
    kind, others = ("column", panels) if wanted.is_column else ("panel", columns)
    valid = columns if wanted.is_column else panels
    if wanted.name in valid:
        return
    if wanted.name in others:
        other = "panel" if wanted.is_column else "column"
        advice = f"; --{other} {wanted.name} is a {other}"
    else:
        elsewhere = elsewhere or _ELSEWHERE.get(wanted.name, "")
        advice = (elsewhere and f"; {elsewhere}") or did_you_mean(wanted.name, valid)
    there = "" if wanted.is_column and advice else f": there are {', '.join(valid)}"
    raise InputError(f"there is no {kind} `{wanted.name}` of {of}{there}{advice}")


def check_range(
    asked: tuple[float | None, float | None], there: tuple[float, float], of: str
) -> None:
    """Raise InputError if nothing lies in the stretch of x that is asked for.

    Args:
        asked: its ends, None for those that are there.
        there: where x begins and ends.
        of: whose x that is.
    """
    left, right = asked
    if (left is not None and left > there[1]) or (right is not None and right < there[0]):
        words = ["" if end is None else f"{end:.12g}" for end in asked]
        raise InputError(
            f"--x is {':'.join(words)}, but x of {of} goes from {there[0]:.12g} to {there[1]:.12g}"
        )


def command_words(
    runs: Iterable[str],
    charts: Sequence[Wanted],
    x_range: tuple[float | None, float | None],
    *others: str,
) -> tuple[str, ...]:
    """Return the words of the command that makes a figure again, but for its size and its file.

    Args:
        runs: their ids.
        charts: as they were asked for.
        x_range: ends of x as they were asked for, None for those of the runs.
        others: further words.
    """
    words = ["eostui", "figure", *runs]
    for is_column, flag in ((False, "--panel"), (True, "--column")):
        names = [
            f"{each.name}:{each.scale}" if each.scale else each.name
            for each in charts
            if each.is_column == is_column
        ]
        words += [flag, ",".join(names)] if names else []
    if x_range != (None, None):
        words += ["--x", ":".join("" if end is None else repr(float(end)) for end in x_range)]
    return (*words, *others)
