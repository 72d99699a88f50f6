"""Settings as people look them up: each with its type, default, bounds or choices, and what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eostui.config import RunConfig
from eostui.errors import InputError, did_you_mean
from eostui.toys import TOYS


@dataclass(frozen=True)
class Setting:
    """One setting of a run, or argument of a toy problem.

    Attributes:
        name: as a preset and `--set` give it.
        toy: whose argument it is, in `problem_arguments`; "" for a setting of a run.
        type: what its value is, with bounds or choices, in words.
        default: what it is if it isn't given.
        description: what it means.
    """

    name: str
    toy: str
    type: str
    default: Any
    description: str


def settings() -> list[Setting]:
    """Return those of a run in the order of a file, then the toys' arguments."""
    found = list(_of(RunConfig, ""))
    for toy, arguments in TOYS.items():
        found += _of(arguments, toy)
    return found


def find(name: str) -> list[Setting]:
    """Return the settings of a name, or all arguments of a toy.

    Raises:
        InputError: if there is none, with the one that was meant.
    """
    every = settings()
    found = [each for each in every if name in (each.name, each.toy)]
    if not found:
        valid = dict.fromkeys(name for each in every for name in (each.name, each.toy) if name)
        raise InputError(f"there is no setting `{name}`{did_you_mean(name, valid)}")
    return found


def shown(value: Any) -> str:
    """Return a value as a preset's TOML has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {shown(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(shown, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _of(model: type[BaseModel], toy: str) -> Iterator[Setting]:
    schemas = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        yield Setting(
            name, toy, _words(schemas[name]), _default(field), str(field.description or "")
        )


def _default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True)
    return list(default) if isinstance(default, tuple) else default


#: What JSON Schema calls a type, and what people do: one value, several.
_TYPES = {
    "integer": ("a whole number", "whole numbers"),
    "number": ("a number", "numbers"),
    "string": ("text", "texts"),
    "boolean": ("true or false", "switches"),
    "object": ("a table", "tables"),
}
#: Its bounds.
_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "at least",
    "exclusiveMaximum": "below",
    "maximum": "at most",
}


def _words(schema: dict[str, Any], *, several: bool = False) -> str:
    """Return what a JSON Schema asks for, in words."""
    if choices := [each for each in (schema.get("enum") or [schema.get("const")]) if each]:
        return " or ".join(filter(None, (", ".join(map(shown, choices[:-1])), shown(choices[-1]))))
    if branches := schema.get("anyOf"):
        return ", or ".join(_words(each) for each in branches)
    if "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])} {_words(schema['prefixItems'][0], several=True)}"
    if schema.get("type") == "array":
        return f"a list of {_words(schema['items'], several=True)}"
    words = _TYPES[schema.get("type", "object")][several]
    bounds = [f"{text} {schema[key]:g}" for key, text in _BOUNDS.items() if key in schema]
    return " ".join([words, " and ".join(bounds)]).strip()
