"""Code of a user that a setting names as "file.py:Name": executed on their word, and heard."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import io
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from eostui.errors import InputError, did_you_mean

#: Lines of a user's code that are told; more go to the log alone.
_LINES = 20

#: Folders whose modules may be imported, because a file of the user's lies there: the newest first.
_FOLDERS: list[str] = []
#: Modules that had been imported before any of their files was executed.
_KNOWN: set[str] = set()


def own_file(reference: str, setting: str) -> tuple[Path, str]:
    """Return the file and the name that a reference is made of. Raises InputError if there is no file."""
    file, _, name = reference.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise InputError(f'`{setting}` is "{reference}", but there is no file {path}')
    return path, name


def load_function(reference: str, setting: str, seed: int) -> Callable[..., object]:
    """Execute a user's file, with nothing left of what was executed before, and return a function of it.

    Raises:
        InputError: if there is no such file or function; what the file itself raises isn't caught.
    """
    path, name = own_file(reference, setting)
    for folder in _FOLDERS:
        _forget(Path(folder))
    sys.path[:] = [entry for entry in sys.path if entry not in _FOLDERS]
    _FOLDERS.clear()
    module = _execute(path, setting, seed)
    function: Callable[..., object] | None = getattr(module, name, None)
    if not callable(function):
        public = [key for key, value in vars(module).items() if callable(value)]
        raise InputError(f"there is no function `{name}`{did_you_mean(name, public)}")
    return function


def load_class(reference: str, setting: str, base: type, seed: int) -> type:
    """Execute a user's file and return a class of it that is a `base`.

    Raises:
        InputError: if there is no such file or class, or the file fails.
    """
    path, name = own_file(reference, setting)
    try:
        module = _execute(path, setting, seed)
    except InputError as error:
        raise InputError(f"`{setting}`: {path}: {error}") from None
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise InputError(f"`{setting}`: {path} failed: {told(error)}") from error
    found = getattr(module, name, None)
    if not isinstance(found, type):
        public = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, base) and value is not base
        ]
        raise InputError(f"`{setting}`: {path} has no class `{name}`{did_you_mean(name, public)}")
    if not issubclass(found, base):
        raise InputError(
            f"`{setting}`: {path}:{name} is no {base.__name__}: derive the class from "
            f"{base.__module__}.{base.__name__}"
        )
    return found


def told(error: BaseException) -> str:
    """Return what a user's code raised, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@contextlib.contextmanager
def heard(narrate: Callable[[str], None]) -> Iterator[list[str]]:
    """Narrate what is printed and warned of, stdout being for data; yield the lines."""
    lines: list[str] = []
    stderr = sys.stderr

    def take(line: str) -> None:
        if len(lines) < _LINES:
            lines.append(line)
            narrate(line)
        else:
            print(line, file=stderr)

    stream = _Lines(take)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        try:
            yield lines
        finally:
            stream.end()


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Let code draw the same random numbers whenever it runs, and leave the generators as they were."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _execute(path: Path, setting: str, seed: int) -> ModuleType:
    """Execute a user's file, with the modules beside it."""
    spec = importlib.util.spec_from_file_location(f"eostui_own_{setting}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError("that isn't a Python file")
    module = importlib.util.module_from_spec(spec)
    _import_beside(path)
    sys.modules[spec.name] = module
    torch.manual_seed(seed)
    spec.loader.exec_module(module)
    return module


def _import_beside(path: Path) -> None:
    """Let a file import the modules beside it, after all others; forget those of another folder.

    They come last, so that nobody's `random.py` becomes everybody's; a module of theirs that can't be
    imported for that reason is warned of.
    """
    folder = str(path.resolve().parent)
    for other in _FOLDERS:
        if other != folder:
            _forget(Path(other))
    sys.path[:] = [entry for entry in sys.path if entry not in _FOLDERS]
    if not _FOLDERS:
        _KNOWN.clear()
        _KNOWN.update(sys.modules)
    if folder not in sys.path:
        _FOLDERS[:] = [folder, *(other for other in _FOLDERS if other != folder)]
    importlib.invalidate_caches()
    for name in _imported(path):
        beside = (path.parent / f"{name}.py", path.parent / name / "__init__.py")
        if any(each.is_file() for each in beside) and folder not in sys.path:
            found = importlib.util.find_spec(name)
            if found is not None and found.origin not in [str(each.resolve()) for each in beside]:
                print(
                    f"`import {name}` finds {found.origin or 'another module'}, not the one beside "
                    f"{path.name}: rename yours if that is meant",
                    file=sys.stderr,
                )
    sys.path += _FOLDERS


def _forget(folder: Path) -> None:
    """Forget the modules that were imported from a folder."""
    for name in set(sys.modules) - _KNOWN:
        top = getattr(sys.modules.get(name.partition(".")[0]), "__dict__", {}).get("__file__")
        if top and folder in Path(top).parents[:2]:
            del sys.modules[name]


def _imported(path: Path) -> list[str]:
    """Return the top names of the modules that a file imports; [] if it can't be parsed."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # executing it will tell
        return []
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
    ]
    return sorted({name.partition(".")[0] for name in names})


class _Lines(io.TextIOBase):
    """A stream that hands on what is written line by line."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take = take
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line.strip():
                self._take(line.rstrip())
        return len(text)

    def end(self) -> None:
        """Hand on a last line that wasn't ended."""
        if self._rest:
            self.write("\n")
