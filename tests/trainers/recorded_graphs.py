"""CUDA graphs of CPU tensors: what stands in for torch.cuda's records a capture's operations and runs them at a replay.

As on CUDA, nothing of a capture has happened when it ends; what Python computed in it stays as it was then; to look at
a number is an error; and a generator that it draws from must be known to the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from trainers.kernels import native
from trainers.methods.edge_popup import weight as edge_popup
from trainers.methods.slot_machine.weight import SlotWeight

WRITES_UNSAID = ("native_batch_norm",)  # operations that write into what their schema says they read


class Stream:
    """What stands in for torch.cuda.Stream."""

    def wait_stream(self, other: Any) -> None:
        """Nothing runs beside anything."""


class Graph:
    """What stands in for torch.cuda.CUDAGraph."""

    replaying = False

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.generators: list[torch.Generator] = [torch.default_generator]
        self.replays = 0

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        Graph.replaying = True
        for function, arguments, named, results in self.operations:
            again = function(*arguments, **named)
            for place, result in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(place, Tensor) and not _same_memory(place, result):
                    place.copy_(result)
        Graph.replaying = False


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


class _Recording(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # what is written into, and what it was
        self.made: list[Tensor] = []  # in the capture; kept alive, so that no address comes twice

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if function is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        if (drawn := named.get("generator")) is not None:  # a Python object of its own, of the same state
            known = [generator.get_state() for generator in self.graph.generators]
            assert any(torch.equal(drawn.get_state(), state) for state in known), "a generator that no graph knows"
        self._keep_what_is_written(function, args, named)
        results = function(*args, **named)
        # Python goes on with results that autograd will know; the recording keeps the same memory without it.
        arguments, own = tree_map(_plain, (args, named)), tree_map(_plain, results)
        self.graph.operations.append((function, *arguments, own))
        given = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
        for leaf in tree_leaves(own):  # all but views
            if isinstance(leaf, Tensor) and not any(_same_memory(leaf, tensor) for tensor in given):
                self.made.append(leaf)
        return results

    def _keep_what_is_written(self, function: Any, args: Any, named: Any) -> None:
        for place, argument in enumerate(function._schema.arguments):
            written = argument.alias_info is not None and argument.alias_info.is_write
            if not written and function.overloadpacket.__name__ not in WRITES_UNSAID:
                continue
            given = named.get(argument.name) if argument.kwarg_only or place >= len(args) else args[place]
            for tensor in tree_leaves(given):
                if isinstance(tensor, Tensor) and not any(_same_memory(tensor, made) for made in self.made):
                    self.before.setdefault(id(tensor), (tensor, tensor.detach().clone()))


def _plain(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


@contextmanager
def _captured(graph: Graph) -> Iterator[None]:
    states = [(generator, generator.get_state()) for generator in graph.generators]
    recording = _Recording(graph)
    with recording:
        yield
    with torch.no_grad():
        for tensor, before in reversed(recording.before.values()):
            tensor.copy_(before)
    for generator, state in states:
        generator.set_state(state)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each graph will have been captured with, and the graph itself. Weights are selected as on a GPU."""
    made: list[dict[str, Any]] = []

    @contextmanager
    def capture(graph: Graph, **how: Any) -> Iterator[None]:
        made.append({**how, "graph": graph})
        with _captured(graph):
            yield

    for name, stand_in in {
        "CUDAGraph": Graph, "Stream": Stream, "graph": capture, "graph_pool_handle": object,
        "current_stream": Stream, "stream": lambda stream: nullcontext(), "device": lambda device: nullcontext(),
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(SlotWeight, "_on_cpu", staticmethod(lambda tensor: False))
    monkeypatch.setattr(edge_popup, "_ranked", lambda numbers, rank: numbers.topk(rank, sorted=False).values.amin())
    return made
