"""Recipes: what is refused and in which words, what is a default, and what is part of the hash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from trainers.errors import InvalidInput
from trainers.hashing import AlikeHashes, content_hash
from trainers.recipe.choices import LABELS, LENGTH_DEPENDENT_SCHEDULES, PHASES
from trainers.recipe.recipe import Recipe

LENET = {"network": "lenet", "dataset": "mnist", "method": "slot_machine"}
LEARNED = {"network": "lenet", "dataset": "mnist", "method": "learned"}
POPUP = {"network": "conv4", "dataset": "cifar10", "method": "edge_popup"}
MASK = {"network": "lenet", "dataset": "mnist", "method": "supermask"}
NAN = float("nan")
NETWORKS = "lenet, shallow, conv2, conv4, conv6, vgg19, alexnet, resnet18, resnet34, resnet50, resnet101, wide_resnet50"


def recipe(base: dict[str, Any] = LENET, **fields: Any) -> Recipe:
    return Recipe.complete({**base, **fields})


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # names
    (LENET, {"network": "lenett"}, f"network: 'lenett' is not one of {NETWORKS} (did you mean lenet?)"),
    (LENET, {"network": ["lenet"]}, f"network: ['lenet'] is not one of {NETWORKS} (did you mean lenet?)"),
    (
        LENET,
        {"dataset": "cifar"},
        "dataset: 'cifar' is not one of digits, mnist, fashion_mnist, cifar10, image_folder (did you mean cifar10?)",
    ),
    (
        LENET,
        {"dataset": ["mnist"]},
        "dataset: ['mnist'] is not one of digits, mnist, fashion_mnist, cifar10, image_folder (did you mean mnist?)",
    ),
    (
        LENET,
        {"method": "slotmachine"},
        "method: 'slotmachine' is not one of slot_machine, learned, edge_popup, supermask, signed_supermask, "
        "random_features, binary (did you mean slot_machine?)",
    ),
    (LENET, {"preset": "iclm"}, "preset: 'iclm' is not one of icml, authors_code, tuned (did you mean icml?)"),
    (
        LENET,
        {"selection": "greddy"},
        "selection: 'greddy' is not one of greedy, probabilistic (did you mean greedy?)",
    ),
    (LENET, {"sharing": "layers"}, "sharing: 'layers' is not one of none, layer, network (did you mean layer?)"),
    (
        LENET,
        {"slot_schedule": "cosin"},
        "slot_schedule: 'cosin' is not one of constant, warm_restarts, steps, cosine, cooldown, staircase "
        "(did you mean cosine?)",
    ),
    (LENET, {"slot_optimizer": "adam"}, "slot_optimizer: 'adam' is not one of sgd"),
    (LENET, {"optionss": 8}, "optionss: unknown field (did you mean options?)"),
    (LENET, {"zebra": 8}, "zebra: unknown field"),
    # kinds and ranges
    (LENET, {"options": "8"}, "options: should be a valid integer, not '8'"),
    (LENET, {"options": True}, "options: should be a valid integer, not True"),
    (LENET, {"options": 0}, "options: should be greater than or equal to 1, not 0"),
    (LENET, {"options": 65537}, "options: should be less than or equal to 65536, not 65537"),
    (LENET, {"slot_nesterov": "yes"}, "slot_nesterov: should be a valid boolean, not 'yes'"),
    (LENET, {"seed": -1}, "seed: should be greater than or equal to 0, not -1"),
    (LENET, {"seed": 2**63}, f"seed: should be less than {2**63}, not {2**63}"),
    (LENET, {"batch_size": 0}, "batch_size: should be greater than or equal to 1, not 0"),
    (LENET, {"width": 0}, "width: should be greater than 0, not 0"),
    (LENET, {"slot_momentum": 1.0}, "slot_momentum: should be less than 1, not 1.0"),
    (LENET, {"slot_momentum": NAN}, "slot_momentum: should be less than 1, not nan"),
    (LENET, {"slot_learning_rate": NAN}, "slot_learning_rate: should be a finite number, not nan"),
    (LENET, {"slot_learning_rate": float("inf")}, "slot_learning_rate: should be a finite number, not inf"),
    (LENET, {"slot_weight_decay": -1.0}, "slot_weight_decay: should be greater than or equal to 0, not -1.0"),
    (LENET, {"finetune_epochs": 100_001}, "finetune_epochs: should be less than or equal to 100000, not 100001"),
    (POPUP, {"keep_fraction": NAN}, "keep_fraction: should be less than or equal to 1, not nan"),
    (POPUP, {"keep_fraction": 0.0}, "keep_fraction: should be greater than 0, not 0.0"),
    # a method's own fields
    (LENET, {"keep_fraction": 0.5}, "keep_fraction: slot_machine has no such field, so it must be left out, not 0.5"),
    (LENET, {"options": None}, "options: missing, and slot_machine needs it"),
    (POPUP, {"keep_fraction": None}, "keep_fraction: missing, and edge_popup needs it"),
    (LENET, {"evaluation": "sampled"}, "evaluation: greedy selection evaluates by argmax, not 'sampled'"),
    (LENET, {"evaluation": "threshold"}, "evaluation: slot_machine knows argmax and sampled, not 'threshold'"),
    (MASK, {"evaluation": "argmax"}, "evaluation: supermask knows mean_of_samples and threshold, not 'argmax'"),
    (
        POPUP,
        {"weight_init": "glorot_normal"},
        "weight_init: edge_popup knows kaiming_normal and signed_constant, not 'glorot_normal'",
    ),
    (
        MASK,
        {"weight_init": "kaiming_normal"},
        "weight_init: supermask knows glorot_normal and signed_constant, not 'kaiming_normal'",
    ),
    (LEARNED, {"options": 8}, "options: weights that start from glorot have no options, so leave it out, not 8"),
    (
        LEARNED,
        {"value_bound": "glorot_normal"},
        "value_bound: weights that start from glorot have no options, so leave it out, not 'glorot_normal'",
    ),
    # phases
    (LENET, {"slot_epochs": 0}, "slot_epochs, finetune_epochs: at least one must be above 0, but both are 0"),
    (
        LEARNED,
        {"slot_epochs": 3},
        "slot_epochs: learned has no slot phase, so it must be 0, not 3 (use finetune_epochs)",
    ),
    (
        LENET,
        {"slot_schedule": "steps", "slot_schedule_factor": 0.1},
        "slot_schedule_epochs: missing, and the schedule steps needs it",
    ),
    (
        LENET,
        {"slot_schedule": "warm_restarts", "slot_schedule_factor": None},
        "slot_schedule_factor: missing, and the schedule warm_restarts needs it",
    ),
    (
        LENET,
        {"slot_schedule": "constant", "slot_schedule_epochs": 3},
        "slot_schedule_epochs: the schedule constant has no such field, so leave it out, not 3",
    ),
    (
        LENET,
        {"slot_schedule_factor": 1.5},
        "slot_schedule_factor: cycles grow by a whole number of at least 1, not 1.5",
    ),
    (
        LENET,
        {"finetune_momentum": 0.0, "finetune_nesterov": True},
        "finetune_nesterov: Nesterov's update needs finetune_momentum above 0, and it is 0",
    ),
    # data
    (LENET, {"image_size": 32}, "image_size: image_folder needs it, no other data set has it; mnist got 32"),
    (
        {**POPUP, "dataset": "image_folder"},
        {"image_size": None},
        "image_size: image_folder needs it, no other data set has it; image_folder got None",
    ),
    (
        POPUP,
        {"dataset": "digits", "padding": 0},
        "network: conv4 needs images of at least 16 x 16 pixels, and digits are 8 x 8 (use lenet, shallow, conv2, "
        "resnet18, resnet34, resnet50, resnet101, wide_resnet50)",
    ),
    (
        {**POPUP, "network": "vgg19", "dataset": "image_folder"},
        {"image_size": 15},
        "network: vgg19 needs images of at least 16 x 16 pixels, and image_folder are 15 x 15 (use lenet, shallow, "
        "conv2, conv4, conv6, alexnet, resnet18, resnet34, resnet50, resnet101, wide_resnet50)",
    ),
]


@pytest.mark.parametrize(("base", "fields", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_each_rule_names_the_field_the_rule_the_value_and_the_nearest_choice(base, fields, message):
    with pytest.raises(InvalidInput) as refused:
        recipe(base, **fields)
    assert str(refused.value) == message


def test_all_faults_are_told_at_once_a_line_each():
    with pytest.raises(InvalidInput) as refused:
        recipe(slot_schedule="steps", keep_fraction=0.5, evaluation="sampled")
    assert [line.split(":")[0] for line in str(refused.value).splitlines()] == [
        "keep_fraction",
        "evaluation",
        "slot_schedule_epochs",
        "slot_schedule_factor",
    ]
    with pytest.raises(InvalidInput, match="network: missing, and it has no default\nmethod: missing"):
        Recipe.complete({"dataset": "mnist"})


def test_a_recipe_cannot_be_changed_and_can_be_a_key():
    one, same = recipe(), recipe()
    with pytest.raises(ValidationError):
        one.seed = 3  # type: ignore[misc]
    assert one == same and {one: 1}[same] == 1


def test_a_recipe_survives_json():
    for base in (LENET, LEARNED, POPUP, MASK):
        again = Recipe.complete(json.loads(recipe(base).model_dump_json(exclude_none=True)))
        assert (again, again.content_hash()) == (recipe(base), recipe(base).content_hash())


# A hash that changes makes every stored result of the recipe unreachable. Pin anew only where that is meant.
PINNED = {
    "slot_machine": (
        recipe(normalisation="standard"),
        "b127c7ffd970e7bf6145d6690c423c862aba3b4e5d5a550c22a4e217439a1010",
    ),
    "learned": (
        recipe(LEARNED, preset="authors_code", seed=3, normalisation="standard"),
        "963902822c643950c145df824b92e49e78381e7e20253186a92c69c2578613de",
    ),
    "edge_popup": (
        recipe(POPUP, keep_fraction=0.3),
        "3a88807fdec2fb0d26e4bf1b154ec65bbb6037a60ddcfa0c17c8d0779f6ab8ed",
    ),
    "supermask": (
        recipe(MASK, slot_epochs=20, finetune_epochs=30, normalisation="standard"),
        "4b65cd0e677b140ce920e9299c0af35ce6926ebd579a6e9c4a9cff06a30f1336",
    ),
}


@pytest.mark.parametrize("name", PINNED)
def test_hashes_are_pinned(name):
    pinned, expected = PINNED[name]
    assert pinned.content_hash() == expected


@pytest.mark.parametrize("hash_seed", ["1", "4711"])
def test_hashes_are_equal_in_other_processes(hash_seed):
    program = (
        "import json, sys\nfrom trainers.recipe.recipe import Recipe\n"
        "for given in json.load(sys.stdin): print(Recipe.complete(given).content_hash())"
    )
    recipes = [pinned for pinned, _ in PINNED.values()]
    given = [dict(reversed(pinned.model_dump(mode="json", exclude_none=True).items())) for pinned in recipes]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    found = subprocess.run(
        command, input=json.dumps(given), env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == [pinned.content_hash() for pinned in recipes]


def test_labels_are_no_part_of_the_hash_and_everything_else_is():
    stated = recipe().model_dump(exclude_none=True)
    assert Recipe.complete({**stated, "preset": "authors_code", "filled": ()}).content_hash() == recipe().content_hash()
    hashed = {*recipe().common_fields(), *recipe().phase_fields("slot"), *recipe().phase_fields("finetune")}
    lengths = {f"{phase}_epochs" for phase in PHASES}
    assert hashed == set(stated) - LABELS - lengths
    changed = [recipe(**{field: value}) for field, value in OTHERS.items()]
    assert len({recipe().content_hash(), *(one.content_hash() for one in changed)}) == 1 + len(OTHERS)


OTHERS = {
    "seed": 1, "split_seed": 1, "width": 0.5, "dropout": 0.25, "padding": 0, "options": 4, "score_range_conv": 0.5,
    "batch_size": 64, "slot_epochs": 7, "slot_momentum": 0.5, "normalisation": "standard", "precision": "bfloat16",
}  # fmt: skip


def test_a_phase_that_is_not_run_is_no_part_of_the_hash():
    assert recipe(finetune_learning_rate=0.5).content_hash() == recipe().content_hash()
    assert (
        recipe(finetune_learning_rate=0.5, finetune_epochs=1).content_hash() != recipe(finetune_epochs=1).content_hash()
    )
    assert recipe(LEARNED, slot_learning_rate=9.0).content_hash() == recipe(LEARNED).content_hash()


def test_equal_numbers_have_equal_hashes():
    hashes = {recipe(slot_weight_decay=zero, dropout=zero).content_hash() for zero in (0, 0.0, -0.0)}
    assert len(hashes) == 1
    assert recipe(slot_learning_rate=1).content_hash() == recipe(slot_learning_rate=1.0).content_hash()


def test_a_phases_length_matters_from_its_first_step_to_schedules_that_look_at_it():
    assert set(LENGTH_DEPENDENT_SCHEDULES) == {"cosine", "cooldown"}
    for schedule, matters in (("constant", False), ("cosine", True)):
        long, short = (recipe(slot_schedule=schedule, slot_epochs=epochs) for epochs in (20, 10))
        assert (long.phase_fields("slot") != short.phase_fields("slot")) is matters
        assert long.content_hash() != short.content_hash()


def test_recipes_of_one_arm_differ_by_their_seed_alone():
    assert recipe(seed=5).arm_hash() == recipe(seed=6).arm_hash() != recipe(seed=5, split_seed=1).arm_hash()
    assert recipe(seed=5).content_hash() != recipe(seed=6).content_hash()


def test_phases_and_budget():
    assert recipe(slot_epochs=3).phases() == [("slot", 3)]
    assert recipe(slot_epochs=3, finetune_epochs=4).phases() == [("slot", 3), ("finetune", 4)]
    assert recipe(slot_epochs=0, finetune_epochs=4).phases() == [("finetune", 4)]
    assert recipe(slot_epochs=3, finetune_epochs=4).budget_epochs == 7


def test_the_hash_of_json_is_canonical():
    assert content_hash({"b": [1, 2.5, None], "a": "ü"}) == content_hash(json.loads('{"a": "ü", "b": [1, 2.50, null]}'))
    assert content_hash({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    with pytest.raises(ValueError, match="JSON"):
        content_hash(NAN)


def test_hashes_of_values_that_differ_in_one_place_are_those_of_the_whole_values():
    def value(seed):
        return {"a": [1, {"seed": seed}], "z": "ü"}

    alike = AlikeHashes(value, 2**200)
    for part in (0, 2**63 - 1, "ü\\", ""):
        assert alike.of(part) == content_hash(value(part))
    for place in ("ü", 7):  # it stands elsewhere, or nowhere
        with pytest.raises(ValueError, match="unpack"):
            AlikeHashes(lambda part: {"z": "ü", "other": part} if part == "ü" else {}, place)


def test_recipes_are_of_one_arm_where_nothing_but_the_seed_was_exchanged():
    first = Recipe.complete({"network": "lenet", "dataset": "mnist", "method": "learned"})
    assert first.is_of_arm(first) and first.with_seed(1).is_of_arm(first.with_seed(2))
    assert first.with_seed(0).is_of_arm(first)
    changed = {"width": 0.5, "finetune_learning_rate": 0.3, "split_seed": 1}
    for name, new in changed.items():
        other = first.model_copy(update={name: new})
        assert not other.is_of_arm(first) and not other.with_seed(5).is_of_arm(first)
        assert other.with_seed(5).content_hash() != first.with_seed(5).content_hash()


def test_a_recipe_under_another_seed_is_the_one_that_was_given_it():
    first = Recipe.complete({"network": "lenet", "dataset": "mnist", "method": "learned"})
    other = first.with_seed(7)
    assert other == Recipe.complete({"network": "lenet", "dataset": "mnist", "method": "learned", "seed": 7})
    assert (other.seed, first.seed) == (7, 0)
    assert other.arm_hash() == first.arm_hash() and other.content_hash() != first.content_hash()
    assert other.model_fields_set is first.model_fields_set
