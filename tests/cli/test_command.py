"""Wrong options, and the ones that were meant; settings that have no option of their own."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from eostui.cli.app import app


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("run", "--lambda", "1"), "--weight-decay"),
        (("run", "--lamda", "1"), "--weight-decay"),
        (("run", "--wd", "1"), "--weight-decay"),
        (("run", "--lr", "1"), "--eta"),
        (("fork", "--learning_rate", "1"), "--eta"),
        (("run", "--epochs", "3"), "--steps"),
        (("run", "--hidden", "3"), "--set width=…"),
        (("run", "--cadence", "3"), "--set cadence=…"),
        (("run", "--momentum_", "3"), "--momentum"),
        (("simulate", "--lambda", "1"), "--weight-decay"),
        (("runs", "list", "--grup", "x"), "--group"),
    ],
)
def test_the_option_that_was_meant(arguments: tuple[str, ...], meant: str) -> None:
    assert said(*arguments) == f"Error: No such option: {arguments[-2]}; did you mean `{meant}`?"


def test_an_option_like_no_other_is_refused_without_a_guess() -> None:
    assert said("run", "--zzzzzz") == "Error: No such option: --zzzzzz"


def test_settings_fit_80_columns() -> None:
    """Name, default, type and meaning of each; one alone by its name."""
    done = CliRunner().invoke(app, ["presets", "settings"])
    lines = done.stdout.splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert 'samples = "all"   (a whole number above 0, or "all")' in lines
    assert "    units in each hidden layer of the MLP" in lines
    one = CliRunner().invoke(app, ["presets", "settings", "eta"])
    assert one.stdout == "eta = 0.15   (a number above 0)\n    learning rate η at the start\n"


def test_a_wrong_place_is_told_which_there_are() -> None:
    """Where none is near."""
    wrong, near = (CliRunner().invoke(app, ["locate", name]) for name in ("x", "presetz"))
    assert str(wrong.exception).endswith(
        "there are runs, data, presets, your-presets, settings, keys, cache"
    )
    assert str(near.exception).endswith("did you mean `presets`?")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--eta", "0.1"), ""),
        (("--probe", "f.py:X", "--name", "a"), ""),
        (("--lr", "0.1"), "did you mean `--eta`?"),
        (("digits-mlp",), "did you mean `eostui run digits-mlp`?"),
    ],
)
def test_without_a_command_options_are_those_of_run(arguments: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(app, arguments)
    if told:
        assert done.exit_code == 2
        assert told in done.stderr
    else:
        assert "needs a terminal" in str(done.exception)  # as `run` says it here
