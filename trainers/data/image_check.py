"""Whether the images of a folder can be decoded: each is decoded once, and remembered by its size and time of change.

No torch is imported here.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainers.cache_folder import cache_folder
from trainers.data.files import DamagedData, DataError
from trainers.data.image_list import ImageList, left_out, list_images

if TYPE_CHECKING:
    from PIL.Image import Image

BLOCK = 5000  # images; of more it is said what takes the time
MARK_BYTES = 8  # of a hash of a path, a size and a time: a million images are 8 MB
SHOWN = 5


@dataclass(frozen=True)
class CheckedImages:
    """What a check of a folder found."""

    train: ImageList
    test: ImageList
    decoded: int  # now; the others were decoded by an earlier check, and have not changed

    @property
    def left_out(self) -> str:
        """What of the folder is not read, in a sentence; or nothing."""
        return left_out((self.train, self.test))

    def __str__(self) -> str:
        counts = f"{len(self.train.paths):,} training and {len(self.test.paths):,} test images of "
        return f"{counts}{len(self.train.classes):,} classes, all of which can be decoded"


def check_images(
    data_dir: Path | None, tell: Callable[[str], None] = lambda line: None, remembered: Path | None = None
) -> CheckedImages:
    """Decodes every image that no earlier check has decoded as it is now.

    `tell` gets a line where that may take long. `remembered` is the folder in which checks leave what they know
    (default: the user's cache). Raises DamagedData, which names the first images that cannot be decoded, and DataError.
    """
    train, test = list_images(data_dir)
    assert data_dir is not None  # or no list had come of it
    kept = remembered or cache_folder()
    file = kept / f"images-{hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:16]}" if kept else None
    known = {*_marks_in(file)} if file else set()
    marks = {path: _mark(path) for path in (*train.paths, *test.paths)}
    good = [mark for mark in marks.values() if mark in known]
    new = [path for path, mark in marks.items() if mark not in known]
    faults: list[DataError] = []
    if len(new) > BLOCK:
        tell(f"{len(new):,} images in {data_dir} are decoded once, to see that all can be")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:  # while it decodes, Pillow lets others run
        for start in range(0, len(new), BLOCK):
            block = new[start : start + BLOCK]
            found = [*zip(block, threads.map(_fault_of, block), strict=True)]
            faults += [fault for _, fault in found if fault]
            good += [marks[path] for path, fault in found if not fault]
            if file:  # after every block: who interrupts it loses little
                _remember(file, good)
    if faults:
        more = [f"and {len(faults) - SHOWN:,} more like these"] if len(faults) > SHOWN else []
        raise DamagedData("\n".join([*map(str, faults[:SHOWN]), *more]))
    return CheckedImages(train, test, len(new))


def open_image(path: str) -> Image:
    """The image as red, green and blue. Raises DamagedData for one that cannot be decoded, DataError for one that
    cannot be read."""
    from PIL import Image

    try:
        with open(path, "rb") as file:
            image = Image.open(file)
            if image.width * image.height > (most := Image.MAX_IMAGE_PIXELS or 0) > 0:
                raise ValueError(f"{image.width} x {image.height} pixels, and {most:,} is the most")
            return image.convert("RGB")
    except OSError as error:
        if error.errno is not None:  # the file's, or its disk's; Pillow's own have none
            raise DataError(f"data_dir: {path} cannot be read ({error.strerror})") from None
        raise _damaged(path, error) from None
    # All that Pillow raises for files that it cannot make out, and for those of too many pixels.
    except (SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _damaged(path, error) from None


def _damaged(path: str, error: Exception) -> DamagedData:
    # Pillow's own words for the first name an object of Python's.
    unknown = type(error).__name__ == "UnidentifiedImageError"
    reason = "it is no image of a format that is known" if unknown else " ".join(str(error).split())
    return DamagedData(f"data_dir: {path} cannot be decoded ({reason}); replace it, or remove it from the folder")


def _fault_of(path: str) -> DataError | None:
    try:
        open_image(path)
    except DataError as error:
        return error
    return None


def _mark(path: str) -> bytes:
    """What tells an image that is as it was from one that was changed."""
    try:
        status = os.stat(path)
    except OSError:
        return b""  # of no image that was decoded
    told = f"{path}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.blake2b(told.encode(errors="surrogateescape"), digest_size=MARK_BYTES).digest()


def _marks_in(file: Path) -> Iterator[bytes]:
    try:
        content = file.read_bytes()
    except OSError:
        return
    for start in range(0, len(content) - MARK_BYTES + 1, MARK_BYTES):
        yield content[start : start + MARK_BYTES]


def _remember(file: Path, marks: list[bytes]) -> None:
    """Writes the marks of images that were decoded, whole or not at all: nothing is lost where it cannot."""
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as fresh:
            fresh.write(b"".join(marks))
        os.replace(fresh.name, file)
    except OSError:
        pass
