"""The command line: stdout is data, stderr is narration. Commands import what they need when called."""

from __future__ import annotations

import contextlib
import errno
import gc
import sys
from typing import NoReturn

from eostui.cli.streams import drop, prepare_streams
from eostui.errors import (
    EXIT_FAILED,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EostuiError,
    InputError,
    printable,
)


def main() -> None:
    """Run the command line and exit with the right code."""
    gc.set_threshold(100_000, 20, 20)  # imports make many objects and no garbage: 0.2 s less
    prepare_streams()
    try:
        from eostui.cli.app import app

        try:
            app(prog_name="eostui")
        finally:
            sys.stdout.flush()  # while it can be told that it failed
    except EostuiError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:  # whoever read has had enough: quiet
        drop(sys.stdout)
        sys.exit(EXIT_FAILED)
    except OSError as error:
        _end(_sentence(error), EXIT_INPUT)


def _sentence(error: OSError) -> str:
    """Return what the system refused: a file, or to take what was printed."""
    if error.filename:
        return f"{error.filename}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT):
        drop(sys.stdout)  # of all that is written, it alone has no name
        return f"stdout can't be written: {error.strerror}"
    from eostui import locations

    try:
        locations.present_folder()
    except InputError as gone:  # what relative paths were asked of
        return str(gone)
    return str(error)


def _end(sentence: str, code: int) -> NoReturn:
    with contextlib.suppress(OSError):
        print(f"eostui: {printable(sentence)}", file=sys.stderr)
    sys.exit(code)
