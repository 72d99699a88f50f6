"""Independent plain implementations, to compare the package with. Nothing here imports eostui."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LossFunction = Callable[[Tensor], Tensor]

ACTIVATION = {
    "relu": lambda z: z.clamp(min=0),
    "tanh": torch.tanh,
    "gelu": lambda z: z * 0.5 * (1 + torch.erf(z / 2**0.5)),
    "elu": lambda z: torch.where(z > 0, z, torch.exp(z) - 1),
    "softplus": lambda z: torch.log1p(torch.exp(z)),
}

_MODULES = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
}


def _take(theta: Tensor, used: int, *shape: int) -> tuple[Tensor, int]:
    size = int(torch.tensor(shape).prod())
    return theta[used : used + size].view(shape), used + size


def mlp(
    theta: Tensor, x: Tensor, hidden: Sequence[int], outputs: int, activation: str
) -> tuple[Tensor, list[Tensor]]:
    """Outputs of an MLP with biases whose parameters are θ, and its pre-activations."""
    used, before = 0, x.shape[1]
    kinks = []
    for width in hidden:
        weight, used = _take(theta, used, width, before)
        bias, used = _take(theta, used, width)
        x = x @ weight.T + bias
        kinks.append(x)
        x, before = ACTIVATION[activation](x), width
    weight, used = _take(theta, used, outputs, before)
    bias, used = _take(theta, used, outputs)
    assert used == len(theta)
    return x @ weight.T + bias, kinks


def cnn(
    theta: Tensor, x: Tensor, channels: Sequence[int], outputs: int, activation: str
) -> tuple[Tensor, list[Tensor]]:
    """Outputs of a CNN of 3×3 convolutions and 2×2 max-pooling, and where its kinks lie."""
    used, before = 0, x.shape[1]
    kinks = []
    for after in channels:
        weight, used = _take(theta, used, after, before, 3, 3)
        bias, used = _take(theta, used, after)
        # a convolution written out: every 3×3 patch as a column, times the kernels as a matrix
        height, width = x.shape[2:]
        columns = functional.unfold(x, 3, padding=1)
        x = (weight.reshape(after, -1) @ columns + bias[:, None]).view(-1, after, height, width)
        kinks.append(x)
        x, before = ACTIVATION[activation](x), after
        windows = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).transpose(3, 4).flatten(4)
        kinks.append(windows - windows.sort(dim=4).values[..., -2:-1])
        x = windows.amax(4)
    x = x.flatten(1)
    weight, used = _take(theta, used, outputs, x.shape[1])
    bias, used = _take(theta, used, outputs)
    assert used == len(theta)
    return x @ weight.T + bias, kinks


def half_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """½ of the squared error summed over outputs, mean over samples."""
    return ((outputs - targets) ** 2).sum(1).mean() / 2


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over samples of log Σ exp(logits) minus the logit of the class."""
    return (torch.logsumexp(logits, 1) - (logits * targets).sum(1)).mean()


LOSS = {"mse": half_squared_error, "cross-entropy": cross_entropy}


def dense_hessian(loss: LossFunction, theta: Tensor) -> Tensor:
    """∇²L(θ), shape (P, P), by torch.func."""
    return torch.func.hessian(loss)(theta)


def dense_third(loss: LossFunction, theta: Tensor, vector: Tensor) -> Tensor:
    """The gradient of vᵀ∇²L(θ)v with v fixed, by forward mode over the dense Hessian."""
    return torch.func.jacfwd(lambda at: vector @ torch.func.hessian(loss)(at) @ vector)(theta)


def dense_fourth(loss: LossFunction, theta: Tensor, vector: Tensor) -> Tensor:
    """D⁴L(θ)[v, v, v, v], by four derivatives of L along v."""

    def along(at: Tensor) -> Tensor:
        return loss(theta + at * vector)

    grad = torch.func.grad
    return grad(grad(grad(grad(along))))(torch.zeros((), dtype=theta.dtype))


def gradient(loss: LossFunction, theta: Tensor) -> Tensor:
    """∇L(θ) by torch.func."""
    return torch.func.grad(loss)(theta)


def unit(size: int, seed: int) -> Tensor:
    """A repeatable random unit vector in float64."""
    vector = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return vector / vector.norm()


def mlp_module(theta: Tensor, widths: Sequence[int], activation: str) -> nn.Sequential:
    """A module with parameters θ, of layers from `widths`: what libraries of curvature take."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, dtype=theta.dtype), _MODULES[activation]()]
    module = nn.Sequential(*layers[:-1])
    nn.utils.vector_to_parameters(theta, module.parameters())
    return module
