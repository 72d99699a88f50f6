"""What a dynamics is stable up to, and what it is steered by: its controls, at a step and over a run.

Here alone stand thresholds such as 2/η − λ (MATH §2), what η and λ may be, and how a key turns them. The
formulas take numbers and arrays alike; neither torch nor numpy is needed.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, TypeVar

#: No control is larger: a step in float32 couldn't be multiplied by it.
LARGEST = 3.4e38

_Number = TypeVar("_Number")

#: Controls by name: numbers, or arrays of the same shape.
ControlValues = Mapping[str, Any]


@dataclass(frozen=True)
class Control:
    """A number by which a dynamics is steered while it runs.

    Attributes:
        name: of its column, its setting and its part of a command.
        symbol: as the field writes it.
        description: what it is, in a few words.
        factor: of a key press.
        positive: whether it must be above 0; else 0 turns it off.
        below: what it must be below.
        start: where it begins when it is turned up from 0; below this it is turned off.
        initial: its value at step 0 where a config has no setting of its name.
    """

    name: str
    symbol: str
    description: str
    factor: float
    positive: bool = False
    below: float = math.inf
    start: float = 0.0
    initial: float = 0.0

    def turned(self, value: float, direction: int) -> float:
        """Return a value one press up (+1) or down (−1), from and to 0 where it may be 0."""
        if self.positive:
            return _round(value * self.factor**direction)
        return max(turned(value, direction, self.factor, self.start), 0.0)

    def refusal(self, value: object, called: str = "") -> str | None:
        """Return why it can't have this value, or None.

        Args:
            value: whatever was given.
            called: how the sentence calls it; by its symbol if left out.
        """
        called = called or self.symbol
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{called} must be a number"
        if not abs(value) <= sys.float_info.max:
            return f"{called} must be finite"
        if abs(value) > LARGEST:
            return f"{called} is {value:g}, but must be at most {LARGEST:g}"
        if self.positive and value <= 0:
            return f"{called} is {value:g}, but must be above 0"
        if value < 0:
            return f"{called} is {value:g}, but must not be below 0"
        if not value < self.below:
            return f"{called} is {value:g}, but must be below {self.below:g}"
        return None


ETA = Control("eta", "η", "learning rate", factor=1.1, positive=True)
WEIGHT_DECAY = Control("weight_decay", "λ", "weight decay", factor=1.25, start=1e-4)
MOMENTUM = Control("momentum", "μ", "momentum", factor=1.1, below=1.0, start=0.1)
#: An intervention in the steps of any dynamics: other lengths along the sharpest eigenvectors of the
#: Hessian, and across them (MATH §6). With both shares 1 there is none.
SHARP_STEP = Control(
    "sharp_step",
    "η_u/η",
    "step along eigenvectors above the bound, as a share of what it would be",
    factor=2.0,
    start=1 / 16,
    initial=1.0,
)
OTHER_STEP = Control(
    "other_step",
    "η_⊥/η",
    "step in all other directions, as a share of what it would be",
    factor=2.0,
    start=1 / 16,
    initial=1.0,
)
SHARP_ABOVE = Control(
    "sharp_above",
    "bound",
    "eigenvalue above which an eigenvector is among the sharpest, in units of 2/η − λ",
    factor=1.1,
    start=0.1,
    initial=1.0,
)
#: What any run is steered by beside the controls of its dynamics. They have no columns: events tell when
#: they changed.
INTERVENTIONS = (SHARP_STEP, OTHER_STEP, SHARP_ABOVE)
BETA1 = Control(
    "beta1", "β₁", "share of the mean gradient that is kept", factor=1.1, below=1.0, start=0.1
)
#: Columns of every step that dynamics other than gradient descent store beside their controls.
THRESHOLD, UNDECAYED = "stability_threshold", "stability_undecayed"
#: Columns of every step of dynamics that see batches: of the batch B of that step.
BATCH_LOSS, BATCH_LOSS_STEP = "batch_loss", "batch_loss_step"
BATCH_CURVATURE = "batch_path_curvature"
BATCH_COLUMNS = (BATCH_LOSS, BATCH_LOSS_STEP, BATCH_CURVATURE)
#: The fact in which a run describes its dynamics.
FACT = "dynamics"
#: All by name.
CONTROLS = {
    control.name: control for control in (ETA, WEIGHT_DECAY, MOMENTUM, BETA1, *INTERVENTIONS)
}


def intervenes(controls: ControlValues) -> bool:
    """Return whether steps by these controls aren't those of the dynamics itself."""
    return any(
        controls.get(share.name, share.initial) != share.initial
        for share in (SHARP_STEP, OTHER_STEP)
    )


@dataclass(frozen=True)
class Stability:
    """Up to which sharpness a dynamics is stable on a quadratic, by its controls.

    Attributes:
        controls: what it is steered by, in the order of the columns.
        undecayed: the threshold without decay.
        label: of the threshold, as charts write it.
        undecayed_label: of the threshold without decay.
        lowered: by how much decay lowers it; coupled, it adds λ to every curvature.
        gradient_from_steps: whether ‖∇L_λ‖ follows from the steps: Δθ_t = −η∇L_λ + μΔθ_{t−1}, without μ
            where that is no control.
        operator: that whose largest eigenvalue it bounds, as charts write it; "" for the Hessian.
        batches: whether a step sees a batch of the samples alone: L, κ and signs of a step are then that
            batch's, in columns of their own; L of all samples is had where something is measured.
    """

    controls: tuple[Control, ...]
    undecayed: Callable[[ControlValues], Any]
    label: str
    undecayed_label: str
    lowered: Callable[[ControlValues], Any] = lambda controls: controls["weight_decay"]
    gradient_from_steps: bool = True
    operator: str = ""
    batches: bool = False

    def threshold(self, controls: ControlValues) -> Any:
        """Return the sharpness up to which it is stable, with decay."""
        return self.undecayed(controls) - self.lowered(controls)

    @property
    def steered(self) -> tuple[Control, ...]:
        """What a run of it is steered by: its controls, and interventions where its S is the Hessian's:
        a step along eigenvectors of another operator is none along directions of θ."""
        return self.controls if self.operator else (*self.controls, *INTERVENTIONS)

    def at_start(self, settings: object) -> dict[str, float]:
        """Return what steers a run of it at step 0, by name."""
        return at_start(self.steered, settings)

    def refuse(self, controls: Mapping[str, object]) -> str | None:
        """Return why these controls can't be used together, or None; η and λ are among them."""
        if refusal := refuse(controls, {control.name: control for control in self.steered}):
            return refusal
        try:
            threshold = float(self.threshold(controls))
        except ArithmeticError:  # that of a user's own dynamics may divide by a control of its own
            threshold = math.nan
        if math.isfinite(threshold):
            return None
        told = ", ".join(
            f"{control.symbol} {controls[control.name]:g}" for control in self.controls
        )
        return f"with {told} there is no threshold {self.label}"

    @property
    def step_columns(self) -> tuple[str, ...]:
        """What is stored for every step beside `eta` and `weight_decay`: none for gradient descent, whose
        thresholds follow from these two; of others the other controls, both thresholds, and what is a
        batch's."""
        if self is GRADIENT_DESCENT:
            return ()
        names = [control.name for control in self.controls]
        others = [name for name in names if name not in (ETA.name, WEIGHT_DECAY.name)]
        return (*others, THRESHOLD, UNDECAYED, *(BATCH_COLUMNS if self.batches else ()))


def two_over_eta(eta: _Number) -> _Number:
    """Return 2/η, the stability limit of gradient descent without decay, of a number or an array."""
    return 2 / eta  # type: ignore[operator, return-value]  # there is no type for both


#: θ⁺ = θ − η(∇L + λθ): on a curvature s the factor 1 − η(s + λ) stays above −1 up to s = 2/η − λ.
GRADIENT_DESCENT = Stability(
    (ETA, WEIGHT_DECAY), lambda controls: two_over_eta(controls["eta"]), "2/η−λ", "2/η"
)
#: θ⁺ = θ − η(∇L + λθ) + μ(θ − θ⁻): on a curvature s, z² − (1 + μ − η(s + λ))z + μ has both roots within
#: the unit circle, for 0 ≤ μ < 1, exactly while 0 < η(s + λ) < 2 + 2μ (Jury's conditions).
HEAVY_BALL = Stability(
    (ETA, WEIGHT_DECAY, MOMENTUM),
    lambda controls: (2 + 2 * controls["momentum"]) / controls["eta"],
    "(2+2μ)/η−λ",
    "(2+2μ)/η",
)
#: x⁺ = θ − η(∇L + λθ), θ⁺ = x⁺ + μ(x⁺ − x): on a curvature s, with c = η(s + λ), both roots of
#: z² − (1 + μ)(1 − c)z + μ(1 − c) lie within the unit circle exactly while 0 < (1 + 2μ)c < 2 + 2μ.
NESTEROV = Stability(
    (ETA, WEIGHT_DECAY, MOMENTUM),
    lambda controls: (
        (2 + 2 * controls["momentum"]) / ((1 + 2 * controls["momentum"]) * controls["eta"])
    ),
    "(2+2μ)/((1+2μ)η)−λ",
    "(2+2μ)/((1+2μ)η)",
    gradient_from_steps=False,
)
#: What takes the place of H where steps are by P⁻¹∇L.
PRECONDITIONED = "P^-½HP^-½"
#: And where θ stays on a sphere: T projects onto the space tangent to it.
TANGENT = "THT"
#: What each of these is, as columns tell it.
OPERATORS = {
    PRECONDITIONED: f"{PRECONDITIONED} in place of H, with the P of this step, in P^½θ",
    TANGENT: f"{TANGENT} in place of H, T the projection onto the space tangent to the sphere at θ_t",
}
#: θ⁺ = (1 − ηλ)θ − ηP⁻¹∇L: on a curvature s of P^{-1/2}HP^{-1/2}, P held, the factor is 1 − η(s + λ).
RMSPROP = Stability(
    (ETA, WEIGHT_DECAY),
    lambda controls: two_over_eta(controls["eta"]),
    "2/η−λ",
    "2/η",
    gradient_from_steps=False,
    operator=PRECONDITIONED,
)


def _averaged(controls: ControlValues) -> Any:
    """Return by what a mean of gradients raises the threshold."""
    return (1 + controls["beta1"]) / (1 - controls["beta1"])


#: θ⁺ = (1 − ηλ)θ − ηP⁻¹m, m⁺ = β₁m + (1 − β₁)∇L: on a curvature s of P^{-1/2}HP^{-1/2}, P held, and with
#: a = 1 − ηλ, both roots of z² − (a + β₁ − (1 − β₁)ηs)z + aβ₁ lie within the unit circle exactly while
#: −ηλ < ηs < (1 + a)(1 + β₁)/(1 − β₁).
ADAMW = Stability(
    (ETA, WEIGHT_DECAY, BETA1),
    lambda controls: two_over_eta(controls["eta"]) * _averaged(controls),
    "(2/η−λ)(1+β₁)/(1−β₁)",
    "(2/η)(1+β₁)/(1−β₁)",
    lowered=lambda controls: controls["weight_decay"] * _averaged(controls),
    gradient_from_steps=False,
    operator=PRECONDITIONED,
)
#: θ⁺ = θ − η(∇L_B + λθ): where all batches have the curvature s alone the factor is 1 − η(s + λ). Else it
#: is the batch sharpness that 2/η − λ bounds (MATH §7).
SGD = Stability(
    (ETA, WEIGHT_DECAY),
    lambda controls: two_over_eta(controls["eta"]),
    "2/η−λ",
    "2/η",
    gradient_from_steps=False,
    batches=True,
)
#: The same with its length put to 1: a curvature s within the space tangent to the sphere has the factor
#: (1 − ηλ − ηs)/(1 − ηλ), for L(cθ) = L(θ).
SPHERE = Stability(
    (ETA, WEIGHT_DECAY),
    lambda controls: two_over_eta(controls["eta"]),
    "2/η−2λ",
    "2/η",
    lowered=lambda controls: 2 * controls["weight_decay"],
    gradient_from_steps=False,
    operator=TANGENT,
    batches=True,
)
#: Of every dynamics that the program has, by the name that a config's `dynamics` gives. The classes stand
#: in `DYNAMICS` (eostui/dynamics), by the same names: they need torch, which a viewer must not load.
STABILITY = {
    "gradient-descent": GRADIENT_DESCENT,
    "heavy-ball": HEAVY_BALL,
    "nesterov": NESTEROV,
    "adamw": ADAMW,
    "rmsprop": RMSPROP,
    "sgd": SGD,
    "sphere-sgd": SPHERE,
}


@dataclass(frozen=True)
class Description:
    """What a run states about its dynamics in its fact `dynamics`: all that a viewer must know of it.

    Attributes:
        name: of the dynamics.
        controls: what it is steered by.
        label: of the threshold, as charts write it.
        undecayed_label: of the threshold without decay.
        gradient_from_steps: whether ‖∇L_λ‖ follows from the steps, as `Stability` has it.
        operator: whose sharpness is measured, "" for the Hessian.
        batches: whether a step sees a batch of the samples alone.
    """

    name: str
    controls: tuple[Control, ...]
    label: str
    undecayed_label: str
    gradient_from_steps: bool = True
    operator: str = ""
    batches: bool = False

    @property
    def descends(self) -> bool:
        """Whether it is stable as gradient descent is, of all samples: others may share its label."""
        mine = replace(self, name="", controls=())
        return mine == replace(Description.of("", GRADIENT_DESCENT), controls=())

    @classmethod
    def of(cls, name: str, stability: Stability) -> Description:
        """Describe a dynamics."""
        shared = {
            each.name: getattr(stability, each.name) for each in fields(cls) if each.name != "name"
        }
        return cls(name, **shared)

    @classmethod
    def of_facts(cls, facts: Mapping[str, str]) -> Description:
        """Return that of a run; gradient descent where it says nothing, as it did before 0.3.0.

        Raises:
            ValueError: if the fact is damaged.
        """
        if FACT not in facts:
            return cls.of("gradient-descent", GRADIENT_DESCENT)
        try:
            stated = json.loads(facts[FACT])
            controls = tuple(_control(values) for values in stated.pop("controls"))
            name, label, undecayed_label = (
                str(stated[name]) for name in ("name", "label", "undecayed_label")
            )
            others = _others(cls, stated)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise ValueError(f"the fact `{FACT}` is damaged") from None
        if not {ETA.name, WEIGHT_DECAY.name} <= {control.name for control in controls}:
            raise ValueError(f"the fact `{FACT}` names no η or no λ")
        return cls(name, controls, label, undecayed_label, **others)

    def to_json(self) -> str:
        """Return it as the text of the fact, without a bound that isn't there and what is as usual."""
        controls = [
            {name: value for name, value in vars(control).items() if value != math.inf}
            for control in self.controls
        ]
        usual = {each.name: each.default for each in fields(self)}
        stated = {
            name: value for name, value in vars(self).items() if value != usual.get(name, MISSING)
        }
        return json.dumps({**stated, "controls": controls}, ensure_ascii=False)


def _others(kind: type[Description], stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a fact states of what is as usual where it doesn't. Raises TypeError if it can't be."""
    found = {}
    for each in fields(kind):
        if each.default is not MISSING and each.name in stated:
            found[each.name] = stated[each.name]
            if type(stated[each.name]) is not type(each.default):
                raise TypeError(each.name)
    return found


def _control(values: Mapping[str, Any]) -> Control:
    """Return a control of JSON. Raises TypeError or ValueError if it is none."""
    known = {each.name: each.type for each in fields(Control)}
    for name, value in values.items():
        kinds: Any = {"str": str, "bool": bool}.get(str(known[name]), (int, float))
        if not isinstance(value, kinds):
            raise TypeError(name)
    return Control(**values)


def refuse(
    controls: Mapping[str, object],
    known: Mapping[str, Control] | None = None,
    *,
    by_name: bool = False,
) -> str | None:
    """Return why these controls can't be used together, or None; η and λ are among them.

    Args:
        controls: whatever was given, by name.
        known: the controls that there are; those of the program's own dynamics if left out.
        by_name: whether the sentence calls them as a file does, `eta`; else by their symbols.
    """
    known = CONTROLS if known is None else known
    for name, value in controls.items():
        if name not in known:
            return f"there is no control `{name}`"
        if refusal := known[name].refusal(value, f"`{name}`" if by_name else ""):
            return refusal
    eta, weight_decay = controls["eta"], controls["weight_decay"]
    assert isinstance(eta, (int, float))
    assert isinstance(weight_decay, (int, float))
    if eta * weight_decay >= 1:
        if by_name:
            return (
                f"`eta` × `weight_decay` is {eta * weight_decay:g}, but must be below 1, "
                "or decay alone would flip the sign of the weights"
            )
        return f"ηλ is {eta * weight_decay:g}, but must be below 1"
    return None


def at_start(controls: Iterable[Control], settings: object) -> dict[str, float]:
    """Return controls at step 0, in their order: the settings of their names, as attributes."""
    return {
        control.name: float(getattr(settings, control.name, control.initial))
        for control in controls
    }


def in_force(
    start: Mapping[str, float], changes: Iterable[tuple[int, Mapping[str, float]]], step: float
) -> dict[str, float]:
    """Return the controls that move θ at a step: those of the start, with the changes up to it.

    Args:
        start: at step 0.
        changes: (step, new values by name), in their order.
        step: math.inf for after all of them.
    """
    controls = dict(start)
    for at, values in changes:
        if at <= step:
            controls.update(values)
    return controls


def changed_to(payload: Mapping[str, Any]) -> dict[str, float]:
    """Return what a `control` event of a record sets: its payload has [before, after] by name."""
    return {name: float(change[1]) for name, change in payload.items()}


def turned(value: float, direction: int, factor: float, start: float) -> float:
    """Return a value of either sign one press up (+1) or down (−1).

    Args:
        value: where it is.
        direction: +1 or −1.
        factor: by which its size changes.
        start: its least size; below that it is 0, and beyond 0 its sign is the other.
    """
    if value == 0.0:
        return direction * start
    size = _round(abs(value) * (factor if value * direction > 0 else 1 / factor))
    return 0.0 if size < start * 0.999 else math.copysign(size, value)


def _round(value: float) -> float:
    return float(f"{value:.6g}")
