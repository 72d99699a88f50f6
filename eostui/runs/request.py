"""What an engine is asked to begin with, and what it answers: JSON, between it and who starts it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eostui.errors import InputError


def answers(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the messages of an engine.

    What isn't one is left out: Python may print before the engine has its stdout to itself, and a line of
    one that was killed may not be whole.
    """
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict) and "kind" in message:
            yield message


def _is_utf8(text: str) -> bool:
    """Whether a path, as Python has it, is one in UTF-8."""
    return not any("\udc80" <= letter <= "\udcff" for letter in text)


class _Typed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NewRequest(_Typed):
    """A run from step 0."""

    kind: Literal["new"] = "new"


class ResumeRequest(_Typed):
    """The run at the request's `path` goes on; with `changed_data` also on other data, with `other_stops`
    to what its config says from here on."""

    kind: Literal["resume"] = "resume"
    changed_data: bool = False
    other_stops: bool = False


class ForkRequest(_Typed):
    """A run that begins as another was before a step.

    Attributes:
        parent: the directory of the other run.
        at: the first step that the fork takes itself.
        changed: names of the settings that differ from the parent's.
        controls: η, λ and the like from there on, where they shall be others.
        changed_data: whether it goes on also on other data.
    """

    kind: Literal["fork"] = "fork"
    parent: Path
    at: int
    changed: tuple[str, ...] = ()
    controls: dict[str, float] = Field(default_factory=dict)
    changed_data: bool = False


class DevicesRequest(_Typed):
    """No run: what some values of `device` may be here is told, and the engine ends.

    Attributes:
        asked: the values, such as "auto".
    """

    kind: Literal["devices"] = "devices"
    asked: tuple[str, ...]


class SliceRequest(_Typed):
    """No run: the landscape around a step of the run at the request's `path` is told. More may be asked
    for in lines that follow, until stdin ends.

    Attributes:
        step: of that run.
        along: the direction of a slice; "" for a plane.
        reach: how far each way, as in `Extent`.
        points: along each axis.
        steps_before: of the path on a plane.
    """

    kind: Literal["slice"] = "slice"
    step: int
    along: str = ""
    reach: float = 2.0
    points: int = 41
    steps_before: int = 20


class StartRequest(_Typed):
    """All that an engine process is told.

    Attributes:
        config: of the run, as TOML.
        path: the run's directory, new or there.
        data_dir: where downloaded data sets are.
        name: of a new run.
        group: what runs that belong together share; "" for none.
        watched: whether someone is there to let it go on after a pause of `pause_at`.
        device: what `device = "auto"` is for it; "" for what it is on this machine.
        alone: whether cores that its threads leave idle are its own: members of a sweep share them.
        begin: how it begins.
    """

    config: str
    path: Path
    data_dir: Path
    name: str = ""
    group: str = ""
    watched: bool = False
    device: str = ""
    alone: bool = True
    begin: Annotated[
        NewRequest | ResumeRequest | ForkRequest | DevicesRequest | SliceRequest,
        Field(discriminator="kind"),
    ] = NewRequest()

    def to_json(self) -> str:
        """Return it as an engine reads it. Raises InputError if a path in it can't be told."""
        parent = self.begin.parent if isinstance(self.begin, ForkRequest) else self.path
        of_config = [line.strip(' ",') for line in self.config.splitlines()]
        for told in (str(self.path), str(self.data_dir), str(parent), *of_config):
            if not _is_utf8(told):
                raise InputError(
                    f"{told}: its name isn't UTF-8, in which an engine is told of it: take another"
                )
        return self.model_dump_json()

    @classmethod
    def read(cls, text: str) -> StartRequest:
        """Return the request of this JSON. Raises InputError with one sentence if it is none."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"the request to the engine isn't one: {where + ': ' if where else ''}{first['msg']}"
            ) from None
