"""Keys of a dynamics' further controls, and the keys that lead back from a zoom."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from made import facts, make_run, rows
from shown import on_screen
from textual.pilot import Pilot

from eostui.errors import InputError
from eostui.panels.drives import DRIVES
from eostui.runs.analysis.controls import not_of_theory
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.runs.store.writer import RunWriter
from eostui.stability import (
    FACT,
    HEAVY_BALL,
    INTERVENTIONS,
    MOMENTUM,
    STABILITY,
    Control,
    Description,
)
from eostui.tui.app import EostuiApp
from eostui.tui.keys import FURTHER, training_hints
from eostui.tui.steering import Steering
from eostui.tui.widgets.bars import TextBar

DAMPING = Control("damping", "ν", "damping", factor=2.0, start=0.5)


def steered(path: Path, *controls: Control) -> Run:
    writer = RunWriter(path, facts(60))
    writer.steps(0, rows(0, 60))
    writer.close()
    run = Run(path)
    dynamics = Description("own", (*HEAVY_BALL.controls[:2], *controls), "a", "b")
    run.facts = {**run.facts, FACT: dynamics.to_json()}
    for control in controls:
        run.steps.call(control.name, "eta")
    return run


def test_keys_turn_the_further_control(tmp_path: Path) -> None:
    """Of several the chosen one; one of the dynamics first, and then interventions, which any run has."""
    with steered(tmp_path / "r", MOMENTUM, DAMPING) as run:
        steering = Steering(run)
        steering.turn(FURTHER, 1)
        assert steering.choose_next() == DAMPING
        steering.turn(FURTHER, 1)
        steering.turn(FURTHER, 1)
        assert steering.hinted == "ν"
        assert [steering.choose_next() for _ in INTERVENTIONS] == [*INTERVENTIONS]
        assert steering.choose_next() == MOMENTUM
        asked = [
            {name: value for name, value in content.items() if name in ("momentum", "damping")}
            for _, content in commands.take(run.path)
        ]
    assert asked == [{"momentum": 0.99}, {"damping": 0.5}, {"damping": 1.0}]
    with steered(tmp_path / "s") as run:
        steering = Steering(run)
        assert steering.hinted == ""  # no intervention acts: the key bar needs no hint
        for _ in range(5):  # from 1 to 1/16, and to 0
            steering.turn(FURTHER, -1)
        asked = [content["sharp_step"] for _, content in commands.take(run.path)]
        assert asked == [0.5, 0.25, 0.125, 0.0625, 0.0]
        assert steering.hinted == "η_u/η"
        told = json.loads(run.facts[FACT])
        run.facts[FACT] = json.dumps({**told, "operator": "of another operator"})
        for press in (lambda: Steering(run).turn(FURTHER, 1), Steering(run).choose_next):
            with pytest.raises(InputError, match="is steered by η and λ alone"):
                press()
        assert Steering(run).hinted == ""


def test_the_key_bar_says_how_to_leave_a_zoom(tmp_path: Path) -> None:
    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        def bar() -> str:
            return app.screen.query_one("#keys", TextBar).render().plain

        async def says(*texts: str) -> None:
            for _ in range(100):
                if all(text in bar() for text in texts):
                    return
                await pilot.pause(0.05)
            raise AssertionError(bar())

        assert "all panels" not in bar()
        assert "all steps" not in bar()
        await pilot.press("z")
        await says("z all panels")
        await pilot.press("plus")
        await says("z all panels", "0 all steps")
        await pilot.press("z", "0")
        await pilot.pause(0.5)
        assert "all panels" not in bar()
        assert "all steps" not in bar()

    on_screen(make_run(tmp_path / "made-aaaa", 600), check)


@pytest.mark.parametrize("name", ["gradient-descent", "heavy-ball"])
def test_the_oscillator_of_a_run_says_whose_theory_it_is(tmp_path: Path, name: str) -> None:
    stated = Description.of(name, STABILITY[name]).to_json()

    async def check(app: EostuiApp, pilot: Pilot[str]) -> None:
        app.clear_notifications()
        await pilot.press("i")
        await pilot.pause(0.2)
        said = [each.message for each in app._notifications if "is derived for" in each.message]
        assert [text.endswith("dynamics is heavy-ball") for text in said] == [True] * (
            name == "heavy-ball"
        )

    on_screen(make_run(tmp_path / "made-aaaa", 600, **{FACT: stated}), check)


@pytest.mark.parametrize("name", sorted(STABILITY))
def test_theory_is_told_of_the_dynamics_that_it_is_derived_for(tmp_path: Path, name: str) -> None:
    """Of others there are readings, but no ✓ and ✗, no calibration in the key bar, no drives."""
    derived = name == "gradient-descent"

    async def check(app: EostuiApp, _: Pilot[str]) -> None:
        def shown(id: str) -> str:
            return app.screen.query_one(f"#{id}", TextBar).render().plain

        monitors, holds, keys = shown("monitors"), shown("holds"), shown("keys")
        stated = f"the theory isn't derived for {name}"
        assert (" theory " in keys) == derived
        assert ("c", "calibrate") in training_hints("running")
        assert ("c", "calibrate") not in training_hints("running", of_theory=False)
        assert (stated in monitors) == (stated in holds) == (not derived)
        assert ("✓ " in monitors) == ("✓ " in holds) == derived
        assert "one direction   λ₂ 9 < " in monitors
        assert app.session.view is not None
        assert ("of plain descent" in DRIVES.title(app.session.view)[0]) == (not derived)

    stated = replace(Description.of(name, STABILITY[name]), batches=False).to_json()
    on_screen(make_run(tmp_path / "made-aaaa", 60, **{FACT: stated}), check, (160, 40))


@pytest.mark.parametrize("name", sorted(STABILITY))
def test_every_dynamics_can_be_steered(tmp_path: Path, name: str) -> None:
    """Those too that have η and λ alone: keys of further controls say so."""
    stability = STABILITY[name]
    own = [each for each in stability.controls if each.name not in ("eta", "weight_decay")]
    with steered(tmp_path / "r", *own) as run:
        run.facts = {**run.facts, FACT: Description.of(name, stability).to_json()}
        steering = Steering(run)
        assert steering.hinted == (own[0].symbol if own else "")
        if own or not stability.operator:
            steering.turn(FURTHER, -1)
            assert steering.choose_next() in stability.steered
        else:
            for ask in (lambda: steering.turn(FURTHER, 1), steering.choose_next):
                with pytest.raises(InputError, match=f"{name} is steered by η and λ alone"):
                    ask()
        assert not_of_theory(run).endswith(name) == (name != "gradient-descent")
        assert not commands.take(run.path) or own or not stability.operator


def test_the_key_bar_says_what_space_does() -> None:
    assert ("space", "pause") in training_hints("running")
    assert ("space", "go on") in training_hints("paused")
    assert training_hints("running", "μ")[2] == ("( )", "μ")
