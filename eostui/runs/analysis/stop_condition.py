"""At what a run is to stop by itself: a step, a loss, a phase, S crossing its threshold, an accuracy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eostui.errors import InputError, did_you_mean
from eostui.runs.analysis.phases import PHASES
from eostui.runs.store.rows import Event
from eostui.text import parse_number

#: Events: what a run is to stop at, and that it was reached. What was asked of a run isn't of its forks.
ASKED, REACHED = "stop_at", "reached"
_FORKED = "forked"

STEP, LOSS, PHASE, CROSSING, ACCURACY = "step", "loss", "phase", "crossing", "accuracy"
#: What people may type for each kind, before its value.
_WORDS = {
    STEP: STEP, "t": STEP, LOSS: LOSS, "l": LOSS, PHASE: PHASE, CROSSING: CROSSING, "crosses": CROSSING,
    "s": CROSSING, ACCURACY: ACCURACY, "acc": ACCURACY, "test": ACCURACY,
}  # fmt: skip
#: What can be typed, for the question.
EXAMPLES = "5000 · L 0.01 · edge, or another phase · crossing, of S · accuracy 95 % · nothing"


@dataclass(frozen=True)
class StopCondition:
    """What ends a run once it holds.

    Attributes:
        kind: STEP, LOSS, PHASE, CROSSING or ACCURACY.
        value: the step, the loss L or below, the phase's name, or the test accuracy or above, a share; of
            a crossing, of S and 2/η − λ from either side, nothing.
    """

    kind: str
    value: float | str = ""

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> StopCondition | None:
        """Return what an event or a command tells; None for nothing.

        Raises:
            InputError: if it is none.
        """
        condition = cls(content.get("at", ""), content.get("value", ""))
        if not condition.kind and not condition.value:
            return None
        if refusal := condition._refusal():
            raise InputError(refusal)
        return condition

    def _refusal(self) -> str | None:
        """Return why this can't be, or None."""
        value = self.value
        if self.kind == PHASE:
            names = [phase.name for phase in PHASES]
            near = did_you_mean(str(value), names)
            return None if value in names else f"there is no phase `{value}`{near}"
        if self.kind == CROSSING:
            return None if value == "" else f"a crossing of S has no value, but `{value}` is given"
        if self.kind not in (STEP, LOSS, ACCURACY):
            return f"a run can't stop at `{self.kind}`{did_you_mean(str(self.kind), _WORDS)}"
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return f"a run can't stop at {self.kind} `{value}`: it must be a number"
        if self.kind == STEP and (value < 0 or value != int(value)):
            return f"a run can't stop at step {value:g}: steps are whole numbers from 0 on"
        if self.kind == ACCURACY and not 0 <= value <= 1:
            return f"a test accuracy is from 0 to 100 %, but {100 * value:g} % is asked for"
        return None

    @property
    def content(self) -> dict[str, Any]:
        """What an event or a command tells of it."""
        return {"at": self.kind} | ({} if self.value == "" else {"value": self.value})

    @property
    def typed(self) -> str:
        """It as people type it."""
        if self.kind == ACCURACY:
            return f"accuracy {100 * float(self.value):g} %"
        return {LOSS: f"L {self.value}", CROSSING: CROSSING}.get(self.kind, f"{self.value}")

    def told(self, threshold: str = "its threshold") -> str:
        """Return it in words; `threshold` is what S crosses."""
        texts = {
            STEP: f"step {self.value}", LOSS: f"L ≤ {self.value}", PHASE: f"phase {self.value}",
            CROSSING: f"S crosses {threshold}",
        }  # fmt: skip
        if self.kind == ACCURACY:
            return f"test accuracy ≥ {100 * float(self.value):g} %"
        return texts[self.kind]

    def holds(
        self,
        step: int,
        loss: float | None,
        phase: str | None,
        measured: Mapping[str, Any],
        crossed: bool,
    ) -> bool:
        """Return whether it holds at a step.

        Args:
            step: the newest.
            loss: L there; None where it isn't asked for.
            phase: the present one.
            measured: what was measured at this step, by column.
            crossed: whether S was on the other side of its threshold when it was measured before.
        """
        if self.kind == STEP:
            return step >= float(self.value)
        if self.kind == LOSS:
            return loss is not None and loss <= float(self.value)
        if self.kind == PHASE:
            return phase == self.value
        if self.kind == CROSSING:
            return crossed
        return bool(measured.get("test_accuracy", math.nan) >= float(self.value))


def parse(text: str) -> StopCondition | None:
    """Return what a person typed, as in EXAMPLES; None for nothing.

    Raises:
        InputError: if it can't be understood.
    """
    typed = " ".join(text.casefold().replace("test accuracy", ACCURACY).split())
    if not typed:
        return None
    names = [phase.name for phase in PHASES]
    phase = typed.removeprefix("phase ")
    if found := [name for name in names if name == phase or name.startswith(f"{phase} ")]:
        return StopCondition(PHASE, found[0])
    parts = re.match(r"([a-z]*)[\s<>≤≥=]*(.*)", typed)
    assert parts is not None
    word, number = parts[1], parts[2].strip()
    kind = _WORDS.get(word, STEP if not word else "")
    if kind == CROSSING:
        return StopCondition(CROSSING)
    if not kind or kind == PHASE:
        near = did_you_mean(phase, [*names, *(word for word in _WORDS if len(word) > 1)])
        raise InputError(f"`{text.strip()}` is nothing to stop at{near or f': {EXAMPLES}'}")
    share = number.endswith("%")
    value = parse_number(number.removesuffix("%"))
    if share and not word:
        kind = ACCURACY
    if kind == STEP and value == int(value):
        value = int(value)
    if kind == ACCURACY and (share or value > 1):
        value /= 100
    return StopCondition.of({"at": kind, "value": value})


#: Kinds of the events that `pending` looks at.
KINDS = (ASKED, REACHED, _FORKED)


def pending(events: Sequence[Event]) -> StopCondition | None:
    """Return at what a run is still to stop, by its events in order; None for nothing."""
    for event in reversed(events):
        if event.kind in (REACHED, _FORKED):
            return None
        if event.kind == ASKED:
            try:
                return StopCondition.of(event.payload)
            except InputError:  # of a later version, or not the program's own
                return None
    return None
