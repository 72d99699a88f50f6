"""From key presses to commands: where η and λ are going, and how to undo it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from eostui.errors import InputError
from eostui.runs.ancestry import forked_at
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.runs.store.rows import Event
from eostui.stability import refuse

ETA_FACTOR = 1.1
DECAY_FACTOR = 1.25
#: Where λ begins when turned up from 0; below this it is turned off.
DECAY_START = 1e-4


_SIGNS = {"eta": "η", "weight_decay": "λ"}


class _Change(NamedTuple):
    """A change of η or λ that this viewer asked for: the command's id, and what it was before."""

    command: str
    key: str
    before: float


class _Made(NamedTuple):
    """A change of η or λ on record: the id of the command that it obeys, "" for none."""

    event: Event
    command: str
    inherited: bool

    def __str__(self) -> str:
        """Say what changed and whose change it is."""
        changes = ", ".join(
            f"{sign} {self.event.payload[key][0]:g} → {self.event.payload[key][1]:g}"
            for key, sign in _SIGNS.items()
            if key in self.event.payload
        )
        whose = "is the run's own schedule"
        if self.inherited:
            whose = "came with the fork"
        elif self.command:
            process = "".join(self.command.split("-")[1:2]) or "unknown"
            whose = f"is another viewer's (process {process})"
        return f"{changes} at step {self.event.step} {whose}"


class Steering:
    """Sends commands to one run, whichever is shown by then, and remembers them.

    A press builds on what was last asked for, not on what was last seen in the run: ten quick
    presses are ten factors, and two of the space bar pause and go on. What another viewer changed
    is left as it is, by undo too.

    Attributes:
        run: the run as it was last read.
        trusted: whether it was started here: the code that it names may be executed then.
    """

    def __init__(self, run: Run, *, trusted: bool = False) -> None:
        self.run = run
        self.trusted = trusted
        self._asked: dict[str, float] = {}
        self._command = ""
        self._sent: set[str] = set()
        self._undo: list[_Change] = []
        self._pause = ("", False)

    @property
    def target(self) -> tuple[float, float]:
        """η and λ as last asked for, or as they are in the run."""
        if self._asked and self._answer(self._command):
            self._asked = {}
        eta, decay = current_controls(self.run)
        return self._asked.get("eta", eta), self._asked.get("weight_decay", decay)

    def scale_eta(self, direction: int) -> None:
        """Multiply or divide η by ETA_FACTOR."""
        self._change("eta", scaled_eta(self.target[0], direction))

    def scale_decay(self, direction: int) -> None:
        """Multiply or divide λ by DECAY_FACTOR, from and to 0."""
        self._change("weight_decay", scaled_decay(self.target[1], direction))

    def set_eta(self, value: float) -> None:
        """Ask for an exact η. Raises InputError with a sentence for an impossible one."""
        self._change("eta", value)

    def set_decay(self, value: float) -> None:
        """Ask for an exact λ. Raises InputError with a sentence for an impossible one."""
        self._change("weight_decay", value)

    def undo(self) -> str:
        """Return to the value before this viewer's last change.

        Returns:
            Whose a later change is, which stays; "" without one.

        Raises:
            InputError: if there is none, or another viewer has changed the same value since.
        """
        while self._undo and self._answer(self._undo[-1].command) == "refused":
            self._undo.pop()
        if not self._undo:
            newest = next(self._made(), None)
            whose = "" if newest is None or newest.command in self._sent else f" here: {newest}"
            raise InputError(f"there is no change of η or λ to undo{whose}")
        last = self._undo[-1]
        since = itertools.takewhile(lambda made: made.command != last.command, self._made())
        theirs = [made for made in since if made.command not in self._sent]
        if not self._answer(last.command):
            theirs = []  # all on record was there before
        for made in theirs:
            if last.key in made.event.payload:
                raise InputError(f"not undone: {made}, after the last change from here")
        self._undo.pop()
        self._change(last.key, last.before, remember=False)
        return f"{theirs[0]}, and stays" if theirs else ""

    @property
    def paused(self) -> bool:
        """Whether the run waits, or will once it has obeyed what was last asked."""
        command, wanted = self._pause
        if command and not self._answer(command):
            return wanted
        for event in reversed(self.run.events):
            if event.kind in ("paused", "resumed", "continued", "forked"):
                return event.kind == "paused"
        return False

    def pause(self, wanted: bool) -> None:
        """Ask the run to wait, or to go on."""
        self.asked_to_pause(self.send("pause" if wanted else "resume"), wanted)

    def asked_to_pause(self, command: str, wanted: bool) -> None:
        """Take note of a command that was sent before the run could be read."""
        self._pause = command, wanted

    def single_step(self) -> None:
        """Ask for one step; the run waits then."""
        if not self.paused:
            self.pause(True)
        self.send("step")

    def send(self, kind: str) -> str:
        """Send a command; return its id.

        Raises:
            EostuiError: if it can't be written.
        """
        return commands.send(self.run.path, kind)

    def _answer(self, command: str) -> str:
        """Return how a command was answered: obeyed, refused, or "" as long as it isn't."""
        for event in reversed(self.run.events):
            if event.payload.get("command") == command:
                return event.kind
        return ""

    def _made(self) -> Iterator[_Made]:
        """Yield the changes of η and λ that are on record, the newest first."""
        following, fork = None, forked_at(self.run)
        for event in reversed(self.run.events):
            if event.kind == "control":
                asked = following is not None and following.payload.get("what") == "set"
                command = str(following.payload["command"]) if following and asked else ""
                yield _Made(event, command, fork is not None and event.step <= fork[1])
            following = event

    def _change(self, key: str, value: float, *, remember: bool = True) -> None:
        wanted = dict(zip(("eta", "weight_decay"), self.target, strict=True))
        before = wanted[key]
        if value == before:
            return
        eta, decay = (wanted | {key: value}).values()
        if refusal := refuse({"eta": eta, "weight_decay": decay}):
            raise InputError(refusal)
        self._command = commands.send(self.run.path, "set", **{key: value})
        self._sent.add(self._command)
        self._asked[key] = value
        if remember:
            self._undo.append(_Change(self._command, key, before))


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
