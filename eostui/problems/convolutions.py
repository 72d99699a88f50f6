"""How the convolutions of a network are computed unless its config says."""

from __future__ import annotations

import torch

from eostui.problems.batch import Convolutions

#: The fact of a problem that says how. Runs of versions before 0.4.0 have none: theirs are native.
CONVOLUTIONS = "convolutions"


def default_convolutions(device: torch.device) -> Convolutions:
    """Return how a device computes them; on CUDA only until the engine has timed the ways.

    A CPU's bits mustn't depend on how busy it was, so that nothing is timed there. Of the ways on two
    cores, `cifar5k-cnn`: channels-last a step takes 0.75 of native, a Hessian product 1.0, ∇S 1.1;
    unfolded 2.2, 3.1 and 3.4. Not enough to part from the bits of all runs until now.
    """
    # what takes the most memory: the size of the chunks must do for whichever is chosen
    return "unfolded" if device.type == "cuda" else "native"
