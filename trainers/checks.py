"""What methods, networks, data sets and costs of one's own must keep to, checked on something small: for all tests.

A fault names the rule that is broken and where the class or function stands. What the code itself raises is raised.
"""

from __future__ import annotations

import copy
import inspect
import os
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainers.costs.plugged import OwnCost
from trainers.data.data_set import CLASSIFICATION, DataSet, Images, Task
from trainers.data.digests import check_data
from trainers.data.registry import data_folder
from trainers.data.splits import DataSplits, Split, load_splits
from trainers.errors import InvalidInput
from trainers.methods.base import attach, selected_weights, weighted_layers
from trainers.methods.card import Method
from trainers.networks.layers import InputShape
from trainers.networks.network import Network
from trainers.plugin_facts import facts_of_registries
from trainers.plugins.known import PlugIn, know_code
from trainers.recipe.recipe import Recipe
from trainers.tasks import ASKED
from trainers.training import TrainingRun

SHAPE, CLASSES, BATCH = (1, 8, 8), 4, 16
EXCERPT = 64  # examples of a data set that are trained on
State = dict[str, Tensor]


class BrokenRule(InvalidInput):
    """Something of one's own breaks a rule; the text says where it stands, which rule, and how to mend it."""


def check_method(card: type[Method], **options: Any) -> None:
    """Trains a small network by a method twice; raises BrokenRule where it breaks a rule of methods.

    It builds, attaches, takes steps, bakes and goes on from a saved state; the same seed gives the same bits, another
    layer and another seed other randomness; nothing of the process is left changed. `options`: its hyperparameters,
    as far as they have no defaults. Raises InvalidInput for wrong ones.
    """
    recipe = _recipe_of({"METHODS": {"own": card}}, method="checked.own", network="lenet", width=0.1,
                        **{f"method_options.{name}": value for name, value in options.items()})  # fmt: skip
    broken = _fault_at(card)
    method = card.of(recipe.method_fields())
    layer = nn.Linear(12, 12, bias=False)
    with _global_state_kept(broken, "attach"):
        _check_randomness(method, layer, broken)
    _check_trained_twice(recipe, _noise(SHAPE, CLASSES), broken)


def check_network(
    network: Network,
    input_shape: InputShape = SHAPE,
    classes: int = CLASSES,
    task: Task = CLASSIFICATION,
    **fields: Any,
) -> None:
    """Builds and trains a network twice, by learned weights; raises BrokenRule where it breaks a rule of networks.

    Its builder draws from torch's generator alone; its outputs are (n, classes), and in evaluation the same every time;
    a saved state goes on; nothing of the process is left changed. `fields`: those of a recipe that it has.
    """
    broken = _fault_at(network.build)
    channels, height, width = input_shape  # which is a list in what a check is told
    shape = channels, height, width
    noise = _noise(shape, classes, task)
    recipe = _recipe_of({"NETWORKS": {"own": network}, "DATA_SETS": {"noise": _as_data_set(noise)}},
                        network="checked.own", dataset="checked.noise", method="learned", **fields)  # fmt: skip

    def built(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return network(shape, classes, **fields)

    with torch.random.fork_rng(devices=[]), _global_state_kept(broken, "the builder", but=("torch's generator",)):
        first, again = built(1), built(1)
        if not _same(first.state_dict(), again.state_dict()):
            raise broken("the builder gives other weights the second time, for the same seed of torch's generator: "
                         "draw them from it alone")  # fmt: skip
        if not list(weighted_layers(first)):
            raise broken("it has no layer whose weights a method can give: use nn.Linear, nn.Conv1d, nn.Conv2d")
        images, _ = next(noise.test.batches(BATCH))
        with torch.inference_mode():
            outputs, repeated = (first.eval()(images) for _ in range(2))
        if outputs.shape != (len(images), classes):
            raise broken(f"its outputs are {tuple(outputs.shape)}, not {(len(images), classes)}")
        if not torch.equal(outputs, repeated):
            raise broken("in evaluation its outputs are others the second time: draw nothing unless self.training")
    _check_trained_twice(recipe, noise, broken)


def check_data_set(data_set: DataSet, data_dir: Path | str | None = None) -> None:
    """Reads a data set twice, and trains on some of it; raises BrokenRule where it breaks a rule of data sets.

    Its files are those that it states; it reads what it states, the same every time; nothing of the process is left
    changed. `data_dir`: where its files are. Raises DataError where they are not.
    """
    broken = _fault_at(data_set.read)
    recipe = _recipe_of({"DATA_SETS": {"own": data_set}}, network="lenet", width=0.1, method="learned",
                        dataset="checked.own", augmentation="none",
                        validation_examples=max(1, data_set.train_examples // 10))  # fmt: skip
    folder = Path(data_dir) if data_dir is not None else None
    check_data(recipe.dataset, folder, download=False, plugins=recipe.plugins)
    where = data_folder(recipe.dataset, folder, recipe.plugins)
    with _global_state_kept(broken, "the reader"):
        first = data_set.read(where, data_set.files)
    random.random(), np.random.random(), torch.rand(3)  # a process that did other work between
    second = data_set.read(where, data_set.files)
    if any(not _equal(one, other) for one, other in zip(first, second, strict=True)):
        raise broken("it reads other numbers the second time: draw from trainers.streams.torch_generator, by a seed "
                     "of its own, and sort what the file system lists")  # fmt: skip
    splits = load_splits(recipe, folder, download=False)
    few = [Split(split.images[:EXCERPT], split.labels[:EXCERPT]) for split in (splits.train, splits.test)
           if isinstance(split, Split)]  # fmt: skip
    TrainingRun(recipe, replace(splits, train=few[0], validation=few[0], test=few[1])).train_epoch()


def check_cost(cost: OwnCost, **fields: Any) -> None:
    """Measures a small network of selected weights, and again once they are learned; raises BrokenRule.

    What is measured is a finite number, of one state the same every time, and to measure it changes nothing: neither
    the run nor the process. A meter counts on every machine, unless `everywhere=False`. `fields`: of the recipe.
    """
    broken = _fault_at(cost.measure or cost.meter)
    recipe = _recipe_of({"COSTS": {"own": cost}}, costs="checked.own",
                        **{"network": "lenet", "width": 0.1, "method": "slot_machine", "options": 2,
                           "slot_epochs": 2, **fields})  # fmt: skip
    data = _noise(SHAPE, CLASSES)
    run, plain = (TrainingRun(one, data) for one in (recipe, recipe.model_copy(update={"costs": None})))
    for phase, _ in recipe.phases():
        for each in (run, plain):
            if each.phase != phase:
                each.turn_to(phase)
        plain.train_epoch()
        try:
            with _global_state_kept(broken, "to measure it", but=("torch's generator",)):
                taken = run.train_epoch().metered
                first = run.costs().get("checked.own")
            if not _same(run.state_dict(), plain.state_dict()):
                raise broken("to measure it changes the run: its network, or what is drawn while it trains")
            again = run.costs().get("checked.own")
        except InvalidInput as error:
            raise error if isinstance(error, BrokenRule) else broken(str(error)) from None
        if cost.meter and cost.everywhere and taken["checked.own"] is None:
            raise broken("its meter counts nothing here: say everywhere=False of what some machines cannot measure")
        if first != again and not cost.of_machine:
            raise broken(f"it gives {again!r} the second time, and {first!r} before, of the same network: draw "
                         "nothing, and say of_machine=True of what hangs on the machine")  # fmt: skip


def _equal(one: Images, other: Images) -> bool:
    return np.array_equal(one.pixels, other.pixels) and np.array_equal(one.labels, other.labels)


def _check_trained_twice(recipe: Recipe, data: DataSplits, broken: Callable[[str], BrokenRule]) -> None:
    first = _trained(recipe, data, broken)
    random.random(), np.random.random(), torch.rand(3)  # a process that did other work between
    second = _trained(recipe, data, broken)
    for (where, one), (_, other) in zip(first, second, strict=True):
        if not _same(one, other):
            raise broken(f"the same seed gives other numbers the second time, {where}: draw only from RandomStream "
                         "(trainers.streams), or from torch's generator while it trains")  # fmt: skip


def _recipe_of(registries: Mapping[str, Mapping[str, Any]], **fields: Any) -> Recipe:
    """A recipe of what is registered for this check alone."""
    plugin = PlugIn("checked", "0" * 64, facts=facts_of_registries(registries))
    know_code(plugin, registries)
    slot_phase = plugin.facts.get("METHODS", {}).get("own", {}).get("slot_phase", False)
    epochs = {"slot_epochs": 2 * slot_phase, "finetune_epochs": 2}
    return Recipe.complete({"dataset": "digits", "batch_size": BATCH, **epochs, **fields, "plugins": plugin.key})


def _fault_at(entry: Any) -> Callable[[str], BrokenRule]:
    """Makes faults that say in which file and line something stands."""
    try:
        _, line = inspect.getsourcelines(entry)
        where = f"{inspect.getsourcefile(entry)}:{line}: {entry.__name__}: "
    except (OSError, TypeError):
        where = f"{getattr(entry, '__name__', entry)}: "
    return lambda rule: BrokenRule(where + rule)


def _noise(shape: InputShape, classes: int, task: Task = CLASSIFICATION) -> DataSplits:
    """Noise with a patch that tells the class."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> Split:
        if task != CLASSIFICATION:
            images = torch.randn(count, *shape, generator=generator)
            return Split(images, ASKED[task].made_up(count, classes, generator))
        labels = torch.arange(count) % classes
        images = torch.randn(count, *shape, generator=generator)
        images[:, :, :4] += (labels[:, None, None, None] - classes / 2) * 2
        return Split(images, labels)

    return DataSplits(split(3 * BATCH + 5), split(21), split(21), classes, "noise", shape, task)


def _as_data_set(noise: DataSplits) -> DataSet:
    """What a recipe has to know of it."""
    examples = len(noise.train) + len(noise.validation)
    return DataSet(title="noise", validation_examples={"icml": len(noise.validation)}, input_shape=noise.input_shape,
                   classes=noise.classes, train_examples=examples, test_examples=len(noise.test), brightest=1, files=(),
                   read=_never_read, task=noise.task)  # fmt: skip


def _never_read(*_: Any) -> tuple[Images, Images]:
    raise AssertionError("noise is at hand")


def _check_randomness(method: Method, plain: nn.Module, broken: Callable[[str], BrokenRule]) -> None:
    """That what a layer gets hangs on its name and the seed, and on nothing else."""

    def given(name: str, seed: int) -> State:
        network = nn.ModuleDict({name: copy.deepcopy(plain)})
        attach(network, method, seed)
        state = {key.partition(".")[2]: tensor.detach().clone() for key, tensor in network.state_dict().items()}
        for _, selection, original in selected_weights(network):
            state["selected"] = selection.selected(original).detach().clone()
        return state

    first = given("one", 0)
    if method.slot_phase and "selected" not in first:
        raise broken("it has a slot phase, and attach registers no SelectedWeight on a layer (slot_phase = False?)")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        again = given("one", 0)
    if not _same(first, again):
        raise broken("attach gives a layer other numbers the second time, for the same name and seed: draw them from "
                     "RandomStream(stream_key(seed, …, name)) of trainers.streams")  # fmt: skip
    by_seed, by_name = given("one", 1), given("two", 0)
    if not _same(first, by_seed) and _same(first, by_name):
        raise broken("attach gives every layer the same randomness: put the layer's name into its stream's key")


def _trained(recipe: Recipe, data: DataSplits, broken: Callable[[str], BrokenRule]) -> list[tuple[str, State]]:
    """The state before, after and between the phases; goes on from a saved state beside it, which must end alike."""
    run = TrainingRun(recipe, data)
    states = [("before it trains", _copied(run))]
    for phase, _ in recipe.phases():
        if run.phase != phase:
            run.turn_to(phase)
            if list(selected_weights(run.network)):
                raise broken("its selected weights cannot be baked in: they are still selected in the finetune phase")
        run.train_epoch()
        other = TrainingRun(recipe, data)
        other.load_state_dict(_copied(run))
        run.train_epoch()
        torch.rand(5)  # what a process draws between epochs must not matter
        other.train_epoch()
        states.append((f"after the {phase} phase", _copied(run)))
        if not _same(states[-1][1], _copied(other)):
            raise broken(f"gone on from a saved state, the {phase} phase ends otherwise: what an epoch leaves behind "
                         "must be in parameters and buffers, or follow from the seed")  # fmt: skip
        if not _same(run.state_dict(), states[-1][1]) or run.test() != run.test():
            raise broken("to measure its network changes it")
    run.costs()  # the size of its ticket among them
    return states


def _copied(run: TrainingRun) -> State:
    return {name: tensor.detach().clone() for name, tensor in run.state_dict().items()}


def _same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape and torch.equal(one[name], other[name]) for name in one
    )


@contextmanager
def _global_state_kept(broken: Callable[[str], BrokenRule], what: str, but: Collection[str] = ()) -> Iterator[None]:
    before = _global_state()
    yield
    changed = [name for name, value in _global_state().items() if value != before[name] and name not in but]
    if changed:
        raise broken(f"{what} changes {' and '.join(changed)} of the whole process")


def _global_state() -> dict[str, Any]:
    return {
        "torch's default type": torch.get_default_dtype(),
        "torch's threads": torch.get_num_threads(),
        "whether torch computes gradients": torch.is_grad_enabled(),
        "torch's generator": torch.get_rng_state().tolist(),
        "torch's choice of algorithms": (
            torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        ),
        "Python's generator": random.getstate(),
        "NumPy's generator": str(np.random.get_state()),
        "the working folder": os.getcwd(),
        "the environment": dict(os.environ),
    }  # fmt: skip


CHECKS: dict[str, Callable[..., None]] = {
    "METHODS": check_method,
    "NETWORKS": check_network,
    "DATA_SETS": check_data_set,
    "COSTS": check_cost,
}
