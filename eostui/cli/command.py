"""What every command does with an option that it hasn't: it names the one that was meant."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from eostui.nearest import nearest


class Command(TyperCommand):
    """A command that corrects wrong options, by what the field calls a setting too: `--lr`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, as Typer does; where an option is unknown, its error names the one that was meant."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # NoSuchOption: Typer's own or Click's, by its version
            if hasattr(error, "possibilities") and (meant := self._meant(str(error.option_name))):  # type: ignore[attr-defined]
                error.message += f"; did you mean `{meant}`?"  # type: ignore[attr-defined]
                error.possibilities = None
            raise

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
