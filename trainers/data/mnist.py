"""MNIST, and what is published in its format."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.data.data_set import DataSet, Images, torchvision_class
from trainers.data.files import DataFile, read_verified

if TYPE_CHECKING:
    from trainers.data.data_set import Bytes


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
    import numpy as np

    axes = content[3]
    shape = np.frombuffer(content, ">i4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def download_mnist(folder: Path, mirror: str | None = None) -> None:
    """MNIST's files by torchvision."""
    from torchvision import datasets

    torchvision_class(datasets.MNIST, {"mirrors": [f"{mirror}/mnist/"]} if mirror else {})(folder, download=True)


def download_fashion_mnist(folder: Path, mirror: str | None = None) -> None:
    """Fashion-MNIST's files by torchvision."""
    from torchvision import datasets

    addresses = {"mirrors": [f"{mirror}/fashion_mnist/"]} if mirror else {}
    torchvision_class(datasets.FashionMNIST, addresses)(folder, download=True)


def _idx_file(folder: str, name: str, gzip_md5: str, md5: str | None = None) -> DataFile:
    """An IDX file, published compressed; torchvision leaves it unpacked beside that, and quicker to read."""
    compressed = (f"{folder}/raw/{name}.gz", gzip_md5)
    return DataFile(((f"{folder}/raw/{name}", md5), compressed) if md5 else (compressed,))


# The authors' code takes pixels from 0 to 1 as they are; the text is silent. Lenet's `tuned` was searched otherwise.
PIXELS = {"icml": "unit", "authors_code": "unit", "tuned": "standard"}

MNIST = DataSet(
    title="MNIST",
    validation_examples={"icml": 9000, "authors_code": 10_000},
    normalisation=PIXELS,
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
)

FASHION_MNIST = DataSet(
    title="Fashion-MNIST",
    validation_examples={"icml": 9000, "authors_code": 10_000},
    normalisation=PIXELS,
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
)
