"""Checkpoints of a run: all that is needed to go on from a step, one safetensors file each.

A file holds tensors and, in its metadata, a JSON text of plain values; both carry a CRC-32, and nothing
in it can be executed. It is written aside, flushed to the disk and renamed: whatever happens, a file with
a checkpoint's name is a whole one, unless the disk itself damaged it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from eostui.errors import RunFormatError

FOLDER = "checkpoints"

_NAME = re.compile(r"(\d{12})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run before a step.

    Attributes:
        step: the step to be taken next; the rows before it are in the store.
        events: how many events that follow from the steps were told before it (`schema.DERIVED_EVENTS`).
        tensors: by name, of any shape.
        plain: what JSON can hold, by name.
    """

    step: int
    events: int
    tensors: Mapping[str, NDArray[Any]]
    plain: Mapping[str, Any]


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint on disk: its step, where it lies, and its size in bytes."""

    step: int
    path: Path
    size: int


def write(run_path: Path, checkpoint: Checkpoint) -> CheckpointFile:
    """Write a checkpoint; one of the same step is replaced.

    Raises:
        OSError: if it can't be written; nothing of it is left then.
    """
    folder = run_path / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink():
        raise NotADirectoryError(20, "is a link, and nothing is written through links", str(folder))
    tensors = {name: np.asarray(array, order="C") for name, array in checkpoint.tensors.items()}
    plain = json.dumps({"at": [checkpoint.step, checkpoint.events], **checkpoint.plain})
    content = save(
        tensors,
        {
            "plain": plain,
            "plain_crc32": str(zlib.crc32(plain.encode())),
            "crc32": json.dumps(_checksums(tensors)),
        },
    )
    target = folder / f"{checkpoint.step:012d}.safetensors"
    aside = folder / f".{target.name}"
    try:
        _write_through(aside, content)
        aside.rename(target)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    _flush_folder(folder)
    return CheckpointFile(checkpoint.step, target, len(content))


def read(path: Path) -> Checkpoint:
    """Read a checkpoint. Raises RunFormatError if it is damaged or can't be read."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            stated = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        sums = json.loads(stated["crc32"])
        sound = sums == _checksums(tensors) and int(stated["plain_crc32"]) == zlib.crc32(
            stated["plain"].encode()
        )
        plain = json.loads(stated["plain"])
        step, events = plain.pop("at")
    except OSError as error:
        raise RunFormatError(f"{path}: can't be read: {error.strerror or error}") from None
    except (
        safetensors.SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError
    ):  # fmt: skip
        raise RunFormatError(f"{path}: damaged or not a checkpoint") from None
    if not sound or f"{step:012d}.safetensors" != path.name:
        raise RunFormatError(f"{path}: damaged: its checksum doesn't agree")
    return Checkpoint(step, events, tensors, plain)


def files(run_path: Path) -> list[CheckpointFile]:
    """Return the checkpoints of a run by rising step, unread; links are none."""
    found = []
    folder = run_path / FOLDER
    if folder.is_dir() and not folder.is_symlink():
        for path in folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                with contextlib.suppress(
                    FileNotFoundError
                ):  # an engine has thinned it away meanwhile
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        found.append(CheckpointFile(int(match[1]), path, status.st_size))
    return sorted(found, key=lambda file: file.step)


def longest_repeat(run_path: Path, first: int) -> tuple[int, float]:
    """Return how many steps must be repeated at most to get to any step up to the newest checkpoint.

    Args:
        run_path: the run directory.
        first: the step at which the run's own steps begin.

    Returns:
        The steps, and about how many seconds they take; (0, 0.0) without a sound checkpoint.
    """
    kept = files(run_path)
    for file in reversed(kept):
        try:
            seconds = float(read(file.path).plain["checkpointer.seconds"])
        except (RunFormatError, KeyError, TypeError, ValueError):
            continue
        steps = [first, *(each.step for each in kept if each.step <= file.step)]
        longest = max((after - before for before, after in pairwise(steps)), default=0)
        return longest, seconds * longest / max(file.step, 1)
    return 0, 0.0


def superfluous(kept: Sequence[CheckpointFile], budget: int, first: int) -> list[CheckpointFile]:
    """Return the files to delete so that the others fit in a budget and leave the smallest gaps.

    The newest stays, and so does one at `first`, the step from which a run can't be had otherwise.

    Args:
        kept: by rising step.
        budget: bytes.
        first: the step at which the run's own steps begin: 0, or that of its fork.
    """
    kept = list(kept)
    removed = []
    while sum(file.size for file in kept) > budget:
        steps = [first, *(file.step for file in kept)]
        gaps = {
            place: steps[place + 2] - steps[place]
            for place, file in enumerate(kept[:-1])
            if file.step != first or not first
        }
        if not gaps:
            break
        removed.append(kept.pop(min(gaps, key=lambda place: (gaps[place], place))))
    return removed


def _checksums(tensors: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Return the CRC-32 of each tensor: of its type and shape, then of its bytes."""
    return {
        name: zlib.crc32(array.tobytes(), zlib.crc32(f"{array.dtype.str}{array.shape}".encode()))
        for name, array in tensors.items()
    }


def _write_through(path: Path, content: bytes) -> None:
    """Write a new file and wait until the disk has it."""
    path.unlink(missing_ok=True)  # left by an engine that was killed
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
