"""A log in a bucket, where nothing can be appended to: numbered objects, each created by exactly one writer."""

from __future__ import annotations

from dataclasses import dataclass, field

from sweeper.storage.bucket import ObjectPath


@dataclass
class ObjectLog:
    """The entries below one name, in the order in which they were appended."""

    path: ObjectPath
    _read: list[bytes] = field(default_factory=list)  # entries never change

    def exists(self) -> bool:
        """Whether anything was appended."""
        return self.path.is_dir()

    def entries(self) -> list[bytes]:
        """All of them by now. Raises OSError."""
        known = len(self._read)
        if (self.path / _name(known)).is_file():  # of most looks nothing is new
            names = [entry.path for entry in self.path.entries() if entry.path.name >= _name(known)]
            found = self.path.bucket.at_once(ObjectPath.read_bytes, names)
            for path, content in zip(names, found, strict=True):
                if path.name == _name(len(self._read)):  # what follows a gap was never appended
                    self._read.append(content)
        return self._read

    def append(self, content: bytes) -> None:
        """After all that is there. Raises OSError."""
        while not (self.path / _name(len(self._read))).create(content):
            self.entries()
        self._read.append(content)


def _name(number: int) -> str:
    return f"{number:08d}"
