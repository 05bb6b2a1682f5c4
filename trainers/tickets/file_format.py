"""The file of a ticket: a safetensors file that is whole, unaltered and ours, or is refused with the reason.

Its metadata is one JSON text under one key. The text has the SHA-256 of the file, taken with 64 zeros in that place,
and ends in spaces: so the file's size does not change with a digit more or less in the recipe, and trials that share a
stage store their networks in equally many bytes. Nothing is unpickled, and nothing large is allocated for what a file
only claims.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, BinaryIO

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from trainers.errors import InvalidInput

Arrays = dict[str, NDArray[Any]]
FORMAT = "slot-sweeper ticket"
VERSION = 1  # raise it when the layout changes, or what is drawn from a seed
KEY = "ticket"  # of the metadata; safetensors writes several keys in any order
TEXT_BLOCK = 2048  # bytes; the text, as the file has it, is a multiple of this
MOST_HEADER_BYTES = 1 << 20
MOST_FILE_BYTES = 2 << 30
NO_DIGEST = "0" * 64


class TicketError(InvalidInput):
    """A ticket that cannot be written, or a file that is refused: which, and why."""


def seal(arrays: Arrays, fields: Mapping[str, Any]) -> bytes:
    """The bytes of the file with these arrays and, besides its format and digest, these fields (JSON values)."""
    known = {"format": FORMAT, "version": VERSION, "sha256": NO_DIGEST}
    text = json.dumps({**known, **fields}, separators=(",", ":"), allow_nan=False)
    content = save(arrays, metadata={KEY: text + " " * (-len(json.dumps(text)) % TEXT_BLOCK)})
    if len(content) > MOST_FILE_BYTES:
        raise TicketError(f"ticket: it would take {len(content):,} bytes, and the most is {MOST_FILE_BYTES:,}")
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(NO_DIGEST.encode(), digest.encode(), 1)


def read_fields(file: BinaryIO, size: int) -> dict[str, Any]:
    """The fields that a file of `size` bytes was sealed with, once all of its bytes have proved to be unaltered."""
    if size > MOST_FILE_BYTES:
        raise TicketError(f"it has {size:,} bytes, and a ticket has at most {MOST_FILE_BYTES:,}")
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > MOST_HEADER_BYTES:
        raise TicketError("it is no safetensors file, so no ticket")
    header = file.read(length)
    if len(header) < length:
        raise TicketError("it is truncated, or no safetensors file at all")
    fields, declared = _fields(header)
    if size != 8 + length + declared:
        raise TicketError(f"it is truncated or altered: of {8 + length + declared:,} bytes it has {size:,}")
    _check_digest(file, length.to_bytes(8, "little"), header, fields["sha256"])
    return {name: value for name, value in fields.items() if name not in ("format", "version", "sha256")}


def read_arrays(file: BinaryIO, most_bytes: int) -> Arrays:
    """The arrays of a file whose fields were read; `most_bytes` is what they can come to."""
    file.seek(0)
    limit = most_bytes + 8 + MOST_HEADER_BYTES
    content = file.read(limit + 1)
    if len(content) > limit:
        raise TicketError(f"it is larger than its recipe's network, which takes at most {most_bytes:,} bytes")
    try:
        return load(content)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise TicketError(f"its arrays cannot be read: {error}") from None


def _fields(header: bytes) -> tuple[dict[str, Any], int]:
    """The fields, and how many bytes of arrays the header declares."""
    try:
        outer = _json_object(header.decode())
        metadata = outer.pop("__metadata__", None)
        text = metadata.get(KEY) if isinstance(metadata, dict) else None
        fields = _json_object(text) if isinstance(text, str) else {}
        declared = max((int(array["data_offsets"][1]) for array in outer.values()), default=0)
    except (ValueError, TypeError, LookupError, RecursionError):
        raise TicketError("it is no safetensors file, or an altered one: its header makes no sense") from None
    if fields.get("format") != FORMAT:
        raise TicketError("it is a safetensors file, but no ticket")
    if fields.get("version") != VERSION:
        raise TicketError(f"it is a ticket of version {fields.get('version')!r}, and this program reads {VERSION}")
    if not isinstance(fields.get("sha256"), str) or not re.fullmatch("[0-9a-f]{64}", fields["sha256"]):
        raise TicketError("it was altered: it has no SHA-256")
    return fields, declared


def _json_object(text: str) -> dict[str, Any]:
    value = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _check_digest(file: BinaryIO, length: bytes, header: bytes, digest: str) -> None:
    found = hashlib.sha256(length + header.replace(digest.encode(), NO_DIGEST.encode(), 1))
    while chunk := file.read(1 << 20):
        found.update(chunk)
    if found.hexdigest() != digest:
        raise TicketError("it was altered or truncated: its bytes do not match its SHA-256")
