"""Whether kernels in Triton are taken: on a CUDA GPU, where it compiles, once they were compared.

Triton comes with PyTorch on most systems, and needs a C compiler with Python's headers when a kernel is
first launched. So each set of kernels is tried once, on something tiny. `EOSTUI_TRITON=0` in the
environment has PyTorch's own functions taken.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch

#: Set to 0, it has PyTorch's own functions taken.
SWITCH = "EOSTUI_TRITON"

Kernels = TypeVar("Kernels")


class Refused(Exception):
    """Kernels aren't taken; the message is a sentence's end that says why."""


def outcome(device: torch.device, trial: Callable[[], Kernels]) -> Kernels | str:
    """Return what a trial on a device returns, or why its kernels aren't taken, as a sentence's end.

    Raises:
        OutOfMemoryError: if the device's memory is full now.
    """
    if device.type != "cuda":
        return "they are for CUDA GPUs"
    if os.environ.get(SWITCH, "1") == "0":
        return f"{SWITCH} is 0"
    # in a thread of its own, which has its own current stream and no TorchDispatchMode: a comparison
    # reads values, and this may be asked first in what is about to be captured
    with ThreadPoolExecutor(1) as thread:
        try:
            return thread.submit(trial).result()
        except (
            torch.OutOfMemoryError
        ):  # that may be another time: by the kernels sums may round otherwise
            raise
        except Exception as error:  # whatever a compiler, a driver or a launch may raise
            text = str(error).partition("\n")[0]
            return text if isinstance(error, Refused) else f"{type(error).__name__}: {text}"


def require_headers(device: torch.device) -> None:
    """Raise Refused where a C compiler doesn't find Python's headers: it says so on stderr, at length."""
    there = "CPATH" in os.environ or (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file()
    if device.type == "cuda" and not there:
        raise Refused("Python's headers (Python.h) aren't there to compile them with")
