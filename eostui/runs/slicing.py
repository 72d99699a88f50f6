"""Slices of the landscape, as an engine's process computes them: who asks loads no PyTorch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import EostuiError
from eostui.locations import present_folder
from eostui.runs.request import SliceRequest, StartRequest, answers
from eostui.runs.standby import IdleEngine
from eostui.slices import Plane, Slice


class SliceProcess:
    """An engine that cuts slices and planes of one run, one after the other; it ends when it is closed,
    or when who started it is gone."""

    def __init__(self, path: Path, config: RunConfig, data_dir: Path) -> None:
        """Start it.

        Args:
            path: of the run.
            config: of the run, whose code may be executed.
            data_dir: where the data sets are.

        Raises:
            InputError: if the present folder is gone, or a folder can't be told to an engine.
            EostuiError: if no process can be started.
        """
        present_folder()
        self._request = StartRequest(config=config.to_toml(), path=path, data_dir=data_dir)
        self._request.to_json()  # raises, before there is a process
        self._asked = False
        self._engine = IdleEngine()

    def cut(self, asked: SliceRequest, progress: Callable[[str], None]) -> Slice | Plane:
        """Return what is asked for once it is there; tell `progress` how far it is.

        Raises:
            EostuiError: with the engine's own sentence.
        """
        process = self._engine.process
        assert process.stdin is not None
        assert process.stdout is not None
        request = asked if self._asked else self._request.model_copy(update={"begin": asked})
        self._asked = True
        with contextlib.suppress(OSError, ValueError):  # it ended, or was closed: said below
            process.stdin.write(request.model_dump_json() + "\n")
            process.stdin.flush()
        with contextlib.suppress(ValueError):
            for message in answers(process.stdout):
                if message["kind"] == "progress":
                    progress(message["text"])
                elif message["kind"] == "error":
                    raise EostuiError(message["text"])
                elif message["kind"] == "slice":
                    kind = Slice if asked.along else Plane
                    return kind.of_json(message["found"])
        raise EostuiError(f"the process of slices ended (code {process.wait()})")

    @property
    def alive(self) -> bool:
        """Whether it can be asked for more."""
        return self._engine.alive

    def close(self) -> None:
        """End it: nothing is lost but its work."""
        self._engine.process.kill()
        self._engine.errors.close()
        threading.Thread(target=self._engine.process.wait, daemon=True).start()  # leaves no zombie
