"""Which phase a run is in (MATH §4): by step cosines, sharpness S, the drives, L_λ and ‖∇L_λ‖ alone.

A run is judged in blocks of BLOCK steps, by their medians, each with what was measured before its last
row. The same rows therefore give the same phases however they arrive: online, flush by flush, or
afterwards.

A phase doesn't flicker: it is left at other levels than it is entered at (the constants below), and
for another that holds in CONFIRM blocks in a row. The change is then dated to the first of them. Some
things aren't waited for: the loss that first falls steadily, S that has turned, a catapult and
divergence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from eostui.runs.analysis.curvature_summary import BLOCK
from eostui.runs.analysis.divergence import first_diverged
from eostui.runs.analysis.phase_signals import (
    Block,
    BlockSteps,
    Level,
    SharpnessReading,
    StepBefore,
    Trend,
    bounded_loss,
    level,
    median_sharpness,
    still_needed,
    summarize,
)
from eostui.runs.analysis.phases import (
    BALANCED,
    BOUNCES,
    BOUNCES_NO_MORE,
    BY_NAME,
    CATAPULT,
    CATAPULT_CURVATURE,
    CATAPULT_RISE,
    CATAPULT_STEPS,
    COLLAPSED,
    CONFIRM,
    CONVERGED,
    CONVERGED_NO_MORE,
    CONVERGED_PHASE,
    DIVERGED,
    EDGE,
    FLATTENING,
    HELD,
    HELD_NO_MORE,
    LEVEL_STEPS,
    LOWERED,
    LOWERED_ABOVE,
    LOWERED_BELOW,
    RESTS,
    RISES_NO_MORE,
    SHARPENING,
    STEADY_STEPS,
    STUCK,
    STUCK_NEAR,
    STUCK_STEPS,
    TRANSIENT,
    UNBALANCED,
    Phase,
)
from eostui.runs.series import FloatArray
from eostui.runs.store.columns import STORED_STEP_COLUMNS
from eostui.stability import BATCH_LOSS, BETA1, GRADIENT_DESCENT, MOMENTUM

#: By which rules phases are classified: from the state of others nothing is gone on with.
RULES = 3
_EDGES = (EDGE.name, LOWERED.name)
_TRENDS = (SHARPENING.name, FLATTENING.name)


class PhaseChange(NamedTuple):
    """From `step` on the run is in `phase`; `before` is None for the first. `why` has the numbers."""

    step: int
    before: Phase | None
    phase: Phase
    why: str


@dataclass
class PhaseClassifier:
    """Takes in the rows of a run and classifies them; its state is plain (see `state`).

    Attributes:
        phase: the present phase's name, or None before the first row.
        step: rows taken in.
        chance: the loss of the best constant prediction, None where there is no such thing.
        columns: of the rows that it takes in, as `signal_columns` has them.
        threshold_label: how its reasons name the threshold.
        gradient_from_steps: whether ‖∇L_λ‖ follows from the steps; else nothing is called converged.
    """

    phase: str | None = None
    step: int = 0
    chance: float | None = None
    columns: tuple[str, ...] = STORED_STEP_COLUMNS
    threshold_label: str = GRADIENT_DESCENT.label
    gradient_from_steps: bool = True
    _rows: list[list[float]] = field(default_factory=list)
    _scanned: int = 0
    _readings: list[SharpnessReading] = field(default_factory=list)
    _waiting: list[SharpnessReading] = field(default_factory=list)
    _trend: Trend = field(default_factory=Trend)
    _before: StepBefore | None = None
    _start_loss: float | None = None
    _falls: int = 0
    _steady_since: int | None = None
    _first_gradient: float | None = None
    _candidate: str | None = None
    _candidate_since: int = 0
    _candidate_blocks: int = 0
    _low: float = math.inf
    _low_step: int = 0
    _low_curvature: float = 0.0
    _top: float = -math.inf
    _top_step: int = 0
    _high_step: int = 0
    _landed: int | None = None
    _steered: int = -CATAPULT_STEPS
    _since: int = 0

    def read(self, step: int, values: Mapping[str, float]) -> None:
        """Take in what was measured at a step, before the row of the next step is fed.

        Args:
            step: the step; steps rise from call to call.
            values: by column of MEASURED; what isn't there wasn't measured.
        """
        nan = math.nan
        sharpness = values.get("sharpness", nan)
        if math.isfinite(sharpness):
            drive, g = values.get("beta_alpha", nan), values.get("g", nan)
            self._waiting.append(SharpnessReading(step, float(sharpness), float(drive), float(g)))

    def feed(self, rows: FloatArray) -> list[PhaseChange]:
        """Take in the next rows and return the changes of phase that they settle.

        Args:
            rows: as stored, shape (n, len(columns)); those after a divergence are ignored.
        """
        if self.phase == DIVERGED.name or not len(rows):
            return []
        if self.step == 0:
            self._start_loss = float(rows[0, 0]) if math.isfinite(rows[0, 0]) else None
        diverged = first_diverged(bounded_loss(rows, self.columns), rows[:, 1], self._start_loss)
        if diverged is not None:
            rows = rows[: diverged[0] + 1]
        changes: list[PhaseChange] = []
        if self.phase is None:
            changes.append(self._enter(self.step, TRANSIENT, "the first steps"))
        pending = np.array(self._rows).reshape(-1, len(self.columns))
        pending = np.concatenate((pending, rows))
        self.step += len(rows)
        done = 0
        while done < len(pending):
            first = self.step - len(pending) + done
            block = pending[done : done + BLOCK + 1]
            self._start(first, block)
            if len(block) <= BLOCK:
                break
            changes += self._take(first, block)
            done += BLOCK
            self._scanned = 0
        self._rows = pending[done:].tolist()
        if diverged is not None:
            changes.append(self._enter(self.step - 1, DIVERGED, diverged[1]))
        return changes

    def state(self) -> str:
        """Return what it has taken in as JSON, for `restored`."""
        return json.dumps({"rules": RULES, **asdict(self)})

    def from_step(self, step: int, start_loss: float | None) -> PhaseClassifier:
        """Return another of the same run, which takes in rows from a later step on alone.

        Args:
            step: of the first row that it takes in.
            start_loss: the run's first loss, or None if it wasn't finite.
        """
        return PhaseClassifier(
            step=step, chance=self.chance, columns=self.columns,
            threshold_label=self.threshold_label, gradient_from_steps=self.gradient_from_steps,
            _start_loss=start_loss,
        )  # fmt: skip

    @classmethod
    def restored(cls, state: str) -> PhaseClassifier | None:
        """Return one that goes on where another with this `state` was, None if it had other rules."""
        values: dict[str, Any] = json.loads(state)
        if values.pop("rules", None) != RULES:
            return None
        for name in ("_readings", "_waiting"):
            values[name] = [SharpnessReading(**reading) for reading in values[name]]
        values["_trend"] = Trend(**values["_trend"])
        if "_controls" in values:  # up to format 5 of the store
            eta_and_decay = values.pop("_controls")
            values["_before"] = eta_and_decay and _step_before(eta_and_decay)
        elif values["_before"]:
            before = values["_before"]
            values["_before"] = StepBefore(before["threshold"], tuple(before["controls"]))
        values["columns"] = tuple(values.get("columns", STORED_STEP_COLUMNS))
        return cls(**values)

    def _enter(self, step: int, phase: Phase, why: str) -> PhaseChange:
        before = BY_NAME.get(self.phase or "")
        self.phase, self._candidate, self._candidate_blocks = phase.name, None, 0
        self._since, self._landed = step, None
        if phase is COLLAPSED and self._trend.direction > 0:
            self._trend = Trend()  # where it came to rest, from which it may turn either way
        return PhaseChange(step, before, phase, why)

    def _take(self, first: int, rows: FloatArray) -> list[PhaseChange]:
        """Judge one block."""
        block, steps, self._before = summarize(
            first, rows, self._before, self.columns, gradient_from_steps=self.gradient_from_steps
        )
        if block.jumped:  # what was before the change says nothing of what is after it
            self._candidate, self._candidate_blocks = None, 0
        if self._first_gradient is None and math.isfinite(block.gradient):
            self._first_gradient = block.gradient
        changes = self._catapult(first, steps)
        end = first + BLOCK
        readings = self._newest_readings(end)
        now = level(readings, end, block.weight_decay)
        if (
            block.cosine < BOUNCES_NO_MORE and not self._sees_batches
        ):  # on the bounce S is where it is held, and swings
            self._trend = Trend()
        else:
            self._trend.follow(first, median_sharpness(readings, first, end))
        if not changes and not block.jumped:
            changes = self._judge(block, now)
        return changes

    def _newest_readings(self, end: int) -> list[SharpnessReading]:
        """Return the readings before a step that count there."""
        while self._waiting and self._waiting[0].step < end:
            self._readings.append(self._waiting.pop(0))
        self._readings = still_needed(self._readings, end)
        return self._readings

    def _start(self, first: int, rows: FloatArray) -> None:
        """Look for the end of the first steps: L_λ falls STEADY_STEPS times in a row."""
        fresh = rows[self._scanned :]
        scanned, self._scanned = self._scanned, max(len(rows) - 1, 0)
        if self.phase != TRANSIENT.name or self._steady_since is not None:
            return
        column = dict(zip(self.columns, fresh.T, strict=True))
        with np.errstate(over="ignore", invalid="ignore"):
            half_square = 0.5 * column["decayed_norm"] ** 2
            change = np.diff(column["loss"]) + column["weight_decay"][:-1] * np.diff(half_square)
        for step, difference in enumerate(change.tolist(), first + scanned):
            self._falls = self._falls + 1 if difference < 0 else 0
            if self._falls == STEADY_STEPS:
                self._steady_since = step + 1 - STEADY_STEPS
                return

    def _catapult(self, first: int, steps: BlockSteps) -> list[PhaseChange]:
        """Follow L_λ step by step: has it risen far above where it last turned, is it back there?

        A step of descent that raises L_λ has met κ > 2/η − λ (to second order these are the same), so S
        isn't waited for: it is measured too rarely to be there when it happens.
        """
        changes = []
        for step, (loss, steered, kappa) in enumerate(
            zip(steps.loss.tolist(), steps.steered.tolist(), steps.kappa.tolist(), strict=False),
            first,
        ):
            if steered:  # L_λ has another scale now
                self._lowest(step, loss)
                self._steered = step
            if self.phase == CATAPULT.name:
                self._fly(step, loss)
            elif loss < self._low:
                self._lowest(step, loss)
            elif self._is_high(loss) and self._may_fly(step):
                self._top, self._top_step, self._high_step = loss, step, step
                why = (
                    f"L_λ rose from {self._low:.3g} to {loss:.3g} by step {step}, with κ up to "
                    f"{self._low_curvature:.3g} times {self._threshold_name()}"
                )
                changes.append(self._enter(max(self._low_step, self._since), CATAPULT, why))
            self._low_curvature = max(self._low_curvature, kappa)  # a NaN changes nothing
        return changes

    def _lowest(self, step: int, loss: float) -> None:
        self._low, self._low_step, self._low_curvature = loss, step, 0.0

    def _is_high(self, loss: float) -> bool:
        return loss - self._low > CATAPULT_RISE * abs(self._low)

    def _may_fly(self, step: int) -> bool:
        """The edge has humps of its own, and grows slowly; what rounding does at the end is no flight."""
        if self._low_curvature < CATAPULT_CURVATURE:
            return False
        if self.phase in (*_EDGES, CONVERGED_PHASE.name):
            return step - self._steered <= CATAPULT_STEPS
        return True

    def _fly(self, step: int, loss: float) -> None:
        if loss > self._top:
            self._top, self._top_step = loss, step
        if self._is_high(loss):
            self._high_step, self._landed = step, None
        if self._landed is None:
            if loss <= self._low or step - self._top_step > CATAPULT_STEPS:
                self._landed = step
            elif step - self._high_step == BLOCK:
                self._landed = self._high_step + 1

    def _judge(self, block: Block, now: Level) -> list[PhaseChange]:
        """Compare the block with the present phase; change it when another was confirmed."""
        judged = self._phase_of(block, now, self._candidate or self.phase)
        flying = self.phase == CATAPULT.name
        if flying and self._landed is not None:
            if block.first < self._landed:
                return []
            judged = judged or SHARPENING
            return [self._enter(self._landed, judged, self._why(judged, block, now))]
        if flying and (
            self._top_step >= block.first or judged is None or judged.name not in _EDGES
        ):
            judged = CATAPULT
        if judged is None or judged.name == self.phase or not self._is_started(judged, block):
            self._candidate, self._candidate_blocks = None, 0
            return []
        since = self._turned(judged)
        if since is not None:
            return [self._enter(max(since, self._since), judged, self._why(judged, block, now))]
        if judged.name != self._candidate and not (  # on arriving at the edge S may lag behind
            self._candidate in _EDGES and judged.name in _EDGES and self.phase not in _EDGES
        ):
            self._candidate_since, self._candidate_blocks = block.first, 0
        self._candidate = judged.name
        self._candidate_blocks += 1
        if self._candidate_blocks < CONFIRM:
            return []
        opening = self._opening(judged)
        since = max(self._candidate_since if opening is None else opening, self._since)
        return [self._enter(since, judged, self._why(judged, block, now))]

    def _is_started(self, judged: Phase, block: Block) -> bool:
        """Return whether the first steps are over, if these are they, for a phase that S decides."""
        if self.phase != TRANSIENT.name or judged.name not in (*_TRENDS, COLLAPSED.name):
            return True
        if self._sees_batches:
            return True
        if self._steady_since is None:
            return False
        late = block.first + BLOCK - self._steady_since > LEVEL_STEPS
        return self._trend.direction != 0 or late  # S is measured rarely: the drives must do

    def _turned(self, judged: Phase) -> int | None:
        """Return since when S goes another way, None if the phase must be confirmed first."""
        if judged.name not in _TRENDS or not self._trend.direction:
            return None
        if self.phase in (*_TRENDS, COLLAPSED.name):  # at its turn the drives balance, a while
            return self._trend.since
        return self._opening(judged)

    def _opening(self, judged: Phase) -> int | None:
        """Return where the first steps ended, if these are they, for a phase that S decides."""
        first = self.phase == TRANSIENT.name and judged.name in (*_TRENDS, COLLAPSED.name)
        return self._steady_since if first else None

    def _phase_of(self, block: Block, now: Level, held: str | None) -> Phase | None:
        """Return the phase that a block alone speaks for; `held` is easier to stay in.

        None if nothing was measured that could decide.
        """
        limit = CONVERGED_NO_MORE if held == CONVERGED_PHASE.name else CONVERGED
        if block.gradient <= limit * (self._first_gradient or 0.0):
            return CONVERGED_PHASE
        if self._is_stuck(block):
            return STUCK
        if self._sees_batches:
            return self._trend_of(now, held)
        share = now.sharpness / block.threshold
        if block.cosine < (BOUNCES_NO_MORE if held in _EDGES else BOUNCES):
            lowered = share < (LOWERED_ABOVE if held == LOWERED.name else LOWERED_BELOW)
            unread = math.isnan(share) and held == LOWERED.name
            if lowered and held not in _EDGES and now.change > RESTS:
                return None  # on its way up: where it comes to isn't known yet
            return LOWERED if lowered or unread else EDGE
        if self._is_held(share, held):
            return EDGE
        balance = UNBALANCED if held == COLLAPSED.name else BALANCED
        unread = math.isnan(share) and held == COLLAPSED.name
        rises = self._trend.direction > 0 and not abs(now.change) < RISES_NO_MORE
        low = share < LOWERED_BELOW and now.balance < balance and not rises
        if unread or (low and (held == COLLAPSED.name or not now.change < -RESTS)):
            return COLLAPSED
        return self._trend_of(now, held)

    def _is_held(self, share: float, held: str | None) -> bool:
        """Return whether S is held at the threshold by steps that carry on those before.

        Args:
            share: S over the threshold.
            held: the phase that is easier to stay in.
        """
        if not {MOMENTUM.name, BETA1.name} & {*self.columns}:
            return False
        if held == EDGE.name:
            return math.isnan(share) or abs(share - 1) < HELD_NO_MORE
        return abs(share - 1) < HELD and self._trend.direction < 0

    @property
    def _sees_batches(self) -> bool:
        """Whether a step sees a batch: where S stands against 2/η − λ, and a bounce, is then no sign of
        an edge, and phases say whether S rises or falls."""
        return BATCH_LOSS in self.columns

    def _trend_of(self, now: Level, held: str | None) -> Phase | None:
        """Return which way S goes, None if nothing was measured that could decide."""
        if self._trend.direction:
            return SHARPENING if self._trend.direction > 0 else FLATTENING
        if held in _TRENDS:
            return BY_NAME[held or ""]
        if math.isnan(now.drive):
            return None
        return SHARPENING if now.drive > 0 else FLATTENING

    def _is_stuck(self, block: Block) -> bool:
        if self.chance is None or not self.chance > 0:
            return False
        near = abs(block.loss / self.chance - 1) < STUCK_NEAR
        return near and block.promised > STUCK_STEPS * self.chance

    def _threshold_name(self) -> str:
        return self.threshold_label.replace("−", " − ")

    def _why(self, phase: Phase, block: Block, now: Level) -> str:
        """Return the numbers that speak for a phase."""
        if phase is CONVERGED_PHASE:
            return (
                f"‖∇L_λ‖ is {block.gradient:.2g}, {self._first_gradient:.2g} over the first steps"
            )
        if phase is STUCK:
            return (
                f"L is {block.loss:.3g}, that of chance {self.chance:.3g}, and Σ‖Δθ‖²/η over {BLOCK} "
                f"steps {block.promised:.2g}"
            )
        parts = [f"median step cosine {block.cosine:.2f}"] if math.isfinite(block.cosine) else []
        if phase.name in _TRENDS:
            trend = self._trend
            if trend.direction and math.isfinite(now.sharpness):
                edge, extreme = (
                    ("lowest", trend.low) if trend.direction > 0 else ("highest", trend.high)
                )
                parts.append(
                    f"S {now.sharpness:.4g}, {edge} at step {trend.since} with {extreme:.4g}"
                )
            elif math.isfinite(now.drive):
                parts.append(_drives(now))
        elif math.isfinite(now.sharpness):
            parts.append(f"S {now.sharpness:.3g}")
        if math.isfinite(block.kappa):
            parts.append(f"κ {block.kappa * block.threshold:.3g}")
        parts.append(f"{self._threshold_name()} {block.threshold:.3g}")
        if phase is COLLAPSED and math.isfinite(now.balance):
            parts.append(f"|βα − λg|/(|βα| + |λg|) {now.balance:.2g}")
        return ", ".join(parts)


def _step_before(eta_and_decay: Sequence[float]) -> StepBefore:
    eta, weight_decay = eta_and_decay
    threshold = GRADIENT_DESCENT.threshold({"eta": eta, "weight_decay": weight_decay})
    return StepBefore(threshold, (eta, weight_decay))


def _drives(now: Level) -> str:
    return f"βα − λg is {now.drive:.3g}"
