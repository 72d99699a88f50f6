"""What a run is asked to stop at: found at the first step that has it, kept by resume, not by forks."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
from engines import Engine, assert_same_rows, entry, here, small

from eostui.engine.pace import Pace
from eostui.errors import InputError
from eostui.runs.analysis.stops import ended_by, pending
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.store import checkpoints
from eostui.runs.store.rows import Event, checksum
from eostui.stop_condition import Seen, Stop, StopCondition, as_typed, parse

STEPS = 300


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing stops, with all that it measured."""
    path = here(small(steps=STEPS, test_cadence=10), tmp_path_factory.mktemp("whole"))
    with Run(path) as run:
        return path, dict(run.columns()), list(run.events)


def told(path):
    with Run(path) as run:
        return run.last_step, run.facts["status"], run.facts.get("sentence"), list(run.events)


def stopped(tmp_path, content, at=3):
    return told(here(small(steps=STEPS, test_cadence=10), tmp_path, {at: [("stop_at", content)]}))


def test_a_step(tmp_path):
    last, status, sentence, events = stopped(tmp_path, {"at": "step", "value": 41})
    assert (last, status) == (41, "stopped")
    assert sentence == "stopped as asked (step 41) at step 41"
    assert [(e.step, dict(e.payload)) for e in events if e.kind == "reached"] == [
        (41, {"at": "step", "value": 41})
    ]
    assert pending(events) == ()


def test_a_loss_stops_at_the_first_step_that_has_it(tmp_path, whole):
    """To the step, though rows are read from the device in batches."""
    loss = whole[1]["loss"]
    level = float(loss[60]) * 1.0001
    first = int(np.flatnonzero(loss <= level)[0])
    last, status, sentence, _ = stopped(tmp_path, {"at": "loss", "value": level})
    assert (last, status) == (first, "stopped")
    assert sentence == f"stopped as asked (L ≤ {level}) at step {first}"


def test_a_test_accuracy(tmp_path, whole):
    accuracy = whole[1]["test_accuracy"]
    level = float(np.nanmax(accuracy[:200]))
    first = int(np.flatnonzero(accuracy >= level)[0])
    assert first > 3
    last, _, sentence, _ = stopped(tmp_path, {"at": "accuracy", "value": level})
    assert last == first
    assert sentence.startswith(f"stopped as asked (test accuracy ≥ {100 * level:g} %)")


def test_a_crossing_of_the_sharpness(tmp_path, whole):
    """From either side: where two measurements in a row lie on different sides of 2/η − λ."""
    columns = whole[1]
    known = np.flatnonzero(np.isfinite(columns["sharpness"]))
    beyond = columns["sharpness"][known] >= columns["stability_threshold"][known]
    crossed = known[1:][np.diff(beyond.astype(int)) != 0]
    assert len(crossed), "no crossing to find"
    first = int(crossed[crossed >= 3][0])
    last, _, sentence, _ = stopped(tmp_path, {"at": "crossing"})
    assert last == first
    assert sentence == f"stopped as asked (S crosses 2/η−λ) at step {first}"


def test_a_phase(tmp_path, whole):
    """Phases are told when rows are read, a few at a time: no sooner than it began."""
    phases = [(e.payload["to"], e.step) for e in whole[2] if e.kind == "phase"]
    name, began = phases[-1]
    last, status, sentence, events = stopped(tmp_path, {"at": "phase", "value": name})
    assert status == "stopped"
    assert last >= began
    assert sentence == f"stopped as asked (phase {name}) at step {last}"
    assert [e.payload["to"] for e in events if e.kind == "phase"][-1] == name


def test_it_is_taken_back(tmp_path):
    script = {3: [("stop_at", {"at": "step", "value": 20})], 5: [("stop_at", {})]}
    last, status, _, events = told(here(small(steps=30), tmp_path, script))
    assert (last, status) == (30, "finished")
    assert pending(events) == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"at": "step", "value": 2}, "step 2 is over: step 5 comes next"),
        ({"at": "step", "value": 30}, "the run ends at step 30 anyway"),
        ({"at": "step", "value": 7.5}, "steps are whole numbers"),
        ({"at": "step", "value": True}, "must be a number"),
        ({"at": "loss", "value": "low"}, "must be a number"),
        ({"at": "phase", "value": "egde"}, "there is no phase `egde`; did you mean `edge`"),
        ({"at": "accuracy", "value": 95}, "from 0 to 100 %"),
        ({"at": "crosing"}, "can't stop at `crosing`; did you mean `crossing`"),
        ({"at": ["x"]}, "can't stop at"),
    ],
)
def test_what_cannot_be_is_refused_and_the_run_goes_on(tmp_path, content, said):
    last, status, _, events = told(here(small(steps=30), tmp_path, {5: [("stop_at", content)]}))
    assert (last, status) == (30, "finished")
    (refused,) = [e.payload["reason"] for e in events if e.kind == "refused"]
    assert said in refused


def test_a_run_that_was_killed_still_stops_there_once_it_is_resumed(tmp_path):
    """Its fork doesn't: what was asked of a run is that run's. The steps are the undisturbed ones."""
    engine = Engine(small(steps=100_000), tmp_path)
    engine.reaches(50)
    engine.asks("pause")
    with Run(engine.path) as run:
        goal = run.last_step + 60
    engine.asks("stop_at", at="step", value=goal)
    engine.kill()
    last, _, _, events = told(engine.path)
    assert pending(events) == (Stop(StopCondition("step", goal)),)

    fork = here(Fork(entry(engine.path), last, {"steps": goal + 20}), tmp_path)
    reached, status, _, events = told(fork)
    assert (reached, status) == (goal + 20, "finished")
    assert pending(events) == ()

    here(Resume(entry(engine.path)), tmp_path)
    reached, status, sentence, _ = told(engine.path)
    assert (reached, status) == (goal, "stopped")
    assert sentence == f"stopped as asked (step {goal}) at step {goal}"
    assert_same_rows(fork, engine.path)

    here(Resume(entry(engine.path)), tmp_path, {goal + 10: [("stop", {})]})
    assert told(engine.path)[0] == goal + 9  # what was reached doesn't end it again


@pytest.mark.parametrize(
    ("typed", "condition"),
    [
        ("", None),
        ("nothing", None),
        ("train accuracy 99.99 %", StopCondition("train_accuracy", 0.9999)),
        ("Training accuracy ≥ .9", StopCondition("train_accuracy", 0.9)),
        ("rest", StopCondition("rest")),
        ("at rest + 2000 steps", StopCondition("rest", "", 2000)),
        ("edge +500", StopCondition("phase", "edge", 500)),
        ("L 1e-3 +2e3", StopCondition("loss", 1e-3, 2000)),
        ("L 1e+3", StopCondition("loss", 1e3)),
        ("5000", StopCondition("step", 5000)),
        ("step 5e3", StopCondition("step", 5000)),
        ("L 0.01", StopCondition("loss", 0.01)),
        ("loss <= 1/100", StopCondition("loss", 0.01)),
        ("Edge", StopCondition("phase", "edge")),
        ("phase lowered", StopCondition("phase", "lowered edge")),
        ("crossing", StopCondition("crossing")),
        ("S crosses 2/η − λ", StopCondition("crossing")),
        ("accuracy 95 %", StopCondition("accuracy", 0.95)),
        ("test accuracy ≥ .95", StopCondition("accuracy", 0.95)),
        ("95%", StopCondition("accuracy", 0.95)),
    ],
)
def test_what_people_type(typed, condition):
    assert parse(typed) == (() if condition is None else (condition,))
    if condition is not None:
        assert parse(condition.typed) == (condition,)
        assert StopCondition.of(condition.content) == condition


def test_several_are_typed_with_commas():
    several = parse("rest +2000, train accuracy 99.99 % or L 1e-3; step 9")
    assert [condition.kind for condition in several] == ["rest", "train_accuracy", "loss", "step"]
    assert parse(as_typed(several)) == several


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("egde", "did you mean `edge`"),
        ("12.5", "whole numbers"),
        ("L low", "isn't a number"),
        ("accuracy 950 %", "from 0 to 100 %"),
        ("gibberish", "is nothing to stop at"),
        ("rest 5", "is nothing to stop at"),
        ("rest +1.5", "steps are whole numbers, not 1.5"),
        ("step 5 +3", "say at which step"),
        ("train accuracy 101 %", "a train accuracy is from 0 to 100 %"),
    ],
)
def test_what_people_mistype(typed, said):
    with pytest.raises(InputError, match=said):
        parse(typed)


def test_what_a_later_version_asks_for_is_left_alone():
    assert pending([Event(3, 0.0, "stop_at", {"at": "boredom", "value": 1})]) == ()


def test_steps_that_are_taken_in_stretches_stop_as_exactly(tmp_path, whole, monkeypatch):
    """As on a device that is run ahead of: no stretch passes what a run is to stop at."""
    begun = Pace.__init__

    def ahead(pace, device):
        begun(pace, device)
        pace.most = 50

    monkeypatch.setattr(Pace, "__init__", ahead)
    last, *_ = stopped(tmp_path / "step", {"at": "step", "value": 41}, at=0)
    assert last == 41
    loss = whole[1]["loss"]
    level = float(loss[60]) * 1.0001
    last, *_ = stopped(tmp_path / "loss", {"at": "loss", "value": level}, at=0)
    assert last == int(np.flatnonzero(loss <= level)[0])


def end_of(path):
    last, status, sentence, events = told(path)
    return last, status, sentence, ended_by(events)


def test_a_setting_ends_a_run_as_the_key_does(tmp_path, whole):
    """The first of several that holds; a run that goes on ends at the others."""
    accuracy, loss = whole[1]["train_accuracy"], whole[1]["loss"]
    half = int(np.flatnonzero(accuracy >= 0.5)[0])
    low = float(loss[half + 40]) * 1.0001
    later = int(np.flatnonzero(loss <= low)[0])
    assert half < later
    config = small(steps=STEPS, test_cadence=10, stop_at=[f"loss {low!r}", "train accuracy 50 %"])
    path = here(config, tmp_path)
    assert end_of(path) == (
        half,
        "stopped",
        f"stopped as asked (train accuracy ≥ 50 %) at step {half}",
        StopCondition("train_accuracy", 0.5),
    )
    assert_same_rows(path, whole[0])
    here(Resume(entry(path)), tmp_path)
    assert end_of(path)[::3] == (later, StopCondition("loss", low))
    here(Resume(entry(path)), tmp_path)
    assert end_of(path)[:2] == (STEPS, "finished")
    assert end_of(path)[3] is None
    assert_same_rows(path, whole[0], whole=True)


def test_steps_are_taken_after_it(tmp_path, whole):
    half = int(np.flatnonzero(whole[1]["train_accuracy"] >= 0.5)[0])
    config = small(steps=STEPS, test_cadence=10, stop_at="train accuracy 50 % +17")
    path = here(config, tmp_path)
    last, status, sentence, condition = end_of(path)
    assert (last, status) == (half + 17, "stopped")
    assert sentence == f"stopped as asked (train accuracy ≥ 50 %, and 17 steps) at step {last}"
    assert condition == StopCondition("train_accuracy", 0.5, 17)
    # stopped by its user on the way, it still ends there
    other = here(config, tmp_path / "other", {half + 5: [("stop", {})]})
    assert end_of(other)[0] == half + 4
    here(Resume(entry(other)), tmp_path / "other")
    assert end_of(other) == end_of(path)


def test_resume_and_fork_have_ends_of_their_own(tmp_path, whole):
    """What a run had ended by doesn't end its forks; what it had not does; what is given is all."""
    half = int(np.flatnonzero(whole[1]["train_accuracy"] >= 0.5)[0])
    config = small(steps=STEPS, stop_at=["train accuracy 50 %", f"step {half + 30}"])
    path = here(config, tmp_path)
    assert end_of(path)[0] == half
    on = here(Fork(entry(path), half + 1), tmp_path)
    assert end_of(on)[::3] == (half + 30, StopCondition("step", half + 30))
    again = here(Fork(entry(path), half - 4), tmp_path)
    assert end_of(again)[::3] == (half, StopCondition("train_accuracy", 0.5))
    own = here(Fork(entry(path), half + 1, {"stop_at": ["L 1e9 +5"]}), tmp_path)
    assert end_of(own)[::3] == (half + 1 + 5, StopCondition("loss", 1e9, 5))
    none = here(Fork(entry(path), half + 1, {"stop_at": [], "steps": half + 50}), tmp_path)
    assert end_of(none)[:2] == (half + 50, "finished")
    here(Resume(entry(path), stop_at=(f"step {half + 9}",)), tmp_path)
    assert end_of(path)[0] == half + 9


def test_a_run_that_was_killed_once_it_had_reached_its_end_ends_there(tmp_path, whole):
    """Whether it had noted that or not: a row may be on record that was never looked at."""
    half = int(np.flatnonzero(whole[1]["train_accuracy"] >= 0.5)[0])
    config = small(steps=STEPS, test_cadence=10, stop_at="train accuracy 50 %")
    whole_run = here(config, tmp_path / "whole")
    for noted in (True, False):
        folder = tmp_path / f"{noted}"
        path = here(config, folder)
        with sqlite3.connect(path / "run.db") as database:  # as it is before the end is written
            kinds = "('stopped')" if noted else "('stopped', 'reached')"
            database.execute(f"DELETE FROM events WHERE kind IN {kinds}")
            (count,) = database.execute("SELECT MAX(id) FROM events").fetchone()
            seal = list(database.execute("SELECT * FROM seal").fetchone())
            names = [row[1] for row in database.execute("PRAGMA table_info(seal)")]
            seal[names.index("events")] = count
            database.execute("DELETE FROM seal")
            database.execute(f"INSERT INTO seal VALUES ({','.join('?' * len(seal))})", seal)
            database.execute("DELETE FROM run WHERE key IN ('sentence', 'ended')")
            value = ("status", "running")
            database.execute(
                "UPDATE run SET value = ?, crc32 = ? WHERE key = 'status'",
                (value[1], checksum(value)),
            )
            (facts,) = database.execute("SELECT COUNT(*) FROM run").fetchone()
            database.execute("UPDATE seal SET facts = ?", (facts,))
        if not noted:  # a checkpoint is taken once it was looked at
            checkpoints.files(path)[-1].path.unlink()
        here(Resume(entry(path)), folder)
        assert end_of(path) == end_of(whole_run)
        assert end_of(path)[0] == half
        assert_same_rows(path, whole_run, whole=True)


def test_what_a_problem_does_not_have_is_refused_before_it_begins(tmp_path):
    with pytest.raises(InputError, match="no accuracy on its training samples"):
        here(small(problem="two-layer-scalar", stop_at="train accuracy 90 %"), tmp_path)
    assert not list(tmp_path.iterdir())
    script = {3: [("stop_at", {"at": "train_accuracy", "value": 0.9})]}
    _, _, _, events = told(here(small(problem="two-layer-scalar", steps=9), tmp_path, script))
    (refused,) = [e.payload["reason"] for e in events if e.kind == "refused"]
    assert "no accuracy" in refused


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("egde", "`stop_at`: `egde` is nothing to stop at; did you mean `edge`"),
        (["rest", 5], "`stop_at"),
        ("accuracy 950 %", "from 0 to 100 %"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(value, said):
    with pytest.raises(InputError, match=said):
        small(stop_at=value)


def test_an_accuracy_that_is_a_sum_of_shares_may_be_rounded():
    assert StopCondition("train_accuracy", 0.9).holds(Seen(3, train_accuracy=0.9 - 1e-12))
    assert not StopCondition("train_accuracy", 0.9).holds(Seen(3, train_accuracy=0.8999))
