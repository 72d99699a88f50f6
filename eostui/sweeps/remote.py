"""What a process of a Dask cluster does for a sweep: `answer`, the one function that it is told to call.

It is asked in JSON, as an engine is; nothing of ours is pickled but that function's name. A member trains
in an engine process of its own here too, which ends in order when the Dask worker does.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError
from eostui.locations import data_dir
from eostui.runs.store.filesystem import open_regular
from eostui.runs.template import Template
from eostui.sweeps import log
from eostui.sweeps.devices import Devices, borne, devices_meant, next_device
from eostui.sweeps.parcel import pack, unpack
from eostui.sweeps.sweep import Member
from eostui.sweeps.training import Training
from eostui.version import __version__

#: The file in a sweep's directory by which a machine knows that it sees the same directory.
TOKEN = "token"
#: Seconds between looks at whether a member is still wanted.
_LOOK = 0.5


class _Typed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class About(_Typed):
    """Tell the version of the program."""

    kind: Literal["about"] = "about"


class Stop(_Typed):
    """Let the members of a session save and stop, and begin no more of them."""

    kind: Literal["stop"] = "stop"
    session: str


class Train(_Typed):
    """Train one member to its end.

    Attributes:
        session: of who asks; a `Stop` names it.
        version: of the program that asks.
        number: of the member.
        config: as TOML.
        sweep: the sweep's directory, if this machine sees it.
        run: the name of the member's run directory beside it.
        token: what is in the sweep's `TOKEN`; "" if the run is to be sent back in any case.
        began: whether there is something of its run already, where who asks sees it.
        data_dir: where the data sets are for who asks; another place here if there is no such folder.
        changed_data: whether it goes on also where data or source aren't what they were.
    """

    kind: Literal["train"] = "train"
    session: str
    version: str
    number: int
    config: str
    sweep: Path
    run: str
    token: str
    began: bool
    data_dir: Path
    changed_data: bool


_REQUEST: TypeAdapter[About | Stop | Train] = TypeAdapter(
    Annotated[About | Stop | Train, Field(discriminator="kind")]
)


class _Process:
    """What this process keeps from one request to the next."""

    def __init__(self) -> None:
        self.template = Template()
        self.lock = threading.Lock()
        self.stopped: set[str] = set()  # sessions
        self.trainings: list[tuple[str, Training]] = []
        self.device_lock = (
            threading.Lock()
        )  # held while PyTorch is loaded: nobody is to wait for that
        self.devices: Devices = {}
        self.at_work: Counter[str] = Counter()  # members by device


_process = _Process()


def answer(text: str, parcel: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """Do what is asked for; return plain values.

    Args:
        text: a request, as JSON.
        parcel: of a member's run that goes on, where this machine doesn't see it.

    Returns:
        `error`, a sentence, if it can't be done. Of `About`, `version`. Of `Train`, where who asks
        doesn't see the run: `parcel`, the run, and `log`, events to be added to the sweep's; or `wanted`,
        that the parcel of what there is of it is needed.
    """
    try:
        request = _REQUEST.validate_json(text)
        if isinstance(request, About):
            return {"version": __version__}
        if isinstance(request, Stop):
            return _stop(request)
        return _train(request, parcel)
    except EostuiError as error:
        return {"error": str(error)}


def _stop(request: Stop) -> dict[str, Any]:
    with _process.lock:
        _process.stopped.add(request.session)
        for session, training in _process.trainings:
            if session == request.session:
                training.stop()
    return {}


def _train(request: Train, parcel: Mapping[str, bytes] | None) -> dict[str, Any]:
    if request.version != __version__:
        raise InputError(f"a worker has eostui {__version__}, who asks has {request.version}")
    config = RunConfig.from_toml(request.config, f"the config of {request.run}")
    path = request.sweep.parent / request.run
    if _sees(request.sweep, request.token):
        member = Member(request.number, path, {}, config)
        _trained(request, member, request.sweep)
        return {}
    if request.began and parcel is None:
        return {"wanted": True}
    with _scratch() as folder:
        member = Member(request.number, folder / path.name, {}, config)
        if parcel is not None:
            unpack(parcel, member.path, config)
        (folder / "log").mkdir()
        said: dict[str, Any] = {}
        try:
            _trained(request, member, folder / "log")
        except EostuiError as error:
            said["error"] = str(error)
        said["log"] = log.read(folder / "log")
        if member.path.is_dir():
            said["parcel"] = pack(member.path)
        return said


def _trained(request: Train, member: Member, log_folder: Path) -> None:
    """Train a member to its end, or until nobody wants it any more. Raises EostuiError."""
    folder = request.data_dir if request.data_dir.is_dir() else data_dir()
    with _device(member.config) as device:
        training = Training(
            member, request.sweep.name, log_folder, folder, device, _process.template.engine,
            request.changed_data,
        )  # fmt: skip
        entry = (request.session, training)
        with _process.lock:
            _process.trainings.append(entry)
            if request.session in _process.stopped:
                training.stop()
        ended = threading.Event()
        wanted = _wanted()
        threading.Thread(target=_watch, args=(training, wanted, ended), daemon=True).start()
        try:
            training.run()
        finally:
            ended.set()
            with _process.lock:
                _process.trainings.remove(entry)


def _watch(training: Training, wanted: Callable[[], bool], ended: threading.Event) -> None:
    while not ended.wait(_LOOK):
        if not wanted():
            training.stop()
            return


def _wanted() -> Callable[[], bool]:
    """Return what tells whether the Dask task of this thread is still wanted.

    It isn't when who asked is gone, or the worker closes, for it lost its scheduler or its time is up.
    """
    from distributed import Status, get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        at_work = worker.status in (Status.running, Status.paused)
        return at_work and task is not None and task.state != "cancelled"

    return wanted


def _sees(sweep: Path, token: str) -> bool:
    """Return whether this machine sees the sweep's directory of who asks."""
    try:
        with open(open_regular(sweep / TOKEN, os.O_RDONLY), "rb") as file:
            return bool(token) and file.read(len(token) + 1) == token.encode()
    except OSError:
        return False


@contextmanager
def _scratch() -> Iterator[Path]:
    """Make a folder for a run that is sent back; Dask takes away what a killed worker leaves there."""
    from distributed import get_worker

    with tempfile.TemporaryDirectory(
        dir=get_worker().local_directory, prefix="eostui-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@contextmanager
def _device(config: RunConfig) -> Iterator[str]:
    """Give a member whose device is chosen one of this machine's, by their members and their memory."""
    if config.device != "auto":
        yield ""
        return
    with _process.device_lock:
        if not _process.devices:
            _process.devices = devices_meant(["auto"], _process.template)["auto"]
        bears = borne(_process.devices, [config])
        device = next_device(_process.devices, bears, _process.at_work)
        _process.at_work[device] += 1
    try:
        yield device
    finally:
        with _process.device_lock:
            _process.at_work[device] -= 1
