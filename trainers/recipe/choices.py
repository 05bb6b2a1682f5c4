"""The choices that a recipe's fields have by name."""

from __future__ import annotations

from typing import Literal, get_args

Phase = Literal["slot", "finetune"]


PHASES: tuple[Phase, ...] = get_args(Phase)


Network = Literal[
    "lenet", "conv2", "conv4", "conv6", "vgg19", "alexnet",
    "resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50",
]  # fmt: skip


DataSet = Literal["digits", "mnist", "fashion_mnist", "cifar10", "image_folder"]


Method = Literal["slot_machine", "learned", "edge_popup", "supermask"]


Schedule = Literal["constant", "warm_restarts", "steps", "cosine"]


Preset = Literal["icml", "authors_code", "tuned"]


# A schedule that looks at the length of its phase makes phases of different lengths differ from their first step.
LENGTH_DEPENDENT_SCHEDULES: frozenset[Schedule] = frozenset({"cosine"})


# Which fields only some methods have. A field that a recipe's method does not have must be absent (None).
METHOD_FIELDS: dict[Method, frozenset[str]] = {
    "slot_machine": frozenset(
        {"options", "selection", "sharing", "value_bound", "score_range_conv", "score_range_linear", "evaluation"}
    ),
    "learned": frozenset({"start", "options", "value_bound"}),
    "edge_popup": frozenset({"keep_fraction", "weight_init", "scale_by_keep_fraction"}),
    "supermask": frozenset({"weight_init", "rescale", "evaluation"}),
}


ALL_METHOD_FIELDS = frozenset().union(*METHOD_FIELDS.values())


LABELS = frozenset({"preset", "filled"})  # say where a recipe came from; they change no result
