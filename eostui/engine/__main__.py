"""The engine process: `python -m eostui.engine`, started by eostui.runs.launch, never by hand.

It reads one `StartRequest` (JSON) from stdin and answers with JSON lines: `progress` while it gets ready,
then `ready` with the run directory, or `error` with a sentence and an exit code; where no run is asked
for, what is. After `ready` its output goes to `engine.log`, and everything it has to say is in the run
directory. With `--preload` it loads PyTorch first, and then waits to be asked (`preload.py`); with
`--template` it does that for any number of engines, which are copies of it (`template.py`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING

from eostui.config import RunConfig
from eostui.engine.explain import explain
from eostui.engine.freed_memory import keep_freed_memory
from eostui.engine.handshake import Handshake
from eostui.engine.preload import preload_and_await
from eostui.engine.template import Life, become_engine
from eostui.errors import EXIT_DIVERGED, EXIT_FAILED, EostuiError, StoreError
from eostui.runs.request import (
    DevicesRequest,
    ForkRequest,
    ResumeRequest,
    SliceRequest,
    StartRequest,
)
from eostui.runs.standby import PRELOAD
from eostui.runs.template import TEMPLATE

if TYPE_CHECKING:
    from eostui.engine.session import EngineSession
    from eostui.runs.store.writer import RunWriter, Store

_EXIT_CODES = {"finished": 0, "stopped": 0, "diverged": EXIT_DIVERGED, "failed": EXIT_FAILED}


def main() -> int:
    """Prepare, run, and return the exit code."""
    os.umask(0o077)
    keep_freed_memory()  # before there is a thread
    if sys.argv[1:2] == [TEMPLATE]:
        life = become_engine()
        code = _main(life)
        life.end(code)
    return _main(None)


def _main(life: Life | None) -> int:
    handshake = Handshake()
    try:
        return _run(_request(handshake, life), handshake, life)
    except Exception as error:  # before there is a run: told to whoever asked
        traceback.print_exc()
        code = error.exit_code if isinstance(error, EostuiError) else EXIT_FAILED
        handshake.say("error", explain(error), exit_code=code)
        return code


def _request(handshake: Handshake, life: Life | None) -> StartRequest:
    """Return what is asked for; from then on the terminal may go, and the run stays."""
    if sys.argv[1:2] == [PRELOAD]:
        text = preload_and_await(handshake, sys.argv[2:])  # until then a signal ends it
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return StartRequest.read(text)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    request = StartRequest.read(sys.stdin.readline())  # what else is asked may follow, a line each
    if life is None:
        handshake.say("progress", "loading PyTorch")
    return request


def _run(request: StartRequest, handshake: Handshake, life: Life | None = None) -> int:
    if isinstance(request.begin, DevicesRequest):
        from eostui.engine.device import devices_meant

        asked = request.begin.asked
        handshake.say("devices", "", memory={each: devices_meant(each) for each in asked})
        return 0
    if isinstance(request.begin, SliceRequest):
        from eostui.engine.slicing import answer

        answer(request, request.begin, sys.stdin, handshake)
        return 0
    from eostui.engine.gradients_ahead import SWITCH
    from eostui.engine.session import EngineSession

    config = RunConfig.from_toml(request.config, "request")
    if request.device:
        os.environ["EOSTUI_DEVICE"] = request.device
    if not request.alone:
        os.environ.setdefault(SWITCH, "0")
    begin, path = request.begin, request.path
    like = None  # the run on whose device it computes
    if isinstance(begin, ForkRequest):
        like = begin.parent
    elif isinstance(begin, ResumeRequest):
        like = path
    session = EngineSession(
        config,
        request.data_dir,
        lambda text: handshake.say("progress", text),
        like,
        begin.changed if isinstance(begin, ForkRequest) else (),
        request.group,
    )
    with contextlib.closing(session):
        return _drive(session, request, handshake, life)


def _drive(
    session: EngineSession, request: StartRequest, handshake: Handshake, life: Life | None
) -> int:
    from eostui.engine.fork import fork
    from eostui.engine.resume import resume

    begin, path, config = request.begin, request.path, session.config
    driver = session.driver
    if request.watched:  # else no one would let it go on
        # a fork goes on where its parent may have paused
        first = begin.at + 1 if isinstance(begin, ForkRequest) else 0
        driver.controls.pauses.update(step for step in config.pause_at if step >= first)
    signal.signal(signal.SIGTERM, lambda *_: session.stop("stopped by SIGTERM"))
    if life is not None:
        life.when_alone(lambda: session.stop("stopped with its sweep"))
    writer: Store
    made: RunWriter | None = None
    if isinstance(begin, ResumeRequest):
        writer = resume(
            session, path, handshake.steps, changed_data=begin.changed_data,
            other_stops=begin.other_stops,
        )  # fmt: skip
    elif isinstance(begin, ForkRequest):
        writer = made = fork(
            session, path, request.name, begin.parent, begin.at, begin.controls, handshake.steps,
            changed_data=begin.changed_data,
        )  # fmt: skip
    else:
        writer = made = session.new(path, request.name)
    try:
        handshake.end(path)
    except EostuiError as error:
        if made is None:
            _end(writer, driver.step, "failed", f"failed at step {driver.step}: {error}")
        else:
            made.discard()
        raise
    failure: BaseException | None = None
    try:
        status, sentence = driver.run(writer)
        if (lost := session.end_workers()) and status == "stopped":  # what stopped it may be that
            status, sentence = "failed", f"failed at step {driver.step}: {lost}"
        if status in ("finished", "stopped"):
            with contextlib.suppress(StoreError):  # the end has room of its own for what waits
                driver.save()
    except (Exception, SystemExit) as error:  # named in the record, its traceback in the log
        failure = error
        status, sentence = "failed", f"failed at step {driver.step}: {explain(error)}"
    return _EXIT_CODES[_end(writer, driver.last_told, status, sentence, failure)]


def _end(
    writer: Store, step: int, status: str, sentence: str, failure: BaseException | None = None
) -> str:
    """Record how the run ended; return how in the end: where that can't be written, `failed`.

    The record comes first, the log after it: the room reserved for both is small.
    """
    from eostui.runs.store.ending import LAST_WORDS

    writer.fact("status", status)
    writer.fact("sentence", sentence)
    writer.fact("ended", str(time.time()))
    writer.event(step, status, {"sentence": sentence})
    try:
        writer.close()
    except Exception as error:  # no one can be told but by the log and the exit code
        if not isinstance(error, EostuiError):
            traceback.print_exc()
        status, sentence = "failed", f"{sentence}; its end isn't recorded: {explain(error)}"
    if failure is not None:
        traceback.print_exception(failure)
        print()  # its last line may not have fitted
    print(f"{LAST_WORDS}{sentence}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
