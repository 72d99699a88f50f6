"""The phases of a run (MATH §4), told from path curvature κ, sharpness S, the drives and signs alone.

A run is judged in blocks of BLOCK steps, each with what was measured before its last row. The same
rows therefore give the same phases however they arrive: online, flush by flush, or afterwards.

A phase doesn't flicker: it is left at other levels than it is entered at (the constants below), and
for another that holds in CONFIRM blocks in a row. The change is then dated to the first of them. Three
things aren't waited for: the loss that first falls steadily, a catapult and divergence are facts of
single steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from eostui.runs.columns import STORED_STEP_COLUMNS
from eostui.runs.curvature_summary import BLOCK
from eostui.runs.divergence import first_diverged
from eostui.runs.phase_blocks import (
    Block,
    BlockSteps,
    Level,
    Reading,
    kept,
    level,
    summarize,
)
from eostui.runs.series import FloatArray
from eostui.runs.signs import WINDOW

#: By which rules phases are told: what a classifier of others knows isn't gone on with.
RULES = 2
#: Blocks in a row that a new phase must hold in.
CONFIRM = 4
#: The first steps are over when L_λ falls in so many steps in a row.
STEADY_STEPS = 10
#: κ is at the edge from this share of 2/η − λ on, and leaves it below the other.
KAPPA_ENTERS, KAPPA_LEAVES = 0.9, 0.8
#: So are the signs: changes a step, over signs.WINDOW steps.
FLIPS_ENTER, FLIPS_LEAVE = 0.05, 0.02
#: At the edge, S is well below 2/η − λ under the first share of it, and no more above the second.
LOWERED_BELOW, LOWERED_ABOVE = 0.92, 0.95
#: |βα − λg| against |βα| + |λg|: the drives balance below the first, and no more above the second.
BALANCED, UNBALANCED = 0.15, 0.3
#: S rises when it gains more than this share of 2/η − λ in 100 steps.
RISES = 0.0025
#: A catapult raises L_λ to so many times where it rose from. It ends where L_λ is back there, or has
#: been below so many times for a block,
CATAPULT_RISE = 1.5
#: or so many steps after its top, or where the edge begins; there it takes a change of η or λ no more
#: steps ago to begin one.
CATAPULT_STEPS = 200
#: Converged: ‖∇L_λ‖ is below this share of the largest so far, and stays below three times that,
CONVERGED = 1e-3
#: or rounding hides it, if what rounding hides is below this share.
CONVERGED_HIDDEN = 0.05


class Phase(NamedTuple):
    """A phase: its name, the letter it has in the band, and a sentence for the help."""

    name: str
    letter: str
    meaning: str


TRANSIENT = Phase("transient", "T", "the first steps, until the loss falls ten times in a row")
SHARPENING = Phase(
    "sharpening", "S", "κ is below 2/η − λ and nothing bounces; as a rule S rises towards the edge"
)
EDGE = Phase("edge", "E", "κ and S are at 2/η − λ: the steps bounce, and S goes no higher")
LOWERED = Phase(
    "lowered edge", "L", "κ or the signs are at the edge while S lies well below 2/η − λ"
)
COLLAPSED = Phase(
    "collapsed", "C", "κ and S are well below, nothing bounces, S doesn't rise: βα and λg balance"
)
CATAPULT = Phase(
    "catapult", "K", "curvature beyond 2/η throws the loss up by half and more, until it is back"
)
CONVERGED_PHASE = Phase("converged", "V", "the gradient of Lλ is a thousandth of its largest")
DIVERGED = Phase(
    "diverged", "D", "the loss or θ isn't finite, or the loss is 10,000 times its start"
)

PHASES = (
    TRANSIENT, SHARPENING, EDGE, LOWERED, COLLAPSED, CATAPULT, CONVERGED_PHASE, DIVERGED
)  # fmt: skip
_EDGES = (EDGE.name, LOWERED.name)
BY_NAME = {phase.name: phase for phase in PHASES}


class PhaseChange(NamedTuple):
    """From `step` on the run is in `phase`; `before` is None for the first. `why` has the numbers."""

    step: int
    before: Phase | None
    phase: Phase
    why: str


@dataclass
class PhaseClassifier:
    """Takes in the rows of a run and tells its phases; all it knows is plain (see `state`).

    Attributes:
        phase: the present phase's name, or None before the first is known.
        step: rows taken in.
    """

    phase: str | None = None
    step: int = 0
    _rows: list[list[float]] = field(default_factory=list)
    _readings: list[Reading] = field(default_factory=list)
    _waiting: list[Reading] = field(default_factory=list)
    _blocks: list[Block] = field(default_factory=list)
    _controls: list[float] | None = None
    _last_up: bool | None = None
    _start_loss: float | None = None
    _falls: int = 0
    _largest_gradient: float = 0.0
    _candidate: str | None = None
    _candidate_since: int = 0
    _candidate_blocks: int = 0
    _low: float = math.inf
    _low_step: int = 0
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
            self._waiting.append(Reading(step, float(sharpness), float(drive), float(g)))

    def feed(self, rows: FloatArray) -> list[PhaseChange]:
        """Take in the next rows and return the changes of phase that they settle.

        Args:
            rows: as stored, shape (n, len(STORED_STEP_COLUMNS)); those after a divergence are ignored.
        """
        if self.phase == DIVERGED.name or not len(rows):
            return []
        if self.step == 0:
            self._start_loss = float(rows[0, 0]) if math.isfinite(rows[0, 0]) else None
        diverged = first_diverged(rows[:, 0], rows[:, 1], self._start_loss)
        if diverged is not None:
            rows = rows[: diverged[0] + 1]
        pending = np.array(self._rows).reshape(-1, len(STORED_STEP_COLUMNS))
        pending = np.concatenate((pending, rows))
        self.step += len(rows)
        changes: list[PhaseChange] = []
        done = 0
        while len(pending) - done > BLOCK:
            first = self.step - len(pending) + done
            changes += self._take(first, pending[done : done + BLOCK + 1])
            done += BLOCK
        self._rows = pending[done:].tolist()
        if diverged is not None:
            changes.append(self._enter(self.step - 1, DIVERGED, diverged[1]))
        return changes

    def state(self) -> str:
        """Return all that is known as JSON, for `restored`."""
        return json.dumps({"rules": RULES, **asdict(self)})

    @classmethod
    def from_step(cls, step: int, start_loss: float | None) -> PhaseClassifier:
        """Return one that is fed from a later step on: of what was before it tells nothing.

        Args:
            step: of the first row that it takes in.
            start_loss: the run's first loss, or None if it wasn't finite.
        """
        return cls(step=step, _start_loss=start_loss)

    @classmethod
    def restored(cls, state: str) -> PhaseClassifier | None:
        """Return one that goes on where another with this `state` was, None if it had other rules."""
        known: dict[str, Any] = json.loads(state)
        if known.pop("rules", None) != RULES:
            return None
        for name in ("_readings", "_waiting"):
            known[name] = [Reading(**reading) for reading in known[name]]
        known["_blocks"] = [Block(**block) for block in known["_blocks"]]
        return cls(**known)

    def _enter(self, step: int, phase: Phase, why: str) -> PhaseChange:
        before = BY_NAME.get(self.phase or "")
        self.phase, self._candidate, self._candidate_blocks = phase.name, None, 0
        self._since, self._landed = step, None
        return PhaseChange(step, before, phase, why)

    def _take(self, first: int, rows: FloatArray) -> list[PhaseChange]:
        """Judge one block."""
        block, steps = summarize(first, rows, self._controls, self._last_up)
        self._controls, self._last_up = rows[-2, -2:].tolist(), bool(steps.up[-1])
        if block.jumped:  # what was before the change says nothing of the signs and κ after it
            self._blocks.clear()
            self._candidate, self._candidate_blocks = None, 0
        else:
            self._blocks = [*self._blocks, block][-WINDOW // BLOCK :]
        changes = self._start(first, steps) if self.phase in (None, TRANSIENT.name) else []
        changes += self._catapult(first, steps)
        if not changes and not block.jumped:
            changes = self._judge(block)
        self._largest_gradient = max(self._largest_gradient, block.gradient)
        return changes

    def _newest_readings(self, end: int) -> list[Reading]:
        """Return the readings before a block's end that count there."""
        while self._waiting and self._waiting[0].step < end:
            self._readings.append(self._waiting.pop(0))
        self._readings = kept(self._readings, end)
        return self._readings

    def _start(self, first: int, steps: BlockSteps) -> list[PhaseChange]:
        """Look for the end of the first steps: L_λ falls STEADY_STEPS times in a row."""
        for index, change in enumerate(steps.change.tolist()):
            self._falls = self._falls + 1 if change < 0 else 0
            if self._falls == STEADY_STEPS:
                since = first + index + 1 - STEADY_STEPS
                why = f"the loss falls in every step from {since} to {first + index}"
                opening = [self._enter(0, TRANSIENT, "the first steps")] if since else []
                if self.phase == TRANSIENT.name:
                    opening = []
                return [*opening, self._enter(since, SHARPENING, why)]
        if self.phase is None:
            return [self._enter(0, TRANSIENT, "the loss doesn't fall steadily yet")]
        return []

    def _catapult(self, first: int, steps: BlockSteps) -> list[PhaseChange]:
        """Follow L_λ step by step: has it risen far above where it last turned, is it back there?

        A step that raises L_λ has met κ > 2/η − λ (to second order these are the same), so S isn't
        waited for: it is measured too rarely to be there when it happens.
        """
        changes = []
        for step, (loss, steered) in enumerate(
            zip(steps.loss.tolist(), steps.steered.tolist(), strict=False), first
        ):
            if steered:  # L_λ has another scale now
                self._low, self._low_step, self._steered = loss, step, step
            if self.phase == CATAPULT.name:
                self._fly(step, loss)
            elif loss < self._low:
                self._low, self._low_step = loss, step
            elif loss > CATAPULT_RISE * self._low and self._may_fly(step):
                self._top, self._top_step, self._high_step = loss, step, step
                why = f"the loss rose from {self._low:.3g} to {loss:.3g} by step {step}"
                changes.append(self._enter(max(self._low_step, self._since), CATAPULT, why))
        return changes

    def _may_fly(self, step: int) -> bool:
        """The edge has humps of its own; what rounding does at the end isn't a flight."""
        if self.phase in (*_EDGES, CONVERGED_PHASE.name):
            return step - self._steered <= CATAPULT_STEPS
        return True

    def _fly(self, step: int, loss: float) -> None:
        if loss > self._top:
            self._top, self._top_step = loss, step
        if loss > CATAPULT_RISE * self._low:
            self._high_step, self._landed = step, None
        if self._landed is None:
            if loss <= self._low or step - self._top_step > CATAPULT_STEPS:
                self._landed = step
            elif step - self._high_step == BLOCK:
                self._landed = self._high_step + 1

    def _judge(self, block: Block) -> list[PhaseChange]:
        """Compare the block with the present phase; change it when another was confirmed."""
        end = block.first + BLOCK
        now = level(self._newest_readings(end), end, block.weight_decay)
        found = self._find(block, now, self._candidate or self.phase)
        flying = self.phase == CATAPULT.name
        if flying and self._landed is not None:
            if block.first < self._landed:
                return []
            return [self._enter(self._landed, found, self._why(found, block, now))]
        higher = flying and (self._top_step >= block.first or found.name not in _EDGES)
        unstarted = (self.phase, found) == (TRANSIENT.name, SHARPENING)
        if higher or unstarted or found.name == self.phase:
            self._candidate, self._candidate_blocks = None, 0
            return []
        if found.name != self._candidate and not (  # on arriving at the edge S may lag behind κ
            self._candidate in _EDGES and found.name in _EDGES and self.phase not in _EDGES
        ):
            self._candidate_since, self._candidate_blocks = block.first, 0
        self._candidate = found.name
        self._candidate_blocks += 1
        if self._candidate_blocks < CONFIRM:
            return []
        return [self._enter(self._candidate_since, found, self._why(found, block, now))]

    def _find(self, block: Block, now: Level, held: str | None) -> Phase:
        """Return the phase that a block alone speaks for; `held` is easier to stay in."""
        at_edge = held in _EDGES
        flips = self._flips()
        bounces = block.kappa >= (KAPPA_LEAVES if at_edge else KAPPA_ENTERS) or flips >= (
            FLIPS_LEAVE if at_edge else FLIPS_ENTER
        )
        if self._is_converged(block, held == CONVERGED_PHASE.name, bounces):
            return CONVERGED_PHASE
        share = now.sharpness / block.threshold
        if bounces:
            lowered = share < (LOWERED_ABOVE if held == LOWERED.name else LOWERED_BELOW)
            unread = math.isnan(share) and held == LOWERED.name
            return LOWERED if lowered or unread else EDGE
        balance = UNBALANCED if held == COLLAPSED.name else BALANCED
        rises = now.slope * 100 > RISES * block.threshold
        unread = math.isnan(share) and held == COLLAPSED.name
        low = share < LOWERED_BELOW and now.balance < balance and not rises
        return COLLAPSED if low or unread else SHARPENING

    def _is_converged(self, block: Block, held: bool, bounces: bool) -> bool:
        share = CONVERGED * (3 if held else 1)
        if block.gradient <= block.noise <= CONVERGED_HIDDEN * self._largest_gradient:
            return True  # then κ and the signs are rounding too
        return not bounces and block.gradient < share * self._largest_gradient

    def _flips(self) -> float:
        """Return sign changes a step of L_λ over the newest steps; NaN where they are too few."""
        pairs = sum(block.pairs for block in self._blocks)
        if pairs < WINDOW // 2:
            return math.nan
        return sum(block.flips for block in self._blocks) / pairs

    def _why(self, phase: Phase, block: Block, now: Level) -> str:
        """Return the numbers that a phase was told by."""
        if phase is CONVERGED_PHASE:
            return (
                f"‖∇L_λ‖ is about {block.gradient:.2g}, {self._largest_gradient:.2g} at its largest"
            )
        flips, parts = self._flips(), []
        if math.isfinite(block.kappa):
            parts.append(f"κ {block.kappa * block.threshold:.3g}")
        if math.isfinite(now.sharpness):
            parts.append(f"S {now.sharpness:.3g}")
        parts.append(f"2/η − λ {block.threshold:.3g}")
        if math.isfinite(flips):
            parts.append(f"{flips:.2g} sign changes a step")
        if phase is COLLAPSED and math.isfinite(now.balance):
            parts.append(f"|βα − λg|/(|βα| + |λg|) {now.balance:.2g}")
        return ", ".join(parts)
