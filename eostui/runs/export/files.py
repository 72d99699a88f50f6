"""Exports as files: written aside and renamed, so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from eostui.errors import InputError, did_you_mean
from eostui.runs.export.npz import write_npz
from eostui.runs.export.parquet import write_parquet
from eostui.runs.export.table import ROWS, Progress, RunTable
from eostui.runs.export.tensorboard import folders, write_tensorboard
from eostui.runs.export.text import TableBlock, write_csv, write_json_lines
from eostui.runs.run import Run

#: The formats, with the endings by which they are known.
FORMATS = {
    "csv": (".csv",),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet", ".pq"),
    "npz": (".npz",),
    "tensorboard": (),
}
_WRITERS = {"csv": write_csv, "jsonl": write_json_lines}
_FORMAT_OF = {ending: format for format, endings in FORMATS.items() for ending in endings}
#: After the ending of a text: it is written compressed.
GZIP = ".gz"
#: What no format here is, nor is written by any: nothing else gets such a name.
_FOREIGN = {
    ".bz2", ".xz", ".zst", ".lz4", ".z", ".zip", ".7z", ".rar", ".tar", ".tgz", ".xlsx", ".xls",
    ".ods", ".json", ".tsv", ".npy", ".mat", ".h5", ".hdf5", ".feather", ".arrow", ".orc",
    ".pkl", ".pickle", ".pt", ".pth", ".safetensors", ".db", ".sqlite", ".toml", ".yaml", ".svg",
}  # fmt: skip


def format_of(name: str, chosen: str | None = None, among: Collection[str] = tuple(FORMATS)) -> str:
    """Return the format in which a file is to be written.

    Args:
        name: of the file, with `.gz` after it for compressed text; or `-`. Without an ending it is CSV.
        chosen: the format, where the name's ending shall not say it.
        among: the formats that can be written there.

    Raises:
        InputError: if there is no such format, or the file would have the name of something else.
    """
    if chosen is not None and chosen not in FORMATS:
        raise InputError(
            f"--format is {chosen}, but must be one of {', '.join(FORMATS)}"
            f"{did_you_mean(chosen, FORMATS)}"
        )
    packed = is_packed(name)
    ending = Path(name[: -len(GZIP)] if packed else name).suffix.lower()
    named = _FORMAT_OF.get(ending)
    format = chosen or named or (None if ending or packed else "csv")
    if (
        format is not None
        and format in among
        and named in (None, format)
        and ending not in _FOREIGN
        and (format in _WRITERS or not packed)
        and (format == "tensorboard" or not name.endswith("/"))
    ):
        return format
    fitting = [format] if format is not None and format in among else among
    right = [f"{each[0]}{more}" for one in fitting if (each := FORMATS[one])
             for more in (("", GZIP) if one in _WRITERS else ("",))]  # fmt: skip
    advice = f"end it in {' or '.join(right)}" if right else "name a folder"
    if format is None and ending not in _FOREIGN and len(among) > 1:
        advice += ", or say --format"
    what = f"{format} isn't written" if format else "nothing is written"
    raise InputError(f"{name}: {what} under such a name: {advice}")


def is_packed(name: str | Path) -> bool:
    """Return whether a file of this name is to be compressed."""
    return str(name).lower().endswith(GZIP)


def write_stream(table: RunTable, stream: TextIO, format: str = "csv") -> int:
    """Write a table to a stream of text as `csv` or `jsonl`; return the row count.

    Raises:
        InputError: if the format isn't text.
    """
    if format not in _WRITERS:
        raise InputError(f"{format} can't be written to stdout: name a file or folder with -o")
    return _WRITERS[format](table.blocks(), stream)


def export_files(
    runs: Run | Sequence[Run | Path] | RunTable,
    target: Path,
    *,
    format: str = "csv",
    measured_only: bool = False,
    progress: Progress | None = None,
) -> tuple[Path | None, int]:
    """Write one run, or several into one table with columns that tell them apart, as `target`.

    Beside a table lies a JSON file that explains its columns; a Parquet file has that inside as well. For
    `tensorboard` the target is a folder, which gets a folder of event files for each run.

    Args:
        runs: one run, or several; or a table of them, whose rows are chosen already.
        target: replaced only when all is written; text that shall end in `.gz` is compressed.
        format: one of FORMATS.
        measured_only: only the rows at which something was measured.
        progress: told how many rows of how many are done.

    Returns:
        The path of the JSON file, if there is one, and the row count.

    Raises:
        InputError: if the files can't be written there, or the format needs a package that isn't here.
    """
    table = runs if isinstance(runs, RunTable) else RunTable(runs, measured_only=measured_only)
    if format == "tensorboard":
        return None, _export_folders(table, target, progress)
    description = table.describe()

    def write(aside: Path) -> int:
        if format == "parquet":
            return write_parquet(table, aside, description, progress)
        if format == "npz":
            return write_npz(table, aside, progress)
        with _text(aside, packed=is_packed(target)) as stream:
            return _WRITERS[format](table.blocks(progress), stream)

    return _export_pair(target, write, description)


def export_columns(
    columns: TableBlock, target: Path, description: dict[str, Any], progress: Progress | None = None
) -> tuple[Path, int]:
    """Write columns of numbers or texts, of one length, as CSV, and `description` beside it as JSON.

    Files, result and errors are those of `export_files`.
    """

    def write(aside: Path) -> int:
        with _text(aside, packed=is_packed(target)) as stream:
            return write_columns(columns, stream, progress)

    return _export_pair(target, write, description)


def write_columns(columns: TableBlock, stream: TextIO, progress: Progress | None = None) -> int:
    """Write columns of numbers or texts, of one length, as CSV; return the row count."""

    def blocks() -> Iterator[TableBlock]:
        rows = len(next(iter(columns.values())))
        for start in range(0, max(rows, 1), ROWS):
            yield {name: values[start : start + ROWS] for name, values in columns.items()}
            if progress is not None:
                progress(min(start + ROWS, rows), rows)

    return write_csv(blocks(), stream)


@contextmanager
def _text(path: Path, *, packed: bool) -> Iterator[TextIO]:
    """Open a new file for UTF-8 text; compressed, the same text gives the same bytes."""
    if not packed:
        with path.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=0) as pack,
        io.TextIOWrapper(pack, encoding="utf-8", newline="") as stream,
    ):
        yield stream


@contextmanager
def replacing(*targets: Path) -> Iterator[list[Path]]:
    """Give a path aside for each target, renamed onto it when the block went well, else removed.

    Raises:
        InputError: if a target is neither a file nor free, or the disk or its permissions refuse.
    """
    places = [target.resolve() for target in targets]  # a link stays one
    for target, place in zip(targets, places, strict=True):
        if place.exists() and not place.is_file():
            raise InputError(f"{target}: can't be written: it is there, and isn't a file")
        if not place.parent.exists():
            raise InputError(f"{target}: can't be written: there is no folder {target.parent}")
    asides = [place.with_name(f".{place.name}.{secrets.token_hex(4)}") for place in places]
    try:
        yield asides
        for aside, place in zip(asides, places, strict=True):
            aside.replace(place)
    except OSError as error:
        raise InputError(f"{targets[0]}: can't be written: {error.strerror or error}") from None
    finally:
        for aside in asides:
            with contextlib.suppress(OSError):  # what couldn't be made, or has become the target
                aside.unlink()


def _export_pair(
    target: Path, write: Callable[[Path], int], description: dict[str, Any]
) -> tuple[Path, int]:
    """Write `target` by `write`, which returns the row count, and `description` beside it."""
    plain = target.with_suffix("") if is_packed(target) else target
    sidecar = plain.with_suffix(".json")
    if sidecar == target:
        raise InputError(f"{target}: name the CSV file .csv; the .json beside it is written too")
    if sidecar.exists() and not _is_description(sidecar):
        raise InputError(
            f"{sidecar}: isn't replaced: it is no description of an export; give {target} another name"
        )
    with replacing(target, sidecar) as (aside, sidecar_aside):
        rows = write(aside)
        with sidecar_aside.open("w", encoding="utf-8") as stream:
            json.dump(description, stream, indent=2, ensure_ascii=False)
            stream.write("\n")
    return sidecar, rows


def _is_description(path: Path) -> bool:
    """Return whether a file is what an export puts beside its table."""
    try:
        return "columns" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _export_folders(table: RunTable, target: Path, progress: Progress | None) -> int:
    """Write a folder of event files for each run into `target`; return the row count."""
    written: list[tuple[Path, Path]] = []
    done = 0
    try:
        target.mkdir(parents=True, exist_ok=True)
        for number, place in enumerate(folders(table, target)):
            _only_events(place)
            aside = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
            written.append((aside, place))
            aside.mkdir()
            done = write_tensorboard(table, number, aside, done, progress)
        for aside, place in written:
            if place.exists():  # a folder can't be replaced at one go
                before = aside.with_suffix(".before")
                place.rename(before)
                aside.rename(place)
                shutil.rmtree(before)
            else:
                aside.rename(place)
    except OSError as error:
        raise InputError(f"{target}: can't be written: {error.strerror or error}") from None
    finally:
        for aside, _ in written:
            shutil.rmtree(aside, ignore_errors=True)
    return done


def _only_events(place: Path) -> None:
    """Raise InputError if a folder that would be replaced holds anything but event files."""
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise InputError(f"{place}: can't be replaced: it isn't a folder")
    others = [path.name for path in place.glob("*") if ".tfevents." not in path.name]
    if others:
        raise InputError(f"{place}: isn't replaced: it holds {others[0]}, which is no event file")
