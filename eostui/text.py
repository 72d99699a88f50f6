"""What people write, read: files of text, TOML, numbers."""

from __future__ import annotations

import codecs
import math
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eostui.errors import InputError


def read_text(path: Path, where: str) -> str:
    """Return the text of a file, in UTF-8 or with the mark of UTF-16, whatever its line ends are.

    Raises:
        InputError: if it can't be read, or is no such text; `where` names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{where}: can't be read: {error}") from None
    # what Windows writes: a byte order mark, and UTF-16 where a shell's output was sent to a file
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in content and not wide:
        raise InputError(
            f"{where}: can't be read: no text in UTF-8, but with zero bytes, as UTF-16"
        )
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{where}: can't be read: no text in UTF-8 (line {line}: {error.reason})"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML. Raises InputError with the place of a syntax error, and what stands there."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not valid TOML: {error}{_stranger(text, str(error))}") from None


def plain(value: Any) -> Any:
    """Return a value with NaN and infinities in it replaced by None: JSON lacks them."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _stranger(text: str, complaint: str) -> str:
    """Return which character stands where TOML can't be parsed, if it is one that looks like another."""
    place = re.search(r"at line (\d+), column (\d+)", complaint)
    if place is None:
        return ""
    line, column = (int(number) - 1 for number in place.groups())
    character = text.split("\n")[line][column : column + 1]
    if not character or character.isascii():
        return ""
    name = unicodedata.name(character, f"U+{ord(character):04X}").lower()
    return f": the character there is {name}"


def parse_number(text: str) -> float:
    """Parse a number as people type it: `0.02`, `1e-3`, `2/100`.

    Raises:
        InputError: if it isn't one, or not finite.
    """
    numerator, slash, denominator = text.strip().partition("/")
    try:
        value = float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"`{text.strip()}` isn't a number; type one like 0.02, 1e-3 or 2/100")
    return value
