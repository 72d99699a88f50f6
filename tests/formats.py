"""Run directories as older versions wrote them, made from new ones."""

import contextlib
import sqlite3
import zlib


def as_format(path, version):
    """Turn the store of an ended run into format 1, 2 or 3: no row checksums, no seal, fewer tables."""
    with contextlib.closing(sqlite3.connect(path / "run.db")) as database, database:
        database.create_function("crc", 1, zlib.crc32)
        for table, blob in (("steps", "matrix"), ("calibrated", "matrix"), ("landscapes", "maps")):
            database.execute(f"UPDATE {table} SET crc32 = crc({blob})")
        for table in ("run", "measurements", "events"):
            database.execute(f"ALTER TABLE {table} DROP COLUMN crc32")
        database.execute("DROP TABLE seal")
        if version < 3:
            database.execute("DROP TABLE calibrated")
        if version < 2:
            database.execute("DROP TABLE landscapes")
            database.execute("DELETE FROM run WHERE key = 'step_columns'")
        database.execute(f"PRAGMA user_version = {version}")
