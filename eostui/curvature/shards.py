"""Derivatives as sums over shards: samples that are shared out among processes.

The first process drives the run, and asks the others for what it needs of their samples: they are told θ
and a vector, work while the first one works on its own shard, and answer. Answers are added up in the
order of the processes, so that a sum is the same to the bit whenever as many processes make it.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from eostui.errors import EostuiError
from eostui.problems.batch import LossFunction, SummedLoss

#: What the first process may ask for: the derivatives are named as the methods of a `Point`.
REQUESTS = (
    "end", "place", "release", "value", "training_pass", "hessian_product", "curvature_gradient",
    "third_derivative", "gauss_newton_product", "outputs", "output_product", "output_pullback",
    "output_slopes", "sample_losses",
)  # fmt: skip

_CPU = torch.device("cpu")
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64)
#: Numbers before a request's vector: what is asked, its type (−1: there is none), dimensions, shape.
_HEADER = 11
#: In place of an answer's type: what follows says why there is none.
_FAILED = -1


class Placed(Protocol):
    """What is differentiated at one θ, shape (P,)."""

    theta: Tensor


@dataclass(frozen=True)
class ShardedLoss(SummedLoss):
    """L over samples that are shared out among processes. Its derivatives are sums over all shards.

    As a function it is L over all samples, computed here alone: their data are here too.

    Attributes:
        own: the share in L of this process's samples.
        shards: the other processes.
    """

    own: LossFunction
    shards: Shards


class Shards:
    """The other processes, as the first one sees them: it asks, and adds up what they answer.

    Attributes:
        count: of all processes.
        lost: why the others can't be asked any more, a sentence; "" while they can.
    """

    def __init__(self, count: int, device: torch.device, explain: Callable[[int], str]) -> None:
        """Take a process group that is there already.

        Args:
            count: of its processes.
            device: of this process's tensors.
            explain: why a process doesn't answer, by its number; 0 where it isn't known which.
        """
        self.count, self.lost = count, ""
        self._device, self._explain = device, explain
        self._placed: weakref.ref[Placed] | None = None

    def sum(
        self, what: str, point: Placed | None, vectors: Sequence[Tensor],
        own: Callable[[], Sequence[Tensor]],
    ) -> list[Tensor]:  # fmt: skip
        """Return the sums over all processes, added up in float64.

        Args:
            what: one of REQUESTS.
            point: where it is asked for, None where the vector is θ.
            vectors: one or none, told to all.
            own: what this process makes of its samples; it begins when the others have been asked.

        Raises:
            EostuiError: if another process failed, or can't be asked.
        """
        mine, answers = self._ask(what, point, vectors, own)
        totals = [share.to(torch.float64, copy=True) for share in mine]
        for answer in answers:
            shares = torch.split(answer, [total.numel() for total in totals])
            for total, share in zip(totals, shares, strict=True):
                total.add_(share.view_as(total))
        return [total.to(share.dtype) for total, share in zip(totals, mine, strict=True)]

    def join(
        self, what: str, point: Placed, vectors: Sequence[Tensor], own: Callable[[], Tensor]
    ) -> Tensor:
        """Return what all processes have of their samples, one after another; arguments as of `sum`."""
        (mine,), answers = self._ask(what, point, vectors, lambda: [own()])
        return torch.cat([mine, *(answer.view(-1, *mine.shape[1:]) for answer in answers)])

    def release(self, point: Placed) -> None:
        """Let the others free what they keep of a point."""
        if self._placed is not None and self._placed() is point:
            self._placed = None
            self._tell("release")

    def end(self) -> None:
        """Let the others end; one that had ended before is told of in `lost`."""
        with contextlib.suppress(EostuiError):
            self._tell("end")
            for number in range(1, self.count):
                self._answer(number)

    def _ask(
        self, what: str, point: Placed | None, vectors: Sequence[Tensor],
        own: Callable[[], Sequence[Tensor]],
    ) -> tuple[Sequence[Tensor], list[Tensor]]:  # fmt: skip
        """Return what this process has, and the answers of the others, each as one flat tensor."""
        if point is not None and (self._placed is None or self._placed() is not point):
            self._tell("place", point.theta)
            self._placed = weakref.ref(point)
        self._tell(what, *vectors)
        failure: Exception | None = None
        mine: Sequence[Tensor] = ()
        try:
            mine = own()
        except (
            Exception
        ) as error:  # a user's probe may ask for what there isn't, and the run goes on
            failure = error
        answers = []
        for number in range(1, self.count):  # all of them: the next question would get what is left
            try:
                answers.append(self._answer(number))
            except EostuiError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return mine, answers

    def _tell(self, what: str, *vectors: Tensor) -> None:
        header = torch.full((_HEADER,), -1, dtype=torch.int64)
        header[0] = REQUESTS.index(what)
        for vector in vectors:
            header[1], header[2] = _DTYPES.index(vector.dtype), vector.ndim
            header[3 : 3 + vector.ndim] = torch.tensor(vector.shape, dtype=torch.int64)
        with self._connected(0):
            dist.broadcast(header, 0)
            for vector in vectors:
                dist.broadcast(vector.detach().contiguous(), 0)

    def _answer(self, number: int) -> Tensor:
        header = torch.empty(2, dtype=torch.int64)
        with self._connected(number):
            dist.recv(header, number)
        kind, length = header.tolist()
        dtype, device = (_DTYPES[kind], self._device) if kind >= 0 else (torch.uint8, _CPU)
        answer = torch.empty(length, dtype=dtype, device=device)
        if length:
            with self._connected(number):
                dist.recv(answer, number)
        if kind == _FAILED:
            text = bytes(answer.tolist()).decode()
            raise EostuiError(f"process {number + 1} of {self.count}: {text}")
        return answer

    @contextmanager
    def _connected(self, number: int) -> Iterator[None]:
        """Exchange something with a process, 0 for all. Where one is gone, all can't go on."""
        if self.lost:
            raise EostuiError(self.lost)
        try:
            yield
        except RuntimeError as error:
            self.lost = self._explain(number)
            raise EostuiError(self.lost) from error


def next_request(device: torch.device) -> tuple[str, list[Tensor]]:
    """Return what the first process asks this one for, and the vector it is asked of, or none.

    Raises:
        RuntimeError: if the first process is gone.
    """
    header = torch.empty(_HEADER, dtype=torch.int64)
    dist.broadcast(header, 0)
    what, dtype, dimensions, *shape = header.tolist()
    if dtype < 0:
        return REQUESTS[what], []
    vector = torch.empty(shape[:dimensions], dtype=_DTYPES[dtype], device=device)
    dist.broadcast(vector, 0)
    return REQUESTS[what], [vector]


def answer(tensors: Sequence[Tensor]) -> None:
    """Send the first process what it asked for. Raises RuntimeError if it is gone."""
    flat = [tensor.detach().reshape(-1) for tensor in tensors]
    told = torch.cat(flat) if flat else torch.empty(0)  # in the widest of their types
    dist.send(torch.tensor([_DTYPES.index(told.dtype), len(told)]), 0)
    if len(told):
        dist.send(told, 0)


def refuse(sentence: str) -> None:
    """Tell the first process why it doesn't get what it asked for. Raises RuntimeError if it is gone."""
    text = sentence.encode()
    dist.send(torch.tensor([_FAILED, len(text)]), 0)
    dist.send(torch.tensor(list(text), dtype=torch.uint8), 0)
