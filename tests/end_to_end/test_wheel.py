"""The wheel, installed outside the checkout, carries presets, data and styles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the built wheel's contents."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run(build, check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    return target


def test_the_wheel_works_alone(installed: Path, tmp_path: Path) -> None:
    """From another folder: it lists its presets and trains on its data."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "EOSTUI_RUNS": str(tmp_path / "runs"),
    }

    def eostui(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "eostui", *arguments], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = f"{sys.executable} -c 'import eostui; print(eostui.__file__)'"
    shown = subprocess.run(["bash", "-c", where], cwd=tmp_path, env=environment,
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert str(installed) in shown.stdout
    assert eostui("locate", "presets").strip().startswith(str(installed))
    assert "digits-mlp-lowered-edge" in eostui("presets", "list")
    assert "oscillator-gx" in eostui("simulate", "--list")
    assert "finished" in eostui("run", "own-problem", "--headless", "--json", "--steps", "5")
    assert "finished" in eostui("run", "digits-mlp", "--headless", "--json", "--steps", "5")
    for style in ("layout.tcss", "design.tcss"):
        assert (installed / "eostui" / "tui" / style).is_file()
