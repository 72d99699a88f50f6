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
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from eostui.curvature.activations import ACTIVATIONS, is_standard
from eostui.curvature.convolutions import Convolution, UnfoldedConvolution, can_unfold
from eostui.curvature.layers import (
    Affine,
    AffineNode,
    Bilinear,
    Dense,
    Elementwise,
    Flat,
    Node,
    laid_out,
)
from eostui.curvature.one_dnn import by_one_dnn
from eostui.curvature.output_losses import OUTPUT_LOSSES, OutputLoss
from eostui.curvature.pooling import Pool
from eostui.curvature.tensor_cores import InPieces, in_pieces
from eostui.problems.batch import Convolutions, LossFunction, Supervised, supervised_parts


class Layer(Protocol):
    """A layer of a chain, without θ and input."""

    def at(self, x: Tensor, theta: Tensor) -> Node:
        """Return the node at input x."""


@dataclass(frozen=True)
class Chain:
    """A network that is a plain chain of known layers, on some samples.

    Attributes:
        layers: from inputs to outputs.
        inputs: of these samples.
        loss: outputs ↦ these samples' share of L with its derivatives in the outputs.
    """

    layers: Sequence[Layer]
    inputs: Tensor
    loss: Callable[[Tensor], OutputLoss]


#: Chains already made, by what they were made of.
_CHAINS: WeakKeyDictionary[Supervised, Chain | None] = WeakKeyDictionary()


def chain_of(supervised: Supervised) -> Chain | None:
    """Return the chain that a network is, or None if it is anything but known layers in a row."""
    if supervised not in _CHAINS:
        _CHAINS[supervised] = _make_chain(supervised)
    return _CHAINS[supervised]


def is_on_tensor_cores(loss: LossFunction) -> bool:
    """Return whether products of a loss's network are taken in pieces, on tensor cores."""
    chains = [chain_of(made_of) for made_of in supervised_parts(loss)]
    layers = [layer for chain in chains if chain is not None for layer in chain.layers]
    return any(isinstance(layer, Affine) and isinstance(layer.form, InPieces) for layer in layers)


def _make_chain(supervised: Supervised) -> Chain | None:
    modules, loss = supervised.module, OUTPUT_LOSSES.get(supervised.loss)
    if loss is None or type(modules) is not nn.Sequential or not _is_plain(modules):
        return None
    how = supervised.convolutions
    inputs = supervised.inputs
    if any(type(module) in (nn.Conv2d, nn.MaxPool2d) for module in modules):
        inputs = laid_out(inputs, _layout(how))
    else:
        how = "native"  # rows are taken from images as they are, without a copy at every step
    layers: list[Layer] = []
    start = 0
    sample = supervised.inputs[:1]
    for module in modules:
        # of a batch in chunks nothing is kept: its memory is short
        lasts = supervised.lasting and supervised.share == 1.0
        flat = all(isinstance(layer, Flat) for layer in layers)
        constant = inputs if lasts and flat else None
        layer = _layer(module, sample, start, layers[-1] if layers else None, how, constant)
        if layer is None:
            return None
        layers.append(layer)
        start += sum(parameter.numel() for parameter in module.parameters())
        with torch.no_grad():
            sample = module(sample)
    if start == 0:
        return None
    # of `supervised` its parts only: a reference to itself would keep it in the dictionary for ever
    targets, share = supervised.targets, supervised.share
    return Chain(_pooled_early(layers), inputs, lambda outputs: loss(outputs, targets, share))


def _is_plain(modules: nn.Sequential) -> bool:
    """Whether what the layers' types tell is all: nothing shared, frozen, hooked, added or replaced."""
    own = [parameter for module in modules for parameter in module.parameters()]
    listed = list(modules.parameters())
    return (
        len(set(modules)) == len(modules)
        and len(own) == len(listed)
        and all(parameter.requires_grad for parameter in listed)
        and all(first is second for first, second in zip(own, listed, strict=True))
        and not any(
            module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
            for module in modules.modules()
        )
    )


def _pooled_early(layers: list[Layer]) -> list[Layer]:
    """Swap each activation that never falls with the max-pooling after it.

    The same function with the same derivatives almost everywhere, on a fraction of the elements.
    """
    for index, (layer, after) in enumerate(pairwise(tuple(layers))):
        rising = isinstance(layer, Elementwise) and layer.activation.monotone
        if rising and isinstance(after, Pool):
            layers[index : index + 2] = [after, layer]
    return layers


def _layout(how: Convolutions) -> torch.memory_format:
    return torch.contiguous_format if how == "native" else torch.channels_last


def _layer(
    module: nn.Module,
    sample: Tensor,
    start: int,
    before: Layer | None,
    how: Convolutions,
    constant: Tensor | None,
) -> Layer | None:
    """Return the layer that a module is; None if unknown.

    Args:
        module: the layer of the network.
        sample: an input of it.
        start: where its parameters begin in θ.
        before: the layer before it.
        how: convolutions are computed.
        constant: its input, if that is the same at every θ, but for its shape.
    """
    kind = type(module)
    if kind is nn.Linear and isinstance(module, nn.Linear) and sample.ndim == 2:
        known = constant is not None and constant.is_contiguous()  # flattened, it is a view
        rows = constant.flatten(1) if constant is not None and known else None
        form = None if rows is None else in_pieces(rows, module.out_features)
        return _affine(form or Dense(), module, start, by_one_dnn(sample, rows))
    if kind is nn.Conv2d and isinstance(module, nn.Conv2d) and not isinstance(module.padding, str):
        plain = module.padding_mode == "zeros" and sample.ndim == 4
        return _affine(_convolution(module, how, constant), module, start) if plain else None
    if kind in ACTIVATIONS and is_standard(module):
        return Elementwise(ACTIVATIONS[kind], before)
    if kind is nn.MaxPool2d and isinstance(module, nn.MaxPool2d) and sample.ndim == 4:
        return None if module.return_indices else Pool(module, by_windows=how == "unfolded")
    if kind is nn.Flatten and isinstance(module, nn.Flatten):
        return Flat(_layout(how)) if (module.start_dim, module.end_dim) == (1, -1) else None
    return None


def _convolution(module: nn.Conv2d, how: Convolutions, constant: Tensor | None) -> Bilinear:
    if how == "unfolded" and can_unfold(module):
        return UnfoldedConvolution(module, constant)
    return Convolution(module, _layout(how))


def _affine(
    form: Bilinear, module: nn.Linear | nn.Conv2d, start: int, further: Bilinear | None = None
) -> Affine:
    bias = 0 if module.bias is None else module.bias.numel()
    return Affine(form, further or form, module.weight.shape, start, bias, first=start == 0)


class ChainDerivatives:
    """A chain at one θ: its share of L and ∇L, and of what is derived further.

    Attributes:
        loss: share of L(θ), a scalar.
        gradient: share of ∇L(θ), shape (P,).
    """

    @torch.no_grad()
    def __init__(self, chain: Chain, theta: Tensor) -> None:
        x = chain.inputs
        self._nodes: list[Node] = []
        for layer in chain.layers:
            self._nodes.append(layer.at(x, theta))
            x = self._nodes[-1].output
        self._outputs = chain.loss(x)
        self.loss = self._outputs.value
        self.gradient = torch.empty_like(theta)
        self._backward(self._outputs.delta, lambda node, d: node.pull0(d, self.gradient))
        self._prepared = False

    @torch.no_grad()
    def prepare(self) -> None:
        """Make all that Hv and D³L[v, v, ·] share, once."""
        if not self._prepared:
            self._prepared = True
            for node in self._nodes:
                node.prepare()

    @torch.no_grad()
    def hessian_product(self, vector: Tensor) -> Tensor:
        """Return the share of H v, shape (P,)."""
        product = torch.empty_like(vector)
        self._first_order(vector, product)
        self._leave()
        return product

    @torch.no_grad()
    def third_derivative(self, vector: Tensor) -> Tensor:
        """Return the share of D³L[v, v, ·], shape (P,)."""
        return self._second_order(vector, self._first_order(vector, None))

    @torch.no_grad()
    def curvature_gradient(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shares of H v and D³L[v, v, ·], each of shape (P,)."""
        product = torch.empty_like(vector)
        return product, self._second_order(vector, self._first_order(vector, product))

    @torch.no_grad()
    def gauss_newton_product(self, vector: Tensor) -> Tensor:
        """Return the share of Jᵀ H_out J v, shape (P,)."""
        product = torch.empty_like(vector)
        moved = self._outputs.first(self._push(vector))
        self._backward(moved, lambda node, d: node.pull(d, product))
        self._leave()
        return product

    @property
    def outputs(self) -> Tensor:
        """f(θ) of these samples, shape (n, …)."""
        return self._nodes[-1].output

    @torch.no_grad()
    def output_product(self, vector: Tensor) -> Tensor:
        """Return J v, shape (n, …)."""
        moved = self._push(vector)
        self._leave()
        return moved

    @torch.no_grad()
    def pullback(self, cotangent: Tensor) -> Tensor:
        """Return Jᵀ w, shape (P,)."""
        product = torch.empty_like(self.gradient)
        self._backward(cotangent.clone(), lambda node, d: node.pull(d, product))
        return product

    @torch.no_grad()
    def layer_errors(self, cotangent: Tensor) -> list[tuple[AffineNode, Tensor]]:
        """Return the layers with parameters from the last to the first, and what w is in their outputs.

        The share of such a layer in Jᵀw is the sum over samples of the products of this and its input.
        """
        found: list[tuple[AffineNode, Tensor]] = []
        unwanted = torch.empty_like(self.gradient)

        def pull(node: Node, error: Tensor) -> Tensor | None:
            if isinstance(node, AffineNode):
                found.append((node, error))
            return node.pull(error, unwanted)

        self._backward(cotangent.clone(), pull)
        return found

    def _push(self, vector: Tensor) -> Tensor:
        """Return ḟ along θ + εv, leaving the first-order coefficients in the nodes."""
        dx: Tensor | None = None
        for node in self._nodes:
            dx = node.push1(dx, vector)
        assert dx is not None, "a chain has a layer with parameters"
        return dx

    def _first_order(self, vector: Tensor, product: Tensor | None) -> Tensor:
        """Return ḟ; write the share of H v over `product`, if it is wanted."""
        df = self._push(vector)
        self._backward(self._outputs.first(df), lambda node, d: node.pull1(d, vector, product))
        return df

    def _second_order(self, vector: Tensor, df: Tensor) -> Tensor:
        """Return the share of D³L[v, v, ·] from the first-order coefficients in the nodes."""
        ddx: Tensor | None = None
        for node in self._nodes:
            ddx = node.push2(ddx, vector)
        third = torch.empty_like(vector)
        d2 = self._outputs.second(df, torch.zeros_like(df) if ddx is None else ddx)
        self._backward(d2, lambda node, d: node.pull2(d, vector, third))
        self._leave()
        return third

    def _leave(self) -> None:
        """Let go of the coefficients along the last direction."""
        for node in self._nodes:
            node.leave()

    def _backward(self, error: Tensor, pull: Callable[[Node, Tensor], Tensor | None]) -> None:
        """Pull errors back from the outputs as far as there are parameters."""
        d: Tensor | None = error
        for node in reversed(self._nodes):
            if d is None:
                return
            d = pull(node, d)
