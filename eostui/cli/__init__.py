"""The command line: stdout is data, stderr is narration. Commands import what they need when called."""

from __future__ import annotations

import gc
import sys

from eostui.errors import EostuiError, printable


def main() -> None:
    """Run the command line and exit with the right code."""
    gc.set_threshold(100_000, 20, 20)  # imports make many objects and no garbage: 0.2 s less
    from eostui.cli.app import app

    try:
        app(prog_name="eostui")
    except EostuiError as error:
        print(f"eostui: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
