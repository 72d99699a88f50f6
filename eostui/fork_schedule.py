"""Forks on a schedule: every so many steps of a run one, each for some steps with controls of its own."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)


class ForkSchedule(BaseModel):
    """At which steps a run is forked, and what its forks are.

    What else stands in it are settings of the forks, η, λ and other controls among them.

    Attributes:
        every: steps from one fork to the next.
        first: the first step at which there is one, `from` in a file.
        until: the last one at which there may be one; the run's end if left out.
        length: steps that each takes itself.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    every: Annotated[int, Field(ge=1, strict=True)]
    first: Annotated[int, Field(ge=0, strict=True, alias="from")] = 0
    until: Annotated[int, Field(ge=0, strict=True)] | None = None
    length: Annotated[int, Field(ge=1, strict=True)]

    @model_validator(mode="after")
    def _can_be(self) -> ForkSchedule:
        if "steps" in self.changes:
            raise ValueError(
                "`forks` has `steps`: say how many steps each takes itself by `length`"
            )
        if self.until is not None and self.until < self.first:
            raise ValueError(f"`forks` from step {self.first} until {self.until}: there are none")
        return self

    @model_serializer(mode="wrap")
    def _by_file_names(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = {("from" if k == "first" else k): v for k, v in dump(self).items()}
        return {key: value for key, value in values.items() if value is not None}

    @property
    def changes(self) -> dict[str, Any]:
        """The settings of the forks."""
        return dict(self.__pydantic_extra__ or {})

    def steps(self, last: int) -> range:
        """Return the steps at which a run is forked that could be forked at `last` and before."""
        end = last if self.until is None else min(last, self.until)
        return range(self.first, end + 1, self.every)
