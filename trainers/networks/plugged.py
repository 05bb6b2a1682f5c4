"""The networks of plug-ins: their own where they were imported, else what their facts tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainers.networks.layers import InputShape
from trainers.networks.network import Network
from trainers.plugins.known import code_of, facts_of, needs_code

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Unread(Network):
    """A network whose code was not imported: it can be planned with and told of, and not built."""

    told: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        return self.told


def told_of_network(network: Network) -> dict[str, Any]:
    """What a spec tells of a plug-in's network, in plain data."""
    return {
        "title": network.title,
        "fields": list(network.fields),
        "smallest_sides": [[padding, side] for padding, side in sorted(network.smallest_sides.items())],
        "presets": {preset: dict(fields) for preset, fields in network.presets.items()},
        "convolutions": network.convolutions,
    }


def plugged_network(name: str, plugins: object) -> Network:
    """A plug-in's network, as far as this process knows it."""
    network: Network | None = code_of("NETWORKS", name, plugins)
    if network is not None:
        return network
    facts: Mapping[str, Any] = facts_of("NETWORKS", name, plugins) or {}

    def build(input_shape: InputShape, classes: int, **fields: Any) -> nn.Module:
        raise needs_code(plugins)

    return Unread(
        title=facts.get("title", name),
        build=build,
        smallest_sides=dict(facts.get("smallest_sides", [[1, 1]])),
        presets=facts.get("presets", {}),
        convolutions=facts.get("convolutions", True),
        told=tuple(facts.get("fields", ())),
    )
