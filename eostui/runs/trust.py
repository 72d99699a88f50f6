"""Whether the code that a run names may be executed: a run directory may come from a stranger."""

from __future__ import annotations

from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import InputError


def refuse_foreign_code(config: RunConfig, path: Path, *, trusted: bool) -> None:
    """Refuse to run the code of one's own that a stored config names as its problem.

    Args:
        config: as stored in a run directory.
        path: that directory.
        trusted: whether the user said that it may be run.

    Raises:
        InputError: if it names code and wasn't trusted.
    """
    if ":" in config.problem and not trusted:
        raise InputError(
            f"{path}: its problem is the code in {config.problem}, which going on with it would execute; "
            "if that is your own, add --trust"
        )
