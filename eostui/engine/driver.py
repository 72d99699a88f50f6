"""The driver of a run: takes commands, lets its trajectory take steps, pauses, saves."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from eostui.config import RunConfig
from eostui.dynamics import Dynamics, dynamics_of
from eostui.engine.checkpointing import Checkpointer
from eostui.engine.comparison import Past
from eostui.engine.controls import Controls
from eostui.engine.recorder import Divergence
from eostui.engine.snapshot import Stateful, restore, snapshot
from eostui.engine.trajectory import Trajectory
from eostui.probes import Probe, probes_of
from eostui.problems import Problem
from eostui.problems.batch import has_accuracy
from eostui.runs.analysis.probe_costs import TRAINING_SECONDS, TrainingTime
from eostui.runs.analysis.rest import RestWatch
from eostui.runs.store.checkpoints import Checkpoint
from eostui.runs.store.reader import facts_of
from eostui.runs.store.writer import Store
from eostui.stability import WEIGHT_DECAY
from eostui.stop_condition import LOSS, REST, TRAIN_ACCURACY, Seen, Stop

#: Seconds between looks for commands while paused.
PAUSED_POLL = 0.03


class Driver:
    """Drives one trajectory, as its viewers steer it.

    Attributes:
        step: that of the newest row, or of the row that is being made.
        controls: what moves θ, and what viewers asked for.
        trajectory: of the run, from `run` or `repeat` on.
    """

    trajectory: Trajectory

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        dynamics: type[Dynamics] | None = None,
        probes: Sequence[type[Probe]] | None = None,
    ) -> None:
        """Take what is trained, how, and what is measured: what the config names, unless it is given.

        Raises:
            InputError: if there is no such dynamics, or such a probe.
        """
        self.step = 0
        self._config = config
        self._dynamics = dynamics or dynamics_of(config)
        self._problem = self._dynamics.prepared(config, problem)
        self._probes = probes_of(config) if probes is None else probes
        self.controls = Controls.of(config, self._dynamics.stability)
        self.rest = RestWatch.of(config)
        self._at_rest = False  # at the newest step
        self._parts: dict[str, Stateful] = {}
        self._beyond: bool | None = None  # whether S was, when it was measured last
        self._crossed = False

    def begin(self, writer: Store) -> None:
        """Get ready for step 0 of a new run, which `run` does by itself."""
        self._equip(writer, None)
        writer.event(0, "started")
        if self._config.stop_at:
            stops = tuple(Stop(condition) for condition in self._config.stop_conditions)
            self.controls.stop_at(stops, writer, 0)
        writer.flush()

    def run(self, writer: Store) -> tuple[str, str]:
        """Train until the steps are done, a stop is asked for, or the run diverges.

        Args:
            writer: of the run directory, the one of `repeat` after that; whoever made it closes it.

        Returns:
            The final status (finished, stopped, diverged) and a sentence.
        """
        if not self._parts:
            self.begin(writer)
        recorder = self.trajectory.recorder
        self._begin_clock()
        if self.trajectory.next_step:  # a run that was killed may not have looked at its last row
            self.step = self.trajectory.next_step - 1
            self._look()
        try:
            while self.trajectory.next_step <= self._config.steps:
                self.step = self.trajectory.next_step
                if not self._obey_and_wait(self.step):
                    recorder.flush()
                    self.step = max(self.step - 1, 0)  # the newest row
                    return "stopped", f"{self.controls.stop_reason} at step {self.step}"
                self._take_steps(self._most_steps())
                self._tell_time()
                self.step = self.trajectory.next_step - 1
                self._look()
                if self._checkpointer.due():
                    self.save()
            recorder.flush()
        except Divergence as divergence:
            return "diverged", self._diverged_sentence(divergence)
        except Exception:
            self.step = self.trajectory.next_step
            with contextlib.suppress(Exception):  # what failed matters more
                recorder.flush()
            raise
        finally:
            self.trajectory.close()
        unrest = f", not at rest: {self.rest.why}" if self.controls.looks_at(REST) else ""
        missed = self.controls.never_came
        missed = f"; {missed} never came" if missed else ""
        return "finished", f"finished after {self._config.steps} steps{unrest}{missed}"

    @property
    def last_told(self) -> int:
        """The step that the record's end is told of: `step`, or the first whose row a device that failed
        took along."""
        if not self._parts:
            return self.step
        return min(self.step, self.trajectory.recorder.first_unread)

    def repeat(self, writer: Store, past: Past) -> None:
        """Take the steps of `past` once more; `run` goes on from there. A stop asked for ends it early.

        Raises:
            Divergence: if they diverge.
        """
        self._equip(writer, past)
        trajectory = self.trajectory
        first = trajectory.next_step
        try:
            while trajectory.next_step < past.until and not self.controls.stop:
                self.step = trajectory.next_step
                self._repeat_controls(past)
                self._take_steps(self._steps_before(past.until, past.controls))
                past.progress(trajectory.next_step, first, past.until)
                if self._checkpointer.due() and past.saves:
                    self.save()
        finally:
            trajectory.close()
        trajectory.recorder.flush()
        if past.older:
            trajectory.recorder.begin_phases()
        if trajectory.next_step == past.until:
            self._repeat_controls(past)

    def save(self) -> bool:
        """Take a checkpoint of the step that comes next; return whether it could be written."""
        self.trajectory.recorder.flush()
        told = self._checkpointer.failure
        saved = self._checkpointer.take(self.trajectory.next_step, self.snapshot)
        if not saved and self._checkpointer.failure != told:
            self._writer.event(self.step, "unsaved", {"reason": self._checkpointer.failure})
            self._writer.flush()
        return saved

    def snapshot(self) -> Checkpoint:
        """Return the whole state before the step that comes next; all rows must be flushed."""
        return snapshot(self.trajectory.next_step, self._writer.derived_events, self._parts)

    def _equip(self, writer: Store, past: Past | None) -> None:
        """Get what trains, records and saves, and put everything back where `past` begins."""
        self._writer = writer
        dynamics = self._dynamics(self._config, self._problem)
        self.trajectory = Trajectory(self._config, self._problem, dynamics, self._probes, writer)
        self._checkpointer = Checkpointer(self._config, writer.path, past.origin if past else 0)
        self._parts = {
            **self.trajectory.parts(),
            "controls": self.controls,
            "checkpointer": self._checkpointer,
            "rest": self.rest,
        }
        self.controls.switch = self._switch
        self.controls.knows_accuracy = has_accuracy(self._problem.loss)
        if past is not None and past.checkpoint is not None:
            restore(past.checkpoint, self._parts, self._problem.initial.device)
            self.trajectory.next_step = past.checkpoint.step

    def _switch(self, probe: str, on: bool) -> bool:
        """Turn a probe on or off; return whether that changed anything. Raises InputError."""
        return self.trajectory.probes.switch(probe, self._writer.measures, on=on)

    def _begin_clock(self) -> None:
        """Go on counting what training takes, or begin to."""
        known = TrainingTime.of_facts(facts_of(self._writer.path))
        self._time = known or TrainingTime(self.trajectory.next_step, 0.0)
        self._begun = time.perf_counter() - self._time.seconds
        self.controls.training_seconds = self._time.seconds

    def _tell_time(self) -> None:
        """Record what training took so far, beside readings of which it is known what they took."""
        self.controls.training_seconds = time.perf_counter() - self._begun
        if self.trajectory.measured:
            self._time = replace(self._time, seconds=self.controls.training_seconds)
            self._writer.fact(TRAINING_SECONDS, self._time.to_json())

    def _take_steps(self, most: int) -> None:
        """Take a stretch of steps, and note whether S crossed its threshold since it was measured before:
        a stretch ends where it is measured."""
        trajectory, controls = self.trajectory, self.controls
        trajectory.take_steps(controls.values, most)
        if controls.by_accuracy:
            controls.accuracy = trajectory.recorder.newest_accuracy()
        self._crossed = self._at_rest = False
        sharpness = float(trajectory.measured.get("sharpness", math.nan))
        if math.isfinite(sharpness):
            self._at_rest = self.rest.read(
                trajectory.next_step - 1, sharpness, trajectory.recorder.phases.phase,
                trajectory.probes.changed_at,
            )  # fmt: skip
            beyond = bool(sharpness >= controls.stability.threshold(controls.values))
            self._crossed = self._beyond is not None and beyond != self._beyond
            self._beyond = beyond

    def _look(self) -> None:
        """See whether that holds at which the run is to stop."""
        controls, trajectory = self.controls, self.trajectory
        if not controls.stops:
            return
        recorder, measured = trajectory.recorder, trajectory.measured
        # reading a row waits for the device: done only where it is asked for
        controls.look(
            Seen(
                self.step,
                recorder.newest_loss() if controls.looks_at(LOSS) else None,
                recorder.newest_accuracy() if controls.looks_at(TRAIN_ACCURACY) else None,
                # rows are read when there is time for it, but always before a measurement
                recorder.phases.phase if "sharpness" in measured else None,
                measured,
                self._crossed,
                self._at_rest,
            ),
            self._writer,
        )

    def _repeat_controls(self, past: Past) -> None:
        step = self.trajectory.next_step
        self.controls.repeat(step, past.controls.get(step, ()))
        self.trajectory.calibrate(self.controls.asked, self.controls.values)

    def _obey_and_wait(self, step: int) -> bool:
        """Obey what is scheduled and asked before a step, wait while paused; False when the run ends."""
        self.controls.scheduled(step, self._writer)
        self.controls.poll(self._writer.path, self._writer, step)
        self._serve(step)
        if self.controls.waits():
            self.save()
            self._status("paused")
            waited = time.perf_counter()
            while self.controls.waits():
                time.sleep(PAUSED_POLL)
                if self.controls.poll(self._writer.path, self._writer, step):
                    self._writer.flush()
                    self._serve(step)
            self._begun += time.perf_counter() - waited
            self._checkpointer.waited()
            if not self.controls.paused:
                self._status("running")
        self.controls.count_step()
        return not self.controls.stop

    def _most_steps(self) -> int:
        """Return how many steps may be taken before anything else is done."""
        if self.controls.paused or self.trajectory.pace.most == 1:
            return 1
        if self.controls.looks_at_each_step or self.controls.ramps or self.controls.by_accuracy:
            return 1
        return self._steps_before(self._config.steps + 1, self.controls.marked)

    def _steps_before(self, end: int, marked: Iterable[int]) -> int:
        """Return how many steps there are before the end, or a step before which something is done."""
        ahead = (at for at in (*marked, *self.trajectory.calibrator.marked) if at > self.step)
        return min(self.trajectory.pace.most, min([end, *ahead]) - self.step)

    def _serve(self, step: int) -> None:
        """Save or calibrate if it is asked for; a checkpoint of a step is of the time before that."""
        calibrates = self.trajectory.calibrator.wants(self.controls.asked, step)
        if calibrates or self.controls.save:
            self.save()
            self.controls.save = False
        if calibrates:
            self.trajectory.calibrate(self.controls.asked, self.controls.values)

    def _status(self, status: str) -> None:
        self._writer.fact("status", status)
        self._writer.flush()

    def _diverged_sentence(self, divergence: Divergence) -> str:
        self.step = divergence.step
        sentence = f"diverged at step {divergence.step}: {divergence.reason}"
        if divergence.step == 0:
            return sentence  # no step was taken: η has nothing to do with it
        stability, values = self._dynamics.stability, self.controls.values
        told = ", ".join(
            f"{control.symbol} {values[control.name]:g}"
            for control in stability.controls
            if control != WEIGHT_DECAY
        )
        edge = f"{stability.undecayed_label} = {stability.undecayed(values):g}"
        return f"{sentence}; with {told} the stable sharpness is below {edge}"
