"""A file in the user's editor, while the application lends it the terminal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from eostui.errors import InputError


def edit(app: App[str], path: Path) -> None:
    """Open a file in $VISUAL, $EDITOR or vi, and wait for its end; what trains goes on.

    Raises:
        InputError: if there is no such editor, or the terminal can't be lent.
    """
    wanted = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        command = shlex.split(wanted)
    except ValueError:
        command = [wanted]
    # The editor stops with this process, as a job of the shell does, and has ctrl+c for itself. A handler
    # is not inherited, as being ignored would be.
    handlers: dict[signal.Signals, Any] = {
        signal.SIGTSTP: signal.SIG_DFL,
        signal.SIGINT: lambda *_: None,
    }
    trouble = ""
    try:
        with app.suspend():  # which takes the terminal back only where nothing is raised in it
            before = {number: signal.signal(number, do) for number, do in handlers.items()}
            try:
                subprocess.run([*command, str(path)], check=False)
            except OSError as error:
                trouble = f"the editor `{wanted}` can't be started ({error.strerror}): set $EDITOR"
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
    except SuspendNotSupported:
        trouble = "this terminal can't be lent to an editor: edit it elsewhere"
    if trouble:
        raise InputError(f"{trouble}; the file is {path}")
