"""One training step: forward, backward, SGD. On CUDA it can be captured once as a graph and replayed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from trainers.data.batches import Batches
from trainers.data.data_set import CLASSIFICATION, Task
from trainers.optimization import FusedSGD
from trainers.tasks import ASKED

REPLAYED = ("cuda",)  # kinds of devices on which steps are replayed as graphs; all numbers of one are made alike


class TrainingStep:
    """A step on one batch; it adds the summed loss and the number that are right to `totals`, on the device."""

    def __init__(
        self,
        network: nn.Module,
        optimizer: FusedSGD,
        precision: str,
        totals: Tensor,
        task: Task = CLASSIFICATION,
    ):
        self.network, self.asked = network, ASKED[task]
        self.optimizer = optimizer
        self.precision = precision
        self.totals = totals  # (2,), float32

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        outputs = logits(self.network, images, self.precision)
        loss = self.asked.loss(outputs, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            self.totals[0] += loss * len(labels)
            self.totals[1] += self.asked.right(outputs, labels)


class GraphedStep:
    """A CUDA graph of a TrainingStep on the next full batch: all of it in one call, without a wait for Python.

    The optimizer's rate must be a tensor, and every momentum must exist: take an ordinary step first. Making it changes
    nothing that training goes on from, be it the generators or what layers keep of the batches that they have seen.
    """

    def __init__(self, step: TrainingStep, batches: Batches, size: int):
        self.step, self.batches, self.size = step, batches, size
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(step.totals.device):  # streams and captures are of the current one
            self._capture()

    def __call__(self) -> None:
        self.graph.replay()

    def _capture(self) -> None:
        step, images = self.step, self.batches.any_images()
        self.batches.hold()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), torch.no_grad(), _as_if_never_run(step.network, images.device):
            # A capture may not be the first use of a kernel: run the forward pass beforehand.
            logits(step.network, images, step.precision)
        torch.cuda.current_stream().wait_stream(stream)
        if images.is_cuda:
            torch.cuda.empty_cache()  # what plain steps have left, for the graph cannot use it
        for generator in self.batches.generators:
            self.graph.register_generator_state(generator)
        # Other threads, such as one that pins the memory of the next batch, may go on: the errors of this one count.
        # Memory of its own: what another graph leaves behind is never what this one still reads.
        pool = torch.cuda.graph_pool_handle()
        with torch.cuda.graph(self.graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            step(*self.batches.take(self.size))


@contextmanager
def _as_if_never_run(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Puts back the generators and the network's buffers, which a forward pass in training may change."""
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    for buffer, before in kept:
        buffer.copy_(before)


def logits(network: nn.Module, images: Tensor, precision: str) -> Tensor:
    """The network's outputs (n, classes) in float32; its products in bfloat16 if that is the precision."""
    # Convolutions are faster this way, on CPU by a quarter; weights stay as they are, numbered in one order.
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext():
        outputs: Tensor = network(images)
    return outputs.float()


def set_precision(precision: str) -> None:
    """Let CUDA round the factors of float32 products to TF32, or not, and repeat its sums. Of the whole process."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.conv.fp32_precision = "tf32" if precision == "tf32" else "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = True  # `cudnn.flags` would set it too, and fails beside fp32_precision
