"""A trajectory: θ on its way by a dynamics, measured and recorded, one step at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eostui.config import RunConfig
from eostui.curvature.capture import Branch, Program, Programs, State, Tensors
from eostui.curvature.point import Point, Points, plain_gradient, training_pass
from eostui.curvature.shards import ShardedLoss
from eostui.dynamics import DYNAMICS, Dynamics
from eostui.dynamics.dynamics import ProgramDynamics
from eostui.dynamics.gradient_descent import GradientDescent
from eostui.dynamics.intervention import Intervention, intervened
from eostui.dynamics.path import path_curvature, step_cosine
from eostui.dynamics.preconditioned import scaled_hessian
from eostui.engine import gradients_ahead, laps_ahead
from eostui.engine.calibration import Calibrator
from eostui.engine.gradients_ahead import GradientsAhead, is_of_use
from eostui.engine.landscape import LandscapeMapper
from eostui.engine.laps_ahead import LapsAhead
from eostui.engine.pace import Pace
from eostui.engine.recorder import Recorder
from eostui.engine.snapshot import Stateful
from eostui.probes.ema import Ema
from eostui.probes.probe import Moment, Probe, Reading, Value
from eostui.probes.probe_set import ProbeSet
from eostui.problems import Problem
from eostui.problems.batch import has_accuracy, loss_of_rows, parts_of
from eostui.runs.analysis.remarks import STANDS, UNCAPTURED
from eostui.runs.analysis.run_phases import chance_of
from eostui.runs.store.columns import COORDINATES
from eostui.runs.store.readings import ProbeReading
from eostui.runs.store.writer import Store

#: Unmeasured steps that are captured together too.
LAP = 8
#: Parameters of which a row is found beside the next step on a GPU.
LARGE = 100_000


class Carried(NamedTuple):
    """What a step hands on to the next one; vectors have shape (P,), all others are scalars.

    Attributes:
        theta: θ_t.
        gradient: ∇L that led here; NaN where it isn't known.
        displacement: Δθ of the step before, 0 where there was none.
        precise: the same, in the precision of the rows.
        previous: θ before the displacement.
        cosine: of the step before, with the one before that.
        norm: length of the step before.
        place: of the next row in the recorder, shape (1,).
    """

    theta: Tensor
    gradient: Tensor
    displacement: Tensor
    precise: Tensor
    previous: Tensor
    cosine: Tensor
    norm: Tensor
    place: Tensor


class Trajectory:
    """θ, what moves it, and what measures and records it. It takes steps when it is told to.

    An unmeasured step is a program (`curvature/capture.py`): nothing in it waits for a device.

    Attributes:
        next_step: the step that comes next: that of `theta`.
        recorder: of its rows.
        probes: what is measured of it.
        calibrator: lays theory's prediction over it.
        programs: its steps and derivatives, as the device can have them.
        pace: how many steps a stretch may have.
        measured: what was measured at the newest step, by column.
    """

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        dynamics: Dynamics,
        probes: Sequence[type[Probe]],
        writer: Store,
    ) -> None:
        """Begin at θ₀.

        Args:
            config: of the run.
            problem: what is trained.
            dynamics: how it moves, made for this trajectory.
            probes: those of the run.
            writer: takes what is recorded and measured.
        """
        self.next_step = 0
        self.measured: Mapping[str, Value] = {}
        self._config, self._problem, self._dynamics, self._writer = (
            config, problem, dynamics, writer,
        )  # fmt: skip
        theta = problem.initial.detach().clone()
        self._carried: Carried
        self._untold: list[str] = []  # why steps aren't captured
        self._unknown: set[str] = set()  # what there isn't before a first step
        count = theta.numel()
        self._coordinates = count if count <= len(COORDINATES) else 0
        self._mapper = LandscapeMapper(problem, writer) if self._coordinates == 2 else None
        self.recorder = Recorder(
            writer,
            problem.initial,
            self._coordinates,
            None if self._mapper is None else self._mapper.observe,
            chance_of(problem.facts),
            dynamics.stability,
            accuracy=has_accuracy(problem.loss),
        )
        self.probes = ProbeSet(config, problem, probes, dynamics.stability, dynamics.operator)
        self.programs = Programs(theta.device, self._untold.append)
        self.calibrator = Calibrator(
            config, problem, dynamics, self.probes.sharpness, self.recorder, self.programs.release
        )
        self._intervention = Intervention()
        self._stands = False  # whether that was told
        self._average: Tensor | None = (
            None  # of the iterates so far, where there is the probe for it
        )
        self._begin_at(theta)
        self._state = State(())
        self._branch = Branch(theta.device, worth=count >= LARGE)
        self._advance = self.programs.of(self._advanced, self._state, ahead=True)
        self._lap = self.programs.of(self._lapped, self._state, ahead=True)
        self._record = self.programs.of(self._recorded, self._state, ahead=True)
        self._move = self.programs.of(self._moved, self._state, ahead=True)
        self._laps_ahead = LapsAhead(self.programs, self._lap, self._state)
        self._points = Points(problem.loss, self.programs)
        self._gradients_ahead = (
            GradientsAhead(problem.loss)
            if type(dynamics) is GradientDescent
            and self.programs.capturer is None  # which writes over θ, and has its own way
            and is_of_use(problem.loss, theta.device)
            else None
        )
        # a user's own may do on the host what it will
        self._program_dynamics = (
            dynamics
            if isinstance(dynamics, ProgramDynamics)
            and type(dynamics) in DYNAMICS.values()
            and not dynamics.stability.batches  # the host draws them
            else None
        )
        self.pace = Pace(theta.device)
        if self.programs.captures and self._program_dynamics is None:
            whose = "a batch" if dynamics.stability.batches else "a step"
            self._untold.append(f"{whose} of the dynamics {dynamics.name} is the host's")
        if isinstance(problem.loss, ShardedLoss):
            count = problem.loss.shards.count
            self.programs.refuse(f"the samples are shared out among {count} processes")
        elif len(parts_of(problem.loss)) > 1:
            self.programs.refuse("the loss is summed in chunks")

    def parts(self) -> dict[str, Stateful]:
        """Return all that carries something from step to step, by its name in a checkpoint.

        The names, `trainer.theta` among them, are a format: checkpoints of all versions have them.
        """
        parts: dict[str, Stateful] = {
            "trainer": self,
            "dynamics": self._dynamics,
            "probes": self.probes,
            "recorder": self.recorder,
            "calibrator": self.calibrator,
        }
        if self._mapper is not None:
            parts["landscape"] = self._mapper
        return parts

    @property
    def theta(self) -> Tensor:
        """θ of the step that comes next, shape (P,): good until that is taken."""
        self._laps_ahead.take_back()
        return self._carried.theta

    def close(self) -> None:
        """Let nothing go on beside; steps may be taken on."""
        if self._gradients_ahead is not None:
            self._gradients_ahead.close()

    def state(self) -> dict[str, Any]:
        """Return θ, and the θ and ∇L of the step before: the next one needs both, and with the L on
        record they tell whether it is the same problem that is gone on with."""
        self._laps_ahead.take_back()
        kept = {
            name: None if name in self._unknown else self._own(getattr(self._carried, name))
            for name in ("theta", "gradient", "cosine", "previous", "displacement")
        }
        if "previous" not in self._unknown:
            del kept["displacement"]  # the difference of both
        if self._average is not None:
            kept["average"] = self._own(self._average)
        return {**kept, "stands": self._stands}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self._laps_ahead.take_back()
        self._stands = state.get("stands", False)
        theta, previous = state["theta"], state.get("previous")
        self._average = state.get("average")
        displacement = state.get("displacement") if previous is None else theta - previous
        self._begin_at(theta)
        known = {"gradient": state["gradient"], "previous": previous, "displacement": displacement}
        if displacement is not None:
            known |= {
                "precise": self.recorder.precise(displacement),
                "norm": self.recorder.norm(displacement),
            }
        if "cosine" in state:  # an older version's checkpoint hasn't it, or has (1,) of it
            known["cosine"] = self.recorder.precise(state["cosine"].reshape(()))
        known = {name: value for name, value in known.items() if value is not None}
        self._carried = self._carried._replace(**known)
        self._unknown -= known.keys()

    def _begin_at(self, theta: Tensor) -> None:
        """Stand at θ, with no step before it."""
        nan, still = theta.new_tensor(float("nan")), torch.zeros_like(theta)
        self._unknown = {"gradient", "previous", "displacement"}
        self._carried = Carried(
            theta, nan.expand_as(theta), still, self.recorder.precise(still), theta,
            self.recorder.precise(nan), self.recorder.precise(nan), self.recorder.place,
        )  # fmt: skip

    def take_steps(self, controls: Mapping[str, float], most: int) -> None:
        """Take a stretch of steps: up to one that is measured, and `most` of them.

        Args:
            controls: those of these steps, by name.
            most: how many there may be, 1 or more.

        Raises:
            Divergence: if the rows so far diverged, seen when they are written.
        """
        self.pace.begin()
        for reason in self._untold:
            self._writer.event(self.next_step, UNCAPTURED, {"reason": reason})
        self._untold.clear()
        end = self.next_step + most
        done = self._take_ahead(controls, end)
        while self.next_step < end:
            while self._can_lap(controls, end):
                self._take_lap(controls)
            if self.next_step < end and self.take_step(controls, most > LAP):
                return  # it waited for the device
        if most > done:
            self.pace.end(most - done)

    def take_step(self, controls: Mapping[str, float], onward: bool = False) -> bool:
        """Record the row of θ_t, compute θ_{t+1}, measure what is due at θ_t, and move on.

        Args:
            controls: those of this step, by name.
            onward: whether it is likely that the steps after it are by the same controls.

        Returns:
            Whether something was due.

        Raises:
            Divergence: if the rows so far diverged, seen when they are written.
        """
        # 1. L and ∇L at θ_t, in one graph with the measurement where that is taken at θ_t itself.
        # 2. The row of θ_t. Its "arrival" columns (κ, cosine and length) are of the step that led here,
        #    since ∇L at its end wasn't known before; readers put them into the row it began from.
        # 3. θ_{t+1} by the dynamics, with cosine and length of this step for the next row.
        # 4. What is due: at θ_t, or at the midpoint (θ_{t−1} + 2θ_t + θ_{t+1})/4, which needs 3.
        # 5. The calibrator looks; on to θ_{t+1}.
        #    With an intervention S comes before 3, where it is read at θ_t: the step is along these u.
        self._laps_ahead.take_back()
        step, self.measured = self.next_step, {}
        moment = self.probes.moment(step, controls)
        due = self.probes.due(moment)
        self._intervene(controls, settled=not due)
        if self._program_dynamics is not None:
            self._program_dynamics.set(controls)
            if not due:  # 1 to 3 in one
                self._run(self._advance)
                self.recorder.took(controls)
                self.calibrator.watch(step, self._carried.previous, controls, None)
                self.next_step = step + 1
                return False
        here, raw = self._own(self.theta), self._config.reading == "raw"
        behind = self._own(self._carried.displacement)
        moment.behind = None if "displacement" in self._unknown else behind
        shared = self._points.at(here) if due and raw else None
        known: Tensors | None = None
        if shared is not None:  # one graph for the step and its measurement
            known = (shared.loss, shared.gradient)
            if shared.accuracy is not None:
                known = (*known, shared.accuracy)
        elif due or not self._dynamics.stability.batches:
            known = self._pass(here)
        told: list[Reading] = []
        if self._dynamics.stability.batches:
            self._intervene(controls)
            self._step_by_batch(step, here, known, controls)
        else:
            assert known is not None
            gradient = known[1]
            if self._program_dynamics is not None:
                self._run(self._record, *known)
            else:
                self.recorder.place = self._write_row(
                    self._carried, *known, metric=self._dynamics.preconditioner()
                )
            self.recorder.took(controls)
            if shared is not None and self._intervention.carried:
                gradient = self._own(gradient)
                due, told = self._measure_sharpness(due, shared, moment)
            self._intervene(controls)
            if self._program_dynamics is not None:
                self._run(self._move, gradient)
            else:
                seen = self._gradient_seen(step, here, gradient)
                moved = self._dynamics.step(here, seen, controls)
                moved = intervened(here, moved, self._intervention.carried)
                self._carried = self._displaced(self._carried, gradient, moved, self.recorder.place)
        moment.theta = here
        moment.displacement = displacement = self._own(self._carried.displacement)
        sharpness = None
        if waited := bool(due or told or moment.readings):
            # raises Divergence: nothing is measured where θ isn't finite; and a viewer, or whoever is
            # left after a crash, has the rows before the measurement is paid for
            self.recorder.flush()
            # taken before steps that are done ahead write over what the dynamics carries
            metric = self._dynamics.preconditioner()
            if metric is not None:
                moment.scale = metric.rsqrt()
                moment.operator = scaled_hessian(moment.scale)
            moment.average = None if self._average is None else self._own(self._average)
            if onward and not self._intervention.carried:
                self._run_ahead(controls)
            self._look_ahead(controls)
            point = shared or self._midpoint(here, displacement, behind)
            self._measure(due, point, moment, told)
            sharpness = self.probes.sharpness_at(moment)
        self.calibrator.watch(step, here, controls, sharpness)
        self.next_step = step + 1
        return waited

    def _intervene(self, controls: Mapping[str, float], *, settled: bool = True) -> None:
        """Let the next steps be by the intervention that the controls ask for, and by the u's of now.

        Once it is settled which these are it is told if θ stands still by them.
        """
        found = self.probes.sharpness
        self._intervention.set(
            controls,
            float(self._dynamics.stability.threshold(controls)),
            found.values,
            found.eigenvectors,
            self.theta,
        )
        if settled:
            told, self._stands = self._stands, self._intervention.stands
            if self._stands and not told:
                self._writer.event(self.next_step, STANDS, {})

    def _measure_sharpness(
        self, due: Sequence[Probe], point: Point, moment: Moment
    ) -> tuple[list[Probe], list[Reading]]:
        """Find S and u at θ_t before the step that is to be along them, if that is due.

        Returns:
            The probes that are still due, none where S can't be had; and what else there is to tell.
        """
        first = [probe for probe in due if probe is self.probes.sharpness]
        self.recorder.flush()
        told = [
            reading
            for reading in self.probes.measure(first, point, moment)
            if reading is not moment.readings.get(reading.probe)
        ]
        measured = len(first) == len(moment.readings)
        return [probe for probe in due if measured and probe not in first], told

    def _step_by_batch(
        self, step: int, here: Tensor, known: Tensors | None, controls: Mapping[str, float]
    ) -> None:
        """Take a step by its batch, and record it with what is known of all samples.

        κ and the loss at both ends of the step are of the same batch: those of the next one would differ
        by the batches too. Where a batch is all samples, L and ∇L are its own.
        """
        rows, loss = self._dynamics.batch(step), self._problem.loss
        if rows is None:
            known = known or training_pass(loss, here)
            before, gradient = known[:2]
        else:
            loss = loss_of_rows(loss, rows, self._problem.chunk_size)
            before, gradient = plain_gradient(loss, here)
        moved = self._dynamics.step(here, gradient, controls)
        moved = intervened(here, moved, self._intervention.carried)
        unknown = torch.full_like(before, float("nan"))
        change, curvature = unknown, unknown
        if self._config.batch_ends:
            after, gradient_after = plain_gradient(loss, moved)
            change = self.recorder.precise(after) - self.recorder.precise(before)
            curvature = path_curvature(gradient_after, gradient, moved - here)
        if known is None:
            known = (unknown, gradient, *((unknown,) if self.recorder.has_accuracy else ()))
        of_batch = (before, change, curvature)
        metric = self._dynamics.preconditioner()
        self.recorder.place = self._write_row(
            self._carried, *known, metric=metric, of_batch=of_batch
        )
        self.recorder.took(controls)
        nowhere = torch.full_like(here, float("nan"))  # κ of all samples isn't had
        self._carried = self._displaced(self._carried, nowhere, moved, self.recorder.place)
        self._unknown.add("gradient")

    def _can_lap(self, controls: Mapping[str, float], end: int) -> bool:
        """Return whether the next LAP steps are captured ones before `end`, none of which is measured."""
        if not self._advance.captured or self.next_step + LAP > end:
            return False
        return self._is_unmeasured(self.next_step, LAP, controls)

    def _is_unmeasured(self, first: int, count: int, controls: Mapping[str, float]) -> bool:
        steps = range(first, first + count)
        return not any(self.probes.due(self.probes.moment(step, controls)) for step in steps)

    def _take_lap(self, controls: Mapping[str, float]) -> None:
        """Take LAP unmeasured steps as one: a small network's step is sooner done than asked for."""
        assert self._program_dynamics is not None
        self._program_dynamics.set(controls)
        self._intervene(controls)
        self.recorder.make_room(LAP)
        self._run(self._lap)
        self._took_unmeasured(controls, LAP)

    def _took_unmeasured(self, controls: Mapping[str, float], steps: int) -> None:
        self.measured = {}
        for _ in range(steps):
            self.calibrator.watch(self.next_step, self._carried.previous, controls, None)
            self.next_step += 1
        self.recorder.took(controls, steps)

    def _run_ahead(self, controls: Mapping[str, float]) -> None:
        """Have laps after a measured step done beside its measurement, which keeps the host busy.

        All rows must be flushed.
        """
        if not self._laps_ahead.can_begin():
            return
        first, laps = self.next_step + 1, 0
        while laps < laps_ahead.MOST and self._is_unmeasured(first + laps * LAP, LAP, controls):
            laps += 1
        if laps:
            self._laps_ahead.begin(laps, controls, self.probes.on, lambda: self._run(self._lap))

    def _look_ahead(self, controls: Mapping[str, float]) -> None:
        """Have L and ∇L of the steps after a measured one found beside its measurement."""
        dynamics = self._dynamics
        if self._gradients_ahead is None or self._intervention.carried:
            return
        assert isinstance(dynamics, GradientDescent)
        first, count = self.next_step + 1, 0
        most = gradients_ahead.MOST
        while count < most and self._is_unmeasured(first + count, 1, controls):
            count += 1
        factors = dynamics.factors(controls)
        self._gradients_ahead.begin(
            self._carried.theta,
            lambda theta, gradient: dynamics.move(theta, gradient, factors),
            count,
        )

    def _pass(self, theta: Tensor) -> Tensors:
        """Return L and ∇L at θ, and the accuracy where there is one, found before or found now."""
        ahead = self._gradients_ahead
        return (ahead and ahead.take(theta)) or training_pass(self._problem.loss, theta)

    def _take_ahead(self, controls: Mapping[str, float], end: int) -> int:
        """Take the steps that were done ahead, where they are those that come next; return how many."""
        steps = self._laps_ahead.count * LAP
        if not steps:
            return 0
        if not (
            self._laps_ahead.are_of(controls, self.probes.on)
            and self.next_step + steps <= end
            and self._is_unmeasured(self.next_step, steps, controls)
        ):
            self._laps_ahead.take_back()
            return 0
        self._laps_ahead.take()
        self._took_unmeasured(controls, steps)
        return steps

    def calibrate(self, asked: list[str], controls: Mapping[str, float]) -> None:
        """Calibrate or re-seat at θ_t, before its row is recorded, as `asked`; empties it.

        Raises:
            Divergence: if the rows so far diverged.
        """
        self.calibrator.serve(asked, self.next_step, self._own(self.theta), controls)

    def _advanced(self, *tensors: Tensor) -> Tensors:
        """An unmeasured step."""
        tensors = self._stepped(*tensors)
        self._branch.join()
        return tensors

    def _lapped(self, *tensors: Tensor) -> Tensors:
        """LAP unmeasured steps: the next one's pass waits for θ alone, not for the row."""
        for _ in range(LAP):
            tensors = self._stepped(*tensors)
        self._branch.join()
        return tensors

    def _stepped(self, *tensors: Tensor) -> Tensors:
        """An unmeasured step, of which only θ and what its dynamics carries may be read before a join."""
        carried = self._taken_up(tensors)
        known = self._pass(carried.theta)
        metric = self._dynamics.preconditioner()  # of the step that led here
        moved = self._moved_to(carried.theta, known[1])
        average = () if self._average is None else (self._average,)
        with self._branch.beside(
            *carried, *known, moved, *average, *(() if metric is None else (metric,))
        ):
            place = self._write_row(carried, *known, metric=metric)
            carried = self._displaced(carried, known[1], moved, place)
        return (*carried, *self._handed_on())

    def _recorded(self, *tensors: Tensor) -> Tensors:
        """The row of a step whose L and ∇L are there already, and the accuracy where there is one."""
        count = 3 if self.recorder.has_accuracy else 2
        carried = self._taken_up(tensors[count:])
        metric = self._dynamics.preconditioner()
        place = self._write_row(carried, *tensors[:count], metric=metric)
        return (*carried._replace(place=place), *self._handed_on())

    def _moved(self, gradient: Tensor, *tensors: Tensor) -> Tensors:
        """The rest of a step, after its row."""
        carried = self._taken_up(tensors)
        moved = self._moved_to(carried.theta, gradient)
        return (
            *self._displaced(carried, gradient, moved, carried.place),
            *self._handed_on(),
        )

    def _moved_to(self, theta: Tensor, gradient: Tensor) -> Tensor:
        """Return θ_{t+1} by the controls that were set."""
        assert self._program_dynamics is not None
        moved = self._program_dynamics.advance(theta, gradient)
        return intervened(theta, moved, self._intervention.carried)

    def _run(self, program: Program, *inputs: Tensor) -> None:
        """Run a part of a step, which takes up what the one before handed on."""
        if self._averages is None:
            self._average = None
        elif self._average is None:  # the probe was turned on
            self._average = self._carried.theta.clone()
        self._state.tensors = (*self._carried, *self._handed_on())
        self._carried = self._taken_up(program(*inputs))
        self.recorder.place = self._carried.place

    def _taken_up(self, tensors: Tensors) -> Carried:
        """Return what the trajectory handed on; the others of `_handed_on` get what is theirs."""
        asked = len(self._intervention.carried)
        count, end = len(Carried._fields), len(tensors) - asked
        own = tensors[count:end]
        # where they lie for a program: copied once
        self._intervention.carried = tensors[end:]
        if self._average is not None:
            *own_tensors, self._average = own
            own = tuple(own_tensors)
        assert self._program_dynamics is not None
        self._program_dynamics.carry(own)
        return Carried(*tensors[:count])

    @property
    def _averages(self) -> float | None:
        """How much of the average is kept a step; None without the probe `ema`."""
        return self._config.ema_decay if Ema.name in self.probes.on else None

    def _handed_on(self) -> Tensors:
        """Return what is handed on beside the trajectory's own: what is the dynamics', then the average,
        then the intervention's."""
        assert self._program_dynamics is not None
        average = () if self._average is None else (self._average,)
        return (*self._program_dynamics.carried(), *average, *self._intervention.carried)

    def _write_row(
        self,
        carried: Carried,
        loss: Tensor,
        gradient: Tensor,
        *accuracy: Tensor,
        metric: Tensor | None,
        of_batch: Tensors = (),
    ) -> Tensor:
        """Write the row of θ_t; return the place of the next one.

        Args:
            carried: to θ_t.
            loss, gradient, accuracy: there.
            metric: the preconditioner of the step that led here, if it has one.
            of_batch: the columns of a batch, where steps are by batches.
        """
        theta, decayed = carried.theta, self._problem.decayed
        if self._averages is None:
            self._average = None  # turned on again it begins anew
        else:
            before = theta if self._average is None else self._average
            self._average = before + (1 - self._averages) * (theta - before)
        norm = self.recorder.norm(theta)
        return self.recorder.write(
            carried.place,
            loss,
            norm,
            norm if decayed is None else self.recorder.norm(theta * decayed),
            path_curvature(gradient, carried.gradient, carried.displacement, metric),
            carried.cosine,
            carried.norm,
            (*of_batch, *(theta.unbind() if self._coordinates else ()), *accuracy),
            self.calibrator.project(theta),
        )

    def _displaced(
        self, carried: Carried, gradient: Tensor, moved: Tensor, place: Tensor
    ) -> Carried:
        """Return what is handed on after a step from θ_t to `moved`."""
        self._unknown.clear()
        displacement = moved - carried.theta
        precise = self.recorder.precise(displacement)
        norm = self.recorder.norm(precise)
        cosine = step_cosine(precise, carried.precise, norm, carried.norm)
        return Carried(moved, gradient, displacement, precise, carried.theta, cosine, norm, place)

    def _own(self, tensor: Tensor) -> Tensor:
        """Return a tensor that stays as it is when further steps are taken."""
        return tensor if self.programs.capturer is None else tensor.clone()

    def _gradient_seen(self, step: int, theta: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient by which the dynamics moves: of the full batch, or of this step's rows."""
        rows = self._dynamics.batch(step)
        if rows is None:
            return gradient
        return plain_gradient(loss_of_rows(self._problem.loss, rows), theta)[1]

    def _midpoint(self, theta: Tensor, ahead: Tensor, behind: Tensor) -> Point:
        """Return the point (θ_{t−1} + 2θ_t + θ_{t+1})/4, free of the period-2 motion (MATH §8).

        At the start of a run the step that isn't there counts as 0.
        """
        return self._points.at(theta + (ahead - behind) / 4)

    def _measure(
        self, due: Sequence[Probe], point: Point, moment: Moment, told: Sequence[Reading]
    ) -> None:
        """Record what the probes that are due say, after what was told; it is written with the next
        rows."""
        readings = [*told, *self.probes.measure(due, point, moment)]
        point.release()
        self._points.leave()
        values: dict[str, Value] = {}
        for each in readings:
            for kind, payload in each.remarks:
                self._writer.event(moment.step, kind, payload)
        for each in readings:
            if each.values:
                self._writer.reading(
                    ProbeReading(
                        moment.step, each.probe, each.values, self._config.reading, each.seconds,
                        each.products,
                    )
                )  # fmt: skip
                values |= each.values
        if values:
            self.recorder.measured(moment.step, values)
        self.measured = values
