"""What decides an experiment: a reading set against a number, or against another reading."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    PositiveInt,
    model_validator,
)

from eostui.experiments.readings import READINGS, NotReadError, Row, Rows, Value, check

#: Verdicts, of a criterion and of an experiment.
AGREES: Final = "agrees"
DIFFERS: Final = "differs"
UNDECIDED: Final = "undecided"
Verdict = Literal["agrees", "differs", "undecided"]
#: Standard errors by which a value has to clear the margin.
ERRORS = 2.0


class Compared(BaseModel):
    """A reading that another is set against, of the same members unless `where` says which."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reading: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    where: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _exists(self) -> Compared:
        check(self.reading, self.arguments)
        return self

    def members(self, rows: Rows) -> Rows:
        """Return the members that it is of."""
        return Rows(tuple(row for row in rows.rows if _passes(row, self.where)), rows.settings)


class Criterion(Compared):
    """One of the conditions of an experiment's verdict.

    With `above`, the reading has to exceed `value` by more than `margin`; short of it by more than
    that it differs; in between nothing is decided. `below` mirrors this. With `near` it has to lie
    within `margin` of it. Two standard errors over seeds, where they are known, have to clear the
    bound too.
    """

    says: str = Field(min_length=1, description="what it asks, in words")
    must_be: Literal["above", "below", "near"]
    value: FiniteFloat | Compared
    margin: NonNegativeFloat = 0.0
    least_seeds: PositiveInt = 1
    least_members: PositiveInt = 1

    @model_validator(mode="after")
    def _is_of_use(self) -> Criterion:
        if self.must_be == "near" and not self.margin:
            raise ValueError("`near` needs a `margin` above 0: how near it must be")
        return self

    def readings(self) -> Iterator[Compared]:
        """Yield the readings that it takes."""
        yield self
        if isinstance(self.value, Compared):
            yield self.value


@dataclass(frozen=True)
class Judgement:
    """What a criterion came to.

    Attributes:
        criterion: which.
        verdict: agrees, differs or undecided.
        why: why nothing is decided; "" where it is.
        value: what was read; None where it couldn't be.
        wanted: what it was set against; NaN where that couldn't be read.
        left_out: a line for each member without a value.
    """

    criterion: Criterion
    verdict: Verdict
    why: str = ""
    value: Value | None = None
    wanted: float = math.nan
    left_out: tuple[str, ...] = ()

    def content(self) -> dict[str, Any]:
        """Return it for JSON, the criterion with it."""
        read = self.value
        return {
            "criterion": self.criterion.model_dump(mode="json"),
            "verdict": self.verdict,
            "why": self.why,
            "value": read.value if read else math.nan,
            "error": read.error if read else math.nan,
            "wanted": self.wanted,
            "seeds": read.seeds if read else 0,
            "members": read.members if read else 0,
            "left_out": list(self.left_out),
        }


def judged(criterion: Criterion, rows: Rows) -> Judgement:
    """Return what a criterion comes to over the members of a sweep."""
    value: Value | None = None
    wanted, error = math.nan, 0.0
    try:
        value = _read(criterion, rows)
        left_out = value.left_out
        if isinstance(criterion.value, Compared):
            other = _read(criterion.value, rows)
            wanted, error = other.value, _known(other.error)
            left_out = tuple(dict.fromkeys((*left_out, *other.left_out)))
        else:
            wanted = criterion.value
    except NotReadError as reason:
        return Judgement(criterion, UNDECIDED, str(reason), value, wanted, reason.left_out)
    verdict, why = _verdict(criterion, value, wanted, error)
    return Judgement(criterion, verdict, why, value, wanted, left_out)


def together(judgements: tuple[Judgement, ...]) -> Verdict:
    """Return an experiment's verdict: one part that differs decides, then one that is undecided."""
    found = {each.verdict for each in judgements}
    if DIFFERS in found:
        return DIFFERS
    return UNDECIDED if UNDECIDED in found or not found else AGREES


def _read(compared: Compared, rows: Rows) -> Value:
    chosen = compared.members(rows)
    if not chosen.rows:
        told = ", ".join(f"{key} {wanted}" for key, wanted in compared.where.items())
        raise NotReadError(f"there is no member of {told}" if told else "there are no members")
    return READINGS[compared.reading](chosen, **compared.arguments)


def _passes(row: Row, where: Mapping[str, Any]) -> bool:
    return all(
        row.get(key) in (wanted if isinstance(wanted, list) else [wanted])
        for key, wanted in where.items()
    )


def _verdict(
    criterion: Criterion, value: Value, wanted: float, error: float
) -> tuple[Verdict, str]:
    if value.seeds < criterion.least_seeds:
        return UNDECIDED, f"too few seeds: {value.seeds} of {criterion.least_seeds}"
    if value.members < criterion.least_members:
        return UNDECIDED, f"too few members: {value.members} of {criterion.least_members}"
    if not math.isfinite(value.value) or not math.isfinite(wanted):
        return UNDECIDED, "what is read isn't a finite number"
    unsure = ERRORS * math.hypot(_known(value.error), error)
    ahead = value.value - wanted
    if criterion.must_be == "near":
        ahead, bound = criterion.margin - abs(ahead), unsure
    else:
        ahead, bound = (
            (ahead if criterion.must_be == "above" else -ahead),
            criterion.margin + unsure,
        )
    if ahead > bound or (criterion.must_be == "near" and ahead == bound):
        return AGREES, ""
    if ahead < -bound:
        return DIFFERS, ""
    by = f"{criterion.margin:.3g} of margin" if criterion.must_be != "near" else ""
    errors = f"{ERRORS:.0f} standard errors, {unsure:.2g}" if unsure else ""
    least = " and ".join(text for text in (by, errors) if text)
    return UNDECIDED, f"too close to the bound: within {least}" if least else "exactly at the bound"


def _known(error: float) -> float:
    return error if math.isfinite(error) else 0.0
