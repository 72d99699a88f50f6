"""What the program remembers of how its user likes it: a file in the settings folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import tomli_w

from eostui import locations
from eostui.errors import EostuiError, InputError, did_you_mean
from eostui.text import parse_toml, read_text


@dataclass(frozen=True)
class Preferences:
    """What is remembered, as `settings.toml` has it.

    Attributes:
        theme: name of the colours of the live view, "" for the program's own.
    """

    theme: str = ""


def read() -> Preferences:
    """Return what is remembered; nothing where there is no file.

    Raises:
        InputError: if the file can't be read, or says what isn't known.
    """
    file = locations.preferences_file()
    if not file.exists():
        return Preferences()
    values = parse_toml(read_text(file, str(file)), str(file))
    known = [field.name for field in fields(Preferences)]
    for key, value in values.items():
        if key not in known:
            raise InputError(f"{file}: unknown key `{key}`{did_you_mean(key, known)}")
        if not isinstance(value, str):
            raise InputError(f"{file}: `{key}` is {value!r}, but must be text")
    return Preferences(**values)


def remember(preferences: Preferences) -> Path:
    """Keep preferences for the next time; return the file. Raises EostuiError if it can't be written."""
    file = locations.preferences_file()
    aside = file.with_name(f".{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(
            tomli_w.dumps({k: v for k, v in asdict(preferences).items() if v}), encoding="utf-8"
        )
        aside.replace(file)  # never half a file, whoever reads it meanwhile
    except OSError as error:
        raise EostuiError(f"{file}: can't be written: {error.strerror}") from None
    return file
