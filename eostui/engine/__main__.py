"""The engine process: `python -m eostui.engine`, started by eostui.runs.launch, never by hand.

It reads one request (JSON) from stdin and answers on stdout with JSON lines: `progress` while it gets
ready, then `ready` with the run directory, or `error` with a sentence and an exit code. From then on
its output goes to `engine.log`, and everything it has to say is in the run directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from eostui.config import RunConfig
from eostui.errors import EXIT_DIVERGED, EXIT_FAILED, EostuiError
from eostui.runs import schema

_EXIT_CODES = {"finished": 0, "stopped": 0, "diverged": EXIT_DIVERGED, "failed": EXIT_FAILED}


def main() -> int:
    """Prepare, run, and return the exit code."""
    os.umask(0o077)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal may go; the run stays
    try:
        request = json.loads(sys.stdin.read())
        config = RunConfig.from_toml(request["config"], "request")
        _say("progress", "loading PyTorch")
        return _run(config, request)
    except EostuiError as error:
        traceback.print_exc()
        _say("error", str(error), exit_code=error.exit_code)
        return error.exit_code


def _run(config: RunConfig, request: dict[str, Any]) -> int:
    from eostui.engine.device import prepare_machine
    from eostui.engine.loop import Trainer
    from eostui.engine.record import initial_facts
    from eostui.problems import build_problem
    from eostui.runs.writer import RunWriter

    machine = prepare_machine(config)
    _say("progress", "building the problem")
    problem = build_problem(
        config, machine.device, Path(request["data_dir"]), lambda text: _say("progress", text)
    )
    path = Path(request["run_path"])
    writer = RunWriter(path, initial_facts(config, machine, problem, path.name, request["name"]))
    trainer = Trainer(config, problem, writer)
    signal.signal(signal.SIGTERM, lambda *_: trainer.controls.request_stop("stopped by SIGTERM"))
    writer.event(0, "started")
    writer.flush()
    _say("ready", str(path))
    _to_log(path)
    try:
        status, sentence = trainer.run()
    except Exception as error:  # whatever it was: named in the record, its traceback in the log
        traceback.print_exc()
        status, sentence = "failed", f"failed at step {trainer.recorder.next_step}: {error}"
    writer.fact("status", status)
    writer.fact("sentence", sentence)
    writer.fact("ended", str(time.time()))
    writer.event(max(trainer.recorder.next_step - 1, 0), status, {"sentence": sentence})
    writer.close()
    print(sentence, flush=True)
    return _EXIT_CODES[status]


def _say(kind: str, text: str, **more: Any) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever asked may be gone; the run goes on
        print(json.dumps({"kind": kind, "text": text, **more}), flush=True)


def _to_log(path: Path) -> None:
    """Send stdout and stderr, of Python and of native code, to the run's log."""
    log = os.open(path / schema.ENGINE_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)


if __name__ == "__main__":
    sys.exit(main())
