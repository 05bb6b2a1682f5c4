"""What a data set is, without any file at hand. Read without torch and numpy: the help of a command waits for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trainers.data.files import DataFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]


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
    normalisation: Mapping[str, str] = field(default_factory=dict, kw_only=True)  # by preset; "standard" if not here
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
    download: Download | None = None
    installed: Callable[[], Path] | None = None  # with a package: the folder in which its files are


def torchvision_class(data_set: Any, addresses: dict[str, Any]) -> Any:
    """torchvision's class with other addresses; its files go into a folder of the class's name, so that stays."""
    return type(data_set.__name__, (data_set,), addresses)
