"""One training run: a recipe, its data, and a loop that yields a record after every epoch. Whoever iterates decides.

Everything random in an epoch is seeded from (seed, phase, epoch). So a run that is loaded at an epoch boundary goes
on as if it had never stopped, and runs that share their first epochs share them bit for bit (on one kind of machine).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from trainers.conversions.apply import convert
from trainers.conversions.registry import build_conversion
from trainers.costs.effort import EVALUATION_BATCH
from trainers.costs.measures import MEASURES, Trained
from trainers.costs.memory import transient_memory
from trainers.costs.meters import Metered, metered
from trainers.costs.plugged import amount_of, own_costs
from trainers.data.batches import Batches, training_batches
from trainers.data.image_folder import StreamedSplit
from trainers.data.splits import DataSplits, Split
from trainers.methods.base import attach, bake, selected_weights, shuffle_weights
from trainers.methods.card import Method
from trainers.methods.registry import build_method
from trainers.methods.snapshots import LayerSelection, total_fractions
from trainers.networks.registry import build_network
from trainers.optimization import build_sgd, learning_rate
from trainers.recipe.choices import IN_ORDER, PHASES, Phase
from trainers.recipe.recipe import Recipe
from trainers.step import REPLAYED, GraphedStep, TrainingStep, logits, set_precision
from trainers.streams import stream_key, torch_generator
from trainers.tasks import ASKED

NETWORK = ("network",)  # what it is initialised from
MEASURED_STEP = 1  # of an epoch: the first one whose momenta and gradients exist already


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and score over a whole split: cross-entropy and the fraction classified rightly, or that of bits."""

    loss: float
    accuracy: float
    # Where selection is probabilistic, both, whichever of them the recipe evaluates by and `accuracy` is:
    argmax_accuracy: float | None = None  # of the option with the highest score
    sampled_accuracy: float | None = None  # of options sampled as in training
    argmax_loss: float | None = None
    sampled_loss: float | None = None


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did. Accuracies and fractions are in 0..1."""

    phase: Phase
    epoch: int  # from 1, within the phase
    total_epoch: int  # from 1, over all phases
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    changed_fraction: float  # of the connections, those whose selected weight is another than an epoch ago
    extreme_fraction: float | None  # of the connections, those that use the smallest or the largest of their options
    selected_magnitude: float | None  # mean |value| in use, relative as in LayerSelection; None without any
    metered: Metered  # train_seconds and what else METERS of trainers.costs.meters take of it
    evaluation_seconds: float
    layers: tuple[LayerSelection, ...]  # what each layer has selected; () in the finetune phase
    argmax_validation_accuracy: float | None = None  # all only where selection is probabilistic: see Evaluation
    sampled_validation_accuracy: float | None = None
    argmax_validation_loss: float | None = None
    sampled_validation_loss: float | None = None

    @property
    def train_seconds(self) -> float:
        """Training by the clock, which every machine has."""
        taken = self.metered["train_seconds"]
        assert taken is not None
        return taken

    def as_dict(self) -> dict[str, Any]:
        """Its fields and what was metered side by side, as plain values."""
        plain = asdict(self)
        return {**plain.pop("metered"), **plain}


class TrainingFailed(RuntimeError):
    """Training cannot go on: `reason` (such as "not a number"), in epoch `epoch` (from 1) of `phase`."""

    def __init__(self, reason: str, phase: Phase, epoch: int):
        super().__init__(f"{reason} in epoch {epoch} of the {phase} phase")
        self.reason, self.phase, self.epoch = reason, phase, epoch

    def __reduce__(self) -> tuple[type[TrainingFailed], tuple[str, Phase, int]]:
        return TrainingFailed, (self.reason, self.phase, self.epoch)


class TrainingRun:
    """A recipe in training. `phase` and `epoch` say how far it has come: `epoch` epochs of `phase` are done."""

    phase: Phase
    epoch: int
    _graph: GraphedStep | None  # made in the first epoch, if at all

    def __init__(
        self, recipe: Recipe, data: DataSplits, device: str | torch.device = "cpu", *, graphed: bool | None = None
    ):
        """Builds the network, attaches the recipe's method and stands before the first epoch.

        `data` must be on `device`. With `graphed` the step is replayed as a CUDA graph, as it is on CUDA where nothing
        is said. Raises InvalidInput where the recipe's network cannot take the data.
        """
        self.recipe = recipe
        self.data = data
        self.device = torch.device(device)
        self._graphed = self.device.type in REPLAYED if graphed is None else graphed
        self._batches: Batches | None = None
        self._own_costs = own_costs(recipe.costs, recipe.plugins)
        set_precision(recipe.precision)
        self._seed(*NETWORK)
        self.network = build_network(recipe, data.input_shape, data.classes)
        attach(self.network, build_method(recipe), recipe.seed)
        self.network.to(self.device)
        self._transient_bytes: dict[Phase, int] = {}
        self._slot_epochs_done = 0
        if recipe.slot_epochs:
            self._start("slot")
        else:  # learned weights have nothing that a slot phase could train
            self.phase, self.epoch = "slot", 0
            self.turn_to("finetune")

    def epochs(self) -> Iterator[EpochRecord]:
        """Train from wherever it stands to the recipe's end, turning to the finetune phase where the recipe says."""
        while self.phase == "slot" and self.epoch < self.recipe.slot_epochs:
            yield self.train_epoch()
        if self.phase == "slot" and self.recipe.finetune_epochs:
            self.turn_to("finetune")
        while self.phase == "finetune" and self.epoch < self.recipe.finetune_epochs:
            yield self.train_epoch()
        if self.phase != "conversion" and self.recipe.conversion:
            self.turn_to("conversion")

    def train_epoch(self) -> EpochRecord:
        """One more epoch of the present phase. Raises TrainingFailed if the loss is not finite."""
        before = self._selection()
        rate = learning_rate(self.recipe, self.phase, self.epoch)
        self._optimizer.set_rate(rate)
        if self.phase == "slot" and self.recipe.looks_at_length:
            for _, selection, _ in selected_weights(self.network):
                selection.begin_epoch(self.epoch / self.recipe.slot_epochs)
        # Images that are streamed are decoded by processes of their own.
        own = {name: cost.meter for name, cost in self._own_costs.items() if cost.meter}
        with metered(self.device, own, one_process=isinstance(self.data.train, Split)) as taken:
            train = self._train_all_batches()
        taken.update({name: amount_of(name, amount) for name in own if (amount := taken[name]) is not None})
        self.epoch += 1
        if not math.isfinite(train.loss):
            raise TrainingFailed("not a number" if math.isnan(train.loss) else "infinite loss", self.phase, self.epoch)
        start = time.perf_counter()
        validation = self.evaluate(self.data.validation, "validation")
        layers = self._layer_selections(before)
        return EpochRecord(
            phase=self.phase,
            epoch=self.epoch,
            total_epoch=self._slot_epochs_done + self.epoch,
            train_loss=train.loss,
            train_accuracy=train.accuracy,
            validation_loss=validation.loss,
            validation_accuracy=validation.accuracy,
            learning_rate=rate,
            **total_fractions(layers),  # type: ignore[arg-type]
            metered=taken,
            evaluation_seconds=time.perf_counter() - start,
            layers=layers,
            argmax_validation_accuracy=validation.argmax_accuracy,
            sampled_validation_accuracy=validation.sampled_accuracy,
            argmax_validation_loss=validation.argmax_loss,
            sampled_validation_loss=validation.sampled_loss,
        )

    def turn_to(self, phase: Phase) -> None:
        """Start a later phase: the selected weights become ordinary ones, to be trained, or converted at once."""
        assert IN_ORDER.index(self.phase) < IN_ORDER.index(phase), "phases have one order"
        if self.phase == "slot":
            self._slot_epochs_done = self.epoch
        bake(self.network)
        if phase == "finetune" and self.recipe.finetune_start == "shuffled":
            shuffle_weights(self.network, self.recipe.seed)
        if phase == "conversion":
            conversion = build_conversion(self.recipe)
            assert conversion is not None, "a recipe without one has no such phase"
            convert(self.network, conversion)
        self._start(phase)

    def test(self) -> Evaluation:
        """Loss and accuracy on the test split. Changes nothing and consumes no randomness of training."""
        return self.evaluate(self.data.test, "test")

    def evaluate(self, split: Split | StreamedSplit, name: str) -> Evaluation:
        """Loss and accuracy over all of the split, averaged over samples where the method's evaluation is random."""
        found = self._evaluated(split, name)
        weights = [selection for _, selection, _ in selected_weights(self.network)]
        if not any(weight.evaluated_both_ways for weight in weights):
            return found
        sampled = weights[0].sample_at_evaluation
        try:
            for weight in weights:
                weight.sample_at_evaluation = not sampled
            other = self._evaluated(split, name)
        finally:
            for weight in weights:
                weight.sample_at_evaluation = sampled
        by_lot, by_score = (found, other) if sampled else (other, found)
        return replace(
            found,
            argmax_accuracy=by_score.accuracy,
            sampled_accuracy=by_lot.accuracy,
            argmax_loss=by_score.loss,
            sampled_loss=by_lot.loss,
        )

    @torch.inference_mode()
    def _evaluated(self, split: Split | StreamedSplit, name: str) -> Evaluation:
        self._seed("evaluation", name, self.phase, self.epoch)
        self.network.eval()
        weights = [selection for _, selection, _ in selected_weights(self.network)]
        samples = max((weight.evaluation_samples for weight in weights if weight.sample_at_evaluation), default=1)
        totals, asked = torch.zeros(2, dtype=torch.float64, device=self.device), ASKED[self.data.task]
        for _ in range(samples):
            for images, labels in split.batches(EVALUATION_BATCH):
                outputs = logits(self.network, images, self.recipe.precision)
                totals[0] += asked.summed_loss(outputs, labels)
                totals[1] += asked.right(outputs, labels)
        loss, right = (totals / (samples * len(split))).tolist()
        return Evaluation(loss, right)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything to go on bit-exactly from this epoch boundary, flat; the tensors are the live ones."""
        state = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for index, momentum in enumerate(self._optimizer.momenta):
            if momentum is not None:
                state[f"momentum.{index}"] = momentum
        position = [IN_ORDER.index(self.phase), self.epoch, self._slot_epochs_done]
        state["position"] = torch.tensor(position, dtype=torch.int64)
        costs = [self._transient_bytes.get(phase, 0) for phase in PHASES]
        state["costs"] = torch.tensor(costs, dtype=torch.float64)
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Stand where the run that gave `state` stood. The recipes may differ only in what comes after that point.

        Raises ValueError for a state of another network or of an earlier phase than this run is in.
        """
        index, epoch, slot_epochs_done = state["position"].tolist()
        phase = IN_ORDER[index]
        if index > IN_ORDER.index(self.phase):
            bake(self.network)
            self._start(phase)
        if phase != self.phase:
            raise ValueError(f"state: it is of the {phase} phase, which this run has left")
        own = {name.removeprefix("network."): tensor for name, tensor in state.items() if name.startswith("network.")}
        try:
            self.network.load_state_dict(own)
        except RuntimeError as error:
            raise ValueError(f"state: it is of another network: {error}") from None
        self.epoch, self._slot_epochs_done = epoch, slot_epochs_done
        self._graph = None  # it would go on with the momenta that are replaced here
        for number, parameter in enumerate(self._trained()):
            if (momentum := state.get(f"momentum.{number}")) is not None:
                self._optimizer.momenta[number] = momentum.to(parameter, copy=True)
        transient = zip(PHASES, state["costs"].tolist(), strict=True)
        self._transient_bytes = {phase: int(size) for phase, size in transient if size}

    def costs(self) -> dict[str, float]:
        """What this run costs, by the names of MEASURES and of its plug-ins' costs.

        Memory is that measured here and in the run it was loaded from.
        """
        transient = max(self._transient_bytes.values(), default=0)
        trained = Trained(self.recipe, self.data, self.network, self._optimizer, transient)
        own = {name: cost.measure for name, cost in self._own_costs.items() if cost.measure}
        return {
            **{name: measure(trained) for name, measure in MEASURES.items()},
            **{name: amount_of(name, measure(trained)) for name, measure in own.items()},
        }

    def _start(self, phase: Phase) -> None:
        self.phase, self.epoch = phase, 0
        on_device = self._graphed or self.device.type in REPLAYED
        self._optimizer = build_sgd(self._trained(), self.recipe, phase, rate_on_device=on_device)
        totals = torch.zeros(2, device=self.device)
        self._step = TrainingStep(self.network, self._optimizer, self.recipe.precision, totals, self.data.task)
        self._graph = None

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def _seed(self, *labels: str | int) -> None:
        torch.manual_seed(stream_key(self.recipe.seed, *labels) & ((1 << 63) - 1))
        if labels != NETWORK:
            for name, selection, _ in selected_weights(self.network):
                selection.seed_noise(stream_key(self.recipe.seed, "noise", name, *labels), self.device)

    def _train_all_batches(self) -> Evaluation:
        self._seed("training", self.phase, self.epoch)
        order = torch_generator("cpu", self.recipe.seed, "batches", self.phase, self.epoch)
        if self.phase == "slot" and (method := build_method(self.recipe)).solved:
            return self._solved(method, order)
        self._step.totals.zero_()
        list(self.steps(order))
        loss, right = (self._step.totals.double() / len(self.data.train)).tolist()
        return Evaluation(loss, right)

    def _solved(self, method: Method, order: torch.Generator) -> Evaluation:
        """The training split's measures once the method has solved for the last layer, on the epoch's batches."""
        self.network.train()
        batches, precision = self._batches_now(), self.recipe.precision
        training = (batches.take(size) for size in batches.epoch(order))
        validation = self.data.validation.batches(EVALUATION_BATCH)
        with transient_memory(self.device) as measured:
            method.solve(self.network, lambda images: logits(self.network, images, precision), training, validation)
        self._transient_bytes[self.phase] = measured.peak_bytes
        return self._evaluated(self.data.train, "train")

    def steps(self, order: torch.Generator) -> Iterator[None]:
        """Takes the steps of an epoch, one at a time, on batches that a CPU generator draws. Counts as none."""
        self.network.train()
        batches = self._batches_now()
        for number, size in enumerate(batches.epoch(order)):
            if number == MEASURED_STEP and self.phase not in self._transient_bytes:
                self._measured_step(*batches.take(size))
            elif self._graphed and size == self.recipe.batch_size and (self._graph or number > MEASURED_STEP):
                self._graph = self._graph or GraphedStep(self._step, batches, size)
                self._graph()
            else:  # before all is warm, and a last batch that is short
                self._step(*batches.take(size))
            yield

    def _batches_now(self) -> Batches:
        """Those of the training split as it is now; a graph reads the one that it was made with."""
        if self._batches is None or self._batches.split is not self.data.train:
            self._graph = None
            self._batches = training_batches(self.data.train, self.recipe.batch_size, self.recipe.augmentation)
        return self._batches

    def _measured_step(self, images: Tensor, labels: Tensor) -> None:
        """An ordinary step, and the peak of memory in it."""
        self._optimizer.zero_grad()  # so that the gradients are allocated where that is measured
        with transient_memory(self.device) as measured:
            self._step(images, labels)
        self._transient_bytes[self.phase] = measured.peak_bytes

    def _selection(self) -> list[Tensor]:
        return [selection.selected(original) for _, selection, original in selected_weights(self.network)]

    def _layer_selections(self, before: list[Tensor]) -> tuple[LayerSelection, ...]:
        layers = []
        for (name, selection, original), then in zip(selected_weights(self.network), before, strict=True):
            now = selection.selected(original)
            if now.isnan().any():  # the last step has made it so, after its loss
                raise TrainingFailed("not a number", self.phase, self.epoch)
            changed = selection.changed(then, now)
            layers.append(LayerSelection(name, now.numel(), changed, **selection.described(original, now)))
        return tuple(layers)
