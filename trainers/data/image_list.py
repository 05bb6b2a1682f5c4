"""Which images a folder in ImageNet's layout has, or in Tiny ImageNet's. No image is read, and no torch imported here.

train/<class>/*.jpg     val/<class>/*.jpg     (the test split: ImageNet publishes no labels for its own)

Images may lie deeper below their class (train/<class>/images/*.JPEG). Of Tiny ImageNet val_annotations.txt says the
classes of val/images. Hidden files and folders are no images, nor what systems leave beside them.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainers.data.files import DamagedData, DataError
from trainers.data.registry import SAID_BY
from trainers.errors import one_of

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
LEFT_BEHIND = ("__MACOSX", "Thumbs.db", "desktop.ini")  # by systems, beside what begins with a dot


@dataclass(frozen=True)
class ImageList:
    """Image files, the label of each, and the names of the classes in the order of the labels."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    others: Mapping[str, int] = field(default_factory=dict)  # by the ends of their names: files that are no images here


def list_images(data_dir: Path | None) -> tuple[ImageList, ImageList]:
    """The training and the test images.

    Raises DataError for what is in neither layout, and DamagedData, naming it, for an image that is no file.
    """
    if data_dir is None:
        raise DataError(
            f"data_dir: image_folder needs a folder with train/<class>/*.jpg and val/<class>/*.jpg ({SAID_BY})"
        )
    classes = _classes(data_dir / "train")
    train = _list(data_dir / "train", classes)
    if (table := _annotations(data_dir)) is not None:
        return train, _annotated(table, classes)
    unknown = [name for name in _classes(data_dir / "val") if name not in classes]
    if unknown:
        raise DataError(
            f"data_dir: {one_of(str(data_dir / 'val' / unknown[0]), unknown[0], classes)}, the training classes"
        )
    return train, _list(data_dir / "val", classes)


def folder_digest(data_dir: Path | None) -> str:
    """SHA-256 (hex) of the names and sizes of all images: no image is read. Raises DataError."""
    digest = hashlib.sha256()
    for images in list_images(data_dir):
        for path in images.paths:
            name = Path(path).relative_to(str(data_dir)).as_posix()
            digest.update(f"{name}\0{os.path.getsize(path)}\n".encode())
    if data_dir and (table := _annotations(data_dir)):  # which says the labels, where the names do not
        digest.update(table.read_bytes())
    return digest.hexdigest()


def left_out(lists: tuple[ImageList, ImageList]) -> str:
    """What of a folder is no image that is read here: '3 files are left out: .gif (2), .txt (1)'; or nothing."""
    counts = sum((Counter(images.others) for images in lists), Counter())
    if not counts:
        return ""
    kinds = ", ".join(f"{suffix or 'without a suffix'} ({count:,})" for suffix, count in counts.most_common(5))
    total = sum(counts.values())
    return f"{total:,} file{'' if total == 1 else 's'} left out, read are {', '.join(SUFFIXES)}: {kinds}"


def _classes(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise DataError(f"data_dir: there is no folder {folder}; image_folder needs {folder.name}/<class>/*.jpg")
    classes = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not _is_litter(path.name)))
    if not classes:
        raise DataError(f"data_dir: {folder} has no folder per class; image_folder needs {folder.name}/<class>/*.jpg")
    return classes


def _list(folder: Path, classes: tuple[str, ...]) -> ImageList:
    paths: list[str] = []
    labels: list[int] = []
    others: Counter[str] = Counter()
    for label, name in enumerate(classes):
        # A class may be absent from the test images.
        found = sorted(_images_below(folder / name, others))
        if not found and folder.name == "train":
            raise DataError(f"data_dir: {folder / name} has no image ({', '.join(SUFFIXES)})")
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise DataError(f"data_dir: {folder} has no image ({', '.join(SUFFIXES)})")
    return ImageList(tuple(paths), tuple(labels), classes, others)


def _images_below(folder: Path, others: Counter[str]) -> Iterator[str]:
    """The images in a folder and those in it; other files are counted in `others`, by the ends of their names."""
    if not folder.is_dir():
        return
    try:
        entries = [*os.scandir(folder)]
    except OSError as error:
        raise DataError(f"data_dir: {folder} cannot be read ({error.strerror}); make it a readable folder") from None
    for entry in entries:
        suffix = os.path.splitext(entry.name)[1].lower()
        if _is_litter(entry.name):
            continue
        if suffix in SUFFIXES:
            if not entry.is_file():
                kind = "a folder" if entry.is_dir() else "a broken link" if entry.is_symlink() else "no file"
                raise DamagedData(f"data_dir: {entry.path} is {kind}, and named as an image; remove or rename it")
            yield entry.path
        elif entry.is_dir():
            yield from _images_below(Path(entry.path), others)
        else:
            others[suffix] += 1


def _annotations(data_dir: Path) -> Path | None:
    """Where Tiny ImageNet says the classes of its test images; None in another layout."""
    table = data_dir / "val" / "val_annotations.txt"
    tiny = table.is_file() and (data_dir / "val" / "images").is_dir() and not (data_dir / "train" / "images").is_dir()
    return table if tiny else None


def _annotated(table: Path, classes: tuple[str, ...]) -> ImageList:
    """Tiny ImageNet's test images: a line for each, its name and its class, then the box, which is not looked at."""
    known = {name: label for label, name in enumerate(classes)}
    others: Counter[str] = Counter()
    there = {os.path.basename(path): path for path in _images_below(table.parent / "images", others)}
    paths: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), 1):
        name, tab, rest = line.partition("\t")
        label = rest.split("\t")[0].strip()
        if not tab or name not in there:
            raise DamagedData(f"data_dir: {table}, line {number}: {name!r} is no image in {table.parent / 'images'}")
        if label not in known:
            raise DataError(f"data_dir: {table}, line {number}: {one_of('class', label, classes)}")
        paths.append(there.pop(name))
        labels.append(known[label])
    if there:
        raise DamagedData(f"data_dir: {table} says nothing of {len(there):,} images, such as {next(iter(there))}")
    return ImageList(tuple(paths), tuple(labels), classes, others)


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name in LEFT_BEHIND
