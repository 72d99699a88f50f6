"""Stores changed behind the back of the program, and one that another process holds."""

from __future__ import annotations

import contextlib
import sqlite3

from eostui.runs.store import schema


def edit(path, statement, *values):
    with contextlib.closing(sqlite3.connect(path / schema.DATABASE)) as database, database:
        database.execute(statement, values)


HOLDER = """
import sys, time
from pathlib import Path
import numpy as np
from eostui.config import RunConfig
from eostui.runs.store.writer import RunWriter
facts = {"config": RunConfig.build({}, "t").to_toml(), "status": "running", "created": "1"}
writer = RunWriter(Path(sys.argv[1]), facts)
writer.steps(0, np.ones((5, 6)))
writer.flush()
print("ready", flush=True)
time.sleep(60)
"""
