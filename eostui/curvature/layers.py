"""The layers that Taylor coefficients can be pushed through, forward and backward.

A layer at one θ and one input is a node. Along θ + εv let x, ẋ, ẍ be the value and the derivatives of its
input, and δ, δ̇, δ̈ those of the loss's gradient in its output. Then

    push1: ẋ ↦ ẏ,  push2: ẍ ↦ ÿ             forward, in the order of the layers;
    pull0, pull1, pull2: δ, δ̇, δ̈ of the output ↦ those of the input, backward; on the way each writes
        its own parameters' share of ∇L, of Hv and of D³L[v, v, ·].

`None` stands for a coefficient that is zero. A call uses what the calls before it left in the node: push1
before push2 and pull1, and both before pull2; `leave` lets go of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from eostui.curvature.activations import Activation

Coefficient = Tensor | None

#: Attributes of nodes by which calls tell those after them.
_LEFT = ("dx", "ddx", "moved", "d1")


class Node(ABC):
    """A layer at one θ and one input x; `output` is its value there."""

    output: Tensor

    def prepare(self) -> None:
        """Make what the calls share and the first of them would make."""

    def leave(self) -> None:
        """Let go of what the calls left: its memory, still in the cache, is then the next ones'."""
        for name in _LEFT:
            self.__dict__.pop(name, None)

    @abstractmethod
    def push1(self, dx: Coefficient, v: Tensor) -> Coefficient:
        """Return ẏ."""

    @abstractmethod
    def push2(self, ddx: Coefficient, v: Tensor) -> Coefficient:
        """Return ÿ."""

    @abstractmethod
    def pull(self, error: Tensor, into: Tensor) -> Coefficient:
        """Return Jᵀe for the input; write Jᵀe for the parameters into `into`, shape (P,)."""

    @abstractmethod
    def pull0(self, delta: Tensor, into: Tensor) -> Coefficient:
        """Return δ of the input; write ∇L's share."""

    @abstractmethod
    def pull1(self, d1: Tensor, v: Tensor, into: Coefficient) -> Coefficient:
        """Return δ̇ of the input; write Hv's share, if it is wanted."""

    @abstractmethod
    def pull2(self, d2: Tensor, v: Tensor, into: Tensor) -> Coefficient:
        """Return δ̈ of the input; write the share of D³L[v, v, ·]."""


class Bilinear(ABC):
    """What linear layers and convolutions have in common: y = B(x, W) + b with a bilinear B.

    Inputs are handed to the other methods as `prepared` returns them. Each form is added to `onto`
    where that is given, in place.
    """

    def prepared(self, x: Tensor) -> Tensor:
        """Return x, or its rearrangement from which B(x, ·) and its transpose are had; made once."""
        return x

    def by_columns(self, rows: Tensor, others: int) -> Tensor:
        """Return inputs or errors, shape (N, …), as `outer` reads them best: for several sums.

        Args:
            rows: inputs or errors.
            others: how many outputs or inputs there are on the other side of the sums.
        """
        return rows

    @abstractmethod
    def apply(self, x: Tensor, weight: Tensor, bias: Coefficient, onto: Coefficient) -> Tensor:
        """Return B(x, W) + b."""

    @abstractmethod
    def transpose(self, delta: Tensor, weight: Tensor, x: Tensor, onto: Coefficient) -> Tensor:
        """Return the gradient of ⟨δ, B(x, W)⟩ in x; of x only the shape counts."""

    @abstractmethod
    def outer(
        self, delta: Tensor, x: Tensor, weight: Tensor, bias: Coefficient, *, add: bool
    ) -> None:
        """Write the gradient of ⟨δ, B(x, W) + b⟩ in W over `weight`, or add it to `weight`.

        That in b is written over `bias`, where that is given.
        """


class Dense(Bilinear):
    """nn.Linear on inputs of shape (N, features)."""

    def apply(self, x: Tensor, weight: Tensor, bias: Coefficient, onto: Coefficient) -> Tensor:
        if onto is not None:
            return onto.addmm_(x, weight.T)
        result = x @ weight.T  # the bias within the product would cost more than after it
        return result if bias is None else result.add_(bias)

    def transpose(self, delta: Tensor, weight: Tensor, x: Tensor, onto: Coefficient) -> Tensor:
        return delta @ weight if onto is None else onto.addmm_(delta, weight)

    def outer(
        self, delta: Tensor, x: Tensor, weight: Tensor, bias: Coefficient, *, add: bool
    ) -> None:
        if pieces_of_sum(delta, x) == 1:
            weight.addmm_(delta.T, x, beta=float(add))
        else:
            product = summed_outer(delta, x)
            weight.add_(product) if add else weight.copy_(product)
        if bias is not None:
            torch.sum(delta, 0, out=bias)


#: Rows of a piece at least, and pieces at most, of a sum that several multiprocessors of a GPU share.
_PIECE, _PIECES = 256, 1024


def pieces_of_sum(delta: Tensor, x: Tensor) -> int:
    """Return in how many pieces δᵀx is best summed, for rows of both shape (n, …).

    A GPU's library gives each part of the result to one multiprocessor, however long its sum is. Where n
    isn't below the number of elements of the result, pieces are faster: on an H100 δᵀx of a network's
    last layer (n 1000, 10 × 100) takes 54 µs at once and 17 in 3 pieces, that of a convolution's rows
    (n 5.1e6, 32 × 28) 1.07 ms and 0.47.
    """
    rows, size = len(delta), delta.shape[1] * x.shape[1]
    if delta.device.type != "cuda" or rows < size:
        return 1
    return max(1, min(rows // _PIECE, _PIECES))


def summed_outer(delta: Tensor, x: Tensor, pieces: int | None = None) -> Tensor:
    """Return δᵀx, shape (h, k), for rows of shape (n, h) and (n, k), summed in pieces.

    Args:
        delta: rows of errors.
        x: rows of inputs.
        pieces: how many; None for as many as `pieces_of_sum` says.
    """
    pieces = pieces_of_sum(delta, x) if pieces is None else pieces
    if pieces == 1:
        return delta.T @ x
    rows = len(delta) // pieces
    within = rows * pieces
    left = delta[:within].reshape(pieces, rows, delta.shape[1]).transpose(1, 2)
    total = torch.bmm(left, x[:within].reshape(pieces, rows, x.shape[1])).sum(0)
    return total.addmm_(delta[within:].T, x[within:]) if within < len(delta) else total


@dataclass(frozen=True)
class Affine:
    """Where a layer with parameters finds them in θ.

    Attributes:
        form: its bilinear form, as L and ∇L take it: training depends on how they round.
        further: the same form for what is derived further.
        shape: of the weight.
        start: index of the weight's first element in θ; the bias follows the weight.
        bias: length of the bias, 0 for none.
        first: whether no layer before it has parameters, so that nothing needs the input's errors.
    """

    form: Bilinear
    further: Bilinear
    shape: torch.Size
    start: int
    bias: int
    first: bool

    def split(self, vector: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return views of the weight and the bias in a vector of shape (P,)."""
        middle = self.start + self.shape.numel()
        bias = vector[middle : middle + self.bias] if self.bias else None
        return vector[self.start : middle].view(self.shape), bias

    def at(self, x: Tensor, theta: Tensor) -> AffineNode:
        """Return the node at input x."""
        return AffineNode(self, x, theta)


class AffineNode(Node):
    """y = B(x, W) + b.

    Attributes:
        x: the input.
        delta: δ of the output.
        inputs, errors: both, for sums over the samples.
        moved: v's share in W.
    """

    dx: Coefficient
    ddx: Coefficient
    moved: Tensor
    delta: Tensor
    errors: Tensor
    d1: Tensor

    def __init__(self, layer: Affine, x: Tensor, theta: Tensor) -> None:
        self.layer, self.form, self.x = layer, layer.further, layer.form.prepared(x)
        self.weight, bias = layer.split(theta)
        self.output = layer.form.apply(self.x, self.weight, bias, None)
        self.inputs = self.x

    def prepare(self) -> None:
        outputs, inputs = self.weight.shape[:2]
        self.inputs = self.form.by_columns(self.inputs, outputs)
        if not self.layer.first:  # whose input doesn't move
            self.errors = self.form.by_columns(self.errors, inputs)

    def push1(self, dx: Coefficient, v: Tensor) -> Coefficient:
        self.dx = None if dx is None else self.form.prepared(dx)
        self.moved, bias = self.layer.split(v)
        dy = self.form.apply(self.x, self.moved, bias, None)
        return dy if self.dx is None else self.form.apply(self.dx, self.weight, None, dy)

    def push2(self, ddx: Coefficient, v: Tensor) -> Coefficient:
        self.ddx = None if ddx is None else self.form.prepared(ddx)
        if self.dx is None:
            return None  # then ẍ is zero too: nothing before this layer moves
        ddy = self.form.apply(self.dx, 2 * self.moved, None, None)
        return ddy if self.ddx is None else self.form.apply(self.ddx, self.weight, None, ddy)

    def pull(self, error: Tensor, into: Tensor) -> Coefficient:
        self._write(into, (error, self.inputs))
        return self._pull([(error, self.weight)])

    def pull0(self, delta: Tensor, into: Tensor) -> Coefficient:
        self.delta = self.errors = delta
        self.layer.form.outer(delta, self.x, *self.layer.split(into), add=False)
        first = self.layer.first
        return None if first else self.layer.form.transpose(delta, self.weight, self.x, None)

    def pull1(self, d1: Tensor, v: Tensor, into: Coefficient) -> Coefficient:
        self.d1 = d1
        if into is not None:
            other = None if self.dx is None else (self.errors, self.dx)
            self._write(into, (d1, self.inputs), other)
        return self._pull([(d1, self.weight), (self.delta, self.moved)])

    def pull2(self, d2: Tensor, v: Tensor, into: Tensor) -> Coefficient:
        other = None if self.ddx is None else (self.errors, self.ddx)
        twice = None if self.dx is None else (self.d1, self.dx)
        self._write(into, (d2, self.inputs), other, twice)
        return self._pull([(d2, self.weight), (self.d1, 2 * self.moved)])

    def _write(
        self,
        into: Tensor,
        main: tuple[Tensor, Tensor],
        other: tuple[Tensor, Tensor] | None = None,
        twice: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Write this layer's parameters' share: the outer products of errors and inputs.

        The errors of `main` are those of the bias too. `twice` is a product that counts double:
        doubled here, where it is smallest.
        """
        weight, bias = self.layer.split(into)
        if twice is not None:
            self.form.outer(*twice, weight, None, add=False)
            weight.mul_(2)
        self.form.outer(*main, weight, bias, add=twice is not None)
        if other is not None:
            self.form.outer(*other, weight, None, add=True)

    def _pull(self, terms: list[tuple[Tensor, Tensor]]) -> Coefficient:
        """Return the errors of the input, unless nothing needs them."""
        if self.layer.first:
            return None
        result = None
        for delta, weight in terms:
            result = self.form.transpose(delta, weight, self.x, result)
        return result


class Elementwise:
    """An activation function, written over its input where the layer before doesn't keep that."""

    def __init__(self, activation: Activation, before: object = None) -> None:
        self.activation = activation
        in_place = activation.in_place if isinstance(before, Affine) else None
        self._value = in_place or activation.value

    def at(self, x: Tensor, theta: Tensor) -> ElementwiseNode:
        """Return the node at input x."""
        return ElementwiseNode(self.activation, x, self._value(x))


class ElementwiseNode(Node):
    """y = σ(x) element by element."""

    dx: Coefficient
    ddx: Coefficient
    delta: Tensor
    d1: Tensor

    def __init__(self, activation: Activation, x: Tensor, output: Tensor) -> None:
        self.activation, self.x, self.output = activation, x, output

    @cached_property
    def slope(self) -> Tensor:
        """σ′(x)."""
        return self.activation.slope(self.x, self.output)

    @cached_property
    def bend(self) -> Tensor | None:
        """σ″(x), or None for zero."""
        bend = self.activation.bend
        return None if bend is None else bend(self.x, self.output)

    def prepare(self) -> None:
        if self.activation.scaled is None:
            _ = self.slope
        _ = self.bend

    def _scaled(self, d: Tensor) -> Tensor:
        """Return σ′(x)·d, and d may be gone: what comes to a node is its own."""
        scaled = self.activation.scaled
        return self.slope * d if scaled is None else scaled(d, self.output)

    def push1(self, dx: Coefficient, v: Tensor) -> Coefficient:
        self.dx = dx
        return None if dx is None else self._scaled(dx)

    def push2(self, ddx: Coefficient, v: Tensor) -> Coefficient:
        self.ddx = ddx
        result = None if ddx is None else self._scaled(ddx)
        if self.dx is None or self.bend is None:
            return result
        bent = self.bend * self.dx.square()
        return bent if result is None else result.add_(bent)

    def pull(self, error: Tensor, into: Tensor) -> Coefficient:
        return self._scaled(error)

    def pull0(self, delta: Tensor, into: Tensor) -> Coefficient:
        self.delta = delta
        return self.pull(delta, into)

    def pull1(self, d1: Tensor, v: Tensor, into: Coefficient) -> Coefficient:
        self.d1 = d1
        result = self._scaled(d1)
        if self.dx is None or self.bend is None:
            return result
        return result.addcmul_(self.bend * self.dx, self.delta)

    def pull2(self, d2: Tensor, v: Tensor, into: Tensor) -> Coefficient:
        result = self._scaled(d2)
        if self.dx is None or self.bend is None or self.activation.twist is None:
            return result
        result.addcmul_(self.bend * self.dx, self.d1, value=2.0)
        twist = self.activation.twist(self.x, self.output) * self.dx.square()
        if self.ddx is not None:
            twist.addcmul_(self.bend, self.ddx)
        return result.addcmul_(twist, self.delta)


class Selection(Node):
    """A layer without parameters that is linear, once it is known which elements it takes."""

    @abstractmethod
    def push(self, dx: Tensor) -> Tensor:
        """Return J dx."""

    @abstractmethod
    def transpose(self, error: Tensor) -> Tensor:
        """Return Jᵀ e."""

    def push1(self, dx: Coefficient, v: Tensor) -> Coefficient:
        return None if dx is None else self.push(dx)

    def push2(self, ddx: Coefficient, v: Tensor) -> Coefficient:
        return self.push1(ddx, v)

    def pull(self, error: Tensor, into: Tensor) -> Coefficient:
        return self.transpose(error)

    def pull0(self, delta: Tensor, into: Tensor) -> Coefficient:
        return self.transpose(delta)

    def pull1(self, d1: Tensor, v: Tensor, into: Coefficient) -> Coefficient:
        return self.transpose(d1)

    def pull2(self, d2: Tensor, v: Tensor, into: Tensor) -> Coefficient:
        return self.transpose(d2)


class Flat:
    """nn.Flatten: every sample one row."""

    def __init__(self, layout: torch.memory_format) -> None:
        self.layout = layout

    def at(self, x: Tensor, theta: Tensor) -> FlatNode:
        """Return the node at input x."""
        return FlatNode(x, self.layout)


class FlatNode(Selection):
    """y = x with another shape."""

    def __init__(self, x: Tensor, layout: torch.memory_format) -> None:
        self.shape, self.layout = x.shape, layout
        self.output = x.flatten(1)

    def push(self, dx: Tensor) -> Tensor:
        return dx.flatten(1)

    def transpose(self, error: Tensor) -> Tensor:
        return laid_out(error.view(self.shape), self.layout)


def is_view_of(x: Tensor, constant: Tensor) -> bool:
    """Whether x is a constant, or flattened to it: networks may do that with their inputs at each θ.

    Args:
        x: any tensor.
        constant: one that is held, so that no other comes to lie where it does.
    """
    return (x.data_ptr(), x.shape, x.stride(), x.dtype) == (
        constant.data_ptr(), constant.shape, constant.stride(), constant.dtype,
    )  # fmt: skip


def laid_out(x: Tensor, layout: torch.memory_format) -> Tensor:
    """Return x with its elements in this order in memory: images of shape (N, C, height, width)."""
    if layout != torch.channels_last or x.ndim != 4:
        return x
    _, channels, height, width = x.shape
    # strides of an axis of length 1 are stated too: kernels choose the order of their results by them
    strides = (channels * height * width, 1, width * channels, channels)
    return x.contiguous(memory_format=layout).as_strided(x.shape, strides)
