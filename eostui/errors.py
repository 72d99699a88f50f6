"""Errors with a sentence for a person and an exit code for a program."""

from __future__ import annotations

from collections.abc import Iterable

from eostui.nearest import nearest

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_DIVERGED = 3
EXIT_INTERRUPTED = 130


class EostuiError(Exception):
    """Something went wrong that one sentence explains: what, where, and what would be right."""

    exit_code = EXIT_FAILED


class InputError(EostuiError):
    """The user's input is wrong: a name, a value, a file, a folder, a device."""

    exit_code = EXIT_INPUT


class RunFormatError(EostuiError):
    """A run directory can't be read: damaged, or of a newer format."""


class BusyError(RunFormatError):
    """A run can't be read now, since another program has locked it; later it can."""


class StoreError(EostuiError):
    """A run's store can't be written any more: full, read-only, locked or failing.

    Attributes:
        cause: which of these.
    """

    def __init__(self, sentence: str, cause: str = "") -> None:
        super().__init__(sentence)
        self.cause = cause or sentence


class Interrupted(EostuiError):
    """The user ended it, by ctrl+c or another signal; what was done until then is said."""

    def __init__(self, sentence: str, exit_code: int = EXIT_INTERRUPTED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def printable(text: str) -> str:
    """Return the text with control characters replaced: a run or preset may come from a stranger."""
    if text.isprintable():  # nearly all are, and a record has many
        return text
    return "".join(c if c.isprintable() else "�" for c in text)


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return '; did you mean `x`?' for the nearest valid name, or '' when none is near."""
    near = nearest(name, valid)
    return f"; did you mean `{near}`?" if near else ""
