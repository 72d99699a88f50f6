"""From key presses to commands: where η and λ are going, and how to undo it."""

from __future__ import annotations

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
    presses are ten factors.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._asked: tuple[float, float] | None = None
        self._command = ""
        self._undo: list[tuple[float, float]] = []

    @property
    def target(self) -> tuple[float, float]:
        """η and λ as last asked for, or as they are in the run."""
        if self._asked is not None and any(
            event.payload.get("command") == self._command for event in reversed(self.run.events)
        ):
            self._asked = None  # answered: obeyed or refused
        return current_controls(self.run) if self._asked is None else self._asked

    def scale_eta(self, direction: int) -> None:
        """Multiply or divide η by ETA_FACTOR."""
        eta, decay = self.target
        self._send(_round(eta * ETA_FACTOR**direction), decay)

    def scale_decay(self, direction: int) -> None:
        """Multiply or divide λ by DECAY_FACTOR, from and to 0."""
        eta, decay = self.target
        if decay == 0.0:
            scaled = DECAY_START if direction > 0 else 0.0
        else:
            scaled = _round(decay * DECAY_FACTOR**direction)
            scaled = 0.0 if scaled < DECAY_START * 0.999 else scaled
        self._send(eta, scaled)

    def set(self, *, eta: float | None = None, decay: float | None = None) -> None:
        """Ask for exact values. Raises InputError with a sentence for impossible ones."""
        now_eta, now_decay = self.target
        self._send(
            now_eta if eta is None else eta,
            now_decay if decay is None else decay,
        )

    def undo(self) -> None:
        """Return to the values before the last change. Raises InputError if there is none."""
        if not self._undo:
            raise InputError("there is no change of η or λ to undo")
        values = self._undo.pop()
        self._send(*values, remember=False)

    def _send(self, eta: float, decay: float, *, remember: bool = True) -> None:
        before = self.target
        if (eta, decay) == before:
            return
        if not eta > 0:
            raise InputError(f"η is {eta:g}, but must be above 0")
        if not decay >= 0:
            raise InputError(f"λ is {decay:g}, but must not be below 0")
        if eta * decay >= 1:
            raise InputError(f"ηλ would be {eta * decay:g}, but must be below 1")
        self._command = commands.send(self.run.path, "set", eta=eta, weight_decay=decay)
        self._asked = (eta, decay)
        if remember:
            self._undo.append(before)


def current_controls(run: Run) -> tuple[float, float]:
    """Return the η and λ of the newest control change, or those the run began with."""
    eta, decay = run.config.eta, run.config.weight_decay
    for event in run.events:
        if event.kind == "control":
            eta = event.payload.get("eta", (eta, eta))[1]
            decay = event.payload.get("weight_decay", (decay, decay))[1]
    return eta, decay


def _round(value: float) -> float:
    return float(f"{value:.6g}")
