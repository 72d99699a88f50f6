"""From key presses to commands: where the controls of a run are going, and how to undo it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from eostui.errors import InputError
from eostui.runs.analysis.controls import controls_at, description_of, steered_by
from eostui.runs.analysis.switched_probes import SWITCHED
from eostui.runs.ancestry import forked_at
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.runs.store.rows import Event
from eostui.stability import ETA, INTERVENTIONS, WEIGHT_DECAY, Control, intervenes, refuse
from eostui.tui.keys import FURTHER


class _Change(NamedTuple):
    """A change of a control that this viewer asked for: the command's id, and what it was before."""

    command: str
    name: str
    before: float


class _Made(NamedTuple):
    """A change of controls on record: the id of the command that it obeys, "" for none."""

    event: Event
    command: str
    inherited: bool
    controls: Mapping[str, Control]

    def __str__(self) -> str:
        """Say what changed and whose change it is."""
        payload = self.event.payload
        changes = ", ".join(
            f"{control.symbol} {_told(*payload[name])}"
            for name, control in self.controls.items()
            if name in payload
        )
        whose = "is the run's own schedule"
        if self.inherited:
            whose = "came with the fork"
        elif self.command:
            process = "".join(self.command.split("-")[1:2]) or "unknown"
            whose = f"is another viewer's (process {process})"
        return f"{changes} at step {self.event.step} {whose}"


def _told(before: float, after: float) -> str:
    return f"{before:g} → {after:g}" if after != before else f"held at {after:g}"


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
        self._chosen = 0

    @property
    def controls(self) -> dict[str, Control]:
        """What the run is steered by: η, λ, what else its dynamics has, and interventions."""
        return {control.name: control for control in steered_by(self.run)}

    @property
    def further(self) -> list[Control]:
        """What it is steered by beside η and λ, the chosen one first; nothing where these are all."""
        controls = [each for each in self.controls.values() if each not in (ETA, WEIGHT_DECAY)]
        at = self._chosen % max(len(controls), 1)
        return controls[at:] + controls[:at]

    def choose_next(self) -> Control:
        """Choose the next of the further controls; return it. Raises InputError if there is none."""
        self._chosen += 1
        return self.named(FURTHER)

    @property
    def hinted(self) -> str:
        """The symbol of the further control where it is the dynamics' own, or one of an intervention
        that acts; "" where it needs no hint, and without one."""
        for control in self.further[:1]:
            if control not in INTERVENTIONS or intervenes(self.target):
                return control.symbol
        return ""

    def named(self, name: str) -> Control:
        """Return a control by name, FURTHER for the chosen further one.

        Raises:
            InputError: if there is no further one.
        """
        if name != FURTHER:
            return self.controls[name]
        if not self.further:
            raise InputError(
                f"the dynamics {description_of(self.run).name} is steered by {ETA.symbol} and "
                f"{WEIGHT_DECAY.symbol} alone"
            )
        return self.further[0]

    @property
    def target(self) -> dict[str, float]:
        """The controls as last asked for, or as they are in the run, by name."""
        if self._asked and self._answer(self._command):
            self._asked = {}
        return controls_at(self.run) | self._asked

    def turn(self, name: str, direction: int) -> None:
        """Ask for a control one key press up (+1) or down (−1)."""
        control, before = self.named(name), self.target
        value = control.turned(before[control.name], direction)
        if value != before[control.name]:
            self._change(control.name, value)

    def set(self, name: str, value: float) -> None:
        """Ask for an exact value, also for the present one: a warm-up ends there.

        Raises:
            InputError: with a sentence, for an impossible one.
        """
        self._change(name, value, remember=value != self.target[name])

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
            raise InputError(f"there is no change of a control to undo{whose}")
        last = self._undo[-1]
        since = itertools.takewhile(lambda made: made.command != last.command, self._made())
        theirs = [made for made in since if made.command not in self._sent]
        if not self._answer(last.command):
            theirs = []  # all on record was there before
        for made in theirs:
            if last.name in made.event.payload:
                raise InputError(f"not undone: {made}, after the last change from here")
        self._undo.pop()
        self._change(last.name, last.before, remember=False)
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

    def switch_probe(self, name: str, *, on: bool) -> None:
        """Ask for a probe to measure, or to measure no more."""
        self.send(SWITCHED, probe=name, on=on)

    def send(self, kind: str, **content: Any) -> str:
        """Send a command with what it says; return its id.

        Raises:
            EostuiError: if it can't be written.
        """
        return commands.send(self.run.path, kind, **content)

    def _answer(self, command: str) -> str:
        """Return how a command was answered: obeyed, refused, or "" as long as it isn't."""
        for event in reversed(self.run.events):
            if event.payload.get("command") == command:
                return event.kind
        return ""

    def _made(self) -> Iterator[_Made]:
        """Yield the changes of controls that are on record, the newest first."""
        following, fork = None, forked_at(self.run)
        for event in reversed(self.run.events):
            if event.kind == "control":
                asked = following is not None and following.payload.get("what") == "set"
                command = str(following.payload["command"]) if following and asked else ""
                yield _Made(
                    event, command, fork is not None and event.step <= fork[1], self.controls
                )
            following = event

    def _change(self, name: str, value: float, *, remember: bool = True) -> None:
        target = self.target
        before = target[name]
        if refusal := refuse(target | {name: value}, self.controls):
            raise InputError(refusal)
        self._command = commands.send(self.run.path, "set", **{name: value})
        self._sent.add(self._command)
        self._asked[name] = value
        if remember:
            self._undo.append(_Change(self._command, name, before))
