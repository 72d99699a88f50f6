"""Checkpoint files: whole or absent, checked, thinned; and the state they carry."""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eostui.engine.snapshot import restore, snapshot
from eostui.errors import RunFormatError
from eostui.runs.store import checkpoints
from eostui.runs.store.checkpoints import Checkpoint, CheckpointFile


def some(step=7):
    tensors = {
        "probes.eigenvectors": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
        "trainer.theta": np.array([math.pi, -0.0, math.inf, math.nan]),
        "empty": np.empty((0, 3)),
        "scalar": np.array(-0.5, dtype=np.float32),
    }
    plain = {"controls.eta": 0.1 + 0.2, "probes.sharpness": None, "x": [math.nan, 1e-320], "η": "λ"}
    return Checkpoint(step, 3, tensors, plain)


def test_what_is_written_is_read(tmp_path):
    file = checkpoints.write(tmp_path, some())
    found = checkpoints.read(file.path)
    assert (found.step, found.events) == (7, 3)
    assert found.tensors.keys() == some().tensors.keys()
    for name, array in some().tensors.items():
        assert (found.tensors[name].dtype, found.tensors[name].shape) == (array.dtype, array.shape)
        assert found.tensors[name].tobytes() == array.tobytes()
    assert repr(found.plain) == repr(some().plain)
    assert file.size == file.path.stat().st_size
    assert oct(file.path.stat().st_mode & 0o777) == "0o600"
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [file.path.name]


@given(st.data())
def test_damage_is_noticed(data):
    """Any flipped bit, any cut: a sentence, or, in what isn't part of the content, the same content."""
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoints.write(Path(folder), some()).path
        content = bytearray(path.read_bytes())
        if data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        else:
            del content[data.draw(st.integers(0, len(content) - 1)) :]
        path.write_bytes(content)
        found = error = None
        try:
            found = checkpoints.read(path)
        except RunFormatError as refusal:
            error = str(refusal)
        if found is None:
            assert str(path) in error
            assert "\n" not in error
            return
        assert repr(found.plain) == repr(some().plain)
        assert all(found.tensors[n].tobytes() == a.tobytes() for n, a in some().tensors.items())
        assert found.tensors.keys() == some().tensors.keys()


def test_a_state_comes_back_in_its_shapes(tmp_path):
    class Part:
        def __init__(self, tensors):
            self.tensors = tensors

        def state(self):
            return self.tensors

        def restore(self, state):
            self.tensors = state

    kept = {
        "scalar": torch.tensor(0.1),
        "one": torch.ones(1),
        "turned": torch.arange(6.0).view(2, 3).T,
    }
    path = checkpoints.write(tmp_path, snapshot(7, 0, {"part": Part(kept)})).path
    fresh = Part({})
    restore(checkpoints.read(path), {"part": fresh}, torch.device("cpu"))
    assert fresh.tensors.keys() == kept.keys()
    for name, tensor in kept.items():
        torch.testing.assert_close(fresh.tensors[name], tensor, rtol=0, atol=0)


def test_links_are_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = tmp_path / "run"
    run.mkdir()
    os.symlink(elsewhere, run / "checkpoints")
    with pytest.raises(OSError, match="link"):
        checkpoints.write(run, some())
    assert checkpoints.files(run) == []
    assert not list(elsewhere.iterdir())


def test_listing_while_an_engine_thins(tmp_path):
    """A file that goes between two looks at it is none."""
    folder = tmp_path / checkpoints.FOLDER
    folder.mkdir()
    over = threading.Event()

    def engine():
        while not over.is_set():
            (folder / "000000000007.safetensors").write_bytes(b"x")
            (folder / "000000000007.safetensors").unlink()

    thread = threading.Thread(target=engine)
    thread.start()
    try:
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            assert len(checkpoints.files(tmp_path)) <= 1
    finally:
        over.set()
        thread.join()


def test_a_file_under_another_steps_name_is_damaged(tmp_path):
    path = checkpoints.write(tmp_path, some()).path
    path = path.rename(path.with_name("000000000009.safetensors"))
    with pytest.raises(RunFormatError, match="damaged"):
        checkpoints.read(path)


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=40, unique=True).map(sorted),
    st.integers(1, 20),
    st.booleans(),
)
def test_thinning(steps, room, forked):
    """What stays fits, has the newest and a fork's first; each removal left the smallest gap."""
    first = steps[0] if forked else 0
    kept = [CheckpointFile(step, None, 10) for step in steps]
    gone = checkpoints.superfluous(kept, room * 10, first)
    left = [file.step for file in kept if file not in gone]
    assert steps[-1] in left
    assert not forked or steps[0] in left
    assert len(left) <= max(room, 1 + (forked and len(steps) > 1))
    now = list(steps)
    for file in gone:
        gaps = [
            ([first, *now][place + 2] - [first, *now][place])
            for place, step in enumerate(now[:-1])
            if not (forked and step == first)
        ]
        place = now.index(file.step)
        assert [first, *now][place + 2] - [first, *now][place] == min(gaps)
        now.remove(file.step)
    assert now == left


def test_what_must_be_repeated_at_most(tmp_path):
    """The longest way between neighbours and from the run's beginning; seconds as steps took so far."""
    assert checkpoints.longest_repeat(tmp_path, 0) == (0, 0.0)
    for step, seconds in ((300, 3.0), (400, 4.0), (1000, 12.0)):
        checkpoints.write(tmp_path, Checkpoint(step, 0, {}, {"checkpointer.seconds": seconds}))
    assert checkpoints.longest_repeat(tmp_path, 0) == (600, pytest.approx(7.2))
    (tmp_path / "checkpoints" / "000000001000.safetensors").write_bytes(b"")
    assert checkpoints.longest_repeat(tmp_path, 0) == (300, pytest.approx(3.0))
    assert checkpoints.longest_repeat(tmp_path, 300) == (100, pytest.approx(1.0))
