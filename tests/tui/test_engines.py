"""When the live view has an engine made ready for the next run, and when it ends that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from made import facts, make_run, rows
from textual.pilot import Pilot

from eostui.runs.launch import EngineProcess, StartError
from eostui.runs.standby import Standby
from eostui.runs.store.writer import RunWriter
from eostui.tui import engines
from eostui.tui.app import EostuiApp, Start
from eostui.tui.session import Settings, Watch

#: Long enough for a timer of no seconds to have fired.
_WHILE = 0.3


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the standby; nothing is started."""
    told: list[str] = []
    monkeypatch.setattr(engines, "STANDBY_AFTER", 0.05)
    monkeypatch.setattr(
        Standby, "prepare", lambda _, *more: told.append(" ".join(("prepared", *more)))
    )
    monkeypatch.setattr(Standby, "close", lambda _: told.append("closed"))
    return told


def play(
    start: Start, scene: Callable[[EostuiApp, Pilot], object], *, standby: bool = True
) -> None:
    async def played() -> None:
        app = EostuiApp(Settings(Path(), Path(), standby=standby), start)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause(_WHILE)
            await scene(app, pilot)  # type: ignore[misc]

    asyncio.run(asyncio.wait_for(played(), 60))


async def sees(pilot: Pilot, what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        await pilot.pause(0.02)


@pytest.mark.parametrize(
    ("config", "asked"),
    [("", "prepared"), ('data = "cifar10"\nsteps = 100', "prepared torchvision.datasets")],
)
def test_once_a_run_is_shown_and_until_the_end(
    tmp_path: Path, prepared: list[str], config: str, asked: str
) -> None:
    """Ready for what reads the data of the present run, too."""
    path = make_run(tmp_path / "made-aaaa", 100, **({"config": config} if config else {}))

    async def scene(_app: EostuiApp, pilot: Pilot) -> None:
        await sees(pilot, lambda: prepared)
        await pilot.pause(_WHILE)
        assert prepared == [asked]

    play(path, scene)
    assert prepared == [asked, "closed"]


def test_not_before_a_live_run_has_rows(tmp_path: Path, prepared: list[str]) -> None:
    """Its first row may take long; nothing shall keep it from that."""
    writer = RunWriter(tmp_path / "made-aaaa", facts(10_000, status="running", sentence=""))

    async def scene(app: EostuiApp, pilot: Pilot) -> None:
        await sees(pilot, lambda: app.session.run)
        await pilot.pause(_WHILE)
        assert prepared == []
        writer.steps(0, rows(0, 10))
        writer.flush()
        await sees(pilot, lambda: prepared)

    play(writer.path, scene)
    writer.close()


@pytest.mark.parametrize("what", ["playback", "not wanted"])
def test_never_where_nothing_can_begin(tmp_path: Path, prepared: list[str], what: str) -> None:
    path = make_run(tmp_path / "made-aaaa", 100)

    async def scene(app: EostuiApp, pilot: Pilot) -> None:
        await sees(pilot, lambda: app.session.run)
        await pilot.pause(_WHILE)
        assert prepared == []

    play(Watch(path) if what == "playback" else path, scene, standby=what == "playback")


class Failing(EngineProcess):
    """An engine that fails when it may."""

    def __init__(self, path: Path) -> None:
        self.path, self.may = path, False

    def ready(self, _progress: Callable[[str], None]) -> Path:
        deadline = time.monotonic() + 30
        while not self.may and time.monotonic() < deadline:
            time.sleep(0.01)
        raise StartError("it fails", 1)


def test_not_while_an_engine_is_on_its_way(tmp_path: Path, prepared: list[str]) -> None:
    """It has the processor to itself; one that fails is followed by one that is ready."""
    path = make_run(tmp_path / "made-aaaa", 100)
    engine = Failing(path)

    async def scene(app: EostuiApp, pilot: Pilot) -> None:
        await sees(pilot, lambda: prepared)
        prepared.clear()
        app.engines.wait_for(engine)
        app.engines._prepare_soon()
        await pilot.pause(_WHILE)
        assert prepared == []
        engine.may = True
        await sees(pilot, lambda: prepared)

    play(path, scene)
