"""Centre and bounce against exact 2-cycles, mirrored descents and the bounce itself (MATH §3.5)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eostui.config import RunConfig
from eostui.curvature.centre import Bounce
from eostui.curvature.point import Point, plain_gradient
from eostui.oscillator import Parameters
from eostui.oscillator.theory import two_cycles
from eostui.problems import build_problem

pytestmark = pytest.mark.usefixtures("one_thread")

#: The cubic normal form: every number of its map is known.
A, B, ETA, S_STAR, DECAY = 0.04, 1.0, 0.5, 0.5, 0.05


def normal_form(x_star: float):
    arguments = {"a": A, "b": B, "eta_star": ETA, "x_star": x_star, "s_star": S_STAR}
    config = RunConfig.build(
        {
            "preset": "toy", "problem": "cubic-normal-form", "steps": 10, "dtype": "float64",
            "problem_arguments": arguments,
        },
        "test",
    )  # fmt: skip
    return build_problem(config, torch.device("cpu"), Path(), lambda _: None)


class Moves:
    """Gradient descent with decay on a loss, and centre and bounce beside it."""

    def __init__(self, loss, eta, decay):
        self.loss, self.eta, self.decay, self.gradients = loss, eta, decay, 0

    def gradient(self, theta):
        self.gradients += 1
        return plain_gradient(self.loss, theta)[1]

    def point_at(self, theta):
        return Point(self.loss, theta)

    def descend(self, theta):
        return (1 - self.eta * self.decay) * theta - self.eta * self.gradient(theta)

    def move(self, bounce):
        return bounce.moved(self.eta, self.decay, self.gradient, self.point_at)


@pytest.mark.parametrize("x_star", [0.0, 0.05])
def test_an_exact_2_cycle_is_a_fixed_point(x_star):
    """With a push along x too, where the two points differ in both coordinates."""
    parameters = Parameters(
        ETA, DECAY, A / B, B**2, g=B * S_STAR, g_x=x_star, sharpness=2 / ETA
    )  # fmt: skip
    cycle = two_cycles(parameters)
    place = int(torch.isfinite(torch.as_tensor(cycle.x)).nonzero()[0])
    x = torch.tensor([cycle.x[place], cycle.next_x[place]], dtype=torch.float64)
    y = torch.tensor([cycle.q[place], cycle.next_q[place]], dtype=torch.float64)
    moves = Moves(normal_form(x_star).loss, ETA, DECAY)
    one, other = (torch.stack([x[i] + x_star, y[i] / B + S_STAR]) for i in (0, 1))
    torch.testing.assert_close(moves.descend(one), other, rtol=1e-12, atol=1e-12)
    first = bounce = Bounce.about(other, one, other)
    for _ in range(200):
        bounce = moves.move(bounce)
    torch.testing.assert_close(bounce.centre, first.centre, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(bounce.radius, first.radius, rtol=1e-10, atol=1e-10)
    assert float(bounce.secant) == pytest.approx(2 / ETA - DECAY, rel=1e-12)


def test_it_is_the_mean_of_two_mirrored_descents():
    """They stay mirrored where the loss is symmetric about x = 0, and η and λ may change."""
    moves = Moves(normal_form(0.0).loss, ETA, DECAY)
    one = torch.tensor([0.05, S_STAR], dtype=torch.float64)
    other = torch.tensor([-0.05, S_STAR], dtype=torch.float64)
    bounce = Bounce.about(other, one, other)
    sizes = []
    for step in range(600):
        moves.eta, moves.decay = (0.5, 0.05) if step < 250 else (0.47, 0.02)
        one, other, bounce = moves.descend(one), moves.descend(other), moves.move(bounce)
        torch.testing.assert_close(bounce.centre, (one + other) / 2, rtol=0, atol=1e-10)
        distance = torch.linalg.vector_norm(one - other) / 2
        torch.testing.assert_close(bounce.radius, distance, rtol=1e-8, atol=1e-14)
        sizes.append(float(distance))
    assert max(sizes) > 0.2
    assert min(sizes) < 0.03  # it swung
    assert moves.gradients == 600 * (2 + 2)  # two of each step of the three


def test_the_direction_becomes_the_leading_one_and_the_radius_grows_as_it_must():
    rng = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=rng))[0]
    values = torch.tensor([5.0, 4.0, 1.0, 0.5, 0.0, -1.0], dtype=torch.float64)
    hessian = basis @ torch.diag(values) @ basis.T
    moves = Moves(lambda theta: 0.5 * theta @ hessian @ theta, 0.45, 0.1)
    here = torch.randn(6, dtype=torch.float64, generator=rng)
    bounce = Bounce.about(
        *(here + each for each in 1e-3 * torch.randn(3, 6, dtype=torch.float64, generator=rng))
    )
    for _ in range(60):
        before, bounce = bounce.radius, moves.move(bounce)
    assert abs(float(bounce.direction @ basis[:, 0])) == pytest.approx(1, abs=1e-11)
    assert float(bounce.secant) == pytest.approx(5, rel=1e-8)
    assert float(bounce.radius / before) == pytest.approx(abs(1 - 0.45 * 5.1), rel=1e-8)


def test_parameters_that_do_not_decay_do_not():
    moves = Moves(normal_form(0.0).loss, ETA, DECAY)
    bounce = Bounce.about(*(torch.tensor([x, 0.3], dtype=torch.float64) for x in (-0.1, 0.1, -0.1)))
    free = bounce.moved(
        ETA, DECAY, moves.gradient, moves.point_at,
        decayed=torch.tensor([1.0, 0.0], dtype=torch.float64),
    )  # fmt: skip
    whole = moves.move(bounce)
    assert float(free.centre[1] - whole.centre[1]) == pytest.approx(ETA * DECAY * 0.3, rel=1e-12)
    assert free.radius == whole.radius  # along x, which decays in both


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_bounce_too_short_for_a_difference_is_moved_by_the_hessian(dtype):
    """It grows out of rounding as S above 2/η says, and never becomes less than that."""
    problem = normal_form(0.0)
    moves = Moves(problem.loss, ETA, 0.0)
    still = torch.tensor([0.0, S_STAR + 0.2], dtype=dtype)  # S = 2/η + 0.2 at x = 0
    bounce = Bounce.about(still, still, still)
    assert float(bounce.radius) == 0
    bounce = moves.move(bounce)
    assert moves.gradients == 0
    assert float(bounce.radius) == pytest.approx(torch.finfo(dtype).eps * 0.7 / 2**0.5, rel=1e-3)
    for _ in range(15):
        bounce = moves.move(bounce)
    before, bounce = bounce, moves.move(bounce)
    assert abs(float(bounce.direction[0])) == pytest.approx(1, abs=1e-6)
    sharpness = 2 / ETA + float(before.centre[1]) - S_STAR
    assert float(bounce.radius / before.radius) == pytest.approx(ETA * sharpness - 1, rel=1e-5)
    assert moves.gradients == 0


def test_a_step_where_nothing_curves_keeps_its_direction():
    moves = Moves(lambda theta: theta.sum(), 0.1, 0.0)
    points = (torch.tensor([x, 1.0], dtype=torch.float64) for x in (-1.0, 1.0, -1.0))
    bounce = Bounce.about(*points)
    after = moves.move(bounce)
    torch.testing.assert_close(after.direction, bounce.direction)
    torch.testing.assert_close(after.radius, bounce.radius)
    step = torch.tensor([0.05, 0.1])  # half of it along v
    torch.testing.assert_close(after.centre, bounce.centre - step)


def test_a_bounce_that_has_not_begun_is_not_the_bend_of_the_path():
    points = (torch.tensor([0.0, t * t], dtype=torch.float64) for t in (1.0, 1.1, 1.2))
    bent = Bounce.about(*points)
    assert float(bent.radius) > 1e-3
    unbegun = bent.unbegun(torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert float(unbegun.radius) == 0
    after = Moves(normal_form(0.0).loss, ETA, 0.0).move(unbegun)
    assert 0 < float(after.radius) < 1e-15
    torch.testing.assert_close(unbegun.centre, bent.centre)
