"""The columns that every run has, with their units and a line on what each is (MATH §2).

They feed the store, exports with their sidecar, and docs/reference/columns.md. A run may have more, which
its facts state: see `own_columns`. Of the probes the first four alone stand here, in `BUILT_IN_COLUMNS`:
records that state no probes have theirs. The columns of a new probe stand in its class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eostui.config import MOST_EIGENVALUES
from eostui.stability import GRADIENT_DESCENT, INTERVENTIONS, OPERATORS, Stability


@dataclass(frozen=True)
class Column:
    """A named column: `unit` is in terms of the loss [L], steps and parameters [θ].

    An `optional` one is left out of an export where it is empty. One with a `shape` holds an array a row,
    which a table has as columns of their own.
    """

    name: str
    unit: str
    description: str
    optional: bool = False
    shape: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """How many numbers it holds a row."""
        return math.prod(self.shape)

    def flattened(self) -> tuple[Column, ...]:
        """Return itself, or the columns `name_1` to `name_k` that a table has for an array of k."""
        if not self.shape:
            return (self,)
        return tuple(
            Column(
                f"{self.name}_{number}",
                self.unit,
                f"number {number} of {self.size}: {self.description}",
                self.optional,
            )
            for number in range(1, self.size + 1)
        )


@dataclass(frozen=True)
class ProbeColumns:
    """What the record of a run says of one of its probes.

    Attributes:
        name: of the probe.
        cost: of a reading: a forward pass, some Hessian products, or more.
        columns: what it fills, in the order in which a reading is stored.
    """

    name: str
    cost: str
    columns: tuple[Column, ...]

    @property
    def width(self) -> int:
        """How many numbers a reading has."""
        return sum(column.size for column in self.columns)


#: What the engine stores for every step, in the order of the stored matrix. What arrived is that of the
#: step that led here: known now, while the next step's isn't.
STORED_STEP_COLUMNS = (
    "loss",
    "theta_norm",
    "decayed_norm",
    "arrival_curvature",
    "arrival_cosine",
    "arrival_norm",
    "eta",
    "weight_decay",
)
#: What every run has of them: before format 5 none had more.
FIRST_STEP_COLUMNS = tuple(
    name for name in STORED_STEP_COLUMNS if name not in ("arrival_cosine", "arrival_norm")
)

#: Columns of a step, by which the next row has them stored.
ARRIVALS = {
    "path_curvature": "arrival_curvature",
    "step_cosine": "arrival_cosine",
    "step_norm": "arrival_norm",
}

#: Columns of a step that follow from these, and what of them they take.
FROM_ARRIVALS = {"bounce_norm": ("arrival_cosine", "arrival_norm")}

#: θ itself, stored after the columns above for problems of at most two parameters.
COORDINATES = (
    Column("theta_1", "θ", "first parameter θ₁, of a problem with at most two"),
    Column("theta_2", "θ", "second parameter θ₂"),
)

#: Stored last, for problems that have an accuracy.
TRAIN_ACCURACY = Column(
    "train_accuracy",
    "1",
    "share of the training samples classified correctly at θ_t, from the pass that `loss` is of",
)

#: Known for every step, from the stored columns alone.
EVERY_STEP = (
    Column("step", "steps", "gradient-descent steps taken before this row"),
    Column("flow_time", "η·steps", "sum of η over the steps before this row"),
    Column("loss", "L", "unregularised full-batch training loss L(θ)"),
    Column(
        "loss_regularized",
        "L",
        "L_λ = L(θ) + ½λ‖θ‖² over the decayed parameters, λ of this row; infinite where L is",
    ),
    Column("loss_step", "L", "L(θ_{t+1}) − L(θ_t); empty in the last row"),
    Column(
        "loss_step_regularized",
        "L",
        "the same of the regularised loss, with the λ of this step at both ends; empty in the last row",
    ),
    Column(
        "path_curvature",
        "L/θ²",
        "κ, curvature met along this step: ⟨∇L(θ_{t+1}) − ∇L(θ_t), Δθ⟩/‖Δθ‖²; empty in the last row",
    ),
    Column(
        "step_cosine",
        "1",
        "⟨Δθ_t, Δθ_{t−1}⟩/(‖Δθ_t‖‖Δθ_{t−1}‖), of this step with the one before: 1 flows, −1 bounces; "
        "empty in the first and the last row",
    ),
    Column(
        "step_norm",
        "θ",
        "‖Δθ_t‖ of this step, η‖∇L_λ(θ_t)‖ in gradient descent; empty in the last row",
    ),
    Column(
        "bounce_norm",
        "θ",
        "‖Δθ_t − Δθ_{t−1}‖/4, how far θ_t lies from the bounce's centre (θ_{t−1} + 2θ_t + θ_{t+1})/4; "
        "empty in the first and the last row",
    ),
    Column("eta", "θ²/L", "learning rate η that moves θ_t to θ_{t+1}"),
    Column("weight_decay", "1/η", "weight decay λ that moves θ_t to θ_{t+1}"),
    Column("theta_norm", "θ", "‖θ‖ over all parameters"),
    Column("decayed_norm", "θ", "‖θ‖ over the parameters that decay acts on"),
    Column("two_over_eta", "L/θ²", "2/η, the stability limit of gradient descent without decay"),
    Column("stability_threshold", "L/θ²", "2/η − λ, the stability limit with decay"),
)

#: Known for every step of an intervention, from the events of controls; empty where there is none.
INTERVENED = tuple(
    Column(
        share.name, "1", f"{share.symbol} of an intervention: {share.description}", optional=True
    )
    for share in INTERVENTIONS
)

#: Where what is measured is measured.
MEASURED_AT = "taken at θ_t, in runs whose `reading` is midpoint at (θ_{t−1} + 2θ_t + θ_{t+1})/4"

# What the program's own probes fill, by the probe: every run can be asked for it, and has it empty
# where it is older. What is added here is optional, and named in NOT_WIDE.
_SHARPNESS = (
    Column("sharpness", "L/θ²", "S, largest eigenvalue of the Hessian of L"),
    Column("sharpness_residual", "1", "‖Hu − Su‖/S: how well S and u are found"),
    Column("sharpness_gap", "L/θ²", "S less the next eigenvalue; empty where not known to a tenth"),
    Column(
        "u_error",
        "1",
        "estimated sine of the angle between u and the eigenvector of S; 1 where u is any of several",
    ),
    Column("overlap", "1", "|⟨u, u of the measurement before⟩|"),
    Column("eig_2", "L/θ²", "second largest eigenvalue of the Hessian"),
    *(
        Column(
            f"eig_{n}", "L/θ²", f"eigenvalue {n} of the Hessian, in falling order", optional=True
        )
        for n in range(3, MOST_EIGENVALUES + 1)
    ),
    *(
        Column(f"eig_{n}_residual", "1", f"‖Hv − eig_{n} v‖/S of its unit vector v", optional=n > 2)
        for n in range(2, MOST_EIGENVALUES + 1)
    ),
    Column(
        "eig_guard",
        "L/θ²",
        "the eigenvalue after the last that is told, found only as well as that one needs",
    ),
    Column("eig_guard_residual", "1", "its residual, as a share of S"),
)
#: The largest eigenvalues in falling order.
EIGENVALUES = ("sharpness", *(f"eig_{n}" for n in range(2, MOST_EIGENVALUES + 1)))
_SMALLEST = (
    Column("eig_min", "L/θ²", "smallest eigenvalue of the Hessian", optional=True),
    Column("eig_min_residual", "1", "‖Hv − eig_min v‖/S of its unit vector v", optional=True),
)
_DRIVES = (
    Column("beta", "L²/θ⁶", "β = ‖∇S‖², the squared norm of the gradient of the sharpness"),
    Column("beta_alpha", "L²/θ⁴", "βα = −⟨∇L, ∇S⟩: the drive that sharpens"),
    Column(
        "g", "L/θ²", "g = ⟨θ, ∇S⟩ over the decayed parameters alone: the global interaction term"
    ),
    Column(
        "g_u",
        "θ",
        "⟨θ, u⟩ over the decayed parameters: moves the centre of the bounce. The sign of u, and so of "
        "this, is a convention: that of the measurement before is kept",
    ),
    Column("grad_norm", "L/θ", "‖∇L‖"),
    Column("sharpness_gradient_u", "1", "|⟨∇S, u⟩|/‖∇S‖: theory takes it small"),
    Column("gradient_u", "1", "|⟨∇L, u⟩|/‖∇L‖: small off the bounce, always large on it"),
    Column("beta_perp", "L²/θ⁶", "‖∇S⊥‖², of ∇S without its part along u"),
    Column("beta_alpha_perp", "L²/θ⁴", "−⟨∇L, ∇S⊥⟩"),
    Column("g_perp", "L/θ²", "⟨θ, ∇S⊥⟩ over the decayed parameters"),
)
_HELD_OUT = (
    Column("test_loss", "L", "loss on the test samples, same convention"),
    Column("test_accuracy", "1", "share of test samples classified correctly"),
)
#: What the program's first probes fill: of runs that don't say what theirs do, too.
BUILT_IN_COLUMNS = (
    ProbeColumns("sharpness", "many products", _SHARPNESS),
    ProbeColumns("smallest_eigenvalue", "many products", _SMALLEST),
    ProbeColumns("drives", "products", _DRIVES),
    ProbeColumns("held_out", "pass", _HELD_OUT),
)

#: What the readings of a step took together. The time isn't exported: runs alike have tables alike.
HESSIAN_PRODUCTS = Column("hessian_products", "1", "Hessian products spent on this measurement")
MEASURED_SECONDS = Column("measured_seconds", "s", "time that the readings of this step took")

#: What is of S, and so of the operator whose eigenvalue it is.
_OF_OPERATOR = {
    "path_curvature", *(c.name for c in (*_SHARPNESS, *_SMALLEST, *_DRIVES) if c.name != "grad_norm"),
}  # fmt: skip

#: Known at measured steps, in the order of the table that formats before 6 had of them.
MEASURED = (*_SHARPNESS, *_SMALLEST, *_DRIVES, HESSIAN_PRODUCTS, *_HELD_OUT)

#: Of these, what came after that table.
NOT_WIDE = ("eig_min_residual",)

#: An eigenvalue is at the edge from this share of the threshold on, as phases have it of S.
AT_EDGE = 0.92

#: Derived from measured columns on reading.
DERIVED = (
    Column("alpha", "θ²", "α = βα/β, the progressive-sharpening coefficient"),
    Column("lambda_g", "L²/θ⁴", "λg: the drive with which decay flattens"),
    Column(
        "g_critical",
        "L/θ²",
        "λ + βα/λ: a run whose g is larger collapses below its edge; empty at λ = 0",
        optional=True,
    ),
    Column(
        "descent_bound",
        "L",
        "−(η/2)(2 − η(S + λ))‖∇L_λ(θ_t)‖²: of gradient descent, what `loss_step_regularized` is at most "
        "where L_λ curves by no more than S + λ on the step's way, and is if it curves by that",
        optional=True,
    ),
    Column(
        "eigenvalues_at_edge",
        "1",
        f"how many of the eigenvalues told are from {AT_EDGE:.0%} of the stability threshold on; where "
        "all are there may be more",
    ),
)

#: From the first calibration on, where a run has one; see runs/calibration.py.
CALIBRATED = (
    Column("calibration", "1", "number of the calibration that the following columns refer to"),
    Column(
        "x",
        "θ",
        "⟨u, θ − θ*⟩: how far along the reference's sharpest direction u, whose sign is a convention",
    ),
    Column("q", "L/θ²", "⟨∇S, θ − θ*⟩, to first order S − S*"),
    Column(
        "x_predicted",
        "θ",
        "x of the reduced oscillator, whose sharpness is S* + q + D⁴x²/6 (where D⁴ of the reference is "
        "known), from the same start or where it was last re-seated on the network; empty once escaped",
    ),
    Column("q_predicted", "L/θ²", "q of the reduced oscillator, re-seated with x"),
)

#: What stands first in an export, in this order; what isn't named here follows in its own.
_EXPORT_ORDER = (
    "step", "flow_time", "loss", "loss_regularized", "loss_step", "loss_step_regularized",
    "path_curvature", "step_cosine", "step_norm", "bounce_norm", "eta", "weight_decay", "theta_norm",
    "decayed_norm", "sharpness", "sharpness_residual", "two_over_eta", "stability_threshold",
    "eig_2", "alpha", "beta",
    "beta_alpha", "g", "lambda_g", "g_u", "grad_norm",
)  # fmt: skip


def exported(
    stored: Sequence[str] = STORED_STEP_COLUMNS,
    own: Sequence[Column] = (),
    measured: Sequence[Column] = (),
    *,
    calibrated: bool = False,
    intervened: bool = False,
    operator: str = "",
) -> tuple[Column, ...]:
    """Return all columns in the order of the CSV; those of arrays aren't flattened.

    Args:
        stored: names of the columns of the run's steps.
        own: of its steps, what its dynamics has.
        measured: what its own probes fill beside `MEASURED`.
        calibrated: whether it has calibrations.
        intervened: whether there were interventions in its steps.
        operator: what takes the place of the Hessian, "" where that is it.
    """
    every = (*EVERY_STEP, *(_at_its_point(column) for column in (*MEASURED, *DERIVED)))
    columns = {column.name: column for column in every}
    for name, arrival in ARRIVALS.items():
        if arrival not in stored:
            del columns[name]
    for name, arrivals in FROM_ARRIVALS.items():
        if not {*arrivals} <= {*stored}:
            del columns[name]
    few = (*COORDINATES, TRAIN_ACCURACY, *own)
    columns |= {column.name: column for column in few if column.name in stored}
    columns |= {column.name: _at_its_point(column) for column in measured}
    for name in _OF_OPERATOR & columns.keys() if operator else ():
        told = f"{columns[name].description}; of {OPERATORS.get(operator, operator)}"
        columns[name] = replace(columns[name], description=told)
    first = tuple(columns.pop(name) for name in _EXPORT_ORDER if name in columns)
    ordered = first + tuple(columns.values())
    return ordered + (INTERVENED if intervened else ()) + (CALIBRATED if calibrated else ())


def _at_its_point(column: Column) -> Column:
    """Return a measured column that says where it is taken, which a probe may have said of its own."""
    if column.name == HESSIAN_PRODUCTS.name or "; taken at " in column.description:
        return column
    return replace(column, description=f"{column.description}; {MEASURED_AT}")


def stored_columns(
    parameters: int, stability: Stability = GRADIENT_DESCENT, *, accuracy: bool = False
) -> tuple[str, ...]:
    """Return what is stored for every step, in order.

    Args:
        parameters: how many the problem has.
        stability: of the dynamics.
        accuracy: whether it has one on its training samples.
    """
    few = COORDINATES[:parameters] if parameters <= len(COORDINATES) else ()
    last = (TRAIN_ACCURACY,) if accuracy else ()
    own = tuple(column.name for column in (*few, *last))
    return STORED_STEP_COLUMNS + stability.step_columns + own
