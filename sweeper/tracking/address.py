"""Where runs are tracked: which addresses are understood, and whether something answers there. Needs no MLflow."""

from __future__ import annotations

import re
import socket
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from sweeper.storage.bucket import ObjectPath
from sweeper.storage.place import Place
from trainers.recipe.errors import InvalidInput, nearest

SERVERS = ("http", "https")
DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}  # with the port that each listens on by default
SCHEMES = ("sqlite", *SERVERS, *DATABASES)
SECONDS = 5.0


def default_address(storage: Place, make: bool = False) -> str:
    """SQLite in the storage folder; a database cannot lie in a bucket, so for one it is a folder here.

    `make`: make that folder.
    """
    if make and isinstance(storage, ObjectPath):
        _folder_of(storage).mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{_folder_of(storage).resolve() / 'mlflow.db'}"


def artifacts_of(storage: Place, address: str, sweep: str = "") -> str:
    """The folder for what MLflow keeps in files, where it has no server: in the storage, or beside its SQLite file."""
    in_a_bucket = isinstance(storage, ObjectPath)
    folder = Path(address.partition(":///")[2]).parent if in_a_bucket else _folder_of(storage)
    return str(folder / "artifacts" / sweep)


def _folder_of(storage: Place) -> Path:
    if not isinstance(storage, ObjectPath):
        return storage
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(storage))
    return Path("sweeper-tracking").absolute() / f"{name}-{sha256(str(storage).encode()).hexdigest()[:8]}"


def check_scheme(address: str) -> None:
    """Raises InvalidInput for what MLflow could not track to."""
    parts = urlsplit(address)
    scheme = parts.scheme.partition("+")[0]
    known = "sqlite:///FILE, http://HOST:PORT, https://HOST or postgresql://USER@HOST/DATABASE"
    if not scheme or "://" not in address:
        raise InvalidInput(f"tracking: {address!r} is not an address such as {known}")
    if scheme not in SCHEMES:
        raise InvalidInput(
            f"tracking: {scheme!r} is not a scheme of an address such as {known}{nearest(scheme, SCHEMES)}"
        )
    if scheme in SERVERS and not parts.hostname:
        raise InvalidInput(f"tracking: {address!r} names no host")


def check_reachable(address: str) -> None:
    """Raises InvalidInput if nothing answers there, or something that is no MLflow server."""
    parts = urlsplit(address)
    scheme = parts.scheme.partition("+")[0]
    shown = without_password(address)
    if scheme == "sqlite":
        _check_file(Path(address.partition(":///")[2]))
    elif scheme in SERVERS:
        _check_server(address)
    elif parts.hostname:
        try:
            socket.create_connection((parts.hostname, parts.port or DATABASES[scheme]), SECONDS).close()
        except OSError as error:
            raise InvalidInput(f"tracking: no database answers at {shown} ({_why(error)})") from None


def without_password(address: str) -> str:
    """The address as it may be shown."""
    parts = urlsplit(address)
    if not parts.password:
        return address
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise InvalidInput(f"tracking: {path} is a folder, and a database is a file (such as {path / 'mlflow.db'})")
    if not path.parent.is_dir():
        raise InvalidInput(f"tracking: the folder {path.parent} does not exist")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(15) != b"SQLite format 3":
                raise InvalidInput(f"tracking: {path} is not an SQLite database")


def _check_server(address: str) -> None:
    shown = without_password(address)
    try:
        with urlopen(f"{_plain(address)}/health", timeout=SECONDS) as answer:
            if answer.read(100).strip() == b"OK":
                return
    except HTTPError as error:
        raise InvalidInput(f"tracking: {shown} answers, but not as MLflow does (/health gave {error.code})") from None
    except (URLError, OSError) as error:
        raise InvalidInput(f"tracking: no MLflow server answers at {shown} ({_why(error)})") from None
    raise InvalidInput(f"tracking: {shown} answers, but not as MLflow does (/health did not say OK)")


def _plain(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(error).__name__
