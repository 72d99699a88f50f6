"""`--grid name=low:high:count,…`: what it means."""

from __future__ import annotations

import math

import numpy as np

from eostui.errors import InputError, did_you_mean
from eostui.oscillator import Parameters
from eostui.oscillator.parameters import FloatArray
from eostui.text import parse_number

#: What may be swept, and the field's signs for it.
NAMES = (*Parameters.paper_names(), "x", "y")
ALIASES = {
    "η": "eta", "λ": "weight_decay", "lambda": "weight_decay", "α": "alpha", "β": "beta",
    "weight-decay": "weight_decay", "g-x": "g_x", "gradient-u": "gradient_u", "S": "sharpness",
}  # fmt: skip
MOST_POINTS = 10_000_000
_FORM = "must be NAME=LOW:HIGH:COUNT, or NAME=LOW:HIGH:COUNT:log, one or two with a comma between"


def parse_grid(text: str) -> dict[str, FloatArray]:
    """Return the values of each axis by name, in the order given.

    Raises:
        InputError: if a name is unknown or given twice, a range is empty or no range, a logarithmic one
            isn't above 0, there are more than two axes, or more than MOST_POINTS points.
    """
    axes: dict[str, FloatArray] = {}
    for part in text.split(","):
        given, equals, limits = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise InputError(f"--grid {text}: {_FORM}")
        name = ALIASES.get(given, given)
        if name not in NAMES:
            known = did_you_mean(given, [*NAMES, *ALIASES])
            raise InputError(f"--grid {text}: unknown name `{given}`{known}")
        if name in axes:
            raise InputError(f"--grid {text}: `{name}` is given twice")
        axes[name] = _axis(limits, f"--grid {part.strip()}")
    points = math.prod(map(len, axes.values()))
    if len(axes) > 2:
        raise InputError(f"--grid {text}: {len(axes)} axes, but must be one or two")
    if points > MOST_POINTS:
        raise InputError(f"--grid {text}: {points} points, but must be at most {MOST_POINTS}")
    return axes


def _axis(limits: str, where: str) -> FloatArray:
    pieces = limits.split(":")
    if len(pieces) not in (3, 4) or pieces[3:] not in ([], ["log"], ["lin"]):
        raise InputError(f"{where}: {_FORM}")
    try:
        low, high, count = (parse_number(piece) for piece in pieces[:3])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if not 1 <= count <= MOST_POINTS or count % 1:
        raise InputError(
            f"{where}: the count is {pieces[2]}, but must be a whole number, 1 or more"
        )
    if pieces[3:] == ["log"]:
        if min(low, high) <= 0:
            raise InputError(f"{where}: a logarithmic range must lie above 0")
        return np.geomspace(low, high, int(count))
    return np.linspace(low, high, int(count))
