"""The user's own keys: a TOML file of ids of `keys.py` and keys for them, in the settings folder."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from textual.binding import BindingsMap
from textual.dom import DOMNode
from textual.keys import Keys, _character_to_key, key_to_character

from eostui import locations
from eostui.errors import InputError, did_you_mean
from eostui.text import parse_toml, read_text
from eostui.tui.keys import EVERYWHERE, Key, bindings

_MODIFIERS = ("ctrl", "shift", "alt", "super", "meta", "hyper")
#: Names of keys without a character, as people and Textual write them.
_NAMED = {key.value for key in Keys if not key.value.startswith(("<", "ctrl", "shift"))}
#: Characters of an ordinary keyboard, by Textual's names for them.
_CHARACTERS = {_character_to_key(character): character for character in string.punctuation}
#: What always leaves, whatever key a user gives that: nobody must be locked in.
_WAY_OUT = ("leave", "ctrl+c")


@dataclass(frozen=True)
class Keymap:
    """Keys in place of those of the table.

    Attributes:
        chosen: keys by id, each as people write it: `p`, `]`, `space`, `ctrl+t`; () for none.
    """

    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, key: Key) -> Key:
        """Return a key as the user has it."""
        if key.id not in self.chosen:
            return key
        written = self.chosen[key.id]
        names = [*map(textual_name, written)]
        if key.id == _WAY_OUT[0] and _WAY_OUT[1] not in names:
            names.append(_WAY_OUT[1])
        shown = " ".join(_shown(name) for name in names)
        return replace(key, keys=",".join(names), shown=shown or "–", pair="")

    def rebind(self, node: DOMNode, keys: Iterable[Key]) -> None:
        """Have a screen, or the application, obey the user's keys in place of its own."""
        changed = [key for key in keys if key.id in self.chosen]
        if not changed:
            return
        kept = BindingsMap()
        actions = {key.action for key in changed}
        kept.key_to_bindings = {
            name: [binding for binding in each if binding.action not in actions]
            for name, each in node._bindings.key_to_bindings.items()
        }
        own = BindingsMap(bindings(map(self.of, changed)))
        node._bindings = BindingsMap.merge([kept, own])


def read(groups: Mapping[str, Iterable[Key]]) -> Keymap:
    """Return the user's keys; none where there is no file.

    Args:
        groups: all keys of the program, by what they act on, or by the screen that alone has them; those
            of the same id are one key.

    Raises:
        InputError: if the file can't be read, names a key or an id that there isn't, or gives two things
            on one screen the same key.
    """
    file = locations.keys_file()
    if not file.exists():
        return Keymap()
    known = {key.id: key for keys in groups.values() for key in keys}
    chosen = {}
    for name, value in _flat(parse_toml(read_text(file, str(file)), str(file))):
        if name not in known:
            raise InputError(f"{file}: there is no key named `{name}`{did_you_mean(name, known)}")
        chosen[name] = _keys_of(value, f"{file}: `{name}`")
    keymap = Keymap(chosen)
    if ("leave", ()) in chosen.items():
        raise InputError(f'{file}: `leave` is "", but some key must lead out')
    _refuse_clash(keymap, groups, file)
    return keymap


def template(groups: Mapping[str, Iterable[Key]]) -> str:
    """Return the file with every key as it is without one, commented out."""
    lines = [
        "# Keys of eostui. Take the # away in front of a line and change what is behind the =: a key, or",
        '# several as ["a", "b"]; "" takes the key away. A key is what it types, as p or ], or its name,',
        "# such as space, enter, tab, up, left, home, pageup, f5, ctrl+t, shift+up.",
    ]
    told = set()
    for group, keys in groups.items():
        lines += ["", f"# {group}"]
        for key in keys:
            if key.id in told:
                continue
            told.add(key.id)
            names = [_typed(name) for name in key.keys.split(",")]
            value = names[0] if len(names) == 1 else names
            lines.append(f"# {_toml(key.id)} = {_toml(value)}  # {key.text}")
    return "\n".join(lines) + "\n"


def write(groups: Mapping[str, Iterable[Key]]) -> Path:
    """Write the file, for its user to change; return its place.

    Raises:
        InputError: if there is one already, or it can't be written.
    """
    file = locations.keys_file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(template(groups))
    except FileExistsError:
        raise InputError(f"{file} is there already, and stays as it is") from None
    except OSError as error:
        raise InputError(f"{file}: can't be written: {error.strerror}") from None
    return file


def textual_name(written: str) -> str:
    """Return what Textual calls a key that is written as people do."""
    *modifiers, last = written.split("+") if len(written) > 1 else [written]
    if written.endswith("++"):  # ctrl and the plus sign
        *modifiers, last = [*written[:-2].split("+"), "+"]
    return "+".join([*modifiers, _character_to_key(last) if len(last) == 1 else last])


def refuse_unknown(written: Any, where: str) -> None:
    """Raise InputError if what is at `where` isn't a key as people write it."""
    if not isinstance(written, str) or not written.isprintable() or written in ("", " "):
        raise InputError(f'{where} is {written!r}, but must be a key such as "p" or "ctrl+t"')
    *modifiers, last = textual_name(written).split("+")
    wrong = next((each for each in modifiers if each not in _MODIFIERS), None)
    if wrong is not None:
        near = did_you_mean(wrong, _MODIFIERS)
        raise InputError(f"{where} is `{written}`, but `{wrong}` is no key to hold{near}")
    if _typed(last) == last and len(last) != 1 and last not in _NAMED:
        near = did_you_mean(last, [*_NAMED, *_CHARACTERS])
        raise InputError(f"{where} is `{written}`, but no key is called `{last}`{near}")


def _keys_of(value: Any, where: str) -> tuple[str, ...]:
    """Return the keys that a line of the file names. Raises InputError."""
    listed = value if isinstance(value, list) else [value] if value != "" else []
    for each in listed:
        refuse_unknown(each, where)
    return tuple(listed)


def _refuse_clash(keymap: Keymap, groups: Mapping[str, Iterable[Key]], file: Path) -> None:
    """Raise InputError if a key that the user chose does two things on one screen.

    A screen's own key may be a common one's too where the table has it so: there it is the screen's.
    """
    common = [key for group in EVERYWHERE for key in groups.get(group, ())]
    for group, keys in groups.items():
        own = [] if group in EVERYWHERE else [*keys]
        mine = {key.id for key in own}
        taken: dict[str, Key] = {}
        for key in (*own, *(key for key in common if key.id not in mine)):
            for name in keymap.of(key).keys.split(","):
                other = taken.setdefault(name, key)
                usual = name in other.keys.split(",") and name in key.keys.split(",")
                if not name or other.id == key.id or usual:
                    continue
                if {other.id, key.id} & keymap.chosen.keys():
                    raise InputError(
                        f"{file}: `{_shown(name)}` can't be for both `{other.id}` and `{key.id}`: give "
                        "one of them another key"
                    )


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ids and values: `eta.up = …` is the id `eta.up`, in quotes or not."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _typed(name: str) -> str:
    """Return how a key of Textual's is written in the file."""
    *modifiers, last = name.split("+")
    if last in _NAMED:
        return name
    return "+".join([*modifiers, _CHARACTERS.get(last) or key_to_character(last) or last])


def _shown(name: str) -> str:
    """Return how a key is shown: arrows as such."""
    arrows = {"left": "←", "right": "→", "up": "↑", "down": "↓"}
    return arrows.get(name) or _typed(name)


def _toml(value: Any) -> str:
    """Return a text, or a list of texts, as TOML has it."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
