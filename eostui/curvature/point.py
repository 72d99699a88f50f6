"""One point θ with its gradient graph kept: the work that all measurements at θ share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

LossFunction = Callable[[Tensor], Tensor]


class Point:
    """A parameter vector, its loss and gradient, and the derivatives of the kept graph.

    The gradient is computed once with its graph kept, so the training step, every Hessian product and
    ∇S of this step share one forward and one backward pass.

    Attributes:
        theta: the parameters θ, shape (P,), a leaf that requires grad.
        loss: L(θ), a detached scalar.
        gradient: ∇L(θ), shape (P,), detached.
    """

    def __init__(self, loss_function: LossFunction, theta: Tensor) -> None:
        self.theta = theta.detach().requires_grad_()
        loss = loss_function(self.theta)
        (graph,) = torch.autograd.grad(loss, self.theta, create_graph=True, materialize_grads=True)
        self._graph: Tensor | None = graph
        self.loss = loss.detach()
        self.gradient = graph.detach()

    def hessian_product(self, vector: Tensor) -> Tensor:
        """Return H v, shape (P,), for v of shape (P,), with H = ∇²L(θ)."""
        return self._derivative(vector, keep_graph=False)

    def curvature_gradient(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return H v and D³L[v, v, ·], the gradient of vᵀH(θ)v with v held fixed, each of shape (P,).

        For the unit eigenvector u of a simple eigenvalue S this is ∇S (SS, Lemma 2).
        """
        product = self._derivative(vector, keep_graph=True)
        curvature = product @ vector
        if not curvature.requires_grad:  # a quadratic loss: its Hessian doesn't move
            return product.detach(), torch.zeros_like(vector)
        (third,) = torch.autograd.grad(
            curvature, self.theta, retain_graph=True, materialize_grads=True
        )
        return product.detach(), third

    def release(self) -> None:
        """Free the kept graph; only `theta`, `loss` and `gradient` can be read afterwards."""
        self._graph = None

    def _derivative(self, vector: Tensor, *, keep_graph: bool) -> Tensor:
        if self._graph is None:
            raise RuntimeError("this point was released: its derivatives are gone")
        if not self._graph.requires_grad:  # a linear loss has no Hessian
            return torch.zeros_like(vector)
        (product,) = torch.autograd.grad(
            self._graph,
            self.theta,
            vector,
            retain_graph=True,
            create_graph=keep_graph,
            materialize_grads=True,
        )
        return product


def plain_gradient(loss_function: LossFunction, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return L(θ) and ∇L(θ), detached, without keeping a graph: an unmeasured step."""
    leaf = theta.detach().requires_grad_()
    loss = loss_function(leaf)
    (gradient,) = torch.autograd.grad(loss, leaf, materialize_grads=True)
    return loss.detach(), gradient
