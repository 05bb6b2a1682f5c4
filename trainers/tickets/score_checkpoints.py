"""The K-score state of the slot machines' authors' code, taken over: training goes on as it would have gone on there.

Their `state_dict` holds `{layer}.weight`, the fixed values, and `{layer}.score`, each in the weight's shape, K last.
Values and scores are kept as they come; a ticket of such a network holds its selected weights, 32 bits each, since no
seed gives them. Their code saves no momentum: the first step starts without any, as it does there.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trainers.errors import InvalidInput, nearest
from trainers.methods.base import attach, weighted_layers
from trainers.methods.card import Method
from trainers.methods.slot_machine.weight import attach_given

# What their networks call a module, by our name for it. Their batch norms are numbered with gaps: see `_their_name`.
THEIR_NAMES = {
    r"conv(\d+)": r"features.conv_\1",
    r"fc(\d+)": r"classifier.fc\1",
    r"fc": r"classifier.fc1",  # of VGG-19, which has but one
}
THEIR_NORM = re.compile(r"(features\.bn_(\d+))\.")


def read_scores(path: Path | str) -> dict[str, Tensor]:
    """The tensors of a file of torch.save or of safetensors, on the CPU; no code in it is run.

    Raises InvalidInput for a file that is neither, or that holds more than tensors.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InvalidInput(f"scores: {path} cannot be read: {error.strerror or error}") from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = (str(error) or "it is empty").splitlines()[0]
        raise InvalidInput(f"scores: {path} is no file of tensors: {reason}") from None
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise InvalidInput(f"scores: {path} holds {type(found).__name__}, not tensors by name")
    return dict(found)


def import_scores(
    state: Mapping[str, Tensor], network: nn.Module, *, probabilistic: bool = False, sample_at_evaluation: bool = False
) -> nn.Module:
    """Make every weighted layer of the network a slot machine with the values and scores of `state`; gives the network.

    Modules are found by the network's own names, or by those of the authors' networks. The network's other tensors,
    such as running statistics, come along. Raises InvalidInput, and changes nothing, where state and network differ.
    """
    own = network.state_dict()
    keys = {name: _key(name, state) for name in own}  # of the state, by the network's names
    layers = [f"{name}.weight" for name, _ in weighted_layers(network)]
    scores = {name: keys[name].removesuffix("weight") + "score" for name in layers}
    _check_names({*keys.values(), *scores.values()}, state)
    for name, key in keys.items():
        _check_tensor(key, state[key], own[name], options=name in scores)
    for name, key in scores.items():
        _check_tensor(key, state[key], own[name], options=True)
        if state[key].shape != state[keys[name]].shape:
            raise InvalidInput(
                f"{key}: it has {state[key].shape[-1]} options, and {keys[name]} {state[keys[name]].shape[-1]}"
            )
    network.load_state_dict({name: state[key] for name, key in keys.items() if name not in scores}, strict=False)
    machines = {name.removesuffix(".weight"): (state[keys[name]], state[key]) for name, key in scores.items()}
    attach(network, _Imported(machines, probabilistic, sample_at_evaluation), seed=0)
    return network


@dataclass(frozen=True)
class _Imported(Method):
    """Values and scores as they were brought, by layer."""

    machines: dict[str, tuple[Tensor, Tensor]]
    probabilistic: bool
    sample_at_evaluation: bool

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        assert isinstance(layer.weight, Tensor)
        values, scores = (tensor.to(layer.weight) for tensor in self.machines[name])
        attach_given(
            layer, values, scores, probabilistic=self.probabilistic, sample_at_evaluation=self.sample_at_evaluation
        )


def _key(name: str, state: Mapping[str, Tensor]) -> str:
    """What the state calls a tensor of the network: the same, or as the authors' networks do."""
    module, _, leaf = name.rpartition(".")
    if name in state:
        return name
    for ours, theirs in THEIR_NAMES.items():
        if match := re.fullmatch(ours, module):
            return f"{match.expand(theirs)}.{leaf}"
    if match := re.fullmatch(r"norm(\d+)", module):
        norms = {int(found[2]): found[1] for key in state if (found := THEIR_NORM.match(key))}
        number = int(match[1])  # theirs count the poolings too: the n-th of them is our norm n
        if number <= len(norms):
            return f"{norms[sorted(norms)[number - 1]]}.{leaf}"
    return name


def _check_names(wanted: set[str], state: Mapping[str, Tensor]) -> None:
    faults = [f"{key}: missing{nearest(key, set(state) - wanted)}" for key in sorted(wanted - set(state))]
    if faults and not any(key.endswith(".score") for key in state):
        faults.append(
            "scores: there are none at all; a file of selected weights cannot be trained on as a slot machine"
        )
    faults += [f"{key}: the network has no such tensor" for key in sorted(set(state) - wanted)]
    if faults:
        raise InvalidInput("\n".join(faults))


def _check_tensor(key: str, tensor: Tensor, own: Tensor, *, options: bool) -> None:
    """`own`: the network's. Where there are options, K comes after its shape."""
    shape, wanted = tuple(tensor.shape), tuple(own.shape)
    if options and (shape[:-1] != wanted or shape[-1:] == (0,)):
        raise InvalidInput(f"{key}: it must be {(*wanted, 'K')}, not {shape}")
    if not options and shape != wanted:
        raise InvalidInput(f"{key}: it must be {wanted}, not {shape}")
    if torch.promote_types(tensor.dtype, own.dtype) != own.dtype:
        raise InvalidInput(f"{key}: it is {tensor.dtype}, and the network only {own.dtype}: convert the network first")
    if not tensor.isfinite().all():
        raise InvalidInput(f"{key}: not all of its numbers are finite")
