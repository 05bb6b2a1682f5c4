"""scikit-learn's handwritten digits, which come with it."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

from trainers.data.data_set import DataSet, Images
from trainers.data.files import DataError, DataFile, read_verified

TEST_EXAMPLES = 359  # 20 % of 1,797


def read_digits(data_dir: Path, files: tuple[DataFile, ...]) -> tuple[Images, Images]:
    """scikit-learn's handwritten digits; a fixed fifth of them is the test split."""
    import numpy as np
    import torch

    from trainers.streams import torch_generator

    _, content = read_verified(data_dir, files[0])
    rows = np.loadtxt(gzip.decompress(content).decode().splitlines(), delimiter=",", dtype=np.uint8)
    # Read from its file because importing scikit-learn takes longer than everything else here.
    images, labels = rows[:, :-1].reshape(-1, 1, 8, 8), rows[:, -1]
    order = torch.randperm(len(rows), generator=torch_generator("cpu", 0, "digits", "test split")).numpy()
    test, train = order[:TEST_EXAMPLES], order[TEST_EXAMPLES:]
    return Images(images[train], labels[train]), Images(images[test], labels[test])


def scikit_learn_data() -> Path:
    """Where scikit-learn keeps its data, without importing it. Raises DataError if it has none."""
    found = importlib.util.find_spec("sklearn")
    folder = Path(found.origin or "").parent / "datasets" / "data" if found else Path()
    if not (folder / "digits.csv.gz").exists():
        raise DataError("dataset: digits come with scikit-learn, which is not installed here; pip install scikit-learn")
    return folder


DIGITS = DataSet(
    title="digits",
    validation_examples={"icml": 216, "authors_code": 240},
    input_shape=(1, 8, 8),
    classes=10,
    train_examples=1797 - TEST_EXAMPLES,
    test_examples=TEST_EXAMPLES,
    brightest=16,
    files=(DataFile((("digits.csv.gz", "9b335364a7bfd63947c7480a5bd51f2d"),), remedy="reinstall scikit-learn"),),
    read=read_digits,
    installed=scikit_learn_data,
)
