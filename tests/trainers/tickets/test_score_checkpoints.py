"""The state of the authors' K-score code, taken over."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from tests.trainers.methods.k_scores import attach_k_scores
from trainers.errors import InvalidInput
from trainers.methods.base import selected_weights, weighted_layers
from trainers.methods.slot_machine.weight import SlotWeight
from trainers.networks.registry import NETWORKS
from trainers.tickets.score_checkpoints import import_scores, read_scores

OPTIONS = 4
# What the authors' networks call their modules: poolings count in the numbers of batch norms.
VGG_NORMS = (0, 1, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19)
THEIR_LAYERS = {
    "lenet": {f"fc{n}": f"classifier.fc{n}" for n in (1, 2, 3)},
    "conv6": {f"conv{n}": f"features.conv_{n}" for n in range(1, 7)}
    | {f"fc{n}": f"classifier.fc{n}" for n in (1, 2, 3)},
    "vgg19": {f"conv{n}": f"features.conv_{n}" for n in range(1, 17)} | {"fc": "classifier.fc1"},
}


def small(name: str) -> nn.Module:
    shape = (1, 3, 3) if name == "lenet" else (3, 32, 32)
    torch.manual_seed(1)
    return NETWORKS[name](shape, 5, width=0.05)


def their_state(name: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A file's content as their code writes it, with scores as they are after training: of any sign and size."""
    torch.manual_seed(2)
    state = {}
    for ours, layer in weighted_layers(small(name)):
        shape = (*layer.weight.shape, OPTIONS)
        state[f"{THEIR_LAYERS[name][ours]}.weight"] = torch.rand(shape, dtype=dtype) - 0.5
        state[f"{THEIR_LAYERS[name][ours]}.score"] = torch.randn(shape, dtype=dtype)
    return state


def write(state: dict[str, Tensor], path: Path) -> Path:
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_training_goes_on_as_the_k_score_code_would_have_gone_on(suffix, tmp_path):
    state = read_scores(write(their_state("lenet", torch.float64), tmp_path / f"init_weights_4.{suffix}"))
    taken_over = import_scores(state, small("lenet").double())
    plain = small("lenet").double()
    for ours, theirs in THEIR_LAYERS["lenet"].items():
        attach_k_scores(plain.get_submodule(ours), state[f"{theirs}.weight"], state[f"{theirs}.score"])
    images, labels = torch.randn(32, 1, 3, 3, dtype=torch.float64), torch.arange(32) % 5
    rules = {"lr": 0.5, "momentum": 0.9, "weight_decay": 1e-3}
    optimizers = [
        torch.optim.SGD([p for p in net.parameters() if p.requires_grad], **rules) for net in (taken_over, plain)
    ]
    changes, before = 0, None
    for _ in range(50):
        for net, optimizer in zip((taken_over, plain), optimizers, strict=True):
            optimizer.zero_grad()
            functional.cross_entropy(net(images), labels).backward()
        chosen = [slot.selected_options(b) for _, slot, b in selected_weights(taken_over)]
        assert all(torch.equal(a, s.chosen) for a, (_, s, _) in zip(chosen, selected_weights(plain), strict=True))
        changes += sum(int((a != b).sum()) for a, b in zip(chosen, before, strict=True)) if before else 0
        before = chosen
        for optimizer in optimizers:
            optimizer.step()
    assert changes > 10
    for (_, slot, b), (_, _, scores) in zip(selected_weights(taken_over), selected_weights(plain), strict=True):
        torch.testing.assert_close(slot.scores(b), scores.detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["conv6", "vgg19"])
def test_every_layer_of_the_authors_networks_is_found(name):
    state = their_state(name)
    norms = [key for key in small(name).state_dict() if key.startswith("norm")]
    for key in norms:
        module, leaf = key.split(".")
        number = VGG_NORMS[int(module.removeprefix("norm")) - 1]
        state[f"features.bn_{number}.{leaf}"] = torch.full_like(small(name).state_dict()[key], number + 1)
    network = import_scores(state, small(name))
    for ours, slot, _ in selected_weights(network):
        assert torch.equal(slot.options.values.view(-1), state[f"{THEIR_LAYERS[name][ours]}.weight"].view(-1))
        assert torch.equal(slot.options.scores.view(-1), state[f"{THEIR_LAYERS[name][ours]}.score"].view(-1))
    assert len(norms) == (3 * 16 if name == "vgg19" else 0)
    for key in norms:
        assert (network.state_dict()[key] == VGG_NORMS[int(key.split(".")[0].removeprefix("norm")) - 1] + 1).all()


def test_any_module_takes_scores_by_its_own_names_and_the_way_of_selecting():
    network = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4))
    state = {
        **{key: torch.full_like(tensor, 7) for key, tensor in network.state_dict().items()},
        "0.weight": torch.rand(4, 1, 3, 3, 6),
        "0.score": torch.rand(4, 1, 3, 3, 6),
    }
    import_scores(state, network, probabilistic=True, sample_at_evaluation=True)
    ((name, slot, b),) = selected_weights(network)
    assert isinstance(slot, SlotWeight) and (name, slot.probabilistic, slot.sample_at_evaluation) == ("0", True, True)
    assert torch.equal(slot.selected_options(b), state["0.score"].argmax(-1))
    assert (network[0].bias == 7).all() and (network[1].running_mean == 7).all()


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state = {**their_state("lenet"), **{name.replace("__", "."): tensor for name, tensor in changes.items()}}
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        (changed(classifier__fc2__score=None), r"classifier\.fc2\.score: missing"),
        (
            {key: tensor[..., 0] for key, tensor in their_state("lenet").items() if key.endswith("weight")},
            "scores: there are none at all",
        ),
        (changed(classifier__fc4__weight=torch.zeros(1)), r"classifier\.fc4\.weight: the network has no such tensor"),
        (
            changed(classifier__fc1__score=torch.zeros(15, 8, 4)),
            r"fc1\.score: it must be \(15, 9, 'K'\), not \(15, 8, 4\)",
        ),
        (changed(classifier__fc1__weight=torch.zeros(15, 9)), r"fc1\.weight: it must be \(15, 9, 'K'\), not \(15, 9\)"),
        (changed(classifier__fc1__score=torch.zeros(15, 9, 3)), r"fc1\.score: it has 3 options, and .*weight 4"),
        (changed(classifier__fc1__score=torch.full((15, 9, 4), torch.nan)), "fc1.score: not all .* finite"),
        (their_state("lenet", torch.float64), "is torch.float64, and the network only torch.float32"),
    ],
    ids=["no score", "selected weights", "a layer too many", "shape", "no options", "two K", "nan", "too fine"],
)
def test_a_state_that_does_not_fit_is_refused_and_the_network_stays_as_it_was(state, complaint):
    network = small("lenet")
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(InvalidInput, match=complaint):
        import_scores(state, network)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert not list(selected_weights(network))


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("the file's code was run",)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("absent.pt", None, "cannot be read"),
        ("absent.safetensors", None, "cannot be read"),
        ("bomb.pt", pickle.dumps({"classifier.fc1.weight": Bomb()}, protocol=2), "no file of tensors"),
        ("text.pt", b"scores", "no file of tensors"),
        ("text.safetensors", b"scores", "no file of tensors"),
        ("empty.pt", b"", "no file of tensors"),
    ],
)
def test_a_file_that_holds_no_tensors_is_refused_and_no_code_in_it_is_run(name, content, complaint, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=complaint):
        read_scores(tmp_path / name)


def test_a_file_of_something_else_than_tensors_by_name_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "metrics_8.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    for name in ("metrics_8.pt", "list.pt"):
        with pytest.raises(InvalidInput, match="not tensors by name"):
            read_scores(tmp_path / name)
