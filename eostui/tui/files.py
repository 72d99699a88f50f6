"""What the application writes into the present folder: a run as CSV, the screen as a picture."""

from __future__ import annotations

from pathlib import Path

from eostui.errors import InputError
from eostui.locations import present_folder
from eostui.runs.edit import note, refuse_note
from eostui.runs.export import export_files
from eostui.runs.run import Run
from eostui.runs.save_preset import save_preset
from eostui.runs.shelf import read_entry, safe_name
from eostui.tui.svg import portable


def write_csv(run: Path) -> str:
    """Write a run as CSV and return what to say of it. Raises EostuiError."""
    target = present_folder() / f"{safe_name(run.name)}.csv"
    with Run(run) as opened:
        _, rows = export_files(opened, target)
    return f"{rows} rows in {target}"


def write_preset(run: Path, name: str) -> str:
    """Save a run as a preset and return what to say of it. Raises EostuiError."""
    with Run(run) as opened:
        return f"preset in {save_preset(opened, name)}"


def checked_note(text: str) -> str:
    """Return the text if it can be a note. Raises InputError."""
    if refusal := refuse_note(text):
        raise InputError(refusal)
    return text


def write_note(run: Path, text: str) -> str:
    """Write a note on a run, live or ended, and return what to say of it. Raises EostuiError."""
    note(read_entry(run), text)
    return f"{run.name} {'is noted' if text else 'has no note'}"


def write_picture(name: str, screenshot: str) -> str:
    """Write a screenshot as an SVG picture and return what to say of it. Raises InputError."""
    target = present_folder() / f"{safe_name(name)}.svg"
    try:
        target.write_text(portable(screenshot), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target}: can't be written: {error.strerror}") from None
    return f"picture in {target}"
