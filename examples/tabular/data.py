"""Measurements of 569 tumours, benign or malignant, which come with scikit-learn (Wolberg et al., Wisconsin, 1995)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from trainers.data.data_set import DataSet, Images
from trainers.data.files import DataError, DataFile, read_verified

ROWS, TEST_ROWS, COLUMNS = 569, 114, 30


def read(data_dir: Path, files: tuple[DataFile, ...]) -> tuple[Images, Images]:
    """The training rows and the test rows, a fixed fifth: each column is a channel, and so normalised by itself."""
    import numpy as np
    import torch

    from trainers.streams import torch_generator

    _, content = read_verified(data_dir, files[0])
    table = np.loadtxt(content.decode().splitlines()[1:], delimiter=",", dtype=np.float64)
    rows, labels = table[:, :COLUMNS].astype(np.float32)[:, :, None, None], table[:, COLUMNS].astype(np.uint8)
    order = torch.randperm(ROWS, generator=torch_generator("cpu", 0, "tumours", "test split")).numpy()
    test, train = order[:TEST_ROWS], order[TEST_ROWS:]
    return Images(rows[train], labels[train]), Images(rows[test], labels[test])


def folder() -> Path:
    """Where scikit-learn keeps the file."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise DataError("dataset: tumours come with scikit-learn, which is not installed; pip install scikit-learn")
    return Path(found.origin).parent / "datasets" / "data"


TUMOURS = DataSet(
    title="tumours",
    validation_examples={"icml": 91, "authors_code": 91},
    input_shape=(COLUMNS, 1, 1),
    classes=2,
    train_examples=ROWS - TEST_ROWS,
    test_examples=TEST_ROWS,
    brightest=1,  # of pixels: columns are normalised to mean 0 and variance 1, for which it does not matter
    files=(DataFile((("breast_cancer.csv", "36ef90874abc87f4b4a8554dcc17cf6f"),), remedy="reinstall scikit-learn"),),
    read=read,
    installed=folder,
)
