"""Runs as files for other programs: CSV, JSON lines, Parquet, NumPy's .npz, TensorBoard event files."""

from eostui.runs.export.files import (
    FORMATS,
    export_columns,
    export_files,
    format_of,
    write_columns,
    write_stream,
)
from eostui.runs.export.table import RunTable

__all__ = [
    "FORMATS",
    "RunTable",
    "export_columns",
    "export_files",
    "format_of",
    "write_columns",
    "write_stream",
]
