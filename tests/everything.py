"""All that is read of a run, to compare it before and after."""

from __future__ import annotations

import io

from eostui.runs import shelf
from eostui.runs.analysis.summary import summarize_run
from eostui.runs.export import RunTable, write_stream
from eostui.runs.run import Run


def everything(path):
    """Return what the shelf, the columns, the CSV, the sidecar and the summary say of a run."""
    entry = shelf.read_entry(path)
    with Run(path) as run:
        stream = io.StringIO()
        table = RunTable(run)
        write_stream(table, stream)
        told = table.describe()
        landscape = None if run.landscape is None else run.landscape.loss.tobytes()
    summary = summarize_run(path)
    del summary["path"]
    listed = (entry.name, entry.state, entry.sentence, entry.last_step, entry.created, entry.config)
    return repr((listed, stream.getvalue(), told, landscape, summary))
