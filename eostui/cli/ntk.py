"""`ntk`: the neural tangent kernel of runs at a step, on more and more samples."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eostui.cli.members import with_members
from eostui.cli.options import AsJson, DataDir, RunFilter, RunNames, RunsDir, Trust
from eostui.cli.output import print_json, print_table
from eostui.cli.progress import ProgressBar
from eostui.errors import InputError, did_you_mean, printable

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from eostui.curvature.kernel_convergence import OnSamples
    from eostui.problems import Problem
    from eostui.problems.subset import Split
    from eostui.runs.shelf import Entry

_FORMS = ("full", "summed", "traced")
_ALL = "all"


def ntk(
    runs: RunNames = None,
    at: Annotated[
        int | None,
        typer.Option(metavar="STEP", help="Of which step; the newest if left out, -1 too."),
    ] = None,
    at_loss: Annotated[
        float | None,
        typer.Option(
            metavar="L", help="Instead: of the first step with this training loss or less."
        ),
    ] = None,
    samples: Annotated[
        str,
        typer.Option(metavar="N,N,…", help="Numbers of samples, `all` among them."),
    ] = "50,100,200,all",
    split: Annotated[
        str, typer.Option(metavar="train|test", help="Of the training or of the test samples.")
    ] = "train",
    filter: RunFilter = "",
    trust: Trust = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Tell the largest eigenvalue of the NTK at a step of runs, on more and more samples.

    Three forms that are never the same (J = ∂f/∂θ of n samples with C outputs): full JJᵀ/n; summed, of
    the sum of the outputs; traced, the sum over the outputs. Beside λ₁ of each: the alignment of the
    traced one with the target, plain and centred. --json has these of all forms, ‖K‖, the first 20
    eigenvalues and the share of the target in each of their eigenvectors. Where n·C is more than 6000
    λ₁ alone is told, which needs no matrix. Smaller samples are part of larger ones, and in every run
    the same. Of several runs, or a sweep's, the settings that differ stand beside them.

    Steps are taken once more from the checkpoint before, as a fork would: on a CPU the same to the bit.

    Examples:

      eostui ntk k3f9 --samples 50,100,200,400,all

      eostui ntk k3f9 --at 2000 --split test

      eostui ntk a3 --at-loss 1e-2 --samples 200
    """
    from eostui import locations
    from eostui.runs import shelf
    from eostui.runs.family import Family
    from eostui.runs.selection import select
    from eostui.runs.trust import refuse_foreign_code

    if at is not None and at_loss is not None:
        raise InputError("only one of --at and --at-loss can be given")
    if split not in ("train", "test"):
        raise InputError(
            f'--split is "{split}", but must be train or test{did_you_mean(split, ("train", "test"))}'
        )
    counts = _counts(samples)
    folder = locations.runs_dir(runs_dir)
    names, _ = with_members(folder, runs)
    if names or filter:
        chosen = select(folder, names, filter)
        entries: Sequence[Entry] = chosen.entries
        for sentence in chosen.left_out:
            print(f"eostui: {printable(sentence)}", file=sys.stderr)
    else:
        entries = [shelf.find(folder, None)]
    if not entries:
        raise InputError(f"there is no such run in {folder}")
    steps = [_step(entry, at, at_loss) for entry in entries]
    for entry in entries:
        refuse_foreign_code(entry.config, entry.path, trusted=trust)
    found: list[dict[str, Any]] = []
    family = Family.of(entries)
    with ProgressBar("loading PyTorch") as bar:
        for entry, settings, step in zip(entries, family.settings, steps, strict=True):
            if step is not None:
                told = _of_run(entry, step, counts, split, locations.data_dir(data_dir), bar)
                own = {key: settings[key] for key in family.differing if key in settings}
                found.append(told | {"settings": own})
    if not found:
        raise InputError(f"no run has reached a loss of {at_loss:g}")
    if as_json:
        print_json(found)
        return
    print_table(_table(found, family.differing), named=0)
    for each in found if len(counts) > 1 else ():
        print(printable(_sentence(each, split)))


def _counts(text: str) -> list[int | None]:
    """Return the numbers of samples, None for all. Raises InputError."""
    counts: list[int | None] = []
    for each in (part.strip() for part in text.split(",")):
        if each == _ALL:
            counts.append(None)
        elif each.isascii() and each.isdigit() and int(each):
            counts.append(int(each))
        else:
            raise InputError(
                f'--samples has "{each}", but each must be a whole number above 0, or {_ALL}: '
                "--samples 50,100,200,all"
            )
    return counts


def _step(entry: Entry, at: int | None, at_loss: float | None) -> int | None:
    """Return the step that is meant of a run; None, which is told, where it doesn't reach the loss."""
    from eostui.runs.run import Run

    with Run(entry.path) as run:
        last = run.last_step
        if last < 0:
            raise InputError(f"{entry.id} has no steps yet")
        if at_loss is not None:
            reached = (run.steps["loss"] <= at_loss).nonzero()[0]
            if len(reached):
                return int(reached[0])
            least = min(run.steps["loss"], default=math.nan)
            sentence = f"{entry.id} is left out: its loss is {least:.4g} at the least"
            print(f"eostui: {printable(sentence)}", file=sys.stderr)
            return None
        step = last if at is None else at if at >= 0 else last + 1 + at
        if not 0 <= step <= last:
            raise InputError(f"{entry.id} has no step {at}: it has steps 0 to {last}")
        return step


def _of_run(
    entry: Entry,
    step: int,
    counts: Sequence[int | None],
    split: str,
    data_dir: Path,
    bar: ProgressBar,
) -> dict[str, Any]:
    """Return what is told of a run, as JSON has it."""
    from eostui import locations

    locations.present_folder()
    from eostui.engine.rebuilt import Rebuilt

    def say(text: str) -> None:
        bar.console.print(printable(text), style="dim", markup=False)

    label = f"{entry.name or entry.id}: repeating steps"
    rebuilt = Rebuilt(entry.path, entry.config, data_dir, lambda _: None)
    theta = rebuilt.theta(
        step, lambda now, first, last: bar(now - first, last - first, label=label)
    )
    try:
        rows = []
        kernels = _kernels(rebuilt.problem, theta, counts, split)  # type: ignore[arg-type]
        for number, each in enumerate(kernels):
            rows.append(_row(each))
            bar(number + 1, len(counts), label=f"{entry.name or entry.id}: {each.samples} samples")
    except InputError as error:
        raise InputError(f"{entry.id}: {error}") from None
    return {
        "run": entry.id, "name": entry.name, "step": step, "split": split,
        "loss": float(rebuilt.problem.loss(theta)), "samples": rows,
    }  # fmt: skip


def _kernels(
    problem: Problem, theta: Tensor, counts: Sequence[int | None], split: Split
) -> Iterator[OnSamples]:
    from eostui.curvature.kernel_convergence import on_more_and_more
    from eostui.problems.subset import how_many, subset

    total = how_many(problem, split)
    numbers = [total if count is None else count for count in counts]
    if None in counts:  # all that there are, and of the others those below
        numbers = [number for number in numbers if number <= total]
    return on_more_and_more(subset(problem, split, max(numbers)), theta, numbers)


def _row(found: OnSamples) -> dict[str, Any]:
    row: dict[str, Any] = {"n": found.samples, "exact": bool(found.readings)}
    for form, largest in found.largest.items():
        row[form] = {"largest": largest}
        if form in found.readings:
            reading = found.readings[form]
            row[form] |= {
                "norm": reading.norm,
                "alignment": reading.alignment,
                "centred_alignment": reading.centred_alignment,
                "eigenvalues": reading.eigenvalues.tolist(),
                "shares": reading.shares.tolist(),
                "centred_shares": reading.centred_shares.tolist(),
            }
    return row


def _table(found: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[tuple[str, ...]]:
    from eostui.runs.family import symbol_of, told

    titles = (
        "run",
        *map(symbol_of, keys),
        "step",
        "L",
        "n",
        "λ₁ full",
        "λ₁ summed",
        "λ₁ traced",
        "alignment",
        "centred",
    )
    rows: list[tuple[str, ...]] = [titles]
    for each in found:
        for row in each["samples"]:
            traced = row["traced"]
            rows.append(
                (
                    each["name"] or each["run"],
                    *(told(own[key]) if key in (own := each["settings"]) else "—" for key in keys),
                    str(each["step"]),
                    f"{each['loss']:.4g}",
                    str(row["n"]),
                    *(f"{row[form]['largest']:.5g}" for form in _FORMS),
                    *(_share(traced.get(key)) for key in ("alignment", "centred_alignment")),
                )
            )
    return rows


def _share(value: float | None) -> str:
    return "—" if value is None or math.isnan(value) else f"{value:.3f}"


def _sentence(each: dict[str, Any], split: str) -> str:
    """Return from which n on λ₁ of the full form has settled."""
    from eostui.curvature.kernel_convergence import SETTLED, settled_at

    counts = [row["n"] for row in each["samples"]]
    name, what = each["name"] or each["run"], "test" if split == "test" else "training"
    settled = settled_at(counts, [row["full"]["largest"] for row in each["samples"]])
    if settled is None:
        return (
            f"{name}: λ₁ of the full NTK still moves by more than {SETTLED:.0%} up to {counts[-1]} "
            f"{what} samples"
        )
    return (
        f"{name}: from {settled} {what} samples on λ₁ of the full NTK is within {SETTLED:.0%} of that "
        f"of {counts[-1]}"
    )
