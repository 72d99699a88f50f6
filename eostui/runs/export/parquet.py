"""A table as Parquet, by pyarrow: its columns explained in the file's own metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from eostui.errors import InputError
from eostui.runs.export.table import Progress, RunTable
from eostui.runs.export.text import WHOLE_NUMBERS, TableBlock, Values

#: Blocks in one row group: enough for readers to skip by.
_BLOCKS_TOGETHER = 16
#: The key of the description in the file's metadata.
METADATA_KEY = "eostui"


def write_parquet(
    table: RunTable, path: Path, description: dict[str, Any], progress: Progress | None = None
) -> int:
    """Write a table; return the row count. What isn't known is null, whole numbers are int64.

    Raises:
        InputError: if pyarrow isn't installed.
        OSError: if the file can't be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError("Parquet needs pyarrow: python -m pip install 'eostui[parquet]'") from None

    types = {
        int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_(), str: pyarrow.string(),
    }  # fmt: skip
    labels = {label.column.name: types[label.kind] for label in table.labels}

    def kind(name: str) -> Any:
        return labels.get(name, pyarrow.int64() if name in WHOLE_NUMBERS else pyarrow.float64())

    schema = pyarrow.schema(
        [
            pyarrow.field(
                column.name,
                kind(column.name),
                metadata={"unit": column.unit, "description": column.description},
            )
            for column in table.columns
        ],
        metadata={METADATA_KEY: json.dumps(description, ensure_ascii=False)},
    )

    def batch(block: TableBlock) -> Any:
        return pyarrow.record_batch([array(*item) for item in block.items()], schema=schema)

    def array(name: str, values: Values) -> Any:
        unknown = np.isnan(values) if values.dtype.kind == "f" else None
        if unknown is not None and unknown.all():
            return pyarrow.nulls(len(values), kind(name))
        if name in WHOLE_NUMBERS:
            values = np.nan_to_num(values).astype(np.int64)
        return pyarrow.array(values, type=kind(name), mask=unknown)

    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        rows, waiting = 0, []
        for block in table.blocks(progress):
            waiting.append(batch(block))
            rows += waiting[-1].num_rows
            if len(waiting) == _BLOCKS_TOGETHER:
                writer.write_table(pyarrow.Table.from_batches(waiting))
                waiting.clear()
        if waiting:
            writer.write_table(pyarrow.Table.from_batches(waiting))
    return rows
