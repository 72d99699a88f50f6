"""How functions become commands: options that several share unfold, and wrong ones are corrected."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from typer.core import TyperCommand, TyperGroup

from eostui.nearest import nearest


class Command(TyperCommand):
    """A command that corrects wrong options, by what the field calls a setting too: `--lr`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, as Typer does; where an option is unknown, its error names the one that was meant."""
        try:
            return super().parse_args(ctx, self._repeated(args))
        except Exception as error:  # NoSuchOption: Typer's own or Click's, by its version
            if hasattr(error, "possibilities") and (meant := self._meant(str(error.option_name))):  # type: ignore[attr-defined]
                error.message += f"; did you mean `{meant}`?"  # type: ignore[attr-defined]
                error.possibilities = None
            raise

    def _repeated(self, args: list[str]) -> list[str]:
        """Return the words with `--slurm` before each KEY=VALUE that follows it."""
        flag = "--slurm"
        if not any(flag in each.opts for each in self.params):
            return args
        words: list[str] = []
        within = False
        for word in args:
            if within and "=" in word and not word.startswith("-") and words[-1] != flag:
                words.append(flag)
            elif word.startswith("-"):
                within = word.partition("=")[0] == flag
            words.append(word)
        return words

    def _meant(self, option: str) -> str | None:
        """Return the option that was meant, or the setting that `--set` takes."""
        flags = [flag for each in self.params for flag in each.opts if flag.startswith("--")]
        valid = [flag.removeprefix("--").replace("-", "_") for flag in flags]
        settings: tuple[str, ...] = ()
        if "--set" in flags:
            from eostui.config import RunConfig

            settings = RunConfig.keys()
        meant = nearest(option.lstrip("-"), [*valid, *settings])
        if meant in valid:
            return flags[valid.index(meant)]
        return None if meant is None else f"--set {meant}=…"


class BareCommands(TyperGroup):
    """The commands of the program; without a name of one, `run` is meant, and options are its."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, as Typer does; what begins with an option of `run` is a `run`."""
        own = {flag for each in self.get_params(ctx) for flag in each.opts}
        if args and args[0].startswith("-") and args[0].partition("=")[0] not in own:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, as Typer does; where a preset is named in its place, say how it is run."""
        if args and args[0] not in self.commands:
            from eostui import presets  # not before: few commands need all that it loads

            if args[0] in presets.available():
                ctx.fail(f"`{args[0]}` is a preset; did you mean `eostui run {args[0]}`?")
        return super().resolve_command(ctx, args)


def unfolded(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command with an option for each field of its parameters that are dataclasses."""
    hints = get_type_hints(command, include_extras=True)
    folded: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    if not folded:
        return command
    parameters: list[inspect.Parameter] = []
    for each in inspect.signature(command).parameters.values():
        if each.name in folded:
            parameters += _options(folded[each.name])
        else:
            parameters.append(each.replace(annotation=hints[each.name]))

    @functools.wraps(command)
    def call(**values: Any) -> None:
        for name, kind in folded.items():
            values[name] = kind(**{each.name: values.pop(each.name) for each in fields(kind)})
        command(**values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    return call


def _options(kind: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(each.name, keyword, default=each.default, annotation=hints[each.name])
        for each in fields(kind)
    ]
