"""A run directory as plain data, to be sent between machines, and unpacked as a stranger's.

Whoever sends it may be anybody: only files of the names that a run has are made, as new files in a new
folder, no more bytes than such a run can have, and nothing in them is trusted for having arrived.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import EostuiError, RunFormatError
from eostui.runs.prune import shown_size
from eostui.runs.shelf import Entry, read_entry
from eostui.runs.store import checkpoints, schema
from eostui.runs.store.filesystem import open_regular
from eostui.runs.store.reader import facts_of
from eostui.sweeps import cost

#: What is in a run directory, by its path there. The lock, the reserve and commands are of an engine.
Parcel = Mapping[str, bytes]

_LOG = f"{schema.DATABASE}-wal"
_NAMES = (schema.DATABASE, _LOG, schema.ENGINE_LOG)
_CHECKPOINT = re.compile(rf"{checkpoints.FOLDER}/\d{{12}}\.safetensors")
#: Bytes of checkpoints that are sent: the newest always, others as they fit.
_CHECKPOINT_BYTES = 256_000_000
#: Bytes that a parcel may have at most: times what is expected of the record, and so many more.
_TIMES, _MARGIN = 4.0, 2.0 * _CHECKPOINT_BYTES


def pack(path: Path) -> dict[str, bytes]:
    """Return what is in a run directory whose engine has ended. Raises EostuiError."""
    names = [name for name in _NAMES if os.path.lexists(path / name)]
    kept = checkpoints.files(path)
    left_out = checkpoints.superfluous(kept, _CHECKPOINT_BYTES, 0)
    names += [f"{checkpoints.FOLDER}/{file.path.name}" for file in kept if file not in left_out]
    packed = {}
    try:
        for name in names:
            with open(open_regular(path / name, os.O_RDONLY), "rb") as file:
                packed[name] = file.read()
    except OSError as error:
        raise EostuiError(f"{path / name}: can't be read: {error.strerror}") from None
    return packed


def unpack(parcel: Parcel, path: Path, config: RunConfig) -> None:
    """Make a run directory of what was sent; nothing of it is left where that can't be.

    Args:
        parcel: from whomever.
        path: of the directory to be made.
        config: that the run was to have: it says how many bytes there can be.

    Raises:
        RunFormatError: if it is no run directory, or too large for one of that config.
        EostuiError: if it can't be written.
    """
    _check(parcel, config)
    try:
        path.mkdir(mode=0o700)
    except OSError as error:
        raise EostuiError(f"{path}: can't be made: {error.strerror}") from None
    try:
        (path / checkpoints.FOLDER).mkdir(mode=0o700)
        for name, content in parcel.items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with open(os.open(path / name, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)
        raise EostuiError(f"{path}: can't be written: {error.strerror}") from None


def refuse_other_run(path: Path, name: str, group: str, config: RunConfig) -> Entry:
    """Return the run that was unpacked, if it is the one that was asked for.

    Args:
        path: where it was unpacked.
        name: that its directory is to have.
        group: of the run.
        config: it must have this one, as an engine completes it: code that it names, among others.

    Raises:
        RunFormatError: if it is another one, or can't be read.
    """
    entry = read_entry(path)
    settled = config.changed({"chunk_size": entry.config.chunk_size})
    if entry.config != settled or entry.group != group or facts_of(path).get("id") != name:
        raise RunFormatError(f"what was sent back isn't the run {name}: it has other settings")
    return entry


def _check(parcel: Parcel, config: RunConfig) -> None:
    if not isinstance(parcel, Mapping) or schema.DATABASE not in parcel:
        raise RunFormatError(f"what was sent is no run directory (it has no {schema.DATABASE})")
    most = _MARGIN + _TIMES * cost.record_bytes(config)
    size = 0
    for name, content in parcel.items():
        if not isinstance(name, str) or not (name in _NAMES or _CHECKPOINT.fullmatch(name)):
            raise RunFormatError(f"what was sent has {name!r} in it, and a run directory hasn't")
        if not isinstance(content, bytes):
            raise RunFormatError(f"what was sent has no bytes as `{name}`")
        size += len(content)
    if size > most:
        raise RunFormatError(
            f"what was sent has {shown_size(size)}, and a run of that config at most "
            f"{shown_size(most)}"
        )
