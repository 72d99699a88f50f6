"""Which machines the command line means."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from eostui.cli.app import app


@pytest.mark.parametrize(
    "words",
    [
        ["--slurm", "partition=a", "time=1:00", "cpus=0"],
        ["--slurm", "partition=a", "--slurm", "time=1:00", "--slurm", "cpus=0"],
        ["--slurm", "partition=a time=1:00 cpus=0"],
        ["--slurm=partition=a", "time=1:00", "cpus=0"],
    ],
)
@pytest.mark.parametrize("after", [[], ["--workers", "3"]])
@pytest.mark.parametrize(
    "command", [["digits-mlp", "--eta", "0.1,0.2"], ["--eta=0.1,0.2", "digits-mlp"]]
)
def test_slurm_takes_all_that_follows(
    tmp_path, words: list[str], after: list[str], command: list[str]
) -> None:
    """The last of them is what is refused: it was understood as SLURM's."""
    arguments = ["sweep", *command, *words, *after, "--runs-dir", str(tmp_path / "shelf")]
    result = CliRunner().invoke(app, arguments)
    assert "--slurm cpus=0: must be a whole number, 1 or more" in str(result.exception)
    assert not (tmp_path / "shelf").exists()


@pytest.mark.parametrize("flags", [["--scheduler", "tcp://a:1"], ["--slurm", "partition=a"]])
def test_without_the_extra_it_says_what_to_install(
    tmp_path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    arguments = [
        "sweep",
        "digits-mlp",
        "--eta",
        "0.1,0.2",
        *flags,
        "--runs-dir",
        str(tmp_path / "s"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert str(result.exception).endswith("isn't installed: pip install 'eostui[cluster]'")
    assert not (tmp_path / "s").exists()
