"""An engine process that loads everything first and then waits for its request: a standby."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Sequence

from eostui.engine.handshake import Handshake

#: What numpy loads by itself when a first run needs it.
_LOADED_LATER = ("numpy.ma", "numpy.random")


def preload_and_await(handshake: Handshake, modules: Sequence[str] = ()) -> str:
    """Load what engines need, and further modules; return the request's text once there is one.

    Ends the process when stdin ends without a request, in the midst of loading too: whoever would ask is
    gone, even by `kill -9`. So it does when loading fails before it is asked: whoever asks then starts an
    engine that says why.
    """
    text = ""
    loaded = threading.Event()

    def listen() -> None:
        nonlocal text
        text = sys.stdin.read()
        if not text:
            os._exit(0)
        if not loaded.is_set():
            handshake.say("progress", "loading PyTorch")

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        load(modules)
    except BaseException:
        if not text:
            os._exit(1)
        raise
    loaded.set()
    if not text:
        handshake.say("loaded", "PyTorch was loaded before the run was asked for")
    listener.join()
    return text


def load(modules: Sequence[str] = ()) -> None:
    """Load what engines need, and further modules."""
    import eostui.engine.fork
    import eostui.engine.resume
    import eostui.engine.session  # noqa: F401

    for name in (*_LOADED_LATER, *modules):
        with contextlib.suppress(Exception):  # not there, or for another PyTorch
            importlib.import_module(name)
