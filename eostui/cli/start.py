"""Starting an engine and following it, in the live view or without a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from eostui.cli.output import print_json
from eostui.cli.signals import NotedSignals
from eostui.cli.streams import draw_in_cells, speaks_unicode
from eostui.errors import InputError, printable

if TYPE_CHECKING:
    from eostui.cli.options import View
    from eostui.config import RunConfig
    from eostui.oscillator_presets import OscillatorPreset
    from eostui.panels.compare.view import Compare
    from eostui.runs.launch import Fork, Resume
    from eostui.sweeps.sweep import Sweep
    from eostui.tui.session import Watch


def start(what: RunConfig | Resume | Fork, view: View, *, name: str = "", group: str = "") -> None:
    """Start an engine and follow it, live or headless; exit with its code."""
    from eostui import locations, torchrun
    from eostui.config import RunConfig

    _check_fps(view.fps)
    if torchrun.processes() > 1 and not view.headless:
        raise InputError(
            "torchrun gives its processes no terminal for the live view: add --headless, and see the "
            "run by `eostui attach`"
        )
    if view.as_json and not view.headless:
        raise InputError("--json is for --headless: the live view prints nothing")
    if name:
        from eostui.sweeps.names import check_name

        check_name(name, locations.runs_dir(view.runs_dir))
    if group:
        from eostui.runs.edit import refuse_name

        if refusal := refuse_name(group, "group"):
            raise InputError(refusal)
    if not isinstance(what, RunConfig):
        what.config  # noqa: B018 - says at once why there is nothing to go on with
    if view.headless:
        raise typer.Exit(_run_headless(what, view, name, group))
    show(
        what, view.runs_dir, view.data_dir, name=name, group=group, fps=view.fps,
        standby=not view.no_standby, theme=view.theme,
    )  # fmt: skip


def show(
    what: RunConfig | Resume | Fork | Path | Watch | OscillatorPreset | Compare | Sweep,
    runs_dir: Path | None,
    data_dir: Path | None,
    *,
    name: str = "",
    group: str = "",
    fps: float | None = None,
    standby: bool = True,
    theme: str | None = None,
) -> None:
    """Open the live view of a run to start, to attach to, to play back, of an oscillator, of runs that
    are compared, or of a sweep.

    Exits with its code. Whether the view keeps a process ready for the next run is `standby`, unless
    EOSTUI_NO_STANDBY is set.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise InputError(
            "the live view needs a terminal, and this isn't one; without one, use "
            + _without_terminal(what)
        )
    _check_fps(fps)
    from eostui import locations
    from eostui.config import RunConfig
    from eostui.runs.launch import EngineProcess, Fork, Resume

    draw_in_cells()
    runs, data = locations.runs_dir(runs_dir), locations.data_dir(data_dir)
    comfort = _chosen_by_user(theme)  # what is wrong there is told before anything begins
    with NotedSignals() as signals:
        # the engine first: it loads PyTorch while this process loads the application
        begun = (
            EngineProcess(what, runs, data, name, group=group)
            if isinstance(what, (RunConfig, Resume, Fork))
            else what
        )
        from eostui.tui.app import run_app
        from eostui.tui.session import Settings

        if signals.number:
            if not isinstance(begun, EngineProcess):
                raise signals.interruption("the view opened")
            begun.cancel()  # nobody would see its run
            raise signals.interruption()
        slow_link = "SSH_CONNECTION" in os.environ
        settings = Settings(
            runs_dir=runs,
            data_dir=data,
            fps=fps if fps is not None else (4.0 if slow_link else 10.0),
            unicode=speaks_unicode(sys.stderr),  # which the application draws on
            standby=standby and not os.environ.get("EOSTUI_NO_STANDBY"),
            **comfort,
        )
        code, sentence = run_app(settings, begun, lambda: signals.number)
    if sentence:
        print(f"eostui: {printable(sentence)}", file=sys.stderr)
    raise typer.Exit(code)


def _without_terminal(what: object) -> str:
    """Return the command that does as much without a terminal."""
    from eostui.sweeps.sweep import Sweep

    if isinstance(what, Sweep):
        return "`eostui plot SWEEP`"
    return "`eostui plot RUN`" if isinstance(what, Path) else "`eostui run PRESET --headless`"


def _chosen_by_user(theme: str | None) -> dict[str, Any]:
    """Return the colours and keys that the user chose; what isn't chosen is left out, and not loaded.

    Raises:
        InputError: if there are no such colours, no such keys, or a screen that no key reaches.
    """
    from eostui import locations

    chosen: dict[str, Any] = {}
    if theme or os.environ.get("EOSTUI_THEME") or locations.preferences_file().exists():
        from eostui.tui import themes

        chosen["theme"] = themes.chosen(theme)
    # a file of the user's own that adds a screen has loaded the table of screens before
    if locations.keys_file().exists() or "eostui.tui.screens.table" in sys.modules:
        from eostui.tui import keymap
        from eostui.tui.screens.table import keys_by_group, refuse_unreachable

        chosen["keymap"] = keymap.read(keys_by_group())
        refuse_unreachable(chosen["keymap"])
    return chosen


def _check_fps(fps: float | None) -> None:
    if fps is not None and not 0.1 <= fps <= 60:
        raise InputError(f"--fps is {fps:g}, but must be from 0.1 to 60")


def _run_headless(what: RunConfig | Resume | Fork, view: View, name: str, group: str) -> int:
    """Train without a live view; return the exit code."""
    from eostui import locations
    from eostui.cli.headless import follow
    from eostui.runs.analysis.summary import summarize_run

    folders = locations.runs_dir(view.runs_dir), locations.data_dir(view.data_dir)
    path, code = follow(what, *folders, name, group)
    if view.as_json:
        print_json(summarize_run(path))
    else:
        print(path)
    return code
