"""CIFAR-10, CIFAR-100 and Fashion-MNIST through torchvision: its loaders, its checksums."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eostui.errors import InputError


class _Source(NamedTuple):
    loader: str  # class in torchvision.datasets
    files: str  # what torchvision looks for under the data folder
    archive_bytes: int  # size of the download, for the ETA


_SOURCES = {
    "cifar10": _Source("CIFAR10", "cifar-10-batches-py/ or cifar-10-python.tar.gz", 170_498_071),
    "cifar100": _Source("CIFAR100", "cifar-100-python/ or cifar-100-python.tar.gz", 169_001_437),
    "fashion-mnist": _Source("FashionMNIST", "FashionMNIST/raw/*-ubyte.gz", 30_878_645),
}

Arrays = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def load_torchvision(name: str, folder: Path, narrate: Callable[[str], None]) -> Arrays:
    """Return x, y, test x, test y of a torchvision data set, downloading it into `folder` if need be.

    Images are bytes: (N, 32, 32, 3) for CIFAR, (N, 28, 28) for Fashion-MNIST.

    Raises:
        InputError: if it is neither there nor to be downloaded, or is damaged.
    """
    from torchvision import datasets

    source = _SOURCES[name]
    loader = getattr(datasets, source.loader)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # the loaders look for the files first and touch the network only when they are missing
        with _download_progress(name, folder, source.archive_bytes, narrate):
            train = loader(folder, train=True, download=True)
            test = loader(folder, train=False, download=True)
    except PermissionError:
        raise InputError(
            f"data folder {folder}: can't be written to; choose another with --data-dir or EOSTUI_DATA"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        raise InputError(
            f"{name} isn't in {folder} and could not be downloaded ({reason}); on a machine "
            f"without a network, put {source.files} there, or name another folder with --data-dir"
        ) from None
    return (
        np.asarray(train.data),
        np.asarray(train.targets, dtype=np.int64),
        np.asarray(test.data),
        np.asarray(test.targets, dtype=np.int64),
    )


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
