"""How a point moves: the table of dynamics that the program has, and a user's own.

A dynamics of the program is a file with a class, a line of `DYNAMICS`, and its threshold with a line of
`STABILITY` in eostui/stability.py. There are two tables because this one needs torch, and a viewer, which
has only the name and the other one, must not load it. A test of tests/dynamics/test_heavy_ball.py holds
both to the same names.
"""

from __future__ import annotations

from typing import cast

from eostui.config import RunConfig
from eostui.dynamics.adamw import AdamW
from eostui.dynamics.dynamics import Dynamics
from eostui.dynamics.gradient_descent import GradientDescent
from eostui.dynamics.heavy_ball import HeavyBall
from eostui.dynamics.nesterov import Nesterov
from eostui.dynamics.rmsprop import RMSProp
from eostui.dynamics.sgd import SGD
from eostui.dynamics.sphere import SphereSGD
from eostui.errors import InputError, did_you_mean
from eostui.own_code import load_class
from eostui.runs.store.own_columns import dynamics_columns_of
from eostui.schedule import check_schedule
from eostui.stability import CONTROLS, ETA, FACT, WEIGHT_DECAY, Control, Description, Stability

__all__ = ["DYNAMICS", "Dynamics", "dynamics_of"]

#: By the name that a config's `dynamics` gives; `STABILITY` has the same names.
DYNAMICS: dict[str, type[Dynamics]] = {
    kind.name: kind
    for kind in (GradientDescent, HeavyBall, Nesterov, AdamW, RMSProp, SGD, SphereSGD)
}


def dynamics_of(config: RunConfig) -> type[Dynamics]:
    """Return the class that `dynamics` names: of the table, or of a user's own file, which is executed.

    Raises:
        InputError: if there is none, or it can't be steered and recorded.
    """
    name = config.dynamics
    if name in DYNAMICS:
        return DYNAMICS[name]
    if ":" not in name:
        raise InputError(
            f'`dynamics` is "{name}", but must be one of {", ".join(DYNAMICS)}, '
            f'or your own "file.py:Class"{did_you_mean(name, DYNAMICS)}'
        )
    found = cast("type[Dynamics]", load_class(name, "dynamics", Dynamics, config.seed))
    if refusal := _refuse(found):
        raise InputError(f"`dynamics`: {name}: {refusal}")
    known = {control.name: control for control in found.stability.steered}
    try:
        check_schedule(found.stability.at_start(config), config.controls, known)
    except ValueError as error:
        raise InputError(f"with the dynamics {name}: {error}") from None
    return found


def _refuse(own: type[Dynamics]) -> str | None:
    """Return why a user's dynamics can't be used, or None."""
    if not isinstance(getattr(own, "name", None), str) or not own.name.isprintable():
        return 'it has no name: give the class a `name = "…"`'
    if own.name in DYNAMICS:  # by that name a viewer takes the program's threshold
        return f"its name `{own.name}` is the program's: give the class another"
    if not isinstance(getattr(own, "stability", None), Stability):
        return "it has no threshold: give the class a `stability` (eostui.stability.Stability)"
    stated: tuple[object, ...] = own.stability.controls
    for control in stated:
        if not isinstance(control, Control):
            return f"{control!r} among its controls is no eostui.stability.Control"
    names = [control.name for control in own.stability.controls]
    if not {ETA.name, WEIGHT_DECAY.name} <= {*names}:
        return "its `stability` must have ETA and WEIGHT_DECAY among its controls"
    if "kind" in names:  # of a command, beside the controls that it sets
        return "its control `kind` can't have that name"
    for name in names:  # its value at the start would be that setting's
        if name not in CONTROLS and (name in RunConfig.model_fields or hasattr(RunConfig, name)):
            return f"its control can't be called `{name}`: that is a setting"
    try:
        dynamics_columns_of({FACT: Description.of(own.name, own.stability).to_json()})
    except ValueError as error:
        return f"its controls can't be recorded: {error}"
    return None
