"""Data splits: normalised images on the training device; the test split is never learned from nor selected on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.data.data_set import CLASSIFICATION, REGRESSION, Task, check_read
from trainers.data.digests import complete_folder, published_digest
from trainers.data.files import DataError
from trainers.data.image_folder import StreamedSplit
from trainers.data.image_list import ImageList, folder_digest, list_images
from trainers.data.registry import IMAGE_FOLDER, data_set_named, held_out_fault, image_shape
from trainers.plugins.known import is_of_plugin
from trainers.streams import torch_generator

if TYPE_CHECKING:
    from trainers.data.data_set import Numbers

Indices = npt.NDArray[np.int64]


class DataRecipe(Protocol):
    """What of a recipe says which data it trains on."""

    @property
    def dataset(self) -> str: ...
    @property
    def image_size(self) -> int | None: ...
    @property
    def normalisation(self) -> str: ...
    @property
    def validation_examples(self) -> int: ...
    @property
    def split_seed(self) -> int: ...
    @property
    def plugins(self) -> str | None: ...


@dataclass(frozen=True, eq=False)
class Split:
    """Images resident on a device: (n, c, h, w), normalised, float32; labels: (n,), int64, or (n, outputs), float32."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, in order, the last batch short."""
        for start in range(0, len(self), batch_size):
            yield self.images[start : start + batch_size], self.labels[start : start + batch_size]


@dataclass(frozen=True)
class DataSplits:
    """The three disjoint splits of a data set; `digest` changes whenever its content does."""

    train: Split | StreamedSplit
    validation: Split | StreamedSplit
    test: Split | StreamedSplit
    classes: int
    digest: str
    input_shape: tuple[int, int, int]
    task: Task = CLASSIFICATION


def load_splits(
    recipe: DataRecipe,
    data_dir: Path | None,
    device: torch.device | str = "cpu",
    download: bool = True,
    workers: int | None = None,
) -> DataSplits:
    """The recipe's data, on the device. What is held out for validation depends on `recipe.split_seed` alone.

    `workers` are processes that decode image_folder's images; as many as torch has threads if it is None.

    Raises DataError for files that are missing, corrupt or not to be downloaded, and for too large a validation split.
    """
    if recipe.dataset == IMAGE_FOLDER:
        return _stream(recipe, data_dir, torch.device(device), torch.get_num_threads() if workers is None else workers)
    data_set = data_set_named(recipe.dataset, recipe.plugins)
    folder = complete_folder(recipe.dataset, data_dir, download, recipe.plugins)
    train_rows, validation_rows = split_rows(data_set.train_examples, recipe.validation_examples, recipe.split_seed)
    train, test = data_set.read(folder, data_set.files)
    if is_of_plugin(recipe.dataset):
        check_read(recipe.dataset, data_set, train, test)
    scale, shift = _normalisation(train.pixels, train_rows, data_set.brightest, recipe.normalisation)

    as_asked = _as_asked(data_set.task, train.labels[train_rows])

    def split(pixels: Numbers, labels: Numbers) -> Split:
        images = torch.from_numpy(pixels).to(device).to(torch.float32)
        images.mul_(scale.to(device)).add_(shift.to(device))
        return Split(images, torch.from_numpy(as_asked(labels)).to(device))

    return DataSplits(
        train=split(train.pixels[train_rows], train.labels[train_rows]),
        validation=split(train.pixels[validation_rows], train.labels[validation_rows]),
        test=split(test.pixels.copy(), test.labels),
        classes=data_set.classes,
        digest=published_digest(recipe.dataset, recipe.plugins),
        input_shape=data_set.input_shape,
        task=data_set.task,
    )


def _as_asked(task: Task, trained: Numbers) -> Callable[[Numbers], npt.NDArray[Any]]:
    """Makes labels what a task's loss takes. Those of a regression have mean 0 and variance 1 over these, by output."""
    if task != REGRESSION:
        return lambda labels: labels.astype(np.int64 if task == CLASSIFICATION else np.float32)
    mean, deviation = trained.mean(0, dtype=np.float64), trained.std(0, dtype=np.float64)
    deviation[deviation == 0] = 1.0
    return lambda labels: ((labels - mean) / deviation).astype(np.float32)


def split_rows(examples: int, validation_examples: int, split_seed: int) -> tuple[Indices, Indices]:
    """Which training images train and which are held out for validation; both ascending. Raises DataError."""
    if validation_examples >= examples:
        raise DataError(held_out_fault(validation_examples, examples))
    order = torch.randperm(examples, generator=torch_generator("cpu", split_seed, "validation split")).numpy()
    return np.sort(order[validation_examples:]), np.sort(order[:validation_examples])


def _stream(recipe: DataRecipe, data_dir: Path | None, device: torch.device, workers: int) -> DataSplits:
    train, test = list_images(data_dir)
    train_rows, validation_rows = split_rows(len(train.paths), recipe.validation_examples, recipe.split_seed)
    assert recipe.image_size is not None  # a rule of recipes

    def split(images: ImageList, rows: Indices) -> StreamedSplit:
        return StreamedSplit(
            paths=tuple(images.paths[row] for row in rows),
            labels=torch.tensor(images.labels, dtype=torch.int64)[torch.from_numpy(rows)],
            image_size=recipe.image_size or 0,
            normalisation=recipe.normalisation,
            device=device,
            workers=workers,
        )

    return DataSplits(
        train=split(train, train_rows),
        validation=split(train, validation_rows),
        test=split(test, np.arange(len(test.paths))),
        classes=len(train.classes),
        digest=folder_digest(data_dir),
        input_shape=image_shape(IMAGE_FOLDER, recipe.image_size),
    )


def _normalisation(pixels: Numbers, rows: Indices, brightest: int, kind: str) -> tuple[Tensor, Tensor]:
    """Scale and shift per channel, (c, 1, 1): to 0..1 ("unit"), -1..1 ("symmetric"), or to mean 0 and variance 1 over
    these rows."""
    channels = pixels.shape[1]
    if kind == "symmetric":
        return torch.full((channels, 1, 1), 2 / brightest), torch.full((channels, 1, 1), -1.0)
    if kind == "unit":
        return torch.full((channels, 1, 1), 1 / brightest), torch.zeros(channels, 1, 1)
    if pixels.dtype != np.uint8:
        values = pixels[rows].astype(np.float64)
        return _to_unit_variance(values.mean(axis=(0, 2, 3)), values.std(axis=(0, 2, 3)))
    # Sums of integers are exact, so the same on every machine.
    total, squares = np.zeros(channels, np.uint64), np.zeros(channels, np.uint64)
    for block in np.array_split(rows, max(1, len(rows) // 1000)):
        values = pixels[block].astype(np.uint32)
        total += values.sum(axis=(0, 2, 3), dtype=np.uint64)
        squares += np.square(values).sum(axis=(0, 2, 3), dtype=np.uint64)
    count = len(rows) * pixels.shape[2] * pixels.shape[3]
    mean = total / count
    return _to_unit_variance(mean, np.sqrt(squares / count - mean**2))


def _to_unit_variance(mean: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    scale = 1 / np.where(deviation > 0, deviation, 1)
    return torch.from_numpy(scale).float().view(-1, 1, 1), torch.from_numpy(-mean * scale).float().view(-1, 1, 1)
