"""A folder of images in ImageNet's layout, for data that does not fit into memory: workers decode while others train.

Which images those are: `trainers.data.image_list`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainers.data.files import DataError
from trainers.data.image_check import open_image

# Of ImageNet's training images, as everybody uses them: to compute them for a folder would take an epoch.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESIZED = 256 / 224  # the shorter side before the central square is cut, in units of the square's


@dataclass(frozen=True, eq=False)
class StreamedSplit:
    """Images that are read from their files in every epoch; the sibling of `trainers.data.splits.Split`."""

    paths: tuple[str, ...]
    labels: Tensor  # (n,), int64, on the CPU
    image_size: int
    normalisation: str
    device: torch.device
    workers: int

    def __len__(self) -> int:
        return len(self.paths)

    def batches(
        self, batch_size: int, generator: torch.Generator | None = None, augmentation: str = "none"
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, the last batch short; in a random order and augmented if a (CPU) generator is given.

        The same for any number of workers. Raises DamagedData, naming the file, for an image that cannot be decoded,
        and DataError for one that cannot be read.
        """
        count = len(self)
        if generator is None:
            order, seeds = torch.arange(count), torch.zeros(count, dtype=torch.int64)
        else:
            order = torch.randperm(count, generator=generator)
            seeds = torch.randint(2**62, (count,), generator=generator)
        examples = list(zip(order.tolist(), seeds.tolist(), strict=True))
        loader: DataLoader[Any] = DataLoader(
            _Images(self.paths, _transform(self.image_size, augmentation if generator else "none")),
            batch_sampler=[examples[start : start + batch_size] for start in range(0, count, batch_size)],
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            collate_fn=_collate,
            generator=torch.Generator(),  # or it would draw from torch's global one
        )
        scale, shift = (part.to(self.device) for part in _normalisation(self.normalisation))
        done = 0
        for pixels in loader:
            if isinstance(pixels, DataError):
                raise pixels
            labels = self.labels[order[done : done + len(pixels)]]
            done += len(pixels)
            # Bytes cross over to the device, a quarter of the size of floats.
            images = pixels.to(self.device, non_blocking=True).to(torch.float32).mul_(scale).add_(shift)
            yield images, labels.to(self.device, non_blocking=True)


class _Images(Dataset[Tensor | DataError]):
    """Decoded and cropped images as bytes (3, size, size); for one that cannot be decoded the error that says so."""

    def __init__(self, paths: tuple[str, ...], transform: Any) -> None:
        self.paths = paths
        self.transform = transform

    def __getitem__(self, example: tuple[int, int]) -> Tensor | DataError:
        row, seed = example
        try:
            image = open_image(self.paths[row])
        except DataError as error:
            return error  # not raised: across processes an exception arrives with its traceback for a text
        # torchvision's transforms know the global generator only. Seeded per image, so that workers change nothing.
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(seed)
        try:
            cropped: Tensor = self.transform(image)
        finally:
            torch.set_rng_state(state)
        return cropped


def _collate(images: list[Tensor | DataError]) -> Tensor | DataError:
    decoded = []
    for image in images:
        if isinstance(image, DataError):
            return image
        decoded.append(image)
    return torch.stack(decoded)


def _transform(size: int, augmentation: str) -> Any:
    """ImageNet's: the central square, mirrored at random ("flip"), or a random part of the image too ("crop_flip")."""
    from torchvision.transforms import v2

    central = [v2.Resize(round(size * RESIZED)), v2.CenterCrop(size)]
    steps = {
        "none": central,
        "flip": [*central, v2.RandomHorizontalFlip()],
        "crop_flip": [v2.RandomResizedCrop(size), v2.RandomHorizontalFlip()],
    }
    return v2.Compose([*steps[augmentation], v2.PILToTensor()])


def _normalisation(kind: str) -> tuple[Tensor, Tensor]:
    """Scale and shift (3, 1, 1) that take bytes to 0..1 ("unit"), -1..1 ("symmetric"), or to ImageNet's mean 0 and
    variance 1."""
    if kind == "symmetric":
        return torch.full((3, 1, 1), 2 / 255), torch.full((3, 1, 1), -1.0)
    if kind == "unit":
        return torch.full((3, 1, 1), 1 / 255), torch.zeros(3, 1, 1)
    mean, deviation = (torch.tensor(part, dtype=torch.float64).view(3, 1, 1) for part in (MEAN, DEVIATION))
    return (1 / (255 * deviation)).float(), (-mean / deviation).float()
