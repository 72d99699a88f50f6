"""Oscillator presets: named, commented TOML files that say what `eostui simulate` computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eostui import presets
from eostui.errors import InputError, did_you_mean
from eostui.oscillator import Parameters
from eostui.oscillator.orbit import ESCAPED
from eostui.oscillator.parameters import check
from eostui.presets import PresetFile, head_comment
from eostui.text import parse_toml

DEFAULT_PRESET = "oscillator-damped"
DEFAULT_STEPS = 2000
#: What an orbit of so many steps takes, 3 GB in all, is still there on most machines.
MOST_STEPS = 100_000_000
#: Every setting; those without a default must be given.
KEYS = (*Parameters.paper_names(), "x", "y", "steps")
_DEFAULTS = {"g": 0.0, "g_x": 0.0, "gradient_u": 0.0, "sharpness": None, "y": 0.0,
             "steps": DEFAULT_STEPS}  # fmt: skip


@dataclass(frozen=True)
class Simulation:
    """One orbit of the oscillator: numbers as parameters, the state at step 0, how many steps.

    Attributes:
        parameters: one point.
        x: ⟨u, θ − θ*⟩ at step 0.
        y: S − 2/η at step 0.
        steps: how many to take.
    """

    parameters: Parameters
    x: float
    y: float
    steps: int

    @property
    def start(self) -> tuple[float, float]:
        """x and q at step 0, as the map takes them."""
        return self.x, float(self.y - self.parameters.offset)

    @classmethod
    def build(cls, values: Mapping[str, Any], where: str) -> Simulation:
        """Make one of flat settings; `where` names their source in the error.

        Raises:
            InputError: with one sentence that names the key, the value and what would be right.
        """
        for key, value in values.items():
            if key not in KEYS:
                raise InputError(f"{where}: unknown key `{key}`{did_you_mean(key, KEYS)}")
            wanted = "a whole number" if key == "steps" else "a number"
            if isinstance(value, bool) or not isinstance(
                value, int if key == "steps" else int | float
            ):
                shown = f'"{value}"' if isinstance(value, str) else value
                raise InputError(f"{where}: `{key}` is {shown}, but must be {wanted}")
        known = {**_DEFAULTS, **values}
        missing = [key for key in KEYS if key not in known]
        if missing:
            raise InputError(f"{where}: `{missing[0]}` is missing")
        numbers: dict[str, Any] = {k: v for k, v in known.items() if k != "steps"}
        numbers |= {k: float(v) for k, v in numbers.items() if v is not None}
        try:
            parameters = Parameters(**{name: numbers[name] for name in Parameters.paper_names()})
            for key in ("x", "y"):
                check(numbers[key], f"`{key}`", f"within ±{ESCAPED:g}", lambda v: abs(v) <= ESCAPED)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if not 1 <= known["steps"] <= MOST_STEPS:
            raise InputError(
                f"{where}: `steps` is {known['steps']}, but must be from 1 to {MOST_STEPS}"
            )
        return cls(parameters, numbers["x"], numbers["y"], known["steps"])

    def settings(self) -> dict[str, Any]:
        """Return the flat settings that `build` takes."""
        known = {name: getattr(self.parameters, name) for name in Parameters.paper_names()}
        given = {name: value for name, value in known.items() if value is not None}
        return {**given, "x": self.x, "y": self.y, "steps": self.steps}

    def changed(self, values: Mapping[str, Any], where: str = "command line") -> Simulation:
        """Return a copy with some settings replaced, validated anew. Raises InputError."""
        return self.build({**self.settings(), **values}, where)


@dataclass(frozen=True)
class OscillatorPreset(PresetFile):
    """A preset of the oscillator, with its simulation."""

    simulation: Simulation


def available() -> dict[str, Path]:
    """Return the files of all oscillator presets by name; the user's own hide shipped ones."""
    return presets.available("oscillator")


def load(name_or_path: str) -> OscillatorPreset:
    """Load an oscillator preset by its name, or by the path of its file.

    Raises:
        InputError: if there is none (with the nearest name), or it isn't valid (with the key).
    """
    known = available()
    path, text, where = presets.read(
        name_or_path, known, "oscillator preset", f"there are {', '.join(known)}"
    )
    simulation = Simulation.build(parse_toml(text, where), where)
    return OscillatorPreset(path.stem, path, head_comment(text), simulation)
