"""Columns of numbers that commands write as CSV: to stdout, or to a file with its explanation."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from eostui.cli.progress import ProgressBar
from eostui.cli.streams import data_stream
from eostui.text import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eostui.runs.store.columns import Column

#: Columns of one length, by name.
Table: TypeAlias = "dict[str, NDArray[Any]]"


def write_table(
    target: str, table: Table, columns: Sequence[Column], description: dict[str, Any]
) -> None:
    """Write a table to stdout, or to a file with its JSON file beside it.

    Args:
        target: the file; - is stdout.
        table: what is written.
        columns: what the JSON file says of its columns.
        description: what it says besides.
    """
    from eostui import locations
    from eostui.runs.export import export_columns, write_columns

    if target == "-":
        write_columns(table, data_stream())
        return
    meanings = {c.name: {"unit": c.unit, "description": c.description} for c in columns}
    path = locations.expanded(Path(target))
    with ProgressBar(f"writing {path.name}") as report:
        sidecar, rows = export_columns(
            table, path, plain({**description, "columns": meanings}), report
        )
    print(f"{rows} rows in {path}, columns explained in {sidecar}", file=sys.stderr)
