"""A folder of images in ImageNet's layout, for data that does not fit into memory: workers decode while others train.

train/<class>/*.jpg     val/<class>/*.jpg     (the test split: ImageNet publishes no labels for its own)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainers.data.files import DataError
from trainers.errors import one_of

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Of ImageNet's training images, as everybody uses them: to compute them for a folder would take an epoch.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESIZED = 256 / 224  # the shorter side before the central square is cut, in units of the square's


@dataclass(frozen=True)
class ImageList:
    """Image files, the label of each, and the names of the classes in the order of the labels."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


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

        The same for any number of workers. Raises DataError, naming the file, for an image that cannot be decoded.
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
            if isinstance(pixels, str):
                raise DataError(pixels)
            labels = self.labels[order[done : done + len(pixels)]]
            done += len(pixels)
            # Bytes cross over to the device, a quarter of the size of floats.
            images = pixels.to(self.device, non_blocking=True).to(torch.float32).mul_(scale).add_(shift)
            yield images, labels.to(self.device, non_blocking=True)


def list_images(data_dir: Path | None) -> tuple[ImageList, ImageList]:
    """The training and the test images. Raises DataError for what is not in ImageNet's layout."""
    if data_dir is None:
        raise DataError("data_dir: image_folder needs a folder with train/<class>/*.jpg and val/<class>/*.jpg")
    classes = _classes(data_dir / "train")
    unknown = [name for name in _classes(data_dir / "val") if name not in classes]
    if unknown:
        raise DataError(
            f"data_dir: {one_of(str(data_dir / 'val' / unknown[0]), unknown[0], classes)}, the training classes"
        )
    return _list(data_dir / "train", classes), _list(data_dir / "val", classes)


def folder_digest(data_dir: Path | None) -> str:
    """SHA-256 (hex) of the names and sizes of all images: no image is read. Raises DataError."""
    digest = hashlib.sha256()
    for images in list_images(data_dir):
        for path in images.paths:
            name = Path(path).relative_to(str(data_dir)).as_posix()
            digest.update(f"{name}\0{os.path.getsize(path)}\n".encode())
    return digest.hexdigest()


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"data_dir: there is no folder {folder}; image_folder needs {folder.name}/<class>/*.jpg")
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    if not classes:
        raise DataError(f"data_dir: {folder} has no folder per class; image_folder needs {folder.name}/<class>/*.jpg")
    return classes


def _list(folder: Path, classes: tuple[str, ...]) -> ImageList:
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        # A class may be absent from the test images.
        found = sorted(path for path in folder.joinpath(name).glob("*") if path.suffix.lower() in SUFFIXES)
        if not found and folder.name == "train":
            raise DataError(f"data_dir: {folder / name} has no image ({', '.join(SUFFIXES)})")
        paths += map(str, found)
        labels += [label] * len(found)
    if not paths:
        raise DataError(f"data_dir: {folder} has no image ({', '.join(SUFFIXES)})")
    return ImageList(tuple(paths), tuple(labels), classes)


class _Images(Dataset[Tensor | str]):
    """Decoded and cropped images as bytes (3, size, size); for one that cannot be decoded a text that says so."""

    def __init__(self, paths: tuple[str, ...], transform: Any) -> None:
        self.paths = paths
        self.transform = transform

    def __getitem__(self, example: tuple[int, int]) -> Tensor | str:
        from torchvision.datasets.folder import pil_loader

        row, seed = example
        try:
            image = pil_loader(self.paths[row])
        except (OSError, SyntaxError, ValueError) as error:  # all that Pillow raises for files it cannot make out
            # Returned, not raised: across processes an exception arrives with its traceback for a text.
            reason = " ".join(str(error).split())
            return f"data_dir: {self.paths[row]} cannot be decoded ({reason}); replace it, or remove it from the folder"
        # torchvision's transforms know the global generator only. Seeded per image, so that workers change nothing.
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(seed)
        try:
            cropped: Tensor = self.transform(image)
        finally:
            torch.set_rng_state(state)
        return cropped


def _collate(images: list[Tensor | str]) -> Tensor | str:
    decoded = []
    for image in images:
        if isinstance(image, str):
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
