"""Orientation of u in diagonal nets: closed forms against dense eigenvectors, γ_β against steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import dense_hessian
from toy_runs import build, toy_config, train

from eostui.diagonal_net import growth, imbalance, orientation
from eostui.errors import InputError
from eostui.probes import probes_of
from eostui.probes.own import try_probes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("start", "degree"),
    [([-0.1, 10.0], 2), ([0.3, -0.8], 4), ([0.5, 1.5, -2.0], 2), ([0.4, 3.0, 1.2, -0.9], 6)],
)
def test_closed_forms_are_those_of_the_dense_hessians_eigenvector(start, degree):
    """INST's eq. 8 for any number of parameters, eq. 1 for two."""
    problem = build(toy_config("diagonal-net", {"start": start, "degree": degree}))
    values, vectors = torch.linalg.eigh(dense_hessian(problem.loss, problem.initial))
    u = vectors[:, -1].abs().numpy()
    sizes = np.abs(start)
    wanted = u[sizes.argmin()] / u[sizes.argmax()]
    product = float(np.prod(start))
    slope = degree * product ** (degree - 1)
    assert orientation(start, slope, float(values[-1])) == pytest.approx(wanted, rel=1e-9)
    if len(start) == 2:
        b = imbalance(start, slope, degree * (degree - 1) * product ** (degree - 2))
        assert b + np.hypot(b, 1) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_growth_is_that_of_a_step_for_any_power(decay):
    """γ_β of z = Θ^q, with decay too: z′/z″ is Θ/(q − 1), so that b is (θ₂² − θ₁²)/Θ times a constant."""
    first, second, eta = -0.1, 10.0, 0.013
    for degree in (2, 4, 6):
        slope = degree * (first * second) ** (degree - 1)
        shrink = 1 - eta * decay
        after = [shrink * first - eta * slope * second, shrink * second - eta * slope * first]

        def b(theta, q=degree):
            product = theta[0] * theta[1]
            return imbalance(theta, q * product ** (q - 1), q * (q - 1) * product ** (q - 2))

        told = growth([first, second], slope, eta, decay)
        measured = b(after) / b([first, second])
        assert told == pytest.approx(measured, rel=1e-10)


def test_orientation_of_runs(tmp_path):
    """INST Fig. 1: R rises at every step below the edge, and falls at first beyond it."""
    rises = {}
    for eta in (0.001, 0.0095, 0.011, 0.013):
        (folder := tmp_path / str(eta)).mkdir()
        config = toy_config("diagonal-net", eta=eta, steps=8, cadence=1, probes=("diagonal_net",))
        run, _ = train(folder, config)
        found = run.measured["orientation"]
        # where θ₁ is all but 0, R is the quotient of u's large component by one near rounding
        np.testing.assert_allclose(found, run.measured["orientation_closed"], rtol=1e-6)
        told = run.measured["imbalance_growth_closed"][:-1]
        np.testing.assert_allclose(run.measured["imbalance_growth"][:-1], told, rtol=1e-8)
        rises[eta] = np.diff(found)[:3] > 0
    for eta, rising in rises.items():
        assert rising.all() if eta < 0.01 else not rising.any()


def test_a_sum_of_terms_has_no_closed_form_and_other_problems_are_refused(tmp_path):
    arguments = {"start": [0.3, 1.0, 0.5, 2.0], "terms": [2, 2]}
    config = toy_config("diagonal-net", arguments, eta=1e-3, steps=4, probes=("diagonal_net",))
    run, status = train(tmp_path, config)
    assert status == "finished"
    assert np.isfinite(run.measured["orientation"]).all()
    assert np.isnan(run.measured["orientation_closed"]).all()
    other = toy_config("two-layer-scalar", probes=("diagonal_net",))
    kinds, problem = probes_of(other), build(other)
    with pytest.raises(InputError, match='of the problem "diagonal-net" alone'):
        try_probes(kinds, other, problem)
