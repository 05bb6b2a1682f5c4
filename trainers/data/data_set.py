"""What a data set is, without any file at hand. Read without torch and numpy: the help of a command waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from trainers.data.files import DamagedData, DataFile, DataFolder
from trainers.plugins.known import code_of, facts_of, needs_code

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.uint8 | np.float32]

# What is asked of a network: one of the classes (cross-entropy; the score is the fraction classified rightly), yes and
# no for each of its outputs (binary cross-entropy; the score is the fraction of bits that are right), or a number for
# each (mean squared error; the score is the fraction of the variance that is explained, R²).
Task = Literal["classification", "bits", "regression"]
TASKS: tuple[Task, ...] = get_args(Task)
CLASSIFICATION: Task = "classification"
REGRESSION: Task = "regression"
CHANCE: dict[Task, float] = {"bits": 0.5, REGRESSION: 0.0}  # the scores of guessing, and of the mean for everything


class Download(Protocol):
    """Fills an empty folder with a data set's files; `mirror` is an address to take them from instead of the usual."""

    def __call__(self, folder: Path, mirror: str | None = None) -> None: ...


@dataclass(frozen=True)
class Images:
    """Images (n, channels, height, width) as bytes, and their labels (n,).

    A plug-in's may be numbers of any kind, float32: rows of a table are (n, columns, 1, 1), so that each column is
    normalised by itself; sequences (n, 1, steps, values). Labels of bits are (n, outputs), 0 or 1;
    those of a regression (n, outputs), float32.
    """

    pixels: Numbers
    labels: Numbers


@dataclass(frozen=True)
class DataFacts:
    """What presets and labels know of a data set."""

    title: str = field(kw_only=True)  # in labels and reports
    validation_examples: Mapping[str, int] = field(kw_only=True)  # held out of the training images, by preset
    normalisation: Mapping[str, str] = field(default_factory=dict, kw_only=True)  # by preset; "standard" if not here
    photographs: bool = field(default=False, kw_only=True)  # which presets mirror and shift: they stay what they are


@dataclass(frozen=True)
class DataSet(DataFacts):
    """A data set that fits into memory: its published facts, its files, and how to read and to download them."""

    input_shape: tuple[int, int, int]
    classes: int  # or, of bits and a regression, the outputs
    train_examples: int  # before the validation split is held out of them
    test_examples: int
    brightest: int  # the value of a white pixel
    files: tuple[DataFile, ...]
    read: Callable[[Path, tuple[DataFile, ...]], tuple[Images, Images]]  # training images, test images
    download: Download | None = None
    installed: Callable[[], Path] | None = None  # with a package: the folder in which its files are
    task: Task = CLASSIFICATION

    @property
    def chance(self) -> float:
        """The score of guessing."""
        return 1 / self.classes if self.task == CLASSIFICATION else CHANCE[self.task]


def torchvision_class(data_set: Any, addresses: dict[str, Any]) -> Any:
    """torchvision's class with other addresses; its files go into a folder of the class's name, so that stays."""
    return type(data_set.__name__, (data_set,), addresses)


PLAIN = ("title", "validation_examples", "normalisation", "photographs", "input_shape", "classes", "train_examples",
         "test_examples", "brightest", "task")  # fmt: skip


def told_of_data_set(data_set: DataSet) -> dict[str, Any]:
    """What a spec tells of a plug-in's data set, in plain data."""
    plain = {name: getattr(data_set, name) for name in PLAIN}
    files = [
        {"forms": [list(form) for form in file.forms], "folder": isinstance(file, DataFolder)}
        for file in data_set.files
    ]
    told = {**plain, "input_shape": list(data_set.input_shape), "files": files}
    return {**told, "installed": data_set.installed is not None}


def plugged_data_set(name: str, plugins: object) -> DataSet:
    """A plug-in's data set, as far as this process knows it."""
    data_set: DataSet | None = code_of("DATA_SETS", name, plugins)
    if data_set is not None:
        return data_set
    facts = facts_of("DATA_SETS", name, plugins)
    if facts is None:
        raise needs_code(plugins)

    def unread(*_: Any) -> Any:
        raise needs_code(plugins)

    files = tuple(
        (DataFolder if file["folder"] else DataFile)(tuple((path, digest) for path, digest in file["forms"]))
        for file in facts["files"]
    )
    plain = {name: facts[name] for name in PLAIN}
    installed = unread if facts["installed"] else None
    return DataSet(
        **{**plain, "input_shape": tuple(facts["input_shape"])}, files=files, read=unread, installed=installed
    )


def check_read(name: str, data_set: DataSet, train: Images, test: Images) -> None:
    """Raises DamagedData where what a plug-in's data set has read is not what it states."""
    import numpy as np

    for what, images, count in (("training", train, data_set.train_examples), ("test", test, data_set.test_examples)):
        shape = (count, *data_set.input_shape)
        labels_shape = (count,) if data_set.task == CLASSIFICATION else (count, data_set.classes)
        below = data_set.classes if data_set.task == CLASSIFICATION else 2
        faults = {
            f"its {what} images are {images.pixels.shape}, not {shape}": images.pixels.shape != shape,
            f"its {what} images are {images.pixels.dtype}, not uint8 or float32": images.pixels.dtype
            not in (np.uint8, np.float32),
            f"its {what} labels are {images.labels.shape}, not {labels_shape}": images.labels.shape != labels_shape,
        }
        if not any(faults.values()):
            faults[f"its {what} images are not all finite"] = not np.isfinite(images.pixels).all()
            if data_set.task == REGRESSION:
                numbers = images.labels.dtype == np.float32 and np.isfinite(images.labels).all()
                faults[f"its {what} labels are not all finite float32"] = not numbers
            else:
                whole = np.isin(images.labels, np.arange(below)).all()
                faults[f"its {what} labels are not all whole numbers from 0 to {below - 1}"] = not whole
        for fault, broken in faults.items():
            if broken:
                raise DamagedData(f"dataset: {name}: {fault}")
