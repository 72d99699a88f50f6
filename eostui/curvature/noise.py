"""The noise of gradients: how those of single samples vary about ∇L (MATH §7).

With g_i = ∇ℓ_i(θ) of N samples, whose mean is ∇L, their covariance is

    Σ = (1/N) Σ_i (g_i − ∇L)(g_i − ∇L)ᵀ,    tr Σ = (1/N) Σ_i ‖g_i‖² − ‖∇L‖² = E‖g_i − ∇L‖²,

that of a step's gradient where batches are single samples. One of n samples has Σ/n where they are drawn
with replacement and Σ/n · (N − n)/(N − 1) without. Where a layer normalises samples together, ℓ_i is the
loss of sample i as its group normalises it, and the group moves with θ: the mean of such g_i is ∇L too.
But a batch drawn anew would be normalised by itself, and the covariance of its gradient isn't told by Σ.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from eostui.curvature.layers import Affine, Dense
from eostui.curvature.point import Point
from eostui.curvature.taylor import Chain, ChainDerivatives, chain_of
from eostui.problems.batch import Chunk, LossFunction, parts_of, supervised_parts


def covariance_product(point: Point) -> Callable[[Tensor], Tensor]:
    """Return v ↦ Σ v, shape (P,): a product with J and one with Jᵀ, and no gradient of a sample alone.

    With δ_i = ∂ℓ_i/∂f(x_i), g_i·v is δ_i·(J v)_i, and Σ_i w_i g_i is Jᵀ of the w_i δ_i, for any w.

    Raises:
        InputError: if the problem is a loss of θ alone, without outputs.
    """
    slopes = point.output_slopes()
    slopes = slopes * len(slopes)  # of each sample's own loss

    def product(vector: Tensor) -> Tensor:
        along = (slopes * point.output_product(vector)).flatten(1).sum(1)
        weights = (along - along.mean()) / len(along)
        return point.output_pullback(slopes * weights.view(-1, *[1] * (slopes.ndim - 1)))

    return product


def squared_gradients(loss: LossFunction, theta: Tensor) -> float | None:
    """Return (1/N) Σ‖g_i‖², exactly, from one pass; None unless the network is a chain of dense layers.

    What g_i has of such a layer is the outer product of an error and an input (Goodfellow, arXiv
    1510.01799), so that its square is the product of theirs.
    """
    known = supervised_parts(loss)
    chains = [chain_of(each) for each in known]
    if not known or not all(chain is not None and _is_dense(chain) for chain in chains):
        return None
    count = sum(len(each.inputs) for each in known)
    exact = torch.float32 if theta.device.type == "mps" else torch.float64
    total = torch.zeros((), dtype=exact, device=theta.device)
    for part, chain in zip(parts_of(loss), chains, strict=True):
        assert isinstance(part, Chunk)
        assert chain is not None
        derivatives = ChainDerivatives(chain, theta)
        slopes = part.output_slopes(derivatives.outputs) * count
        for node, errors in derivatives.layer_errors(slopes):
            inputs = node.x.to(exact).square().sum(1) + float(node.layer.bias > 0)
            total += errors.to(exact).square().sum(1) @ inputs
    return float(total) / count


def _is_dense(chain: Chain) -> bool:
    return all(
        isinstance(layer.further, Dense) for layer in chain.layers if isinstance(layer, Affine)
    )
