"""What every method keeps to, whatever it does; a method that is registered is tested here."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.tiny import (
    SLOT_METHODS,
    STEPPED_METHODS,
    VARIANTS,
    copied,
    data_for,
    same_state,
    timeless,
    tiny_recipe,
    tiny_splits,
)
from trainers.costs.effort import EVALUATION_BATCH
from trainers.data.splits import DataSplits, Split
from trainers.methods.base import SelectedWeight, attach, selected_weights
from trainers.methods.binary.weight import BinaryWeight
from trainers.methods.edge_popup.weight import PopupWeight
from trainers.methods.random_features.weight import FixedWeight
from trainers.methods.registry import METHODS, build_method
from trainers.methods.signed_supermask.weight import SignedMaskWeight
from trainers.methods.slot_machine.weight import SlotWeight
from trainers.methods.supermask.weight import MaskedWeight
from trainers.networks import registry as networks
from trainers.networks.network import Network
from trainers.recipe.choices import PHASES
from trainers.training import TrainingFailed, TrainingRun

SOLVED = {*SLOT_METHODS} - {*STEPPED_METHODS}  # whose last layer is solved for
variants = pytest.mark.parametrize("variant", VARIANTS)


def test_every_method_is_registered_and_tried():
    assert set(METHODS) == {fields["method"] for fields in VARIANTS.values()}
    assert set(SLOT_METHODS) == {name for name, card in METHODS.items() if card.slot_phase}


def fixed_numbers(selection: SelectedWeight, like: Tensor) -> Tensor:
    """(*weight's shape, choices): the numbers that a connection can ever use, drawn anew where they are not kept."""
    if isinstance(selection, SlotWeight):
        lines = [selection.options.line(option, like.device)[0] for option in range(selection.options.count)]
        return torch.stack([value.expand(like.numel()).view(like.shape) for value in lines], dim=-1)
    if isinstance(selection, FixedWeight):
        return selection.fixed[..., None]
    if isinstance(selection, BinaryWeight):  # the signs; their sizes are learned
        return torch.tensor([-1.0, 1.0]).expand(*like.shape, 2)
    if isinstance(selection, SignedMaskWeight):
        return torch.stack([selection.fixed, torch.zeros_like(selection.fixed), -selection.fixed], dim=-1)
    assert isinstance(selection, PopupWeight | MaskedWeight)
    return torch.stack([selection.fixed, torch.zeros_like(selection.fixed)], dim=-1)


@variants
def test_fixed_random_weights_never_change_in_the_slot_phase(variant):
    recipe = tiny_recipe(**VARIANTS[variant])
    run = TrainingRun(recipe, data_for(recipe))
    before = [fixed_numbers(selection, original).clone() for _, selection, original in selected_weights(run.network)]
    assert bool(before) == (recipe.method != "learned")
    for _ in range(recipe.slot_epochs):
        run.train_epoch()
        for (_, selection, original), numbers in zip(selected_weights(run.network), before, strict=True):
            assert torch.equal(fixed_numbers(selection, original), numbers)
            in_use = selection.selected(original)[..., None]
            if getattr(selection, "rescale", False):
                in_use = in_use / in_use.abs().max() * numbers.abs().max()
                torch.testing.assert_close(in_use.abs().amax(-1).unique(), numbers.abs().unique(), rtol=1e-5, atol=1e-7)
                continue
            if getattr(selection, "gain", None) or isinstance(selection, BinaryWeight):
                in_use, numbers = in_use.sign(), numbers.sign()
            assert (in_use == numbers).any(-1).all()


@variants
def test_a_run_loaded_at_any_epoch_boundary_goes_on_bit_for_bit(variant):
    recipe = tiny_recipe(**VARIANTS[variant], slot_epochs=0 if "learned" in variant else 2)
    whole = TrainingRun(recipe, data_for(recipe))
    boundaries, costs, records = [copied(whole.state_dict())], [whole.costs()], []
    for record in whole.epochs():
        records.append(timeless(record))
        boundaries.append(copied(whole.state_dict()))
        costs.append(whole.costs())
        whole.test()  # measuring between epochs changes nothing: the loaded runs below do not
    end = boundaries[-1]
    for done, state in enumerate(boundaries):
        torch.manual_seed(done)  # a process that did other work before
        torch.rand(17)
        loaded = TrainingRun(recipe, data_for(recipe))
        loaded.load_state_dict(state)
        assert same_state(loaded.state_dict(), state) and loaded.costs() == costs[done]
        assert [timeless(record) for record in loaded.epochs()] == records[done:]
        assert same_state(loaded.state_dict(), end) and loaded.test() == whole.test()
        assert loaded.costs() == costs[-1]


@variants
def test_a_fork_equals_the_same_trial_run_alone_bit_for_bit(variant):
    if "learned" in variant:
        pytest.skip("learned weights have no slot phase to fork from")
    if tiny_recipe(**VARIANTS[variant]).looks_at_length:
        pytest.skip("its slot phases of other lengths have nothing in common")
    shared = TrainingRun(tiny_recipe(**VARIANTS[variant], slot_epochs=3), data_for(tiny_recipe(**VARIANTS[variant])))
    for split in (1, 2, 3):
        slot_record = timeless(shared.train_epoch())
        recipe = tiny_recipe(**VARIANTS[variant], slot_epochs=split, finetune_epochs=4 - split)
        fork = TrainingRun(recipe, data_for(recipe))
        fork.load_state_dict(copied(shared.state_dict()))
        alone = TrainingRun(recipe, data_for(recipe))
        records = [timeless(record) for record in alone.epochs()]
        assert records[split - 1] == slot_record
        assert [timeless(record) for record in fork.epochs()] == records[split:]
        assert same_state(fork.state_dict(), alone.state_dict()) and fork.test() == alone.test()


@variants
def test_measuring_gives_the_same_again_whatever_was_drawn_in_between(variant):
    recipe = tiny_recipe(**VARIANTS[variant])
    run = TrainingRun(recipe, data_for(recipe))
    run.train_epoch()
    first, state = run.test(), copied(run.state_dict())
    torch.rand(13)
    assert run.test() == first and same_state(run.state_dict(), state)


def test_a_state_of_another_network_or_of_a_phase_that_is_over_is_refused():
    recipe = tiny_recipe(method="edge_popup")
    run = TrainingRun(recipe, data_for(recipe))
    start = copied(run.state_dict())
    other = tiny_recipe(method="edge_popup", width=0.2)
    with pytest.raises(ValueError, match="another network"):
        TrainingRun(other, data_for(other)).load_state_dict(start)
    with pytest.raises(ValueError, match="another network"):
        wrong = tiny_recipe(method="slot_machine")
        TrainingRun(wrong, data_for(wrong)).load_state_dict(start)
    list(run.epochs())
    with pytest.raises(ValueError, match="which this run has left"):
        run.load_state_dict(start)


@variants
def test_state_is_no_larger_than_two_and_a_half_times_that_of_learned_weights(variant):
    def after_an_epoch(**fields: Any) -> tuple[int, int]:
        recipe = tiny_recipe(**fields)
        run = TrainingRun(recipe, data_for(recipe))
        run.train_epoch()
        saved = sum(tensor.nbytes for tensor in run.state_dict().values())
        return run.costs()["state_bytes"], saved

    more = {"options": 64} if VARIANTS[variant]["method"] == "slot_machine" else {}
    (kept, saved), (learned, learned_saved) = (
        after_an_epoch(**VARIANTS[variant], **more),
        after_an_epoch(method="learned"),
    )
    assert kept <= 2.5 * learned
    assert saved <= learned_saved + 1000  # what can be drawn again is not stored


@pytest.mark.parametrize("method", STEPPED_METHODS)
def test_finetuning_starts_from_the_selected_weights_and_trains_all_of_them(method):
    recipe = tiny_recipe(method=method, evaluation={"slot_machine": "argmax", "supermask": "threshold"}.get(method))
    run = TrainingRun(recipe, data_for(recipe))
    for _ in range(2):
        last = run.train_epoch()
    selected = [selection.selected(original) for _, selection, original in selected_weights(run.network)]
    before = run.test()
    run.turn_to("finetune")
    weights = list(run.network.parameters())
    assert all(torch.equal(weight, picked) for weight, picked in zip(weights, selected, strict=True))
    assert run.test() == before and not list(selected_weights(run.network))
    first, second = run.train_epoch(), run.train_epoch()
    assert (first.epoch, first.total_epoch, first.changed_fraction) == (1, last.total_epoch + 1, 0)
    assert second.train_loss < first.train_loss
    for weight, picked in zip(weights[1:], selected[1:], strict=True):
        moved = weight != picked
        assert moved.float().mean() > 0.5 and (moved[picked == 0].any() or picked.all())


class Odd(nn.Module):
    """Strided, dilated, grouped and depthwise convolutions, biases, affine normalisation, a layer that is nested."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.blocks = nn.ModuleList(
            [nn.Conv2d(8, 8, 3, groups=4, padding=1), nn.Conv2d(8, 8, 3, dilation=2, padding=2, groups=8)]
        )
        self.row = nn.Conv1d(8, 6, 3, bias=False)
        self.head = nn.Sequential(nn.Linear(6, classes))

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.norm(self.stem(images)).tanh()
        for block in self.blocks:
            hidden = hidden + block(hidden).tanh()
        return self.head(self.row(hidden.mean(2)).tanh().mean(2))


@variants
def test_any_module_trains_its_biases_in_the_finetune_phase_only(monkeypatch, variant):
    odd = Network("Odd", lambda shape, classes: Odd(shape[0], classes), smallest_sides={1: 1})
    monkeypatch.setitem(networks.NETWORKS, "lenet", odd)
    recipe = tiny_recipe(**VARIANTS[variant], width=1.0, batch_size=20, dataset="mnist")
    run = TrainingRun(recipe, tiny_splits())

    def others() -> dict[str, Tensor]:
        names = ("stem.bias", "norm.weight", "norm.bias", "blocks.0.bias", "blocks.1.bias", "head.0.bias")
        return {name: run.network.get_parameter(name).detach().clone() for name in names}

    before, layers = others(), [name for name, _, _ in selected_weights(run.network)]
    if recipe.method != "learned":
        assert layers == ["stem", "blocks.0", "blocks.1", "row", "head.0"][: 4 if recipe.method in SOLVED else 5]
        records = [run.train_epoch(), run.train_epoch()]
        assert same_state(others(), before)
        assert all(math.isfinite(record.validation_loss) for record in records)
        run.turn_to("finetune")
    assert same_state(others(), before)
    run.train_epoch()
    assert not any(torch.equal(tensor, before[name]) for name, tensor in others().items())


@pytest.mark.parametrize("method", METHODS)
def test_torchvisions_resnet_trains_by_every_method(method):
    fields = {"network": "resnet18", "dataset": "cifar10", "width": 1.0, "augmentation": "none", "batch_size": 4}
    lengths = (
        {"slot_epochs": 0, "finetune_epochs": 1} if method == "learned" else {"finetune_epochs": 0, "slot_epochs": 1}
    )
    recipe = tiny_recipe(method=method, **fields, **lengths)
    run = TrainingRun(recipe, tiny_splits((3, 16, 16), train=8, test=4))
    (record,) = run.epochs()
    assert math.isfinite(record.train_loss) and math.isfinite(record.validation_loss)
    assert len(list(selected_weights(run.network))) == (0 if method == "learned" else 20 if method in SOLVED else 21)


class Perfect(nn.Module):
    """Sees the label, which is written into the first pixels."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :10] * 50


def told(count: int) -> Split:
    labels = torch.randint(10, (count,), generator=torch.Generator().manual_seed(0))
    images = torch.zeros(count, 1, 2, 10)
    images[torch.arange(count), 0, 0, labels] = 1
    return Split(images, labels)


@variants
def test_a_perfect_network_scores_exactly_one_even_with_a_short_last_batch(variant):
    test = told(EVALUATION_BATCH + 7)
    recipe = tiny_recipe(**VARIANTS[variant])
    run = TrainingRun(recipe, DataSplits(told(30), told(11), test, 10, "told", (1, 2, 10)))
    network = run.network
    run.network = nn.Sequential(network, nn.Flatten(0))  # the method's layers are still there to be asked for samples
    run.network.forward = Perfect().forward  # type: ignore[method-assign]
    assert run.test().accuracy == 1.0
    assert run.evaluate(told(1), "one").accuracy == 1.0


@variants
@pytest.mark.parametrize("phase", PHASES)
def test_a_loss_that_is_no_number_fails_the_epoch_and_says_so(variant, phase):
    recipe = tiny_recipe(**VARIANTS[variant], dataset="mnist", batch_size=20)
    data = tiny_splits()
    run = TrainingRun(recipe, data)
    if recipe.method == "learned" and phase == "slot":
        pytest.skip("learned weights have no slot phase")
    if run.phase != phase:
        run.train_epoch()
        run.turn_to("finetune")
    run.train_epoch()
    data.train.images[3, 0, 0, 0] = math.nan
    with pytest.raises(TrainingFailed, match=f"not a number in epoch 2 of the {phase} phase") as failure:
        run.train_epoch()
    assert (failure.value.reason, failure.value.phase, failure.value.epoch) == ("not a number", phase, 2)
    again = pickle.loads(pickle.dumps(failure.value))
    assert (str(again), again.phase, again.epoch) == (str(failure.value), phase, 2)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name.startswith("slot_machine")])
@pytest.mark.parametrize("step", [0, 2])
def test_scores_that_are_no_numbers_fail_their_epoch_even_after_its_last_loss(variant, step):
    run = TrainingRun(tiny_recipe(**VARIANTS[variant], dataset="mnist", batch_size=20), tiny_splits())
    steps = iter(range(3))

    take_step = run._optimizer.step

    def broken():
        take_step()
        if next(steps) == step:  # of three
            run.network.get_parameter("fc1.parametrizations.weight.original").data[0, 0] = math.nan

    run._optimizer.step = broken
    with pytest.raises(TrainingFailed, match="not a number in epoch 1 of the slot phase"):
        run.train_epoch()
    assert next(steps, None) is None, "all of the epoch's batches were trained on"


@variants
def test_cpu_and_cuda_agree(variant):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    recipe = tiny_recipe(**VARIANTS[variant], dataset="mnist", batch_size=20, slot_momentum=0.0, finetune_momentum=0.0)
    runs = []
    for device in ("cpu", "cuda"):
        data = tiny_splits()
        moved = [Split(split.images.to(device), split.labels.to(device)) for split in (data.train, data.test)]
        runs.append(TrainingRun(recipe, DataSplits(moved[0], moved[1], moved[1], 4, "tiny", (1, 28, 28)), device))
    on_cpu, on_cuda = ([selection.selected(w).cpu() for _, selection, w in selected_weights(r.network)] for r in runs)
    assert all(torch.equal(a, b) for a, b in zip(on_cpu, on_cuda, strict=True))
    first, second = (run.train_epoch() for run in runs)
    # Sampling differs (each device has its own generator); what is deterministic differs by rounding alone.
    sampled = recipe.selection == "probabilistic" or recipe.method == "supermask"
    assert first.train_loss == pytest.approx(second.train_loss, rel=0.2 if sampled else 1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_layers_and_seeds_have_numbers_of_their_own(method):
    def weights(seed: int) -> list[Tensor]:
        network = nn.Sequential(*(nn.Linear(20, 20) for _ in range(3)))
        attach(network, build_method(tiny_recipe(method=method)), seed)
        found = [fixed_numbers(selection, original) for _, selection, original in selected_weights(network)]
        own = method not in ("learned", "binary")  # of which nothing is fixed: they start from numbers of their own
        return found if own else [layer.weight.detach() for layer in network]

    first, again, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
