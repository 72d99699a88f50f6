"""A run as columns: what viewers draw, notebooks read and the export writes."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eostui.config import RunConfig
from eostui.errors import InputError, RunFormatError, did_you_mean
from eostui.optional_probes import OPTIONAL_PROBES
from eostui.runs.calibration import Calibrations
from eostui.runs.series import FloatArray, Series
from eostui.runs.store.columns import (
    ARRIVALS,
    AT_EDGE,
    COORDINATES,
    DERIVED,
    EIGENVALUES,
    EVERY_STEP,
    MEASURED,
    MEASURED_SECONDS,
    TRAIN_ACCURACY,
    Column,
    exported,
)
from eostui.runs.store.landscape import Landscape
from eostui.runs.store.poller import News, Poller
from eostui.runs.store.reader import RunReader, run_state
from eostui.runs.store.readings import by_step
from eostui.runs.store.rows import Event
from eostui.stability import (
    BATCH_COLUMNS,
    BATCH_CURVATURE,
    BATCH_LOSS,
    BATCH_LOSS_STEP,
    GRADIENT_DESCENT,
    INTERVENTIONS,
    SHARP_STEP,
    THRESHOLD,
    UNDECAYED,
    Description,
    at_start,
    changed_to,
    in_force,
    intervenes,
)

if TYPE_CHECKING:
    import pandas

#: What a batch has of its step in place of what all samples would.
_OF_BATCH = {
    "loss": BATCH_LOSS,
    "loss_step": BATCH_LOSS_STEP,
    "loss_step_regularized": BATCH_LOSS_STEP,
    "path_curvature": BATCH_CURVATURE,
}


class Run(Mapping[str, FloatArray]):
    """One run, read from its directory; `refresh` takes in what was written since.

    It is a mapping of the columns that an export has, each at full length, NaN where it isn't known:
    `list(run)`, `"loss" in run`, `run["sharpness"]`; `len(run)` is how many columns there are, and
    `run.last_step` tells of the rows. Two runs are equal only if they are the same object.

    Attributes:
        path: the run directory.
        facts: id, name, status, versions, device, dtype, threads and the rest, as text.
        config: the run's configuration.
        steps: columns known for every step (`EVERY_STEP`, `stability_undecayed`, `COORDINATES` of a
            problem with at most two parameters, `train_accuracy` of one that has it, what its dynamics
            has, and interventions), one row a step from step 0.
        measured: columns known at measured steps (`MEASURED`, what its own probes fill, `DERIVED`,
            `MEASURED_SECONDS`), with their `step`, and the `flow_time` and controls of that step; those
            of arrays have shape (n, *shape).
        events: everything that happened, oldest first.
        spent: of every reading of a probe its `step`, the `seconds` that it took and its Hessian
            `products`, NaN where they aren't on record, by name.
        landscape: the newest map of a two-parameter problem, or None.
        calibrations: x and q of the calibrated steps, measured and predicted.
    """

    def __init__(self, path: Path | str, *, whole: bool = True) -> None:
        """Open a run directory.

        Args:
            path: the directory.
            whole: whether to read all of it at once; else `refresh` reads on, a part at a time.

        Raises:
            InputError: if it is no run directory.
            RunFormatError: if it is damaged.
        """
        self.path = Path(path)
        self._reader = RunReader(self.path)
        self._poller = Poller(self._reader)
        self.facts = self._reader.facts()
        if "config" not in self.facts:
            self._reader.close()
            raise RunFormatError(f"{self.path}: its facts are damaged or not written yet")
        self.config = self._config()
        stored = self._reader.step_columns
        self.coordinates = [column.name for column in COORDINATES if column.name in stored]
        of_every_run = [column.name for column in EVERY_STEP]
        # as they are stored; what is derived by every dynamics comes to its own name
        accuracy = [TRAIN_ACCURACY.name] if TRAIN_ACCURACY.name in stored else []
        self._as_stored = [
            *self.coordinates, *accuracy,
            *(c.name for c in self._reader.dynamics_columns if c.name in stored),
        ]  # fmt: skip
        interventions = [share.name for share in INTERVENTIONS]
        self.steps = Series(list(dict.fromkeys((*of_every_run, *self._as_stored, *interventions))))
        if UNDECAYED not in self._as_stored:  # of gradient descent it is 2/η
            self.steps.call(UNDECAYED, "two_over_eta")
        self._operator = Description.of_facts(
            self.facts
        ).operator  # the reader refuses a damaged one
        not_controls = {
            *of_every_run, *self.coordinates, *accuracy, UNDECAYED, *BATCH_COLUMNS,
        }  # fmt: skip
        controls = [name for name in self._as_stored if name not in not_controls]
        self._of_its_step = ["flow_time", "eta", "weight_decay", *controls]
        basic = [column.name for column in MEASURED]
        self._bounded = 0  # measured rows whose descent is bounded for good
        self._own_measured = self._columns_of_own_probes()
        self.spent: dict[str, Series] = {}
        self.measured = Series(
            ["step", *self._of_its_step, *basic]
            + [column.name for column in (*self._own_measured, *DERIVED, MEASURED_SECONDS)],
            {column.name: column.shape for column in self._own_measured},
        )
        self.events: list[Event] = []
        self.landscape: Landscape | None = None
        self.calibrations = Calibrations()
        self.steps.reserve(self._reader.room())
        with self._reader.snapshot():  # all columns end at the same step, though a run goes on
            while self.refresh() and whole:  # damage after sound rows raises on its turn
                pass

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getitem__(self, name: str) -> FloatArray:
        """Return a column at full length, a row a step from step 0, NaN where it isn't known.

        Raises:
            KeyError: if the run has no such column.
        """
        if name not in self:
            near = did_you_mean(name, self) if isinstance(name, str) else ""
            raise KeyError(f"{self.path.name} has no column `{name}`{near}")
        return self.columns(names=(name,))[name]

    def __iter__(self) -> Iterator[str]:
        return (column.name for column in self.exported())

    def __len__(self) -> int:
        return len(self.exported())

    def __contains__(self, name: object) -> bool:
        return any(name == each for each in self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        what = f"{self.state}, at step {self.last_step}"
        return f"<{type(self).__name__} {self.facts.get('name') or self.path.name}: {what}>"

    @property
    def state(self) -> str:
        """running, paused, finished, stopped, diverged, failed, or interrupted (its engine is gone)."""
        return run_state(self.path, self.facts)

    def of_step(self, name: str) -> str:
        """Return the column that has what `name` is of gradient descent: where a step sees a batch, that
        batch's twin of `loss`, `loss_step`, `loss_step_regularized` or `path_curvature`."""
        return _OF_BATCH[name] if BATCH_LOSS in self.steps else name

    def loss_at(self, step: int = -1) -> float:
        """Return L at a row, or where that isn't known, under mini-batches, the newest before it."""
        losses = self.steps["loss"]
        row = step % len(losses) if len(losses) else 0
        if BATCH_LOSS in self.steps:
            known = np.flatnonzero(np.isfinite(losses[: row + 1]))
            row = int(known[-1]) if len(known) else row
        return float(losses[row]) if len(losses) else np.nan

    @property
    def further_scalars(self) -> tuple[Column, ...]:
        """The columns of optional probes and of the user's own that are one number each."""
        return tuple(column for column in self._own_measured if not column.shape)

    @property
    def own_scalars(self) -> tuple[Column, ...]:
        """The columns of the user's own probes that are one number each."""
        optional = {
            column.name
            for name, probe in self._reader.probes.items()
            if name in OPTIONAL_PROBES
            for column in probe.columns
        }
        return tuple(column for column in self.further_scalars if column.name not in optional)

    @property
    def last_step(self) -> int:
        """The newest step with a row, or −1 before the first."""
        return len(self.steps) - 1

    def refresh(self) -> bool:
        """Take in what was written since the last time; return whether there was anything.

        Raises:
            RunFormatError: if the store is damaged; what was read before stays.
        """
        return self.apply(self.fetch())

    def fetch(self) -> News:
        """Read what was written since the last fetch, changing no column: for another thread."""
        return self._poller.poll()

    def apply(self, news: News) -> bool:
        """Append what was fetched to the columns; return whether there was anything."""
        changed = bool(
            len(news.steps)
            or news.readings
            or news.events
            or news.facts != self.facts
            or news.landscape
        )
        before = self.facts.get("config")
        self.facts = news.facts
        if self.facts.get("config", before) != before:  # resumed with more steps
            self.config = self._config()
        self.landscape = news.landscape or self.landscape
        self.events.extend(news.events)
        if len(news.steps):
            self._append_steps(news)
        self._take_probes()
        self._append_readings(news)
        self._bound_descent()
        try:
            self.calibrations.append(news.calibrated, news.events, self.steps)
            self.calibrations.compare(self.measured)
        except (LookupError, ValueError, ArithmeticError) as error:
            raise RunFormatError(f"{self.path}: its calibrations don't fit its steps") from error
        return changed

    def until(self, step: int) -> Run:
        """Return the run as it was when `step` was its newest row, for reading.

        It shares the columns with this one, no copy is made; its facts are those of now.
        """
        past = copy.copy(self)
        past.steps = self.steps.head(step + 1)
        past.measured = self.measured.head(
            int(np.searchsorted(self.measured["step"], step, side="right"))
        )
        past.events = [event for event in self.events if event.step <= step]
        past.calibrations = self.calibrations.until(step)
        return past

    def exported(self) -> tuple[Column, ...]:
        """Return the columns that `columns` and the export have, in their order."""
        return tuple(flat for column in self._exported() for flat in column.flattened())

    def arrays(self) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
        """Return of each column that is an array the columns of its numbers, and its shape."""
        return {
            column.name: (tuple(flat.name for flat in column.flattened()), column.shape)
            for column in self._exported()
            if column.shape
        }

    def columns(
        self,
        *,
        measured_only: bool = False,
        rows: slice = slice(None),
        names: Collection[str] | None = None,
    ) -> dict[str, FloatArray]:
        """Return exported columns at full length, NaN where they aren't known.

        Arrays are flattened: a column for each of their numbers.

        Args:
            measured_only: only the rows at which something was measured.
            rows: which of these rows, such as slice(0, 1000); all if left out.
            names: of the columns; those that the run lacks are left out. All if left out.
        """
        if measured_only:
            at = self.measured["step"][rows].astype(np.int64)
        else:
            at = np.arange(*rows.indices(len(self.steps)))
        calibrated = self.calibrations.rows
        measurements = _Places(self.measured["step"], at)
        projections = _Places(calibrated["step"], at)
        table: dict[str, FloatArray] = {}
        for column in self._exported():
            wanted = [
                (place, flat.name)
                for place, flat in enumerate(column.flattened())
                if names is None or flat.name in names
            ]
            if not wanted:
                continue
            if column.name in self.steps:
                table[column.name] = self.steps[column.name][at]
            elif column.name in calibrated:
                table[column.name] = projections.spread(calibrated[column.name])
            elif column.shape:
                values = self.measured[column.name].reshape(-1, column.size)
                for place, name in wanted:
                    table[name] = measurements.spread(values[:, place])
            else:
                table[column.name] = measurements.spread(self.measured[column.name])
        return table

    def _exported(self) -> tuple[Column, ...]:
        columns = exported(
            self._reader.step_columns,
            self._reader.dynamics_columns,
            self._own_measured,
            calibrated=len(self.calibrations) > 0,
            intervened=bool(np.isfinite(self.steps[SHARP_STEP.name]).any()),
            operator=self._operator,
        )
        return tuple(
            column
            for column in columns
            if not column.optional
            or column.name in self.steps
            or np.isfinite(self.measured[column.name]).any()
        )

    def frame(self, *, measured_only: bool = False) -> pandas.DataFrame:
        """Return `columns` as a pandas frame.

        Raises:
            InputError: if pandas isn't installed.
        """
        table = self.columns(measured_only=measured_only)
        return pandas_here().DataFrame(table).astype({"step": int})

    def close(self) -> None:
        """Close the store; what was read stays."""
        self._reader.close()

    def _config(self) -> RunConfig:
        return RunConfig.from_toml(self.facts["config"], f"{self.path}: stored config")

    @np.errstate(
        over="ignore", invalid="ignore", divide="ignore"
    )  # a diverged run ends in what isn't finite
    def _append_steps(self, news: News) -> None:
        stored = dict(zip(self._reader.step_columns, news.steps.T, strict=True))
        eta, weight_decay = stored["eta"], stored["weight_decay"]
        half_square = 0.5 * stored["decayed_norm"] ** 2
        before = len(self.steps)
        flow = np.concatenate(([self._flow_time_after()], eta[:-1])).cumsum()
        self.steps.append(
            len(news.steps),
            {
                "step": np.arange(before, before + len(news.steps)),
                "flow_time": flow,
                "loss": stored["loss"],
                "loss_regularized": stored["loss"] + weight_decay * half_square,
                "eta": eta,
                "weight_decay": weight_decay,
                "theta_norm": stored["theta_norm"],
                "decayed_norm": stored["decayed_norm"],
                "two_over_eta": GRADIENT_DESCENT.undecayed(stored),
                "stability_threshold": GRADIENT_DESCENT.threshold(stored),
                **{name: stored[name] for name in self._as_stored},
            },
        )
        self._append_interventions(before)
        # what a step did is known with the row after it, so the last row before these gets it too
        first = max(before - 1, 0)
        last = len(self.steps) - 1
        loss = self.steps["loss"][first:]
        square = 0.5 * self.steps["decayed_norm"][first:] ** 2
        loss_step = np.diff(loss)
        moved, decay = slice(first, last), self.steps["weight_decay"][first:last]
        self.steps.write("loss_step", moved, loss_step)
        self.steps.write("loss_step_regularized", moved, loss_step + decay * np.diff(square))
        for name, arrival in ARRIVALS.items():
            if arrival in stored:
                arrivals = stored[arrival]
                self.steps.write(name, moved, arrivals if before else arrivals[1:])
        if last > (first := max(first, 1)):
            norms = self.steps["step_norm"][first - 1 : last]
            bounce = bounce_norms(norms[1:], norms[:-1], self.steps["step_cosine"][first:last])
            self.steps.write("bounce_norm", slice(first, last), bounce)

    def _append_interventions(self, first: int) -> None:
        """Write the shares of the steps from `first` on that are those of an intervention."""
        names = {share.name for share in INTERVENTIONS}
        changes = [
            (event.step, changed_to(event.payload))
            for event in self.events
            if event.kind == "control" and names & event.payload.keys()
        ]
        start = at_start(INTERVENTIONS, self.config)
        bounds = sorted({first, *(at for at, _ in changes if at > first), len(self.steps)})
        for begin, end in pairwise(at for at in bounds if at <= len(self.steps)):
            shares = in_force(start, changes, begin)
            for name in names if intervenes(shares) else ():
                self.steps.write(name, slice(begin, end), np.full(end - begin, shares[name]))

    def _flow_time_after(self) -> float:
        if not len(self.steps):
            return 0.0
        return float(self.steps["flow_time"][-1] + self.steps["eta"][-1])

    @property
    def probes(self) -> tuple[str, ...]:
        """The names of all probes that the run states, those that were turned off among them."""
        return tuple(self._reader.probes)

    def _columns_of_own_probes(self) -> list[Column]:
        basic = {column.name for column in MEASURED}
        probes = self._reader.probes.values()
        return [c for probe in probes for c in probe.columns if c.name not in basic]

    def _take_probes(self) -> None:
        """Take in columns of probes that were turned on since."""
        columns = self._columns_of_own_probes()
        if len(columns) != len(self._own_measured):
            for column in columns:
                self.measured.add(column.name, column.shape)
            self._own_measured = columns

    def _append_readings(self, news: News) -> None:
        for name, each in news.readings.items():
            spent = self.spent.setdefault(name, Series(["step", "seconds", "products"]))
            of_it = {"step": each.steps, "seconds": each.seconds, "products": each.products}
            spent.append(len(each), of_it)
        values = by_step(news.readings, self._reader.probes)
        if not values:
            return
        at = values["step"].astype(np.int64)
        for name in self._of_its_step:
            values[name] = self.steps[name][at]
        nothing = np.full(len(at), np.nan)
        beta = values.get("beta", nothing)
        values["alpha"] = nothing.copy()
        np.divide(values.get("beta_alpha", nothing), beta, out=values["alpha"], where=beta > 0)
        decay = values["weight_decay"]
        values["lambda_g"] = decay * values.get("g", nothing)
        critical = nothing.copy()
        with np.errstate(over="ignore"):
            np.divide(values.get("beta_alpha", nothing), decay, out=critical, where=decay > 0)
        values["g_critical"] = critical + decay
        values["eigenvalues_at_edge"] = _at_edge(
            values, self.steps[THRESHOLD][at], whole=not self.config.spectrum_cadence
        )
        self.measured.append(len(at), values)

    @np.errstate(over="ignore", invalid="ignore")
    def _bound_descent(self) -> None:
        """Bound the descent of what was measured last, whose step's length the row after it tells."""
        if self.config.dynamics != "gradient-descent":
            return
        at = self.measured["step"][self._bounded :].astype(np.int64)
        eta, decay, norm = (self.steps[name][at] for name in ("eta", "weight_decay", "step_norm"))
        sharpness = self.measured["sharpness"][self._bounded :]
        plain = np.isnan(self.steps[SHARP_STEP.name][at])  # another step than −η∇L_λ isn't bounded
        bound = -(2 - eta * (sharpness + decay)) * norm**2 / (2 * eta)
        bound = np.where(plain, bound, np.nan)
        self.measured.write("descent_bound", slice(self._bounded, None), bound)
        self._bounded = max(len(self.measured) - 1, 0)


def bounce_norms(norms: FloatArray, before: FloatArray, cosines: FloatArray) -> FloatArray:
    """Return ‖Δ − Δ′‖/4 of steps Δ and those before them, Δ′, from their lengths and cosines, shape (n,).

    Good to a few roundings of the longer one where they bounce; of two nearly equal steps, that flow, no
    better than to the root of a rounding, for no more is known of the cosine. Source: INST, Fig. 9.
    """
    product = norms * before
    turned = np.where(product > 0, 1 - cosines, 0.0)  # a step of length 0 has no cosine
    square: FloatArray = (norms - before) ** 2 + 2 * product * turned
    return np.sqrt(square) / 4


def _at_edge(values: Mapping[str, FloatArray], threshold: FloatArray, *, whole: bool) -> FloatArray:
    """Return how many of the eigenvalues told lie at a threshold or above, NaN where none is told.

    Where not each reading is of the `whole` of them, those of S alone don't tell.
    """
    told = [values[name] for name in EIGENVALUES if name in values]
    counts = np.full(len(threshold), np.nan)
    if told:
        each = np.stack(told)
        known = ~np.isnan(each[0] if whole or len(told) < 2 else each[1])
        counts[known] = (each >= AT_EDGE * threshold).sum(axis=0)[known]
    return counts


def pandas_here() -> Any:
    """Return the module pandas. Raises InputError if it isn't installed."""
    try:
        import pandas
    except ImportError:
        raise InputError("a frame needs pandas: python -m pip install pandas") from None
    return pandas


class _Places:
    """Where rows that exist at some steps only lie among the steps `at`; both rise."""

    def __init__(self, steps: FloatArray, at: NDArray[np.int64]) -> None:
        first, last = np.searchsorted(steps, (at[0], at[-1] + 1)) if len(at) else (0, 0)
        self._rows = slice(first, last)
        self._at = np.searchsorted(at, steps[self._rows])
        self._length = len(at)

    def spread(self, values: FloatArray) -> FloatArray:
        """Return a column at full length, NaN where there is no such row."""
        whole = np.full(self._length, np.nan)
        whole[self._at] = values[self._rows]
        return whole
