"""Journals: lines at the end of a file, or numbered objects in a bucket, where nothing can be appended to."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sweeper.storage.base import storage_errors


@dataclass
class FileJournal:
    """The whole lines of a file; one process at a time may append to it."""

    path: Path

    def exists(self) -> bool:
        return self.path.is_file()

    def mend(self) -> None:
        with storage_errors("write to", self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.is_file():
                with self.path.open("r+b") as file:
                    _cut_half_a_line(file.fileno())

    def entries(self) -> list[bytes]:
        with storage_errors("read", self.path):
            try:
                content = self.path.read_bytes()
            except FileNotFoundError:
                return []
        return content.split(b"\n")[:-1]  # what follows the last line's end was never wholly written

    def append(self, content: bytes) -> None:
        with storage_errors("write to", self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                _cut_half_a_line(file.fileno())
                file.write(content)
                file.flush()
                os.fsync(file.fileno())


def _cut_half_a_line(descriptor: int) -> None:
    """What a killed writer left after the last whole line."""
    size = os.fstat(descriptor).st_size
    end = size
    while end and os.pread(descriptor, 1, end - 1) != b"\n":
        end -= 1
    if end < size:
        os.ftruncate(descriptor, end)


class Objects(Protocol):
    """The operations on a bucket that a log needs."""

    def __truediv__(self, name: str, /) -> Objects: ...

    def is_file(self) -> bool: ...

    def is_dir(self) -> bool: ...

    def names(self) -> list[str]: ...

    def contents(self, names: list[str]) -> list[bytes]: ...

    def create(self, content: bytes) -> bool: ...


@dataclass
class ObjectLog:
    """The objects below one name, each created by exactly one of any number of writers."""

    path: Objects
    _read: list[bytes] = field(default_factory=list)  # entries never change

    def exists(self) -> bool:
        return self.path.is_dir()

    def mend(self) -> None:
        """Does nothing: objects are whole or absent."""

    def entries(self) -> list[bytes]:
        known = len(self._read)
        if (self.path / _name(known)).is_file():  # of most looks nothing is new
            names = [name for name in self.path.names() if name >= _name(known)]
            for name, content in zip(names, self.path.contents(names), strict=True):
                if name == _name(len(self._read)):  # what follows a gap was never appended
                    self._read.append(content)
        return self._read

    def append(self, content: bytes) -> None:
        while not (self.path / _name(len(self._read))).create(content):
            self.entries()
        self._read.append(content)


def _name(number: int) -> str:
    return f"{number:08d}"
