"""Tables that come with scikit-learn: 569 tumours, benign or malignant (Wolberg et al., Wisconsin, 1995), and how far
the diabetes of 442 patients went within a year, a regression (Efron et al., Least Angle Regression, 2004).
"""

from __future__ import annotations

import gzip
import importlib.util
import math
from pathlib import Path
from typing import Any

from trainers.data.data_set import DataSet, Images
from trainers.data.files import DataError, DataFile, read_verified

TUMOUR_COLUMNS, PATIENT_COLUMNS = 30, 10


def split(columns: Any, labels: Any, name: str) -> tuple[Images, Images]:
    """The training rows and the test rows, a fixed fifth: each column is a channel, and so normalised by itself."""
    import numpy as np
    import torch

    from trainers.streams import torch_generator

    order = torch.randperm(len(labels), generator=torch_generator("cpu", 0, name, "test split")).numpy()
    test, train = np.split(order, [math.ceil(len(labels) / 5)])
    pixels = columns.astype(np.float32)[:, :, None, None]
    return Images(pixels[train], labels[train]), Images(pixels[test], labels[test])


def read_tumours(data_dir: Path, files: tuple[DataFile, ...]) -> tuple[Images, Images]:
    import numpy as np

    _, content = read_verified(data_dir, files[0])
    table = np.loadtxt(content.decode().splitlines()[1:], delimiter=",", dtype=np.float64)
    return split(table[:, :TUMOUR_COLUMNS], table[:, TUMOUR_COLUMNS].astype(np.uint8), "tumours")


def read_diabetes(data_dir: Path, files: tuple[DataFile, ...]) -> tuple[Images, Images]:
    import numpy as np

    columns, progression = (
        np.loadtxt(gzip.decompress(read_verified(data_dir, file)[1]).splitlines()) for file in files
    )
    return split(columns, progression.astype(np.float32)[:, None], "diabetes")


def folder() -> Path:
    """Where scikit-learn keeps the file."""
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise DataError(
            "dataset: these tables come with scikit-learn, which is not installed; pip install scikit-learn"
        )
    return Path(found.origin).parent / "datasets" / "data"


def file_of_scikit_learn(name: str, md5: str) -> DataFile:
    return DataFile(((name, md5),), remedy="reinstall scikit-learn")


TUMOURS = DataSet(
    title="tumours",
    validation_examples={"icml": 91, "authors_code": 91},
    input_shape=(TUMOUR_COLUMNS, 1, 1),
    classes=2,
    train_examples=455,
    test_examples=114,
    brightest=1,  # of pixels: columns are normalised to mean 0 and variance 1, for which it does not matter
    files=(file_of_scikit_learn("breast_cancer.csv", "36ef90874abc87f4b4a8554dcc17cf6f"),),
    read=read_tumours,
    installed=folder,
)
DIABETES = DataSet(
    title="progression of diabetes",
    task="regression",
    validation_examples={"icml": 71, "authors_code": 71},
    input_shape=(PATIENT_COLUMNS, 1, 1),
    classes=1,
    train_examples=353,
    test_examples=89,
    brightest=1,
    files=(
        file_of_scikit_learn("diabetes_data_raw.csv.gz", "a8e967d45d7162dc51982bde4b33d507"),
        file_of_scikit_learn("diabetes_target.csv.gz", "1a035fe70b2f8622146613365e30700c"),
    ),
    read=read_diabetes,
    installed=folder,
)
