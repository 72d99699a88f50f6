"""Workers: how many, and which device each has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.cores import cores
from eostui.errors import EostuiError, InputError
from eostui.runs.request import DevicesRequest, StartRequest, answers
from eostui.runs.template import CopiedEngine, Template
from eostui.sweeps import cost

#: Devices by name, with the bytes free on each that is a GPU, else None.
Devices = dict[str, float | None]

#: Members that share a GPU at most, where it isn't said: small networks leave it idle between kernels.
_MOST_PER_GPU = 4
#: Bytes that each process takes of a GPU for itself.
_CONTEXT = 700_000_000
#: Share of a GPU's free memory that several members may be expected to take.
_SHARE = 0.8
#: Seconds between looks at what else there is, while PyTorch is loaded.
_LOOK = 0.1


def worker_devices(
    configs: Sequence[RunConfig],
    workers: int | None,
    template: Template,
    heed: Callable[[], None] = lambda: None,
) -> list[str]:
    """Return one device for each worker: what `device = "auto"` is in it, "" where none is.

    Args:
        configs: of the members that are to be trained.
        workers: how many; None for as many as cores, memory and GPUs allow.
        template: whose engines tell which devices there are.
        heed: as `devices_meant` calls it.

    Raises:
        EostuiError: if that can't be told.
    """
    asked = sorted({config.device for config in configs})
    if "auto" not in asked and (workers or not any(map(_on_gpu, asked))):
        count = workers or cost.default_workers(configs)
        return [""] * min(count, len(configs))
    meant = devices_meant(asked, template, heed)
    count = min(workers or _at_once(configs, meant.values()), len(configs))
    if "auto" not in meant:
        return [""] * count
    devices, at_work = meant["auto"], Counter[str]()
    bears = borne(devices, configs)
    found = []
    for _ in range(count):
        found.append(next_device(devices, bears, at_work))
        at_work[found[-1]] += 1
    return found


def next_device(devices: Devices, bears: Mapping[str, float], at_work: Counter[str]) -> str:
    """Return the device of one member more: of those with room for it the one that has the fewest.

    Where none has room, it is the one with the most memory for each of its members.

    Args:
        devices: of which it is one.
        bears: how many members there may be on each, as `borne`.
        at_work: how many each has.
    """
    if room := [each for each in devices if at_work[each] < bears[each]]:
        return min(room, key=lambda each: at_work[each])
    return max(devices, key=lambda each: (devices[each] or 0.0) / (at_work[each] + 1))


def borne(devices: Devices, configs: Sequence[RunConfig]) -> dict[str, float]:
    """Return how many members train at once on each device, by what is free there; no end on a CPU.

    A GPU bears one where the least is free that it can do with. That is a guess: the GPU with the most
    memory, and those like it, bear one in any case.

    Args:
        devices: which.
        configs: of the members, any of which there may be.
    """
    known = [free for free in devices.values() if free is not None]
    expected = _CONTEXT + max(map(cost.memory_bytes, configs))
    least = _CONTEXT + max(map(cost.least_memory_bytes, configs))
    least = min(least, _SHARE * max(known, default=0.0))
    return {
        name: math.inf
        if free is None
        else max(int(free >= least), min(_MOST_PER_GPU, int(free * _SHARE / expected)))
        for name, free in devices.items()
    }


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda")


def _at_once(configs: Sequence[RunConfig], meant: Iterable[Devices]) -> int:
    """Return how many members train at once, by the devices that each value of `device` may be.

    Any worker may get any member: there are no more than the GPUs of each of these values bear.
    """
    found = []
    for devices in meant:
        bears = [count for count in borne(devices, configs).values() if math.isfinite(count)]
        if bears:
            gpus = sum(count > 0 for count in bears)
            found.append(max(gpus, min(int(sum(bears)), cores())))
    return min(found) if found else cost.default_workers(configs)


def devices_meant(
    asked: Sequence[str], template: Template, heed: Callable[[], None] = lambda: None
) -> dict[str, Devices]:
    """Return of each of some values of `device` what it may be here: none, one, or of "auto" several.

    Args:
        asked: these values.
        template: whose engine tells; it may have to load PyTorch first.
        heed: called now and then meanwhile; if it raises, the template is ended, and that is raised here.

    Raises:
        EostuiError: if EOSTUI_DEVICE is no device of this machine, or no engine can tell.
    """
    engine = template.engine()
    engine.ask(
        StartRequest(
            config="", path=Path(), data_dir=Path(), begin=DevicesRequest(asked=tuple(asked))
        )
    )
    with ThreadPoolExecutor(1) as listening:
        heard = listening.submit(_answers, engine)
        try:
            while not heard.done():
                wait([heard], _LOOK)
                heed()
        except BaseException:
            template.close()  # then nobody answers, but an engine that has begun to
            engine.process.terminate()
            raise
    messages, code = heard.result()
    for message in messages:
        if message["kind"] == "devices":
            found: dict[str, Devices] = message["memory"]
            return found
        if message["kind"] == "error":
            raise InputError(message["text"])
    said = template.last_words() or "it said nothing"
    raise EostuiError(f"no engine can be started: PyTorch isn't loaded (code {code}): {said}")


def _answers(engine: CopiedEngine) -> tuple[list[Any], int]:
    """Return what an engine answers until it ends, and its exit code."""
    with engine.process.stdout as lines, engine.errors:
        messages = list(answers(lines))
    return messages, engine.process.wait()
