"""Hand-derived derivatives of plain networks: Taylor coefficients pushed through the layers.

Along θ + εv every layer's output is a power series in ε. Its coefficients pushed forward through the
layers, and those of the back-propagated errors pulled backward, give Hv (first order; Pearlmutter's
R-operator, Neural Computation 6, 1994) and D³L[v, v, ·] (second order) from matrix products alone:
automatic differentiation walks longer ways to both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from eostui.curvature.activations import ACTIVATIONS, is_standard
from eostui.curvature.layers import (
    Affine,
    Convolution,
    Dense,
    Elementwise,
    Flat,
    Node,
    Pool,
)
from eostui.curvature.output_losses import OUTPUT_LOSSES, OutputLoss
from eostui.problems.problem import Supervised


class Layer(Protocol):
    """A layer of a chain, without θ and input."""

    def at(self, x: Tensor, theta: Tensor) -> Node:
        """Return the node at input x."""


@dataclass(frozen=True)
class Chain:
    """A network that is a plain chain of known layers, with its data and loss.

    Attributes:
        layers: from inputs to outputs.
        inputs: the full batch.
        targets: what the outputs are compared with, shape (N, C).
        loss: (outputs, targets) ↦ the loss with its derivatives in the outputs.
    """

    layers: Sequence[Layer]
    inputs: Tensor
    targets: Tensor
    loss: Callable[[Tensor, Tensor], OutputLoss]


def chain_of(supervised: Supervised | None) -> Chain | None:
    """Return the chain that a network is, or None if it is anything but known layers in a row."""
    if supervised is None or supervised.loss not in OUTPUT_LOSSES:
        return None
    modules = supervised.module
    if not isinstance(modules, nn.Sequential) or len(set(modules)) < len(modules):
        return None
    layers: list[Layer] = []
    start = 0
    sample = supervised.inputs[:1]
    for module in modules:
        layer = _layer(module, sample, start)
        if layer is None:
            return None
        layers.append(layer)
        start += sum(parameter.numel() for parameter in module.parameters())
        with torch.no_grad():
            sample = module(sample)
    loss = OUTPUT_LOSSES[supervised.loss]
    return Chain(_pooled_early(layers), supervised.inputs, supervised.targets, loss)


def _pooled_early(layers: list[Layer]) -> list[Layer]:
    """Swap each activation that never falls with the max-pooling after it.

    The same function with the same derivatives almost everywhere, on a fraction of the elements.
    """
    for index, (layer, after) in enumerate(pairwise(tuple(layers))):
        rising = isinstance(layer, Elementwise) and layer.activation.monotone
        if rising and isinstance(after, Pool):
            layers[index : index + 2] = [after, layer]
    return layers


def _layer(module: nn.Module, sample: Tensor, start: int) -> Layer | None:
    """Return the layer that a module is, with its parameters at `start` in θ; None if unknown."""
    kind = type(module)
    if isinstance(module, nn.Linear) and kind is nn.Linear and sample.ndim == 2:
        return _affine(Dense(), module, start)
    if isinstance(module, nn.Conv2d) and kind is nn.Conv2d and not isinstance(module.padding, str):
        plain = module.padding_mode == "zeros" and sample.ndim == 4
        return _affine(Convolution(module), module, start) if plain else None
    if kind in ACTIVATIONS and is_standard(module):
        return Elementwise(ACTIVATIONS[kind])
    if isinstance(module, nn.MaxPool2d) and not module.return_indices and sample.ndim == 4:
        return Pool(module)
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
        return Flat()
    return None


def _affine(form: Dense | Convolution, module: nn.Linear | nn.Conv2d, start: int) -> Affine:
    bias = 0 if module.bias is None else module.bias.numel()
    return Affine(form, module.weight.shape, start, bias, first=start == 0)


class ChainPoint:
    """A point θ of a chain, its loss and gradient, and what Hessian products and ∇S share.

    Attributes:
        theta: the parameters θ, shape (P,).
        loss: L(θ), a scalar.
        gradient: ∇L(θ), shape (P,).
    """

    @torch.no_grad()
    def __init__(self, chain: Chain, theta: Tensor) -> None:
        self.theta = theta.detach()
        x = chain.inputs
        nodes: list[Node] = []
        for layer in chain.layers:
            nodes.append(layer.at(x, self.theta))
            x = nodes[-1].output
        self._nodes: list[Node] | None = nodes
        self._outputs = chain.loss(x, chain.targets)
        self.loss = self._outputs.value
        self.gradient = torch.empty_like(self.theta)
        delta: Tensor | None = self._outputs.delta
        for node in reversed(nodes):
            if delta is None:
                break
            delta = node.pull0(delta, self.gradient)

    @torch.no_grad()
    def hessian_product(self, vector: Tensor) -> Tensor:
        """Return H v, shape (P,), for v of shape (P,), with H = ∇²L(θ)."""
        return self._first_order(vector)[0]

    @torch.no_grad()
    def curvature_gradient(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return H v and D³L[v, v, ·], the gradient of vᵀH(θ)v with v held fixed, each of shape (P,).

        For the unit eigenvector u of a simple eigenvalue S this is ∇S (SS, Lemma 2).
        """
        product, df = self._first_order(vector)
        ddx: Tensor | None = None
        nodes = self._open()
        for node in nodes:
            ddx = node.push2(ddx, vector)
        third = torch.empty_like(vector)
        d2: Tensor | None = self._outputs.second(df, torch.zeros_like(df) if ddx is None else ddx)
        for node in reversed(nodes):
            if d2 is None:
                break
            d2 = node.pull2(d2, vector, third)
        return product, third

    def release(self) -> None:
        """Free what the derivatives need; only `theta`, `loss` and `gradient` can be read afterwards."""
        self._nodes = None

    def _first_order(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return H v and ḟ, leaving the first-order coefficients in the nodes."""
        nodes = self._open()
        dx: Tensor | None = None
        for node in nodes:
            dx = node.push1(dx, vector)
        assert dx is not None, "a chain has at least one layer with parameters"
        product = torch.empty_like(vector)
        d1: Tensor | None = self._outputs.first(dx)
        for node in reversed(nodes):
            if d1 is None:
                break
            d1 = node.pull1(d1, vector, product)
        return product, dx

    def _open(self) -> list[Node]:
        if self._nodes is None:
            raise RuntimeError("this point was released: its derivatives are gone")
        return self._nodes
