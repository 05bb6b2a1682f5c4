"""A recipe: everything that can change the result of one training run, and nothing else.

A recipe is flat, so that every field can be an axis of a sweep, a parameter in MLflow and a column of a table.
`Recipe.complete` fills what is left out from a preset (`trainers.recipe.presets`); `Recipe.filled` names what was
filled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from trainers.recipe.choices import (
    ALL_METHOD_FIELDS,
    LABELS,
    LENGTH_DEPENDENT_SCHEDULES,
    METHOD_FIELDS,
    PHASES,
    DataSet,
    Method,
    Network,
    Phase,
    Preset,
    Schedule,
)
from trainers.recipe.errors import InvalidInput, explain

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(abs)]  # -0.0 is 0.0, in hashes too
BelowOne = Annotated[float, Field(ge=0, lt=1), AfterValidator(abs)]
Epochs = Annotated[int, Field(ge=0, le=100_000)]


class Recipe(BaseModel):
    """One training run, fully stated. Frozen, hashable, strict; build it with `Recipe.complete`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # Where it came from
    preset: Preset = Field(
        "icml",
        description="the family of recipes that filled what was left out: the paper's, its authors' code's, or ours",
    )
    filled: tuple[str, ...] = Field((), strict=False, description="the fields that the preset filled")

    # What is trained, on what
    network: Network
    padding: Literal[0, 1] = Field(description="CONV nets: 1 everywhere, or 0 (but 1 in conv5-6, the authors' code)")
    width: Positive = Field(1.0, description="multiplies the channels of every hidden layer")
    dropout: BelowOne = Field(description="before the first two linear layers of CONV nets")
    dataset: DataSet
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = Field(None, description="image_folder: pixels a side")
    normalisation: Literal["standard", "unit"] = Field(
        "standard", description="pixels to zero mean and unit variance per channel, or just to 0..1"
    )
    augmentation: Literal["none", "flip", "crop_flip"] = Field(description="on the training split only")
    validation_examples: Annotated[int, Field(ge=1)] = Field(description="held out of the training data")
    split_seed: Annotated[int, Field(ge=0)] = Field(0, description="which training images are held out")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="random values, batches, dropout, sampling")

    # How its weights are found
    method: Method
    options: Annotated[int, Field(ge=1, le=65536)] | None = Field(None, description="fixed values a connection (K)")
    selection: Literal["greedy", "probabilistic"] | None = Field(None, description="arg-max (GS) or sampled (PS)")
    sharing: Literal["none", "layer", "network"] | None = Field(None, description="who shares the K values")
    value_bound: Literal["glorot_uniform", "glorot_normal"] | None = Field(
        None, description="values are U(-b, b): b = sqrt(6/(fan_in+fan_out)), or sqrt(2/(fan_in+fan_out))"
    )
    score_range_conv: NotNegative | None = Field(None, description="initial scores U(0, this x b), convolutions")
    score_range_linear: NotNegative | None = Field(None, description="initial scores U(0, this x b), linear layers")
    evaluation: Literal["argmax", "sampled", "mean_of_samples", "threshold"] | None = Field(
        None, description="weights at evaluation: PS argmax or sampled; supermask mean_of_samples or threshold"
    )
    start: Literal["glorot", "random_option"] | None = Field(None, description="learned weights start from this")
    keep_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="share of connections kept")
    weight_init: Literal["kaiming_normal", "signed_constant", "glorot_normal"] | None = Field(
        None, description="the fixed weights of edge-popup and supermask"
    )
    scale_by_keep_fraction: bool | None = Field(None, description="divide the fixed weights by sqrt(keep_fraction)")
    rescale: bool | None = Field(None, description="dynamic weight rescaling (Zhou et al., 2019)")

    # How long, and by which rule
    batch_size: Annotated[int, Field(ge=1)]
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32", description="of matrix products; tf32 is of CUDA, and float32 elsewhere"
    )

    slot_epochs: Epochs = Field(description="epochs of the slot (or mask) phase")
    slot_optimizer: Literal["sgd"] = Field("sgd", description="scores stay linear in B under SGD only")
    slot_learning_rate: Positive
    slot_momentum: BelowOne = 0.9
    slot_nesterov: bool = False
    slot_weight_decay: NotNegative
    slot_schedule: Schedule
    slot_schedule_epochs: Annotated[int, Field(ge=1)] | None = Field(
        None, description="warm_restarts: epochs of the first cycle; steps: the epoch of the step"
    )
    slot_schedule_factor: Positive | None = Field(
        None, description="warm_restarts: growth of the cycles; steps: multiplies the rate"
    )

    finetune_epochs: Epochs = Field(description="epochs in which the weights themselves are learned")
    finetune_learning_rate: Positive
    finetune_momentum: BelowOne = 0.9
    finetune_nesterov: bool = False
    finetune_weight_decay: NotNegative
    finetune_schedule: Schedule
    finetune_schedule_epochs: Annotated[int, Field(ge=1)] | None = None
    finetune_schedule_factor: Positive | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        faults = [*_method_faults(self), *_phase_faults(self), *_data_faults(self)]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @classmethod
    def complete(cls, given: Mapping[str, Any]) -> Recipe:
        """The recipe that `given` asks for, with what it leaves out filled from its preset.

        Raises InvalidInput, a line per fault, each naming the field, the rule, the value and the nearest choice.
        """
        from trainers.recipe.presets import preset_fields

        missing = [field for field in ("network", "dataset", "method") if field not in given]
        if missing:
            raise InvalidInput("\n".join(f"{field}: missing, and it has no default" for field in missing))
        defaults = preset_fields(given)
        filled = tuple(sorted(field for field in defaults if field not in given))
        try:
            return cls.model_validate({**defaults, "filled": filled, **given})
        except ValidationError as error:
            raise InvalidInput(explain(error, cls.model_fields)) from None

    @property
    def budget_epochs(self) -> int:
        """Epochs of all phases."""
        return self.slot_epochs + self.finetune_epochs

    def phases(self) -> list[tuple[Phase, int]]:
        """The phases that this recipe goes through, with their epochs."""
        return [
            (phase, epochs)
            for phase, epochs in zip(PHASES, (self.slot_epochs, self.finetune_epochs), strict=True)
            if epochs
        ]

    def phase_fields(self, phase: Phase) -> dict[str, Any]:
        """What this phase adds to all that can change a result: recipes that agree here, and came one way, train alike.

        The length of the phase is not part of it, unless the schedule looks at it.
        """
        values = self.model_dump(mode="json", exclude_none=True, exclude=set(LABELS))
        own = {name: value for name, value in values.items() if name.startswith(f"{phase}_")}
        if own[f"{phase}_schedule"] not in LENGTH_DEPENDENT_SCHEDULES:
            del own[f"{phase}_epochs"]
        return own

    def common_fields(self) -> dict[str, Any]:
        """What matters from the first step on, whatever the phase."""
        values = self.model_dump(mode="json", exclude_none=True, exclude=set(LABELS))
        return {name: value for name, value in values.items() if not name.startswith(("slot_", "finetune_"))}

    def content_hash(self) -> str:
        """SHA-256 (hex) of all that can change the result; equal across processes, machines and Python versions."""
        phases = [[phase, epochs, self.phase_fields(phase)] for phase, epochs in self.phases()]
        return content_hash([self.common_fields(), phases])

    def arm_hash(self) -> str:
        """The hash of the recipe but for its seed: recipes of one arm share it."""
        return self.model_copy(update={"seed": 0}).content_hash()


def content_hash(value: Any) -> str:
    """SHA-256 (hex) of a JSON value in canonical form (sorted keys, shortest floats, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _method_faults(recipe: Recipe) -> list[str]:
    own = METHOD_FIELDS[recipe.method]
    faults = [
        f"{field}: {recipe.method} has no such field, so it must be left out, not {getattr(recipe, field)!r}"
        for field in sorted(ALL_METHOD_FIELDS - own)
        if getattr(recipe, field) is not None
    ]
    optional = {"options", "value_bound"} if recipe.method == "learned" and recipe.start == "glorot" else set()
    faults += [
        f"{field}: missing, and {recipe.method} needs it"
        for field in sorted(own - optional)
        if getattr(recipe, field) is None
    ]
    faults += [
        f"{field}: weights that start from glorot have no options, so leave it out, not {getattr(recipe, field)!r}"
        for field in sorted(optional)
        if getattr(recipe, field) is not None
    ]
    allowed = {"slot_machine": ("argmax", "sampled"), "supermask": ("mean_of_samples", "threshold")}.get(
        recipe.method, ()
    )
    if recipe.evaluation is not None and allowed and recipe.evaluation not in allowed:
        faults.append(f"evaluation: {recipe.method} evaluates by {' or '.join(allowed)}, not {recipe.evaluation!r}")
    if recipe.selection == "greedy" and recipe.evaluation == "sampled":
        faults.append("evaluation: greedy selection evaluates by argmax, not 'sampled'")
    allowed_init = {
        "edge_popup": ("kaiming_normal", "signed_constant"),
        "supermask": ("glorot_normal", "signed_constant"),
    }.get(recipe.method)
    if allowed_init and recipe.weight_init is not None and recipe.weight_init not in allowed_init:
        faults.append(f"weight_init: {recipe.method} knows {' and '.join(allowed_init)}, not {recipe.weight_init!r}")
    return faults


def _phase_faults(recipe: Recipe) -> list[str]:
    faults = []
    if recipe.budget_epochs == 0:
        faults.append("slot_epochs, finetune_epochs: at least one must be above 0, but both are 0")
    if recipe.method == "learned" and recipe.slot_epochs:
        faults.append(
            f"slot_epochs: learned has no slot phase, so it must be 0, not {recipe.slot_epochs} (use finetune_epochs)"
        )
    for phase in PHASES:
        schedule = getattr(recipe, f"{phase}_schedule")
        for field in (f"{phase}_schedule_epochs", f"{phase}_schedule_factor"):
            value = getattr(recipe, field)
            wanted = schedule in ("warm_restarts", "steps")
            if wanted and value is None:
                faults.append(f"{field}: missing, and the schedule {schedule} needs it")
            if not wanted and value is not None:
                faults.append(f"{field}: the schedule {schedule} has no such field, so leave it out, not {value!r}")
        factor = getattr(recipe, f"{phase}_schedule_factor")
        if schedule == "warm_restarts" and factor is not None and (factor < 1 or factor != int(factor)):
            faults.append(f"{phase}_schedule_factor: cycles grow by a whole number of at least 1, not {factor!r}")
        if getattr(recipe, f"{phase}_nesterov") and not getattr(recipe, f"{phase}_momentum"):
            faults.append(f"{phase}_nesterov: Nesterov's update needs {phase}_momentum above 0, and it is 0")
    return faults


def _data_faults(recipe: Recipe) -> list[str]:
    faults = []
    if (recipe.dataset == "image_folder") != (recipe.image_size is not None):
        faults.append(
            f"image_size: image_folder needs it, no other data set has it; {recipe.dataset} got {recipe.image_size!r}"
        )
    if recipe.network not in ("lenet",) and recipe.dataset in ("digits",):
        faults.append(
            f"network: {recipe.network} needs images of at least 28 x 28 pixels, and digits are 8 x 8 (use lenet)"
        )
    return faults
