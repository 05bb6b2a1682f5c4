"""CIFAR-10."""

from __future__ import annotations

import pickle
from pathlib import Path

from trainers.data.data_set import DataSet, Images, torchvision_class
from trainers.data.files import DataFile, read_verified


def read_cifar(data_dir: Path, files: tuple[DataFile, ...]) -> tuple[Images, Images]:
    """CIFAR-10's five training batches and its test batch. Unpickled, which is safe: their MD5 is known by then."""
    import numpy as np

    batches = [pickle.loads(read_verified(data_dir, file)[1], encoding="bytes") for file in files]
    pixels = [np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32) for batch in batches]
    labels = [np.asarray(batch[b"labels"], np.uint8) for batch in batches]
    train = Images(np.concatenate(pixels[:-1]), np.concatenate(labels[:-1]))
    return train, Images(pixels[-1], labels[-1])


def download_cifar10(folder: Path, mirror: str | None = None) -> None:
    """CIFAR-10's files by torchvision."""
    from torchvision import datasets

    addresses = {"url": f"{mirror}/cifar10/{datasets.CIFAR10.filename}"} if mirror else {}
    torchvision_class(datasets.CIFAR10, addresses)(folder, download=True)


def _cifar_file(name: str, md5: str) -> DataFile:
    return DataFile(((f"cifar-10-batches-py/{name}", md5),))


CIFAR10 = DataSet(
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
)
