"""`bench`: how much a measured run costs on this machine, as ratios."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eostui.cli.bench_probes import probe_lines
from eostui.cli.options import AsJson, DataDir, Device, PresetName, set_values
from eostui.cli.output import print_json
from eostui.cli.progress import ProgressBar
from eostui.errors import EostuiError, InputError, Interrupted

if TYPE_CHECKING:
    from torch import Tensor

#: Steps of each whole-run comparison, and of a run with all probes on: two densities after the first.
STEPS, STEPS_WITH_PROBES = 500, 2001
#: Where along a trajectory to measure.
PLACES = ("before", "edge", "both")


def bench(
    preset: PresetName = "digits-mlp",
    steps: Annotated[
        int | None,
        typer.Option(help="Steps of each whole-run comparison, 500; with --probes of a run, 2001."),
    ] = None,
    points: Annotated[int, typer.Option(help="Measurements compared with SciPy.")] = 20,
    place: Annotated[
        str,
        typer.Option(
            metavar="|".join(PLACES), help="Before the edge of stability, on it, or both."
        ),
    ] = "both",
    edge_limit: Annotated[int, typer.Option(help="Steps to look for the edge.")] = 3000,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting of the preset; repeatable."),
    ] = None,
    store: Annotated[
        bool,
        typer.Option("--store", help="Time the record of a long run instead: opening, exporting."),
    ] = False,
    shelf: Annotated[
        bool, typer.Option("--shelf", help="Time a shelf of 1000 runs instead: list, completion.")
    ] = False,
    terminal: Annotated[
        bool,
        typer.Option(
            "--terminal", help="Time a terminal instead: first frame, first point, bytes."
        ),
    ] = False,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="Time a sweep instead, against its members' training."),
    ] = False,
    start: Annotated[
        bool,
        typer.Option("--start", help="Time how soon the next run is there instead: some minutes."),
    ] = False,
    probes: Annotated[
        bool,
        typer.Option(
            "--probes", help="Time each optional probe instead, in steps of bare descent."
        ),
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Time a preset: its pieces, whole runs against bare descent, and S against SciPy's eigsh.

    Everything is timed in one process on one machine; the ratios are what to compare. Needs the extra
    `bench` (scipy).

    Examples:

      eostui bench digits-mlp

      eostui bench cifar5k-cnn --set samples=1000 --steps 100 --place before

      eostui bench digits-mlp --probes --place edge

      eostui bench --store

    On CUDA it also tells for how long the GPU was busy, and how often it was started and waited for. A
    measurement is told by what it adds to a step.
    """
    others = {
        "store": store, "shelf": shelf, "terminal": terminal, "sweep": sweep, "start": start,
        "probes": probes,
    }  # fmt: skip
    parts = [name for name, on in others.items() if on]
    if len(parts) > 1:
        raise InputError(f"--{parts[0]} and --{parts[1]} are benches of their own: choose one")
    if start:
        from eostui.cli.bench_start import bench_start

        bench_start(as_json)
        return
    if parts and not probes:
        from eostui.cli.bench_parts import bench_part

        bench_part(parts[0], as_json)
        return
    if steps is None:
        steps = STEPS_WITH_PROBES if probes else STEPS
    for name, value in (("--steps", steps), ("--points", points)):
        if value < 1:
            raise InputError(f"{name} is {value}, but must be at least 1")
    if place not in PLACES:
        raise InputError(f"--place is {place}, but must be one of {', '.join(PLACES)}")
    if not probes:
        _require_scipy()
    from eostui import locations, presets

    config = presets.load(preset).config.changed(
        set_values(assign, {"device": device, "threads": threads}, {})
    )
    locations.present_folder()
    from eostui.curvature.eigenpairs import NotFiniteError

    results: dict[str, Any] = {"preset": config.preset, "places": {}}
    trouble: EostuiError | None = None
    table = None if as_json else _Table(results)
    with ProgressBar("loading PyTorch") as bar:
        try:
            _measure(
                config, steps, points, (place, edge_limit), locations.data_dir(data_dir),
                results, _Narrator(bar, table), probes=probes,
            )  # fmt: skip
        except NotFiniteError as error:
            trouble = InputError(f"θ diverged ({error}): choose a smaller `--set eta=…`")
        except EostuiError as error:
            trouble = error
        except KeyboardInterrupt:
            what = "the figures are what was" if results["places"] else "nothing was"
            trouble = Interrupted(f"interrupted; {what} measured until then")
    if as_json and (results["places"] or trouble is None):  # hours may have gone into what is there
        print_json(results)
    if trouble is not None:
        raise trouble


def _require_scipy() -> None:
    try:
        import scipy  # noqa: F401
    except ImportError:
        raise InputError(
            "`eostui bench` needs SciPy: python -m pip install 'eostui[bench]'"
        ) from None


class _Narrator:
    """Tells a progress bar what is being done and where on the way, and a table when it is done."""

    def __init__(self, bar: ProgressBar, table: _Table | None) -> None:
        self._bar, self._table, self.place = bar, table, ""

    def __call__(self, text: str, done: int = 0, total: int | None = None) -> None:
        self._bar(done, total, label=f"{self.place}{text}")

    def measured(self) -> None:
        """Show what was measured since the last time."""
        if self._table is not None:
            self._table.show()

    def say(self, sentence: str) -> None:
        self._bar.console.print(sentence, markup=False, highlight=False)


def _measure(
    config: Any,
    steps: int,
    points: int,
    where: tuple[str, int],
    data_dir: Any,
    results: dict[str, Any],
    narrator: _Narrator,
    *,
    probes: bool,
) -> None:
    """Measure, and put each figure into `results` as soon as it is there."""
    from eostui.bench import measure
    from eostui.bench.steps import time_steps
    from eostui.engine.convolutions import with_fastest_convolutions
    from eostui.engine.device import prepare_machine
    from eostui.engine.facts import initial_facts
    from eostui.problems import build_problem

    # what PyTorch says to itself when curvlinops takes forward derivatives
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    # bare descent takes no part in what a preset does on the way
    config = config.changed({"controls": (), "calibrate_at": "never"})
    machine = prepare_machine(config)
    problem = with_fastest_convolutions(
        config, build_problem(config, machine.device, data_dir, narrator), narrator
    )
    if problem.initial.numel() < 2:
        raise InputError(f"{config.preset} has one parameter: there is nothing to search for")
    facts = initial_facts(config, machine, problem, "bench", "")
    keys = ("device", "device_name", "threads", "dtype", "parameters", "torch")
    results["machine"] = {
        **{key: facts[key] for key in keys}, "cuda": measure.cuda_of(machine.device)
    }  # fmt: skip
    wanted, edge_limit = where

    def at(place: str, theta: Tensor, step: int) -> None:
        narrator.place = f"{place}: "
        if probes:
            from eostui.bench.probes import time_probes

            timed = time_probes(config, problem, theta, steps, facts, narrator)
            results["places"][place] = {"from_step": step, **timed}
            narrator.measured()
            return
        pieces = measure.time_pieces(config, problem, theta, narrator)
        found: dict[str, Any] = {"from_step": step, "pieces": pieces}
        results["places"][place] = found
        narrator.measured()
        found["steps"] = time_steps(config, problem, theta, steps, facts, narrator)
        narrator.measured()
        found["whole_run"] = dataclasses.asdict(
            measure.time_whole_run(config, problem, theta, steps, facts, narrator)
        )
        narrator.measured()
        found["comparison"] = dataclasses.asdict(
            measure.compare(config, problem, theta, points, narrator)
        )
        narrator.measured()

    if wanted != "edge":
        at("before the edge", problem.initial, 0)
    if wanted != "before":
        narrator.place = ""
        edge = measure.reach_edge(config, problem, edge_limit, narrator)
        if edge is not None:
            at("on the edge", *edge)
        elif wanted == "edge":
            raise InputError(f"no edge within {edge_limit} steps: {_HOW_TO_REACH}")
        else:
            narrator.say(f"no edge within {edge_limit} steps to be timed on: {_HOW_TO_REACH}")


_HOW_TO_REACH = "give more `--edge-limit`, or a larger `--set eta=…`"

#: The pieces in the order of the table, in steps of bare descent.
_PIECES = {
    "gradient": "gradient, as the engine takes it",
    "product": "one more Hessian product Hv",
    "product_autograd": "  by autograd on a kept graph",
    "product_rebuilt": "  by autograd, rebuilt",
    "product_curvlinops": "  by curvlinops",
    "gauss_newton_product": "Gauss–Newton product Gv",
    "sharpness_gradient": "∇S",
    "sharpness_gradient_autograd": "  by autograd on a kept graph",
    "gradient_chunked": "gradient in 4 chunks",
    "product_chunked": "Hv in 4 chunks",
    "sharpness_gradient_chunked": "∇S in 4 chunks",
}


class _Table:
    """The table of results, line by line as they come: who ends a bench early has what there was."""

    def __init__(self, results: dict[str, Any]) -> None:
        self._results, self._shown = results, 0
        self._stdout = sys.stdout  # a bar on a terminal puts itself in its place

    def show(self) -> None:
        """Print the lines that weren't there yet."""
        lines = _table(self._results)
        # above the bar where that is on the same terminal; else stdout stays apart from stderr
        file = None if self._stdout.isatty() else self._stdout
        for line in lines[self._shown :]:
            print(line, file=file, flush=True)
        self._shown = len(lines)


def _table(results: dict[str, Any]) -> list[str]:
    """Return the lines of the table, as far as there are results: more of them add lines at the end."""
    machine = results["machine"]
    cuda = f", CUDA {machine['cuda']}" if machine["cuda"] else ""
    lines = [
        f"{results['preset']}: {machine['parameters']} parameters, {machine['dtype']}",
        f"{machine['device_name']} ({machine['device']}), {machine['threads']} threads, "
        f"torch {machine['torch']}{cuda}",
    ]
    for place, found in results["places"].items():
        lines += ["", f"{place}, from step {found['from_step']}"]
        lines += [f"  {line}" for line in _lines(found)]
    return lines


def _lines(found: dict[str, Any]) -> list[str]:
    """Return the lines of the table for one place, as far as it was measured."""
    if "probes" in found:
        return probe_lines(found)
    pieces = found["pieces"]
    step = pieces["bare_step"]
    lines = [f"{'one step of bare descent':<36}{step * 1e3:10.2f} ms"]
    lines += [
        f"{text:<36}{pieces[name] / step:10.2f} steps"
        for name, text in _PIECES.items()
        if name in pieces
    ]
    if of_steps := found.get("steps"):
        lines += _step_lines(of_steps)
    if whole := found.get("whole_run"):
        for name, text in (
            ("measured", "measured run"),
            ("configured", "  with the preset's eigenvalues"),
        ):
            ratio = whole[f"{name}_seconds"] / whole["bare_seconds"]
            rate = whole["steps"] / whole[f"{name}_seconds"]
            lines.append(
                f"{text:<36}{ratio:10.2f} × bare descent, {whole['steps']} steps, {rate:.4g} a second"
            )
    if both := found.get("comparison"):
        lines += _comparison_lines(both)
    return lines


def _step_lines(of_steps: dict[str, Any]) -> list[str]:
    """Return what a step and a measurement take, and what they ask of the device."""
    texts = {
        "bare": "a step of bare descent",
        "step": "a step of a run, unmeasured",
        "measurement": f"a measurement, {of_steps['products']:.1f} products",
    }
    lines = [
        f"{text:<36}{of_steps[name]['seconds'] * 1e3:10.2f} ms  ({_asked(of_steps[name])})"
        for name, text in texts.items()
        if name in of_steps
    ]
    if rate := of_steps.get("steps_per_second"):
        lines.append(f"{'  so a run, once it has begun':<36}{rate:10.0f} steps a second")
    if peak := of_steps.get("peak_megabytes"):
        lines.append(f"{'memory of the GPU, at most':<36}{peak:10.0f} MB")
    return lines


def _asked(work: dict[str, float]) -> str:
    """Return what a GPU was asked for and how long it was busy, or what a CPU was."""
    if not work["kernels"]:
        return f"{work['operators']:.1f} operators, {work['reads']:.1f} numbers read"
    busy = work["busy_seconds"]
    over = f", {work['seconds'] / busy:.2f} × that" if busy else ""
    return (
        f"GPU busy {busy * 1e3:.2f} ms{over}; {work['launches']:.1f} launches of {work['kernels']:.1f} "
        f"kernels, {work['waits']:.2f} waits, {work['copies']:.1f} copies"
    )


def _comparison_lines(both: dict[str, Any]) -> list[str]:
    ours = both["warm_seconds"]
    lines = [
        f"{'one S, warm':<36}{ours / both['points'] * 1e3:10.2f} ms  {_products(both, 'warm')}"
    ]
    for name, text in (
        ("cold", "  cold"),
        ("scipy", "  SciPy eigsh, default tolerance"),
        ("scipy_loose", "  SciPy eigsh, at our residual"),
        ("curvlinops", "  and on curvlinops' products"),
    ):
        if not both[f"{name}_products"]:
            continue
        ratio = both[f"{name}_seconds"] / ours
        lines.append(f"{text:<36}{ratio:10.1f} × as long  {_products(both, name)}")
    lines += [
        f"{'S differs from SciPy by at most':<36}{both['disagreement']:10.1e}",
        f"{'residual at most, ours':<36}{both['residual']:10.1e}",
        f"{'  SciPy, at our residual':<36}{both['scipy_loose_residual']:10.1e}",
    ]
    return lines


def _products(both: dict[str, Any], name: str) -> str:
    return f"({both[f'{name}_products'] / both['points']:.1f} products)"
