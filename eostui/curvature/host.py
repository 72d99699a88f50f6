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
    if len(tensors) == 1:
        return [tensors[0].cpu().numpy().astype(np.float64)]
    flat = torch.cat([tensor.flatten() for tensor in tensors]).cpu().numpy().astype(np.float64)
    found, begin = [], 0
    for tensor in tensors:
        end = begin + tensor.numel()
        found.append(flat[begin:end].reshape(tensor.shape))
        begin = end
    return found


def like(matrix: FloatArray, beside: Tensor) -> Tensor:
    """Return a small matrix of numpy's as a tensor of the same device and precision as another."""
    return torch.from_numpy(matrix.copy()).to(beside)


def waits(tensor: Tensor) -> bool:
    """Whether to read a number from this tensor's device takes longer than to compute one more there."""
    return tensor.device.type == "cuda"
