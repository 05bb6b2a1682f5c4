"""Whether a data set is there and is the published one, and the digest of what it holds. No torch is imported here."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from trainers.data.files import DataError, fetch, missing, missing_files, verify
from trainers.data.image_list import folder_digest, list_images
from trainers.data.registry import DATA_NAMES, DATA_SETS, IMAGE_FOLDER, data_folder, held_out_fault
from trainers.errors import one_of
from trainers.hashing import content_hash


def check_data(dataset: str, data_dir: Path | None, download: bool = True) -> None:
    """Makes sure that the data are there and are the published ones, downloading what is missing if that is allowed.

    Raises DataError otherwise. Reads no image.
    """
    if dataset == IMAGE_FOLDER:
        list_images(data_dir)
        return
    name = known_data_set(dataset)
    verify(complete_folder(name, data_dir, download), DATA_SETS[name].files)


def check_held_out(dataset: str, held_out: int, data_dir: Path | None) -> None:
    """Raises DataError where so many validation examples leave no training image of a folder; recipes know the rest."""
    if dataset == IMAGE_FOLDER and held_out >= (size := len(list_images(data_dir)[0].paths)):
        raise DataError(held_out_fault(held_out, size))


def fetch_data(dataset: str, data_dir: Path, mirror: str | None = None) -> bool:
    """Downloads what the folder lacks of a data set, and verifies all of it. Returns whether it lacked anything.

    `mirror` is an address below which <data set>/<file as published> is. Raises DataError.
    """
    data_set = DATA_SETS[known_data_set(dataset)]
    lacking = missing_files(data_dir, data_set.files)
    if lacking:
        if data_set.download is None:
            raise missing(dataset, data_dir, lacking)
        fetch(dataset, data_dir, data_set.files, partial(data_set.download, mirror=mirror))
    verify(data_dir, data_set.files)
    return bool(lacking)


def data_digest(dataset: str, data_dir: Path | None) -> str:
    """A hash (hex) of the data set's content, verified to be what is in the folder. Raises DataError if it is not.

    Of image_folder the names and sizes of the files are hashed.
    """
    if dataset == IMAGE_FOLDER:
        return folder_digest(data_dir)
    check_data(dataset, data_dir, download=False)
    return published_digest(dataset)


def published_digest(name: str) -> str:
    """The digest that `data_digest` gives for the published files, without any file at hand. Not for image_folder."""
    return content_hash([name, [file.md5 for file in DATA_SETS[name].files]])


def known_data_set(dataset: str) -> str:
    """The name itself. Raises DataError, with the nearest ones, where no data set has it."""
    if dataset not in DATA_SETS:
        raise DataError(one_of("dataset", dataset, DATA_NAMES))
    return dataset


def complete_folder(name: str, data_dir: Path | None, download: bool) -> Path:
    """The folder in which every file of the data set is. Raises DataError if some are not, and cannot be had."""
    data_set = DATA_SETS[name]
    folder = data_folder(name, data_dir)
    absent = missing_files(folder, data_set.files)
    if absent and download and data_set.download:
        fetch(name, folder, data_set.files, data_set.download)
    elif absent:
        raise missing(name, folder, absent)
    return folder
