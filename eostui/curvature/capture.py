"""Programs of tensors: called on a CPU, on CUDA captured once as a graph and replayed without a host.

A GPU works through a queue that the host fills, and a small network's kernels are done sooner than the
host can queue them. A graph is queued as a whole. What it costs is that everything stays where it was
when it was captured: inputs, results and numbers lie at fixed addresses (`Program`, `State`), and nothing
within may ask the host for a value.

A program is the same function on every device and on both ways: a graph repeats the kernels that the
function queues when it is called, on the same memory alignment, so that both agree to the bit. That is
seen to when it is captured. `EOSTUI_CAPTURE=0` in the environment has it called on CUDA too.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Free memory that a capture must find, over what its function took before: pieces are left over.
ROOM = 1.25
NO_MEMORY = "the GPU's memory doesn't hold its graphs"
#: Set to 0, it has programs called where they could be captured.
SWITCH = "EOSTUI_CAPTURE"
#: Bytes that a program may need for its results and on the way if it is to be done beside others, whose
#: memory it then doesn't share. What needs more keeps the device busy by itself.
APART = 256e6

Tensors = tuple[Tensor, ...]


class Uncapturable(Exception):
    """A program can't be captured; the message is a sentence's end that says why."""


class Graph(Protocol):
    """What a device was given to do once, ready to be done again."""

    def replay(self) -> None:
        """Do it again, on the same memory."""


class Capturer(Protocol):
    """How a kind of device captures; all its graphs share their memory.

    Attributes:
        needed: bytes that calls took at most since the last capture.
    """

    needed: int

    def aside(self, function: Callable[[], Tensors]) -> Tensors:
        """Call a function where it would be captured."""

    def capture(self, function: Callable[[], Tensors]) -> tuple[Graph, Tensors]:
        """Return a graph of what a function does, and where it leaves its results."""

    def release(self, drop: Callable[[], None]) -> None:
        """Drop graphs, once nothing of them is at work, and give their memory back."""

    def beside(self) -> AbstractContextManager[object]:
        """Have what is asked for within done beside what is asked for after it, until `join`."""

    def join(self) -> None:
        """Have what is asked for from here on done after what was to be done beside."""


class CudaCapturer:
    """CUDA graphs, on one side stream and in one pool of memory.

    Graphs that share a pool may lie on each other's scratch memory. Here that is right: they are
    replayed one at a time, on one stream, and what one leaves for another to read is still held, so that
    its place isn't given away.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self.needed = 0

    def aside(self, function: Callable[[], Tensors]) -> Tensors:
        """Call a function on the side stream: what libraries need there is there before a capture.

        Its results may be dropped at any time: whatever goes to that stream next waits for this one.
        """
        current = torch.cuda.current_stream(self._device)
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            outputs = function()
        current.wait_stream(self._stream)
        took = torch.cuda.max_memory_allocated(self._device) - before
        self.needed = max(self.needed, took)
        return outputs

    def capture(self, function: Callable[[], Tensors]) -> tuple[Graph, Tensors]:
        """Capture a function on the side stream, on which it was called before.

        Raises:
            Uncapturable: if the memory that it took there isn't free. It isn't tried: a capture that
                runs out of memory keeps what it has for as long as the process lives (pytorch 190348).
        """
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        needed, self.needed = self.needed, 0
        if torch.cuda.mem_get_info(self._device)[0] < ROOM * needed:
            raise Uncapturable(NO_MEMORY)
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        collects = gc.isenabled()
        gc.disable()  # what is freed meanwhile could break the capture
        try:
            with torch.cuda.device(self._device):
                try:
                    # waits for the device and gives back what the warm-up took, before it begins
                    with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                        outputs = function()
                finally:  # one that failed leaves its own stream current
                    torch.cuda.set_stream(current)
        finally:
            if collects:
                gc.enable()
        return graph, outputs

    def release(self, drop: Callable[[], None]) -> None:
        """Drop graphs and give their memory back, and begin another pool: the old one goes with them."""
        torch.cuda.synchronize(self._device)
        drop()
        # after a capture that failed some versions refuse it; the memory is then only cached
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()
        self._pool = torch.cuda.graph_pool_handle()

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """Have graphs of this capturer replayed on its side stream, after what was asked for before."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield

    def join(self) -> None:
        """Have the current stream wait for the side stream."""
        torch.cuda.current_stream(self._device).wait_stream(self._stream)


class Branch:
    """What the rest of a program doesn't wait for: on a GPU it is done beside it, on a stream of its own.

    A graph that is captured from both has the fork in it. Small kernels then run while large ones leave
    multiprocessors idle, and take no turn of their own. On an H200 a run of 6000 steps of
    `cifar5k-mlp-decay` took 5.2 s for 5.5. Where all kernels are small it is no gain: a step of
    `digits-mlp` took 0.28 ms, for 0.21 on such a machine before there were branches (version 0.4.0).
    """

    def __init__(self, device: torch.device, *, worth: bool) -> None:
        """Make a stream on a GPU where it is `worth` it; else all is done in its turn."""
        self._device = device
        beside = worth and device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if beside else None  # type: ignore[no-untyped-call]
        self._read: Tensors = ()  # must not be given away while it is read there

    @contextlib.contextmanager
    def beside(self, *read: Tensor) -> Iterator[None]:
        """Have what is asked for within done beside what is asked for after it.

        Args:
            read: all tensors from outside that it reads.
        """
        if self._stream is None:
            yield
            return
        self.join()  # what was asked for at the time before is long done
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        self._read = read
        with torch.cuda.stream(self._stream):
            yield

    def join(self) -> None:
        """Have what is asked for from here on done after it: its results may be read."""
        if self._read:
            assert self._stream is not None
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            self._read = ()


#: By the kind of device: where programs are captured. Elsewhere they are called.
CAPTURERS: dict[str, Callable[[torch.device], Capturer]] = {"cuda": CudaCapturer}


def is_captured_on(device: torch.device) -> bool:
    """Return whether programs are captured there: then numbers that they read lie on the device."""
    return device.type in CAPTURERS


class Programs:
    """The programs of one trajectory: captured together, or none of them.

    Attributes:
        capturer: of their device; None where programs are called.
        ahead: of the programs that may be done beside all others, on memory of their own; None before
            the first is captured, and where they need too much of it.
        refusal: why none is captured, where that isn't asked for by `EOSTUI_CAPTURE=0`; else None.
    """

    def __init__(self, device: torch.device, tell: Callable[[str], None]) -> None:
        """Begin without a graph; `tell` is told once why none is captured, where they could be."""
        make = CAPTURERS.get(device.type)
        self._make, self._device = make, device
        self.capturer = None if make is None else make(device)
        self.ahead: Capturer | None = None
        self.refusal: str | None = None
        self._tell = tell
        self._wanted = os.environ.get(SWITCH, "1") != "0"
        self._programs: list[Program] = []

    @property
    def captures(self) -> bool:
        """Whether a program would be captured at its next call."""
        return self.capturer is not None and self._wanted and self.refusal is None

    @property
    def captured(self) -> bool:
        """Whether any program is captured now."""
        return any(program.captured for program in self._programs)

    def of(
        self,
        function: Callable[..., Tensors],
        state: State | None = None,
        *,
        after: Program | None = None,
        forget: Callable[[], None] = lambda: None,
        ahead: bool = False,
    ) -> Program:
        """Return the program of a function of tensors.

        Args:
            function: inputs, and after them the tensors of `state`, ↦ its results; those of a program
                with a state take the place of the state's tensors. It may write into tensors of its own
                too, as long as doing so twice is as good as once.
            state: what is handed on from call to call.
            after: a program that leaves in memory what this one reads: it is called before, and with it
                this one is captured and freed.
            forget: drops what the last call left beside its results.
            ahead: whether it may be done beside others that aren't; those that may be never are beside
                each other.
        """
        program = Program(self, function, state, after, forget, ahead)
        self._programs.append(program)
        return program

    def refuse(self, reason: str) -> None:
        """Capture nothing from now on, and say why."""
        if self.capturer is None or self.refusal is not None:
            return
        self.refusal = reason
        self._release()
        if self._wanted:
            self._tell(reason)

    def release(self) -> None:
        """Free the graphs and their memory; they are captured anew when they are called."""
        if self.captured:
            self._release()

    def apart(self) -> Capturer:
        """Return what captures programs that may be done beside others, once one was called aside."""
        assert self.capturer is not None
        assert self._make is not None
        if not any(program.captured and program.ahead for program in self._programs):
            small = self.capturer.needed <= APART
            self.ahead = (self.ahead or self._make(self._device)) if small else None
        return self.ahead or self.capturer

    def _release(self) -> None:
        def drop() -> None:
            for program in self._programs:
                program.release()

        assert self.capturer is not None
        self.capturer.release(drop)
        if self.ahead is not None:
            self.ahead.release(lambda: None)


class State:
    """Tensors that programs hand on from call to call.

    Attributes:
        tensors: as the last call left them. Where programs are captured they lie in `fixed`.
        fixed: the same, at addresses that stay; () before the first call, and where programs are called.
    """

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.fixed: Tensors = ()
        self._number = 0

    def fix(self) -> int:
        """Bring the tensors to the fixed addresses; return a number that changes where those do."""
        if not _alike(self.fixed, self.tensors):
            self._number += 1
        self.tensors = self.fixed = _placed(self.tensors, self.fixed)
        return self._number

    def hand_on(self, results: Tensors) -> Tensors:
        """Write results over the tensors."""
        if not _alike(self.fixed, results):  # a first call may have less to go on from
            self.tensors = _copies(results)
        else:
            self.tensors = _placed(results, self.fixed)
        return self.tensors


class Program:
    """A function of tensors, captured where the device can."""

    def __init__(
        self,
        programs: Programs,
        function: Callable[..., Tensors],
        state: State | None,
        after: Program | None,
        forget: Callable[[], None],
        ahead: bool,
    ) -> None:
        self._programs, self._function, self._state = programs, function, state
        self._after, self._forget, self.ahead = after, forget, ahead
        self._inputs: Tensors = ()
        self._outputs: Tensors = ()
        self._addresses = 0  # of the state, by their number
        self._graph: Graph | None = None

    @property
    def captured(self) -> bool:
        """Whether the next call is a replay."""
        return self._graph is not None

    @property
    def place(self) -> Tensor | None:
        """Where the first input lies for the program; one that is there already isn't copied."""
        return self._inputs[0] if self._inputs else None

    def release(self) -> None:
        """Drop the graph, and what it left."""
        if self._graph is not None:
            self._graph, self._outputs = None, ()
            self._forget()

    def __call__(self, *inputs: Tensor) -> Tensors:
        """Return the results, or the state's tensors after them.

        Where programs are captured, the results are good until the next call.
        """
        programs, state = self._programs, self._state
        if programs.capturer is None:
            if state is None:
                return self._function(*inputs)
            state.tensors = self._function(*inputs, *state.tensors)
            return state.tensors
        # also where it is called: alignment may decide how a library sums
        addresses = 0 if state is None else state.fix()
        if addresses != self._addresses or not _alike(self._inputs, inputs):
            self._addresses = addresses
            self.release()
        self._inputs = _placed(inputs, self._inputs)
        if self._graph is not None:
            self._graph.replay()
            return self._outputs
        if programs.captures and (self._after is None or self._after.captured):
            return self._captured()
        return self._called()

    def _called(self) -> Tensors:
        if self._state is None:
            return self._function(*self._inputs)
        return self._state.hand_on(self._function(*self._inputs, *self._state.fixed))

    def _captured(self) -> Tensors:
        """Capture, and replay once; where that isn't possible, call."""
        programs, state = self._programs, self._state
        capturer = programs.capturer
        assert capturer is not None
        fixed = () if state is None else state.fixed
        try:
            with NoHost():  # type: ignore[no-untyped-call]
                capturer.aside(lambda: self._function(*self._inputs, *fixed))
            if self.ahead:
                capturer = programs.apart()
            called = capturer.aside(lambda: self._function(*self._inputs, *fixed))
            if state is not None and not _alike(fixed, called):
                return self._called()  # from the next call on there is all to go on from
            # copies: a result may be one of the state's tensors, which the replay writes over
            called, before = _copies(called), _copies(fixed)
            self._forget()
            graph, outputs = capturer.capture(self._called)
            graph.replay()
            if not _same_bits(called, outputs):
                for tensor, value in zip(fixed, before, strict=True):
                    tensor.copy_(value)
                raise Uncapturable("replayed, it gives other numbers than called")
        except Exception as error:  # of the function's own it comes again, as it is called
            self._forget()
            programs.refuse(_reason(error))
            return self._called()
        self._graph, self._outputs = graph, outputs
        return outputs


def _copies(tensors: Sequence[Tensor]) -> Tensors:
    return tuple(tensor.detach().clone(memory_format=torch.contiguous_format) for tensor in tensors)


def _reason(error: BaseException) -> str:
    """Return why a capture failed: where one error led to others, the first one says it."""
    chain = [error]
    while chain[-1].__context__ is not None:
        chain.append(chain[-1].__context__)
    if any(isinstance(each, torch.OutOfMemoryError) for each in chain):
        return NO_MEMORY
    first = chain[-1]
    if isinstance(first, Uncapturable):
        return str(first)
    text = str(first).partition("\n")[0]
    return f"{type(first).__name__}: {text}" if text else type(first).__name__


def _alike(places: Sequence[Tensor], given: Sequence[Tensor]) -> bool:
    """Return whether tensors fit into places."""
    return len(places) == len(given) and all(
        place is tensor or (place.shape, place.dtype) == (tensor.shape, tensor.dtype)
        for place, tensor in zip(places, given, strict=True)
    )


def _placed(given: Tensors, places: Tensors) -> Tensors:
    """Return tensors in places of their own, made where there are none that fit."""
    if not _alike(places, given):
        return _copies(given)
    moving = [pair for pair in zip(places, given, strict=True) if pair[0] is not pair[1]]
    taken = {place.untyped_storage().data_ptr() for place, _ in moving}
    # one that lies in another's place is read before that is written over
    apart = [
        tensor.clone() if tensor.untyped_storage().data_ptr() in taken else tensor
        for _, tensor in moving
    ]
    for dtype in {place.dtype for place, _ in moving}:  # those of one kind in one go
        pairs = [
            (place, tensor)
            for (place, _), tensor in zip(moving, apart, strict=True)
            if place.dtype is dtype
        ]
        torch._foreach_copy_([place for place, _ in pairs], [tensor for _, tensor in pairs])
    return places


def _same_bits(called: Tensors, replayed: Tensors) -> bool:
    """Return whether two results are the same; NaN is as NaN."""
    return all(
        bool(((one == other) | (one.isnan() & other.isnan())).all())
        for one, other in zip(called, replayed, strict=True)
    )


class NoHost(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is on, what couldn't be within a graph raises Uncapturable: a value read by the host, a
    result whose shape depends on values, a copy from or to another device, a random number.

    A capture that fails may leave a library in disorder, so it isn't tried on what is refused here.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say that PyTorch's compiler needn't be told of this: it would be loaded for that."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__
        if torch.Tag.data_dependent_output in func.tags:
            raise Uncapturable(f"the host reads a value ({name})")
        if torch.Tag.dynamic_output_shape in func.tags:
            raise Uncapturable(f"a shape depends on values ({name})")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Uncapturable(f"random numbers are drawn ({name})")
        result = func(*args, **(kwargs or {}))
        tensors = [
            leaf
            for leaf in tree_leaves((args, kwargs, result))
            if isinstance(leaf, Tensor) and (leaf.ndim or "copy" in name)
        ]
        if len({tensor.device for tensor in tensors}) > 1:
            raise Uncapturable(f"data goes from one device to another ({name})")
        return result
