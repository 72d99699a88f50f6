"""Derivatives by automatic differentiation on a kept graph: of any loss."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from eostui.errors import InputError
from eostui.problems.batch import Chunk, LossFunction


class GraphDerivatives:
    """The graph of one part of the loss at θ, built as far as it is asked for and kept with it."""

    def __init__(self, part: LossFunction, theta: Tensor) -> None:
        self._theta = theta = theta.detach().requires_grad_()
        self._chunk = part if isinstance(part, Chunk) else None
        if self._chunk is None:
            self.loss = part(theta)
        else:
            self._outputs = self._chunk.outputs(theta)
            self.loss = self._chunk.output_loss(self._outputs)

    @cached_property
    def gradient(self) -> Tensor:
        """The part's share of ∇L(θ), with its graph."""
        (gradient,) = torch.autograd.grad(
            self.loss, self._theta, create_graph=True, materialize_grads=True
        )
        return gradient

    def prepare(self) -> None:
        """Make all that Hv and D³L[v, v, ·] share."""
        _ = self.gradient

    def hessian_product(self, vector: Tensor, *, keep_graph: bool = False) -> Tensor:
        """Return the part's share of H v; with a graph of its own if `keep_graph`."""
        if not self.gradient.requires_grad:  # a linear loss has no Hessian
            return torch.zeros_like(vector)
        (product,) = torch.autograd.grad(
            self.gradient,
            self._theta,
            vector,
            retain_graph=True,
            create_graph=keep_graph,
            materialize_grads=True,
        )
        return product

    def curvature_gradient(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Return the part's shares of H v and D³L[v, v, ·]."""
        product = self.hessian_product(vector, keep_graph=True)
        curvature = product @ vector
        if not curvature.requires_grad:  # a quadratic loss: its Hessian doesn't move
            return product.detach(), torch.zeros_like(vector)
        (third,) = torch.autograd.grad(
            curvature, self._theta, retain_graph=True, materialize_grads=True
        )
        return product.detach(), third

    def third_derivative(self, vector: Tensor) -> Tensor:
        """Return the part's share of D³L[v, v, ·]."""
        return self.curvature_gradient(vector)[1]

    @cached_property
    def _pullback(self) -> tuple[Tensor, Tensor]:
        """A dummy w of the outputs' shape, and Jᵀw with its graph: linear in w, its derivative is J."""
        dummy = torch.zeros_like(self._outputs).requires_grad_()
        (pulled,) = torch.autograd.grad(
            self._outputs, self._theta, dummy, create_graph=True, materialize_grads=True
        )
        return dummy, pulled

    @property
    def outputs(self) -> Tensor:
        """f(θ) of these samples, shape (n, …). Raises InputError if the loss is one of θ alone."""
        self._refuse_without_outputs("outputs need")
        return self._outputs.detach()

    def output_product(self, vector: Tensor) -> Tensor:
        """Return J v, shape (n, …)."""
        self._refuse_without_outputs("Jacobian products need")
        # J v by a second backward pass: half the cost of forward mode, which has to repeat the outputs
        dummy, pulled = self._pullback
        (pushed,) = torch.autograd.grad(pulled, dummy, vector, retain_graph=True)
        return pushed

    def pullback(self, cotangent: Tensor) -> Tensor:
        """Return Jᵀ w, shape (P,)."""
        self._refuse_without_outputs("Jacobian products need")
        (product,) = torch.autograd.grad(
            self._outputs, self._theta, cotangent, retain_graph=True, materialize_grads=True
        )
        return product

    def _refuse_without_outputs(self, what: str) -> None:
        if self._chunk is None:
            raise InputError(
                f"{what} a problem that knows its outputs, and this one is a loss of "
                "θ alone: make it with Problem.from_module"
            )

    def gauss_newton_product(self, vector: Tensor) -> Tensor:
        """Return the part's share of Jᵀ H_out J v."""
        self._refuse_without_outputs("Gauss–Newton products need")
        assert self._chunk is not None
        pushed = self.output_product(vector)
        outputs = self._outputs.detach().requires_grad_()
        (slope,) = torch.autograd.grad(
            self._chunk.output_loss(outputs), outputs, create_graph=True, materialize_grads=True
        )
        if not slope.requires_grad:  # a loss linear in the outputs
            return torch.zeros_like(vector)
        (curved,) = torch.autograd.grad(slope, outputs, pushed)
        (product,) = torch.autograd.grad(
            self._outputs, self._theta, curved, retain_graph=True, materialize_grads=True
        )
        return product
