"""The toy problems' names and arguments: what a config may say of them. Their losses are in
`eostui/problems/toys.py`, which needs torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveInt,
    ValidationInfo,
    model_validator,
)


def _two(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(
            f"`{info.field_name}` is {value}, but must be two numbers such as [3.0, 0.1]"
        )
    return tuple(value)


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Pair = Annotated[tuple[FiniteFloat, FiniteFloat], BeforeValidator(_two)]
Vector = Annotated[tuple[FiniteFloat, ...], BeforeValidator(_listed), Field(min_length=1)]
Positive = Annotated[FiniteFloat, Field(gt=0)]


class ToyArguments(BaseModel):
    """What `problem_arguments` may hold for one toy; every argument has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class CubicNormalForm(ToyArguments):
    """L(x, s) = ½(2/η_* + b s)x² − a s, with θ = (x + x_*, s + s_*): decay pulls to −(x_*, s_*)."""

    a: FiniteFloat = Field(1.0, description="βα = ab: a is the force along s")
    b: FiniteFloat = Field(5.0, description="how fast the sharpness grows with s; β = b²")
    x_star: FiniteFloat = Field(0.0, description="x_*, the global term g_x of the bounce")
    s_star: FiniteFloat = Field(0.0, description="s_*, with the global term g = b s_*")
    eta_star: Positive = Field(0.1, description="η_*, whose 2/η_* is the sharpness at the origin")
    start: Pair = Field((0.1, 0.0), description="(x, s) at step 0")


class TwoLayerScalar(ToyArguments):
    """L(x, y) = ½(1 − xy)²."""

    start: Pair = Field((3.0, 0.1), description="(x, y) at step 0")


class FourLayerScalar(ToyArguments):
    """L(x, y) = ¼(1 − x²y²)²."""

    start: Pair = Field((2.5, 0.2), description="(x, y) at step 0")


class DiagonalNet(ToyArguments):
    """L = Θ^degree; Θ is the sum of the terms, each the product of some θ: θ₁θ₂ for two parameters."""

    start: Vector = Field((-0.1, 10.0), description="(θ₁, θ₂, …) at step 0, term by term")
    degree: Annotated[int, Field(ge=2, multiple_of=2)] = Field(
        2, description="of the polynomial, even: its least value is at Θ = 0"
    )
    terms: Annotated[tuple[PositiveInt, ...], BeforeValidator(_listed)] = Field(
        (),
        description="how many parameters each term multiplies, such as [2, 3]; [] for one of all",
    )

    @model_validator(mode="after")
    def _terms_share_out_the_start(self) -> DiagonalNet:
        if self.terms and sum(self.terms) != len(self.start):
            raise ValueError(
                f"`terms` is {list(self.terms)}, but its sum must be the {len(self.start)} parameters "
                "of `start`"
            )
        return self


class Quadratic(ToyArguments):
    """L(θ) = ½ Σ curvature_k θ_k²: a step multiplies θ_k by 1 − η curvature_k (REV, Example 2.1)."""

    curvatures: Vector = Field((10.0, 1.0), description="eigenvalues of the Hessian, in any order")
    start: Vector = Field((1.0, 1.0), description="(θ₁, θ₂, …) at step 0, one for each")

    @model_validator(mode="after")
    def _one_for_each(self) -> Quadratic:
        if len(self.start) != len(self.curvatures):
            raise ValueError(
                f"`start` has {len(self.start)} values and `curvatures` {len(self.curvatures)}: "
                "they must have one for each parameter"
            )
        return self


class EllipticalValley(ToyArguments):
    """L(x, y) = (1 − (a x² + y²))², least on an ellipse."""

    a: Positive = Field(4.0, description="squared ratio of the ellipse's axes")
    start: Pair = Field((0.35, 0.9), description="(x, y) at step 0")


class DeepLinear(ToyArguments):
    """1/(2N) Σ‖W_D ⋯ W_1 x_n − y_n‖² over the N = width unit vectors x_n: square layers, no biases."""

    depth: PositiveInt = Field(4, description="number of layers D")
    width: PositiveInt = Field(5, description="size of every layer, and number of samples N")
    target: Literal["rank-one", "random"] = Field(
        "rank-one", description="the matrix to learn, drawn by the seed"
    )
    strength: Positive = Field(5.0, description="the target's largest singular value")


class Chebyshev(ToyArguments):
    """1/(2N) Σ(f(x_n) − T_k(x_n))² on N points of [−1, 1]: a small tanh network f."""

    degree: PositiveInt = Field(4, description="degree k of the Chebyshev polynomial T_k")
    points: PositiveInt = Field(20, description="number of points N")
    nodes: Literal["equispaced", "chebyshev"] = Field(
        "equispaced", description="evenly spaced with both ends, or the zeros of T_N"
    )
    depth: PositiveInt = Field(1, description="hidden layers")
    width: PositiveInt = Field(100, description="units in each hidden layer")


class TwoLayerLinear(ToyArguments):
    """1/(2N) Σ(f(x_n) − y_n)² with f(x) = AᵀWx/√m, W of shape (m, d), y = ±1 (REV §5)."""

    points: PositiveInt = Field(20, description="number of samples N")
    inputs: PositiveInt = Field(10, description="inputs d")
    width: PositiveInt = Field(64, description="hidden units m")
    start: Literal["symmetric", "random", "rank-one"] = Field(
        "symmetric",
        description="symmetric: pairs of units with the same W and opposite A, all outputs 0; "
        "rank-one: W and A along one direction of the units",
    )
    output_scale: Positive = Field(1.0, description="‖A‖/√m at step 0, about")
    hidden_scale: Positive = Field(
        1.0, description="√(d/m)‖W‖ at step 0, about; ‖W‖_F for rank-one"
    )
    spectrum: Literal["gaussian", "geometric"] = Field(
        "gaussian",
        description="of the inputs: normal numbers; or XᵀX has the eigenvalues N, N/gap, N/gap², …",
    )
    gap: Annotated[FiniteFloat, Field(ge=1)] = Field(
        3.0, description="ratio of neighbouring eigenvalues of XᵀX, of a geometric spectrum"
    )
    labels: Literal["random", "teacher"] = Field(
        "random", description="random signs, or the sign of a random linear function of x"
    )

    @model_validator(mode="after")
    def _units_pair(self) -> TwoLayerLinear:
        if self.start == "symmetric" and self.width % 2:
            raise ValueError(f"`width` is {self.width}, but must be even for a symmetric start")
        return self


#: By the name that a config's `problem` gives.
TOYS: dict[str, type[ToyArguments]] = {
    "cubic-normal-form": CubicNormalForm,
    "two-layer-scalar": TwoLayerScalar,
    "four-layer-scalar": FourLayerScalar,
    "diagonal-net": DiagonalNet,
    "quadratic": Quadratic,
    "elliptical-valley": EllipticalValley,
    "deep-linear": DeepLinear,
    "chebyshev": Chebyshev,
    "two-layer-linear": TwoLayerLinear,
}
#: Those that are a network on samples; the others are functions of θ alone.
OF_SAMPLES = ("deep-linear", "chebyshev", "two-layer-linear")
