"""λ₁ of the NTK on more and more samples: corners of one kernel, products where it is too large."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import mlp

from eostui.curvature import ntk
from eostui.curvature.kernel_convergence import kernel_products, on_more_and_more, settled_at
from eostui.curvature.ntk import FORMS, kernels, read_kernel, target_rows
from eostui.curvature.point import Point
from eostui.problems.batch import batch_loss
from eostui.problems.subset import how_many, subset


@pytest.fixture
def case(small_case):
    return small_case("mlp", activation="tanh")


def test_each_number_of_samples_has_the_kernel_of_these_alone(case):
    made_of = subset(case.problem, "train", 7)
    found = list(on_more_and_more(made_of, case.theta, [7, 2, 5]))
    assert [each.samples for each in found] == [2, 5, 7]
    for each in found:
        alone = subset(case.problem, "train", each.samples)
        for form, kernel in kernels(alone, case.theta).items():
            wanted = read_kernel(kernel, target_rows(alone, case.theta, form), each.samples)
            assert each.largest[form] == pytest.approx(float(wanted.eigenvalues[0]), rel=1e-12)
            reading = each.readings[form]
            assert reading.alignment == pytest.approx(wanted.alignment, rel=1e-12)
            assert reading.centred_alignment == pytest.approx(wanted.centred_alignment, rel=1e-12)


@pytest.mark.parametrize("chunk_size", [0, 3])
@pytest.mark.parametrize("form", FORMS)
def test_products_are_those_with_the_kernel(case, form, chunk_size):
    """Column by column, against the Jacobian of a network written by hand."""
    widths = [case.config.width] * case.config.depth
    rows = torch.func.jacrev(lambda at: mlp(at, case.inputs, widths, 3, "tanh")[0])(case.theta)
    n, outputs, _ = rows.shape
    if form == "full":
        flat = rows.reshape(n * outputs, -1)
        wanted = flat @ flat.T / n
    elif form == "summed":
        wanted = rows.sum(1) @ rows.sum(1).T / n
    else:
        wanted = torch.einsum("icp,jcp->ij", rows, rows) / n
    module = subset(case.problem, "train")
    loss = batch_loss(
        module.outputs, module.loss, module.inputs, module.targets, chunk_size, module.module
    )
    product, size = kernel_products(Point(loss, case.theta), form)
    found = torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)])
    assert size == len(wanted)
    assert torch.allclose(found, wanted, rtol=1e-11, atol=1e-13)


def test_beyond_the_rows_of_a_kernel_its_products_give_the_same_largest_eigenvalues(
    case, monkeypatch
):
    made_of = subset(case.problem, "train", 7)
    (exact,) = on_more_and_more(made_of, case.theta, [7])
    monkeypatch.setattr(ntk, "MOST_ROWS", 12)
    few, many = on_more_and_more(made_of, case.theta, [4, 7])
    assert few.readings
    assert not many.readings
    for form in FORMS:
        assert many.largest[form] == pytest.approx(exact.largest[form], rel=1e-5)


def test_when_it_has_settled():
    assert settled_at([10, 20, 40, 80], [3.0, 2.0, 2.04, 2.0]) == 20
    assert settled_at([10, 20, 40, 80], [2.0, 3.0, 2.04, 2.0]) == 40
    assert settled_at([10, 20], [3.0, 2.0]) is None
    assert settled_at([10, 20], [0.0, 0.0]) == 10


def test_how_many_samples_there_are(case, small_case):
    assert how_many(case.problem, "train") == 7
    assert how_many(small_case("mlp", chunk_size=3).problem, "train") == 7
    assert np.isclose(
        float(subset(case.problem, "train", 7).inputs.sum()), float(case.inputs.sum())
    )
