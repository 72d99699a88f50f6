"""Workers: how many, and which device each has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from eostui.config import RunConfig
from eostui.cores import cores
from eostui.errors import EostuiError, InputError
from eostui.runs.request import DevicesRequest, StartRequest, answers
from eostui.runs.template import Template
from eostui.sweeps import cost

#: Devices by name, with the bytes free on each that is a GPU, else None.
Devices = dict[str, float | None]

#: Members that share a GPU at most, where it isn't said: small networks leave it idle between kernels.
_MOST_PER_GPU = 4
#: Bytes that each process takes of a GPU for itself.
_CONTEXT = 700_000_000


def worker_devices(
    configs: Sequence[RunConfig], workers: int | None, template: Template
) -> list[str]:
    """Return one device for each worker: what `device = "auto"` is in it, "" where none is.

    Args:
        configs: of the members that are to be trained.
        workers: how many; None for as many as cores, memory and GPUs allow.
        template: whose engines tell which devices there are.

    Raises:
        EostuiError: if that can't be told.
    """
    asked = sorted({config.device for config in configs})
    if "auto" not in asked and (workers or not any(map(_on_gpu, asked))):
        count = workers or cost.default_workers(configs)
        return [""] * min(count, len(configs))
    meant = devices_meant(asked, template)
    devices = list(meant.get("auto", [""]))
    count = min(workers or _at_once(configs, meant.values()), len(configs))
    return [devices[worker % len(devices)] for worker in range(count)]


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def _at_once(configs: Sequence[RunConfig], meant: Iterable[Devices]) -> int:
    """Return how many members train at once, by the devices that each value of `device` may be.

    Any worker may get any member: there are no more than the GPUs of each of these values bear.
    """
    gpus = [[free for free in each.values() if free is not None] for each in meant]
    found = [_on_gpus(configs, free) for free in gpus if free]
    return min(found) if found else cost.default_workers(configs)


def _on_gpus(configs: Sequence[RunConfig], memory: Sequence[float]) -> int:
    """Return how many members train at once on GPUs with so many bytes free."""
    needed = _CONTEXT + max(map(cost.memory_bytes, configs))
    shares = [max(1, min(_MOST_PER_GPU, int(free * 0.8 / needed))) for free in memory]
    return max(len(memory), min(sum(shares), cores()))


def devices_meant(asked: Sequence[str], template: Template) -> dict[str, Devices]:
    """Return of each of some values of `device` what it may be here: none, one, or of "auto" several.

    Raises:
        EostuiError: if EOSTUI_DEVICE is no device of this machine, or no engine can tell.
    """
    engine = template.engine()
    engine.ask(
        StartRequest(
            config="", path=Path(), data_dir=Path(), begin=DevicesRequest(asked=tuple(asked))
        )
    )
    with engine.process.stdout as lines, engine.errors:
        messages = list(answers(lines))
    code = engine.process.wait()
    for message in messages:
        if message["kind"] == "devices":
            found: dict[str, Devices] = message["memory"]
            return found
        if message["kind"] == "error":
            raise InputError(message["text"])
    said = template.last_words() or "it said nothing"
    raise EostuiError(f"no engine can be started: PyTorch isn't loaded (code {code}): {said}")
