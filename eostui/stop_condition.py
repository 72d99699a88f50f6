"""What ends a run once it holds: a step, a loss, a phase, S crossing its threshold, an accuracy, rest.

The same text is a setting (`stop_at`), an option (`--stop-at`) and the answer to a key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from eostui.errors import InputError, did_you_mean
from eostui.phase_names import PHASE_NAMES
from eostui.text import parse_number

STEP, LOSS, PHASE, CROSSING = "step", "loss", "phase", "crossing"
ACCURACY, TRAIN_ACCURACY, REST = "accuracy", "train_accuracy", "rest"
#: What people may type for each kind, before its value.
_WORDS = {
    STEP: STEP, "t": STEP, LOSS: LOSS, "l": LOSS, PHASE: PHASE, CROSSING: CROSSING, "crosses": CROSSING,
    "s": CROSSING, ACCURACY: ACCURACY, "acc": ACCURACY, "test": ACCURACY, "train": TRAIN_ACCURACY,
    REST: REST, "settled": REST,
}  # fmt: skip
#: What is typed in several words, as one of them.
_PHRASES = {
    "test accuracy": ACCURACY, "train accuracy": "train", "training accuracy": "train",
    "train_accuracy": "train", "train acc": "train", "at rest": REST,
}  # fmt: skip
#: What can be typed, for the question.
EXAMPLES = (
    "5000 · L 0.01 · edge, or another phase · crossing, of S · accuracy 95 % · train accuracy 99.99 % · "
    "rest +2000 · nothing; several with commas"
)
#: An accuracy is a sum of shares: as much below what is asked for is rounding.
ROUNDING = 1e-9
_WHOLE = 2**53


@dataclass(frozen=True)
class Seen:
    """What is known of a run at its newest step, as far as it is known.

    Attributes:
        step: its number.
        loss: L there; None where it isn't asked for.
        train_accuracy: the share of training samples that is right, as `loss`.
        phase: the present one; None where none can have begun since it was looked at before.
        measured: what was measured at this step, by column.
        crossed: whether S was on the other side of its threshold when it was measured before.
        at_rest: whether it is, by the readings up to this step.
    """

    step: int
    loss: float | None = None
    train_accuracy: float | None = None
    phase: str | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)
    crossed: bool = False
    at_rest: bool = False


@dataclass(frozen=True)
class StopCondition:
    """What ends a run once it holds.

    Attributes:
        kind: STEP, LOSS, PHASE, CROSSING, ACCURACY, TRAIN_ACCURACY or REST.
        value: the step, the loss L or below, the phase's name, or the accuracy or above, a share; of a
            crossing, of S and 2/η − λ from either side, and of rest, nothing.
        after: steps that are taken once it holds.
    """

    kind: str
    value: float | str = ""
    after: int = 0

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> StopCondition | None:
        """Return what an event or a command tells; None for nothing.

        Raises:
            InputError: if it is none.
        """
        condition = cls(content.get("at", ""), content.get("value", ""), content.get("after", 0))
        if not condition.kind and not condition.value:
            return None
        if refusal := condition._refusal():
            raise InputError(refusal)
        return condition

    def _refusal(self) -> str | None:
        """Return why this can't be, or None."""
        value = self.value
        if type(self.after) is not int or not 0 <= self.after < _WHOLE:
            return f"what is taken after it must be a number of steps, but is `{self.after}`"
        if self.kind == PHASE:
            near = did_you_mean(str(value), PHASE_NAMES)
            return None if value in PHASE_NAMES else f"there is no phase `{value}`{near}"
        if self.kind in (CROSSING, REST):
            what = "a crossing of S" if self.kind == CROSSING else "rest"
            return None if value == "" else f"{what} has no value, but `{value}` is given"
        if self.kind not in (STEP, LOSS, ACCURACY, TRAIN_ACCURACY):
            return f"a run can't stop at `{self.kind}`{did_you_mean(str(self.kind), _WORDS)}"
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return f"a run can't stop at {self.kind} `{value}`: it must be a number"
        if self.kind == STEP and (not 0 <= value < _WHOLE or value != int(value)):
            return f"a run can't stop at step {value:g}: steps are whole numbers from 0 on"
        if self.kind == STEP and self.after:
            return f"a run can't stop {self.after} steps after step {value:g}: say at which step"
        if self.kind in (ACCURACY, TRAIN_ACCURACY) and not 0 <= value <= 1:
            whose = "test" if self.kind == ACCURACY else "train"
            return f"a {whose} accuracy is from 0 to 100 %, but {100 * value:g} % is asked for"
        return None

    @property
    def content(self) -> dict[str, Any]:
        """What an event or a command tells of it."""
        value = {} if self.value == "" else {"value": self.value}
        return {"at": self.kind, **value} | ({"after": self.after} if self.after else {})

    @property
    def typed(self) -> str:
        """It as people type it."""
        after = f" +{self.after}" if self.after else ""
        if self.kind in (ACCURACY, TRAIN_ACCURACY):
            whose = "" if self.kind == ACCURACY else "train "
            return f"{whose}accuracy {100 * float(self.value):.10g} %{after}"
        if self.kind in (CROSSING, REST):
            return f"{self.kind}{after}"
        return f"{ {LOSS: 'L '}.get(self.kind, '') }{self.value}{after}"

    def told(self, threshold: str = "its threshold") -> str:
        """Return it in words; `threshold` is what S crosses."""
        texts = {
            STEP: f"step {self.value}", LOSS: f"L ≤ {self.value}", PHASE: f"phase {self.value}",
            CROSSING: f"S crosses {threshold}", REST: "S at rest",
        }  # fmt: skip
        if self.kind in (ACCURACY, TRAIN_ACCURACY):
            whose = "test" if self.kind == ACCURACY else "train"
            texts[self.kind] = f"{whose} accuracy ≥ {100 * float(self.value):g} %"
        return texts[self.kind] + (f", and {self.after} steps" if self.after else "")

    def holds(self, seen: Seen) -> bool:
        """Return whether it holds at a step."""
        if self.kind == STEP:
            return seen.step >= float(self.value)
        if self.kind == LOSS:
            return seen.loss is not None and seen.loss <= float(self.value)
        if self.kind == PHASE:
            return seen.phase == self.value
        if self.kind == CROSSING:
            return seen.crossed
        if self.kind == REST:
            return seen.at_rest
        of_test = seen.measured.get("test_accuracy")
        share = seen.train_accuracy if self.kind == TRAIN_ACCURACY else of_test
        return share is not None and bool(share >= float(self.value) - ROUNDING)


@dataclass(frozen=True)
class Stop:
    """What is to end a run.

    Attributes:
        condition: what it waits for.
        reached: the first step at which that held, None as long as it hasn't.
    """

    condition: StopCondition
    reached: int | None = None

    def over(self, step: int) -> bool:
        """Return whether a run ends that has come to a step."""
        return self.reached is not None and step >= self.reached + self.condition.after

    def held(self, seen: Seen) -> Stop:
        """Return it once more is seen."""
        if self.reached is not None or not self.condition.holds(seen):
            return self
        return replace(self, reached=seen.step)


def parse(text: str) -> tuple[StopCondition, ...]:
    """Return what a person typed, as in EXAMPLES, in its order; () for nothing.

    Raises:
        InputError: if it can't be understood.
    """
    parts = [part for part in re.split(r"[,;]| or ", text) if part.strip()]
    if len(parts) == 1 and parts[0].strip().casefold() == "nothing":
        return ()
    return tuple(dict.fromkeys(_parse_one(part) for part in parts))


def _parse_one(text: str) -> StopCondition:
    typed = " ".join(text.casefold().split())
    after = 0
    if found := re.fullmatch(r"(.*?)\s*(?<![0-9]e)\+\s*([0-9][0-9_e.+]*)(\s*steps?)?", typed):
        typed, more = found[1], parse_number(found[2].replace("_", ""))
        if more != int(more):
            raise InputError(f"`{text.strip()}`: steps are whole numbers, not {more:g}")
        after = int(more)
    for phrase, word in _PHRASES.items():
        typed = re.sub(rf"^{phrase}\b", word, typed)
    phase = typed.removeprefix("phase ")
    if found_phases := [n for n in PHASE_NAMES if n == phase or n.startswith(f"{phase} ")]:
        return StopCondition(PHASE, found_phases[0], after)
    parts = re.match(r"([a-z]*)[\s<>≤≥=]*(.*)", typed)
    assert parts is not None
    word, number = parts[1], parts[2].strip()
    kind = _WORDS.get(word, STEP if not word else "")
    if kind == CROSSING:
        return StopCondition(CROSSING, after=after)
    if kind == REST and not number:
        return StopCondition(REST, after=after)
    if not kind or kind in (PHASE, REST):
        near = did_you_mean(phase, [*PHASE_NAMES, *(word for word in _WORDS if len(word) > 1)])
        raise InputError(f"`{text.strip()}` is nothing to stop at{near or f': {EXAMPLES}'}")
    share = number.endswith("%")
    value = parse_number(number.removesuffix("%"))
    if share and not word:
        kind = ACCURACY
    if kind == STEP and value == int(value):
        value = int(value)
    if kind in (ACCURACY, TRAIN_ACCURACY) and (share or value > 1):
        value = round(value / 100, 14)  # 99.99 % is 0.9999
    condition = StopCondition.of({"at": kind, "value": value, "after": after})
    assert condition is not None
    return condition


def conditions_of(content: Mapping[str, Any]) -> tuple[Stop, ...]:
    """Return what an event or a command asks for: one condition, or several as `any`.

    Raises:
        InputError: if one of them is none.
    """
    several = content.get("any", [content])
    if not isinstance(several, list) or not all(isinstance(each, Mapping) for each in several):
        raise InputError("`any` must list what a run is to stop at")
    stops = []
    for each in several:
        condition, reached = StopCondition.of(each), each.get("reached")
        if condition is not None:
            stops.append(Stop(condition, reached if type(reached) is int else None))
    return tuple(stops)


def content_of(stops: Iterable[Stop]) -> dict[str, Any]:
    """Return what an event or a command tells of them, {} of none."""
    told = [
        stop.condition.content | ({} if stop.reached is None else {"reached": stop.reached})
        for stop in stops
    ]
    return told[0] if len(told) == 1 else {"any": told} if told else {}


def as_typed(conditions: Iterable[StopCondition]) -> str:
    """Return them as people type them."""
    return ", ".join(condition.typed for condition in conditions)


def in_words(conditions: Iterable[StopCondition], threshold: str) -> str:
    """Return them in words; `threshold` is what S crosses."""
    return ", or ".join(condition.told(threshold) for condition in conditions)
