"""Conversions against plain references: every code tried, every subset tried, rounding by NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from tests.trainers.tiny import copied, data_for, same_state, tiny_recipe
from trainers.conversions.bfloat16 import Bfloat16
from trainers.conversions.groups import groups
from trainers.conversions.quantised import Quantised, levels, quantise
from trainers.conversions.registry import CONVERSIONS, build_conversion
from trainers.conversions.ternary import Ternary, ternarise
from trainers.errors import InvalidInput
from trainers.recipe.stretches import stretches
from trainers.tickets.trained_network import trained_network
from trainers.training import TrainingRun

TRIED = {
    "bfloat16": {"conversion": "bfloat16"},
    "1 bit, layer": {"conversion": "quantised", "conversion_bits": 1, "conversion_scales": "layer"},
    "3 bits, channel": {"conversion": "quantised", "conversion_bits": 3, "conversion_scales": "channel"},
    "8 bits, layer": {"conversion": "quantised", "conversion_bits": 8, "conversion_scales": "layer"},
    "ternary, layer": {"conversion": "ternary", "conversion_scales": "layer"},
    "ternary, channel": {"conversion": "ternary", "conversion_scales": "channel"},
    "ternary, kernel": {"conversion": "ternary", "conversion_scales": "kernel"},
}
tried = pytest.mark.parametrize("name", TRIED)


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    one = torch.randn(5, 3, 3, 3)
    one[2] = 0  # a dead channel
    return {"linear": torch.randn(7, 40), "convolution": one, "all zero": torch.zeros(2, 3), "one": torch.ones(1, 1)}


def test_every_conversion_is_tried():
    assert {fields["conversion"] for fields in TRIED.values()} == set(CONVERSIONS)


@tried
@pytest.mark.parametrize("weight", weights())
def test_a_converted_weight_comes_back_from_its_codes_and_stays_when_converted_again(name, weight):
    conversion = build_conversion(tiny_recipe(method="learned", **TRIED[name]))
    given = weights()[weight]
    found = conversion.convert(given)
    codes, scales = conversion.taken_apart(found)
    assert found.shape == given.shape and found.dtype == torch.float32
    assert int(codes.min()) >= 0 and int(codes.max()) < conversion.codes and codes.shape == given.shape
    assert tuple(scales.shape) == conversion.scales_shape(tuple(given.shape))
    again = conversion.put_together(codes, scales)
    assert torch.equal(again.view(torch.int32), found.view(torch.int32)), "bit for bit, the sign of 0 too"


def test_bfloat16_rounds_to_the_nearest_and_of_two_to_the_even_one():
    bits = np.random.default_rng(0).integers(0, 1 << 32, 4000, dtype=np.uint64).astype(np.uint32)
    bits = np.concatenate([bits, np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x80000000], np.uint32)])
    weight = bits.view(np.float32)
    weight = weight[np.isfinite(weight) & (np.abs(weight) < 1e38)]
    wide = weight.view(np.uint32).astype(np.uint64)
    rounded = ((wide + 0x7FFF + (wide >> 16 & 1)) >> 16 << 16).astype(np.uint32)
    found = Bfloat16().convert(torch.from_numpy(weight.copy()))
    assert (found.numpy().view(np.uint32) == rounded).all()


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_levels_are_evenly_spaced_and_symmetric(bits):
    found = levels(torch.arange(1 << bits), bits).double()
    assert len(found) == 2**bits and found[0] == -1 and found[-1] == 1
    assert torch.equal(found, -found.flip(0))
    torch.testing.assert_close(found.diff(), torch.full((2**bits - 1,), 2 / (2**bits - 1)).double())


def test_one_bit_is_the_sign_times_the_mean_size():
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    found = Quantised(1, "channel").convert(weight)
    torch.testing.assert_close(found, weight.sign() * weight.abs().mean(1, keepdim=True))


@pytest.mark.parametrize("bits", [1, 2])
def test_quantising_is_as_good_as_any_choice_of_codes(bits):
    """Every choice of codes for five weights, each with the scale that fits it best."""
    for seed in range(5):
        weight = torch.randn(1, 5, generator=torch.Generator().manual_seed(seed))
        codes, scales = quantise(weight, bits)
        error = (levels(codes, bits) * scales[:, None] - weight).square().sum()
        least = math.inf
        for choice in itertools.product(range(1 << bits), repeat=5):
            level = levels(torch.tensor([choice]), bits)
            scale = (weight * level).sum() / level.square().sum()
            least = min(least, float((scale * level - weight).square().sum()))
        assert float(error) <= least * 1.02 + 1e-6


def test_more_bits_leave_a_smaller_error_and_about_that_of_the_step():
    weight = torch.rand(1, 20000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    errors = [float((Quantised(bits, "layer").convert(weight) - weight).square().mean()) for bits in (1, 2, 3, 4, 8)]
    # Uniform numbers lie at the middles of 2^k cells: the error is that of a cell, (2/2^k)²/12.
    assert errors == pytest.approx([(2 / 2**bits) ** 2 / 12 for bits in (1, 2, 3, 4, 8)], rel=0.02)


def test_ternary_is_the_best_of_all_ternary_vectors():
    for seed in range(20):
        weight = torch.randn(1, 6, generator=torch.Generator().manual_seed(seed))
        found, scale = ternarise(weight)
        best = max(
            (weight.double() @ torch.tensor(t).double()).item() / math.sqrt(sum(map(abs, t)))
            for t in itertools.product((-1, 0, 1), repeat=6)
            if any(t)
        )
        cosine = float((weight.double() * found).sum() / found.double().square().sum().sqrt())
        assert cosine == pytest.approx(best, rel=1e-12)
        used = weight.abs()[found != 0]
        assert float(scale) == pytest.approx(float(used.mean()), rel=1e-6)
        assert torch.equal(found[found != 0], weight.sign().long()[found != 0])


def test_ternary_ties_use_the_first_and_the_fewest():
    found, scale = ternarise(torch.tensor([[1.0, -1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0], [4.0, 1.0, 1.0, 1.0]]))
    assert found.tolist() == [[1, -1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert scale.tolist() == [1.0, 0.0, 4.0]


@pytest.mark.parametrize(
    ("shape", "scales", "expected"),
    [
        ((6, 4, 3, 3), "layer", (1, 216)),
        ((6, 4, 3, 3), "channel", (6, 36)),
        ((6, 4, 3, 3), "kernel", (24, 9)),
        ((6, 4), "channel", (6, 4)),
        ((6, 4), "kernel", (6, 4)),
    ],
)
def test_groups_of_weights_that_share_a_scale(shape, scales, expected):
    assert groups(shape, scales) == expected


def test_scales_are_of_their_own_group():
    weight = torch.randn(4, 3, 3, 3)
    whole = Ternary("channel").convert(weight)
    for channel in range(4):
        assert torch.equal(whole[channel], Ternary("layer").convert(weight[channel][None])[0])


@pytest.mark.parametrize("conversion", [Quantised(4, "layer"), Ternary("layer")])
def test_weights_that_are_not_finite_are_refused(conversion):
    with pytest.raises(ValueError, match="weight: a number that is not finite"):
        conversion.convert(torch.tensor([[1.0, math.nan]]))


@tried
@pytest.mark.parametrize("method", ["learned", "slot_machine"])
def test_a_converted_run_is_the_same_training_and_then_another_network(method, name):
    plain = tiny_recipe(method=method)
    recipe = tiny_recipe(method=method, **TRIED[name])
    alone = TrainingRun(plain, data_for(plain))
    list(alone.epochs())
    run = TrainingRun(recipe, data_for(recipe))
    before = list(run.epochs())
    assert len(before) == recipe.budget_epochs == plain.budget_epochs
    assert (run.phase, run.epoch) == ("conversion", 0)
    conversion = build_conversion(recipe)
    for weight, trained in zip(run.network.parameters(), alone.network.parameters(), strict=True):
        assert torch.equal(weight, conversion.convert(trained))
        assert not torch.equal(weight, trained)
    # A fork of the shared training is the same run, and so is one that is loaded once it is converted.
    fork = TrainingRun(recipe, data_for(recipe))
    fork.load_state_dict(copied(alone.state_dict()))
    fork.turn_to("conversion")
    loaded = TrainingRun(recipe, data_for(recipe))
    loaded.load_state_dict(copied(run.state_dict()))
    for other in (fork, loaded):
        assert same_state({n: t for n, t in other.state_dict().items() if "costs" not in n},
                          {n: t for n, t in run.state_dict().items() if "costs" not in n})  # fmt: skip
        assert other.test() == run.test()
        assert list(other.epochs()) == []
    rebuilt = trained_network(recipe, run.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(rebuilt.parameters(), run.network.parameters(), strict=True))


def test_selected_weights_are_converted_without_finetuning_too():
    recipe = tiny_recipe(method="edge_popup", finetune_epochs=0, **TRIED["ternary, layer"])
    run = TrainingRun(recipe, data_for(recipe))
    list(run.epochs())
    assert run.phase == "conversion"
    assert all(len(weight.unique()) <= 3 for weight in run.network.parameters())


def test_recipes_without_a_conversion_keep_their_hashes_and_forks_share_all_training():
    plain = tiny_recipe(method="learned")
    assert "conversion" not in plain.model_dump(mode="json", exclude_none=True)
    recipes = [tiny_recipe(method="learned", **fields) for fields in TRIED.values()]
    assert len({recipe.content_hash() for recipe in [plain, *recipes]}) == len(TRIED) + 1
    for recipe in recipes:
        assert recipe.common_fields() == plain.common_fields()
        assert stretches(recipe)[:-1] == stretches(plain)
        assert (stretches(recipe)[-1].phase, stretches(recipe)[-1].end) == ("conversion", 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"conversion": "quantized"}, "conversion: 'quantized' is not one of bfloat16, quantised, ternary"),
        ({"conversion": "quantised", "conversion_scales": "layer"}, "conversion_bits: missing, and quantised needs it"),
        ({"conversion": "ternary"}, "conversion_scales: missing, and ternary needs it"),
        ({"conversion_bits": 4}, "conversion_bits: without a conversion there is no such field, so it must be left"),
        (
            {"conversion": "ternary", "conversion_scales": "layer", "conversion_bits": 2},
            "conversion_bits: ternary has no such field, so it must be left out, not 2",
        ),
        (
            {"conversion": "quantised", "conversion_scales": "kernel", "conversion_bits": 2},
            "conversion_scales: quantised knows layer and channel, not 'kernel'",
        ),
        (
            {"conversion": "quantised", "conversion_scales": "layer", "conversion_bits": 9},
            "conversion_bits: should be less than or equal to 8, not 9",
        ),
    ],
)
def test_a_conversion_with_too_little_or_too_much_is_refused(fields, message):
    with pytest.raises(InvalidInput) as caught:
        tiny_recipe(method="learned", **fields)
    assert message in str(caught.value)


def test_costs_of_a_conversion_are_those_of_what_is_stored():
    recipe = tiny_recipe(method="learned", **TRIED["ternary, layer"])
    run = TrainingRun(recipe, data_for(recipe))
    list(run.epochs())
    costs = run.costs()
    plain = tiny_recipe(method="learned")
    dense = TrainingRun(plain, data_for(plain))
    list(dense.epochs())
    connections = sum(weight.numel() for weight in dense.network.parameters())
    assert costs["ticket_bytes"] == costs["stored_bits_per_weight"] * connections / 8
    assert costs["ticket_bytes"] < dense.costs()["ticket_bytes"] - connections * (4 - 2 / 8) + 400
