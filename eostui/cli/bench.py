"""`bench`: how much a measured run costs on this machine, as ratios."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from eostui.cli.options import AsJson, DataDir, PresetName, set_values
from eostui.cli.output import print_json
from eostui.errors import InputError


def bench(
    preset: PresetName = "digits-mlp",
    steps: Annotated[int, typer.Option(help="Steps of each whole-run comparison.")] = 500,
    points: Annotated[int, typer.Option(help="Measurements compared with SciPy.")] = 20,
    edge_limit: Annotated[
        int, typer.Option(help="Steps to look for the edge; 0 to stay before it.")
    ] = 3000,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting of the preset; repeatable."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Time a preset: its pieces, whole runs against bare descent, and S against SciPy's eigsh.

    Everything is timed in one process on one machine; the ratios are what to compare. Needs the extra
    `bench` (scipy).

    Examples:

      eostui bench digits-mlp

      eostui bench cifar5k-cnn --set samples=1000 --steps 100 --edge-limit 0
    """
    for name, value in (("--steps", steps), ("--points", points)):
        if value < 1:
            raise InputError(f"{name} is {value}, but must be at least 1")
    try:
        import scipy  # noqa: F401
    except ImportError:
        raise InputError(
            "`eostui bench` needs SciPy: python -m pip install 'eostui[bench]'"
        ) from None
    from rich.console import Console

    from eostui import locations, presets

    config = presets.load(preset).config.changed(
        set_values(assign, {"device": device, "threads": threads}, {})
    )
    console = Console(stderr=True)
    with console.status("loading PyTorch") as status:
        results = _results(
            config, steps, points, edge_limit, locations.data_dir(data_dir), status.update
        )
    if as_json:
        print_json(results)
    else:
        _print_table(results)


def _results(
    config: Any, steps: int, points: int, edge_limit: int, data_dir: Any, narrate: Any
) -> dict[str, Any]:
    from eostui.bench import measure
    from eostui.engine.device import prepare_machine
    from eostui.engine.record import initial_facts
    from eostui.problems import build_problem

    machine = prepare_machine(config)
    problem = build_problem(config, machine.device, data_dir, narrate)
    facts = initial_facts(config, machine, problem, "bench", "")
    starts = {"before the edge": (problem.initial, 0)}
    if edge_limit:
        found = measure.reach_edge(config, problem, edge_limit, narrate)
        if found is not None:
            starts["on the edge"] = found
    keys = ("device", "device_name", "threads", "dtype", "parameters", "torch")
    results: dict[str, Any] = {
        "preset": config.preset,
        "machine": {key: facts[key] for key in keys},
        "places": {},
    }
    for place, (theta, step) in starts.items():
        narrate(f"{place}: pieces")
        pieces = measure.time_pieces(config, problem, theta)
        narrate(f"{place}: whole run of {steps} steps")
        whole = measure.time_whole_run(config, problem, theta, steps, facts)
        narrate(f"{place}: {points} measurements by both means")
        comparison = measure.compare(config, problem, theta, points)
        results["places"][place] = {
            "from_step": step,
            "pieces": dataclasses.asdict(pieces),
            "whole_run": {**dataclasses.asdict(whole), "ratio": whole.ratio},
            "comparison": dataclasses.asdict(comparison),
        }
    return results


def _print_table(results: dict[str, Any]) -> None:
    machine = results["machine"]
    print(f"{results['preset']}: {machine['parameters']} parameters, {machine['dtype']}")
    print(
        f"{machine['device_name']} ({machine['device']}), {machine['threads']} threads, "
        f"torch {machine['torch']}"
    )
    for place, found in results["places"].items():
        pieces, whole, both = found["pieces"], found["whole_run"], found["comparison"]
        step = pieces["bare_step"]
        print(f"\n{place}, from step {found['from_step']}")
        print(f"  one bare step                    {step * 1e3:10.2f} ms")
        for name, text in (
            ("kept_graph", "gradient with its graph kept"),
            ("product_kept", "one more product on the graph"),
            ("product_fresh", "one product, rebuilt"),
            ("sharpness_gradient", "∇S on the graph"),
        ):
            print(f"  {text:<32} {pieces[name] / step:10.2f} steps")
        print(
            f"  measured run / bare descent      {whole['ratio']:10.2f}  ({whole['steps']} steps)"
        )
        ours, exact, loose = (
            both[f"{who}_seconds"] / both["points"] for who in ("warm", "scipy", "scipy_loose")
        )
        print(f"  one S, warm                      {ours * 1e3:10.2f} ms  "
              f"({both['warm_products'] / both['points']:.1f} products)")  # fmt: skip
        print(f"  SciPy eigsh, default tolerance   {exact / ours:10.1f} × as long  "
              f"({both['scipy_products'] / both['points']:.1f} products)")  # fmt: skip
        print(f"  SciPy eigsh, at our residual     {loose / ours:10.1f} × as long  "
              f"({both['scipy_loose_products'] / both['points']:.1f} products)")  # fmt: skip
        print(f"  S differs from SciPy's by        {both['disagreement']:10.1e}")
