"""Which images a folder in ImageNet's layout has. No image is read, and no torch is imported here.

train/<class>/*.jpg     val/<class>/*.jpg     (the test split: ImageNet publishes no labels for its own)
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from trainers.data.files import DataError
from trainers.data.registry import SAID_BY
from trainers.errors import one_of

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class ImageList:
    """Image files, the label of each, and the names of the classes in the order of the labels."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def list_images(data_dir: Path | None) -> tuple[ImageList, ImageList]:
    """The training and the test images. Raises DataError for what is not in ImageNet's layout."""
    if data_dir is None:
        raise DataError(
            f"data_dir: image_folder needs a folder with train/<class>/*.jpg and val/<class>/*.jpg ({SAID_BY})"
        )
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
