"""One point θ: the work that its training step and all measurements there share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.linalg import vector_norm

from eostui.curvature.capture import Program, Programs
from eostui.curvature.graph import GraphDerivatives
from eostui.curvature.shards import ShardedLoss
from eostui.curvature.taylor import Chain, ChainDerivatives, chain_of
from eostui.errors import InputError
from eostui.problems.batch import Chunk, LossFunction, parts_of
from eostui.problems.losses import accuracy

__all__ = ["LossFunction", "Point", "Points", "plain_gradient", "training_pass"]


class Point:
    """A parameter vector, its loss and gradient, and derivatives that share their work.

    The gradient is computed once and what it was made of is kept, so the training step, every Hessian
    product and ∇S of this step share one forward and one backward pass. A plain chain of layers is
    differentiated by its Taylor coefficients, anything else by automatic differentiation on a kept
    graph. Of a loss in several parts nothing is kept: each derivative goes through one part at a time,
    which bounds the memory. Where samples are shared out among processes, each does so with its own.

    Attributes:
        theta: the parameters θ, shape (P,), detached.
        loss: L(θ), a detached scalar.
        gradient: ∇L(θ), shape (P,), detached.
    """

    def __init__(
        self, loss_function: LossFunction, theta: Tensor, kept: _Derivatives | None = None
    ) -> None:
        """Differentiate at θ, unless `kept` has the derivatives of a loss of one part there."""
        self.theta = theta.detach()
        self._shards = loss_function.shards if isinstance(loss_function, ShardedLoss) else None
        own = loss_function.own if isinstance(loss_function, ShardedLoss) else loss_function
        self._parts = parts_of(own)
        self._kept = kept
        self._released = False
        self._accuracy: Tensor | None = None

        def value() -> tuple[Tensor, ...]:
            if len(self._parts) > 1:
                return training_pass(own, theta)
            if self._kept is None:
                self._kept = _derivatives(self._parts[0], self.theta)
            return self._kept.loss.detach(), self._kept.gradient.detach()

        def value_told() -> tuple[Tensor, ...]:
            loss, gradient, *known = value()
            return loss, gradient, *(known or self._accuracy_of_kept())

        self.loss, self.gradient, *accuracy = (
            value() if self._shards is None else self._shards.sum("value", self, (), value_told)
        )
        if accuracy:
            self._accuracy = accuracy[0]

    @property
    def accuracy(self) -> Tensor | None:
        """The share of training samples that is right at θ, a scalar; None where there is none.

        It is of the pass that L is of, and is asked for before `release`.
        """
        if self._accuracy is None:
            self._accuracy = next(iter(self._accuracy_of_kept()), None)
        return self._accuracy

    def _accuracy_of_kept(self) -> tuple[Tensor, ...]:
        """Return the accuracy of a loss of one part, or nothing where there is none."""
        if isinstance(self._kept, _AtPoint):
            return () if self._kept.accuracy is None else (self._kept.accuracy,)
        return () if self._kept is None else _accuracy_share(self._parts[0], self._kept)

    def hessian_product(self, vector: Tensor) -> Tensor:
        """Return H v, shape (P,), for v of shape (P,), with H = ∇²L(θ)."""
        (product,) = self._sum(
            "hessian_product", lambda graph: (graph.hessian_product(vector),), vector
        )
        return product

    def pairs(self) -> Pairs | None:
        """Return the way to v and H v in one go, where that is a program of its own; else None."""
        return self._kept.pairs() if isinstance(self._kept, _AtPoint) else None

    def curvature_gradient(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return H v and D³L[v, v, ·], each of shape (P,)."""
        product, third = self._sum(
            "curvature_gradient", lambda graph: graph.curvature_gradient(vector), vector
        )
        return product, third

    def third_derivative(self, vector: Tensor) -> Tensor:
        """Return D³L[v, v, ·], the gradient of vᵀH(θ)v with v held fixed, of shape (P,).

        For the unit eigenvector u of a simple eigenvalue S this is ∇S (SS, Lemma 2).
        """
        (third,) = self._sum(
            "third_derivative", lambda graph: (graph.third_derivative(vector),), vector
        )
        return third

    def gauss_newton_product(self, vector: Tensor) -> Tensor:
        """Return G v = Jᵀ H_out J v, shape (P,), for v of shape (P,).

        J is the Jacobian of the outputs in θ and H_out the Hessian of the loss in the outputs, so that
        H = G + R, where R carries the second derivatives of the outputs (MATH §5).

        Raises:
            InputError: if the problem is a loss of θ alone, without outputs.
        """
        (product,) = self._sum(
            "gauss_newton_product", lambda graph: (graph.gauss_newton_product(vector),), vector
        )
        return product

    def outputs(self) -> Tensor:
        """Return the outputs f(θ) of all samples, shape (N, …). As `gauss_newton_product` raises."""
        return self._each("outputs", lambda derivatives, _: derivatives.outputs)

    def output_product(self, vector: Tensor) -> Tensor:
        """Return J v, how the outputs move along v: shape (N, …), for v of shape (P,).

        Raises:
            InputError: if the problem is a loss of θ alone, without outputs.
        """
        return self._each(
            "output_product", lambda derivatives, _: derivatives.output_product(vector), vector
        )

    def output_pullback(self, cotangent: Tensor) -> Tensor:
        """Return Jᵀ w, shape (P,), for w shaped as the outputs. As `output_product` raises."""
        start = 0  # the first process has the first samples

        def share(part: LossFunction) -> tuple[Tensor, ...]:
            nonlocal start
            derivatives = self._of(part)
            rows = slice(start, start + len(derivatives.outputs))
            start = rows.stop
            return (derivatives.pullback(cotangent[rows]),)

        def own() -> list[Tensor]:
            return _accurate_sums(self._parts, share)

        (product,) = (
            own()
            if self._shards is None
            else self._shards.sum("output_pullback", self, (cotangent,), own)
        )
        return product

    def output_slopes(self) -> Tensor:
        """Return ∂L/∂f, how L changes with the outputs of each sample: shape (N, …).

        Raises:
            InputError: if the problem is a loss of θ alone, without outputs.
        """

        def slopes(derivatives: _Derivatives, part: LossFunction) -> Tensor:
            outputs = derivatives.outputs  # raises where there are none
            assert isinstance(part, Chunk)
            return part.output_slopes(outputs)

        return self._each("output_slopes", slopes)

    def sample_losses(self) -> Tensor:
        """Return the loss of each sample alone, shape (N,): L is their mean.

        Raises:
            InputError: if the problem isn't made of a module on data.
        """

        def losses(derivatives: _Derivatives, part: LossFunction) -> Tensor:
            supervised = part.supervised if isinstance(part, Chunk) else None
            if supervised is None:
                raise InputError(
                    "losses of samples need a problem made of a module on data, and this one is a loss "
                    "of θ alone: make it with Problem.from_module"
                )
            pairs = zip(derivatives.outputs, supervised.targets, strict=True)
            with torch.no_grad():
                each = [supervised.loss(output[None], target[None]) for output, target in pairs]
            return torch.stack(each)

        return self._each("sample_losses", losses)

    def release(self) -> None:
        """Free the kept graph; only `theta`, `loss` and `gradient` can be read afterwards."""
        self._kept = None
        self._released = True
        if self._shards is not None:
            self._shards.release(self)

    def _of(self, part: LossFunction) -> _Derivatives:
        if self._released:
            raise RuntimeError("this point was released: its derivatives are gone")
        return self._kept or _derivatives(part, self.theta)

    def _each(
        self,
        method: str,
        of_part: Callable[[_Derivatives, LossFunction], Tensor],
        *vectors: Tensor,
    ) -> Tensor:
        """Return something of every sample: of one part of the loss after another, each in memory by
        itself. Other processes are asked for theirs by the `method`, with these vectors."""

        def own() -> Tensor:
            return torch.cat([of_part(self._of(part), part) for part in self._parts])

        return own() if self._shards is None else self._shards.join(method, self, vectors, own)

    def _sum(
        self,
        method: str,
        derivatives: Callable[[_Derivatives], tuple[Tensor, ...]],
        *vectors: Tensor,
    ) -> list[Tensor]:
        """Return the derivatives summed over the parts, of which one is in memory at a time, and over
        other processes, which are asked for theirs by the `method`, with these vectors."""
        if self._released:
            raise RuntimeError("this point was released: its derivatives are gone")

        def own() -> list[Tensor]:
            if self._kept is not None:
                self._kept.prepare()
                return list(derivatives(self._kept))
            return _accurate_sums(
                self._parts, lambda part: derivatives(_derivatives(part, self.theta))
            )

        return own() if self._shards is None else self._shards.sum(method, self, vectors, own)


class _Derivatives(Protocol):
    """One part of the loss at θ: its share of L and of all that is derived, where it has outputs of them
    too; else InputError is raised. `prepare` makes all that derivatives share."""

    def prepare(self) -> None: ...
    @property
    def loss(self) -> Tensor: ...
    @property
    def gradient(self) -> Tensor: ...
    @property
    def outputs(self) -> Tensor: ...
    def hessian_product(self, vector: Tensor) -> Tensor: ...
    def curvature_gradient(self, vector: Tensor) -> tuple[Tensor, Tensor]: ...
    def third_derivative(self, vector: Tensor) -> Tensor: ...
    def gauss_newton_product(self, vector: Tensor) -> Tensor: ...
    def output_product(self, vector: Tensor) -> Tensor: ...
    def pullback(self, cotangent: Tensor) -> Tensor: ...


class Pairs:
    """Unit vectors with their products: a direction of shape (P,) ↦ v along it and Hv, shape (2, P).

    Both directions and pairs are in float64, v and its product as those of the precision that products
    have. A pair is good until the next call.
    """

    def __init__(
        self, of: Callable[[Tensor], Tensor], place: Callable[[], Tensor | None] = lambda: None
    ) -> None:
        """Take the function, and where a direction lies best; None for anywhere."""
        self._of, self.place = of, place

    def __call__(self, direction: Tensor) -> Tensor:
        return self._of(direction)


def pairs_of(product: Callable[[Tensor], Tensor], dtype: torch.dtype) -> Pairs:
    """Return the shortest way to v and Hv, from v ↦ Hv on vectors of a precision."""
    owner = getattr(product, "__self__", None)
    if isinstance(owner, Point) and product == owner.hessian_product:
        pairs = owner.pairs()
        if pairs is not None:
            return pairs
    return Pairs(lambda direction: unit_pair(product, direction, dtype))


def unit_pair(product: Callable[[Tensor], Tensor], direction: Tensor, dtype: torch.dtype) -> Tensor:
    """Return v along a direction, of this precision, and its product, as `Pairs` does."""
    vector = (direction / vector_norm(direction)).to(dtype)
    return torch.stack([vector, product(vector)]).double()


class Points:
    """The points of one trajectory, one at a time: L, ∇L, Hv and ∇S there are programs."""

    def __init__(self, loss_function: LossFunction, programs: Programs) -> None:
        """Take the loss. One of several parts keeps nothing that a program could go on from, and one of
        several processes waits for the others."""
        self._loss_function = loss_function
        parts = parts_of(loss_function)
        self._static: _StaticDerivatives | None = None
        alone = len(parts) == 1 and not isinstance(loss_function, ShardedLoss)
        if programs.capturer is not None and alone:
            self._static = _StaticDerivatives(parts[0], programs)

    def at(self, theta: Tensor) -> Point:
        """Return the point θ; the one before it is released."""
        if self._static is None:
            return Point(self._loss_function, theta)
        theta = theta.detach().clone()  # the trajectory's own moves on
        return Point(self._loss_function, theta, self._static.at(theta))

    def leave(self) -> None:
        """End the point, and free what isn't kept for the next one."""
        if self._static is not None:
            self._static.leave()


class _StaticDerivatives:
    """Programs of L, ∇L, Hv and ∇S, which share what the first of them leaves in memory."""

    def __init__(self, part: LossFunction, programs: Programs) -> None:
        self.part = part
        self.number = 0  # of the point; to tell it from those before
        self._theta: Tensor | None = None
        self._here: _Derivatives | None = None
        self._begin = programs.of(self._differentiated, forget=self._forget)
        self.product = programs.of(
            lambda vector: (self._inner.hessian_product(vector),), after=self._begin
        )
        self.pair = programs.of(
            lambda direction: (unit_pair(self._inner.hessian_product, direction, self._dtype),),
            after=self._begin,
        )
        self.third = programs.of(
            lambda vector: (self._inner.third_derivative(vector),), after=self._begin
        )

    def at(self, theta: Tensor) -> _AtPoint:
        """Return the derivatives at θ; those of the call before are gone."""
        self.number += 1
        self._theta = theta
        loss, gradient, *accuracy = (result.clone() for result in self._begin(theta))
        return _AtPoint(self, theta, loss, gradient, accuracy[0] if accuracy else None)

    def leave(self) -> None:
        """End the point; where it is a graph's, its memory is the next one's."""
        self.number += 1
        if not self._begin.captured:
            self._forget()

    def _differentiated(self, theta: Tensor) -> tuple[Tensor, ...]:
        self._forget()
        # a copy of its own: autograd refuses to go on from what the next point's θ is written over
        self._here = _derivatives(self.part, theta.clone())
        self._here.prepare()
        accuracy = _accuracy_share(self.part, self._here)
        return self._here.loss.detach(), self._here.gradient.detach(), *accuracy

    @property
    def _dtype(self) -> torch.dtype:
        assert self._theta is not None
        return self._theta.dtype

    @property
    def _inner(self) -> _Derivatives:
        if self._here is None:  # the graphs were given up on the way
            assert self._theta is not None
            self._here = _derivatives(self.part, self._theta)
        return self._here

    def _forget(self) -> None:
        self._here = None


class _AtPoint:
    """The derivatives at one point, by programs; what none is made for is differentiated anew."""

    def __init__(
        self,
        static: _StaticDerivatives,
        theta: Tensor,
        loss: Tensor,
        gradient: Tensor,
        accuracy: Tensor | None,
    ) -> None:
        self._static, self._number, self._theta = static, static.number, theta
        self.loss, self.gradient, self.accuracy = loss, gradient, accuracy
        self._apart: _Derivatives | None = None

    def prepare(self) -> None:
        """It is."""

    def hessian_product(self, vector: Tensor) -> Tensor:
        return self._of(self._static.product, vector)

    def pairs(self) -> Pairs:
        program = self._static.pair
        return Pairs(lambda direction: self._lent(program, direction), lambda: program.place)

    def third_derivative(self, vector: Tensor) -> Tensor:
        return self._of(self._static.third, vector)

    def curvature_gradient(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        return self._anew.curvature_gradient(vector)

    def gauss_newton_product(self, vector: Tensor) -> Tensor:
        return self._anew.gauss_newton_product(vector)

    @property
    def outputs(self) -> Tensor:
        return self._anew.outputs

    def output_product(self, vector: Tensor) -> Tensor:
        return self._anew.output_product(vector)

    def pullback(self, cotangent: Tensor) -> Tensor:
        return self._anew.pullback(cotangent)

    def _of(self, program: Program, vector: Tensor) -> Tensor:
        return self._lent(program, vector).clone()

    def _lent(self, program: Program, vector: Tensor) -> Tensor:
        if self._number != self._static.number:
            raise RuntimeError("this point was left: its derivatives are gone")
        (result,) = program(vector)
        return result

    @property
    def _anew(self) -> _Derivatives:
        if self._apart is None:
            self._apart = _derivatives(self._static.part, self._theta)
        return self._apart


def is_plain(loss_function: LossFunction) -> bool:
    """Return whether a pass over the samples takes a plain chain of layers alone, in one part: no code of
    anybody's own, and nothing that is kept from one pass to another."""
    parts = [] if isinstance(loss_function, ShardedLoss) else parts_of(loss_function)
    if len(parts) != 1 or _chain(parts[0]) is None:
        return False
    assert isinstance(parts[0], Chunk)
    supervised = parts[0].supervised
    return supervised is not None and supervised.accuracy in (None, accuracy)


def _chain(part: LossFunction) -> Chain | None:
    supervised = part.supervised if isinstance(part, Chunk) else None
    return None if supervised is None else chain_of(supervised)


def _derivatives(part: LossFunction, theta: Tensor) -> _Derivatives:
    """Return the derivatives of one part of the loss at θ, by the shortest way to them."""
    chain = _chain(part)
    return GraphDerivatives(part, theta) if chain is None else ChainDerivatives(chain, theta)


def _accuracy_share(part: LossFunction, derivatives: _Derivatives) -> tuple[Tensor, ...]:
    """Return what one part adds to the accuracy, a scalar, or nothing where there is none."""
    supervised = part.supervised if isinstance(part, Chunk) else None
    if supervised is None or supervised.accuracy is None:
        return ()
    return (supervised.accuracy_share(derivatives.outputs),)


def plain_gradient(loss_function: LossFunction, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return L(θ) and ∇L(θ), as `training_pass` does."""
    loss, gradient, *_ = training_pass(loss_function, theta)
    return loss, gradient


def training_pass(loss_function: LossFunction, theta: Tensor) -> tuple[Tensor, ...]:
    """Return L(θ), ∇L(θ), and the accuracy where the loss has one, and keep nothing: an unmeasured step.

    All are detached, and the same to the bit as those of a Point, so that measuring doesn't change the
    training. The accuracy is that of the outputs that L is of.
    """
    if isinstance(loss_function, ShardedLoss):
        own = loss_function.own
        return tuple(
            loss_function.shards.sum(
                "training_pass", None, (theta,), lambda: training_pass(own, theta)
            )
        )
    leaf = theta.detach().requires_grad_()

    def share(part: LossFunction) -> tuple[Tensor, ...]:
        chain = _chain(part)
        if chain is not None:
            found = ChainDerivatives(chain, theta.detach())
            return found.loss, found.gradient, *_accuracy_share(part, found)
        supervised = part.supervised if isinstance(part, Chunk) else None
        if isinstance(part, Chunk) and supervised is not None and supervised.accuracy is not None:
            outputs = part.outputs(leaf)
            loss = part.output_loss(outputs)
            accuracy: tuple[Tensor, ...] = (supervised.accuracy_share(outputs),)
        else:
            loss, accuracy = part(leaf), ()
        (gradient,) = torch.autograd.grad(loss, leaf, materialize_grads=True)
        return loss.detach(), gradient, *accuracy

    parts = parts_of(loss_function)
    return share(parts[0]) if len(parts) == 1 else tuple(_accurate_sums(parts, share))


def _accurate_sums(
    parts: Sequence[LossFunction], shares: Callable[[LossFunction], tuple[Tensor, ...]]
) -> list[Tensor]:
    """Return the sums of `shares` over the parts, added up in float64 where the device has it.

    So the rounding of the result doesn't grow with the number of parts.
    """
    first, *others = parts
    found = shares(first)
    dtypes = [share.dtype for share in found]
    exact = found[0].dtype if found[0].device.type == "mps" else torch.float64
    totals = [share.to(exact, copy=True) for share in found]
    for part in others:
        del found  # one part's graph and results at a time
        found = shares(part)
        for total, share in zip(totals, found, strict=True):
            total.add_(share)
    return [total.to(dtype) for total, dtype in zip(totals, dtypes, strict=True)]
