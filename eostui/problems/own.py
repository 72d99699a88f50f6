"""A problem of a user's own: their file is executed, their function called, what it returns examined."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from eostui.config import RunConfig
from eostui.errors import InputError, did_you_mean
from eostui.problems.examination import examine
from eostui.problems.problem import Problem
from eostui.runs.analysis.remarks import SAID, TRUSTED

#: Lines of a user's code that are told; more go to the log alone.
_LINES = 20

#: Folders whose modules may be imported, because a problem's file lies there: that of the newest.
_FOLDERS: list[str] = []
#: Modules that had been imported before its file was executed.
_KNOWN: set[str] = set()


def own_problem(config: RunConfig, device: torch.device, narrate: Callable[[str], None]) -> Problem:
    """Call the function of `problem = "file.py:function"`. It runs on the user's own word.

    Args:
        config: the run's configuration.
        device: where θ and the data will live.
        narrate: told what the user's code prints and warns of.

    Raises:
        InputError: if it doesn't work, or what it returns would be measured wrongly.
    """
    file, _, name = config.problem.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise InputError(f'`problem` is "{config.problem}", but there is no file {path}')
    dtype = getattr(torch, config.dtype)
    with _heard(narrate) as lines:
        try:
            function = _function(path, name, config)
            problem = _call(function, config, device, dtype)
            outcome = examine(
                problem,
                trusted=config.trust_gradients or problem.trust_gradients,
                in_double=lambda: _call_again(function, config, device),
            )
        except InputError as error:
            raise InputError(f"`problem`: {path}:{name}: {error}") from None
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            text = " ".join(str(error).split())
            raise InputError(
                f"`problem`: {path}:{name} failed: {type(error).__name__}: {text}"
            ) from error
    problem.facts["examined"] = outcome.compared
    if outcome.estimated:
        problem.facts[TRUSTED] = outcome.estimated
    if lines:
        problem.facts[SAID] = " · ".join(lines)
    return problem


def _function(path: Path, name: str, config: RunConfig) -> Callable[..., object]:
    """Execute a user's file and return a function of it."""
    spec = importlib.util.spec_from_file_location(f"eostui_own_problem_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError("that isn't a Python file")
    module = importlib.util.module_from_spec(spec)
    _import_beside(path)
    sys.modules[spec.name] = module
    torch.manual_seed(config.seed)
    spec.loader.exec_module(module)
    function: Callable[..., object] | None = getattr(module, name, None)
    if not callable(function):
        public = [key for key, value in vars(module).items() if callable(value)]
        raise InputError(f"there is no function `{name}`{did_you_mean(name, public)}")
    return function


def _call(
    function: Callable[..., object], config: RunConfig, device: torch.device, dtype: torch.dtype
) -> Problem:
    """Let a user's function make its problem."""
    takes_chunks = "chunk_size" in inspect.signature(function).parameters
    chunks = {"chunk_size": config.chunk_size} if takes_chunks else {}
    problem = function(device=device, dtype=dtype, **chunks, **config.problem_arguments)
    if not isinstance(problem, Problem):
        raise InputError(
            f"it returned {type(problem).__name__}, but must return an eostui.problems.Problem"
        )
    initial = problem.initial
    if initial.ndim == 1 and (initial.dtype, initial.device.type) != (dtype, device.type):
        raise InputError(
            f"θ₀ is {initial.dtype} on {initial.device}, but must be {dtype} on {device}: "
            "use the `dtype` and `device` that the function is given"
        )
    # a size that the function chose itself is in the config too once a run has begun
    if not takes_chunks and config.chunk_size not in ("auto", problem.chunk_size):
        raise InputError(
            f"it takes no argument `chunk_size`, but the config sets it to {config.chunk_size}: let it "
            "take one and hand it to Problem.from_module"
        )
    return problem


def _call_again(
    function: Callable[..., object], config: RunConfig, device: torch.device
) -> Problem:
    """Let a function make its problem in float64 too, without a word and without a trace."""
    unheard = io.StringIO()
    states = random.getstate(), np.random.get_state()
    try:
        with (
            contextlib.redirect_stdout(unheard),
            contextlib.redirect_stderr(unheard),
            torch.random.fork_rng([device] if device.type == "cuda" else []),
        ):
            torch.manual_seed(config.seed)
            return _call(function, config, device, torch.float64)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _import_beside(path: Path) -> None:
    """Let a file import the modules beside it, after all others; forget those of another file.

    They come last, so that nobody's `random.py` becomes everybody's; a module of theirs that can't be
    imported for that reason is warned of.
    """
    folder = str(path.resolve().parent)
    for name in set(sys.modules) - _KNOWN:
        top = getattr(sys.modules.get(name.partition(".")[0]), "__dict__", {}).get("__file__")
        if top and any(str(each) in _FOLDERS for each in Path(top).parents[:2]):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry not in _FOLDERS]
    _FOLDERS[:] = [] if folder in sys.path else [folder]
    _KNOWN.clear()
    _KNOWN.update(sys.modules)
    importlib.invalidate_caches()
    for name in _imported(path):
        beside = (path.parent / f"{name}.py", path.parent / name / "__init__.py")
        if any(each.is_file() for each in beside) and folder not in sys.path:
            found = importlib.util.find_spec(name)
            if found is not None:
                print(
                    f"`import {name}` finds {found.origin or 'another module'}, not the one beside "
                    f"{path.name}: rename yours if that is meant",
                    file=sys.stderr,
                )
    sys.path += _FOLDERS


def _imported(path: Path) -> list[str]:
    """Return the top names of the modules that a file imports; [] if it can't be parsed."""
    import ast

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


@contextlib.contextmanager
def _heard(narrate: Callable[[str], None]) -> Iterator[list[str]]:
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
