"""Programs: captured, staged and called they give the same bits; what can't be captured runs as ever.

On a CPU a tape stands for a CUDA graph (`taped.py`). What is seen here of it is seen of every device.
"""

from __future__ import annotations

import contextlib
import gc
import time
from pathlib import Path

import numpy as np
import pytest
import taped
import torch
from engines import assert_same_rows, derived, entry, here, small
from torch import nn

from eostui.curvature import capture, eigenpairs
from eostui.curvature.capture import Programs, State, Uncapturable
from eostui.curvature.point import Point, Points
from eostui.dynamics.gradient_descent import descend, descend_by, descent_factors
from eostui.engine import recorder
from eostui.engine.device import prepare_machine
from eostui.engine.driver import Driver
from eostui.engine.facts import initial_facts
from eostui.engine.laps_ahead import LapsAhead
from eostui.engine.pace import STRETCH, Pace
from eostui.engine.recorder import Recorder
from eostui.engine.trajectory import LAP, Trajectory
from eostui.problems import Problem
from eostui.problems.losses import half_squared_error
from eostui.runs.analysis.remarks import remark
from eostui.runs.launch import Fork, Resume
from eostui.runs.run import Run
from eostui.runs.store.writer import RunWriter

pytestmark = pytest.mark.usefixtures("one_thread")

#: Three changes of the controls, on unmeasured steps and on a measured one.
STEERED = {
    17: [("set", {"eta": 0.2})],
    30: [("set", {"weight_decay": 0.03})],
    43: [("set", {"eta": 0.15, "weight_decay": 0.01})],
}
TOLD_APART = {"reading_seconds"}
LAGGED = f"{Path(__file__).parents[1] / 'lagged_descent.py'}:LaggedDescent"


def columns(path):
    with Run(path) as run:
        return {name: np.array(values) for name, values in run.columns().items()}


def assert_same_bits(one, other):
    mine, others = columns(one), columns(other)
    assert {*mine} == {*others}
    for name in mine.keys() - TOLD_APART:
        np.testing.assert_array_equal(mine[name], others[name], name)
    assert derived(one) == derived(other)


def uncaptured(path):
    with Run(path) as run:
        return [event for event in run.events if event.kind == "uncaptured"]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"activation": "tanh", "dtype": "float64", "eta": 0.05},
        {"network": "cnn", "samples": 20, "width": 2, "steps": 50},
        {"network": "vgg10", "stages": [[2, 1]], "batch_norm_group": 8, "samples": 20, "steps": 50},
        {"loss": "cross-entropy", "decay_biases": False},
        {"dynamics": "heavy-ball", "eta": 0.05},
        {"dynamics": "nesterov", "eta": 0.05},
        {"dynamics": "adamw", "eta": 0.003},
        {"dynamics": "rmsprop", "eta": 0.003, "decay_biases": False},
        {"reading": "midpoint", "smallest_eigenvalue": True},
        {"calibrate_at": 22, "eta": 0.5},
        {"problem": "four-layer-scalar", "eta": 0.1, "far_cadence": 0, "dtype": "float64"},
    ],
    ids=lambda values: ",".join(map(str, values)),
)
def test_captured_staged_and_called_agree_to_the_bit(values, tmp_path, monkeypatch):
    """Rows and readings of 60 steps with three changes of the controls."""
    config = small(**{"steps": 60, **values})
    called = here(config, tmp_path / "called", STEERED)
    capturers = taped.tape(monkeypatch)
    monkeypatch.setenv(capture.SWITCH, "0")
    staged = here(config, tmp_path / "staged", STEERED)
    assert [len(each.graphs) for each in capturers] == [0]
    monkeypatch.setenv(capture.SWITCH, "1")
    taped_run = here(config, tmp_path / "taped", STEERED)
    assert_same_bits(staged, taped_run)
    assert_same_bits(called, taped_run)
    assert not uncaptured(staged)
    assert not uncaptured(taped_run)
    graphs = taped.graphs(capturers[1:])
    assert len(graphs) >= 5  # a step, its parts, L with ∇L, Hv
    assert sum(graph.replays for graph in graphs) > 60


@pytest.mark.parametrize(
    "values",
    [{}, {"dtype": "float64", "eigenvalues": 3}, {"calibrate_at": 22, "eta": 0.5}],
    ids=lambda values: ",".join(map(str, values)),
)
def test_captured_and_staged_agree_to_the_bit_where_reading_costs(values, tmp_path, monkeypatch):
    """With the search space of a GPU, whose products are a program of their own."""
    config = small(**{"steps": 60, **values})
    on_a_cpu = here(config, tmp_path / "on_a_cpu", STEERED)
    monkeypatch.setattr(eigenpairs, "waits", lambda _: True)
    called = here(config, tmp_path / "called", STEERED)
    capturers = taped.tape(monkeypatch)
    monkeypatch.setenv(capture.SWITCH, "0")
    staged = here(config, tmp_path / "staged", STEERED)
    monkeypatch.setenv(capture.SWITCH, "1")
    taped_run = here(config, tmp_path / "taped", STEERED)
    assert_same_bits(staged, taped_run)
    assert_same_bits(called, taped_run)
    assert not uncaptured(taped_run)
    assert len(taped.graphs(capturers[1:])) >= 5
    for name, allowed in {"sharpness": 1e-4, "beta": 1e-2}.items():
        np.testing.assert_allclose(columns(called)[name], columns(on_a_cpu)[name], rtol=allowed)


@pytest.mark.parametrize("size", [1, 7, 64, 1001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_factors_of_the_device_round_as_those_of_the_host(dtype, size):
    """θ⁺ is the same to the bit, with and without decay, on whole vectors and their ends."""
    generator = torch.Generator().manual_seed(size)
    mask = (torch.rand(size, generator=generator) > 0.5).to(dtype)
    for eta, decay in ((0.3, 0.0), (0.017, 0.02), (3.0, 0.3)):
        for decayed in (None, mask):
            for _ in range(20):
                theta, gradient = torch.randn(2, size, generator=generator, dtype=dtype)
                factors = [
                    torch.tensor(factor, dtype=dtype)
                    for factor in descent_factors(eta, decay, decayed)
                ]
                kept = theta.clone()
                found = descend_by(theta, gradient, factors, decayed)
                assert torch.equal(found, descend(theta, gradient, eta, decay, decayed))
                assert torch.equal(theta, kept)


@pytest.mark.parametrize(
    "values", [{}, {"dynamics": "heavy-ball", "eta": 0.05}, {"calibrate_at": "auto", "eta": 0.6}]
)
def test_steps_that_are_captured_together_are_steps(values, tmp_path, monkeypatch):
    """A lap's rows are those of its steps one by one; it ends before whatever is due.

    So are those of laps that were done beside a measurement, and the steps of those that were taken back.
    """
    controls = [{"step": 17, "weight_decay": 0.01}, {"step": 45, "weight_decay": 0.02}]
    config = small(
        **{"steps": 100, "cadence": 20, "far_cadence": 0, "controls": controls, **values}
    )
    alone = here(config, tmp_path / "alone")
    laps, flushed, ahead, back = [], [], [], []
    take_lap, flush = Trajectory._take_lap, Recorder.flush
    take_ahead, take_back = Trajectory._take_ahead, LapsAhead.take_back
    begin_at, trajectories = Trajectory._begin_at, []

    def end(self, _taken):
        self.most = 50

    def counted(self, controls):
        laps.append(self.next_step)
        take_lap(self, controls)

    def counted_ahead(self, controls, end):
        first = self.next_step
        taken = take_ahead(self, controls, end)
        ahead.extend(range(first, first + taken, LAP))
        return taken

    def counted_back(self):
        if self.count:
            back.append(trajectories[-1].next_step)
        take_back(self)

    def noted_who(self, theta):
        trajectories.append(self)
        begin_at(self, theta)

    def noted(self):
        flushed.append(self.next_step)
        flush(self)

    monkeypatch.setattr(Pace, "end", end)
    monkeypatch.setattr(Trajectory, "_take_lap", counted)
    monkeypatch.setattr(Trajectory, "_take_ahead", counted_ahead)
    monkeypatch.setattr(Trajectory, "_begin_at", noted_who)
    monkeypatch.setattr(LapsAhead, "take_back", counted_back)
    monkeypatch.setattr(Recorder, "flush", noted)
    monkeypatch.setattr(recorder, "CAPACITY", 20)
    taped.tape(monkeypatch)
    assert_same_bits(alone, here(config, tmp_path / "lapped"))
    assert laps
    # where a prediction begins or ends graphs are dropped: how often that is depends on rounding
    assert len(ahead) >= (1 if "calibrate_at" in values else 3)
    assert 41 in back  # step 45 is by other controls
    assert not any(at % 20 == 0 for lap in laps + ahead for at in range(lap, lap + LAP))
    assert not any(lap < at < lap + LAP for lap in laps + ahead for at in (17, 45))
    assert len(flushed) > 5


def test_stretches_end_where_something_is_due(tmp_path, monkeypatch):
    """However many steps a stretch may have: scheduled changes, pauses and calibrations keep theirs."""
    controls = [{"step": 17, "eta": 0.4}, {"step": 33, "weight_decay": 0.02}]
    config = small(steps=60, controls=controls, calibrate_at=23)
    alone = here(config, tmp_path / "alone")
    stretches = []
    take_steps = Trajectory.take_steps

    def end(self, _taken):
        self.most = 50

    def counted(self, controls, most):
        first = self.next_step
        take_steps(self, controls, most)
        stretches.append(range(first, self.next_step))

    monkeypatch.setattr(Pace, "end", end)
    monkeypatch.setattr(Trajectory, "take_steps", counted)
    taped.tape(monkeypatch)
    stretched = here(config, tmp_path / "stretched")
    assert_same_bits(alone, stretched)
    assert max(len(stretch) for stretch in stretches) > 3
    assert {17, 23, 33} <= {stretch.start for stretch in stretches}
    forked = here(Fork(entry(alone), 40, {"steps": 60}), tmp_path)
    assert_same_rows(forked, alone)


def test_runs_go_on_from_one_another_captured_or_not(tmp_path, monkeypatch):
    """Resumed captured what was called, and called what was captured; forked captured from called."""
    whole = here(small(steps=90), tmp_path / "whole", STEERED)
    parts = here(small(steps=40), tmp_path / "parts", STEERED)
    with monkeypatch.context() as patch:
        taped.tape(patch)
        here(Resume(entry(parts), steps=70), tmp_path / "parts", STEERED)
    here(Resume(entry(parts), steps=90), tmp_path / "parts", STEERED)
    assert_same_rows(parts, whole)
    with Run(parts) as run:
        resumed = [event.payload for event in run.events if event.kind == "resumed_from"]
        assert all(told.get("identical", True) for told in resumed)
    with monkeypatch.context() as patch:
        taped.tape(patch)
        forked = here(Fork(entry(whole), 37), tmp_path / "forked", STEERED)
    assert_same_rows(forked, whole)


# --- what can't be captured --------------------------------------------------------------------------


def train(folder, loss, **values):
    """Train θ ↦ loss of four parameters; return the run."""
    defaults = {
        "dtype": "float64",
        "device": "cpu",
        "threads": 1,
        "test_cadence": 10**6,
        "eta": 0.1,
    }
    config = small(**{**defaults, "steps": 20, "cadence": 5, "far_cadence": 0, **values})
    problem = Problem(torch.tensor([0.5, 1.0, -0.3, 0.2], dtype=torch.float64), loss, "c")
    machine = prepare_machine(config)
    writer = RunWriter(folder, initial_facts(config, machine, problem, "r", ""))
    driver = Driver(config, problem)
    status, sentence = driver.run(writer)
    writer.close()
    assert status == "finished", sentence
    return folder, driver


def quartic(theta):
    return 0.25 * (theta**4).sum() + 0.5 * theta[0] * theta[1]


def reads_a_value(theta):
    return quartic(theta) * (1.0 if float(theta.detach().sum()) < 1e9 else 2.0)


def picks_by_value(theta):
    return quartic(theta) + theta[theta.detach() > 1e9].sum()


def draws(theta):
    torch.rand(3)
    return quartic(theta)


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (reads_a_value, "the host reads a value"),
        (picks_by_value, "values"),
        (draws, "random numbers are drawn"),
    ],
)
def test_a_users_host_code_runs_as_ever_and_is_told_once(loss, why, tmp_path, monkeypatch):
    """The guard finds it before anything is captured; the numbers are those of a CPU."""
    called, _ = train(tmp_path / "called", loss)
    capturers = taped.tape(monkeypatch)
    staged, driver = train(tmp_path / "staged", loss)
    assert_same_bits(called, staged)
    (told,) = uncaptured(staged)
    assert why in told.payload["reason"]
    assert told.payload["reason"] in remark(told)
    assert driver.trajectory.programs.refusal == told.payload["reason"]
    assert not driver.trajectory.programs.captured
    assert not capturers[-1].graphs


def test_a_graph_that_gives_other_numbers_is_not_used(tmp_path, monkeypatch):
    """What a host keeps from call to call no guard sees: the first replay tells."""
    calls = []

    def counts(theta):
        calls.append(1)
        return quartic(theta) + float(len(calls))

    capturers = taped.tape(monkeypatch)
    path, driver = train(tmp_path / "r", counts, steps=10)
    (told,) = uncaptured(path)
    assert "other numbers" in told.payload["reason"]
    assert len(capturers[-1].graphs) == 1
    assert not driver.trajectory.programs.captured


class Full(taped.TapeCapturer):
    """Has room for a few graphs, and none for the next one."""

    room = 0

    def capture(self, function):
        if len(self.graphs) >= self.room:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            finally:  # as CUDA does it: the end of a capture that failed fails too
                raise RuntimeError("operation failed due to a previous error during capture")
        return super().capture(function)


@pytest.mark.parametrize("room", range(6))
def test_out_of_memory_while_capturing_goes_on_without_graphs(room, tmp_path, monkeypatch):
    """Whichever graph it is that doesn't fit, a point's among them: all are freed, rows are the same."""
    called, _ = train(tmp_path / "called", quartic)
    monkeypatch.setattr(Full, "room", room)
    capturers = taped.tape(monkeypatch, Full)
    path, driver = train(tmp_path / "r", quartic)
    assert_same_bits(called, path)
    if driver.trajectory.programs.refusal is None:
        assert len(capturers[-1].graphs) <= room
        return
    (told,) = uncaptured(path)
    assert "memory" in told.payload["reason"]
    assert not driver.trajectory.programs.captured
    assert capturers[-1].releases == 1


def test_chunks_are_not_captured_and_told(tmp_path, monkeypatch):
    """They run as they do on a CPU."""
    called = here(small(steps=30, chunk_size=30), tmp_path / "called")
    capturers = taped.tape(monkeypatch)
    staged = here(small(steps=30, chunk_size=30), tmp_path / "staged")
    assert_same_bits(called, staged)
    (told,) = uncaptured(staged)
    assert "chunks" in told.payload["reason"]
    assert not capturers[-1].graphs


def test_a_users_dynamics_steps_on_the_host_and_its_points_are_captured(tmp_path, monkeypatch):
    """And what it is given stays as it is: it may keep it."""
    called = here(small(steps=60, dynamics=LAGGED, eta=0.1), tmp_path / "called", STEERED)
    capturers = taped.tape(monkeypatch)
    staged = here(small(steps=60, dynamics=LAGGED, eta=0.1), tmp_path / "staged", STEERED)
    assert_same_bits(called, staged)
    assert len(capturers[-1].graphs) == 3  # L with ∇L, Hv, ∇S
    (told,) = uncaptured(staged)
    assert "dynamics" in told.payload["reason"]


KEEPER = """
import torch
from eostui.probes import Column, Probe, Reading


class Keeper(Probe):
    name = "keeper"
    columns = (Column("drift", "1", "by how much what was kept has changed"),)
    kept = None

    def due(self, moment):
        return moment.step % 5 == 0

    def measure(self, point, moment):
        product = point.hessian_product(torch.ones_like(point.theta))
        now = (point.theta, point.gradient, moment.displacement, product, point.loss)
        drift = 0.0
        if self.kept is not None:
            drift = sum(float((a - b).abs().sum()) for a, b in zip(*self.kept))
        self.kept = now, [each.clone() for each in now]
        return Reading({"drift": drift})
"""


def test_what_a_probe_keeps_stays_as_it_is(tmp_path, monkeypatch):
    """Programs write over their own memory alone."""
    file = tmp_path / "keeper.py"
    file.write_text(KEEPER)
    taped.tape(monkeypatch)
    found = columns(here(small(steps=40, probes=[f"{file}:Keeper"]), tmp_path))
    drift = found["drift"][~np.isnan(found["drift"])]
    assert len(drift) > 5
    assert (drift == 0).all()


# --- programs and points -----------------------------------------------------------------------------


def network(activation, *further):
    layers = [nn.Linear(5, 7), activation(), *further, nn.Linear(7, 3)]
    torch.manual_seed(3)
    inputs, targets = torch.randn(12, 5).double(), torch.randn(12, 3).double()
    return Problem.from_module(
        nn.Sequential(*layers).double(), half_squared_error, inputs, targets, convention="c"
    )


@pytest.mark.parametrize(
    ("activation", "further"),
    [(nn.ReLU, ()), (nn.Tanh, ()), (nn.GELU, (nn.Softplus(),)), (nn.Sigmoid, ())],
)
def test_derivatives_are_those_of_their_own_point(activation, further, monkeypatch):
    """In whatever order they are asked for at the next one: none is left of the point before."""
    problem = network(activation, *further)
    capturers = taped.tape(monkeypatch)
    points = Points(problem.loss, Programs(torch.device("cpu"), pytest.fail))
    generator = torch.Generator().manual_seed(1)
    theta = problem.initial
    for order in ("product", "third", "product product", "", "outputs third product"):
        theta = theta + 0.3 * torch.randn(theta.shape, generator=generator).double()
        point, plain = points.at(theta), Point(problem.loss, theta)
        assert torch.equal(point.loss, plain.loss)
        assert torch.equal(point.gradient, plain.gradient)
        for what in order.split():
            vector = torch.randn(theta.shape, generator=generator).double()
            if what == "product":
                assert torch.equal(point.hessian_product(vector), plain.hessian_product(vector))
            elif what == "third":
                assert torch.equal(point.third_derivative(vector), plain.third_derivative(vector))
            else:
                assert torch.equal(point.outputs(), plain.outputs())
                found = point.gauss_newton_product(vector)
                assert torch.equal(found, plain.gauss_newton_product(vector))
        points.leave()
        with pytest.raises(RuntimeError, match="left"):
            point.hessian_product(theta)
    assert len(capturers[-1].graphs) == 3


def test_graphs_that_were_freed_are_captured_anew(monkeypatch):
    """With all that reads what they left."""
    problem = network(nn.Tanh)
    capturers = taped.tape(monkeypatch)
    programs = Programs(torch.device("cpu"), pytest.fail)
    points, vector = Points(problem.loss, programs), torch.ones_like(problem.initial)
    for scale in (1.0, 1.1, 1.2):
        theta = scale * problem.initial
        found = points.at(theta).hessian_product(vector)
        assert torch.equal(found, Point(problem.loss, theta).hessian_product(vector))
        assert programs.captured
        programs.release()
        assert not programs.captured
    assert (len(capturers[-1].graphs), capturers[-1].releases) == (6, 3)


def test_a_state_is_handed_on_at_its_own_addresses(monkeypatch):
    """A result that is one of the state's tensors is read before it is written over: a swap is one."""
    taped.tape(monkeypatch)
    programs = Programs(torch.device("cpu"), pytest.fail)
    state = State((torch.tensor([1.0]), torch.tensor([2.0])))
    swap = programs.of(lambda step, one, other: (other, one + step), state)
    for expected in ((2.0, 11.0), (11.0, 12.0), (12.0, 21.0)):
        assert tuple(map(float, swap(torch.tensor([10.0])))) == expected
        assert state.tensors is state.fixed
    state.tensors = (state.fixed[1], state.fixed[0])  # from outside, across
    assert tuple(map(float, swap(torch.tensor([0.0])))) == (12.0, 21.0)


def test_a_guard_is_on_only_where_a_capture_is_tried():
    """On a CPU a program is a call, and may do what it likes."""
    program = Programs(torch.device("cpu"), pytest.fail).of(lambda x: (x * float(x),))
    assert float(program(torch.tensor(3.0))[0]) == 9.0
    assert not program.captured
    with pytest.raises(Uncapturable), capture.NoHost():
        float(torch.tensor(3.0))


def test_a_gpu_is_given_as_many_steps_as_it_does_until_the_next_look(monkeypatch):
    """Waited for at the end of a stretch; a CPU takes one at a time."""

    class Stream:
        def synchronize(self):
            time.sleep(0.004 * taken)

    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: Stream())
    pace = Pace(torch.device("cuda"))
    assert pace.most == 1
    for taken in (1, 3):
        pace.begin()
        pace.end(taken)
        assert 1 <= pace.most <= round(STRETCH / 0.004)
    pace = Pace(torch.device("cpu"))
    pace.begin()
    pace.end(1)
    assert pace.most == 1


class FakeCuda:
    """What a CudaCapturer asks of torch.cuda, taken down; a capture may be made to fail."""

    def __init__(self, monkeypatch, free=10**9, took=10**6, fails=None):
        self.said, self.current = [], "its own"
        for name, value in {
            "Stream": lambda _device: self,
            "CUDAGraph": lambda: "graph",
            "current_stream": lambda _device: self,
            "graph_pool_handle": lambda: "pool",
            "memory_allocated": lambda _device: 0,
            "max_memory_allocated": lambda _device: took,
            "mem_get_info": lambda _device: (free, 10**10),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", "set_stream"):
            monkeypatch.setattr(torch.cuda, name, self._says(name))
        for name in ("stream", "device"):
            monkeypatch.setattr(torch.cuda, name, lambda _which: contextlib.nullcontext())

        @contextlib.contextmanager
        def graph(graph, *, pool, stream):
            assert (graph, pool, stream) == ("graph", "pool", self)
            assert not gc.isenabled()
            self.said.append("begin")
            yield
            self.said.append("end")
            if fails:
                raise fails

        monkeypatch.setattr(torch.cuda, "graph", graph)

    def _says(self, name):
        return lambda *_arguments: self.said.append(name)

    def wait_stream(self, _other):
        self.said.append("wait")


def test_a_cuda_graph_is_captured_beside_and_everything_put_back(monkeypatch):
    """Without a GPU: in which order CUDA is asked, and what is so again after a capture that failed."""
    cuda = FakeCuda(monkeypatch)
    capturer = capture.CudaCapturer(torch.device("cuda:0"))
    assert capturer.aside(lambda: ("results",)) == ("results",)
    assert cuda.said == ["reset_peak_memory_stats", "wait", "wait"]
    cuda.said.clear()
    assert capturer.capture(lambda: ("results",)) == ("graph", ("results",))
    assert cuda.said == ["synchronize", "empty_cache", "begin", "end", "set_stream"]
    cuda.said.clear()
    dropped = []
    capturer.release(lambda: dropped.append(list(cuda.said)))
    assert dropped == [["synchronize"]]

    failure = RuntimeError("operation failed due to a previous error during capture")
    cuda = FakeCuda(monkeypatch, fails=failure)
    capturer = capture.CudaCapturer(torch.device("cuda:0"))
    with pytest.raises(RuntimeError, match="previous error"):
        capturer.capture(lambda: ())
    assert cuda.said[-1] == "set_stream"
    assert gc.isenabled()

    cuda = FakeCuda(monkeypatch, free=1_200_000)
    capturer = capture.CudaCapturer(torch.device("cuda:0"))
    capturer.aside(lambda: ())
    with pytest.raises(Uncapturable, match="memory"):  # 1.25 times what was taken must be free
        capturer.capture(lambda: ())
    assert "begin" not in cuda.said
