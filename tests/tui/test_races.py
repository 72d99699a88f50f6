"""Keys whose consequence comes later: it acts on the run and the screen that were shown by then."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from engines import small
from made import facts, make_run, measure, rows
from terminal import Terminal
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList

from eostui import locations
from eostui.config import RunConfig
from eostui.errors import InputError
from eostui.runs import shelf
from eostui.runs.analysis.duration import seconds_trained
from eostui.runs.launch import EngineProcess, StartError
from eostui.runs.run import Run
from eostui.runs.store import commands
from eostui.runs.store.liveness import engine_alive
from eostui.runs.store.rows import Event
from eostui.runs.store.writer import RunWriter
from eostui.stability import refuse
from eostui.tui import beside, engines, follower, forks
from eostui.tui.app import EostuiApp
from eostui.tui.engines import LONG_RUN
from eostui.tui.follower import Follower
from eostui.tui.keys import KEYS
from eostui.tui.screens.commands import Palette
from eostui.tui.screens.dialogs import ChoiceDialog, LeaveDialog, MessageDialog, NumberDialog
from eostui.tui.screens.fork import ForkDialog
from eostui.tui.screens.help import HelpScreen
from eostui.tui.session import Settings
from eostui.tui.steering import Steering

PATIENCE = 90.0  # seconds: PyTorch's import on a busy machine


@pytest.fixture
def shelf_dir(tmp_path: Path) -> Iterator[Path]:
    """A shelf of its own; engines left alive by a failing test are killed."""
    folder = tmp_path / "runs"
    folder.mkdir()
    yield folder
    for path in folder.glob("*"):
        pid = int((path / "lock").read_text() or 0) if (path / "lock").exists() else 0
        if pid != os.getpid() and engine_alive(path):
            os.kill(pid, signal.SIGKILL)


def live_run(path: Path, steps: int = 100, **others: str) -> RunWriter:
    """Write a run that lives for as long as its writer does; its commands are left lying."""
    writer = RunWriter(path, facts(10_000, status="running", sentence="", **others))
    writer.steps(0, rows(0, steps))
    measure(writer, 0, steps)
    writer.flush()
    return writer


def asked(path: Path) -> list[dict]:
    """What was asked of a run since the last time."""
    return [dict(content) for _, content in commands.take(path)]


def obey(writer: RunWriter, kind: str) -> None:
    """Say in a run that the one thing that was asked of it is done."""
    ((command, content),) = commands.take(writer.path)
    assert content["kind"] == kind
    writer.event(99, "obeyed", {"command": command, "what": kind})
    writer.flush()


class Begun(EngineProcess):
    """Stands for an engine on its way to a run that is there; `ready` waits for `may`."""

    def __init__(self, path: Path, may: threading.Event | None = None) -> None:
        self.config, self.path, self.may = shelf.read_entry(path).config, path, may
        self.cancelled = False

    def ready(self, progress: Callable[[str], None]) -> Path:
        progress("building the problem")
        if self.may is not None:
            assert self.may.wait(30)
        if self.cancelled:
            raise StartError("cancelled", 1)
        self.begun = True
        return self.path

    def let_go(self) -> None:
        pass

    def cancel(self) -> None:
        self.cancelled = True
        if self.may is not None:
            self.may.set()


class Seat:
    """Somebody in front of the application."""

    def __init__(self, app: EostuiApp, pilot: Pilot) -> None:
        self.app, self.pilot = app, pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self.pilot.press(*("full_stop" if sign == "." else sign for sign in text))

    async def sees(self, what: Callable[[], object], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"not seen: {self.told} on {self.app.screen}"
            await self.pilot.pause(0.02)

    async def shows(self, path: Path) -> None:
        await self.sees(
            lambda: self.app.session.run is not None and self.app.session.run.path == path
        )

    async def asks(self, dialog: type[ModalScreen]) -> None:
        await self.sees(lambda: isinstance(self.app.screen, dialog))
        if issubclass(dialog, NumberDialog):
            await self.sees(lambda: isinstance(self.app.focused, Input))

    async def types_over(self, text: str) -> None:
        """Type a text in place of the one in the field."""
        self.app.screen.query_one(Input).value = ""
        await self.type(text)

    @property
    def told(self) -> str:
        return " | ".join(each.message for each in self.app._notifications)


@contextlib.asynccontextmanager
async def seated(folder: Path, start: Path | EngineProcess) -> AsyncIterator[Seat]:
    app = EostuiApp(Settings(folder, folder), start)
    async with app.run_test(size=(120, 40)) as pilot:
        yield Seat(app, pilot)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 120))


# --- what is typed reaches what it was asked of -------------------------------------------------------


@pytest.mark.parametrize("comes", [True, False])
def test_keys_pressed_while_a_fork_is_on_its_way_wait_for_it(shelf_dir: Path, comes: bool) -> None:
    """Its parent, which is shown meanwhile, is asked for nothing."""
    first, second = shelf_dir / "made-aaaa", shelf_dir / "made-bbbb"
    writer, other = live_run(first), live_run(second)
    may = threading.Event()

    async def scene() -> None:
        async with seated(shelf_dir, first) as seat:
            await seat.shows(first)
            engine = Begun(second, may)
            seat.app.engines.wait_for(engine)
            await seat.press("right_square_bracket", "right_square_bracket")
            await seat.sees(lambda: "2 keys wait for made-bbbb" in seat.told)
            await seat.press("e")
            await seat.sees(lambda: "press the key again" in seat.told)
            if comes:
                may.set()
                await seat.shows(second)
                await seat.sees(lambda: seat.app._held is None)
            else:
                engine.cancel()
                await seat.sees(lambda: "are dropped" in seat.told)
            assert seat.app.screen is seat.app.first or not comes

    play(scene)
    assert asked(first) == []
    wanted = [{"kind": "set", "eta": pytest.approx(value)} for value in (0.11, 0.121)]
    found = [{key: each[key] for key in ("kind", "eta")} for each in asked(second)]
    assert found == (wanted if comes else [])
    writer.close()
    other.close()


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [("e", "0.07", {"eta": 0.07}), ("w", "0.02", {"weight_decay": 0.02})],
)
@pytest.mark.parametrize("ended", [False, True])
def test_a_typed_value_is_for_the_run_it_was_asked_of(
    shelf_dir: Path, key: str, value: str, wanted: dict, ended: bool
) -> None:
    """A fork appears while somebody types: the value is for the other run, if that still trains."""
    first, second = shelf_dir / "made-aaaa", shelf_dir / "made-bbbb"
    writer = live_run(first)

    async def scene() -> None:
        async with seated(shelf_dir, first) as seat:
            await seat.shows(first)
            await seat.press(key)
            await seat.asks(NumberDialog)
            other = live_run(second)
            seat.app.engines.wait_for(Begun(second))
            await seat.shows(second)
            if ended:
                writer.fact("status", "finished")
                writer.close()
            await seat.types_over(value)
            await seat.press("enter")
            await seat.sees(lambda: "aaaa" in seat.told)
            assert asked(second) == []
            assert asked(first) == ([] if ended else [{"kind": "set", **wanted}])
            assert ("has ended: nothing is changed" in seat.told) == ended
            other.close()

    play(scene)


def test_a_question_names_its_run(shelf_dir: Path) -> None:
    path = shelf_dir / "made-aaaa"
    writer = live_run(path)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press("e")
            await seat.asks(NumberDialog)
            assert "made-aaaa" in seat.app.screen._question

    play(scene)
    writer.close()


@pytest.mark.parametrize("meanwhile", ["w", "tab", "question_mark", "another run"])
def test_a_fork_is_asked_about_where_its_key_was_pressed(
    shelf_dir: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """The engine saves its state for a while: what is typed into by then isn't covered."""
    monkeypatch.setattr(forks, "_CHECKPOINT_PATIENCE", PATIENCE)  # until it is answered here
    path, second = shelf_dir / "made-aaaa", shelf_dir / "made-bbbb"
    writer = live_run(path)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press("f")
            other = None
            if meanwhile == "another run":
                other = live_run(second)
                seat.app.engines.wait_for(Begun(second))
                await seat.shows(second)
            else:
                await seat.press(meanwhile)
            obey(writer, "checkpoint")
            await seat.sees(lambda: "press the key again" in seat.told)
            assert not any(isinstance(screen, ForkDialog) for screen in seat.app.screen_stack)
            if meanwhile == "w":
                await seat.types_over("0.02")
                await seat.press("enter")
                assert {"kind": "set", "weight_decay": 0.02} in asked(path)
            assert seat.app.session.engine is None
            if other is not None:
                other.close()

    play(scene)
    writer.close()


def test_a_fork_is_asked_about(shelf_dir: Path) -> None:
    """If nothing else happens it is, as before, and for the run that was shown."""
    path = shelf_dir / "made-aaaa"
    writer = live_run(path)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press("f")
            await seat.asks(ForkDialog)

    play(scene)
    writer.close()


def test_an_overlay_is_for_the_run_it_was_chosen_for(
    shelf_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened slowly, it isn't laid over the run that is shown by then."""
    first, second = shelf_dir / "made-aaaa", shelf_dir / "made-bbbb"
    make_run(shelf_dir / "made-cccc", 50)
    writers = [live_run(first), live_run(second)]
    opened = threading.Event()

    def slowly(path: Path):
        if path.name == "made-cccc":
            assert opened.wait(30)
        return Follower(path)

    monkeypatch.setattr(beside, "Follower", slowly)

    async def scene() -> None:
        async with seated(shelf_dir, first) as seat:
            await seat.shows(first)
            await seat.press("o")
            await seat.sees(lambda: isinstance(seat.app.screen, ModalScreen))
            await seat.sees(lambda: seat.app.focused is not None)
            await seat.press("home")
            rows = seat.app.focused
            while rows.get_option_at_index(rows.highlighted).id != "made-cccc":
                await seat.press("down")
            await seat.press("enter")
            seat.app.engines.wait_for(Begun(second))
            await seat.shows(second)
            opened.set()
            await seat.pilot.pause(0.3)
            assert seat.app.session.beside is None

    play(scene)
    for writer in writers:
        writer.close()


def test_a_failure_waits_until_the_question_is_answered(shelf_dir: Path) -> None:
    """It would take the keys that are typed there: "0.17" less a digit is another η."""
    path = shelf_dir / "made-aaaa"
    writer = live_run(path)

    class Failing(Begun):
        def ready(self, _progress: Callable[[str], None]) -> Path:
            raise StartError("no such device", 2)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press("e")
            await seat.asks(NumberDialog)
            await seat.types_over("0.1")
            seat.app.engines.wait_for(Failing(path))
            await seat.sees(lambda: seat.app.session.engine is None)
            await seat.type("7")
            await seat.press("enter")
            assert asked(path) == [{"kind": "set", "eta": 0.17}]
            await seat.asks(MessageDialog)
            assert seat.app.screen._sentence == "no such device"

    play(scene)
    writer.close()


# --- between "the engine is ready" and "its run is shown" ---------------------------------------------


@pytest.mark.parametrize("keys", ["r", "n", "qs", "qk"])
def test_no_run_trains_unseen(shelf_dir: Path, monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    """A real engine that is ready while its run is still being opened is ended, or asked about."""
    opens, opened = follower.open_run, threading.Event()
    first: list[Path] = []

    def slowly(path: Path, **options):
        first.append(path)
        if len(first) == 1:
            assert opened.wait(60)
        return opens(path, **options)

    monkeypatch.setattr(follower, "open_run", slowly)
    config = small(preset="digits-mlp", steps=10_000_000)

    async def scene() -> None:
        async with seated(shelf_dir, EngineProcess(config, shelf_dir, shelf_dir)) as seat:
            await seat.sees(lambda: first, PATIENCE)
            assert engine_alive(first[0])
            assert seat.app.session.run is None
            await seat.press(keys[0])
            if keys[0] == "q":
                await seat.asks(LeaveDialog)
                assert first[0].name in seat.app.screen._question
                await seat.press(keys[1])
                opened.set()
                await seat.sees(lambda: not seat.app.is_running)
                assert first[0].name in seat.app.return_value
                return
            opened.set()
            await seat.sees(lambda: len(first) == 2 and seat.app.session.run is not None, PATIENCE)
            assert seat.app.session.run.path == first[1]
            await seat.sees(lambda: not engine_alive(first[0]))
            assert [entry.path for entry in shelf.entries(shelf_dir) if entry.live] == [first[1]]

    play(scene)
    if keys == "qk":
        assert engine_alive(first[0])
        commands.send(first[0], "stop")
    if keys[0] == "q":
        deadline = time.monotonic() + 30
        while engine_alive(first[0]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert shelf.read_entry(first[0]).state == "stopped"


def test_a_run_that_cannot_be_shown_is_ended(
    shelf_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, second = shelf_dir / "made-aaaa", shelf_dir / "made-bbbb"
    writers = [live_run(path), live_run(second)]
    opens = follower.open_run

    def fails(run: Path, **options):
        if run == second:
            raise InputError("can't be opened")
        return opens(run, **options)

    monkeypatch.setattr(follower, "open_run", fails)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            engine = Begun(second)
            seat.app.engines.wait_for(engine)
            await seat.asks(MessageDialog)
            assert engine.cancelled

    play(scene)
    for writer in writers:
        writer.close()


@pytest.mark.parametrize(("answer", "stopped"), [("k", ""), ("s", "b"), ("a", "ab")])
def test_leaving_names_all_that_trains(shelf_dir: Path, answer: str, stopped: str) -> None:
    """The parent of a fork goes on unseen: it isn't left without a word."""
    first, second = shelf_dir / "made-aaaa", shelf_dir / "made-bbbb"
    writers = [live_run(first), live_run(second)]

    async def scene() -> None:
        async with seated(shelf_dir, first) as seat:
            await seat.shows(first)
            seat.app.engines.wait_for(Begun(second))
            await seat.shows(second)
            await seat.press("q")
            await seat.asks(LeaveDialog)
            await seat.press(answer)
            await seat.sees(lambda: not seat.app.is_running)
            for path, letter in ((first, "a"), (second, "b")):
                stops = letter in stopped
                assert asked(path) == ([{"kind": "stop"}] if stops else [])
                word = "is told to stop" if stops else "goes on"
                assert f"{path.name} {word}" in seat.app.return_value

    play(scene)
    for writer in writers:
        writer.close()


@pytest.mark.parametrize(
    ("first_state", "second_state", "question", "kept"),
    [
        ("paused", "finished", "made-aaaa stays paused.", "keep it paused"),
        ("running", "finished", "made-aaaa goes on.", "keep it running"),
        ("finished", "paused", "made-bbbb stays paused.", "keep it paused"),
        ("paused", "running", "made-bbbb goes on, made-aaaa stays paused.", "keep them"),
        ("running", "paused", "made-bbbb stays paused, made-aaaa goes on.", "keep them"),
    ],
)
def test_leaving_says_of_each_run_what_it_does(
    shelf_dir: Path, first_state: str, second_state: str, question: str, kept: str
) -> None:
    """Whichever is shown, and whether that has ended; all that are named are stopped by one key."""
    states = {shelf_dir / "made-aaaa": first_state, shelf_dir / "made-bbbb": second_state}
    writers = {path: live_run(path) for path in states}
    first, second = states

    async def scene() -> None:
        async with seated(shelf_dir, first) as seat:
            await seat.shows(first)
            seat.app.engines.wait_for(Begun(second))
            await seat.shows(second)
            for path, state in states.items():
                writers[path].fact("status", state)
                writers[path].flush()
                if state == "finished":
                    writers[path].close()
            await seat.sees(lambda: seat.app.session.state == second_state)
            await seat.press("q")
            await seat.asks(LeaveDialog)
            asks, *lines = (str(each.render()) for each in seat.app.screen.query("Static"))
            choices = "\n".join(lines)
            assert asks == question
            assert kept in choices
            await seat.press("a" if kept == "keep them" else "s")
            await seat.sees(lambda: not seat.app.is_running)
            for path, state in states.items():
                assert asked(path) == ([] if state == "finished" else [{"kind": "stop"}])

    play(scene)
    for path, state in states.items():
        if state != "finished":
            writers[path].close()


def test_a_paused_run_that_is_left_is_not_said_to_go_on(shelf_dir: Path) -> None:
    path = shelf_dir / "made-aaaa"
    writer = live_run(path)
    writer.fact("status", "paused")
    writer.flush()

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press("q")
            await seat.asks(LeaveDialog)
            await seat.press("k")
            await seat.sees(lambda: not seat.app.is_running)
            assert "made-aaaa stays paused; `eostui attach made-aaaa`" in seat.app.return_value

    play(scene)
    writer.close()


def test_tab_before_a_run_says_when_its_landscape_is_there(shelf_dir: Path) -> None:
    path = shelf_dir / "made-aaaa"
    writer, may = live_run(path), threading.Event()

    async def scene() -> None:
        async with seated(shelf_dir, Begun(path, may)) as seat:
            await seat.sees(lambda: "building" in seat.app.session.message)
            await seat.press("tab")
            await seat.sees(lambda: "a landscape" in seat.told)
            may.set()
            await seat.shows(path)

    play(scene)
    writer.close()


def test_a_fork_that_appears_under_the_question_is_told_of(shelf_dir: Path) -> None:
    """Who leaves and stops the run that was asked about hears that the other goes on."""
    first, second = shelf_dir / "made-aaaa", shelf_dir / "made-bbbb"
    writers = [live_run(first), live_run(second)]

    async def scene() -> None:
        async with seated(shelf_dir, first) as seat:
            await seat.shows(first)
            await seat.press("q")
            await seat.asks(LeaveDialog)
            seat.app.engines.wait_for(Begun(second))
            await seat.shows(second)
            await seat.press("s")
            await seat.sees(lambda: not seat.app.is_running)
            assert (asked(first), asked(second)) == ([{"kind": "stop"}], [])
            assert "bbbb goes on" in seat.app.return_value

    play(scene)
    for writer in writers:
        writer.close()


def test_another_question_is_not_the_one_of_leaving(shelf_dir: Path) -> None:
    """Ctrl+C over the question about a long run asks; only over its own question it leaves."""
    path = shelf_dir / "made-aaaa"
    writer = live_run(path, created=str(time.time() - LONG_RUN - 5))

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press("r")
            await seat.asks(ChoiceDialog)
            await seat.press("ctrl+c")
            await seat.asks(LeaveDialog)
            assert seat.app.is_running
            await seat.press("ctrl+c")
            await seat.sees(lambda: not seat.app.is_running)
            assert asked(path) == []

    play(scene)
    writer.close()


@pytest.mark.parametrize("same", [True, False])
def test_only_the_run_that_was_asked_about_is_ended(
    shelf_dir: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """The question of a long run is answered while a fork of it is shown: nothing ends or begins."""
    first, second = shelf_dir / "made-aaaa", shelf_dir / "made-bbbb"
    writers = [live_run(first, created=str(time.time() - LONG_RUN - 5)), live_run(second)]
    begun: list[object] = []

    def engine(config: object, *_: object, **__: object) -> Begun:
        begun.append(config)
        return Begun(second)

    monkeypatch.setattr(engines, "EngineProcess", engine)

    async def scene() -> None:
        async with seated(shelf_dir, first) as seat:
            await seat.shows(first)
            await seat.press("r")
            await seat.asks(ChoiceDialog)
            if not same:
                seat.app.engines.wait_for(Begun(second))
                await seat.shows(second)
            await seat.press("y")
            if same:
                await seat.shows(second)
                assert asked(first) == [{"kind": "stop"}]
            else:
                await seat.sees(lambda: "it goes on" in seat.told)
                assert asked(first) == []
            assert len(begun) == same
            assert asked(second) == []

    play(scene)
    for writer in writers:
        writer.close()


def test_a_second_key_does_not_take_the_screen_beneath(shelf_dir: Path) -> None:
    """Both keys are in the dialog's queue before the first is obeyed: the second comes too late."""
    path = shelf_dir / "made-aaaa"
    writer = live_run(path)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            for key, dialog in (
                ("e", NumberDialog),
                ("question_mark", HelpScreen),
                ("q", LeaveDialog),
            ):
                await seat.press(key)
                await seat.asks(dialog)
                shown = seat.app.screen
                shown.dismiss(None)
                shown.dismiss(None)
                await seat.sees(lambda: len(seat.app.screen_stack) == 1)

    play(scene)
    writer.close()


# --- pausing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        (["space", "space"], ["pause", "resume"]),
        (["space", "space", "space"], ["pause", "resume", "pause"]),
        (["full_stop", "full_stop"], ["pause", "step", "step"]),
        (["space", "full_stop", "space"], ["pause", "step", "resume"]),
    ],
)
def test_quick_keys_build_on_what_was_asked(
    shelf_dir: Path, keys: list[str], wanted: list[str]
) -> None:
    """Before the engine has answered any of them."""
    path = shelf_dir / "made-aaaa"
    writer = live_run(path)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press(*keys)
            assert [content["kind"] for content in asked(path)] == wanted

    play(scene)
    writer.close()


def test_what_the_engine_says_counts_once_it_has_answered(tmp_path: Path) -> None:
    """A pause that another viewer ended meanwhile, and one of a run that was gone on with since."""
    writer = live_run(tmp_path / "made-aaaa")
    with Run(writer.path) as run:
        steering = Steering(run)
        steering.pause(True)
        assert steering.paused
        ((command, _),) = commands.take(writer.path)

        def says(*events: tuple[str, dict]) -> bool:
            for kind, payload in events:
                writer.event(7, kind, payload)
            writer.flush()
            run.refresh()
            return steering.paused

        assert says(("paused", {}), ("obeyed", {"command": command, "what": "pause"}))
        assert not says(("resumed", {}))
        assert says(("paused", {}))
        assert not says(("continued", {"from": 7}))
    writer.close()


def test_a_pause_before_the_run_is_remembered(shelf_dir: Path) -> None:
    """It is shown, may be taken back, and reaches the run before anything else does."""
    path = shelf_dir / "made-aaaa"
    writer = live_run(path)

    async def scene() -> None:
        may = threading.Event()
        async with seated(shelf_dir, Begun(path, may)) as seat:
            for shown in (True, False, True):
                await seat.press("space")
                await seat.sees(lambda: "building" in seat.app.session.message)
                assert ("will be paused" in seat.app.session.message) == shown
            may.set()
            await seat.shows(path)
            await seat.sees(lambda: seat.app.session.engine is None)
            await seat.press("space")  # the engine hasn't answered yet
            assert [content["kind"] for content in asked(path)] == ["pause", "resume"]

    play(scene)
    writer.close()


def test_a_run_that_begins_paused(shelf_dir: Path) -> None:
    """With a real engine, in a terminal: it waits near its first step, and the space bar lets it go."""
    terminal = Terminal(
        "run", "digits-mlp", "--set", "steps=1000000",
        cwd=shelf_dir.parent, EOSTUI_RUNS=str(shelf_dir),
    )  # fmt: skip
    terminal.wait_for("eostui|starting|loading")
    terminal.send(" ")
    terminal.wait_for("will be paused")
    step = int(terminal.wait_for(r"PAUSED +step ([\d ]+?)  ", timeout=PATIENCE)[1].replace(" ", ""))
    assert step < 100
    terminal.send(" ")
    terminal.wait_for(r"RUNNING +step \d")
    terminal.send("q")
    terminal.wait_for("stop it")
    terminal.send("s")
    assert terminal.exit_code() == 0


def test_a_signal_ends_an_engine_that_has_no_run_yet(shelf_dir: Path) -> None:
    """SIGTERM while PyTorch is loaded: the code of the signal, and no run that nobody heard of."""
    terminal = Terminal("run", "digits-mlp", cwd=shelf_dir.parent, EOSTUI_RUNS=str(shelf_dir))
    terminal.wait_for("loading PyTorch|building")
    terminal.process.kill(signal.SIGTERM)
    assert terminal.exit_code() == 143
    assert terminal.restored
    time.sleep(3.0)
    assert list(shelf_dir.iterdir()) == []


# --- undo, R, and the ten minutes ---------------------------------------------------------------------


def changed(writer: RunWriter, step: int, command: str, **changes: list[float]) -> None:
    writer.event(step, "control", changes)
    if command:
        writer.event(step, "obeyed", {"command": command, "what": "set"})
    writer.flush()


@pytest.mark.parametrize(
    ("theirs", "command", "sentence"),
    [
        (
            {"eta": [0.2, 0.3]},
            f"{1:020d}-77-000001",
            r"η 0.2 → 0.3 at step 9 is another viewer's .*77",
        ),
        ({"eta": [0.2, 0.3]}, "", "the run's own schedule"),
        (
            {"weight_decay": [0.0, 0.1], "eta": [0.2, 0.3]},
            "odd",
            "η 0.2 → 0.3, λ 0 → 0.1 .*unknown",
        ),
    ],
)
def test_undo_says_whose_the_last_change_is(
    tmp_path: Path, theirs: dict, command: str, sentence: str
) -> None:
    """It isn't taken back, nor is what is asked of the same value before it."""
    writer = live_run(tmp_path / "made-aaaa")
    with Run(writer.path) as run:
        steering = Steering(run)
        steering.set("eta", 0.2)
        ((own, _),) = commands.take(writer.path)
        changed(writer, 8, own, eta=[0.1, 0.2])
        changed(writer, 9, command, **theirs)
        run.refresh()
        with pytest.raises(InputError, match=sentence):
            steering.undo()
        assert asked(writer.path) == []
        with pytest.raises(InputError, match=f"no change of a control to undo here: .*{sentence}"):
            Steering(run).undo()
    writer.close()


def test_undo_of_the_other_value_leaves_and_tells_theirs(tmp_path: Path) -> None:
    """What was refused is no change; what isn't answered yet came after all that is on record."""
    writer = live_run(tmp_path / "made-aaaa")
    with Run(writer.path) as run:
        changed(writer, 5, "1-77-1", weight_decay=[0.0, 0.1])
        run.refresh()
        steering = Steering(run)
        steering.set("weight_decay", 0.2)
        assert steering.undo() == ""
        assert [content["weight_decay"] for content in asked(writer.path)] == [0.2, 0.1]
        steering.set("eta", 0.2)
        steering.set("eta", 0.4)
        (own, _), (refused, _) = commands.take(writer.path)
        changed(writer, 8, own, eta=[0.1, 0.2])
        writer.event(8, "refused", {"command": refused, "reason": "no"})
        changed(writer, 9, "1-78-1", weight_decay=[0.1, 0.3])
        run.refresh()
        assert "λ 0.1 → 0.3 at step 9 is another viewer's (process 78)" in steering.undo()
        assert asked(writer.path) == [{"kind": "set", "eta": 0.1}]
    writer.close()


@pytest.mark.parametrize(
    ("state", "offered", "said"),
    [
        ("running", False, "is running: space"),
        ("finished", True, ""),
        ("interrupted", True, ""),
        ("diverged", False, "diverged, and would again; f forks"),
        ("gone", False, "is gone"),
    ],
)
def test_where_a_run_can_be_gone_on_with(
    shelf_dir: Path, state: str, offered: bool, said: str
) -> None:
    """The key bar, the help and the palette offer `R` there alone; elsewhere it says why not."""
    path = shelf_dir / "made-aaaa"
    status = "running" if state == "interrupted" else state
    writer = live_run(path) if state == "running" else None
    if writer is None:
        make_run(path, 100, status="finished" if state == "gone" else status)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            if state == "gone":
                path.rename(shelf_dir.parent / "aside")
            await seat.sees(lambda: seat.app.session.state == state)
            await seat.pilot.pause(0.4)
            assert ("R resume" in str(seat.app.first.query_one("#keys").render())) == offered
            titles = [each.title for each in seat.app.get_system_commands(seat.app.screen)]
            (key,) = (key for key in KEYS if key.id == "resume")
            assert (key.text[0].upper() + key.text[1:] in titles) == offered
            assert ("Pause or resume training" in titles) == (state == "running")
            await seat.press("question_mark")
            await seat.asks(HelpScreen)
            table = str(seat.app.screen.query("Static").first().render())
            assert (f"{key.text}: not now" in table) == (not offered)
            await seat.press("escape")
            if not offered:
                await seat.press("R")
                await seat.sees(lambda: said in seat.told)
                assert seat.app.session.engine is None
            if state != "running":
                await seat.press("space")
                await seat.sees(lambda: "r starts it anew" in seat.told)
                assert ("R resumes it" in seat.told) == offered

    play(scene)
    if writer is not None:
        writer.close()


def events(*pairs: tuple[float, str]) -> list[Event]:
    return [Event(0, unix_time, kind, {}) for unix_time, kind in pairs]


@pytest.mark.parametrize(
    ("happened", "now", "seconds"),
    [
        ([], 100.0, 100),
        ([(10, "paused")], 5000.0, 10),
        ([(10, "paused"), (4000, "resumed")], 4020.0, 30),
        ([(50, "finished")], 100.0, 50),
        ([(50, "stopped"), (9000, "continued")], 9005.0, 55),
        ([(50, "finished"), (9000, "continued"), (9010, "finished")], 9100.0, 60),
        ([(40, "phase"), (9000, "continued")], 9005.0, 45),  # killed after it wrote at 40
        ([(-500, "resumed"), (-100, "paused"), (5, "forked")], 20.0, 20),  # its parent's
        ([(5, "paused"), (6, "finished"), (70, "continued")], 75.0, 10),
        ([(30, "phase")], 100.0, 100),
    ],
)
def test_how_long_a_run_trained(
    happened: list[tuple[float, str]], now: float, seconds: float
) -> None:
    moved = events(*((1000 + at, kind) for at, kind in happened))
    trained = seconds_trained(1000.0, moved, 1000 + now)
    assert trained == pytest.approx(seconds)


@pytest.mark.parametrize("key", ["r", "n", "p"])
@pytest.mark.parametrize("long", ["trained", "paused", "old"])
def test_a_run_that_trained_for_ten_minutes_is_asked_about(
    shelf_dir: Path, monkeypatch: pytest.MonkeyPatch, key: str, long: str
) -> None:
    """Not one that was made long ago, and waited, or was gone on with a moment ago."""
    path, second = shelf_dir / "made-aaaa", shelf_dir / "made-bbbb"
    now = time.time()
    writer, other = live_run(path, created=str(now - 5000)), live_run(second)
    monkeypatch.setattr(engines, "EngineProcess", lambda *_, **__: Begun(second))
    monkeypatch.setattr(locations, "missing_download", lambda *_: 0)
    if long != "trained":
        kinds = {"paused": ("paused", "resumed"), "old": ("finished", "continued")}[long]
        for at, kind in zip((now - 4900, now - 10), kinds, strict=True):
            writer.past_event(Event(50, at, kind, {}))
        writer.flush()

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press(key)
            if long == "trained":
                await seat.asks(ChoiceDialog)
                await seat.press("escape")
                assert asked(path) == []
            else:
                await seat.shows(second)
                assert asked(path) == [{"kind": "stop"}]

    play(scene)
    writer.close()
    other.close()


# --- small terminals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ctrl+p", "o", "e", "f", "question_mark", "q", "S"])
def test_dialogs_in_terminals_of_every_size(shelf_dir: Path, key: str) -> None:
    """Opened there, or shrunk while they are open: what doesn't fit is cut off."""
    path = shelf_dir / "made-aaaa"
    writer = live_run(path)
    make_run(shelf_dir / "made-cccc", 50)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press(key)
            await seat.sees(lambda: isinstance(seat.app.screen, ModalScreen))
            for width, height in ((6, 24), (1, 1), (7, 3), (2, 40), (120, 1), (5, 5), (40, 12)):
                await seat.pilot.resize_terminal(width, height)
                await seat.pilot.pause()
            await seat.press("escape")
            await seat.sees(lambda: len(seat.app.screen_stack) == 1)
            for width in (6, 4, 1):
                await seat.pilot.resize_terminal(width, 24)
                await seat.press(key)
                await seat.sees(lambda: isinstance(seat.app.screen, ModalScreen))
                await seat.press("escape")
                await seat.sees(lambda: len(seat.app.screen_stack) == 1)

    play(scene)
    writer.close()


# --- the shell ----------------------------------------------------------------------------------------


def test_to_the_shell_and_back(shelf_dir: Path) -> None:
    """Ctrl+Z, typing in the shell, another size, `bg`, SIGSTOP, and `fg`: the run trains on."""
    path = EngineProcess(small(steps=10_000_000), shelf_dir, shelf_dir).ready(lambda _: None)
    terminal = Terminal(
        "attach", path.name, cwd=shelf_dir.parent, shell=True, EOSTUI_RUNS=str(shelf_dir)
    )

    def back() -> None:
        terminal.screen.reset()
        terminal.send("fg\n")
        terminal.wait_for(r"step \d", "q quit")
        terminal.read(
            0.5
        )  # what is typed while it takes the terminal again is dropped with the shell's
        terminal.send("?")
        terminal.wait_for("Training")
        terminal.send("\x1b")
        terminal.wait_for(r"step \d", without="Training")

    terminal.wait_for(r"RUNNING +step \d")
    terminal.send("\x1a")
    terminal.wait_for("Stopped")
    before = shelf.read_entry(path).last_step
    terminal.send("echo $((6 * 7)) fnrq\n")
    terminal.wait_for("42 fnrq")
    terminal.resize(90, 30)
    back()
    assert len(terminal.text.splitlines()[0].rstrip()) <= 90
    assert "q quit" in terminal.text.splitlines()[29]
    assert shelf.read_entry(path).last_step > before
    terminal.send("\x1a")
    terminal.wait_for("Stopped")
    terminal.send("bg\n")
    terminal.read(0.5)
    back()
    (viewer,) = (
        int(line)
        for line in Path(f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children")
        .read_text()
        .split()
    )
    os.kill(viewer, signal.SIGSTOP)
    terminal.wait_for("Stopped")
    back()
    assert asked(path) == []  # nothing that was typed in the shell reached the run
    terminal.send("q")
    terminal.wait_for("stop it")
    terminal.send("s")
    terminal.wait_for("is told to stop")
    terminal.send("echo code $?; exit\n")
    terminal.wait_for("code 0")
    assert terminal.exit_code() == 0
    assert terminal.restored


def test_without_a_shell_nothing_stops(shelf_dir: Path) -> None:
    """Where nothing could continue the viewer Ctrl+Z says so, instead of standing still for ever."""
    make_run(shelf_dir / "made-aaaa", 100)
    terminal = Terminal("attach", "aaaa", cwd=shelf_dir.parent, EOSTUI_RUNS=str(shelf_dir))
    terminal.wait_for("FINISHED")
    terminal.send("\x1a")
    terminal.wait_for("no shell is waiting")
    terminal.send("q")
    assert terminal.exit_code() == 0


def test_stopped_and_continued_in_the_midst_of_a_frame(shelf_dir: Path) -> None:
    """SIGCONT takes the terminal again whatever it interrupts: no lock is waited for for ever."""
    EngineProcess(small(steps=10_000_000), shelf_dir, shelf_dir).ready(lambda _: None)
    terminal = Terminal("attach", cwd=shelf_dir.parent, EOSTUI_RUNS=str(shelf_dir))
    terminal.wait_for(r"RUNNING +step \d")
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        for _ in range(100):
            os.kill(terminal.process.pid, signal.SIGCONT)
        terminal.read(0.001)
    terminal.wait_for(r"RUNNING +step \d", "q quit")
    os.kill(terminal.process.pid, signal.SIGTERM)
    assert terminal.exit_code() == 128 + signal.SIGTERM
    assert terminal.restored


def test_a_signal_ends_a_viewer_whose_event_loop_stands_still(shelf_dir: Path) -> None:
    """Whatever it waits for: nothing else could end it but SIGKILL."""
    make_run(shelf_dir / "made-aaaa", 100)
    program = (
        "import threading, sys\n"
        "from eostui.cli import main\n"
        "from eostui.tui.app import EostuiApp\n"
        "EostuiApp.action_help = lambda self: held.acquire()\n"
        "held = threading.Lock()\n"
        "held.acquire()\n"
        "sys.exit(main())\n"
    )
    terminal = Terminal(
        "attach", "aaaa", cwd=shelf_dir.parent, EOSTUI_RUNS=str(shelf_dir), program=("-c", program)
    )
    terminal.wait_for("FINISHED", "q quit")
    terminal.send("?")
    terminal.read(0.5)
    os.kill(terminal.process.pid, signal.SIGHUP)
    assert terminal.exit_code() == 128 + signal.SIGHUP


# --- what a monkey found ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        (["e0.", "04\r"], [{"kind": "set", "eta": 0.04}]),  # was η 4
        (["e1.", "5e-2\r"], [{"kind": "set", "eta": 0.015}]),
        (["w2e-3\re0.3\r"], [{"kind": "set", "weight_decay": 2e-3}, {"kind": "set", "eta": 0.3}]),
        (["e", "\x1b[200~0.25\x1b[201~\r"], [{"kind": "set", "eta": 0.25}]),  # pasted
        (["?q."], [{"kind": "pause"}, {"kind": "step"}]),
        (["qq", "\x1b"], []),
        (["  e0.2\r u"], ["pause", "resume", 0.2, "pause", 0.1]),
    ],
)
def test_keys_that_come_together(shelf_dir: Path, pieces: list[str], wanted: list) -> None:
    """Each is for the screen that the one before left, and a number is the one that was typed."""
    writer = live_run(shelf_dir / "made-aaaa")
    terminal = Terminal("attach", "aaaa", cwd=shelf_dir.parent, EOSTUI_RUNS=str(shelf_dir))
    terminal.wait_for(r"RUNNING +step 100", "quit")
    for piece in pieces:
        terminal.send(piece)
        terminal.read(0.02)
    got: list[dict] = []
    deadline = time.monotonic() + 10
    while len(got) < len(wanted) and time.monotonic() < deadline:
        terminal.read(0.1)
        got += asked(writer.path)
    terminal.read(0.3)
    got += asked(writer.path)
    if wanted and not isinstance(wanted[0], dict):
        assert [each.get("eta", each["kind"]) for each in got] == wanted
    else:
        assert got == wanted
    terminal.send("\x03\x03")
    assert terminal.exit_code() == 0
    writer.close()


@pytest.mark.parametrize(("eta", "decay"), [(1e99, 0.0), (1e-60, 1e50)])
def test_values_that_no_step_can_be_multiplied_by(tmp_path: Path, eta: float, decay: float) -> None:
    """They are refused wherever they come in: a run ended over them, with what PyTorch says of it."""
    writer = live_run(tmp_path / "made-aaaa")
    with Run(writer.path) as run:
        steering = Steering(run)
        with contextlib.suppress(InputError):
            steering.set("eta", eta)
        with contextlib.suppress(InputError):
            steering.set("weight_decay", decay)
    assert all(
        max(each.get("eta", 0), each.get("weight_decay", 0)) < 1 for each in asked(writer.path)
    )
    for values in (
        {"eta": eta, "weight_decay": decay},
        {"controls": [{"step": 5, "eta": eta, "weight_decay": decay}]},
    ):
        with pytest.raises(InputError, match=r"at most 3\.4e"):
            RunConfig.build(values, "test")
    assert "at most 3.4e" in (refuse({"eta": eta, "weight_decay": decay}) or "")
    writer.close()


def test_a_palette_that_is_put_away_while_it_searches(shelf_dir: Path) -> None:
    """Its search found no list any more, and took the application along; a whole search acts."""
    path = shelf_dir / "made-aaaa"
    writer = live_run(path)

    async def scene() -> None:
        async with seated(shelf_dir, path) as seat:
            await seat.shows(path)
            await seat.press("ctrl+p")
            await seat.sees(lambda: isinstance(seat.app.screen, Palette))
            palette = seat.app.screen
            await seat.press("escape")
            await seat.sees(lambda: not palette.is_attached)
            palette._gather_commands("pause")  # as a letter does that was typed just before
            await seat.pilot.pause(0.2)
            assert not seat.told
            await seat.press("ctrl+p")
            await seat.sees(lambda: isinstance(seat.app.screen, Palette))
            await seat.type("pause")
            found = seat.app.screen.query_one(OptionList)
            await seat.sees(lambda: found.option_count and found.highlighted is not None)
            await seat.press("enter")
            await seat.sees(lambda: [each["kind"] for each in asked(path)] == ["pause"])

    play(scene)
    writer.close()
