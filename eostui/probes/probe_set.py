"""The probes of a run: which are due, what they measure, and what they keep from reading to reading."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from eostui.config import RunConfig
from eostui.curvature.eigenpairs import NotFiniteError
from eostui.curvature.point import Point
from eostui.errors import InputError, did_you_mean, printable
from eostui.own_code import told
from eostui.probes import OPTIONAL, PROBES, described
from eostui.probes.own import ProbeError, checked, checked_state, kept_from_harm, made
from eostui.probes.probe import Moment, Operator, Probe, Reading, hessian
from eostui.probes.sharpness import Sharpness
from eostui.problems import Problem
from eostui.runs.analysis.remarks import TURNED_OFF
from eostui.runs.store.columns import ProbeColumns
from eostui.stability import GRADIENT_DESCENT, Stability

#: Where checkpoints of older versions kept what each probe keeps now: by its name there.
_FORMERLY = {
    "sharpness": {
        name: name
        for name in (
            "readings", "unconverged", "degenerate", "sharpness", "eigenvectors", "guards", "earlier",
            "others", "memory_values", "memory_vectors",
        )
    },
    "smallest_eigenvalue": {
        "smallest": "eigenvectors", "unconverged_smallest": "unconverged",
    },
    "drives": {"sharpness_gradient": "sharpness_gradient"},
}  # fmt: skip

_T = TypeVar("_T")


class ProbeSet:
    """The probes of a run, in the order in which they measure.

    What a probe of every run raises ends the run: it is what the run is for. Any other that fails is
    told, and turned off alone.

    Attributes:
        probes: by name.
        changed_at: the step from which on the controls have been what they are.
    """

    def __init__(
        self,
        config: RunConfig,
        problem: Problem,
        kinds: Sequence[type[Probe]] = PROBES,
        stability: Stability = GRADIENT_DESCENT,
        operator: Operator = hessian,
    ) -> None:
        """Make them anew.

        Args:
            config: of the run.
            problem: what is trained.
            kinds: of the probes, those of the program first.
            stability: of the run's dynamics.
            operator: whose spectrum counts for it.
        """
        self._seed = config.seed
        self._stability, self._operator = stability, operator
        self._controls: dict[str, float] = dict(stability.at_start(config))
        self.changed_at = 0
        self._config, self._problem = config, problem
        of_every_run = {kind.name: kind for kind in kinds if kind in PROBES}
        own = {kind.name: kind for kind in kinds if kind not in (*PROBES, *OPTIONAL.values())}
        self._own = {*own}
        #: those that can be turned on and off, in the order in which they measure
        self._switched = {**OPTIONAL, **own}
        self._order = [*of_every_run, *self._switched]
        self._off: dict[str, str] = {}  # why, by name
        self._untold: list[str] = []  # those of them that the record doesn't tell of yet
        self.probes: dict[str, Probe] = {}
        for kind in kinds:
            self._begin(kind)

    @staticmethod
    def sharpness_at(moment: Moment) -> float | None:
        """Return S as it was measured at this step, None where it wasn't."""
        reading = moment.readings.get(Sharpness.name)
        value = None if reading is None else reading.values.get("sharpness")
        return None if value is None else float(value)

    @property
    def sharpness(self) -> Sharpness:
        """The probe that follows S and u."""
        probe = self.probes[Sharpness.name]
        assert isinstance(probe, Sharpness)
        return probe

    def moment(self, step: int, controls: Mapping[str, float]) -> Moment:
        """Go on to a step with these controls."""
        if dict(controls) != self._controls:
            self._controls, self.changed_at = dict(controls), step
        return Moment(
            step,
            self._controls,
            self._stability,
            self._operator,
            self.changed_at,
            probes=self.probes,
        )

    def due(self, moment: Moment) -> list[Probe]:
        """Return the probes that measure at this step."""
        return [
            probe
            for probe in self.probes.values()
            if self._guarded(probe.name, partial(_is_due, probe, moment), otherwise=False)
        ]

    def measure(self, due: Sequence[Probe], point: Point, moment: Moment) -> list[Reading]:
        """Return the readings of the probes that are `due`, in their order.

        Where a Hessian product isn't finite nothing more is measured, and the next search starts cold:
        θ and L may still be finite, and the training go on.
        """
        for probe in due:
            begun = time.perf_counter()
            try:
                reading = self._reading(probe, point, moment)
            except NotFiniteError as error:
                self._forget()
                remark = ("unmeasured", {"reason": str(error)})
                return [*moment.readings.values(), Reading(remarks=[remark], probe=probe.name)]
            reading.probe, reading.seconds = probe.name, time.perf_counter() - begun
            moment.readings[probe.name] = reading
        readings = list(moment.readings.values())
        for name in self._untold:
            remark = (TURNED_OFF, {"probe": name, "reason": self._off[name]})
            readings.append(Reading(remarks=[remark], probe=name))
        self._untold.clear()
        return readings

    def forget(self) -> None:
        """Drop what was found so far, and why a probe was turned off: all begins anew."""
        self._off.clear()
        self._untold.clear()
        self._forget()

    def switch(self, name: str, record: Callable[[ProbeColumns], object], *, on: bool) -> bool:
        """Turn a probe on, which begins anew then, or off; return whether that changed anything.

        One that failed and was turned off alone is tried again.

        Args:
            name: of an optional one, or of a user's own that the config names.
            record: told of one that is to measure, before it does; what it refuses stays off.
            on: whether it measures from here on.

        Raises:
            InputError: if there is none of that name, it can't measure this run, or not be recorded.
        """
        if name not in self._switched:
            if name in self._order:
                raise InputError(f"the probe {name} measures in every run: it can't be turned off")
            raise InputError(f"there is no probe `{name}`{did_you_mean(name, self._switched)}")
        if on == (name in self.probes and name not in self._off):
            return False
        if on:
            kind = self._switched[name]
            try:
                probe = self._made(kind, self._config, self._problem)
            except InputError as error:
                raise InputError(f"the probe {name} can't be turned on: {error}") from None
            except (Exception, SystemExit) as error:  # the user's code may raise anything
                raise InputError(f"the probe {name} failed: {printable(told(error))}") from error
            record(described([kind])[0])
            self._drop(name)
            self.probes[name] = probe
            self._sort()
        else:
            self._drop(name)
        return True

    @property
    def on(self) -> list[str]:
        """The names of those that aren't of every run and are on, or failed and are told of."""
        names = (name for name in self._order if name in self.probes or name in self._off)
        return [name for name in names if name in self._switched]

    def turn_on(self) -> None:
        """Let probes that were turned off measure again: their source is another."""
        self._off = {name: why for name, why in self._off.items() if name not in self.probes}
        self._untold = [name for name in self._untold if name in self._off]

    def state(self) -> dict[str, Any]:
        """Return what outlives a reading, by name: tensors, and values that JSON can hold."""
        kept: dict[str, Any] = {}
        for probe in self.probes.values():
            nothing: dict[str, Any] = {}
            own = self._guarded(probe.name, partial(self._state, probe), otherwise=nothing)
            kept |= {f"{probe.name}.{name}": value for name, value in own.items()}
        return {
            **kept,
            "controls": self._controls,
            "changed_at": self.changed_at,
            "off": dict(self._off),
            "untold": list(self._untold),
            "on": self.on,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned, of this version or an older one."""
        if "controls" in state:
            self._controls |= state["controls"]  # an older version's has no interventions
        else:
            self._controls |= {name: state[name] for name in self._controls if name in state}
            state = {**_translated(state), "changed_at": state.get("changed_at", 0)}
        self.changed_at = state["changed_at"]
        if "on" in state:
            self._begin_those(state["on"])
        off, untold = state.get("off", {}), state.get("untold", [])
        # one that couldn't be made stays off: there is nothing to turn on
        self._off |= {name: why for name, why in off.items() if name in self.probes}
        self._untold += [name for name in untold if name in self._off]
        for probe in self.probes.values():
            if own := _of(probe.name, state):
                self._guarded(probe.name, partial(probe.restore, own), otherwise=None)

    def _begin(self, kind: type[Probe]) -> None:
        """Make a probe anew, or take note of why it can't be."""
        probe: Probe | None = self._guarded(
            kind.name, partial(self._made, kind, self._config, self._problem), otherwise=None
        )
        if probe is not None:
            self.probes[kind.name] = probe

    def _begin_those(self, names: Sequence[str]) -> None:
        """Have those on that were, beside the probes of every run."""
        for name in set(self.on) - set(names):
            self._drop(name)
        for name in names:
            if name in self._switched and name not in self.on:
                self._begin(self._switched[name])
        self._sort()

    def _drop(self, name: str) -> None:
        self.probes.pop(name, None)
        self._off.pop(name, None)
        self._untold = [each for each in self._untold if each != name]

    def _sort(self) -> None:
        self.probes = {name: self.probes[name] for name in self._order if name in self.probes}

    def _reading(self, probe: Probe, point: Point, moment: Moment) -> Reading:
        if probe.name not in self._own:
            return self._guarded(
                probe.name, partial(probe.measure, point, moment), otherwise=Reading()
            )

        def measure() -> Reading:
            with kept_from_harm(probe, point, moment, self._seed) as (own_point, own_moment):
                return checked(probe, probe.measure(own_point, own_moment))

        return self._guarded(probe.name, measure, otherwise=Reading())

    def _state(self, probe: Probe) -> dict[str, Any]:
        return checked_state(probe.state()) if probe.name in self._own else probe.state()

    def _forget(self) -> None:
        for probe in self.probes.values():
            self._guarded(probe.name, probe.forget, otherwise=None)

    def _made(self, kind: type[Probe], config: RunConfig, problem: Problem) -> Probe:
        return made(kind, config, problem) if kind.name in self._own else kind(config, problem)

    def _guarded(self, name: str, do: Callable[[], _T], otherwise: _T) -> _T:
        """Do something of a probe; turn off one that the config names where it fails.

        Raises:
            NotFiniteError: by one of the program: then nothing more can be measured at this point.
        """
        if name not in self._switched:
            return do()
        if name in self._off:
            return otherwise
        try:
            return do()
        except NotFiniteError as error:
            if name not in self._own:
                raise
            why = told(error)
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            why = str(error) if isinstance(error, ProbeError) else told(error)
        self._off[name] = printable(why)[:500]
        self._untold.append(name)
        return otherwise


def _is_due(probe: Probe, moment: Moment) -> bool:
    return bool(probe.due(moment))


def _of(probe: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one probe kept, by its own names."""
    prefix = f"{probe}."
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def _translated(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state that an older version kept of its probes, by the names of today.

    Raises:
        KeyError: if it has less than the oldest of them had.
    """
    state["memory_values"]
    return {
        f"{probe}.{new}": state[old]
        for probe, names in _FORMERLY.items()
        for old, new in names.items()
        if old in state
    }
