"""The toy problems: few parameters, closed forms, and every phenomenon of the edge in seconds.

Each is a function (arguments, like) → Problem, found by its name in `_BUILDERS`; the
names that configs use, and the arguments, are in `eostui/toys.py`. Torch is seeded by the caller.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from eostui import toys
from eostui.problems.losses import half_squared_error
from eostui.problems.problem import Problem
from eostui.problems.two_layer_linear import two_layer_linear
from eostui.stability import two_over_eta


def build_toy(name: str, arguments: toys.ToyArguments, like: Tensor) -> Problem:
    """Return the toy of that name.

    Args:
        name: one of `eostui.toys.TOYS`.
        arguments: of the type that the table gives for the name.
        like: any tensor on the device and in the precision to train in.
    """
    return _BUILDERS[name](arguments, like)


def cubic_normal_form(arguments: toys.CubicNormalForm, like: Tensor) -> Problem:
    """Return the problem on which descent with decay is the reduced oscillator, exactly (MATH §3.3).

    With y = b s: β = b², βα = ab, g_x = x_*, g = b s_*, and S = 2/η_* + y where x = 0. Its loss has
    no minimum and its zero no meaning.
    """
    a, b = arguments.a, arguments.b
    centre = arguments.x_star, arguments.s_star
    edge = two_over_eta(arguments.eta_star)

    def loss(theta: Tensor) -> Tensor:
        x, s = theta[0] - centre[0], theta[1] - centre[1]
        return 0.5 * (edge + b * s) * x * x - a * s

    start = [value + shift for value, shift in zip(arguments.start, centre, strict=True)]
    return Problem(like.new_tensor(start), loss, "½(2/η_* + b s)x² − a s; its zero is arbitrary")


def two_layer_scalar(arguments: toys.TwoLayerScalar, like: Tensor) -> Problem:
    """Return ½(1 − xy)²: least on the hyperbola xy = 1, where S = x² + y²."""
    return Problem(
        like.new_tensor(arguments.start),
        lambda theta: 0.5 * (1 - theta[0] * theta[1]) ** 2,
        "½(1 − xy)²",
    )


def four_layer_scalar(arguments: toys.FourLayerScalar, like: Tensor) -> Problem:
    """Return ¼(1 − x²y²)²: least on xy = ±1, where S = 2(x² + y²) (Zhu et al., arXiv 2210.03294)."""
    return Problem(
        like.new_tensor(arguments.start),
        lambda theta: 0.25 * (1 - (theta[0] * theta[1]) ** 2) ** 2,
        "¼(1 − x²y²)²",
    )


def diagonal_net(arguments: toys.DiagonalNet, like: Tensor) -> Problem:
    """Return Θ^q with Θ a sum of products of parameters, least at Θ = 0 (INST; MATH §6).

    For (θ₁θ₂)² that is on the axes, where S = 2(θ₁² + θ₂²).
    """
    degree = arguments.degree
    sizes = list(arguments.terms) or [len(arguments.start)]

    def loss(theta: Tensor) -> Tensor:
        terms = [_product(term.unbind()) for term in torch.split(theta, sizes)]
        return sum(terms[1:], start=terms[0]) ** degree

    numbers = iter(range(1, len(arguments.start) + 1))
    names = ["".join(_named(next(numbers)) for _ in range(size)) for size in sizes]
    return Problem(
        like.new_tensor(arguments.start), loss, f"({' + '.join(names)}){_raised(degree)}"
    )


def _product(factors: Sequence[Tensor]) -> Tensor:
    """Return the product, one factor after another: its derivatives hold where some are 0 too."""
    return functools.reduce(operator.mul, factors)


def _named(number: int) -> str:
    return "θ" + str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _raised(power: int) -> str:
    return str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def quadratic(arguments: toys.Quadratic, like: Tensor) -> Problem:
    """Return ½ Σ c_k θ_k²: θ_k is (1 − η c_k)^t θ_k at step t (REV, Example 2.1)."""
    curvatures = like.new_tensor(arguments.curvatures)
    return Problem(
        like.new_tensor(arguments.start),
        lambda theta: 0.5 * (curvatures * theta * theta).sum(),
        "½ Σ curvature θ²",
    )


def elliptical_valley(arguments: toys.EllipticalValley, like: Tensor) -> Problem:
    """Return (1 − (a x² + y²))²: least on an ellipse, where S = 8(a²x² + y²)."""
    return Problem(
        like.new_tensor(arguments.start),
        lambda theta: (1 - (arguments.a * theta[0] ** 2 + theta[1] ** 2)) ** 2,
        "(1 − (a x² + y²))²",
    )


def deep_linear(arguments: toys.DeepLinear, like: Tensor) -> Problem:
    """Return a product of square matrices fitted to one: 1/(2N)‖W_D ⋯ W_1 − M‖_F², N = width.

    M is drawn before the layers, which have PyTorch's default initialisation.
    """
    width = arguments.width
    if arguments.target == "rank-one":
        left, right = torch.randn(2, width, dtype=torch.float64)
        target = torch.outer(left, right)
    else:
        target = torch.randn(width, width, dtype=torch.float64)
    target *= arguments.strength / torch.linalg.matrix_norm(target, ord=2)
    layers = [nn.Linear(width, width, bias=False) for _ in range(arguments.depth)]
    return Problem.from_module(
        nn.Sequential(*layers).to(like),
        half_squared_error,
        torch.eye(width).to(like),
        target.T.to(like),  # row n is M x_n
        convention="½ squared error, sum over outputs, mean over samples",
    )


def chebyshev(arguments: toys.Chebyshev, like: Tensor) -> Problem:
    """Return a tanh network fitted to T_k on [−1, 1], after the toy of Cohen et al. (EoS).

    Held-out points lie midway between the points.
    """
    count = arguments.points
    if arguments.nodes == "equispaced":
        x = torch.linspace(-1, 1, count, dtype=torch.float64)
    else:
        x = -torch.cos(math.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count)
    x = x[:, None]
    sizes = [1, *[arguments.width] * arguments.depth]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.Tanh()]
    network = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def polynomial(at: Tensor) -> Tensor:
        return torch.cos(arguments.degree * torch.acos(at)).to(like)

    between = (x[1:] + x[:-1]) / 2
    return Problem.from_module(
        network.to(like),
        half_squared_error,
        x.to(like),
        polynomial(x),
        convention="½ squared error, mean over samples",
        test=(between.to(like), polynomial(between)) if count > 1 else None,
    )


_BUILDERS: dict[str, Callable[..., Problem]] = {
    "cubic-normal-form": cubic_normal_form,
    "two-layer-scalar": two_layer_scalar,
    "four-layer-scalar": four_layer_scalar,
    "diagonal-net": diagonal_net,
    "quadratic": quadratic,
    "elliptical-valley": elliptical_valley,
    "deep-linear": deep_linear,
    "chebyshev": chebyshev,
    "two-layer-linear": two_layer_linear,
}
