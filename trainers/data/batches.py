"""The batches of training epochs. The next one is taken by the same operations on the device every time.

So a CUDA graph can take it: which images are next, a counter on the device says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from trainers.data.augmentation import augment
from trainers.data.image_folder import StreamedSplit
from trainers.data.splits import Split

Batch = tuple[Tensor, Tensor]  # images, labels


class Batches(Protocol):
    """Every training image once an epoch, in batches of one size; the last may be short."""

    @property
    def split(self) -> Split | StreamedSplit:
        """Where they come from."""

    @property
    def generators(self) -> tuple[torch.Generator, ...]:
        """Those on the device that `take` draws from."""

    def epoch(self, generator: torch.Generator) -> Iterator[int]:
        """Goes through the sizes of an epoch's batches, in an order drawn from a CPU generator. Take each of them."""

    def take(self, size: int) -> Batch:
        """The batch that `epoch` stands at. With `hold`, what it does on the device is the same for all full ones."""

    def any_images(self) -> Tensor:
        """Images of a full batch, whichever; takes none."""

    def hold(self) -> None:
        """Keep to the same memory from now on."""


class ResidentBatches:
    """Of a split that is on the device; augmented there."""

    def __init__(self, split: Split, batch_size: int, augmentation: str):
        device = split.images.device
        self.split, self._batch_size, self._augmentation = split, batch_size, augmentation
        self._chance = torch.Generator(device)
        self._order = torch.empty(len(split), dtype=torch.int64, device=device)
        self._taken = torch.zeros((), dtype=torch.int64, device=device)  # images, in this epoch
        self._within = torch.arange(batch_size, device=device)

    @property
    def generators(self) -> tuple[torch.Generator, ...]:
        return () if self._augmentation == "none" else (self._chance,)

    def epoch(self, generator: torch.Generator) -> Iterator[int]:
        examples = len(self.split)
        self._order.copy_(torch.randperm(examples, generator=generator))
        self._chance.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        self._taken.zero_()
        for start in range(0, examples, self._batch_size):
            yield min(self._batch_size, examples - start)

    def take(self, size: int) -> Batch:
        rows = self._order[self._taken + self._within[:size]]
        self._taken += size
        return augment(self.split.images[rows], self._augmentation, self._chance), self.split.labels[rows]

    def any_images(self) -> Tensor:
        return self.split.images[: self._batch_size]

    def hold(self) -> None:
        """All of it stays where it is anyway."""


class StreamedBatches:
    """Of a split whose images arrive from the host."""

    def __init__(self, split: StreamedSplit, batch_size: int, augmentation: str):
        self.split, self._batch_size, self._augmentation = split, batch_size, augmentation
        self._arrived: Batch
        self._held: Batch | None = None

    generators: tuple[torch.Generator, ...] = ()

    def epoch(self, generator: torch.Generator) -> Iterator[int]:
        for batch in self.split.batches(self._batch_size, generator, self._augmentation):
            self._arrived = batch
            size = len(batch[1])
            if self._held is not None and size == self._batch_size:
                for place, arrived in zip(self._held, batch, strict=True):
                    place.copy_(arrived)
                self._arrived = self._held
            yield size

    def take(self, size: int) -> Batch:
        return self._arrived

    def any_images(self) -> Tensor:
        return self._arrived[0]

    def hold(self) -> None:
        images, labels = self._arrived
        self._arrived = self._held = images.clone(), labels.clone()


def training_batches(split: Split | StreamedSplit, batch_size: int, augmentation: str) -> Batches:
    """The batches of a training split."""
    if isinstance(split, StreamedSplit):
        return StreamedBatches(split, batch_size, augmentation)
    return ResidentBatches(split, batch_size, augmentation)
