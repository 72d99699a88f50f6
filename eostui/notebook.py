"""Runs in a notebook: their columns, their model at any step, and many of them as one frame."""

from __future__ import annotations

import math
import operator
import os
import resource
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, overload

from eostui import locations
from eostui.errors import InputError, did_you_mean, printable
from eostui.runs import shelf
from eostui.runs.ancestry import forked_at, parent_path
from eostui.runs.export import RunTable
from eostui.runs.family import Family, settings_of
from eostui.runs.filter_fields import run_filter
from eostui.runs.run import Run, pandas_here
from eostui.runs.shelf import Entry
from eostui.runs.trust import refuse_foreign_code

if TYPE_CHECKING:
    import pandas
    from torch import Tensor, nn

    from eostui.cli.progress import ProgressBar
    from eostui.engine.rebuilt import Rebuilt
    from eostui.problems import Problem

#: By what a notebook's user says that a record's code may be executed.
_WORD = "`trust_code=True`"


def open_run(
    run: Path | str | None = None,
    *,
    runs_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
    trust_code: bool = False,
) -> OpenRun:
    """Open a run, as `eostui.open_run` tells."""
    if run is not None and not isinstance(run, str | Path):
        raise InputError(f"a run is an id, the end of it, a name or a path, not {run!r}")
    if isinstance(run, Path) or (run and os.sep in run):
        path = locations.expanded(Path(run))
    else:
        path = shelf.find_path(locations.runs_dir(_path(runs_dir)), run)
    return OpenRun(path, data_dir=_path(data_dir), trust_code=trust_code)


def open_runs(
    filter: str = "",
    *,
    runs_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
    trust_code: bool = False,
) -> Runs:
    """Find runs by a filter, as `eostui.open_runs` tells."""
    if not isinstance(filter, str):
        raise InputError(f"a filter is a text such as 'digits λ>0', not {filter!r}")
    passes = run_filter(filter)
    folder = locations.runs_dir(_path(runs_dir))
    if runs_dir is not None and not folder.is_dir():
        raise InputError(f"there is no folder of runs {folder}")
    entries, unread = shelf.read(folder)
    if unread:
        _say(shelf.told_unread(unread))
    chosen = [entry for entry in reversed(entries) if passes(entry)]
    return Runs(chosen, data_dir=_path(data_dir), trust_code=trust_code)


class OpenRun(Run):
    """A run whose columns can be read and model rebuilt; PyTorch is loaded for that alone."""

    def __init__(
        self, path: Path | str, *, data_dir: Path | None = None, trust_code: bool = False
    ) -> None:
        """Open a run directory.

        Args:
            path: the directory.
            data_dir: where the data sets are; the usual place if left out.
            trust_code: whether the files that its record, or that of the run it was forked from, names
                as problem, dynamics or probes may be executed.

        Raises:
            InputError: if it is no run directory.
            RunFormatError: if it is damaged.
        """
        super().__init__(path)
        self._data_dir, self._trust_code = data_dir, trust_code
        self._rebuilt: Rebuilt | None = None
        self._parent: OpenRun | None = None

    def problem(self) -> Problem:
        """Return what is trained: θ₀, the loss as a function of θ, the data. It is built once.

        It lies on the device of the run, or on the CPU where that isn't there. If it isn't what the run
        was trained on any more, stderr says so.

        Raises:
            InputError: if the data or the user's code can't be had, or the run doesn't fit them any more.
        """
        return self._rebuild().problem

    def theta(self, step: int | None = None) -> Tensor:
        """Return θ at a step, shape (P,): the one of which `loss` in that row is L.

        It is taken from a checkpoint of this step, or the steps since the checkpoint before it are
        taken once more, as a fork takes them: on a CPU the same to the bit. Steps before a fork are those
        of its parent. One step after the other costs no more than one pass over them.

        Args:
            step: from 0 to `last_step`, or from the end if negative; the newest if left out.

        Raises:
            InputError: if the run has no such step, there is no way to it, or the problem isn't what it
                was.
            RunFormatError: if the record is damaged.
        """
        wanted = self._row(step)
        fork = forked_at(self)
        if fork is not None and wanted < fork[1]:
            return self._parent_at(wanted).theta(wanted)
        from eostui.engine.rebuilt import stored_theta

        theta = stored_theta(self.path, wanted)
        if theta is not None:
            return theta
        rebuilt = self._rebuild()
        with _Repetition(self.path.name) as progress:
            return rebuilt.theta(wanted, progress)

    def module(self, step: int | None = None) -> nn.Module:
        """Return the network at a step: a copy of the problem's module with θ as its parameters.

        Args:
            step: as in `theta`.

        Raises:
            InputError: as `theta`; or if the problem, as every toy, is a function of θ alone.
        """
        theta = self.theta(step)
        problem = self.problem()
        try:
            return problem.module(theta)
        except InputError as error:
            raise InputError(f"{self.path.name}: {error}") from None

    def _row(self, step: int | None) -> int:
        """Return the step that is meant. Raises InputError if the run hasn't it."""
        try:
            step = None if step is None else operator.index(step)
        except TypeError:
            raise InputError(
                f"{self.path.name}: a step is a whole number, and isn't {step!r}"
            ) from None
        last = self.last_step
        if last < 0:
            raise InputError(f"{self.path.name} has no steps yet")
        wanted = last if step is None else step if step >= 0 else last + 1 + step
        if not 0 <= wanted <= last:
            raise InputError(f"{self.path.name} has no step {step}: it has steps 0 to {last}")
        return wanted

    def _parent_at(self, step: int) -> OpenRun:
        """Return the run that took a step of this one. Raises InputError if it isn't there any more."""
        fork = forked_at(self)
        assert fork is not None
        what = f"{self.path.name} is a fork from step {fork[1]} on, and step {step} is {fork[0]}'s"
        if self._parent is None:
            path = parent_path(self)
            if path is None:
                raise InputError(f"{what}, which isn't beside it any more")
            self._parent = OpenRun(path, data_dir=self._data_dir, trust_code=self._trust_code)
            self._parent.close()
        for name in ("loss", "theta_norm"):
            mine, other = self.steps[name][step], self._parent.steps[name][step : step + 1]
            if other.tolist() != [mine] and mine == mine:
                raise InputError(f"{what}, but the run of that id beside it is another one")
        return self._parent

    def _rebuild(self) -> Rebuilt:
        if self._rebuilt is None:
            refuse_foreign_code(self.config, self.path, trusted=self._trust_code, word=_WORD)
            locations.present_folder()
            from eostui.engine.rebuilt import Rebuilt

            folder = locations.data_dir(self._data_dir)
            self._rebuilt = Rebuilt(self.path, self.config, folder, _say)
        return self._rebuilt


class Runs(Sequence[OpenRun]):
    """Several runs, opened when they are asked for.

    Attributes:
        family: what they are called, and in which settings they differ.
    """

    def __init__(
        self, entries: Sequence[Entry], *, data_dir: Path | None = None, trust_code: bool = False
    ) -> None:
        """Take the runs of a shelf; the rest is as in `OpenRun`."""
        self.family = Family.of(entries)
        self._data_dir, self._trust_code = data_dir, trust_code
        self._open: dict[int, OpenRun] = {}

    def __len__(self) -> int:
        return len(self.family.entries)

    @overload
    def __getitem__(self, place: int) -> OpenRun: ...

    @overload
    def __getitem__(self, place: slice) -> Runs: ...

    def __getitem__(self, place: int | slice) -> OpenRun | Runs:
        """Return one run, read as it is when it is first asked for; or some of them."""
        if isinstance(place, slice):
            return Runs(
                self.family.entries[place], data_dir=self._data_dir, trust_code=self._trust_code
            )
        number = range(len(self))[place]
        if number not in self._open:
            path = self.family.entries[number].path
            run = OpenRun(path, data_dir=self._data_dir, trust_code=self._trust_code)
            run.close()  # a thousand open stores are more than a process may have
            self._open[number] = run
        return self._open[number]

    def __repr__(self) -> str:
        told = ", ".join(self.labels)
        return f"<{len(self)} run{'s' if len(self) != 1 else ''}{': ' if told else ''}{told}>"

    @property
    def labels(self) -> tuple[str, ...]:
        """What each is called in a legend, each another: its settings that differ, or its name."""
        return self.family.short_labels

    @property
    def settings(self) -> pandas.DataFrame:
        """Return a frame with a row for each run, by its id: name, state, steps, settings that differ.

        Raises:
            InputError: if pandas isn't installed.
        """
        family = self.family
        kept = (*family.differing, *family.others)
        rows = [
            {
                "name": entry.name,
                "label": label,
                "state": entry.state,
                "last_step": entry.last_step,
                **{key: value for key, value in settings_of(entry).items() if key in kept},
            }
            for entry, label in zip(family.entries, self.labels, strict=True)
        ]
        columns = ["name", "label", "state", "last_step", *kept]
        ids = [entry.id for entry in family.entries]
        pandas = pandas_here()
        return pandas.DataFrame(rows, columns=columns, index=pandas.Index(ids, name="run"))

    def frame(
        self, names: Collection[str] | str | None = None, *, measured_only: bool = False
    ) -> pandas.DataFrame:
        """Return the rows of all runs under each other, as an export has them.

        First come columns that are the same for all rows of a run: its id, its name, and every setting
        that differs (η and λ as they are at its newest step: `run_eta`, `run_weight_decay`).

        Args:
            names: of the columns, or of one, beside these and `step`; all if left out.
            measured_only: only the rows at which something was measured.

        Raises:
            InputError: if pandas isn't installed, or no run has a column of such a name.
        """
        names = [names] if isinstance(names, str) else names
        pandas = pandas_here()
        if not len(self):
            return pandas.DataFrame({"run": [], "name": [], "step": []})
        given = [self._open.get(n, entry.path) for n, entry in enumerate(self.family.entries)]
        table = RunTable(given, measured_only=measured_only)
        known = [column.name for column in table.columns[len(table.labels) :]]
        for name in names or ():
            if name not in known:
                raise InputError(f"no run has a column `{name}`{did_you_mean(name, known)}")
        kept = [name for name in known if names is None or name == "step" or name in names]
        parts = []
        for place, each in enumerate(table.parts):
            with each.opened() as run:
                part = pandas.DataFrame(run.columns(measured_only=measured_only, names=kept))
            for number, label in enumerate(table.labels):
                value = label.values[place]
                if value is None and label.kind is not bool:
                    value = math.nan
                part.insert(number, label.column.name, value)
            parts.append(part)
        whole = pandas.concat([part for part in parts if len(part)] or parts, ignore_index=True)
        labels = [label.column.name for label in table.labels]
        return whole.reindex(columns=[*labels, *kept]).astype({"step": int})


class _Repetition:
    """Tells on stderr how the repetition of steps comes along, where it takes longer than a moment."""

    #: Seconds until it is told for the first time where no bar can be drawn, and between two tellings.
    _FIRST, _EVERY = 3.0, 10.0

    def __init__(self, run: str) -> None:
        self._run = run
        self._begun = self._told = time.monotonic()
        self._steps = 0
        self._bar: ProgressBar | None = None
        self._entered = ExitStack()

    def __enter__(self) -> _Repetition:
        from eostui.cli.progress import ProgressBar

        bar = ProgressBar(f"repeating {self._run}", "steps")
        if bar.console.is_terminal:
            self._bar = self._entered.enter_context(bar)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()
        took = time.monotonic() - self._begun
        if took >= self._FIRST:
            scale = 1 if sys.platform == "darwin" else 1024  # bytes there, else kilobytes
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
            _say(
                f"{self._run}: {self._steps} steps repeated in {took:.0f} s; "
                f"this process has taken {memory / 1e6:.0f} MB at most"
            )

    def __call__(self, step: int, first: int, until: int) -> None:
        """Take in that all steps before `step` were taken, of those from `first` to before `until`."""
        self._steps = done = step - first
        if self._bar is not None:
            self._bar(done, until - first)
            return
        now = time.monotonic()
        if now - self._told >= (self._FIRST if self._told == self._begun else self._EVERY):
            self._told = now
            rate = done / (now - self._begun)
            _say(
                f"{self._run}: {done} of {until - first} steps repeated, {rate:.0f}/s, "
                f"{(until - step) / rate:.0f} s left"
            )


def _path(text: Path | str | None) -> Path | None:
    return None if text is None else Path(text)


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)
