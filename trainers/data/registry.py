"""The data sets by name. To add one: its file and its line in DATA_SETS (docs/adding.md). No torch is imported here."""

from __future__ import annotations

from pathlib import Path

from trainers.data.cifar import CIFAR10
from trainers.data.data_set import DataFacts, DataSet, plugged_data_set
from trainers.data.digits import DIGITS
from trainers.data.files import DataError
from trainers.data.mnist import FASHION_MNIST, MNIST
from trainers.errors import one_of
from trainers.plugins.known import is_of_plugin

# Of data sets that the paper does not use, the share of the nearest one is held out.
DATA_SETS: dict[str, DataSet] = {
    "digits": DIGITS,
    "mnist": MNIST,
    "fashion_mnist": FASHION_MNIST,
    "cifar10": CIFAR10,
}

IMAGE_FOLDER = (
    "image_folder"  # too large for memory, and only looking at it tells its sizes (trainers.data.image_folder)
)
FOLDER_FACTS = DataFacts(title="image folder", validation_examples={"icml": 1, "authors_code": 1}, photographs=True)
SAID_BY = "--data-dir DIR, or the variable SWEEPER_DATA_DIR, names it"
DATA_NAMES = (*DATA_SETS, IMAGE_FOLDER)


def data_set_named(name: str, plugins: object = None) -> DataSet:
    """The data set of this name; `plugins`: those of its recipe. Raises DataError for a name that is none.

    That of a plug-in whose code was not imported says what is told of it, and cannot be read.
    """
    if is_of_plugin(name):
        return plugged_data_set(name, plugins)
    if name not in DATA_SETS:
        raise DataError(one_of("dataset", name, DATA_NAMES))
    return DATA_SETS[name]


def data_facts(name: str, plugins: object = None) -> DataFacts:
    """What presets and labels know of the data set of this name, which must be known."""
    return FOLDER_FACTS if name == IMAGE_FOLDER else data_set_named(name, plugins)


def image_shape(name: str, image_size: int | None, plugins: object = None) -> tuple[int, int, int]:
    """Channels, height and width of its images; those of a folder have the size that the recipe says."""
    return data_set_named(name, plugins).input_shape if image_size is None else (3, image_size, image_size)


def held_out_fault(held_out: int, size: int) -> str:
    """The sentence for a validation split that leaves none of the training images to train on."""
    return (
        f"validation_examples: must be below {size}, the number of training images, so that some train, not {held_out}"
    )


def data_folder(name: str, data_dir: Path | None, plugins: object = None) -> Path:
    """The folder with the data set's files. Raises DataError where it must be given and is not."""
    data_set = data_set_named(name, plugins)
    if data_set.installed is not None:
        return data_set.installed()
    if not data_set.files:
        return data_dir or Path()
    if data_dir is None:
        raise DataError(
            f"data_dir: {name} needs a folder to be read from or downloaded to, and none is given ({SAID_BY})"
        )
    return data_dir
