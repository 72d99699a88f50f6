"""stdin, stdout and stderr as they come: closed, or in an encoding that lacks η; then as ASCII.

What a stream can't say is said otherwise: signs of the field become words (`eta`), what draws becomes
what looks like it. A screen or a picture, whose cells must stay where they are, gets one cell for each.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from typing import TextIO

#: Error handlers of encodings: for lines of text, and for screens and pictures.
WORDS, CELLS = "eostui.words", "eostui.cells"

#: ASCII by another name: what is called ASCII is taken by Click for a mistake, and given UTF-8.
ASCII = "eostui_ascii"

_WORDS = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "η": "eta", "θ": "theta", "κ": "kappa",
    "λ": "lambda", "Δ": "Delta", "∇": "grad ", "‖": "|", "⟨": "<", "⟩": ">", "⟂": "_|_", "½": "1/2",
    "¼": "1/4", "²": "^2", "³": "^3", "⁴": "^4", "√": "sqrt ", "Σ": "sum ", "₁": "1", "₂": "2",
    "−": "-", "–": "-", "—": "-", "×": "x", "÷": "/", "·": ".", "≈": "~", "≤": "<=", "≥": ">=",
    "→": "->", "…": "...", "±": "+-", "∞": "inf", "′": "'", "’": "'", "“": '"', "”": '"', "�": "?",
}  # fmt: skip
_CELLS = {
    "α": "a", "β": "b", "γ": "g", "δ": "d", "η": "n", "θ": "t", "κ": "k", "λ": "l", "Δ": "D",
    "∇": "d", "⟂": "T", "½": "h", "√": "V", "Σ": "E", "≤": "<", "≥": ">", "→": ">", "←": "<",
    "↑": "^", "↓": "v", "…": "~", "±": "+", "∞": "8", "●": "@", "○": "O", "•": "*", "▲": "^", "▴": "^",
    "▼": "v", "■": "#", "✓": "+", "✗": "x", "‖": "|", "│": "|", "┊": ":", "┆": ":", "╎": ":", "┃": "|",
    "─": "-", "━": "-", "╌": "-", "┈": ".", "═": "=", "⏎": "<", "⇧": "^",
    "▦": "#",
}  # fmt: skip


def prepare_streams() -> None:
    """Give every stream that is closed a place, and each that is written to a way to say everything.

    A file opened later would else get the number of a closed stream, and what is printed with it. What
    goes to a closed stdout fails, as it does everywhere; what is told on a closed stderr goes nowhere.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY),
                                (2, "stderr", os.O_WRONLY)):  # fmt: skip
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    for written in (sys.stdout, sys.stderr):
        ascii_only = codecs.lookup(written.encoding or "utf-8").name == "ascii"
        _reconfigure(written, errors=WORDS, **({"encoding": ASCII} if ascii_only else {}))


def say_ascii() -> None:
    """Say all that comes in ASCII."""
    for stream in (sys.stdout, sys.stderr):
        _reconfigure(stream, encoding=ASCII, errors=WORDS)


def draw_in_cells() -> None:
    """Have what the terminal's encoding lacks drawn cell by cell."""
    for stream in (sys.stdout, sys.stderr):
        _reconfigure(stream, errors=CELLS)


def data_stream() -> TextIO:
    """Return stdout for a table that programs read: in UTF-8, as files are, wherever it goes."""
    _reconfigure(sys.stdout, encoding="utf-8", errors="surrogateescape")
    return sys.stdout


def sayable(text: str, stream: TextIO | None = None, *, cells: bool = False) -> str:
    """Return the text as a stream, stdout if left out, will say it."""
    encoding = (stream or sys.stdout).encoding or "utf-8"
    return text.encode(encoding, CELLS if cells else WORDS).decode(encoding, "surrogateescape")


def speaks_unicode(stream: TextIO) -> bool:
    """Return whether a stream can say everything."""
    return "utf" in (stream.encoding or "").lower()


def drop(stream: TextIO) -> None:
    """Let go nowhere what a stream can't take any more, or Python fails by it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _reconfigure(stream: TextIO, **how: str) -> None:
    if isinstance(stream, io.TextIOWrapper):  # tests put others in place
        stream.reconfigure(**how)  # type: ignore[arg-type]


def _said(error: UnicodeError, *, cells: bool) -> tuple[str | bytes, int]:
    """Say what an encoding lacks; bytes of a file's name that are no text go as they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    first = error.object[error.start]
    if "\udc80" <= first <= "\udcff" and not cells:
        return bytes([ord(first) - 0xDC00]), error.start + 1
    return _cell(first) if cells else _word(first), error.start + 1


def _word(character: str) -> str:
    if character in _WORDS:
        return _WORDS[character]
    drawn = _cell(character)
    if drawn != "?" and unicodedata.category(character).startswith("S"):
        return drawn  # what draws; letters are escaped, or a name would be another
    return character.encode("ascii", "backslashreplace").decode()


def _cell(character: str) -> str:
    code = ord(character)
    if 0x2800 <= code <= 0x28FF:  # braille: its dots above, below, in both halves
        return " '.:"[bool(code & 0x1B) + 2 * bool(code & 0xE4)]
    if 0x2500 <= code <= 0x257F:
        return _CELLS.get(character, "+")
    if 0x2580 <= code <= 0x259F:  # blocks
        from eostui.charts.levels import ASCII_BARS, BARS

        return ASCII_BARS[BARS.index(character)] if character in BARS else "#"
    if character in _CELLS:
        return _CELLS[character]
    from rich.cells import cell_len

    width = cell_len(character)
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if len(plain) == width and plain.isprintable():
        return plain
    said = _WORDS.get(character, "")
    return said if len(said) == width else "?" * width


def _ascii(name: str) -> codecs.CodecInfo | None:
    if name != ASCII:
        return None
    known = codecs.lookup("ascii")
    return codecs.CodecInfo(
        known.encode, known.decode, known.streamreader, known.streamwriter,
        known.incrementalencoder, known.incrementaldecoder, ASCII,
    )  # fmt: skip


codecs.register(_ascii)
codecs.register_error(WORDS, lambda error: _said(error, cells=False))
codecs.register_error(CELLS, lambda error: _said(error, cells=True))
