"""The activation functions with their first three derivatives, in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

#: (input z, value σ(z)) ↦ a derivative of σ at z, element by element.
Derivative = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """σ and its derivatives, as PyTorch differentiates σ (almost everywhere).

    Attributes:
        value: σ.
        slope: σ′.
        bend: σ″; None where it is zero almost everywhere, and σ‴ then too.
        twist: σ‴.
        scaled: (d, value σ(z)) ↦ σ′(z)·d at once and in place of d, where that spares passes.
        in_place: σ in place of its input, where neither its slope nor anything else needs that.
        monotone: whether σ never falls.
    """

    value: Callable[[Tensor], Tensor]
    slope: Derivative
    bend: Derivative | None = None
    twist: Derivative | None = None
    scaled: Callable[[Tensor, Tensor], Tensor] | None = None
    in_place: Callable[[Tensor], Tensor] | None = None
    monotone: bool = True


def _normal_density(z: Tensor) -> Tensor:
    return torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)


def _gelu_slope(z: Tensor, _: Tensor) -> Tensor:
    cumulative: Tensor = torch.special.ndtr(z)
    return cumulative + z * _normal_density(z)


def _elu_bend(z: Tensor, _: Tensor) -> Tensor:
    return torch.where(z > 0, 0.0, torch.exp(z.clamp(max=0.0)))


def _softplus_bend(z: Tensor, _: Tensor) -> Tensor:
    slope = torch.sigmoid(z)
    return slope * (1.0 - slope)


def _relu_scaled(d: Tensor, value: Tensor) -> Tensor:
    scaled: Tensor = torch.ops.aten.threshold_backward.grad_input(d, value, 0, grad_input=d)
    return scaled


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(
        torch.relu,
        slope=lambda _, value: value.sign(),
        scaled=_relu_scaled,
        in_place=torch.relu_,
    ),
    nn.Tanh: Activation(
        torch.tanh,
        slope=lambda _, value: 1.0 - value.square(),
        bend=lambda _, value: -2.0 * value * (1.0 - value.square()),
        twist=lambda _, value: (6.0 * value.square() - 2.0) * (1.0 - value.square()),
    ),
    nn.GELU: Activation(
        functional.gelu,
        slope=_gelu_slope,
        bend=lambda z, _: _normal_density(z) * (2.0 - z.square()),
        twist=lambda z, _: _normal_density(z) * z * (z.square() - 4.0),
        monotone=False,
    ),
    nn.ELU: Activation(
        functional.elu,
        slope=lambda z, _: torch.exp(z.clamp(max=0.0)),
        bend=_elu_bend,
        twist=_elu_bend,
    ),
    nn.Softplus: Activation(
        functional.softplus,
        slope=lambda z, _: torch.sigmoid(z),
        bend=_softplus_bend,
        twist=lambda z, _: _softplus_bend(z, z) * (1.0 - 2.0 * torch.sigmoid(z)),
    ),
}


def is_standard(module: nn.Module) -> bool:
    """Whether an activation module has the settings that the closed forms are of."""
    if isinstance(module, nn.GELU):
        return module.approximate == "none"
    if isinstance(module, nn.ELU):
        return module.alpha == 1.0
    if isinstance(module, nn.Softplus):
        return module.beta == 1.0 and module.threshold == 20.0
    return type(module) in ACTIVATIONS
