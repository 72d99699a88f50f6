"""A run as CSV, with a JSON file beside it that says what every column means."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from eostui.errors import InputError
from eostui.runs.run import Run

_CHUNK = 10_000
_WHOLE_NUMBERS = {"step", "hessian_products", "escape_step", "calibration"}


def write_csv(
    run: Run,
    stream: TextIO,
    *,
    measured_only: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write one row a step with a header, empty where a value isn't known; return the row count.

    Numbers are written so that reading them back gives the same float64. `progress` is told how many
    rows of how many are written.
    """
    return write_table(run.columns(measured_only=measured_only), stream, progress=progress)


def write_table(
    table: Mapping[str, NDArray[Any]],
    stream: TextIO,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write columns of numbers or texts, of one length, as `write_csv` does; return the row count."""
    stream.write(",".join(table) + "\n")
    rows = len(next(iter(table.values())))
    for start in range(0, rows, _CHUNK):
        cells = [_texts(name, values[start : start + _CHUNK]) for name, values in table.items()]
        stream.writelines(",".join(row) + "\n" for row in zip(*cells, strict=True))
        if progress is not None:
            progress(min(start + _CHUNK, rows), rows)
    return rows


def export_files(
    run: Run,
    target: Path,
    *,
    measured_only: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, int]:
    """Write `target` and the JSON sidecar beside it; return the sidecar's path and the row count.

    Each file is written aside and renamed, so that a reader never sees half of one.

    Raises:
        InputError: if the files can't be written there.
    """
    return export_table(
        target,
        lambda stream: write_csv(run, stream, measured_only=measured_only, progress=progress),
        describe(run),
    )


def export_table(
    target: Path, write: Callable[[TextIO], int], description: dict[str, Any]
) -> tuple[Path, int]:
    """Write `target` by `write`, which returns the row count, and `description` beside it as JSON.

    Files, result and errors are those of `export_files`.
    """
    sidecar = target.with_suffix(".json")
    if sidecar == target:
        raise InputError(f"{target}: name the CSV file .csv; the .json beside it is written too")
    try:
        with _replacing(target) as stream:
            rows = write(stream)
        with _replacing(sidecar) as stream:
            json.dump(description, stream, indent=2, ensure_ascii=False)
            stream.write("\n")
    except OSError as error:
        raise InputError(f"{target}: can't be written: {error.strerror}") from None
    return sidecar, rows


def describe(run: Run) -> dict[str, Any]:
    """Return what a reader of the CSV needs: config, versions, conventions, columns, events."""
    facts = {key: value for key, value in run.facts.items() if key != "config"}
    return {
        "run": {**facts, "status": run.state},
        "config": run.config.acting(mode="json"),
        "columns": {c.name: {"unit": c.unit, "description": c.description} for c in run.exported()},
        "events": [
            {"step": e.step, "unix_time": e.unix_time, "kind": e.kind, "payload": e.payload}
            for e in run.events
        ],
    }


def _texts(name: str, values: NDArray[Any]) -> list[str]:
    """Return the cells of one column; most columns are empty or constant over a chunk."""
    if values.dtype.kind == "U":
        return [str(text) for text in values]
    known = np.flatnonzero(~np.isnan(values))
    cells = [""] * len(values)
    numbers = values[known]
    if len(numbers) and (numbers == numbers[0]).all() and numbers[0] != 0:  # −0.0 equals 0.0
        texts = [_text(name, float(numbers[0]))] * len(numbers)
    else:
        texts = [_text(name, number) for number in numbers.tolist()]
    if len(known) == len(values):
        return texts
    for row, text in zip(known.tolist(), texts, strict=True):
        cells[row] = text
    return cells


def _text(name: str, number: float) -> str:
    return str(int(number)) if name in _WHOLE_NUMBERS else repr(number)


class _replacing:
    """A text file written aside and renamed onto `target` when all went well."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")

    def __enter__(self) -> TextIO:
        self._stream = self._aside.open("w", encoding="utf-8", newline="")
        return self._stream

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stream.close()
        if kind is None:
            self._aside.replace(self._target)
        else:
            self._aside.unlink(missing_ok=True)
