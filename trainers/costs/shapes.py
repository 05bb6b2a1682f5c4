"""The connections, FLOPs and bytes of a network by its fields: kept, remembered, or counted with torch, in this order.

known_networks.json beside this file has the networks of the presets and of the bundled specs. What it lacks is counted
once on a machine and remembered in the user's cache folder. Both are believed only for the very sources that the counts
were made with: those of the networks and of the counting, and of the file, or the plug-in, that a builder of one's
own stands in.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trainers.cache_folder import cache_folder
from trainers.networks.layers import InputShape
from trainers.networks.network import NEUTRAL
from trainers.networks.registry import network_named
from trainers.plugins.known import is_of_plugin, key_of, known_plugin
from trainers.sources import sources_digest

KNOWN = Path(__file__).with_name("known_networks.json")
COUNTING = Path(__file__).with_name("counting.py")


@dataclass(frozen=True)
class NetworkShape:
    """What follows from a network's fields, the size of its images and the number of classes."""

    connections: int
    forward_flops: int  # of an image
    training_flops: int  # of an image
    bytes_of_an_image: int  # in a training step: activations, and the two largest of their gradients
    bytes_of_a_step: int  # the same, whatever the batch

    def step_bytes(self, batch: int) -> int:
        """Bytes of activations of a training step, and of the two largest gradients of activations."""
        return self.bytes_of_a_step + batch * self.bytes_of_an_image


def network_shape(
    network: str, fields: Mapping[str, Any], input_shape: InputShape, classes: int, plugins: str | None = None
) -> NetworkShape:
    """The counts of a registered network for images of `input_shape` (channels, height, width).

    `plugins`: those of its recipe. Raises InvalidInput where a plug-in's is to be counted that was not imported.
    """
    key, sources = shape_key(network, fields, input_shape, classes), _sources_of(network, plugins)
    if key not in (known := _known(sources)):
        from trainers.costs.counting import counted

        known[key] = NetworkShape(**counted(network, fields, input_shape, classes, plugins))
        _remember(sources, known)
    return known[key]


def shape_key(network: str, fields: Mapping[str, Any], input_shape: InputShape, classes: int) -> str:
    """The name that the counts are kept under: `conv2 3x32x32 10 dropout=0.5 padding=1`."""
    said = [_said(name, fields[name]) for name in sorted(fields) if fields[name] is not None]
    return " ".join([network, "x".join(map(str, input_shape)), str(classes), *said])


def _said(name: str, value: Any) -> str:
    usual = NEUTRAL[name]
    return f"{name}={value if usual is None else type(usual)(value)!r}"  # a width of 1 is one of 1.0


@cache
def counting_sources(builder: Path | None = None) -> str:
    """The digest of all that decides the counts; `builder`: a file outside this package with a network's builder."""
    networks = sources_digest(Path(__file__).parents[1] / "networks")
    own = builder.read_bytes() if builder else b""
    return hashlib.sha256(networks.encode() + COUNTING.read_bytes() + own).hexdigest()


def _sources_of(network: str, plugins: str | None) -> str:
    if is_of_plugin(network):
        plugin = known_plugin(key_of(network, plugins) or "")
        return hashlib.sha256(f"{counting_sources()} {plugin.digest if plugin else ''}".encode()).hexdigest()
    build = network_named(network).build
    inside = build.__module__.startswith("trainers.networks.")
    return counting_sources(None if inside else Path(build.__code__.co_filename))


@cache
def _known(sources: str) -> dict[str, NetworkShape]:
    """All that is known of these sources; only ever added to, so that whoever asks next finds it too."""
    found: dict[str, NetworkShape] = {}
    for path in (KNOWN, _remembered(sources)):
        # A file that is damaged or of other sources says nothing; its networks are counted again.
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            content = json.loads(path.read_text()) if path else {}
            if content.get("sources") == sources:
                found |= {key: NetworkShape(**counts) for key, counts in content["networks"].items()}
    return found


def _remember(sources: str, known: Mapping[str, NetworkShape]) -> None:
    """Keeps the counts for processes to come. Where that cannot be, they count themselves."""
    if (path := _remembered(sources)) is None:
        return
    with suppress(OSError):
        handle, scratch = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "w") as file:
            file.write(as_json(sources, known))
        os.replace(scratch, path)


def as_json(sources: str, known: Mapping[str, NetworkShape]) -> str:
    """The counts as a file has them, one network a line."""
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(asdict(known[key]))}" for key in sorted(known))
    return f'{{"sources": "{sources}", "networks": {{\n{lines}\n}}}}\n'


def _remembered(sources: str) -> Path | None:
    """The file of these sources, and of these versions of the libraries that build and count."""
    folder = cache_folder()
    name = hashlib.sha256(f"{sources} {_version('torch')} {_version('torchvision')}".encode()).hexdigest()[:16]
    return folder / f"networks-{name}.json" if folder else None


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
