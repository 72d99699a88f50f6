"""The neural tangent kernel on some samples: its three forms, and how it is aligned with the target.

With J = ∂f/∂θ of n samples with C outputs each (MATH §5):

    full    K = J Jᵀ/n, a row for every output of every sample, nC × nC;
    summed  ⟨∇Σ_c f_c(x), ∇Σ_c f_c(x′)⟩/n, n × n: the kernel of the sum of the outputs;
    traced  Σ_c ⟨∇f_c(x), ∇f_c(x′)⟩/n, n × n: what the blocks of the full one have on their diagonals.

They are different kernels with different eigenvalues. For half squared error the eigenvalues of the full
one, on the samples that the loss is a mean over, are those of the Gauss–Newton matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from eostui.curvature.layers import Affine, AffineNode, Dense
from eostui.curvature.taylor import Chain, ChainDerivatives, chain_of
from eostui.errors import InputError
from eostui.problems.batch import Supervised

Form = Literal["full", "summed", "traced"]
FORMS: tuple[Form, ...] = ("full", "summed", "traced")

#: Rows of the full form, nC, that are computed at most: an eigendecomposition of more takes minutes.
MOST_ROWS = 6000
#: Eigenvectors whose alignment with the target is told.
LEADING = 20
#: A matrix of more rows than this has its first eigenvectors found in blocks of so many vectors, to
#: residuals of this share of the first eigenvalue, which are looked at after every so many blocks.
_DENSE, _BLOCK, _FOUND, _LOOK = 400, 32, 1e-7, 3
#: Bytes of a Jacobian that is held as a whole; of a larger one two blocks of rows at a time are.
_HELD = 2**29


@dataclass(frozen=True)
class KernelReading:
    """What is told of a kernel.

    Attributes:
        eigenvalues: the first `LEADING` in falling order, fewer where there are fewer; shape (k,).
        norm: ‖K‖_F.
        alignment: ⟨K, YYᵀ⟩_F/(‖K‖_F ‖YYᵀ‖_F); NaN where K or Y is zero, or Y isn't known.
        centred_alignment: the same of K and Y without their means over the samples.
        shares: of the target in each of these eigenvectors, ‖uᵀY‖²/‖Y‖²: over all of them they sum to 1;
            shape (k,), NaN as `alignment`.
        centred_shares: the same of the centred kernel's eigenvectors and the centred target.
    """

    eigenvalues: Tensor
    norm: float
    alignment: float
    centred_alignment: float
    shares: Tensor
    centred_shares: Tensor


def kernels(made_of: Supervised, theta: Tensor) -> dict[Form, Tensor]:
    """Return the kernels of some samples in all forms, in θ's precision.

    A plain chain of dense layers is done layer by layer: what its gradient has of a layer is the outer
    product of an error and an input, so that inner products of gradients are products of inner products.
    Anything else by the rows of J.

    Args:
        made_of: the network on these samples.
        theta: shape (P,).

    Raises:
        InputError: if nC is more than `MOST_ROWS`, or the outputs aren't a row for each sample.
    """
    samples, each = len(made_of.inputs), outputs_each(made_of, theta)
    chain = chain_of(made_of)
    if chain is not None and _is_dense(chain):
        gram = _gram_of_layers(chain, theta, each)
    else:
        gram = _gram_of_rows(made_of, theta, each)
    gram /= samples
    blocks = gram.view(samples, each, samples, each)
    return {
        "full": gram,
        "summed": blocks.sum((1, 3)),
        "traced": blocks.diagonal(dim1=1, dim2=3).sum(-1),
    }


def outputs_each(made_of: Supervised, theta: Tensor) -> int:
    """Return how many outputs a sample has: C. Raises InputError as `kernels` does."""
    with torch.no_grad():
        outputs = made_of.outputs(theta, made_of.inputs[:1])
    if not isinstance(outputs, Tensor) or len(outputs) != 1:
        raise InputError("the network's outputs must be a tensor with a row for each sample")
    samples, each = len(made_of.inputs), outputs.numel()
    if each > MOST_ROWS:
        raise InputError(f"a sample has {each} outputs, more than the {MOST_ROWS} rows K may have")
    if samples * each > MOST_ROWS:
        raise InputError(
            f"K of {samples} samples with {each} outputs each has {samples * each} rows, more than "
            f"{MOST_ROWS}: {MOST_ROWS // each} samples are as many as it can be had of"
        )
    return each


def target_rows(made_of: Supervised, theta: Tensor, form: Form) -> Tensor | None:
    """Return the target as a kernel's rows have it: (nC, 1) for the full form, (n, C) for the others.

    Class labels become one-hot. None where targets have another form than outputs.
    """
    with torch.no_grad():
        shape = made_of.outputs(theta, made_of.inputs[:1]).shape[1:]
    targets, samples = made_of.targets, len(made_of.inputs)
    if not targets.is_floating_point():
        if targets.shape != (samples,) or len(shape) != 1 or int(targets.max()) >= shape[0]:
            return None
        targets = torch.nn.functional.one_hot(targets.long(), shape[0])
    if targets.numel() != samples * math.prod(shape):
        return None
    rows = targets.reshape(samples, -1).to(theta)
    return rows.reshape(-1, 1) if form == "full" else rows


def read_kernel(kernel: Tensor, targets: Tensor | None, samples: int) -> KernelReading:
    """Return a kernel's leading eigenvalues, and its alignment with a target.

    Args:
        kernel: symmetric, shape (m, m), m a multiple of the samples: a sample's rows lie together.
        targets: Y, shape (m, r), or None.
        samples: n, over which the mean is taken where something is centred.

    Raises:
        InputError: if the kernel isn't finite.
    """
    kernel, wanted = _exact(kernel), None if targets is None else _exact(targets)
    if not torch.isfinite(kernel).all():
        raise InputError("the kernel isn't finite")
    values, shares = _leading(kernel, wanted)
    reading = KernelReading(
        values, float(kernel.norm()), math.nan, math.nan, shares, torch.full_like(values, math.nan)
    )
    if wanted is None:
        return reading
    centred_kernel, centred_target = centred(kernel, samples), _without_mean(wanted, samples)
    return replace(
        reading,
        alignment=alignment(kernel, wanted),
        centred_alignment=alignment(centred_kernel, centred_target),
        centred_shares=_leading(centred_kernel, centred_target)[1],
    )


def alignment(kernel: Tensor, targets: Tensor) -> float:
    """Return ⟨K, YYᵀ⟩_F/(‖K‖_F ‖YYᵀ‖_F), NaN where one of them is zero; Y of shape (m, r)."""
    norms = float(kernel.norm() * (targets.T @ targets).norm())
    return float((targets * (kernel @ targets)).sum()) / norms if norms > 0 else math.nan


def centred(kernel: Tensor, samples: int) -> Tensor:
    """Return H K H, with H = 1 − 11ᵀ/n over the samples: features without their mean, for each output."""
    return _without_mean(_without_mean(kernel, samples).T, samples).T


def _without_mean(rows: Tensor, samples: int) -> Tensor:
    """Return rows, those of a sample together, without their means over the samples."""
    each = rows.view(samples, -1, rows.shape[1])
    found = (each - each.mean(0)).view_as(rows)
    # what rounding leaves of equal rows is no target
    return found if found.norm() > 1e-12 * rows.norm() else torch.zeros_like(rows)


def _leading(kernel: Tensor, targets: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the first eigenvalues, and the shares of the target in their eigenvectors."""
    values, vectors = leading_of_matrix(kernel)
    if targets is None or not kernel.any() or not targets.any():
        return values, torch.full_like(values, math.nan)
    return values, (vectors.T @ targets).square().sum(1) / targets.square().sum()


def leading_of_matrix(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first `LEADING` eigenvalues of a symmetric matrix in falling order, and their vectors.

    A large one by block Krylov spaces, which find as many as a block has at once, multiple ones too: the
    full decomposition takes ten times as long from a thousand rows on.

    Args:
        matrix: shape (m, m), in float64.

    Returns:
        Shapes (k,) and (m, k).
    """
    size = len(matrix)
    if size > _DENSE:
        generator = torch.Generator().manual_seed(0)
        block = torch.randn(size, _BLOCK, generator=generator, dtype=torch.float64).to(matrix)
        basis = matrix.new_empty((size, 0))
        products = basis
        while basis.shape[1] + _BLOCK <= size // 2:
            for _ in range(2):  # twice is enough
                block = torch.linalg.qr(block - basis @ (basis.T @ block)).Q
            basis, block = torch.cat([basis, block], 1), matrix @ block
            products = torch.cat([products, block], 1)
            if basis.shape[1] % (_LOOK * _BLOCK):
                continue
            values, mix = torch.linalg.eigh(basis.T @ products)
            values, mix = values.flip(0)[:LEADING], mix.flip(1)[:, :LEADING]
            vectors = basis @ mix
            if (products @ mix - vectors * values).norm() <= _FOUND * values[0].abs():
                return values, vectors
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0)[:LEADING], vectors.flip(1)[:, :LEADING]


def _exact(tensor: Tensor) -> Tensor:
    """Return a tensor in float64, on the host where its device hasn't that."""
    return tensor.detach().to("cpu" if tensor.device.type == "mps" else tensor.device).double()


def _is_dense(chain: Chain) -> bool:
    return all(
        isinstance(layer.further, Dense) for layer in chain.layers if isinstance(layer, Affine)
    )


def _gram_of_layers(chain: Chain, theta: Tensor, each: int) -> Tensor:
    """Return J Jᵀ of a chain of dense layers, shape (nC, nC).

    A sample's error in one output is that of no other sample, so one pass back for each output has the
    errors of all samples.
    """
    derivatives = ChainDerivatives(chain, theta)
    outputs = derivatives.outputs
    errors: dict[AffineNode, list[Tensor]] = {}
    for output in range(each):
        cotangent = torch.zeros_like(outputs)
        cotangent[:, output] = 1.0
        for node, error in derivatives.layer_errors(cotangent):
            errors.setdefault(node, []).append(error)
    samples = len(outputs)
    gram = theta.new_zeros((samples, each, samples, each))
    for node, of_outputs in errors.items():
        stacked = torch.stack(of_outputs, 1).view(samples * each, -1)
        of_inputs = node.x @ node.x.T + float(node.layer.bias > 0)
        of_errors = (stacked @ stacked.T).view_as(gram)
        gram.addcmul_(of_errors, of_inputs[:, None, :, None])
    return gram.view(samples * each, samples * each)


def _gram_of_rows(made_of: Supervised, theta: Tensor, each: int) -> Tensor:
    """Return J Jᵀ of any network, shape (nC, nC), from blocks of the rows of J."""
    samples, size = len(made_of.inputs), len(theta)
    held = max(_HELD // (theta.element_size() * size * each), 1)
    if held < samples:
        held = max(held // 2, 1)
    starts = range(0, samples, held)
    gram = theta.new_empty((samples * each, samples * each))
    for start in starts:
        rows = _jacobian(made_of, theta, start, start + held)
        here = slice(start * each, start * each + len(rows))
        for other in starts[starts.index(start) :]:
            columns = rows if other == start else _jacobian(made_of, theta, other, other + held)
            there = slice(other * each, other * each + len(columns))
            products = rows @ columns.T
            gram[here, there], gram[there, here] = products, products.T
    return gram


def _jacobian(made_of: Supervised, theta: Tensor, start: int, end: int) -> Tensor:
    """Return the rows of J of some samples, shape (mC, P)."""
    leaf, rows = theta.detach().requires_grad_(), []
    for sample in range(start, min(end, len(made_of.inputs))):
        with torch.enable_grad():
            outputs = made_of.outputs(leaf, made_of.inputs[sample : sample + 1]).flatten()
        for output in outputs:
            if not output.requires_grad:  # one that no parameter moves
                rows.append(torch.zeros_like(theta))
                continue
            (row,) = torch.autograd.grad(output, leaf, retain_graph=True, materialize_grads=True)
            rows.append(row)
    return torch.stack(rows)
