"""The way of small matrices between a device and numpy, where eigenproblems are solved.

On a GPU every reading waits until all that was asked of it before is done, so what is asked for together
is read together, and nothing else in `eostui.curvature` reads a number.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float64]


def read(*tensors: Tensor) -> list[FloatArray]:
    """Return tensors of one device as float64 arrays of the same shapes, for one wait."""
    if len(tensors) == 1 or not waits(tensors[0]):
        return [_on_host(tensor).numpy().astype(np.float64) for tensor in tensors]
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    numbers = _on_host(flat).numpy().astype(np.float64)
    found, begin = [], 0
    for tensor in tensors:
        end = begin + tensor.numel()
        found.append(numbers[begin:end].reshape(tensor.shape))
        begin = end
    return found


def _on_host(tensor: Tensor) -> Tensor:
    if not waits(tensor):
        return tensor.cpu()
    found = tensor.to("cpu", non_blocking=True)  # into pinned memory
    torch.cuda.current_stream(tensor.device).synchronize()
    return found


def like(matrix: FloatArray, beside: Tensor) -> Tensor:
    """Return a small matrix of numpy's as a tensor of the same device and precision as another."""
    if not waits(beside):
        return torch.from_numpy(matrix.copy()).to(beside)
    # from pinned memory nothing waits for the copy; it isn't given to another before that is done
    pinned = torch.empty(matrix.shape, dtype=beside.dtype, pin_memory=True)
    pinned.copy_(torch.from_numpy(matrix.copy()))
    return pinned.to(beside.device, non_blocking=True)


def waits(tensor: Tensor) -> bool:
    """Whether to read a number from this tensor's device takes longer than to compute one more there."""
    return tensor.device.type == "cuda"
