"""How the NTK's largest eigenvalues settle as it is taken on more samples (WD A.6), in all three forms.

Few samples have their kernel computed, and what else is told of it; of more than that only its products
are needed: K w = J(Jᵀw)/n, by one pass back and one product with the Jacobian.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eostui.curvature import ntk
from eostui.curvature.directions import random_direction
from eostui.curvature.eigenpairs import Target, leading_eigenpairs
from eostui.curvature.ntk import FORMS, Form, KernelReading, kernels, read_kernel, target_rows
from eostui.curvature.point import Point
from eostui.problems.batch import Supervised, batch_loss

#: λ₁ has settled from the n on at which it stays this near to that of the largest n, as a share of it.
SETTLED = 0.05
#: Error of an eigenvalue that is found from products, as a share of it.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class OnSamples:
    """The kernels of n samples.

    Attributes:
        samples: n.
        largest: λ₁ of each form.
        readings: what else is told of each; {} where only products were taken.
    """

    samples: int
    largest: dict[Form, float]
    readings: dict[Form, KernelReading]


def on_more_and_more(
    made_of: Supervised, theta: Tensor, counts: Sequence[int]
) -> Iterator[OnSamples]:
    """Yield the kernels of the first n samples, for each n in rising order.

    Args:
        made_of: the network on at least so many samples.
        theta: shape (P,).
        counts: each n.
    """
    with torch.no_grad():
        each = made_of.outputs(theta, made_of.inputs[:1]).numel()
    exact = [count for count in sorted(set(counts)) if count * each <= ntk.MOST_ROWS]
    if exact:
        most = _first(made_of, exact[-1])
        found = kernels(most, theta)
        targets = {form: target_rows(most, theta, form) for form in FORMS}
    for count in sorted(set(counts)):
        if count not in exact:
            yield OnSamples(count, _by_products(_first(made_of, count), theta), {})
            continue
        readings = {}
        for form, kernel in found.items():
            rows = count * (each if form == "full" else 1)
            # K of n samples is a corner of that of more, which was divided by more
            corner = kernel[:rows, :rows] * (exact[-1] / count)
            wanted = targets[form]
            readings[form] = read_kernel(corner, None if wanted is None else wanted[:rows], count)
        largest = {form: float(reading.eigenvalues[0]) for form, reading in readings.items()}
        yield OnSamples(count, largest, readings)


def settled_at(counts: Sequence[int], values: Sequence[float]) -> int | None:
    """Return the least n from which on values stay within `SETTLED` of the last; None if only that does.

    Args:
        counts: each n, rising.
        values: λ₁ at each.
    """
    settled = None
    for count, value in zip(reversed(counts), reversed(values), strict=True):
        if not abs(value - values[-1]) <= SETTLED * abs(values[-1]):
            break
        settled = count
    return None if settled == counts[-1] else settled


def kernel_products(point: Point, form: Form) -> tuple[Callable[[Tensor], Tensor], int]:
    """Return w ↦ K w of a point's samples, and the length of w: nC for the full form, else n."""
    outputs = point.outputs()
    samples, each = len(outputs), outputs[0].numel()

    def back_and_forth(cotangent: Tensor) -> Tensor:
        pulled = point.output_pullback(cotangent.reshape(outputs.shape))
        return point.output_product(pulled).reshape(samples, each) / samples

    def full(vector: Tensor) -> Tensor:
        return back_and_forth(vector).reshape(-1)

    def summed(vector: Tensor) -> Tensor:
        return back_and_forth(vector[:, None].expand(samples, each).contiguous()).sum(1)

    def traced(vector: Tensor) -> Tensor:
        total = torch.zeros_like(vector)
        for output in range(each):
            cotangent = vector.new_zeros((samples, each))
            cotangent[:, output] = vector
            total += back_and_forth(cotangent)[:, output]
        return total

    product = {"full": full, "summed": summed, "traced": traced}[form]
    return product, samples * each if form == "full" else samples


def _by_products(made_of: Supervised, theta: Tensor) -> dict[Form, float]:
    loss = batch_loss(
        made_of.outputs, made_of.loss, made_of.inputs, made_of.targets, 0, made_of.module,
        made_of.convolutions,
    )  # fmt: skip
    point = Point(loss, theta)
    largest: dict[Form, float] = {}
    for form in FORMS:
        product, size = kernel_products(point, form)
        start = random_direction(theta.new_empty(size), 0, 0)[None]
        target = Target(wanted=1, value_tolerance=_TOLERANCE, vector_tolerance=None)
        largest[form] = leading_eigenpairs(product, start, target).values[0]
    return largest


def _first(made_of: Supervised, count: int) -> Supervised:
    if count == len(made_of.inputs):
        return made_of
    return replace(made_of, inputs=made_of.inputs[:count], targets=made_of.targets[:count])
