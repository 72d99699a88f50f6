"""From key presses to commands: where η and λ are going, and how to undo it."""

from __future__ import annotations

import math

from eostui.errors import InputError
from eostui.runs import commands
from eostui.runs.run import Run

ETA_FACTOR = 1.1
DECAY_FACTOR = 1.25
#: Where λ begins when turned up from 0; below this it is turned off.
DECAY_START = 1e-4


class Steering:
    """Sends control changes of one run and remembers them.

    A press builds on the last value asked for, not on the last one seen in the run: ten quick
    presses are ten factors. What another viewer changed is left as it is, by undo too.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._asked: dict[str, float] = {}
        self._command = ""
        self._undo: list[tuple[str, float]] = []

    @property
    def target(self) -> tuple[float, float]:
        """η and λ as last asked for, or as they are in the run."""
        if self._asked and any(
            event.payload.get("command") == self._command for event in reversed(self.run.events)
        ):
            self._asked = {}  # answered: obeyed or refused
        eta, decay = current_controls(self.run)
        return self._asked.get("eta", eta), self._asked.get("weight_decay", decay)

    def scale_eta(self, direction: int) -> None:
        """Multiply or divide η by ETA_FACTOR."""
        self._send("eta", scaled_eta(self.target[0], direction))

    def scale_decay(self, direction: int) -> None:
        """Multiply or divide λ by DECAY_FACTOR, from and to 0."""
        self._send("weight_decay", scaled_decay(self.target[1], direction))

    def set_eta(self, value: float) -> None:
        """Ask for an exact η. Raises InputError with a sentence for an impossible one."""
        self._send("eta", value)

    def set_decay(self, value: float) -> None:
        """Ask for an exact λ. Raises InputError with a sentence for an impossible one."""
        self._send("weight_decay", value)

    def undo(self) -> None:
        """Return to the value before this viewer's last change. Raises InputError without one."""
        if not self._undo:
            raise InputError("there is no change of η or λ to undo")
        self._send(*self._undo.pop(), remember=False)

    def _send(self, key: str, value: float, *, remember: bool = True) -> None:
        wanted = dict(zip(("eta", "weight_decay"), self.target, strict=True))
        before = wanted[key]
        if value == before:
            return
        eta, decay = (wanted | {key: value}).values()
        if not eta > 0:
            raise InputError(f"η is {eta:g}, but must be above 0")
        if not decay >= 0:
            raise InputError(f"λ is {decay:g}, but must not be below 0")
        if eta * decay >= 1:
            raise InputError(f"ηλ would be {eta * decay:g}, but must be below 1")
        self._command = commands.send(self.run.path, "set", **{key: value})
        self._asked[key] = value
        if remember:
            self._undo.append((key, before))


def current_controls(run: Run) -> tuple[float, float]:
    """Return the η and λ of the newest control change, or those the run began with."""
    eta, decay = run.config.eta, run.config.weight_decay
    for event in run.events:
        if event.kind == "control":
            eta = event.payload.get("eta", (eta, eta))[1]
            decay = event.payload.get("weight_decay", (decay, decay))[1]
    return eta, decay


def scaled_eta(eta: float, direction: int) -> float:
    """Return η one press up (+1) or down (−1)."""
    return _round(eta * ETA_FACTOR**direction)


def scaled_decay(decay: float, direction: int) -> float:
    """Return λ one press up (+1) or down (−1), from and to 0."""
    return max(scaled(decay, direction, DECAY_FACTOR, DECAY_START), 0.0)


def scaled(value: float, direction: int, factor: float, start: float) -> float:
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
