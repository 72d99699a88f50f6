"""Workers: how many, and which device each has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from eostui.config import RunConfig
from eostui.cores import cores
from eostui.errors import EostuiError, InputError
from eostui.runs.request import DevicesRequest, StartRequest
from eostui.runs.template import Template
from eostui.sweeps import cost

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
    if not any(config.device == "auto" for config in configs):
        count = workers or cost.default_workers(configs)
        return [""] * min(count, len(configs))
    memory = automatic_devices(template)
    devices = list(memory)
    if workers is None:
        gpus = {name: size for name, size in memory.items() if size is not None}
        workers = _on_gpus(configs, gpus) if gpus else cost.default_workers(configs)
    count = min(workers, len(configs))
    return [devices[worker % len(devices)] for worker in range(count)]


def _on_gpus(configs: Sequence[RunConfig], memory: dict[str, float]) -> int:
    """Return how many members train at once on GPUs with so many bytes free."""
    needed = _CONTEXT + max(map(cost.memory_bytes, configs))
    shares = [max(1, min(_MOST_PER_GPU, int(free * 0.8 / needed))) for free in memory.values()]
    return max(len(memory), min(sum(shares), cores()))


def automatic_devices(template: Template) -> dict[str, float | None]:
    """Return what `device = "auto"` may be here, with the bytes free on each that is a GPU, else None.

    Raises:
        EostuiError: if EOSTUI_DEVICE is no device of this machine, or no engine can tell.
    """
    engine = template.engine()
    engine.ask(StartRequest(config="", path=Path(), data_dir=Path(), begin=DevicesRequest()))
    with engine.process.stdout as answers, engine.errors:
        messages = [json.loads(line) for line in answers]
    code = engine.process.wait()
    for message in messages:
        if message["kind"] == "devices":
            found: dict[str, float | None] = message["memory"]
            return found
        if message["kind"] == "error":
            raise InputError(message["text"])
    said = template.last_words() or "it said nothing"
    raise EostuiError(f"no engine can be started: PyTorch isn't loaded (code {code}): {said}")
