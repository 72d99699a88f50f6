"""Workers: how many, and which device each has."""

from __future__ import annotations

from collections.abc import Sequence

from eostui.config import RunConfig
from eostui.runs.template import Template
from eostui.sweeps import cost


def worker_devices(
    configs: Sequence[RunConfig], workers: int | None, template: Template
) -> list[str]:
    """Return one device for each worker: what `device = "auto"` is in it, "" for what it is here."""
    del template
    count = workers or cost.default_workers(configs)
    return [""] * min(count, len(configs))
