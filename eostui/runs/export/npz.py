"""A table as NumPy's .npz: a file of arrays, one a column, arrays of a row in their own shape."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eostui.runs.export.table import Progress, RunTable
from eostui.runs.export.text import Values

#: The one column that is known in every row and whole.
_WHOLE = "step"
#: Bytes of a column that are compressed at a time.
_AT_ONCE = 1 << 20


def write_npz(table: RunTable, path: Path, progress: Progress | None = None) -> int:
    """Write a table; return the row count.

    Columns are float64, NaN where nothing is known; `step` is int64; what tells several runs apart is
    text, or of its own kind. Columns that are the numbers of one array are an array of shape
    (rows, *shape), by its name. `numpy.load` reads it without pickle.

    Raises:
        OSError: if the file can't be written.
    """
    labels = {label.column.name: label for label in table.labels}
    columns = [column.name for column in table.columns]
    groups = {name: ((name,), ()) for name in columns} | table.arrays()
    within = {flat for name, (flats, _) in groups.items() if flats != (name,) for flat in flats}
    groups = {name: group for name, group in groups.items() if name not in within}
    told: dict[str, list[Values]] = {name: [] for name in groups if name in labels}
    rows = 0
    with tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent) as folder:
        # a long table doesn't fit into memory, and an archive takes one array after another
        parts = {name: Path(folder) / str(n) for n, name in enumerate(groups) if name not in told}
        for block in table.blocks(progress):
            rows += len(block[_WHOLE])
            for name, values in told.items():
                known = block[name].dtype.kind != "f" or labels[name].kind is not str
                values.append(block[name] if known else np.full(len(block[name]), ""))
            for name, part in parts.items():
                with part.open("ab") as file:
                    stacked = [_typed(name, block[flat]) for flat in groups[name][0]]
                    file.write(np.stack(stacked, axis=1).tobytes())
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, (_, shape) in groups.items():
                # always the same date: the same rows are the same file
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                    if name in told:
                        np.lib.format.write_array(file, np.concatenate(told[name]))
                        continue
                    dtype = np.dtype("<i8" if name == _WHOLE else "<f8")
                    header = {"descr": dtype.str, "fortran_order": False, "shape": (rows, *shape)}
                    np.lib.format.write_array_header_1_0(file, header)
                    for chunk in _chunks(parts[name]):
                        file.write(chunk)
    return rows


def _typed(name: str, values: Values) -> Values:
    return values.astype("<i8" if name == _WHOLE else "<f8")


def _chunks(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        while chunk := file.read(_AT_ONCE):
            yield chunk
