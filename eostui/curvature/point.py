"""One point θ: the work that its training step and all measurements there share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from eostui.curvature.graph import GraphDerivatives
from eostui.curvature.taylor import Chain, ChainDerivatives, chain_of
from eostui.errors import InputError
from eostui.problems.batch import Chunk, LossFunction, parts_of

__all__ = ["LossFunction", "Point", "plain_gradient"]


class Point:
    """A parameter vector, its loss and gradient, and derivatives that share their work.

    The gradient is computed once and what it was made of is kept, so the training step, every Hessian
    product and ∇S of this step share one forward and one backward pass. A plain chain of layers is
    differentiated by its Taylor coefficients, anything else by automatic differentiation on a kept
    graph. Of a loss in several parts nothing is kept: each derivative goes through one part at a time,
    which bounds the memory.

    Attributes:
        theta: the parameters θ, shape (P,), detached.
        loss: L(θ), a detached scalar.
        gradient: ∇L(θ), shape (P,), detached.
    """

    def __init__(self, loss_function: LossFunction, theta: Tensor) -> None:
        self.theta = theta.detach()
        self._parts = parts_of(loss_function)
        self._kept: _Derivatives | None = None
        self._released = False
        if len(self._parts) == 1:
            self._kept = _derivatives(self._parts[0], self.theta)
            self.loss, self.gradient = self._kept.loss.detach(), self._kept.gradient.detach()
        else:
            self.loss, self.gradient = plain_gradient(loss_function, theta)

    def hessian_product(self, vector: Tensor) -> Tensor:
        """Return H v, shape (P,), for v of shape (P,), with H = ∇²L(θ)."""
        (product,) = self._sum(lambda graph: (graph.hessian_product(vector),))
        return product

    def curvature_gradient(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return H v and D³L[v, v, ·], each of shape (P,)."""
        product, third = self._sum(lambda graph: graph.curvature_gradient(vector))
        return product, third

    def third_derivative(self, vector: Tensor) -> Tensor:
        """Return D³L[v, v, ·], the gradient of vᵀH(θ)v with v held fixed, of shape (P,).

        For the unit eigenvector u of a simple eigenvalue S this is ∇S (SS, Lemma 2).
        """
        (third,) = self._sum(lambda graph: (graph.third_derivative(vector),))
        return third

    def gauss_newton_product(self, vector: Tensor) -> Tensor:
        """Return G v = Jᵀ H_out J v, shape (P,), for v of shape (P,).

        J is the Jacobian of the outputs in θ and H_out the Hessian of the loss in the outputs, so that
        H = G + R, where R carries the second derivatives of the outputs (MATH §5).

        Raises:
            InputError: if the problem is a loss of θ alone, without outputs.
        """
        (product,) = self._sum(lambda graph: (graph.gauss_newton_product(vector),))
        return product

    def outputs(self) -> Tensor:
        """Return the outputs f(θ) of all samples, shape (N, …). As `gauss_newton_product` raises."""
        return torch.cat(self._each(lambda derivatives, _: derivatives.outputs))

    def output_product(self, vector: Tensor) -> Tensor:
        """Return J v, how the outputs move along v: shape (N, …), for v of shape (P,).

        Raises:
            InputError: if the problem is a loss of θ alone, without outputs.
        """
        return torch.cat(self._each(lambda derivatives, _: derivatives.output_product(vector)))

    def output_pullback(self, cotangent: Tensor) -> Tensor:
        """Return Jᵀ w, shape (P,), for w shaped as the outputs. As `output_product` raises."""
        start = 0

        def share(part: LossFunction) -> tuple[Tensor, ...]:
            nonlocal start
            derivatives = self._of(part)
            rows = slice(start, start + len(derivatives.outputs))
            start = rows.stop
            return (derivatives.pullback(cotangent[rows]),)

        (product,) = _accurate_sums(self._parts, share)
        return product

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

        return torch.cat(self._each(losses))

    def release(self) -> None:
        """Free the kept graph; only `theta`, `loss` and `gradient` can be read afterwards."""
        self._kept = None
        self._released = True

    def _of(self, part: LossFunction) -> _Derivatives:
        if self._released:
            raise RuntimeError("this point was released: its derivatives are gone")
        return self._kept or _derivatives(part, self.theta)

    def _each(self, of_part: Callable[[_Derivatives, LossFunction], Tensor]) -> list[Tensor]:
        """Return something of every part of the loss, of which one is in memory at a time."""
        return [of_part(self._of(part), part) for part in self._parts]

    def _sum(self, derivatives: Callable[[_Derivatives], tuple[Tensor, ...]]) -> list[Tensor]:
        """Return the derivatives summed over the parts, of which one is in memory at a time."""
        if self._released:
            raise RuntimeError("this point was released: its derivatives are gone")
        if self._kept is not None:
            return list(derivatives(self._kept))
        return _accurate_sums(self._parts, lambda part: derivatives(_derivatives(part, self.theta)))


_Derivatives = GraphDerivatives | ChainDerivatives


def _chain(part: LossFunction) -> Chain | None:
    supervised = part.supervised if isinstance(part, Chunk) else None
    return None if supervised is None else chain_of(supervised)


def _derivatives(part: LossFunction, theta: Tensor) -> _Derivatives:
    """Return the derivatives of one part of the loss at θ, by the shortest way to them."""
    chain = _chain(part)
    return GraphDerivatives(part, theta) if chain is None else ChainDerivatives(chain, theta)


def plain_gradient(loss_function: LossFunction, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return L(θ) and ∇L(θ), detached, and keep nothing: an unmeasured step.

    The same to the bit as those of a Point, so that measuring doesn't change the training.
    """
    leaf = theta.detach().requires_grad_()

    def share(part: LossFunction) -> tuple[Tensor, Tensor]:
        chain = _chain(part)
        if chain is not None:
            found = ChainDerivatives(chain, theta.detach())
            return found.loss, found.gradient
        loss = part(leaf)
        (gradient,) = torch.autograd.grad(loss, leaf, materialize_grads=True)
        return loss.detach(), gradient

    parts = parts_of(loss_function)
    if len(parts) == 1:
        return share(parts[0])
    loss, gradient = _accurate_sums(parts, share)
    return loss, gradient


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
