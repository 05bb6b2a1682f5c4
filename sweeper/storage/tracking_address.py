"""Where runs are tracked: which addresses are understood and kept, and whether something answers. Needs no MLflow."""

from __future__ import annotations

import re
import socket
from hashlib import sha256
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from sweeper.storage.base import Place
from sweeper.storage.tracking_file import ADDRESS, artifacts_recorded, file_of, is_file, make_movable
from trainers.errors import InvalidInput, nearest

SERVERS = ("http", "https")
DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}  # with the port that each listens on by default
SCHEMES = ("sqlite", *SERVERS, *DATABASES)
SECONDS = 5.0
FILE = "mlflow.db"  # in a storage
IN_THE_STORAGE = "storage"  # kept instead of the address of that file: it is true wherever the storage is moved


def default_address(storage: Place, make: bool = False) -> str:
    """The address of an SQLite database in the storage; for a bucket, which can hold none, in a folder here.

    `make`: make that folder.
    """
    if make and storage.on_disk is None:
        _folder_of(storage).mkdir(parents=True, exist_ok=True)
    return f"{ADDRESS}{_folder_of(storage).resolve() / FILE}"


def is_own(address: str, storage: Place) -> bool:
    """Whether this is the address of the storage's own database."""
    folder = storage.on_disk
    if folder is None or not is_file(address):
        return False
    path = file_of(address)
    return path.name == FILE and path.parent.resolve() == folder.resolve()


def address_of_kept(kept: str, storage: Place, sweep: str) -> str:
    """The address that a sweep's file means.

    Earlier versions wrote the storage's own database as a path from the root, which is another's after a copy and
    nobody's after a move. It is the storage's own if the folder that it names has, or had, the same sweep.
    """
    if kept == IN_THE_STORAGE:
        return default_address(storage)
    there = file_of(kept)
    folder = storage.on_disk
    if folder is None or not is_file(kept) or there.name != FILE:
        return kept
    here = artifacts_recorded(folder / FILE, sweep)
    lay_in_it = (
        (there.parent / "sweeps" / sweep / "sweep.json").is_file()
        or here == str(there.parent / "artifacts" / sweep)
        or (here is not None and artifacts_recorded(there, sweep) is None)
    )
    return default_address(storage) if lay_in_it else kept


def artifacts_root(storage: Place) -> Path:
    """The folder for what MLflow keeps in files, where a database of many machines says nothing of them."""
    return _folder_of(storage) / "artifacts"


def _folder_of(storage: Place) -> Path:
    if storage.on_disk is not None:
        return storage.on_disk
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(storage))
    return Path("sweeper-tracking").absolute() / f"{name}-{sha256(str(storage).encode()).hexdigest()[:8]}"


def understood(address: str) -> str:
    """The address in the form that is kept and shown, which does not depend on the current folder.

    Raises InvalidInput for what MLflow could not track to.
    """
    scheme = _checked_scheme(address)
    if scheme.partition("+")[0] != "sqlite":
        return address
    name = address.partition(":///")[2]
    if scheme not in ("sqlite", "sqlite+pysqlite") or not name or name == ":memory:":
        raise InvalidInput(f"tracking: {address!r} names no file (sqlite:///FILE does, or sqlite:////FOLDER/FILE)")
    try:
        return f"{ADDRESS}{Path(name).expanduser().absolute()}"
    except RuntimeError:
        raise InvalidInput(f"tracking: {address!r}: nobody's home folder is known by that name") from None


def _checked_scheme(address: str) -> str:
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
    return parts.scheme


def check_open(address: str, storage: Place) -> None:
    """Checks as `check_reachable` does, and makes a storage's own database one that can be moved."""
    check_reachable(address)
    own = is_own(address, storage) or address == default_address(storage)
    if own and file_of(address).is_file():
        make_movable(file_of(address))


def check_reachable(address: str) -> None:
    """Checks that an MLflow server or database answers. Raises InvalidInput."""
    parts = urlsplit(address)
    scheme = parts.scheme.partition("+")[0]
    shown = without_password(address)
    if scheme == "sqlite":
        _check_file(file_of(address))
    elif scheme in SERVERS:
        _check_server(address)
    elif parts.hostname:
        try:
            socket.create_connection((parts.hostname, parts.port or DATABASES[scheme]), SECONDS).close()
        except OSError as error:
            raise InvalidInput(f"tracking: no database answers at {shown} ({_why(error)})") from None


def without_password(address: str) -> str:
    """The address without its password, as it may be shown."""
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
