"""What gets selected, against a plain recomputation from K scores a connection."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainers.methods.k_scores import all_lines
from tests.trainers.tiny import STEPPED_METHODS, VARIANTS, copied, data_for, same_state, tiny_recipe
from trainers.kernels import native
from trainers.kernels import ranks as ranks_module
from trainers.kernels.options import LayerOptions
from trainers.methods.base import SelectedWeight, selected_weights
from trainers.methods.snapshots import LayerSelection, sampled, total_fractions, value_ranks
from trainers.training import TrainingRun

SLOT_MACHINES = {
    "greedy": {"options": 8},
    "K = 1": {"options": 1},
    "K = 2": {"options": 2},
    "more options than ranks that are told apart": {"options": 96},
    "probabilistic": {"options": 5, "selection": "probabilistic", "slot_learning_rate": 25.0},
    "layer-shared": {"options": 4, "sharing": "layer"},
    "network-shared": {"options": 4, "sharing": "network"},
}


@pytest.fixture(params=["C", "torch"])
def arithmetic(request, monkeypatch):
    """Both ways to compute ranks, compiled and not; without C a block holds few connections."""
    if request.param == "torch":
        monkeypatch.setattr(native, "library", lambda: None)
        monkeypatch.setattr(ranks_module, "AT_ONCE_IN_CACHE", 1 << 10)
    elif native.library() is None:
        pytest.skip("no C compiler")


def plainly(selection: SelectedWeight, pull: Tensor, before: Tensor, name: str) -> dict[str, Any]:
    """LayerSelection of a slot machine from its K scores, connection by connection."""
    values, initial = (lines.view(-1, lines.shape[-1]) for lines in all_lines(selection.options, pull.shape))
    scores = selection.scores(pull).view_as(values)
    chosen = scores.argmax(1)
    pull, count = pull.detach().flatten(), values.shape[1]
    ranks = [sorted(row).index(row[option]) for row, option in zip(values.tolist(), chosen.tolist(), strict=True)]
    groups = [rank * min(count, 64) // count for rank in ranks]
    in_use = values.gather(1, chosen[:, None])[:, 0].double()
    others = values.double().abs().sum(1) - in_use.abs()
    sizes = sorted(pull.abs().tolist())
    quartiles = [sizes[len(sizes) * quarter // 4] for quarter in (1, 2, 3)]
    by_pull = [[0, 0, 0] for _ in range(4)]
    for rank, b in zip(ranks, pull.tolist(), strict=True):
        quarter = sum(abs(b) >= quartile for quartile in quartiles)
        own = (rank == count - 1 and b > 0) or (rank == 0 and b < 0)
        by_pull[quarter][2 if own else int(rank in (0, count - 1))] += 1
    bound = selection.options.value_bound
    rows = [row * len(ranks) // min(1024, len(ranks)) for row in range(min(1024, len(ranks)))]
    return {
        "layer": name,
        "connections": len(ranks),
        "changed": int((in_use != before.flatten().double()).sum()),
        "counts": [groups.count(rank) for rank in range(min(count, 64))],
        "selected_magnitude": pytest.approx(float(in_use.abs().mean()) / bound, abs=2e-6),
        "unselected_magnitude": (
            pytest.approx(float(others.sum()) / (len(ranks) * (count - 1)) / bound, abs=2e-6) if count > 1 else None
        ),
        "sample": base64.b64encode(bytes(groups[row] for row in rows)).decode(),
        "moved": int((chosen != initial.argmax(1)).sum()),
        "pull_quartiles": pytest.approx([quartile / selection.scale.item() for quartile in quartiles], abs=2e-6),
        "by_pull": by_pull,
    }


@pytest.mark.parametrize("name", SLOT_MACHINES)
def test_it_is_what_the_k_scores_say(name, arithmetic):
    recipe = tiny_recipe(method="slot_machine", finetune_epochs=0, **SLOT_MACHINES[name])
    run = TrainingRun(recipe, data_for(recipe))
    for _ in range(2):
        before = [selection.selected(original) for _, selection, original in selected_weights(run.network)]
        epoch = run.train_epoch()
        expected = [
            plainly(selection, original, then, path)
            for (path, selection, original), then in zip(selected_weights(run.network), before, strict=True)
        ]
        assert [asdict(layer) for layer in epoch.layers] == expected
        connections = sum(layer["connections"] for layer in expected)
        assert epoch.changed_fraction == sum(layer["changed"] for layer in expected) / connections
        extremes = sum(row[1] + row[2] for layer in expected for row in layer["by_pull"])
        assert epoch.extreme_fraction == extremes / connections


@pytest.mark.parametrize("variant", ["edge_popup", "supermask", "supermask, rescaled"])
def test_of_a_mask_it_is_what_is_kept_and_what_is_dropped(variant):
    recipe = tiny_recipe(**VARIANTS[variant])
    run = TrainingRun(recipe, data_for(recipe))
    before = [selection.selected(original) != 0 for _, selection, original in selected_weights(run.network)]
    epoch = run.train_epoch()
    for (name, selection, original), then, layer in zip(
        selected_weights(run.network), before, epoch.layers, strict=True
    ):
        kept = selection.selected(original) != 0
        sizes = selection.fixed.double().abs() / selection.fixed.double().square().mean().sqrt()
        assert (layer.layer, layer.connections) == (name, kept.numel())
        assert layer.counts == [int((~kept).sum()), int(kept.sum())]
        assert layer.changed == int((kept != then).sum())
        assert layer.selected_magnitude == pytest.approx(float(sizes[kept].mean()), abs=2e-6)
        assert layer.unselected_magnitude == pytest.approx(float(sizes[~kept].mean()), abs=2e-6)
        assert list(base64.b64decode(layer.sample)) == kept.flatten()[_rows(kept.numel())].int().tolist()
        assert (layer.moved, layer.by_pull, layer.extreme) == (None, [], None)
    assert epoch.extreme_fraction is None
    assert epoch.changed_fraction == sum(layer.changed for layer in epoch.layers) / sum(map(_connections, epoch.layers))


@pytest.mark.parametrize("method", STEPPED_METHODS)
def test_a_run_that_goes_on_from_a_saved_state_says_the_same(method):
    recipe = tiny_recipe(method=method)
    whole, resumed = (TrainingRun(recipe, data_for(recipe)) for _ in range(2))
    whole.train_epoch()
    resumed.load_state_dict(copied(whole.state_dict()))
    second = whole.train_epoch()
    assert second.layers == resumed.train_epoch().layers
    assert second.changed_fraction > 0
    assert all(layer.layer for layer in second.layers)


@pytest.mark.parametrize("method", STEPPED_METHODS)
def test_looking_changes_nothing(method, monkeypatch):
    recipe = tiny_recipe(method=method)
    looked, not_looked = (TrainingRun(recipe, data_for(recipe)) for _ in range(2))
    looked.train_epoch()
    generator = torch.get_rng_state()
    monkeypatch.setattr(TrainingRun, "_layer_selections", lambda run, before: ())
    not_looked.train_epoch()
    assert torch.equal(torch.get_rng_state(), generator)
    assert same_state(looked.state_dict(), not_looked.state_dict())


def test_nothing_is_selected_in_the_finetune_phase_nor_by_learned_weights():
    for recipe in (tiny_recipe(method="slot_machine", slot_epochs=1), tiny_recipe(method="learned")):
        last = [*TrainingRun(recipe, data_for(recipe)).epochs()][-1]
        assert (last.layers, last.changed_fraction) == ((), 0)
        assert (last.extreme_fraction, last.selected_magnitude) == (None, None)


def test_equal_values_share_the_lowest_rank(arithmetic):
    options = LayerOptions(4, 10, 0.5, 1.0, 3, 4, shared=True)
    values = options.shared_values()
    below, moved, magnitudes = value_ranks(options, values.sort().values[2].expand(10).contiguous())
    assert below.tolist() == [2] * 10
    assert 0 <= moved <= 10
    assert magnitudes == pytest.approx(10 * float(values.double().abs().sum()))


def test_totals_weigh_layers_by_what_they_use():
    slot = LayerSelection("a", 10, 1, [5, 2, 3], 0.5, 0.4, "", 2, [0.1, 0.2, 0.3], [[1, 0, 1], [0, 1, 0]])
    other = LayerSelection("b", 30, 3, [10, 10, 10], 0.7, 0.4, "", 2, [0.1, 0.2, 0.3], [[9, 10, 11]])
    totals = total_fractions([slot, other])
    assert totals == {"changed_fraction": 0.1, "extreme_fraction": 23 / 40, "selected_magnitude": 0.65}
    mask, empty = LayerSelection("a", 10, 1, [8, 2], 0.5, 0.4, ""), LayerSelection("b", 9, 0, [9, 0], None, 0.4, "")
    totals = total_fractions([mask, empty])
    assert totals == {"changed_fraction": 1 / 19, "extreme_fraction": None, "selected_magnitude": 0.5}


def test_a_sample_is_evenly_spaced_and_no_larger_than_the_layer():
    assert list(base64.b64decode(sampled(torch.arange(5)))) == [0, 1, 2, 3, 4]
    assert list(base64.b64decode(sampled(torch.arange(4096) // 64))) == [4 * row // 64 for row in range(1024)]


def _connections(layer: LayerSelection) -> int:
    return layer.connections


def _rows(connections: int) -> list[int]:
    taken = min(1024, connections)
    return [row * connections // taken for row in range(taken)]
