"""The data sets: what they are, without any file at hand, and how the files are read of those that fit into memory.

To add one: a function that reads it into arrays, and its line in DATA_SETS (docs/adding.md). No torch is imported here
before a file is read.
"""

from __future__ import annotations

import gzip
import importlib.util
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trainers.data.files import DataError, DataFile, read_verified

Bytes = npt.NDArray[np.uint8]
DIGITS_TEST_EXAMPLES = 359  # 20 % of 1,797


class Download(Protocol):
    """Fills an empty folder with a data set's files; `mirror` is an address to take them from instead of the usual."""

    def __call__(self, folder: Path, mirror: str | None = None) -> None: ...


@dataclass(frozen=True)
class Images:
    """Images (n, channels, height, width) as bytes, and their labels (n,)."""

    pixels: Bytes
    labels: Bytes


@dataclass(frozen=True)
class DataFacts:
    """What presets and labels know of a data set."""

    title: str = field(kw_only=True)  # in labels and reports
    validation_examples: Mapping[str, int] = field(kw_only=True)  # held out of the training images, by preset
    photographs: bool = field(default=False, kw_only=True)  # which presets mirror and shift: they stay what they are


@dataclass(frozen=True)
class DataSet(DataFacts):
    """A data set that fits into memory: its published facts, its files, and how to read and to download them."""

    input_shape: tuple[int, int, int]
    classes: int
    train_examples: int  # before the validation split is held out of them
    test_examples: int
    brightest: int  # the value of a white pixel
    files: tuple[DataFile, ...]
    read: Callable[[Path, tuple[DataFile, ...]], tuple[Images, Images]]  # training images, test images
    download: Download | None = None  # None: it is installed with a package


def read_digits(data_dir: Path, files: tuple[DataFile, ...]) -> tuple[Images, Images]:
    """scikit-learn's handwritten digits; a fixed fifth of them is the test split."""
    import torch

    from trainers.streams import torch_generator

    _, content = read_verified(data_dir, files[0])
    rows = np.loadtxt(gzip.decompress(content).decode().splitlines(), delimiter=",", dtype=np.uint8)
    # Read from its file because importing scikit-learn takes longer than everything else here.
    images, labels = rows[:, :-1].reshape(-1, 1, 8, 8), rows[:, -1]
    order = torch.randperm(len(rows), generator=torch_generator("cpu", 0, "digits", "test split")).numpy()
    test, train = order[:DIGITS_TEST_EXAMPLES], order[DIGITS_TEST_EXAMPLES:]
    return Images(images[train], labels[train]), Images(images[test], labels[test])


def read_idx(data_dir: Path, files: tuple[DataFile, ...]) -> tuple[Images, Images]:
    """MNIST's format. The files: training images, training labels, test images, test labels."""
    arrays = []
    for file in files:
        path, content = read_verified(data_dir, file)
        arrays.append(parse_idx(gzip.decompress(content) if path.suffix == ".gz" else content))
    train_images, train_labels, test_images, test_labels = arrays
    return Images(train_images[:, None], train_labels), Images(test_images[:, None], test_labels)


def parse_idx(content: bytes) -> Bytes:
    """The bytes in an IDX file: two zeros, type 8, the number of axes, each axis as big-endian int32, then the data."""
    axes = content[3]
    shape = np.frombuffer(content, ">i4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_cifar(data_dir: Path, files: tuple[DataFile, ...]) -> tuple[Images, Images]:
    """CIFAR-10's five training batches and its test batch. Unpickled, which is safe: their MD5 is known by then."""
    batches = [pickle.loads(read_verified(data_dir, file)[1], encoding="bytes") for file in files]
    pixels = [np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32) for batch in batches]
    labels = [np.asarray(batch[b"labels"], np.uint8) for batch in batches]
    train = Images(np.concatenate(pixels[:-1]), np.concatenate(labels[:-1]))
    return train, Images(pixels[-1], labels[-1])


def download_mnist(folder: Path, mirror: str | None = None) -> None:
    """MNIST's files by torchvision."""
    from torchvision.datasets import MNIST

    _from(MNIST, {"mirrors": [f"{mirror}/mnist/"]} if mirror else {})(folder, download=True)


def download_fashion_mnist(folder: Path, mirror: str | None = None) -> None:
    """Fashion-MNIST's files by torchvision."""
    from torchvision.datasets import FashionMNIST

    _from(FashionMNIST, {"mirrors": [f"{mirror}/fashion_mnist/"]} if mirror else {})(folder, download=True)


def download_cifar10(folder: Path, mirror: str | None = None) -> None:
    """CIFAR-10's files by torchvision."""
    from torchvision.datasets import CIFAR10

    _from(CIFAR10, {"url": f"{mirror}/cifar10/{CIFAR10.filename}"} if mirror else {})(folder, download=True)


def _from(data_set: Any, addresses: dict[str, Any]) -> Any:
    """torchvision's class with other addresses; its files go into a folder of the class's name, so that stays."""
    return type(data_set.__name__, (data_set,), addresses)


def _idx_file(folder: str, name: str, gzip_md5: str, md5: str | None = None) -> DataFile:
    """An IDX file, published compressed; torchvision leaves it unpacked beside that, and quicker to read."""
    compressed = (f"{folder}/raw/{name}.gz", gzip_md5)
    return DataFile(((f"{folder}/raw/{name}", md5), compressed) if md5 else (compressed,))


def _cifar_file(name: str, md5: str) -> DataFile:
    return DataFile(((f"cifar-10-batches-py/{name}", md5),))


def _scikit_learn_data() -> Path:
    """Where scikit-learn keeps its data, without importing it. Raises DataError if it has none."""
    found = importlib.util.find_spec("sklearn")
    folder = Path(found.origin or "").parent / "datasets" / "data" if found else Path()
    if not (folder / "digits.csv.gz").exists():
        raise DataError("dataset: digits come with scikit-learn, which is not installed here; pip install scikit-learn")
    return folder


def data_folder(name: str, data_dir: Path | None) -> Path:
    """The folder with the data set's files. Raises DataError where it must be given and is not."""
    if DATA_SETS[name].download is None:
        return _scikit_learn_data()
    if data_dir is None:
        raise DataError(f"data_dir: {name} needs a folder to be read from or downloaded to, and none is given")
    return data_dir


# Of data sets that the paper does not use, the share of the nearest one is held out.
DATA_SETS: dict[str, DataSet] = {
    "digits": DataSet(
        title="digits",
        validation_examples={"icml": 216, "authors_code": 240},
        input_shape=(1, 8, 8),
        classes=10,
        train_examples=1797 - DIGITS_TEST_EXAMPLES,
        test_examples=DIGITS_TEST_EXAMPLES,
        brightest=16,
        files=(DataFile((("digits.csv.gz", "9b335364a7bfd63947c7480a5bd51f2d"),), remedy="reinstall scikit-learn"),),
        read=read_digits,
    ),
    "mnist": DataSet(
        title="MNIST",
        validation_examples={"icml": 9000, "authors_code": 10_000},
        input_shape=(1, 28, 28),
        classes=10,
        train_examples=60_000,
        test_examples=10_000,
        brightest=255,
        files=(
            _idx_file(
                "MNIST",
                "train-images-idx3-ubyte",
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "6bbc9ace898e44ae57da46a324031adb",
            ),
            _idx_file(
                "MNIST",
                "train-labels-idx1-ubyte",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "a25bea736e30d166cdddb491f175f624",
            ),
            _idx_file(
                "MNIST",
                "t10k-images-idx3-ubyte",
                "9fb629c4189551a2d022fa330f9573f3",
                "2646ac647ad5339dbf082846283269ea",
            ),
            _idx_file(
                "MNIST",
                "t10k-labels-idx1-ubyte",
                "ec29112dd5afa0611ce80d1b7f02629c",
                "27ae3e4e09519cfbb04c329615203637",
            ),
        ),
        read=read_idx,
        download=download_mnist,
    ),
    "fashion_mnist": DataSet(
        title="Fashion-MNIST",
        validation_examples={"icml": 9000, "authors_code": 10_000},
        input_shape=(1, 28, 28),
        classes=10,
        train_examples=60_000,
        test_examples=10_000,
        brightest=255,
        files=(
            _idx_file("FashionMNIST", "train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            _idx_file("FashionMNIST", "train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe"),
            _idx_file("FashionMNIST", "t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79"),
            _idx_file("FashionMNIST", "t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
        read=read_idx,
        download=download_fashion_mnist,
    ),
    "cifar10": DataSet(
        title="CIFAR-10",
        validation_examples={"icml": 5000, "authors_code": 5000},
        photographs=True,
        input_shape=(3, 32, 32),
        classes=10,
        train_examples=50_000,
        test_examples=10_000,
        brightest=255,
        files=(
            _cifar_file("data_batch_1", "c99cafc152244af753f735de768cd75f"),
            _cifar_file("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
            _cifar_file("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
            _cifar_file("data_batch_4", "634d18415352ddfa80567beed471001a"),
            _cifar_file("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
            _cifar_file("test_batch", "40351d587109b95175f43aff81a1287e"),
        ),
        read=read_cifar,
        download=download_cifar10,
    ),
}

IMAGE_FOLDER = (
    "image_folder"  # too large for memory, and only looking at it tells its sizes (trainers.data.image_folder)
)
FOLDER_FACTS = DataFacts(title="image folder", validation_examples={"icml": 1, "authors_code": 1}, photographs=True)
DATA_NAMES = (*DATA_SETS, IMAGE_FOLDER)


def data_facts(name: str) -> DataFacts:
    """What presets and labels know of the data set of this name, which must be known."""
    return FOLDER_FACTS if name == IMAGE_FOLDER else DATA_SETS[name]


def image_shape(name: str, image_size: int | None) -> tuple[int, int, int]:
    """Channels, height and width of its images; those of a folder have the size that the recipe says."""
    return DATA_SETS[name].input_shape if image_size is None else (3, image_size, image_size)
