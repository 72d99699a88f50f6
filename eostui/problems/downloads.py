"""CIFAR-10, CIFAR-100 and Fashion-MNIST through torchvision: its loaders, its checksums."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eostui.errors import InputError
from eostui.problems.files import RawData


class _Source(NamedTuple):
    loader: str  # class in torchvision.datasets
    files: str  # what torchvision looks for under the data folder
    archive_bytes: int  # size of the download, for the ETA
    classes: int


_SOURCES = {
    "cifar10": _Source(
        "CIFAR10", "cifar-10-batches-py/ or cifar-10-python.tar.gz", 170_498_071, 10
    ),
    "cifar100": _Source(
        "CIFAR100", "cifar-100-python/ or cifar-100-python.tar.gz", 169_001_437, 100
    ),
    "fashion-mnist": _Source("FashionMNIST", "FashionMNIST/raw/*-ubyte.gz", 30_878_645, 10),
}


def load_torchvision(
    name: str, folder: Path, narrate: Callable[[str], None], *, download: bool = True
) -> RawData:
    """Return the samples of a torchvision data set, downloading it into `folder` if need be.

    Images are bytes: (N, 32, 32, 3) for CIFAR, (N, 28, 28) for Fashion-MNIST.

    Raises:
        InputError: if it is neither there nor to be downloaded, or is damaged.
    """
    from torchvision import datasets

    source = _SOURCES[name]
    loader = getattr(datasets, source.loader)
    with _accessible(folder):
        missing, damaged, packed = _state(loader, folder)
        if missing or damaged:
            _fetch(name, loader, folder, damaged, narrate, packed=packed, download=download)
        try:
            train, test = loader(folder, train=True), loader(folder, train=False)
            return RawData(
                name,
                np.asarray(train.data),
                np.asarray(train.targets, dtype=np.int64),
                np.asarray(test.data),
                np.asarray(test.targets, dtype=np.int64),
                "channels-last",
                source.classes,
            )
        except (PermissionError, MemoryError):
            raise
        except Exception as error:  # not all files have a checksum: whatever their reader raises
            reason = _reason(error).partition(". ")[0]  # then torchvision's advice to its callers
            raise InputError(
                f"{name} in {folder} is damaged ({reason}): delete "
                f"{_place(loader, folder)}, and put {source.files} there or let it be downloaded"
            ) from error


def _fetch(
    name: str,
    loader: Any,
    folder: Path,
    damaged: list[str],
    narrate: Callable[[str], None],
    *,
    packed: bool,
    download: bool,
) -> None:
    """Unpack the archive that is there, or download it. Raises InputError if neither works, or may be."""
    source = _SOURCES[name]
    told = f"{name} isn't in {folder}"
    if damaged:
        told = f"{name} in {folder} is damaged ({', '.join(damaged)})"
    if not download:
        coming = f"download {source.archive_bytes / 1e6:.0f} MB into it"
        raise InputError(f"{told}; a run would {'unpack what is there' if packed else coming}")
    if damaged:
        narrate(f"{told}: {'unpacking' if packed else 'downloading'} it again")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _download_progress(name, folder, source.archive_bytes, narrate):
            loader(folder, train=True, download=True)
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # the network's, the disk's, the archive's, the reader's
        raise InputError(
            f"{told} and could not be downloaded ({_reason(error)}); on a machine "
            f"without a network, put {source.files} there, or name another folder with --data-dir"
        ) from error


def _place(loader: Any, folder: Path) -> Path:
    """Return where torchvision unpacks a data set."""
    if hasattr(loader, "base_folder"):
        return folder / str(loader.base_folder)
    return folder / str(loader.__name__) / "raw"


def _state(loader: Any, folder: Path) -> tuple[bool, list[str], bool]:
    """Return whether files are missing, what is wrong with a data set that is there, in words, and
    whether the archive that it can be unpacked from is there and sound.

    If some of its files are there and others not, that is wrong too. Of Fashion-MNIST's files only the
    packed ones have checksums.
    """
    place = _place(loader, folder)
    if hasattr(loader, "base_folder"):
        listed = [*loader.train_list, *loader.test_list]
        wanted = {place / file: md5 for file, md5 in listed}
        packed = {folder / loader.filename: loader.tgz_md5}
    else:
        packed = {place / file: md5 for file, md5 in loader.resources}
        wanted = {file.with_suffix(""): None for file in packed}
    missing = [file for file in wanted if not file.is_file()]
    damaged = [file for file in wanted if file not in missing and not _sound(file, wanted[file])]
    torn: list[Path] = []
    if missing or damaged:
        torn = [file for file in packed if file.is_file() and not _sound(file, packed[file])]
        damaged += torn
    told = [f"{file.name} isn't what its checksum says" for file in damaged]
    if 0 < len(missing) < len(wanted):
        told += [f"{file.name} is missing" for file in missing]
    return bool(missing), told, all(file.is_file() for file in packed) and not torn


def _sound(file: Path, md5: str | None) -> bool:
    if md5 is None:
        return True
    with file.open("rb") as stream:
        return (
            hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            == md5
        )


def _reason(error: Exception) -> str:
    """Return the last line of what a library says."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


@contextlib.contextmanager
def _accessible(folder: Path) -> Iterator[None]:
    """Turn a refused access within `folder` into a sentence that names the file."""
    try:
        yield
    except PermissionError as error:
        which = error.filename or folder
        raise InputError(
            f"data folder {folder}: {which} can't be read or written; choose another folder with "
            "--data-dir or EOSTUI_DATA"
        ) from None


@contextlib.contextmanager
def _download_progress(
    name: str, folder: Path, total: int, narrate: Callable[[str], None]
) -> Iterator[None]:
    """Report by the growth of `folder` while the block runs; silent when nothing grows."""
    done = threading.Event()
    before = _size(folder)

    def watch() -> None:
        start = time.monotonic()
        while not done.wait(0.5):
            loaded = min(_size(folder) - before, total)
            rate = loaded / (time.monotonic() - start)
            if loaded > 0:
                left = (total - loaded) / rate
                narrate(
                    f"downloading {name}: {loaded / 1e6:.0f} of {total / 1e6:.0f} MB, "
                    f"{rate / 1e6:.1f} MB/s, {left:.0f} s left"
                )

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _size(folder: Path) -> int:
    total = 0
    for root, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):  # a file renamed between listing and looking
                total += os.stat(os.path.join(root, file)).st_size
    return total
