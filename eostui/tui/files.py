"""What the application writes into the present folder: a run as CSV, the screen as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from eostui.errors import InputError
from eostui.locations import present_folder
from eostui.runs.export import RunTable, export_files
from eostui.runs.run import Run
from eostui.runs.save_preset import save_preset
from eostui.runs.shelf import safe_name
from eostui.tui.svg import portable


def write_csv(run: Path) -> str:
    """Write a run as CSV and return what to say of it. Raises EostuiError."""
    return write_table([run], csv_target([run]))


def csv_target(runs: Sequence[Path]) -> Path:
    """Return the file in the present folder that runs are written to as CSV. Raises InputError."""
    stem = safe_name(runs[0].name) if len(runs) == 1 else "runs"
    return present_folder() / f"{stem}.csv"


def write_table(runs: Sequence[Path], target: Path) -> str:
    """Write runs into one CSV file and return what to say of it. Raises EostuiError."""
    with ExitStack() as stack:
        table = RunTable(stack.enter_context(Run(runs[0])) if len(runs) == 1 else runs)
        _, rows = export_files(table, target)
    live = [f"{part.path.name} at step {part.last_step}" for part in table.parts if part.live]
    return f"{rows} rows in {target}{'; live: ' if live else ''}{', '.join(live)}"


def write_preset(run: Path, name: str) -> str:
    """Save a run as a preset and return what to say of it. Raises EostuiError."""
    with Run(run) as opened:
        return f"preset in {save_preset(opened, name)}"


def write_picture(name: str, screenshot: str) -> str:
    """Write a screenshot as an SVG picture and return what to say of it. Raises InputError."""
    target = present_folder() / f"{safe_name(name)}.svg"
    try:
        target.write_text(portable(screenshot), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target}: can't be written: {error.strerror}") from None
    return f"picture in {target}"
