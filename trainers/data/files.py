"""The files of a data set: found, read, and never believed before their MD5 is that of the published file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainers.errors import InvalidInput


class DataError(InvalidInput):
    """Data that cannot be had or cannot be trusted; its text names the file and says what to do."""


class DamagedData(DataError):
    """Data that are there and are not what they should be: whoever reads them again finds the same."""


@dataclass(frozen=True)
class DataFile:
    """A published file, by its path below the data folder and its MD5. Any of `forms` holds the same content."""

    forms: tuple[tuple[str, str], ...]  # (path, MD5), the quickest to read first, the published one last
    remedy: str = "delete it so that it is downloaded again, or put the original there"

    @property
    def name(self) -> str:
        """The form in which the file is published."""
        return self.forms[-1][0]

    @property
    def md5(self) -> str:
        """The MD5 of the published form."""
        return self.forms[-1][1]

    def digest_of(self, path: Path) -> str:
        """What a form of it that is there has for a digest. Raises DataError where it cannot be read."""
        return _md5_of_unchanged(path, *_size_and_time(path))

    def find(self, data_dir: Path) -> tuple[Path, str] | None:
        """The first form that is there, with its MD5, or None."""
        for name, md5 in self.forms:
            if (data_dir / name).exists():
                return data_dir / name, md5
        return None


class DataFolder(DataFile):
    """A folder of files, by its path below the data folder and the SHA-256 over the paths and bytes of all of them."""

    def digest_of(self, path: Path) -> str:
        """The SHA-256 over the paths below the folder, sorted, each with the size and the bytes of its file."""
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        return _sha256_of_unchanged(tuple((name, file, *_size_and_time(file)) for name, file in files))


def missing_files(data_dir: Path, files: Sequence[DataFile]) -> list[str]:
    """The names of the files that are not there in any form."""
    return [file.name for file in files if file.find(data_dir) is None]


def verify(data_dir: Path, files: Sequence[DataFile]) -> None:
    """Raises DataError unless every file is there and holds the published content."""
    for file in files:
        path, md5 = _found(data_dir, file)
        _require(file, path, file.digest_of(path), md5)


def read_verified(data_dir: Path, file: DataFile) -> tuple[Path, bytes]:
    """Where a file is and its content, which is the published one. Raises DataError otherwise."""
    path, md5 = _found(data_dir, file)
    content = _read(path)
    _require(file, path, hashlib.md5(content).hexdigest(), md5)
    return path, content


def fetch(dataset: str, data_dir: Path, files: Sequence[DataFile], download: Callable[[Path], None]) -> None:
    """Downloads the files that are missing (some are); never touches one that is there. Safe beside others doing so.

    `download` fills an empty folder in the data set's layout. Raises DataError where that fails.
    """
    names = missing_files(data_dir, files)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=".download-") as folder:
            download(Path(folder))
            wanted = [file for file in files if file.name in names]
            verify(Path(folder), wanted)
            for name in [name for file in wanted for name, _ in file.forms if (Path(folder) / name).exists()]:
                (data_dir / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(folder) / name, data_dir / name)
    except (OSError, RuntimeError, DataError) as error:
        raise DataError(
            f"data_dir: {data_dir} lacks {names[0]} of {dataset}, and the download failed ({_one_line(error)}); "
            "give the folder of a complete copy in torchvision's layout"
        ) from None


def missing(dataset: str, data_dir: Path, names: Sequence[str]) -> DataError:
    """The error for files that are not there and may not be downloaded."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return DataError(
        f"data_dir: {data_dir} lacks {names[0]}{more} of {dataset}; "
        "give the folder of a complete copy in torchvision's layout, or allow the download"
    )


def _found(data_dir: Path, file: DataFile) -> tuple[Path, str]:
    found = file.find(data_dir)
    if found is None:
        raise DataError(f"data_dir: {data_dir} lacks {file.name}")
    return found


def _require(file: DataFile, path: Path, actual: str, expected: str) -> None:
    if actual != expected:
        what, kind = f"file ({path.stat().st_size} bytes with", "MD5"
        if isinstance(file, DataFolder):
            what, kind = "folder (with", "SHA-256"
        raise DamagedData(
            f"data_dir: {path} is not the published {what} {kind} {actual}, where {expected} is published); "
            f"{file.remedy}"
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"data_dir: {path} cannot be read ({error.strerror}); make it a readable file") from None


def _size_and_time(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _md5_of_unchanged(path: Path, size: int, modified: int) -> str:
    # Keyed by size and time of change too, so that a file that was changed is read again.
    return hashlib.md5(_read(path)).hexdigest()


@lru_cache(maxsize=64)
def _sha256_of_unchanged(files: tuple[tuple[str, Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, path, size, _ in files:
        digest.update(f"{name}\n{size}\n".encode() + _read(path))
    return digest.hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
