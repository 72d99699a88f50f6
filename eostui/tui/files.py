"""What the application writes: a run as CSV, the screen as a picture, its charts as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from eostui.errors import InputError
from eostui.figures.files import Sheet, check_target, write_figure
from eostui.figures.picture import Picture
from eostui.locations import expanded, present_folder
from eostui.runs.edit import note, refuse_note
from eostui.runs.export import RunTable, export_files
from eostui.runs.run import Run
from eostui.runs.save_preset import save_preset
from eostui.runs.shelf import read_entry, safe_name
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


class FigureName:
    """Understands the name that is typed for a figure: one that is taken is asked for twice."""

    def __init__(self) -> None:
        self._refused: Path | None = None

    def __call__(self, text: str) -> Path:
        """Return where the figure is to be written.

        Raises:
            InputError: if no figure has such a name, or a file has it, the first time.
        """
        target = check_target(present_folder() / expanded(Path(text.strip())))
        if target.exists() and target != self._refused:
            self._refused = target
            raise InputError(f"{target} is there: enter once more replaces it")
        return target


def write_as_figure(picture: Picture, target: Path) -> str:
    """Write a figure, in the width of a column, or of a page where several charts are side by side, and
    return what to say of it. Raises InputError."""
    write_figure(picture, target, Sheet("double" if len(picture.subplots) > 1 else "single"))
    return f"figure in {target}"
