"""From key presses to the oscillator's settings: what is chosen, what it becomes, how to undo it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from eostui import oscillator_presets, presets
from eostui.errors import InputError
from eostui.oscillator_presets import OscillatorPreset, Simulation
from eostui.runs.run import Run
from eostui.stability import CONTROLS, turned, two_over_eta

_FACTOR = 1.25
#: A bounce taken from a run starts at this share of √(2|α|), the scale of its amplitude.
_SEED = 0.01
_NEEDED = ("eta", "weight_decay", "alpha", "beta", "g", "g_u", "sharpness")


@dataclass(frozen=True)
class Setting:
    """A setting that is chosen first and then changed.

    Attributes:
        name: as in `Simulation`.
        sign: its symbol.
        question: what it is, asked for when it is typed.
        start: its least size but 0, where a press takes it from 0.
    """

    name: str
    sign: str
    question: str
    start: float


#: Learning rate and weight decay have keys of their own, on every screen.
SETTINGS = (
    Setting("alpha", "α", "progressive sharpening α = βα/β, such as 2/3e4", 1e-9),
    Setting("beta", "β", "β = ‖∇S‖²", 1.0),
    Setting("g", "g", "interaction term g = ⟨θ*, ∇S⟩", 0.01),
    Setting("g_x", "g_x", "g_x = ⟨θ*, u⟩, which moves the centre of the bounce", 0.01),
    Setting("x", "x₀", "x at step 0", 1e-8),
    Setting("y", "y₀", "y = S − 2/η at step 0", 0.01),
    Setting("steps", "steps", "steps of the map", 10),
)


class OscillatorSettings:
    """The settings of the oscillator on the screen, where they came from, and those before.

    A change that isn't valid raises InputError and changes nothing.
    """

    def __init__(self, preset: OscillatorPreset) -> None:
        self.preset = preset
        self.simulation = preset.simulation
        self.chosen = 0
        self._place = preset.name
        self._before: list[tuple[OscillatorPreset, Simulation]] = []

    @property
    def name(self) -> str:
        """The preset's name, with a star where settings differ from it."""
        return self.preset.name + ("" if self.simulation == self.preset.simulation else "*")

    @property
    def setting(self) -> Setting:
        """The chosen setting."""
        return SETTINGS[self.chosen]

    def value(self, name: str) -> float:
        """Return the present value of a setting."""
        return float(self.simulation.settings()[name])

    def choose(self, offset: int) -> None:
        """Choose the setting `offset` places further, going round."""
        self.chosen = (self.chosen + offset) % len(SETTINGS)

    def set(self, name: str, value: float) -> None:
        """Give a setting a value. Raises InputError."""
        values: dict[str, Any] = {name: value}
        if name == "steps" and float(value).is_integer():
            values = {name: int(value)}
        fixed = self.simulation.parameters.sharpness
        if name == "eta" and fixed is not None and value > 0:
            # S* is a network's own: another η moves 2/η, and leaves S at step 0 where it is
            before = two_over_eta(self.value("eta"))
            values["y"] = self.simulation.y + before - two_over_eta(value)
        self._change(self.preset, self.simulation.changed(values, "oscillator"))

    def turn(self, name: str, direction: int) -> None:
        """Take η or λ one press up or down."""
        self.set(name, CONTROLS[name].turned(self.value(name), direction))

    def turn_chosen(self, direction: int) -> None:
        """Take the chosen setting one press up or down."""
        setting = self.setting
        value = turned(self.value(setting.name), direction, _FACTOR, setting.start)
        self.set(setting.name, round(value) if setting.name == "steps" else value)

    def step_preset(self, offset: int) -> None:
        """Take the next or previous preset. Raises InputError if that one isn't valid."""
        self._place = presets.neighbour(self._place, offset, oscillator_presets.available())
        self.take(oscillator_presets.load(self._place))

    def take(self, preset: OscillatorPreset) -> None:
        """Take a preset's settings."""
        self._change(preset, preset.simulation)

    def reset(self) -> None:
        """Return to the preset as it is."""
        self.take(self.preset)

    def undo(self) -> None:
        """Return to the settings before the last change. Raises InputError without one."""
        if not self._before:
            raise InputError("there is no change to undo")
        self.preset, self.simulation = self._before.pop()

    def _change(self, preset: OscillatorPreset, simulation: Simulation) -> None:
        if (preset, simulation) != (self.preset, self.simulation):
            self._before.append((self.preset, self.simulation))
            self.preset, self.simulation = preset, simulation


def newest_reading(run: Run, steps: int) -> OscillatorPreset:
    """Return the oscillator at the newest measurement of a run, as a preset to come back to.

    θ* is the measured θ: S* = S, g_x = ⟨θ, u⟩, and y starts at S − 2/η. There x = 0, from where
    nothing may ever move it, so it starts at a hundredth of √(2|α|).

    Args:
        run: a run of any state.
        steps: of the map.

    Raises:
        InputError: before the first measurement, or if the map can't take what was measured.
    """
    columns = np.stack([run.measured[name] for name in _NEEDED])
    rows = np.flatnonzero(np.isfinite(columns).all(axis=0))
    if not len(rows):
        raise InputError(f"{run.path.name} has no measurement of S, α, β and g yet")
    row = int(rows[-1])
    values = dict(zip(_NEEDED, columns[:, row].tolist(), strict=True))
    values["g_x"] = values.pop("g_u")
    values["x"] = _SEED * math.sqrt(2 * abs(values["alpha"])) or _SEED
    values["y"] = values["sharpness"] - two_over_eta(values["eta"])
    name = f"{run.path.name} at step {int(run.measured['step'][row])}"
    simulation = Simulation.build({**values, "steps": steps}, name)
    return OscillatorPreset(name, run.path, "", simulation)
