"""`reproduce`: claims of papers as experiments, run and judged here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eostui.cli.machines import Machines
from eostui.cli.options import AsJson, DataDir, RunsDir
from eostui.cli.output import print_json, print_table
from eostui.errors import EXIT_FAILED, EostuiError, InputError, Interrupted, printable

if TYPE_CHECKING:
    from eostui.experiments.costs import ExperimentCost
    from eostui.experiments.experiment import Experiment, Wanted
    from eostui.experiments.results import OnShelf, Result, Standing

Folders = tuple[Path, Path]  # of the runs, of the data sets


def _complete(incomplete: str) -> list[str]:
    from eostui.experiments.experiment import ALL, available

    return [name for name in (*available(), ALL) if name.startswith(incomplete)]


def reproduce(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXPERIMENT|PAPER|all]...",
            help="Experiments: names, papers as wd, paths of your own; listed if left out.",
            autocompletion=_complete,
        ),
    ] = None,
    paper_scale: Annotated[
        bool, typer.Option("--paper-scale", help="At the paper's size in place of the small twins.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only show the members, and what they cost: some steps are timed for it.",
        ),
    ] = False,
    failed: Annotated[
        bool, typer.Option("--failed", help="Repeat members that failed as well.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a report with what there are results of, and what isn't run yet: FILE.html with "
            "figures, or FILE.md.",
        ),
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep results and figures there as files, as docs/results has them; those of other "
            "experiments stay.",
        ),
    ] = None,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    *,
    machines: Machines,
) -> None:
    """Run experiments of the papers, read them, and say whether they agree with what is claimed.

    Without a name: lists all by paper, with how they stand on the shelf, and what they cost here, one
    member after another: what they took, or about what runs of the same settings tell; --dry-run times
    some steps of those that are named. Each experiment is a file that
    states the claim, the runs that it takes, what is read and the criterion: agrees, differs, or
    undecided and why. Members that are on the shelf aren't trained again, and an interrupted call goes
    on where it stopped. Numbers, verdict and figures (which take the extra `figures`) are kept in the
    sweep's folder. A report has those of all experiments that are named, or of all; its HTML is one file
    that fetches nothing. The exit code is 0 whatever the verdicts, 1 when a member failed or was stopped
    by someone, 130 when interrupted.

    Examples:

      eostui reproduce

      eostui reproduce wd-fig4-mlp

      eostui reproduce wd --workers 2 --report wd.html

      eostui reproduce --report all.md

      eostui reproduce all --dry-run
    """
    from eostui import locations
    from eostui.experiments.experiment import ALL, wanted

    machines.check()
    _check_files(report, keep)
    folders = locations.runs_dir(runs_dir), locations.data_dir(data_dir)
    meant = wanted(names or [ALL])
    for sentence in meant.left_out:
        _narrate(sentence)
    chosen: Sequence[Experiment] = meant.experiments
    if paper_scale:
        chosen = _of_a_papers_size(meant)
    if dry_run:
        if machines.elsewhere or not names:
            raise InputError(
                "--dry-run times steps on this machine for the experiments that are named"
            )
        raise typer.Exit(
            _show_cost(chosen, folders, machines, paper_scale=paper_scale, as_json=as_json)
        )
    code = 0
    if names:
        results, code = _run(
            chosen, folders, machines, paper_scale=paper_scale, failed=failed, told=not as_json
        )
        if as_json:
            print_json(results)
    else:
        _list(chosen, folders[0], paper_scale=paper_scale, as_json=as_json)
    _report(chosen, folders[0], report, keep, paper_scale=paper_scale)
    raise typer.Exit(code)


def _check_files(report: Path | None, keep: Path | None) -> None:
    """Raise InputError if what is asked for can't be written, before anything is trained for it."""
    from eostui.cli.experiment_reports import check_target
    from eostui.figures.files import require_matplotlib

    if report is not None:
        check_target(report)
    if keep is not None:
        require_matplotlib()  # a result without its figures would take the place of one with them


def _report(
    chosen: Sequence[Experiment],
    runs_dir: Path,
    report: Path | None,
    keep: Path | None,
    *,
    paper_scale: bool,
) -> None:
    """Write what is asked for of the experiments' results on the shelf, those of other calls too."""
    from eostui.cli import experiment_reports as reports

    if report is None and keep is None:
        return
    target = report and reports.check_target(report)
    drawn = keep is not None or (target is not None and reports.has_figures(target))
    drawn = drawn and reports.can_draw()
    entries = reports.entries_of(chosen, runs_dir, paper_scale=paper_scale, drawn=drawn)
    if target is not None:
        reports.write_report(target, entries)
    if keep is not None:
        reports.keep(keep, entries)


def _of_a_papers_size(meant: Wanted) -> list[Experiment]:
    """Return those that have runs of that size; one that is named itself and has none is refused."""
    for each in meant.named:
        each.preset(paper_scale=True)  # says why
    found = [each for each in meant.experiments if each.definition.paper_scale]
    if not found:
        raise InputError(
            "none of these experiments has runs at a paper's size: leave --paper-scale out"
        )
    return found


def _list(
    chosen: Sequence[Experiment], runs_dir: Path, *, paper_scale: bool, as_json: bool
) -> None:
    """Print how experiments stand."""
    from eostui.charts.numbers import age, grouped
    from eostui.experiments.costs import ExperimentCosts
    from eostui.experiments.results import OnShelf, standing
    from eostui.runs import shelf as runs

    shelf, costs = OnShelf(runs_dir), ExperimentCosts(runs.read(runs_dir)[0])
    found = [standing(each, shelf, paper_scale=paper_scale) for each in chosen]
    if as_json:
        print_json([_standing_json(each, costs.of(each)) for each in found])
    else:
        rows = [("experiment", "paper", "state", "members", "steps", "time here", "where")]
        for each in found:
            definition = each.experiment.definition
            cost = costs.of(each)
            took = "—" if cost is None else ("" if cost.took else "about ") + age(cost.seconds)
            done = f"{each.complete} of {each.plan.count}"
            steps = grouped(sum(config.steps for config in each.plan.configs()))
            name, where = each.experiment.name, definition.figure
            rows.append((name, definition.paper, each.state, done, steps, took, where))
        print_table(rows, named=0)


def _standing_json(standing: Standing, cost: ExperimentCost | None) -> dict[str, Any]:
    from eostui.sweeps.cost import work

    definition = standing.experiment.definition
    configs = list(standing.plan.configs())
    return {
        "experiment": standing.experiment.name,
        **definition.model_dump(
            mode="json", include={"paper", "figure", "claim", "twin", "paper_scale"}
        ),
        "path": str(standing.experiment.path),
        "state": standing.state,
        "members": standing.plan.count,
        "complete": standing.complete,
        "steps": sum(config.steps for config in configs),
        "work": sum(map(work, configs)),
        "seconds": cost.seconds if cost is not None and cost.took else None,
        "seconds_estimated": cost.seconds if cost is not None and not cost.took else None,
        "sweep": standing.sweep.id if standing.sweep else None,
        "result": standing.result,
    }


def _show_cost(
    chosen: Sequence[Experiment],
    folders: Folders,
    machines: Machines,
    *,
    paper_scale: bool,
    as_json: bool,
) -> int:
    """Print what each preset of the experiments costs; return the exit code."""
    from eostui.cli.sweep_plan import planned

    by_preset: dict[str, list[Experiment]] = {}
    for each in chosen:
        by_preset.setdefault(each.preset_argument(paper_scale=paper_scale), []).append(each)
    code = 0
    for preset, those in by_preset.items():
        names = [each.name for each in those]
        if not as_json:
            print(printable(f"{', '.join(names)}: {preset}"))
        try:
            plan = those[0].plan(paper_scale=paper_scale)
            planned(plan, folders, machines.workers, as_json=as_json, experiments=names)
        except Interrupted:
            raise
        except EostuiError as error:  # the others can be timed without it
            if len(by_preset) == 1:
                raise
            _narrate(f"{', '.join(names)}: {error}")
            code = EXIT_FAILED
    return code


def _run(
    chosen: Sequence[Experiment],
    folders: Folders,
    machines: Machines,
    *,
    paper_scale: bool,
    failed: bool,
    told: bool,
) -> tuple[list[Result], int]:
    """Run experiments and judge them, each told as it ends; return the results and the exit code."""
    from eostui.cli.experiment_reports import can_draw, draw
    from eostui.experiments.results import OnShelf, judge, rows_of
    from eostui.sweeps.conductor import unfinished

    shelf, drawn = OnShelf(folders[0]), can_draw()
    results: list[Result] = []
    code = 0
    for number, each in enumerate(chosen):
        try:
            trained = _trained(
                each, shelf, folders, machines, paper_scale=paper_scale, failed=failed
            )
            code = trained.interrupted or max(code, trained.exit_code)
            if trained.stopped:
                _tell_left(len(chosen) - number)
                return results, code
            if left := len(unfinished(trained.states)):
                told_left = "1 member is" if left == 1 else f"{left} members are"
                _narrate(f"{each.name} isn't judged: {told_left} left, the same command goes on")
                continue
            rows = rows_of(trained.sweep, each)
            result = judge(each, trained.sweep, rows, paper_scale=paper_scale)
            if drawn:
                draw(each, trained.sweep, rows)
        except Interrupted as error:
            _narrate(str(error))
            _tell_left(len(chosen) - number)
            return results, error.exit_code
        except EostuiError as error:  # the others can be done without it
            if len(chosen) == 1:
                raise
            _narrate(f"{each.name}: {error}")
            code = EXIT_FAILED
            continue
        results.append(result)
        if told:
            _tell(result)
    return results, code


def _tell_left(count: int) -> None:
    left = "1 experiment is" if count == 1 else f"{count} experiments are"
    _narrate(f"stopped: {left} left and not judged, the same command goes on")


def _trained(
    experiment: Experiment,
    shelf: OnShelf,
    folders: Folders,
    machines: Machines,
    *,
    paper_scale: bool,
    failed: bool,
) -> Any:
    """Train what isn't there of an experiment's members, in the sweep that has them or in a new one."""
    from eostui.cli.sweeping import trained
    from eostui.experiments.results import found_or_made
    from eostui.locations import present_folder

    plan = experiment.plan(paper_scale=paper_scale)
    configs = list(plan.configs())
    _tell_download(experiment, folders[1], {config.data for config in configs})
    present_folder()
    with machines.reached(configs) as reached:
        sweep = found_or_made(experiment, shelf, paper_scale=paper_scale)
        return trained(sweep, folders[1], machines.workers, reached, failed=failed)


def _tell_download(experiment: Experiment, data_dir: Path, data: set[str]) -> None:
    from eostui.locations import missing_download

    for each in sorted(data):
        if megabytes := missing_download(each, data_dir):
            _narrate(
                f"{experiment.name}: {each} isn't in {data_dir}: it is downloaded, {megabytes} MB "
                "(twins on digits need no download)"
            )


def _tell(result: Result) -> None:
    """Print a result: verdict, claim, and a line for each criterion."""
    from eostui.experiments.report import bound, read

    head = f"{result['experiment']}: {result['verdict']}"
    print(printable(f"{head}  ({result['paper']}, {result['figure']}, {result['scale']})"))
    print(printable(f"  {result['claim']}"))
    for each in result["criteria"]:
        why = f": {each['why']}" if each["why"] else ""
        print(printable(f"  {each['verdict']:<9}  {each['criterion']['says']}"))
        print(printable(f"             {read(each)}, must be {bound(each)}{why}"))
        for line in each["left_out"]:
            print(printable(f"             left out: {line}"))


def _narrate(text: str) -> None:
    print(printable(f"eostui: {text}"), file=sys.stderr)
