"""Whether a data set is there and is the published one, and the digest of what it holds. No torch is imported here."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from trainers.data.files import DataError, fetch, missing, missing_files, verify
from trainers.data.image_list import folder_digest, list_images
from trainers.data.registry import IMAGE_FOLDER, data_folder, data_set_named, held_out_fault
from trainers.hashing import content_hash


def check_data(dataset: str, data_dir: Path | None, download: bool = True, plugins: str | None = None) -> None:
    """Makes sure that the data are there and are the published ones, downloading what is missing if that is allowed.

    `plugins`: those of its recipe. Raises DataError otherwise. Reads no image.
    """
    if dataset == IMAGE_FOLDER:
        list_images(data_dir)
        return
    verify(complete_folder(dataset, data_dir, download, plugins), data_set_named(dataset, plugins).files)


def check_held_out(dataset: str, held_out: int, data_dir: Path | None) -> None:
    """Raises DataError where so many validation examples leave no training image of a folder; recipes know the rest."""
    if dataset == IMAGE_FOLDER and held_out >= (size := len(list_images(data_dir)[0].paths)):
        raise DataError(held_out_fault(held_out, size))


def fetch_data(dataset: str, data_dir: Path, mirror: str | None = None) -> bool:
    """Downloads what the folder lacks of a data set, and verifies all of it. Returns whether it lacked anything.

    `mirror` is an address below which <data set>/<file as published> is. Raises DataError.
    """
    data_set = data_set_named(dataset)
    lacking = missing_files(data_dir, data_set.files)
    if lacking:
        if data_set.download is None:
            raise missing(dataset, data_dir, lacking)
        fetch(dataset, data_dir, data_set.files, partial(data_set.download, mirror=mirror))
    verify(data_dir, data_set.files)
    return bool(lacking)


def data_digest(dataset: str, data_dir: Path | None, plugins: str | None = None) -> str:
    """A hash (hex) of the data set's content, verified to be what is in the folder. Raises DataError if it is not.

    Of image_folder the names and sizes of the files are hashed.
    """
    if dataset == IMAGE_FOLDER:
        return folder_digest(data_dir)
    check_data(dataset, data_dir, download=False, plugins=plugins)
    return published_digest(dataset, plugins)


def published_digest(name: str, plugins: str | None = None) -> str:
    """The digest that `data_digest` gives for the published files, without any file at hand. Not for image_folder."""
    return content_hash([name, [file.md5 for file in data_set_named(name, plugins).files]])


def complete_folder(name: str, data_dir: Path | None, download: bool, plugins: str | None = None) -> Path:
    """The folder in which every file of the data set is. Raises DataError if some are not, and cannot be had."""
    data_set = data_set_named(name, plugins)
    folder = data_folder(name, data_dir, plugins)
    absent = missing_files(folder, data_set.files)
    if absent and download and data_set.download:
        fetch(name, folder, data_set.files, data_set.download)
    elif absent:
        raise missing(name, folder, absent)
    return folder
