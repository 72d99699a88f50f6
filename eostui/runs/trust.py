"""Code that a run names, and the user's word without which it isn't executed."""

from __future__ import annotations

from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import InputError

#: The flag by which a user says that a run's code may be executed.
FLAG = "--trust-code"


def refuse_foreign_code(
    config: RunConfig, path: Path, *, trusted: bool = False, word: str = FLAG
) -> None:
    """Raise InputError if going on with a run would execute code that only its record names.

    A user's own preset or command line is the user's word; a stored config is whoever's wrote it.

    Args:
        config: the config stored in the run.
        path: the run directory.
        trusted: whether the user gave their word.
        word: by what they would.
    """
    if (own := config.own_code()) and not trusted:
        files = "that file" if len(own) == 1 else "those files"
        raise InputError(
            f"{path.name} would execute code of `{'`, `'.join(own)}`, which its record names: "
            f"read {files}, and if you trust it say so with {word}"
        )
