"""The whole state of a training run as a checkpoint, and back: bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from eostui.errors import RunFormatError
from eostui.runs.store.checkpoints import FOLDER, Checkpoint


class Stateful(Protocol):
    """A part of the engine that carries something from step to step."""

    def state(self) -> dict[str, Any]:
        """Return it by name: tensors, and values that JSON can hold."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned: the same names, the same values."""


def snapshot(step: int, events: int, parts: Mapping[str, Stateful]) -> Checkpoint:
    """Return the state of all parts before `step`; names are told apart by their part's.

    Args:
        step: the step to be taken next.
        events: how many events that follow from the steps were told.
        parts: by name.
    """
    tensors: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for part, owner in parts.items():
        for name, value in owner.state().items():
            if isinstance(value, Tensor):
                tensors[f"{part}.{name}"] = value.detach().cpu().numpy()
            else:
                plain[f"{part}.{name}"] = value
    return Checkpoint(step, events, tensors, plain)


def restore(checkpoint: Checkpoint, parts: Mapping[str, Stateful], device: torch.device) -> None:
    """Give every part its state back, tensors in memory of their own on `device`.

    Raises:
        RunFormatError: if something is missing: the checkpoint is another version's.
    """
    for part, owner in parts.items():
        prefix = f"{part}."
        own = {
            name.removeprefix(prefix): value
            for name, value in checkpoint.plain.items()
            if name.startswith(prefix)
        }
        for name, array in checkpoint.tensors.items():
            if name.startswith(prefix):
                # a clone: memory that PyTorch allocated, aligned as in the run that is gone on with
                tensor = torch.from_numpy(np.array(array)).to(device).clone()
                own[name.removeprefix(prefix)] = tensor
        try:
            owner.restore(own)
        except KeyError as missing:
            raise RunFormatError(
                f"the checkpoint of step {checkpoint.step} was written by another version of eostui: "
                f"it has no {part}.{missing.args[0]}; without the folder `{FOLDER}` the run is "
                "repeated from its beginning"
            ) from None
