"""Changes of η and λ by step, epoch and accuracy, at once and evenly, against loops written by hand."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import taped
import torch
from engines import Engine, assert_same_rows, entry, here, small

from eostui.engine.replay import replay
from eostui.engine.session import EngineSession
from eostui.errors import InputError
from eostui.problems import build_problem
from eostui.problems.batch import parts_of
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.save_preset import steered_config
from eostui.runs.shelf import read_entry
from eostui.runs.store import checkpoints

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 120
NEAR = {"rtol": 1e-9, "atol": 1e-12}


def columns(path):
    with Run(path) as run:
        return {name: run[name] for name in ("loss", "train_accuracy", "eta", "weight_decay")}


def kinds(path, kind):
    with Run(path) as run:
        return [(event.step, dict(event.payload)) for event in run.events if event.kind == kind]


def by_hand(config, tmp_path, controls):
    """Loss and accuracy of a loop in plain PyTorch; `controls` gives η and λ of a step, by the step and
    the accuracies so far, that of θ_t not among them."""
    problem = build_problem(config, torch.device("cpu"), tmp_path, lambda _text: None)
    (made_of,) = (part.supervised for part in parts_of(problem.loss))
    inputs, targets = made_of.inputs, made_of.targets
    module = problem.module(problem.initial)
    losses, shares, etas, decays = [], [], [], []
    for step in range(config.steps + 1):
        eta, decay = controls(step, shares)
        outputs = module(inputs)
        loss = 0.5 * ((outputs - targets) ** 2).sum(1).mean()
        losses.append(loss.item())
        etas.append(eta)
        decays.append(decay)
        shares.append(float((outputs.argmax(1) == targets.argmax(1)).double().mean()))
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(module.parameters(), gradients, strict=True):
                parameter -= eta * (gradient + decay * parameter)
    return {
        "loss": np.array(losses), "train_accuracy": np.array(shares), "eta": np.array(etas),
        "weight_decay": np.array(decays),
    }  # fmt: skip


def assert_as_by_hand(config, tmp_path, controls):
    path = here(config, tmp_path)
    found = columns(path)
    for name, expected in by_hand(config, tmp_path, controls).items():
        np.testing.assert_allclose(found[name], expected, **NEAR, err_msg=name)
    return path


def double(**values):
    return small(
        **{
            "dtype": "float64",
            "steps": STEPS,
            "far_cadence": 0,
            "cadence": 30,
            "measure": "spectrum",
            **values,
        }
    )


def test_a_warm_up_at_the_start(tmp_path):
    """The first of its steps has eta/warm_up, its last one eta."""
    config = double(warm_up=20)

    def controls(step, _shares):
        return 0.3 * min(step + 1, 20) / 20, 0.0

    path = assert_as_by_hand(config, tmp_path, controls)
    eta = columns(path)["eta"]
    assert eta[0] == pytest.approx(0.015)
    assert (eta[18], eta[19], eta[20]) == (pytest.approx(0.285), 0.3, 0.3)
    assert kinds(path, "scheduled") == [(0, {"warm_up": {"eta": [0.0, 0.3]}, "steps": 20})]


def test_even_changes_from_where_they_are_and_from_where_is_stated(tmp_path):
    config = double(
        controls=[
            {"step": 10, "eta": 0.1, "weight_decay": 0.02, "warm_up": 8},
            {"epoch": 40, "weight_decay": 0.05},
            {"step": 60, "eta": 0.2, "warm_up": 10, "warm_up_from": {"eta": 0.01}},
        ]
    )

    def controls(step, _shares):
        share = min(max(step - 9, 0) / 8, 1)
        eta, decay = 0.3 + (0.1 - 0.3) * share, 0.02 * share
        if step >= 40:
            decay = 0.05
        if step >= 60:
            eta = 0.01 + (0.2 - 0.01) * min((step - 59) / 10, 1)
        return eta, decay

    assert_as_by_hand(config, tmp_path, controls)


REACHED = [
    {"at_accuracy": 0.6, "eta": 0.2},
    {"at_accuracy": 0.75, "eta": 0.1, "weight_decay": 0.01, "warm_up": 12},
]


def by_accuracy(step, shares):
    first = next((n for n, share in enumerate(shares) if share >= 0.6), None)
    second = next((n for n, share in enumerate(shares) if share >= 0.75), None)
    eta = 0.3 if first is None or step <= first else 0.2
    if second is None or step <= second:
        return eta, 0.0
    taken = min(step - second, 12) / 12
    return 0.2 + (0.1 - 0.2) * taken, 0.01 * taken


def test_changes_by_accuracy(tmp_path):
    """From the step after the first that has it; once, though the accuracy falls and comes again."""
    config = double(controls=REACHED)
    path = assert_as_by_hand(config, tmp_path, by_accuracy)
    shares = columns(path)["train_accuracy"]
    first, second = (int(np.flatnonzero(shares >= share)[0]) for share in (0.6, 0.75))
    assert 0 < first < second < STEPS - 20
    assert [(step, told["at_accuracy"]) for step, told in kinds(path, "scheduled")] == [
        (first + 1, 0.6), (second + 1, 0.75),
    ]  # fmt: skip


def differences(path):
    config = read_entry(path).config
    session = EngineSession(config, path.parent, lambda _text: None, path)
    return replay(session, path, lambda *_steps: None).differences


ALL = {
    "warm_up": 15,
    "controls": [{"step": 20, "eta": 0.25}, *REACHED, {"step": 90, "eta": 0.3, "warm_up": 9}],
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return here(double(**ALL), tmp_path_factory.mktemp("whole"))


def test_it_replays_to_the_bit(whole):
    assert differences(whole) == []


def test_captured_and_in_stretches_it_is_the_same(whole, tmp_path, monkeypatch):
    taped.tape(monkeypatch)
    path = here(double(**ALL), tmp_path)
    assert_same_rows(path, whole, whole=True)
    assert kinds(path, "control") == kinds(whole, "control")


def ends():
    """A step within the first warm-up, before and at a trigger and after it, and in the last one."""
    return [7, "before", "at", "after", 94]


@pytest.mark.parametrize("end", ends())
def test_it_goes_on_from_anywhere_as_if_it_had_never_ended(whole, tmp_path, end):
    """Resumed with and without its newest checkpoint, and forked."""
    (first, _), (trigger, _) = [
        (step, told) for step, told in kinds(whole, "scheduled") if "at_accuracy" in told
    ]
    assert first < trigger
    place = {"before": trigger - 2, "at": trigger - 1, "after": trigger}
    end = place.get(end, end)
    path = here(double(**ALL), tmp_path, {end + 1: [("stop", {})]})
    assert read_entry(path).last_step == end
    forked = here(Fork(read_entry(path), end + 1), tmp_path)
    early = here(Fork(read_entry(path), end - 2), tmp_path)
    here(Resume(entry(path)), tmp_path)
    for each in (path, forked, early):
        assert_same_rows(each, whole, whole=True)
        assert kinds(each, "scheduled") == kinds(whole, "scheduled")
        assert kinds(each, "control") == kinds(whole, "control")
        assert differences(each) == []


AT_ONCE = {**ALL, "controls": [{"step": 0, "weight_decay": 0.01}, *ALL["controls"]]}


def test_it_goes_on_from_before_its_first_step_as_if_it_had_never_ended(tmp_path):
    """Stopped where its warm-up has begun: resumed, with and without its checkpoint, and forked."""
    undisturbed = here(double(**AT_ONCE), tmp_path)
    assert columns(undisturbed)["eta"][0] == pytest.approx(0.02)
    path = here(double(**AT_ONCE), tmp_path, {0: [("stop", {})]})
    assert read_entry(path).last_step == -1
    forked = here(Fork(read_entry(path), 0), tmp_path)
    late = here(Fork(read_entry(undisturbed), 0), tmp_path)
    again = here(Fork(read_entry(late), 0), tmp_path)
    twice = here(Fork(read_entry(undisturbed), 0), tmp_path, {0: [("stop", {})]})
    bare = here(double(**AT_ONCE), tmp_path, {0: [("stop", {})]})
    shutil.rmtree(bare / checkpoints.FOLDER)
    for each in (path, twice, bare):
        here(Resume(entry(each)), tmp_path)
    for each in (path, forked, late, again, twice, bare):
        assert_same_rows(each, undisturbed, whole=True)
        assert kinds(each, "scheduled") == kinds(undisturbed, "scheduled")
        assert kinds(each, "control") == kinds(undisturbed, "control")
        assert differences(each) == []


def test_what_is_set_before_the_first_step_holds(tmp_path):
    """By hand, also once it is gone on with, and in a fork."""
    config = double(warm_up=15, controls=[{"step": 0, "weight_decay": 0.01}], steps=30)
    path = here(config, tmp_path, {0: [("set", {"eta": 0.05}), ("stop", {})]})
    here(Resume(entry(path)), tmp_path)
    fork = here(Fork(read_entry(path), 0, {"eta": 0.07}), tmp_path)
    stopped = here(Fork(read_entry(path), 0, {"eta": 0.07}), tmp_path, {0: [("stop", {})]})
    here(Resume(entry(stopped)), tmp_path)
    for each, eta in ((path, 0.05), (fork, 0.07), (stopped, 0.07)):
        found = columns(each)
        assert set(found["eta"]) == {eta}
        assert set(found["weight_decay"]) == {0.01}
        assert differences(each) == []
    assert_same_rows(fork, stopped, whole=True)


def test_a_fork_where_its_parent_has_not_come_does_the_rest_that_the_config_says_there(tmp_path):
    """What it doesn't set itself; what it sets holds, though the config changes that at this step too."""
    changes = [{"step": 21, "eta": 0.2, "weight_decay": 0.02, "warm_up": 4}]
    path = here(double(controls=changes, steps=20), tmp_path)
    fork = here(Fork(read_entry(path), 21, {"eta": 0.05, "steps": 40}), tmp_path)
    stopped = here(
        Fork(read_entry(path), 21, {"eta": 0.05, "steps": 40}), tmp_path, {21: [("stop", {})]}
    )
    here(Resume(entry(stopped)), tmp_path)
    for each in (fork, stopped):
        found = columns(each)
        assert set(found["eta"][21:]) == {0.05}
        assert found["weight_decay"][20:25] == pytest.approx([0, 0.005, 0.01, 0.015, 0.02])
        assert differences(each) == []
    assert_same_rows(fork, stopped, whole=True)


def test_killed_across_a_trigger_it_goes_on_the_same(whole, tmp_path):
    (trigger,) = [s for s, told in kinds(whole, "scheduled") if told.get("at_accuracy") == 0.75]
    for place in (trigger - 3, trigger + 2):
        engine = Engine(double(**{**ALL, "checkpoint_every": 1000.0}), tmp_path)
        engine.reaches(place)
        engine.kill()
        here(Resume(entry(engine.path)), tmp_path)
        assert_same_rows(engine.path, whole, whole=True)
        assert kinds(engine.path, "scheduled") == kinds(whole, "scheduled")


def test_what_is_set_by_hand_ends_a_warm_up_of_that_control(tmp_path):
    config = double(controls=[{"step": 5, "eta": 0.1, "weight_decay": 0.04, "warm_up": 40}])
    path = here(config, tmp_path, {20: [("set", {"eta": 0.27})], 30: [("stop", {})]})
    here(Resume(entry(path)), tmp_path)
    found = columns(path)
    assert set(found["eta"][20:]) == {0.27}
    assert found["weight_decay"][-1] == 0.04
    assert found["weight_decay"][24] == pytest.approx(0.02)
    assert differences(path) == []


def warm_up_of_two(**values):
    """η falls and λ rises over the steps 5 to 44."""
    change = {"step": 5, "eta": 0.1, "weight_decay": 0.04, "warm_up": 40}
    return double(**{"controls": [change], "steps": 60, **values})


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return here(warm_up_of_two(), tmp_path_factory.mktemp("two"))


def assert_eta_stays(path, step, eta):
    """From that step on; λ goes on rising, and a replay is the same."""
    found = columns(path)
    assert set(found["eta"][step:]) == {eta}
    if len(found["weight_decay"]) > 44:
        assert found["weight_decay"][44] == 0.04
        assert found["weight_decay"][24] == pytest.approx(0.02)
    assert differences(path) == []


def test_a_fork_keeps_the_value_that_a_warm_up_has_just_then_if_it_is_asked_for(two, tmp_path):
    """Also stopped before its first step and gone on with, where a run ended, and of a fork."""
    eta = float(columns(two)["eta"][20])
    asked = here(Fork(read_entry(two), 20, {"eta": eta}), tmp_path)
    stopped = here(Fork(read_entry(two), 20, {"eta": eta}), tmp_path, {20: [("stop", {})]})
    here(Resume(entry(stopped)), tmp_path)
    ended = here(warm_up_of_two(steps=19), tmp_path)
    beyond = here(Fork(read_entry(ended), 20, {"eta": eta, "steps": 60}), tmp_path)
    again = here(Fork(read_entry(asked), 20), tmp_path)
    later = here(Fork(read_entry(asked), 30), tmp_path)
    for each in (asked, stopped, beyond, again, later):
        assert_eta_stays(each, 20, eta)
        assert kinds(each, "control")[-1][1].keys() == {"weight_decay"}
        assert (20, {"eta": [eta, eta]}) in kinds(each, "control")
    unasked = here(Fork(read_entry(two), 20), tmp_path)
    assert_same_rows(unasked, two, whole=True)


def test_a_key_keeps_the_value_that_a_warm_up_has_just_then(two, tmp_path):
    """Gone on with after a stop at each place around it, also without a checkpoint, and as a preset."""
    eta = float(columns(two)["eta"][20])
    key, end = ("set", {"eta": eta}), ("stop", {})
    for script in ({20: [key, end]}, {20: [key], 21: [end]}, {20: [key], 30: [end]}):
        path = here(warm_up_of_two(), tmp_path, script)
        with Run(path) as run:
            preset = steered_config(run, "again")
        bare = here(warm_up_of_two(), tmp_path, script)
        shutil.rmtree(bare / checkpoints.FOLDER)
        for each in (path, bare):
            here(Resume(entry(each)), tmp_path)
            assert_eta_stays(each, 20, eta)
        found = columns(here(preset, tmp_path))
        assert set(found["eta"][20:]) == {eta}


@pytest.mark.parametrize("at", [19, 20], ids=["the step before", "its own step"])
def test_a_change_of_the_config_keeps_the_value_that_a_warm_up_has_just_then(two, tmp_path, at):
    """Of the step before, which nothing changes, or of that step, which the warm-up makes too."""
    eta = float(columns(two)["eta"][at])
    changes = [*warm_up_of_two().controls, {"step": 20, "eta": eta}]
    whole_run = here(warm_up_of_two(controls=changes), tmp_path)
    part = here(warm_up_of_two(controls=changes), tmp_path, {20: [("stop", {})]})
    shutil.rmtree(part / checkpoints.FOLDER)
    here(Resume(entry(part)), tmp_path)
    for each in (whole_run, part):
        assert_eta_stays(each, 20, eta)


def test_a_warm_up_that_cannot_go_on_ends(tmp_path):
    """λ rises until ηλ would be 1; the rest of the warm-up isn't taken up again after a resume."""
    change = {"step": 2, "eta": 0.1, "weight_decay": 9.0, "warm_up": 10}
    script = {6: [("set", {"eta": 0.15})], 9: [("set", {"eta": 1e-3}), ("stop", {})]}
    path = here(double(controls=[change], steps=20), tmp_path, script)
    assert len(kinds(path, "refused")) == 1
    stays = columns(path)["weight_decay"][-1]
    shutil.rmtree(path / checkpoints.FOLDER)
    here(Resume(entry(path)), tmp_path)
    assert set(columns(path)["weight_decay"][-12:]) == {stays}


def test_a_fork_that_sets_a_control_leaves_out_what_would_change_it(whole, tmp_path):
    """Also what is under way; what was reached before it isn't reached again."""
    fork = here(Fork(read_entry(whole), 8, {"eta": 0.05}), tmp_path)
    found = columns(fork)
    assert set(found["eta"][8:]) == {0.05}
    late = here(Fork(read_entry(whole), 80, {"eta": 0.05}), tmp_path)
    found = columns(late)
    assert set(found["eta"][80:]) == {0.05}
    config = read_entry(late).config
    assert [change.at_accuracy for change in config.controls if change.at is None] == [0.6, 0.75]
    assert differences(late) == []


def test_saved_as_a_preset_it_does_the_same(whole, tmp_path):
    with Run(whole) as run:
        config = steered_config(run, "again")
    assert config.warm_up == 0
    assert_same_rows(here(config, tmp_path), whole, whole=True)
    part = here(double(**ALL), tmp_path, {7: [("stop", {})]})
    with Run(part) as run:
        config = steered_config(run, "again")
    assert [change.at_accuracy for change in config.controls if change.at is None] == [0.6, 0.75]
    assert_same_rows(here(config, tmp_path), whole, whole=True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"controls": [{"eta": 0.1}]}, "one of `step`, `epoch` and `at_accuracy`, but none is"),
        ({"controls": [{"step": 1, "epoch": 1, "eta": 0.1}]}, "but `step` and `epoch` are given"),
        ({"controls": [{"at_accuracy": 90, "eta": 0.1}]}, "`at_accuracy` is 90"),
        (
            {"controls": [{"at_accuracy": 0.9, "eta": 0.1}, {"at_accuracy": 0.8, "eta": 0.2}]},
            "at accuracy 80 % comes after 90 %",
        ),
        ({"controls": [{"step": 5, "eta": 0.1}, {"epoch": 5, "eta": 0.2}]}, "must rise"),
        ({"controls": [{"step": 5, "eta": 0.1, "warm_up": 0}]}, "`warm_up` is 0"),
        ({"controls": [{"step": 5, "eta": 0.1, "warm_up_from": {"eta": 0.0}}]}, "but no `warm_up`"),
        (
            {"controls": [{"step": 5, "eta": 0.1, "warm_up": 3, "warm_up_from": {"etta": 0.0}}]},
            "has `etta`, which it doesn't change; did you mean `eta`?",
        ),
        ({"controls": [{"at_acuracy": 0.9, "step": 3, "eta": 0.1}]}, "did you mean `at_accuracy`?"),
        ({"warm_up": -1}, "`warm_up` is -1"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_said(values, said):
    with pytest.raises(InputError) as caught:
        small(**values)
    assert said in str(caught.value)


def test_what_never_came_is_said_at_the_end(tmp_path):
    """Of an accuracy that isn't reached, a step that there isn't; a change at the last step comes."""
    changes = [
        {"step": 9, "eta": 0.2},
        {"at_accuracy": 0.05, "eta": 0.15},
        {"step": 20, "eta": 0.1},
        {"at_accuracy": 1.0, "eta": 0.01},
        {"step": 21, "eta": 0.05},
    ]
    path = here(small(steps=20, controls=changes), tmp_path)
    with Run(path) as run:
        assert run.facts["sentence"] == (
            "finished after 20 steps; `controls` at accuracy 100 % and `controls` at step 21 never came"
        )
        assert run.steps["eta"][-1] == 0.1
    with Run(here(small(steps=20, controls=changes[:3]), tmp_path)) as run:
        assert run.facts["sentence"] == "finished after 20 steps"


def test_an_accuracy_of_a_problem_without_one_is_refused(tmp_path):
    config = small(problem="two-layer-scalar", controls=[{"at_accuracy": 0.9, "eta": 0.1}])
    with pytest.raises(InputError, match="no accuracy on its training samples"):
        here(config, tmp_path)
