"""How a run computes its convolutions: chosen once, a fact of it, kept by all that goes on with it."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
import torch
from engines import entry, here, small

from eostui.config import RunConfig
from eostui.curvature.point import plain_gradient
from eostui.engine.convolutions import as_timed, with_fastest_convolutions
from eostui.engine.session import EngineSession
from eostui.errors import InputError
from eostui.problems.batch import parts_of
from eostui.problems.convolutions import default_convolutions
from eostui.runs.launch import Fork
from eostui.runs.store.reader import facts_of
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")

CNN = {"network": "cnn", "channels": [4], "eta": 0.1, "steps": 12}


def session_of(folder, config, **more):
    return EngineSession(config, folder, lambda _text: None, **more)


def way(problem):
    (found,) = {part.supervised.convolutions for part in parts_of(problem.loss)}
    return found


@pytest.mark.parametrize("chunk_size", [0, 30])
@pytest.mark.parametrize("asked", ["native", "channels-last", "unfolded"])
def test_the_setting_is_obeyed_and_stated(tmp_path, asked, chunk_size):
    session = session_of(tmp_path, small(**CNN, convolutions=asked, chunk_size=chunk_size))
    assert way(session.problem) == asked == session.problem.facts["convolutions"]
    session.new(tmp_path / "r", "").close()
    assert facts_of(tmp_path / "r")["problem.convolutions"] == asked


def test_nothing_is_timed_on_a_cpu(tmp_path):
    """Its bits mustn't depend on how busy it was."""
    session = session_of(tmp_path, small(**CNN))
    assert way(session.problem) == "native" == session.problem.facts["convolutions"]
    assert "convolutions_timed" not in session.problem.facts
    assert "convolutions" not in session_of(tmp_path, small()).problem.facts  # an MLP has none


def test_a_wrong_way_is_refused_with_the_right_ones():
    with pytest.raises(InputError, match="channels-last"):
        RunConfig.build({"convolutions": "fft"}, "test")


# --- the choice on a GPU ----------------------------------------------------------------------------


class Clock:
    """Says that the pieces of work take so long, step and product of one way after the other."""

    def __init__(self, *times):
        self.times = list(times)

    def __call__(self, work):
        assert work() is not None  # the real work, on this device
        told = self.times.pop(0)
        if told is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return told


@pytest.mark.parametrize("chunk_size", [0, 30])
@pytest.mark.parametrize(
    ("times", "chosen", "told"),
    [
        ([4, 1, 3, 1, 2, 1], "unfolded", "native 4200.00, channels-last 3200.00, unfolded 2200.00"),
        ([2, 9, 3, 1, 3, 2], "channels-last", "native 3800.00, channels-last 3200.00, unfolded 3400.00"),
        ([2, 1, 3, 1, None], "native", "native 2200.00, channels-last 3200.00"),
        ([None, None, None], "native", ""),
    ],
    ids=["steps", "products", "memory", "none-fits"],
)  # fmt: skip
def test_the_fastest_that_fits_is_taken(tmp_path, times, chosen, told, chunk_size):
    """25 steps and 5 products weigh as in a usual run; what runs out of memory isn't taken."""
    problem = session_of(tmp_path, small(**CNN, chunk_size=chunk_size)).problem
    found = as_timed(problem, 25, clock := Clock(*times))
    assert not clock.times
    assert way(found) == chosen == found.facts["convolutions"]
    assert found.facts["convolutions_timed"] == f"ms a step with measurements: {told}"
    assert problem.facts["convolutions"] == "native"  # as it was
    ours, theirs = (plain_gradient(p.loss, p.initial)[1] for p in (found, problem))
    torch.testing.assert_close(ours, theirs)


def test_only_an_automatic_choice_on_cuda_is_timed(tmp_path, monkeypatch):
    """Not what the config or the record states, not an MLP, not a CPU."""
    session = session_of(tmp_path, small(**CNN))
    problem, said = session.problem, []
    monkeypatch.setattr("eostui.engine.convolutions.as_timed", lambda *_: "timed")
    config = session.config

    class Elsewhere:
        """The problem as if it were on CUDA."""

        facts = problem.facts

        class initial:
            device = torch.device("cuda:0")

    assert with_fastest_convolutions(config, Elsewhere, said.append) == "timed"
    assert said == ["timing its convolutions"]
    stated = config.changed({"convolutions": "native"})
    assert with_fastest_convolutions(stated, Elsewhere, said.append) is Elsewhere
    assert with_fastest_convolutions(config, problem, said.append) is problem
    mlp = session_of(tmp_path, small()).problem
    Elsewhere.facts = mlp.facts
    assert with_fastest_convolutions(config, Elsewhere, said.append) is Elsewhere
    assert len(said) == 1


def test_until_it_is_timed_a_gpu_reckons_with_what_takes_the_most_memory():
    assert default_convolutions(torch.device("cuda:1")) == "unfolded"
    assert default_convolutions(torch.device("mps")) == "native"


# --- kept -------------------------------------------------------------------------------------------


def as_recorded(path, facts):
    """Let a run's record state other facts; None takes one away, as a version had it that didn't know."""
    writer = RunWriter(path)
    for key, value in facts.items():
        writer.fact(key, value or "")
    writer.close()
    with contextlib.closing(sqlite3.connect(path / "run.db")) as store, store:
        store.execute("DELETE FROM run WHERE value = '' AND key = 'problem.convolutions'")
        store.execute("UPDATE seal SET facts = (SELECT count(*) FROM run)")


@pytest.mark.parametrize(
    ("chosen", "kept"), [("unfolded", "unfolded"), ("channels-last", "channels-last"), (None, "native")]
)  # fmt: skip
def test_what_goes_on_with_a_run_takes_what_it_had(tmp_path, chosen, kept):
    """Whatever `auto` would choose now; an older run, which states nothing, was native."""
    config = small(**CNN)
    path = here(config, tmp_path)
    as_recorded(path, {"problem.convolutions": chosen})
    assert facts_of(path).get("problem.convolutions") == chosen
    for changed in ((), ("device",), ("steps", "threads")):
        session = session_of(tmp_path, config, like=path, changed=changed)
        assert way(session.problem) == kept == session.problem.facts["convolutions"]
        assert session.config.convolutions == "auto"  # as the user said


def test_a_run_from_a_gpu_that_goes_on_elsewhere_is_chosen_for_anew(tmp_path):
    config = small(**CNN)
    path = here(config, tmp_path)
    as_recorded(path, {"problem.convolutions": "unfolded", "device": "cuda:0"})
    session = session_of(tmp_path, config, like=path, changed=("device",))
    assert way(session.problem) == "native"


def test_a_fork_cannot_compute_its_convolutions_otherwise(tmp_path):
    """Its history is what its problem's bits were."""
    path = here(small(**CNN), tmp_path)
    with pytest.raises(InputError, match="`convolutions` can't change"):
        _ = Fork(entry(path), 5, {"convolutions": "unfolded"}).config
