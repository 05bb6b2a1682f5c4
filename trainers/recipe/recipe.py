"""A recipe: everything that can change the result of one training run, and nothing else.

A recipe is flat, so that every field can be an axis of a sweep, a parameter in MLflow and a column of a table.
It is put together from the registries: networks, data sets and methods with their hyperparameters. `Recipe.complete`
fills what is left out from a preset (`trainers.recipe.presets`); `Recipe.filled` names what was filled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from operator import is_not
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    WrapValidator,
    create_model,
    model_validator,
)

from trainers.conversions.registry import CONVERSIONS, conversion_faults
from trainers.data.data_set import CLASSIFICATION
from trainers.data.registry import DATA_NAMES, IMAGE_FOLDER, data_set_named, held_out_fault, image_shape
from trainers.errors import InvalidInput, explain
from trainers.hashing import AlikeHashes
from trainers.methods.kinds import NotNegative
from trainers.methods.registry import ALL_METHOD_FIELDS, METHOD_FIELDS, METHODS, method_card
from trainers.networks.registry import NETWORKS, network_named
from trainers.plugins.known import WORD, is_of_plugin, is_told
from trainers.recipe.choices import (
    IN_ORDER,
    LABELS,
    LENGTH_DEPENDENT_SCHEDULES,
    PHASES,
    SCHEDULE_FIELDS,
    Phase,
    Preset,
    Schedule,
)
from trainers.recipe.method_fields import HYPERPARAMETERS, choices, method_fields
from trainers.recipe.plugin_fields import canonical_options, listed_names, options_of, plugin_faults, with_plugins
from trainers.recipe.presets import preset_fields

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
BelowOne = Annotated[float, Field(ge=0, lt=1), AfterValidator(abs)]
Epochs = Annotated[int, Field(ge=0, le=100_000)]
NO_SEED = 2**200  # longer than any number of a recipe
EVALUATION = "evaluation"  # the hyperparameter of methods whose selection can be evaluated in several ways
# What a recipe has by other names, or its spec has.
NO_FIELDS = {
    name: "a recipe has slot_epochs and finetune_epochs; budget_epochs is a spec's"
    for name in ("epochs", "budget_epochs")
}


@dataclass(frozen=True, eq=False)  # so that it can be hashed, which a kind beside None must be
class _Registered:
    """The kind of a field whose values are the names of a registry, or of something that a plug-in brings."""

    names: Collection[str]
    plugged: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        names: Any = Literal[tuple(self.names)]
        if self.plugged:
            names = Annotated[names, WrapValidator(lambda value, known: value if is_of_plugin(value) else known(value))]
        return handler.generate_schema(names)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> Any:
        names = handler(schema)
        of_plugins = {"type": "string", "pattern": rf"^{WORD.pattern}\.{WORD.pattern}$"}
        return {"anyOf": [names, of_plugins]} if self.plugged else names


def _unless(usual: str) -> BeforeValidator:
    """Takes the usual value for None: a field that came later must not part recipes from those stored before."""
    return BeforeValidator(lambda value: None if value == usual else value)


class _Problem(BaseModel):
    """What is trained, on what, and by which method."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # Where it came from
    preset: Preset = Field(
        "icml",
        description="the family of recipes that filled what was left out: the paper's, its authors' code's, or ours",
    )
    filled: tuple[str, ...] = Field((), strict=False, description="the fields that the preset filled")

    # What is trained, on what
    network: Annotated[str, _Registered(NETWORKS, plugged=True)]
    padding: Literal[0, 1] = Field(description="CONV nets: 1 everywhere, or 0 (but 1 in conv5-6, the authors' code)")
    width: Annotated[Positive, Field(le=1000)] = Field(1.0, description="multiplies the channels of every hidden layer")
    dropout: BelowOne = Field(description="before the first two linear layers of CONV nets")
    activation: Annotated[Literal["relu", "elu"] | None, _unless("relu")] = Field(
        None, description="Lenet, CONV nets and shallow ones: of the hidden layers; left out: ReLU"
    )
    readout: Annotated[Literal["last", "all_hidden"] | None, _unless("last")] = Field(
        None, description="Lenet: which hidden layers its last layer sees, the last of them or all; left out: the last"
    )
    dataset: Annotated[str, _Registered(DATA_NAMES, plugged=True)]
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = Field(None, description="image_folder: pixels a side")
    normalisation: Literal["standard", "unit", "symmetric"] = Field(
        "standard", description="pixels to zero mean and unit variance per channel, or just to 0..1, or to -1..1"
    )
    augmentation: Literal["none", "flip", "crop_flip"] = Field(description="on the training split only")
    validation_examples: Annotated[int, Field(ge=1)] = Field(description="held out of the training data")
    split_seed: Annotated[int, Field(ge=0)] = Field(0, description="which training images are held out")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(0, description="random values, batches, dropout, sampling")

    # How its weights are found
    method: Annotated[str, _Registered(METHODS, plugged=True)]


if TYPE_CHECKING:

    class _WithMethods(_Problem):
        """The hyperparameters of all methods: only `method_fields` and the methods themselves look at them."""

else:
    _WithMethods = create_model("_WithMethods", __base__=_Problem, __module__=__name__, **method_fields(METHODS))


class Recipe(_WithMethods):
    """One training run, fully stated. Frozen, hashable, strict; build it with `Recipe.complete`."""

    method_options: Annotated[str, AfterValidator(canonical_options)] | None = Field(
        None, description="the options of a plug-in's method, one by one as method_options.NAME"
    )
    costs: Annotated[str, AfterValidator(listed_names)] | None = Field(
        None, description="the costs of plug-ins that are measured of it; a spec lists them beside its recipe"
    )
    plugins: str | None = Field(None, description="the plug-ins that it needs, with their digests or versions")

    # How long, and by which rule
    batch_size: Annotated[int, Field(ge=1)]
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32",
        description="of matrix products; tf32 is of CUDA, and float32 elsewhere. In any precision CUDA does not repeat "
        "bit for bit the gradients of pooling to more than 1 x 1 by adaptation, nor those of overlapping max-pooling",
    )

    slot_epochs: Epochs = Field(description="epochs of the slot (or mask) phase")
    slot_optimizer: Literal["sgd"] = Field("sgd", description="scores stay linear in B under SGD only")
    slot_learning_rate: Positive
    slot_momentum: BelowOne = 0.9
    slot_nesterov: bool = False
    slot_weight_decay: NotNegative
    slot_schedule: Schedule
    slot_schedule_epochs: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="warm_restarts: epochs of the first cycle; steps: the epoch of the step; "
        "cooldown: the last epochs, in which the rate falls to 0; staircase: epochs a step",
    )
    slot_schedule_factor: Positive | None = Field(
        None,
        description="warm_restarts: growth of the cycles; steps, staircase: multiplies the rate, once or in every step",
    )

    finetune_epochs: Epochs = Field(description="epochs in which the weights themselves are learned")
    finetune_start: Annotated[Literal["selected", "shuffled"] | None, _unless("selected")] = Field(
        None,
        description="what the finetune phase starts from: the selected weights, or each layer's in random order, which "
        "keeps their distribution alone; left out: as they are",
    )
    finetune_learning_rate: Positive
    finetune_momentum: BelowOne = 0.9
    finetune_nesterov: bool = False
    finetune_weight_decay: NotNegative
    finetune_schedule: Schedule
    finetune_schedule_epochs: Annotated[int, Field(ge=1)] | None = None
    finetune_schedule_factor: Positive | None = None

    # What is made of the finished network
    conversion: Annotated[str, _Registered(CONVERSIONS)] | None = Field(
        None, description="what the weights are converted to once they are trained; left out: they stay as they are"
    )
    conversion_bits: Annotated[int, Field(ge=1, le=8)] | None = Field(None, description="quantised: bits a weight")
    conversion_scales: Literal["layer", "channel", "kernel"] | None = Field(
        None, description="quantised, ternary: which weights share a scale"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        faults = [*plugin_faults(vars(self)), *_method_faults(self), *_phase_faults(self), *_data_faults(self)]
        faults += conversion_faults(vars(self))
        if faults:
            raise ValueError("\n".join(faults))
        return self

    @classmethod
    def complete(cls, given: Mapping[str, Any]) -> Recipe:
        """The recipe that `given` asks for, with what it leaves out filled from its preset.

        Raises InvalidInput, a line per fault, each naming the field, the rule, the value and the nearest choice.
        """
        missing = [field for field in ("network", "dataset", "method") if field not in given]
        if missing:
            raise InvalidInput("\n".join(f"{field}: missing, and it has no default" for field in missing))
        given, options = with_plugins(given, given.get("preset", "icml"))
        defaults = {**preset_fields(given), **options}
        known = {**defaults, **given}
        silent = [name for name, info in cls.model_fields.items() if info.is_required() and name not in known]
        if silent:
            raise InvalidInput("\n".join(_unknown_to_preset(name, known) for name in silent))
        filled = tuple(sorted(field for field in defaults if field not in given))
        try:
            return cls.model_validate({**defaults, "filled": filled, **given})
        except ValidationError as error:
            raise InvalidInput(explain(error, cls.model_fields, misplaced=NO_FIELDS)) from None

    def with_seed(self, seed: int) -> Recipe:
        """This recipe under another seed; what says which fields were given, 1.2 kB, both have in common."""
        other = self.model_copy(update={"seed": seed})
        object.__setattr__(other, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        return other

    def is_of_arm(self, other: Recipe) -> bool:
        """Whether `with_seed` made one of them from the other, or both from a third; equal values do not suffice."""
        mine, others = vars(self), vars(other)
        return sum(map(is_not, mine.values(), others.values())) == (mine["seed"] is not others["seed"])

    @property
    def budget_epochs(self) -> int:
        """Epochs of all phases."""
        return self.slot_epochs + self.finetune_epochs

    def method_fields(self) -> dict[str, Any]:
        """The hyperparameters of the recipe's method, by name; None where the method leaves one out here."""
        if is_of_plugin(self.method):
            return options_of(self.method_options)
        return {name: getattr(self, name) for name in HYPERPARAMETERS[self.method]}

    @property
    def evaluated_by(self) -> str | None:
        """How its selection is evaluated; None where the method knows one way only."""
        if is_of_plugin(self.method) or EVALUATION not in HYPERPARAMETERS[self.method]:
            return None
        found: str | None = getattr(self, EVALUATION)
        return found

    def phases(self) -> list[tuple[Phase, int]]:
        """The phases that this recipe trains in, with their epochs."""
        return [
            (phase, epochs)
            for phase, epochs in zip(PHASES, (self.slot_epochs, self.finetune_epochs), strict=True)
            if epochs
        ]

    def phase_fields(self, phase: Phase) -> dict[str, Any]:
        """What this phase adds to all that can change a result: recipes that agree here, and came one way, train alike.

        The length of the phase is not part of it, unless the schedule looks at it.
        """
        own = dict(_arm_of(self).parted[phase])
        if phase == "slot" and self.looks_at_length:
            own["slot_length"] = self.slot_epochs  # whatever course its rates follow
        if phase in PHASES and own[f"{phase}_schedule"] not in LENGTH_DEPENDENT_SCHEDULES:
            del own[f"{phase}_epochs"]
        return own

    @property
    def looks_at_length(self) -> bool:
        """Whether its method, in the slot phase, hangs on the phase's length."""
        return not is_of_plugin(self.method) and METHODS[self.method].looks_at_length(self.method_fields())

    def common_fields(self) -> dict[str, Any]:
        """What matters from the first step on, whatever the phase."""
        return {**_arm_of(self).parted[None], "seed": self.seed}

    def training_fields(self) -> dict[str, Any]:
        """The common fields, with one value for all that change no training: recipes that agree here train alike."""
        if self.plugins:  # without their code nobody knows what does nothing
            return self.common_fields()
        return {**self.fields_apart_by_evaluation(), **METHODS[self.method].recorded_for_all(self.method_fields())}

    def fields_apart_by_evaluation(self) -> dict[str, Any]:
        """The same as versions told them whose records did not hold the figures of every evaluation."""
        common = self.common_fields()
        if self.plugins:
            return common
        idle = METHODS[self.method].idle(convolutions=NETWORKS[self.network].convolutions)
        return {**common, **{name: value for name, value in idle.items() if name in common}}

    def content_hash(self) -> str:
        """SHA-256 (hex) of all that can change the result; equal across processes, machines and Python versions."""
        return _arm_of(self).hash(self.seed)

    def arm_hash(self) -> str:
        """The hash of the recipe but for its seed: recipes of one arm share it."""
        return _arm_of(self).hash(0)


class _Arm:
    """What recipes that differ in their seed have in common."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe  # one of them
        self.parted: dict[Phase | None, dict[str, Any]] = {phase: {} for phase in (*IN_ORDER, None)}
        for name, value in recipe.model_dump(mode="json", exclude_none=True, exclude=set(LABELS)).items():
            self.parted[_phase_of(name)][name] = value
        self._hashes: AlikeHashes | None = None

    def hash(self, seed: int) -> str:
        """The content hash of the recipe with this seed."""
        if self._hashes is None:
            lengths = self.recipe.phases()
            if self.recipe.conversion:
                lengths.append(("conversion", 0))
            phases = [[phase, epochs, self.recipe.phase_fields(phase)] for phase, epochs in lengths]
            self._hashes = AlikeHashes(lambda seed: [{**self.parted[None], "seed": seed}, phases], NO_SEED)
        return self._hashes.of(seed)


_ARMS: deque[_Arm] = deque(maxlen=1)


def _arm_of(recipe: Recipe) -> _Arm:
    """The arm of a recipe. Kept of the one asked about last: to plant a trial takes a dozen questions."""
    last = next(iter(_ARMS.copy()), None)
    if last is not None and (last.recipe is recipe or recipe.is_of_arm(last.recipe)):
        return last
    arm = _Arm(recipe)
    _ARMS.append(arm)
    return arm


@cache
def _phase_of(field: str) -> Phase | None:
    """The phase that a field is of; None for one that matters from the first step on."""
    return next((phase for phase in IN_ORDER if field == phase or field.startswith(f"{phase}_")), None)


def _unknown_to_preset(field: str, known: Mapping[str, Any]) -> str:
    where = f"{known['method']} in {known['network']} on {known['dataset']}"
    instead = "; state it, or in a spec the budget_epochs" if field.endswith("_epochs") else "; state it"
    return f"{field}: missing, and the preset {known['preset']} has none for {where}{instead}"


def _method_faults(recipe: Recipe) -> list[str]:
    others = [
        f"{field}: {recipe.method} has no such field, so it must be left out, not {getattr(recipe, field)!r}"
        for field in sorted(ALL_METHOD_FIELDS - METHOD_FIELDS.get(recipe.method, frozenset()))
        if getattr(recipe, field) is not None
    ]
    return others if is_of_plugin(recipe.method) else [*others, *_own_faults(recipe)]


def _own_faults(recipe: Recipe) -> list[str]:
    card, own = METHODS[recipe.method], recipe.method_fields()
    without = card.without(own)
    faults = [
        f"{field}: missing, and {recipe.method} needs it"
        for field in sorted(own)
        if own[field] is None and field not in without and field not in card.optional
    ]
    faults += [
        f"{field}: {without[field]}, so leave it out, not {own[field]!r}"
        for field in sorted(without)
        if own[field] is not None
    ]
    for field, kind in HYPERPARAMETERS[recipe.method].items():
        allowed = choices(kind)
        if allowed and own[field] is not None and own[field] not in allowed:
            faults.append(f"{field}: {recipe.method} knows {' and '.join(map(str, allowed))}, not {own[field]!r}")
    return faults + card.faults(own)


def _phase_faults(recipe: Recipe) -> list[str]:
    faults = []
    if recipe.budget_epochs == 0:
        faults.append("slot_epochs, finetune_epochs: at least one must be above 0, but both are 0")
    if recipe.slot_epochs and not method_card(recipe.method, recipe.plugins).slot_phase:
        faults.append(
            f"slot_epochs: {recipe.method} has no slot phase, so it must be 0, not {recipe.slot_epochs} "
            "(use finetune_epochs)"
        )
    if recipe.finetune_start and not (recipe.slot_epochs and recipe.finetune_epochs):
        faults.append(
            f"finetune_start: it needs slot_epochs and finetune_epochs above 0, so leave it out, "
            f"not {recipe.finetune_start!r}"
        )
    for phase in PHASES:
        schedule = getattr(recipe, f"{phase}_schedule")
        for field in (f"{phase}_schedule_epochs", f"{phase}_schedule_factor"):
            value = getattr(recipe, field)
            wanted = field.rpartition("_")[2] in SCHEDULE_FIELDS[schedule]
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
    """Of a plug-in's data set that this process was told nothing of, as a worker before its order, none is known."""
    if is_of_plugin(recipe.dataset) and not is_told("DATA_SETS", recipe.dataset, recipe.plugins):
        return []
    faults = _shape_faults(recipe)
    if recipe.dataset != IMAGE_FOLDER:  # whose size is known where the folder is
        data_set = data_set_named(recipe.dataset, recipe.plugins)
        if recipe.validation_examples >= data_set.train_examples:
            faults.append(held_out_fault(recipe.validation_examples, data_set.train_examples))
        if method_card(recipe.method, recipe.plugins).solved and data_set.task != CLASSIFICATION:
            faults.append(f"method: {recipe.method} solves for classes, and {recipe.dataset} asks for {data_set.task}")
    return faults


def _shape_faults(recipe: Recipe) -> list[str]:
    if (recipe.dataset == IMAGE_FOLDER) != (recipe.image_size is not None):
        return [
            f"image_size: image_folder needs it, no other data set has it; {recipe.dataset} got {recipe.image_size!r}"
        ]
    _, height, width = image_shape(recipe.dataset, recipe.image_size, recipe.plugins)
    needed = network_named(recipe.network, recipe.plugins).smallest_side(recipe.padding)
    if min(height, width) >= needed:
        return []
    fitting = [name for name, other in NETWORKS.items() if other.smallest_side(recipe.padding) <= min(height, width)]
    return [
        f"network: {recipe.network} needs images of at least {needed} x {needed} pixels, and {recipe.dataset} are "
        f"{height} x {width} (use {', '.join(fitting)})"
    ]
