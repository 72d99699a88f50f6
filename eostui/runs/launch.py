"""Starting the engine: another process, in its own session, so that no terminal takes it along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from eostui.config import RunConfig
from eostui.errors import EXIT_FAILED, EostuiError
from eostui.runs.shelf import new_run_path


class StartError(EostuiError):
    """The engine could not start the run; its sentence and exit code are the engine's."""

    def __init__(self, sentence: str, exit_code: int) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class EngineProcess:
    """An engine on its way: wait until it is `ready`, or cancel it."""

    def __init__(self, config: RunConfig, runs_dir: Path, data_dir: Path, name: str = "") -> None:
        """Start the process; it validates the data and the device before it makes anything."""
        self.config = config
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - read when the engine dies early
        request = {
            "config": config.to_toml(),
            "run_path": str(new_run_path(runs_dir, config.preset)),
            "data_dir": str(data_dir),
            "name": name,
        }
        self._process = subprocess.Popen(
            # -P: a torch.py in the user's folder isn't torch
            [sys.executable, "-P", "-m", "eostui.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            text=True,
            # numpy has only small matrices to solve there: its threads would wait in torch's way
            env={**os.environ, "PYTHONUNBUFFERED": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request))
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it died at once; `ready` reports how

    def ready(self, progress: Callable[[str], None]) -> Path:
        """Wait for the run directory; tell `progress` what the engine does meanwhile.

        Raises:
            StartError: with the engine's own sentence.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if message["kind"] == "progress":
                progress(message["text"])
            elif message["kind"] == "ready":
                self._process.stdout.close()
                return Path(message["text"])
            elif message["kind"] == "error":
                self._process.wait()
                raise StartError(message["text"], message["exit_code"])
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        last = said[-1] if said else "it said nothing"
        raise StartError(
            f"the engine ended before the run began (code {code}): {last}", EXIT_FAILED
        )

    def wait(self, timeout: float | None = None) -> int | None:
        """Return the exit code, or None if the engine still runs after `timeout` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def cancel(self) -> None:
        """End the engine: before `ready` nothing is left behind, after it the run is stopped."""
        self._process.terminate()
        self.let_go()

    def let_go(self) -> None:
        """Wait for the end in the background, so that the process leaves no zombie."""
        threading.Thread(target=self._process.wait, daemon=True).start()
