"""What an engine is asked to begin with: written by who starts it, read by the process, checked there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from eostui.config import RunConfig
from eostui.errors import EXIT_INPUT, InputError
from eostui.runs.request import ForkRequest, NewRequest, ResumeRequest, StartRequest

BASE = {"config": RunConfig.build({}, "test").to_toml(), "path": "/r/x", "data_dir": "/d"}


@pytest.mark.parametrize(
    "begin",
    [
        NewRequest(),
        ResumeRequest(changed_data=True),
        ForkRequest(
            parent=Path("/r/p"), at=7, changed=("eta", "steps"), controls={"eta": 0.1 + 0.2},
            changed_data=True,
        ),
    ],
)  # fmt: skip
def test_what_is_written_is_read(begin):
    """Every number to the bit."""
    request = StartRequest(
        config=BASE["config"], path=Path("/r/ü x"), data_dir=Path("d"), name="a “name”",
        group="sweep", watched=True, begin=begin,
    )  # fmt: skip
    assert StartRequest.read(request.model_dump_json()) == request


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"path": None}, "path: Input is not a valid path"),
        ({"nmae": "x"}, "nmae: Extra inputs are not permitted"),
        ({"begin": {"kind": "again"}}, "begin: Input tag 'again'"),
        ({"begin": {"kind": "fork", "parent": "p"}}, "begin.fork.at: Field required"),
    ],
)
def test_what_is_no_request_is_a_sentence(changes, sentence):
    with pytest.raises(InputError, match="the request to the engine isn't one") as caught:
        StartRequest.read(json.dumps({**BASE, **changes}))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": 3}'])
def test_an_engine_process_tells_that_it_can_not_read_its_request(text):
    """On its pipe, as any other refusal, with exit code 2; before PyTorch is loaded."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "eostui.engine"], input=text, capture_output=True, text=True
    )
    assert done.returncode == EXIT_INPUT
    (message,) = (json.loads(line) for line in done.stdout.splitlines())
    assert message["kind"] == "error"
    assert message["exit_code"] == EXIT_INPUT
    assert message["text"].startswith("the request to the engine isn't one: ")
