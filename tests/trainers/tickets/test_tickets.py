"""Tickets: the very network comes back from its file, and a file that is not one is refused with its reason."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from torch import nn

from trainers.conversions.apply import convert
from trainers.conversions.registry import build_conversion
from trainers.data.splits import load_splits
from trainers.methods.base import attach, bake, selected_weights, weighted_layers
from trainers.methods.registry import METHOD_FIELDS, build_method
from trainers.networks.registry import build_network
from trainers.recipe.recipe import Recipe
from trainers.tickets import contexts
from trainers.tickets.entropy_coding import pack
from trainers.tickets.file_format import KEY, MOST_FILE_BYTES, NO_DIGEST, TEXT_BLOCK, TicketError, read_fields, seal
from trainers.tickets.tickets import encode_ticket, load_ticket, save_ticket
from trainers.training import TrainingRun

DIGITS = {"network": "lenet", "dataset": "digits", "width": 0.3, "seed": 7}
SLOT = {**DIGITS, "method": "slot_machine"}
RECIPES = {
    "K=1": {**SLOT, "options": 1},
    "K=2": {**SLOT, "options": 2},
    "K=4": {**SLOT, "options": 4},
    "K=5": {**SLOT, "options": 5},
    "K=64": {**SLOT, "options": 64},
    "probabilistic": {**SLOT, "selection": "probabilistic"},
    "layer-shared": {**SLOT, "sharing": "layer"},
    "network-shared": {**SLOT, "sharing": "network"},
    "equal scores": {**SLOT, "score_range_linear": 0.0},
    "edge-popup, signed": {**DIGITS, "method": "edge_popup", "keep_fraction": 0.3},
    "edge-popup, normal": {**DIGITS, "method": "edge_popup", "weight_init": "kaiming_normal"},
    "supermask": {**DIGITS, "method": "supermask"},
    "supermask, normal": {**DIGITS, "method": "supermask", "weight_init": "glorot_normal", "rescale": False},
    "edge-popup, frozen": {**DIGITS, "method": "edge_popup", "keep_fraction": 0.3, "frozen_fraction": 0.7},
    "edge-popup, gain": {
        **DIGITS,
        "method": "edge_popup",
        "weight_init": "kaiming_normal",
        "gain": "mean_size",
        "frozen_fraction": 0.5,
    },
    "signed supermask": {**DIGITS, "method": "signed_supermask"},
    "binary": {**DIGITS, "method": "binary"},
    "binary convolutions": {**DIGITS, "method": "binary", "network": "conv2", "dataset": "cifar10", "width": 0.1},
    "random features": {**DIGITS, "method": "random_features", "readout": "all_hidden"},
    "learned": {**DIGITS, "method": "learned"},
    "ternary": {**DIGITS, "method": "learned", "conversion": "ternary", "conversion_scales": "channel"},
    "bfloat16": {**DIGITS, "method": "learned", "conversion": "bfloat16"},
    "quantised batch norm": {
        **SLOT,
        "network": "vgg19",
        "dataset": "cifar10",
        "width": 0.05,
        "conversion": "quantised",
        "conversion_bits": 3,
        "conversion_scales": "layer",
    },
    "convolutions": {**SLOT, "network": "conv6", "dataset": "cifar10", "width": 0.1},
    "batch norm": {**SLOT, "network": "vgg19", "dataset": "cifar10", "width": 0.05},
    "masked batch norm": {**DIGITS, "network": "vgg19", "dataset": "cifar10", "width": 0.05, "method": "edge_popup"},
}


def recipe_of(name: str, **changes: Any) -> Recipe:
    return Recipe.complete({**RECIPES[name], **changes})


def trained(recipe: Recipe, moved: float = 0.5) -> nn.Module:
    """The recipe's network as if it had been trained: many of its connections chose anew, and its statistics moved."""
    shape = (1, 8, 8) if recipe.dataset == "digits" else (3, 32, 32)
    torch.manual_seed(1)
    network = build_network(recipe, shape, 10)
    attach(network, build_method(recipe), recipe.seed)
    with torch.no_grad():
        for _, _, original in selected_weights(network):
            original += moved * torch.randn_like(original)
        for name, buffer in network.named_buffers():
            if "running" in name:
                buffer.uniform_()
    if (conversion := build_conversion(recipe)) is not None:
        bake(network)
        convert(network, conversion)
    return network


def state_of(network: nn.Module) -> dict[str, bytes]:
    """Every tensor that the network has once its selection is baked in, bit for bit."""
    state = {name: tensor for name, tensor in network.state_dict().items() if "parametrizations" not in name}
    state |= {f"{name}.weight": selection.selected(original) for name, selection, original in selected_weights(network)}
    return {name: tensor.numpy().tobytes() for name, tensor in state.items()}


def connections(network: nn.Module) -> int:
    with torch.no_grad():
        return sum(layer.weight.numel() for _, layer in weighted_layers(network))


@pytest.mark.parametrize("name", RECIPES)
def test_the_very_network_comes_back(name, tmp_path):
    recipe = recipe_of(name)
    network = trained(recipe)
    size = save_ticket(network, recipe, tmp_path / "ticket.safetensors")
    state = torch.get_rng_state()
    again, found = load_ticket(tmp_path / "ticket.safetensors")
    assert state_of(again) == state_of(network)
    assert found == recipe.model_copy(update={"filled": ()})
    assert size == (tmp_path / "ticket.safetensors").stat().st_size
    assert len(encode_ticket(network, recipe)) == size
    assert torch.equal(torch.get_rng_state(), state), "loading draws from torch's generator"
    assert not again.training and all(parameter.requires_grad for parameter in again.parameters())
    assert [file.name for file in tmp_path.iterdir()] == ["ticket.safetensors"]


def test_more_options_than_the_coder_takes_are_packed(monkeypatch, tmp_path):
    monkeypatch.setattr(contexts, "MOST_SYMBOLS", 4)
    recipe = recipe_of("K=5")
    network = trained(recipe)
    save_ticket(network, recipe, tmp_path / "t")
    assert set(load((tmp_path / "t").read_bytes())) == {"packed"}
    assert state_of(load_ticket(tmp_path / "t")[0]) == state_of(network)


def test_every_method_is_tried():
    assert {recipe["method"] for recipe in RECIPES.values()} == set(METHOD_FIELDS)


def weightless_bytes(recipe: Recipe, network: nn.Module) -> int:
    """What a ticket takes besides its choices."""
    arrays = load(encode_ticket(network, recipe))
    return len(encode_ticket(network, recipe)) - sum(a.nbytes for name, a in arrays.items() if "kept" not in name)


@pytest.mark.parametrize("name", ["K=2", "K=5", "K=64", "layer-shared", "edge-popup, signed", "supermask"])
def test_a_ticket_takes_its_packed_choices_at_most_and_less_where_few_have_moved(name):
    recipe = recipe_of(name, width=0.6)
    bits = math.ceil(math.log2(recipe.options or 2))
    much, little = trained(recipe, moved=50.0), trained(recipe, moved=1e-3)
    count = connections(much)
    besides = weightless_bytes(recipe, much)
    assert besides < TEXT_BLOCK + 1024
    assert len(encode_ticket(much, recipe)) <= besides + bits * (count / 8 + 1)
    if recipe.method == "slot_machine":
        assert len(encode_ticket(little, recipe)) < besides + 0.25 * bits * count / 8


def test_untrained_choices_of_a_mask_take_their_entropy():
    recipe = recipe_of("edge-popup, signed", width=1.0)
    network = trained(recipe)
    entropy = -sum(p * math.log2(p) for p in (0.3, 0.7))
    choices = len(encode_ticket(network, recipe)) - weightless_bytes(recipe, network)
    assert 8 * choices / connections(network) == pytest.approx(entropy, abs=0.03)


def test_no_weight_of_a_slot_machine_or_mask_is_stored():
    for name in ("K=5", "edge-popup, normal", "supermask, normal"):
        arrays = load(encode_ticket(trained(recipe_of(name)), recipe_of(name)))
        assert not any(name.startswith("kept") or array.dtype.kind == "f" for name, array in arrays.items())


def test_learned_and_finetuned_weights_are_stored_as_they_are(tmp_path):
    recipe = recipe_of("K=5", slot_epochs=1, finetune_epochs=1)
    network = trained(recipe)
    bake(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.01
    save_ticket(network, recipe, tmp_path / "t")
    assert state_of(load_ticket(tmp_path / "t")[0]) == state_of(network)
    bits = 8 * len(encode_ticket(network, recipe)) / connections(network)
    assert 32 < bits < 32 + 8 * (TEXT_BLOCK + 1024) / connections(network)


@pytest.mark.parametrize("name", ["K=5", "probabilistic", "edge-popup, signed", "supermask", "learned", "equal scores"])
def test_a_trained_network_tests_the_same_from_its_ticket_and_costs_its_size(name, tmp_path):
    phase = "finetune" if name == "learned" else "slot"
    evaluation = {"evaluation": "threshold"} if name == "supermask" else {}
    recipe = recipe_of(name, **{f"{phase}_epochs": 2}, **evaluation)
    run = TrainingRun(recipe, load_splits(recipe, None, "cpu"))
    list(run.epochs())
    size = save_ticket(run.network, recipe, tmp_path / "t")
    assert run.costs()["stored_bits_per_weight"] == 8 * size / connections(run.network)
    # A ticket holds the selection by arg-max: nothing of it is sampled, so that it is evaluated in one way.
    one_way = dict.fromkeys(("argmax_accuracy", "sampled_accuracy", "argmax_loss", "sampled_loss"))
    trained_test = replace(run.test(), **one_way)
    run.network, _ = load_ticket(tmp_path / "t")
    assert run.test() == trained_test


def test_what_comes_after_a_shared_stage_does_not_change_its_bits():
    """Trials that share a stage must find the costs in it that they would have alone."""
    network = trained(recipe_of("K=5"))
    bits = {
        len(encode_ticket(network, recipe_of("K=5", **changes)))
        for changes in (
            {},
            {"slot_epochs": 3},
            {"slot_epochs": 100_000, "finetune_epochs": 99_999, "finetune_learning_rate": 1 / 3},
            {"preset": "authors_code", "finetune_schedule": "cosine", "score_range_linear": 0.1},
        )
    }
    assert len(bits) == 1


@pytest.mark.parametrize("method", METHOD_FIELDS)
def test_the_longest_recipe_fits_into_one_block_of_text(method):
    long = {
        "network": "wide_resnet50", "dataset": "image_folder", "method": method, "seed": 2**63 - 1, "image_size": 1024,
        "preset": "authors_code", "width": 1.0, "batch_size": 100_000, "validation_examples": 1_000_000,
        "split_seed": 2**63 - 1, "options": 65_536, "slot_epochs": 0 if method == "learned" else 100_000,
        "finetune_epochs": 100_000,
    }  # fmt: skip
    if method == "learned":
        long["start"] = "random_option"
    elif method != "slot_machine":
        del long["options"]
    third = 1.2345678901234567e-100
    for phase in ("slot", "finetune"):
        long |= {f"{phase}_schedule": "warm_restarts", f"{phase}_schedule_epochs": 99_999, f"{phase}_nesterov": True}
        long |= {f"{phase}_{field}": third for field in ("learning_rate", "momentum", "weight_decay")}
        long[f"{phase}_schedule_factor"] = 2.0
    recipe = Recipe.complete(long)
    fields = recipe.model_dump(mode="json", exclude_none=True, exclude={"filled"})
    digests = {"weights_sha256": NO_DIGEST, "input_shape": [3, 1024, 1024], "classes": 100_000}
    text = text_of(seal({}, {**digests, "recipe": fields}))
    assert len(json.dumps(text)) == TEXT_BLOCK


def test_a_network_that_is_not_the_recipes_is_not_saved(tmp_path):
    recipe = recipe_of("K=5")
    with_more = trained(recipe)
    with_more.register_buffer("more", torch.zeros(1))
    for network, reason in (
        (trained(recipe_of("K=5", width=0.2)), "network: it is not the lenet of the recipe"),
        (trained(recipe_of("convolutions")), "network: it is not the lenet of the recipe"),
        (trained(recipe).double(), "network: its fc1.weight is torch.float64, and tickets are of torch.float32"),
        (
            trained(recipe_of("learned")).double(),
            "network: its tensors are not those of the lenet of the recipe, in float32",
        ),
        (with_more, "network: its tensors are not those of the lenet of the recipe, in float32"),
        (trained(recipe_of("K=5", seed=8)), "could not be read again: the weights drawn from its seed are not those"),
    ):
        with pytest.raises(TicketError, match=reason):
            save_ticket(network, recipe, tmp_path / "t")
    assert not list(tmp_path.iterdir())


def test_a_ticket_that_cannot_be_written_says_where_and_leaves_nothing(tmp_path):
    recipe = recipe_of("K=5")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "absent" / "t"):
        with pytest.raises(TicketError, match=f"{path} cannot be written"):
            save_ticket(trained(recipe), recipe, path)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_images_of_another_shape_than_the_data_sets_are_told(tmp_path):
    recipe = recipe_of("K=5")
    network = build_network(recipe, (2, 5, 5), 3)
    attach(network, build_method(recipe), recipe.seed)
    with pytest.raises(TicketError, match="it is not the lenet"):
        save_ticket(network, recipe, tmp_path / "t")
    save_ticket(network, recipe, tmp_path / "t", input_shape=(2, 5, 5))
    again, _ = load_ticket(tmp_path / "t")
    assert state_of(again) == state_of(network) and again(torch.zeros(1, 2, 5, 5)).shape == (1, 3)


# What is refused


SMALL = recipe_of("K=5", width=0.05)
CONTENT = encode_ticket(trained(SMALL), SMALL)
NORMED = recipe_of("batch norm")
NORMED_CONTENT = encode_ticket(trained(NORMED), NORMED)


def text_of(content: bytes) -> str:
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return header["__metadata__"][KEY]


def parts_of(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a ticket, and its fields without those that `seal` adds."""
    return load(content), read_fields(io.BytesIO(content), len(content))


def refusal(content: bytes, path: Path) -> str:
    path.write_bytes(content)
    with pytest.raises(TicketError) as caught:
        load_ticket(path)
    assert str(caught.value).startswith(f"ticket: {path}: ")
    return str(caught.value).removeprefix(f"ticket: {path}: ")


def test_a_ticket_altered_in_any_one_byte_is_refused(tmp_path):
    generator = np.random.default_rng(0)
    header = 8 + int.from_bytes(CONTENT[:8], "little")
    everywhere = generator.choice(len(CONTENT), 300, replace=False)
    for place in {*range(16), *range(header - 16, header + 16), len(CONTENT) - 1, *map(int, everywhere)}:
        altered = bytearray(CONTENT)
        altered[place] ^= int(generator.integers(1, 256))
        refusal(bytes(altered), tmp_path / "t")


def test_a_space_of_the_padding_altered_into_another_is_refused(tmp_path):
    place = CONTENT.index(b"      ")
    altered = CONTENT[:place] + b"\t" + CONTENT[place + 1 :]
    assert "altered" in refusal(altered, tmp_path / "t") or "no sense" in refusal(altered, tmp_path / "t")


def test_a_truncated_or_lengthened_ticket_is_refused(tmp_path):
    for length in (0, 1, 7, 8, 9, 500, 2500, len(CONTENT) - 1):
        reason = refusal(CONTENT[:length], tmp_path / "t")
        assert "truncated" in reason or length < 8
    assert f"of {len(CONTENT):,} bytes it has {len(CONTENT) + 1:,}" in refusal(CONTENT + b"x", tmp_path / "t")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no safetensors file"),
        (b"not a ticket, but more than eight bytes", "no safetensors file"),
        (b"\x80\x04cos\nsystem\n(S'touch /tmp/x'\ntR.", "no safetensors file"),
        (save({"weight": np.zeros(3, np.float32)}), "a safetensors file, but no ticket"),
        (save({}, metadata={KEY: "{}"}), "a safetensors file, but no ticket"),
        (save({}, metadata={KEY: "[" * 100_000}), "its header makes no sense"),
        (save({}, metadata={KEY: '{"format": NaN}'}), "its header makes no sense"),
        (save({}, metadata={KEY: text_of(CONTENT).replace('"version":1', '"version":2')}), "a ticket of version 2"),
        (save({}, metadata={KEY: text_of(CONTENT).replace("sha256", "sha")}), "it has no SHA-256"),
        (save({}, metadata={KEY: text_of(CONTENT)}), "do not match its SHA-256"),
        ((2).to_bytes(8, "little") + b"[]", "its header makes no sense"),
        ((8).to_bytes(8, "little") + b'{"a":1} ', "its header makes no sense"),
    ],
)
def test_a_file_that_is_no_ticket_is_refused_with_its_reason(content, reason, tmp_path):
    assert reason in refusal(content, tmp_path / "t")


def test_a_path_that_is_no_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(TicketError, match="there is no such file"):
            load_ticket(path)


def test_a_file_far_too_large_is_refused_unread(tmp_path):
    with (tmp_path / "t").open("wb") as file:
        file.write(CONTENT)
        file.truncate(MOST_FILE_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(TicketError, match="a ticket has at most"):
        load_ticket(tmp_path / "t")


def hostile(content: bytes = CONTENT, **changes: Any) -> bytes:
    """A ticket with a right SHA-256, in which something else is wrong: an array, a field, or a field of the recipe."""
    arrays, fields = parts_of(content)
    for name, value in changes.items():
        if isinstance(value, np.ndarray):
            arrays[name.replace("__", ".")] = value
        elif name in arrays:
            del arrays[name]
        elif name in fields:
            fields[name] = value
        else:
            fields["recipe"] = {**fields["recipe"], name: value}
    return seal(arrays, fields)


FOUR = recipe_of("K=4", width=0.05)
PACKED = encode_ticket(trained(FOUR, moved=50.0), FOUR)
PACKED_SIZE = parts_of(PACKED)[0]["packed"].size


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (hostile(weights_sha256="0" * 64), "not those that were saved: other rules drew them"),
        (hostile(seed=8), "not those that were saved: other rules drew them"),
        (hostile(recipe={}), "recipe.network: missing"),
        (hostile(recipe=[1]), "its metadata are"),
        (hostile(optoins=8), "recipe.optoins: unknown field (did you mean options?)"),
        (hostile(method="learned"), "recipe."),
        (hostile(width=1000.0), "connections, and the file only"),
        (hostile(width=1e300), "recipe.width: should be less than or equal to 1000"),
        (hostile(network="vgg19"), "recipe.network: vgg19 needs images of at least 16"),
        (hostile(input_shape=[1, 8, 1 << 20]), "connections, and the file only"),
        (hostile(input_shape=[1, 8, 1 << 60]), "make no sense"),
        (hostile(input_shape=[1, 8, -8]), "make no sense"),
        (hostile(input_shape=[1, 8]), "make no sense"),
        (hostile(input_shape="8x8"), "make no sense"),
        (hostile(classes=True), "make no sense"),
        (hostile(classes=10.0), "make no sense"),
        (hostile(input_shape=[1, 9, 9]), "choices cannot be read"),
        (hostile(PACKED, packed=None), "not missing"),
        (hostile(PACKED, packed=np.zeros(PACKED_SIZE - 1, np.uint8)), "choices cannot be read"),
        (seal({"packed": np.full(3 * 136, 255, np.uint8)}, parts_of(CONTENT)[1]), "the highest is 4"),
        (hostile(PACKED, more=np.zeros(3)), "choices are packed or"),
        (hostile(PACKED, kept__fc4__weight=np.zeros(3, np.float32)), "'fc4.weight', and lenet has none"),
        (hostile(PACKED, **{"kept__../../etc/passwd": np.zeros(3)}), "'../../etc/passwd', and lenet has none"),
        (hostile(PACKED, kept__fc1__weight=np.zeros((3, 3), np.float32)), "its fc1.weight is float32 (3, 3), not"),
        (hostile(PACKED, kept__fc3__weight=np.zeros((10, 5))), "its fc3.weight is float64 (10, 5), not float32"),
        (hostile(PACKED, kept__fc3__weight=np.zeros((10, 5), np.float32)), "choices cannot be read"),
        (hostile(NORMED_CONTENT, **{"kept.norm1.running_var": None}), "it lacks norm1.running_var"),
        (hostile(PACKED, packed=np.zeros(5 << 20, np.uint8)), "larger than its recipe's network"),
    ],
)
def test_a_sealed_file_that_is_not_what_it_claims_is_refused_with_its_reason(content, reason, tmp_path):
    assert reason in refusal(content, tmp_path / "t")


def test_learned_weights_that_are_missing_are_not_drawn(tmp_path):
    recipe = recipe_of("learned")
    content = hostile(encode_ticket(trained(recipe), recipe), **{"kept.fc2.weight": None})
    assert "it lacks fc2.weight, and learned weights cannot be drawn" in refusal(content, tmp_path / "t")


@pytest.mark.parametrize("content", [CONTENT, PACKED, NORMED_CONTENT], ids=["coded", "packed", "batch norm"])
def test_whatever_is_changed_in_a_sealed_file_it_is_refused_or_loaded_never_fails(content, tmp_path):
    """Random changes under a right SHA-256: only TicketError comes out, and nothing runs for long."""
    generator = np.random.default_rng(3)
    values = [None, True, -1, 0, 3, 2**70, 0.5, 1e308, "", "../x", "lenet", "slot_machine", "mnist", [], {}, [1, 8, 8]]
    refused = 0
    for _ in range(120):
        arrays, fields = parts_of(content)
        for _ in range(generator.integers(1, 3)):
            place = generator.integers(3)
            if place == 0:
                if isinstance(fields["recipe"], dict) and fields["recipe"]:
                    name = str(generator.choice(sorted(fields["recipe"])))
                    fields["recipe"] = {**fields["recipe"], name: values[generator.integers(len(values))]}
            elif place == 1:
                fields[str(generator.choice(sorted(fields)))] = values[generator.integers(len(values))]
            elif arrays:
                name = str(generator.choice(sorted(arrays)))
                array = arrays.pop(name)
                replaced = [array.reshape(-1)[:-1], array.astype(np.float64), np.roll(array, 1), array[None], None]
                choice = replaced[generator.integers(len(replaced))]
                if choice is not None:
                    arrays[name + "x" * int(generator.integers(2))] = np.ascontiguousarray(choice)
        (tmp_path / "t").write_bytes(seal(arrays, fields))
        try:
            load_ticket(tmp_path / "t")
        except TicketError:
            refused += 1
    assert refused > 60


# Taken when version 1 was made. Where one of them has to change, `ticket_file.VERSION` has to be raised.
WEIGHTS_OF_VERSION_1 = {
    "K=4": "f319a3021df4b070329603b9211f0f9f12a45e66e84e7bda4ebe4714b33fafff",
    "network-shared": "d7ec6fa5f1197c3e1b1a159a977e8baa532fca02b268a109ca6936adfd963d2b",
    "edge-popup, signed": "9339abbfcb29bb1047fa60ddcacdb2e40473f132388a7f3768b4fab110cbace6",
    "supermask": "5f720e29633d242d6cf47bde1ec07df52b26e7478c8ae78539a7328bb9fb750b",
}


@pytest.mark.parametrize("name", WEIGHTS_OF_VERSION_1)
def test_a_ticket_that_was_written_long_ago_still_gives_its_weights(name, tmp_path):
    recipe = recipe_of(name, width=0.05)
    sizes = [64 * 15, 15 * 5, 5 * 10]
    kept = [math.ceil(0.3 * size) for size in sizes]  # of a mask: the first ones
    masks = [np.arange(size) < count for size, count in zip(sizes, kept, strict=True)]
    choices = np.arange(sum(sizes)) % recipe.options if recipe.options else np.concatenate(masks)
    fields = {
        "weights_sha256": WEIGHTS_OF_VERSION_1[name],
        "input_shape": [1, 8, 8],
        "classes": 10,
        "recipe": recipe.model_dump(mode="json", exclude_none=True, exclude={"filled"}),
    }
    (tmp_path / "t").write_bytes(seal({"packed": pack(choices.astype(np.uint16), recipe.options or 2)}, fields))
    network, _ = load_ticket(tmp_path / "t")
    assert sum(parameter.numel() for parameter in network.parameters()) == sum(sizes)
