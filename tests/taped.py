"""A stand-in for CUDA graphs that works on a CPU: a capture is a tape of what was computed, and to replay
it computes the same again, on the same memory.

So whatever a graph couldn't have is missed here too: a number that the host computed stays what it was,
a branch that wasn't taken is never taken, what was kept from another call isn't made anew.
"""

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from eostui.curvature import capture


class Tape(TorchDispatchMode):
    """Takes down every operation with its arguments, and where its results lie.

    A capture computes nothing: `undo` puts back what was written into memory that was there before, and
    spoils the rest.
    """

    def __init__(self):
        super().__init__()
        self.entries = []
        self._made = {}
        self._before = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert torch.Tag.data_dependent_output not in func.tags, f"the host reads: {func}"
        assert torch.Tag.dynamic_output_shape not in func.tags, f"the host waits: {func}"
        for tensor in written(func, args, kwargs):
            if tensor.untyped_storage().data_ptr() not in self._made:
                self._before.append((tensor, tensor.clone()))
        results = func(*args, **kwargs)
        returned = func._schema.returns
        listed = results if isinstance(results, tuple | list) else (results,)
        if len(returned) == 1 and isinstance(results, list):
            returned = returned * len(results)
        places = [
            # a view follows what it is of, and what is written in place is written again
            result if alias.alias_info is None and isinstance(result, torch.Tensor) else None
            for alias, result in zip(returned, listed, strict=False)
        ]
        for place in places:
            if place is not None:  # held, so that its address stays its own
                self._made[place.untyped_storage().data_ptr()] = place
        if any(place is not None for place in places) or func._schema.is_mutable:
            self.entries.append((func, args, kwargs, places))
        return results

    def undo(self):
        with torch.no_grad():
            for place in self._made.values():
                if place.is_floating_point():
                    with unseen([place]):
                        place.detach().fill_(float("nan"))
            for tensor, value in reversed(self._before):
                with unseen([tensor]):
                    tensor.detach().copy_(value)


def unseen(tensors):
    """A context in which autograd doesn't see that tensors are written into."""
    return torch.autograd._unsafe_preserve_version_counter(tuple(tensors))


def written(func, args, kwargs):
    """Return the tensors that an operation writes into."""
    found = []
    for number, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[number] if number < len(args) else kwargs.get(argument.name)
            found += value if isinstance(value, list | tuple) else [value]
    return [tensor for tensor in found if isinstance(tensor, torch.Tensor)]


class TapedGraph:
    """What a tape took down."""

    def __init__(self, entries):
        self.entries, self.replays = entries, 0

    def replay(self):
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, places in self.entries:
                # autograd doesn't see that a graph writes
                with unseen(written(func, args, kwargs)):
                    again = func(*args, **kwargs)
                listed = again if isinstance(again, tuple | list) else (again,)
                for place, value in zip(places, listed, strict=False):
                    if place is not None:
                        with unseen([place]):
                            place.detach().copy_(value)


class TapeCapturer:
    """Captures on a CPU; counts what it did."""

    def __init__(self, device):
        assert device.type == "cpu"
        self.graphs, self.aside_calls, self.releases, self.needed = [], 0, 0, 0
        self.besides, self.joins = 0, 0
        CAPTURERS.append(self)

    def aside(self, function):
        self.aside_calls += 1
        return function()

    def capture(self, function):
        tape = Tape()
        with tape:
            outputs = function()
        tape.undo()
        graph = TapedGraph(tape.entries)
        self.graphs.append(graph)
        return graph, outputs

    def release(self, drop):
        drop()
        self.releases += 1

    @contextlib.contextmanager
    def beside(self):
        self.besides += 1
        yield

    def join(self):
        self.joins += 1


#: Those made since the last `tape`.
CAPTURERS = []


def tape(monkeypatch, make=TapeCapturer):
    """Have programs on a CPU captured; return the list of the capturers that are made."""
    CAPTURERS.clear()
    monkeypatch.setitem(capture.CAPTURERS, "cpu", make)
    return CAPTURERS


def graphs(capturers):
    """Return all that these captured."""
    return [graph for capturer in capturers for graph in capturer.graphs]
