"""Has a sweep's members trained by a Dask cluster: https://distributed.dask.org.

A task is a member: the text of its config, for the one function that `eostui.sweeps.remote` has. Where
a worker sees the sweep's directory it trains the member there, and a member of a worker that is lost
goes on from its last checkpoint, elsewhere; where it doesn't, the run is sent back when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eostui.config import RunConfig
from eostui.errors import EostuiError, InputError, printable
from eostui.runs.store.liveness import engine_alive
from eostui.sweeps import cost, log, remote
from eostui.sweeps.parcel import pack, refuse_other_run, unpack
from eostui.sweeps.sweep import WAITING, Member, MemberState, Sweep, state_of
from eostui.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

#: The resource of Dask workers that have a GPU: `dask worker --resources GPU=1`.
GPU = "GPU"
#: Seconds in which a scheduler must answer.
_PATIENCE = 10.0
#: Seconds between looks at the cluster.
_LOOK = 1.0
#: Looks from one call of `keep_workers` to the next.
_KEEP = 10
#: How runs end that were stopped by what became of their worker, not by a user.
_LEFT_ALONE = ("stopped with its sweep", "stopped by SIGTERM")
#: Times that a member is handed out again though it got no further.
_TRIES = 2
#: Loggers that would print the network's tracebacks between our lines.
_LOGGERS = ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio")


def connect(scheduler: Any, name: str) -> Client:
    """Return a client of a scheduler, with the security that Dask's own configuration has.

    Args:
        scheduler: its address, or a cluster object of Dask's.
        name: what it is called in a sentence.

    Raises:
        InputError: if Dask isn't installed, the scheduler doesn't answer, or a worker there can't train.
    """
    refuse_missing("distributed")
    import dask
    from distributed import Client

    for each in _LOGGERS:
        logging.getLogger(each).setLevel(logging.CRITICAL + 1)
    # a run that is sent along is large, and there is no better way for it
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
    try:
        if isinstance(
            scheduler, str
        ):  # a client that finds none would try on when it is taken away
            asyncio.run(_touch(scheduler))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of versions that differ: what matters is checked below
            client: Client = Client(scheduler, timeout=_PATIENCE, set_as_default=False)
    except Exception as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"no Dask scheduler answers at {name} ({printable(said)}): `dask scheduler` starts one, "
            "and prints its address"
        ) from None
    try:
        _refuse_workers(client)
    except InputError:
        close(client)
        raise
    return client


async def _touch(address: str) -> None:
    """Connect to a scheduler, and let go of it. Raises what Dask raises if that can't be."""
    from distributed.comm import connect
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    comm = await connect(address, timeout=_PATIENCE, **arguments)
    await comm.close()


def refuse_missing(module: str) -> None:
    """Raise InputError if a module of the extra `cluster` isn't installed."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise InputError(f"{module} isn't installed: pip install 'eostui[cluster]'")


def close(client: Client) -> None:
    """End a client, whose scheduler may be gone."""
    closing = threading.Thread(target=client.close, args=(_PATIENCE,), daemon=True)
    closing.start()
    closing.join(_PATIENCE)


def _refuse_workers(client: Client) -> None:
    """Raise InputError if there is a worker without this program, or with another version of it."""
    asked = remote.About().model_dump_json()
    for worker, said in client.run(remote.answer, asked, on_error="return").items():
        if isinstance(said, Exception):
            raise InputError(
                f"worker {worker} can't load eostui ({printable(' '.join(str(said).split()))}): "
                f"install version {__version__} for it"
            )
        if said.get("version") != __version__:
            raise InputError(
                f"worker {worker} has eostui {said.get('version')}, and here is {__version__}: install "
                "the same for both"
            )


class Cluster:
    """The executor of a sweep on a Dask cluster.

    Attributes:
        places: how many members train at once, by the workers that there are now.
        failure: why nothing can be trained any more; "" as long as it can.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        sweep: Sweep,
        data_dir: Path,
        configs: Sequence[RunConfig],
        most: int | None = None,
        *,
        changed_data: bool = False,
        send_back: bool = False,
        keep_workers: Callable[[], None] = lambda: None,
    ) -> None:
        """Look at the cluster; nothing begins yet.

        Args:
            client: of the cluster's scheduler.
            name: what that is called in a sentence.
            sweep: whose members are trained.
            data_dir: where the data sets are, on this machine.
            configs: of the members that are to be trained.
            most: members that train at once at most; None for as many as workers allow.
            changed_data: whether members go on also where data or source aren't what they were.
            send_back: whether runs are sent back though workers see the sweep's directory.
            keep_workers: called now and then: workers that were lost may be started again.
        """
        self.places, self.failure = 0, ""
        self._client, self._name, self._sweep = client, name, sweep
        self._data_dir, self._changed_data, self._most = data_dir, changed_data, most
        self._keep_workers = keep_workers
        self._cores = cost.cores_taken(configs)
        self._on_gpus = any(config.device != "cpu" for config in configs)
        self._gpus = False  # whether workers have them
        self._session = secrets.token_hex(8)
        self._token = "" if send_back else secrets.token_hex(16)
        _write_token(sweep.path / remote.TOKEN, self._token)
        self._futures: dict[int, Future[dict[str, Any]]] = {}  # by their members' numbers
        self._lock = threading.Lock()
        self._stopped = self._closed = False
        self._look()
        threading.Thread(target=self._watch, daemon=True).start()

    def train(self, member: Member) -> tuple[str, str]:
        """Have a member trained to its end by some worker; return its state and how it ended.

        Raises:
            EostuiError: if it can't begin, or what is sent back isn't its run.
        """
        _finish_exchange(member)
        found, tries, parcel = state_of(member), _TRIES, None
        while not self._stopped and not found.complete:
            said = self._said(member, found, parcel)
            if said is None:  # it was let go
                found = state_of(member)
                return (found.state if self._stopped else WAITING), found.sentence
            if said.get("wanted") and parcel is None:
                parcel = pack(member.path)
                continue
            parcel = None
            self._take_log(member, said.get("log", ()))
            if "parcel" in said:
                _accept(said["parcel"], member, found, self._sweep.id)
            if "lost" in said:
                return "interrupted", "the workers that trained it were lost, one after the other"
            if "error" in said:
                raise EostuiError(printable(str(said["error"])))
            before, found = found, state_of(member)
            if not _left_alone(found):
                break
            tries = _TRIES if _last_step(found) > _last_step(before) else tries - 1
            if not tries:
                break
        return found.state, found.sentence

    def stop(self) -> None:
        """Let the members at work save and stop. Returns at once."""
        self._stopped = True  # without its lock: a member that is being handed out isn't waited for
        threading.Thread(target=self._stop_members, daemon=True).start()

    def close(self) -> None:
        """Look at the cluster no more."""
        self._closed = True

    def _said(
        self, member: Member, found: MemberState, parcel: Mapping[str, bytes] | None
    ) -> Mapping[str, Any] | None:
        """Return what a worker answers that was asked to train a member; None if it was let go.

        Raises:
            EostuiError: if no worker can.
        """
        from distributed import KilledWorker

        request = remote.Train(
            session=self._session, version=__version__, number=member.number,
            config=member.config.to_toml(), sweep=self._sweep.path, run=member.path.name,
            token=self._token, began=found.entry is not None, data_dir=self._data_dir,
            changed_data=self._changed_data,
        )  # fmt: skip
        needed = {GPU: 1} if self._gpus and member.config.device != "cpu" else None
        key = f"eostui-{member.path.name}-{secrets.token_hex(4)}"
        future: Future[dict[str, Any]] | None = None
        try:
            with self._lock:  # who stops all finds it then, or it isn't handed out
                if self._stopped:
                    return None
                future = self._client.submit(
                    remote.answer, request.model_dump_json(), parcel, key=key, pure=False,
                    resources=needed,
                )  # fmt: skip
                self._futures[member.number] = future
            said = future.result()
        except KilledWorker:
            return {"lost": True}
        except (Exception, asyncio.CancelledError) as error:
            if (
                future is not None and future.status == "error"
            ):  # of a worker whose disk is full, say
                text = printable(" ".join(str(error).split()))
                raise EostuiError(f"a worker failed: {type(error).__name__}: {text}") from None
            self._look()
            if not self._stopped and not self.failure:
                self.failure = f"{self._name} let go of the members"
            return None
        finally:
            with self._lock:
                self._futures.pop(member.number, None)
        if not isinstance(said, Mapping):
            raise EostuiError("a worker answered with what is no answer")
        return said

    def _take_log(self, member: Member, events: Any) -> None:
        """Add to the sweep's log what happened where it couldn't be reached."""
        for event in events if isinstance(events, list) else ():
            if isinstance(event, dict) and event.get("kind") in (log.STARTED, log.ENDED):
                more = {"resumed": bool(event["resumed"])} if "resumed" in event else {}
                if isinstance(event.get("code"), int):
                    more["code"] = event["code"]
                log.write(self._sweep.path, event["kind"], run=member.path.name, **more)

    def _watch(self) -> None:
        """Look at the cluster now and then."""
        looks = 0
        while not self._closed and not self.failure:
            if not self._stopped and looks % _KEEP == 0:
                with contextlib.suppress(Exception):  # else it is tried again
                    self._keep_workers()
            time.sleep(_LOOK)
            self._look()
            looks += 1

    def _look(self) -> None:
        """See how many members the workers can train, and whether there is a scheduler."""
        try:
            # what Dask calls a thread is a member: it trains in a process of its own
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except Exception:
            workers = None
        if workers is None or self._client.status != "running":
            if not self._closed:
                self.failure = f"{self._name} is gone"
            return
        gpus = [min(w["nthreads"], int(w["resources"].get(GPU, 0))) for w in workers]
        self._gpus = self._on_gpus and any(gpus)
        threads = [max(w["nthreads"] // self._cores, 1) for w in workers]
        places = sum(gpus if self._gpus else threads)
        self.places = places if self._most is None else min(places, self._most)

    def _stop_members(self) -> None:
        """Tell all workers, those too that come meanwhile; let go of what waits for a worker."""
        asked = remote.Stop(session=self._session).model_dump_json()
        waiting: set[str] = set()
        while not self.failure:
            with self._lock:
                futures = list(self._futures.values())
            if not futures:
                return
            try:
                self._client.run(remote.answer, asked, on_error="ignore")
                taken = {str(key) for keys in self._client.processing().values() for key in keys}
            except Exception:  # a worker is gone, and with it what it trained
                time.sleep(_LOOK)
                continue
            # of one that ended just now, the result is on its way
            left = {str(f.key) for f in futures if f.status == "pending"} - taken
            for future in futures:
                if str(future.key) in left & waiting:
                    future.cancel()
            waiting = left
            time.sleep(_LOOK)


def _left_alone(found: MemberState) -> bool:
    """Return whether a member ended before its time, and nobody wanted that."""
    return found.state in (WAITING, "interrupted") or (
        found.state == "stopped" and found.sentence.startswith(_LEFT_ALONE)
    )


def _last_step(found: MemberState) -> int:
    return -1 if found.entry is None else found.entry.last_step


def _accept(parcel: Any, member: Member, found: MemberState, group: str) -> None:
    """Put a run that was sent back onto the shelf, whole or not at all.

    Raises:
        EostuiError: if it isn't the run that was asked for, or can't be written.
    """
    aside, before = _aside(member, "arriving"), _aside(member, "before")
    config = member.config if found.entry is None else found.entry.config
    shutil.rmtree(aside, ignore_errors=True)
    unpack(parcel, aside, config)
    try:
        refuse_other_run(aside, member.path.name, group, config)
        if engine_alive(member.path):
            raise EostuiError(f"{member.path.name} was sent back, but an engine here drives it")
        if member.path.exists():
            member.path.rename(before)
        aside.rename(member.path)
    except EostuiError:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    except OSError as error:
        _finish_exchange(member)
        raise EostuiError(f"{member.path}: can't be written: {error.strerror}") from None
    shutil.rmtree(before, ignore_errors=True)


def _finish_exchange(member: Member) -> None:
    """Put back what a kill left aside while a run was replaced by what it became elsewhere."""
    before = _aside(member, "before")
    if before.is_dir():
        if member.path.exists():
            shutil.rmtree(before, ignore_errors=True)
        else:
            before.rename(member.path)


def _aside(member: Member, what: str) -> Path:
    return member.path.with_name(f".{member.path.name}.{what}")  # hidden: no run of the shelf


def _write_token(file: Path, token: str) -> None:
    """Write the token of a sweep's directory. Raises InputError."""
    unfinished = file.with_name(f"{file.name}.new")
    try:
        unfinished.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(unfinished, flags, 0o600), "w", encoding="utf-8") as stream:
            stream.write(token)
        unfinished.rename(file)
    except OSError as error:
        raise InputError(f"{file}: can't be written: {error.strerror}") from None
