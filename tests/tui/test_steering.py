"""What steers a run of another dynamics: title, steering and fork dialog have every control of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from engines import small
from made import make_run
from textual.widgets import Input

from eostui.errors import InputError
from eostui.runs.analysis.controls import controls_at, thresholds_now
from eostui.runs.launch import EngineProcess
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.stability import HEAVY_BALL
from eostui.tui.app import EostuiApp
from eostui.tui.screens.dialogs import LeaveDialog
from eostui.tui.screens.fork import ForkDialog
from eostui.tui.session import Settings
from eostui.tui.steering import Steering

NO_INTERVENTION = {"sharp_step": 1.0, "other_step": 1.0, "sharp_above": 1.0}


def test_momentum_is_shown_steered_and_forked(tmp_path: Path) -> None:
    """With a real engine: η turned by a key, a fork with another μ, μ changed and taken back there."""
    config = small(
        problem="two-layer-scalar", dynamics="heavy-ball", eta=0.01, momentum=0.75, steps=10_000_000
    )

    async def session() -> None:
        app = EostuiApp(Settings(tmp_path, tmp_path), EngineProcess(config, tmp_path, tmp_path))
        async with app.run_test(size=(120, 40)) as pilot:

            async def sees(what: Callable[[], object]) -> None:
                while not what():
                    await pilot.pause(0.05)

            def title() -> str:
                return str(app.first.query_one("#title").render())

            await sees(lambda: "η 0.01  λ 0  μ 0.75" in title())
            await pilot.press("right_square_bracket")
            await sees(lambda: "η 0.011  λ 0  μ 0.75" in title())
            await pilot.press("f")
            await sees(lambda: isinstance(app.screen, ForkDialog) and app.screen.query(Input))
            assert [field.id for field in app.screen.query(Input)] == [
                "step", "eta", "weight_decay", "momentum", *NO_INTERVENTION, "steps",
            ]  # fmt: skip
            assert app.screen.query_one("#momentum", Input).value == "0.75"
            app.screen.query_one("#momentum", Input).value = "0.5"
            first = app.session.path
            app.screen.query_one("#steps", Input).focus()
            await pilot.press("enter")
            await sees(lambda: app.session.path != first and "μ 0.5 " in title())
            steering = app.session.steering
            assert steering is not None
            with pytest.raises(InputError, match="μ is 1, but must be below 1"):
                steering.set("momentum", 1.0)
            steering.turn("momentum", 1)
            await sees(lambda: "μ 0.55" in title())
            steering.undo()
            await sees(lambda: "μ 0.5 " in title())
            await pilot.press("q")
            await sees(lambda: isinstance(app.screen, LeaveDialog))
            await pilot.press("a")

    asyncio.run(asyncio.wait_for(session(), 120))
    for path in tmp_path.iterdir():
        with Run(path) as run:
            controls = controls_at(run)
            assert list(controls) == ["eta", "weight_decay", "momentum", *NO_INTERVENTION]
            assert thresholds_now(run) == {"(2+2μ)/η": HEAVY_BALL.threshold(controls)}
            changed = [event.step for event in run.events if event.kind == "control"]
            assert controls_at(run, changed[0] - 1) == {
                "eta": 0.01, "weight_decay": 0.0, "momentum": 0.75, **NO_INTERVENTION,
            }  # fmt: skip
            assert float(run.steps["eta"][changed[0]]) == controls_at(run, changed[0])["eta"]


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        ((), {"weight_decay": 0.0}),
        (("tab", "tab", "tab", "enter"), {}),
        (("tab", "tab", *["backspace"] * 17, *"1/3", "enter"), {"eta": 1 / 3}),
        (("tab", "tab", *["backspace"] * 17, *"0.333333333333", "enter"), {"eta": 0.333333333333}),
    ],
    ids=["enter alone", "nothing typed", "as it is", "as it is shown"],
)  # fmt: skip
def test_a_fork_is_asked_for_what_was_typed_though_it_is_so_already(
    tmp_path: Path, keys: tuple[str, ...], asked: dict[str, float]
) -> None:
    """And for nothing else: a field doesn't show every digit of a value that stays as it is."""
    config = small(eta=1 / 3, weight_decay=1 / 7, steps=30)
    path = make_run(tmp_path / "made-aaaa", 30, config=config.to_toml())
    begun = []

    async def session() -> None:
        app = EostuiApp(Settings(tmp_path, tmp_path), path)
        async with app.run_test(size=(120, 40)) as pilot:
            app.engines.go_on_from = lambda fork, *_, **__: bool(begun.append(fork))
            while app.session.run is None:
                await pilot.pause(0.02)
            await pilot.press("f")
            while not app.screen.query(Input):
                await pilot.pause(0.02)
            await pilot.press(*("full_stop" if key == "." else key for key in keys or ["enter"]))
            while not begun:
                await pilot.pause(0.02)

    asyncio.run(asyncio.wait_for(session(), 60))
    changes = dict(begun[0].changes)
    assert changes.pop("steps", None) in (None, 60)
    assert changes == asked


def test_the_present_value_that_is_typed_is_asked_for(tmp_path: Path) -> None:
    """It may be on its way elsewhere; a key that can't turn it further asks for nothing."""
    with Run(make_run(tmp_path / "made-aaaa", 30)) as run:
        steering = Steering(run)
        steering.turn("weight_decay", -1)
        assert commands.take(run.path) == []
        steering.set("weight_decay", 0.0)
        ((_, content),) = commands.take(run.path)
        assert content == {"kind": "set", "weight_decay": 0.0}
        with pytest.raises(InputError, match="no change of a control to undo"):
            steering.undo()


def test_a_run_that_states_nothing_has_two_controls_and_interventions(tmp_path: Path) -> None:
    with Run(make_run(tmp_path / "made-aaaa", 30)) as run:
        assert list(Steering(run).target) == ["eta", "weight_decay", *NO_INTERVENTION]
        assert {name: Steering(run).target[name] for name in NO_INTERVENTION} == NO_INTERVENTION
        with pytest.raises(KeyError):
            Steering(run).turn("momentum", 1)
        assert commands.take(run.path) == []
