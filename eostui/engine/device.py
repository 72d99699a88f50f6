"""One device abstraction: CPU, CUDA, MPS; precision and determinism set once per process."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

import torch
from torch.utils import deterministic

from eostui.config import RunConfig
from eostui.engine.freed_memory import keep_freed_memory
from eostui.errors import InputError


@dataclass(frozen=True)
class Machine:
    """Where a run computes, as resolved from its config."""

    device: torch.device
    dtype: torch.dtype
    threads: int

    def describe(self) -> str:
        """Return the device's name for people."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{platform.machine()} {platform.processor() or self.device.type}".strip()


def prepare_machine(config: RunConfig) -> Machine:
    """Resolve device and threads and make the process deterministic.

    Raises:
        InputError: if the device isn't there, or can't do the precision.
    """
    device = _resolve(config.device)
    if device.type == "mps" and config.dtype == "float64":
        raise InputError('`dtype` is "float64", but mps has only float32: use device = "cpu"')
    if config.threads != "auto":
        torch.set_num_threads(config.threads)
    elif config.processes > 1 and "OMP_NUM_THREADS" not in os.environ:  # else each would take all
        torch.set_num_threads(max(torch.get_num_threads() // config.processes, 1))
    keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # warn only: CUDA's max-pooling has no deterministic backward pass. use_deterministic_algorithms does
    # the same, and loads the compiler for it, which takes as long as PyTorch itself
    torch.set_deterministic_debug_mode("warn")
    os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"  # for a problem that compiles something
    # that would also fill all new memory with NaN, a pass over it each time: nothing here reads it
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    return Machine(device, getattr(torch, config.dtype), torch.get_num_threads())


def available_devices() -> list[str]:
    """Return the names of all devices that a config may ask for."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *cuda, *mps]


def devices_meant(wanted: str) -> dict[str, int | None]:
    """Return which devices of this machine a value of `device` may be, where several runs share it.

    That is one, none if it isn't there, and of "auto" every GPU. Each with the bytes free on it; None
    where that isn't told.

    Raises:
        InputError: if EOSTUI_DEVICE, which "auto" asks, isn't a device of this machine.
    """
    available = available_devices()
    if wanted == "auto":
        first = str(automatic_device())
        chosen = os.environ.get("EOSTUI_DEVICE", "auto") not in ("", "auto")
        gpus = [name for name in available if name.startswith("cuda")]
        names = gpus if first in gpus and not chosen else [first]
    else:
        names = [name for name in (_indexed(wanted),) if name in available]
    return {name: _free_memory(name) for name in names}


def _free_memory(name: str) -> int | None:
    return torch.cuda.mem_get_info(torch.device(name))[0] if name.startswith("cuda") else None


def automatic_device() -> torch.device:
    """Return what `device = "auto"` is here: EOSTUI_DEVICE, else the first GPU, else the CPU.

    Raises:
        InputError: if EOSTUI_DEVICE isn't a device of this machine.
    """
    chosen = os.environ.get("EOSTUI_DEVICE", "auto")
    if chosen in ("", "auto"):
        return torch.device(next((d for d in available_devices() if d != "cpu"), "cpu"))
    return _present(chosen, "EOSTUI_DEVICE")


def _resolve(wanted: str) -> torch.device:
    return automatic_device() if wanted == "auto" else _present(wanted, "`device`")


def _present(name: str, where: str) -> torch.device:
    """Return the device of that name; InputError if there is none, with `where` it was asked for."""
    available = available_devices()
    if _indexed(name) not in available:
        raise InputError(
            f'{where} is "{name}", but this machine has only {", ".join(available)} '
            '(or "auto" for the fastest of them)'
        )
    return torch.device(_indexed(name))


def _indexed(name: str) -> str:
    return "cuda:0" if name == "cuda" else name
