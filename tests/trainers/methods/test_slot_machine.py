"""The compact slot machine against the K-score code of the paper."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from tests.trainers.methods.k_scores import all_lines, attach_k_scores
from trainers.errors import InvalidInput
from trainers.kernels import native
from trainers.kernels.options import draw_options, values_of_the_network
from trainers.methods.base import attach, bake, selected_weights
from trainers.methods.slot_machine.card import SlotMachine
from trainers.methods.slot_machine.weight import SlotWeight, attach_options
from trainers.optimization import learning_rate
from trainers.recipe.recipe import Recipe
from trainers.streams import RandomStream

STEPS = 150  # past both restarts
KINDS = list(itertools.product((2, 8), ("none", "layer", "network")))


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, stride=2, bias=False),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(96, 12, bias=False),
        nn.ReLU(),
        nn.Linear(12, 4, bias=False),
    ).to(dtype)


def slot_machine(options: int, selection: str = "greedy", sharing: str = "none") -> SlotMachine:
    return SlotMachine(options, selection, sharing, "glorot_uniform", 1.0, 0.5, "argmax")


def images_and_labels(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(7)
    labels = torch.arange(16) % 4
    return torch.randn(16, 2, 8, 8, dtype=dtype) + labels[:, None, None, None] * 0.3, labels


def pair(method: SlotMachine, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, nn.Module]:
    """The same slot machines twice: compact, and with K scores."""
    compact, plain = network(dtype), network(dtype)
    attach(compact, method, seed=5)
    for name, selection, original in selected_weights(compact):
        attach_k_scores(plain.get_submodule(name), *all_lines(selection.options, original.shape))
    return compact, plain


@pytest.mark.parametrize(
    ("options", "sharing", "nesterov", "weight_decay"),
    [
        *((k, sharing, nesterov, decay) for k, sharing in KINDS for nesterov, decay in ((False, 0.0), (True, 1e-3))),
        (8, "none", False, 1e-3),
        (1, "none", False, 1e-3),
        (64, "none", True, 1e-3),
    ],
)
def test_compact_training_selects_what_k_scores_select_at_every_step(options, sharing, nesterov, weight_decay):
    compact, plain = pair(slot_machine(options, sharing=sharing))
    given = {"network": "lenet", "dataset": "mnist", "method": "slot_machine", "slot_learning_rate": 0.5}
    recipe = Recipe.complete({**given, "slot_schedule_epochs": 2, "slot_schedule_factor": 2.0})
    optimizers = [
        torch.optim.SGD(
            [p for p in net.parameters() if p.requires_grad],
            lr=0.5,
            momentum=0.9,
            nesterov=nesterov,
            weight_decay=weight_decay,
            fused=fused,
        )
        for net, fused in ((compact, True), (plain, False))
    ]
    images, labels = images_and_labels()
    changes = 0
    before = None
    for step in range(STEPS):
        for net, optimizer in zip((compact, plain), optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = learning_rate(recipe, "slot", step // 20)  # restarts after steps 40, 120
            optimizer.zero_grad()
            functional.cross_entropy(net(images), labels).backward()
        # Of a connection no two options have the same value: the same values are the same options.
        ours = [slot.in_use.clone() for _, slot, _ in selected_weights(compact)]
        for value, (_, oracle, _) in zip(ours, selected_weights(plain), strict=True):
            theirs = oracle.values.gather(-1, oracle.chosen[..., None])[..., 0]
            assert torch.equal(value, theirs), f"selections differ in step {step}"
        changes += sum(int((a != b).sum()) for a, b in zip(ours, before, strict=True)) if before else 0
        before = ours
        for optimizer in optimizers:
            optimizer.step()
    assert options == 1 or changes > 10, "a test in which nothing changes shows nothing"
    for (_, slot, b), (_, _, scores) in zip(selected_weights(compact), selected_weights(plain), strict=True):
        torch.testing.assert_close(slot.scores(b), scores.detach(), rtol=0, atol=1e-10)


def test_a_scale_below_zero_evaluates_all_options():
    """Momentum with a large rate times decay turns c negative: the order of the lines is then turned over."""
    compact, plain = pair(slot_machine(8))
    images, labels = images_and_labels()
    optimizers = [
        torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.5, momentum=0.9, weight_decay=0.5)
        for net in (compact, plain)
    ]
    scales = []
    for step in range(40):
        for net, optimizer in zip((compact, plain), optimizers, strict=True):
            optimizer.zero_grad()
            functional.cross_entropy(net(images), labels).backward()
        for (_, slot, _), (_, oracle, _) in zip(selected_weights(compact), selected_weights(plain), strict=True):
            assert torch.equal(slot.in_use, oracle.values.gather(-1, oracle.chosen[..., None])[..., 0]), step
            scales.append(slot.scale.item())
        for optimizer in optimizers:
            optimizer.step()
    assert min(scales) < 0 < max(scales)


@pytest.mark.parametrize("sharing", ["none", "layer", "network"])
def test_probabilistic_training_equals_k_scores_with_the_same_noise(sharing, monkeypatch):
    compact, plain = pair(slot_machine(8, "probabilistic", sharing))
    keys = iter(range(10_000))
    noise = {}

    def sample(slot: SlotWeight, accumulated: Tensor) -> Tensor:
        from trainers.kernels import torch_kernels as kernels

        key = next(keys)
        noise[id(slot)] = RandomStream(key).uniform(torch.arange(accumulated.numel()), torch.float64)
        return kernels.sample(accumulated, slot.scale, slot.options, torch.tensor(key))

    monkeypatch.setattr(SlotWeight, "_sample", sample)
    for (_, slot, _), (_, oracle, _) in zip(selected_weights(compact), selected_weights(plain), strict=True):

        def choose(scores: Tensor, slot: SlotWeight = slot) -> Tensor:
            cumulative = torch.softmax(scores, -1).cumsum(-1).view(-1, 8)
            return (cumulative[:, :-1] <= noise[id(slot)][:, None]).sum(-1).view(scores.shape[:-1])

        oracle.choose = choose
    optimizers = [
        torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=5.0, momentum=0.9, weight_decay=1e-4)
        for net in (compact, plain)
    ]
    images, labels = images_and_labels()
    for _ in range(300):
        for net, optimizer in zip((compact, plain), optimizers, strict=True):
            optimizer.zero_grad()
            functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
    for (_, slot, b), (_, _, scores) in zip(selected_weights(compact), selected_weights(plain), strict=True):
        torch.testing.assert_close(slot.scores(b), scores.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("compiled", [True, False])
def test_sampled_frequencies_match_the_softmax(compiled, monkeypatch):
    if compiled and native.library() is None:
        pytest.skip("no C compiler on this machine")
    if not compiled:
        monkeypatch.setattr(native, "library", lambda: None)
    layer = nn.Linear(10, 3, bias=False)
    connections, draws = 30, 4000
    attach(layer, SlotMachine(5, "probabilistic", "none", "glorot_uniform", 1.0, 4.0, "argmax"), seed=1)
    ((_, slot, b),) = selected_weights(layer)
    torch.manual_seed(0)
    with torch.no_grad():
        b.normal_(std=3.0)
    values, _ = all_lines(slot.options, b.shape)
    counts = torch.zeros(connections, 5)
    for _ in range(draws):
        counts += (layer.weight.detach()[..., None] == values).view(connections, 5)
    expected = torch.softmax(slot.scores(b).detach(), -1).view(connections, 5) * draws
    assert counts.sum() == connections * draws
    statistic = ((counts - expected) ** 2 / expected).sum().item()
    p = stats.chi2.sf(statistic, connections * 4)
    assert 1e-4 < p < 1 - 1e-4


def test_the_compiled_sampler_equals_the_one_in_torch():
    if native.library() is None:
        pytest.skip("no C compiler on this machine")
    from trainers.kernels import torch_kernels as kernels

    for sharing in ("none", "layer"):
        layer = nn.Linear(300, 100, bias=False)
        attach(layer, slot_machine(8, "probabilistic", sharing), seed=1)
        ((_, slot, b),) = selected_weights(layer)
        torch.manual_seed(0)
        with torch.no_grad():
            b.normal_(std=10.0)
        torch.manual_seed(11)
        compiled = layer.weight.detach().clone()
        torch.manual_seed(11)
        key = torch.randint(-(1 << 63), (1 << 63) - 1, ())
        plain = kernels.sample(b, slot.scale, slot.options, key)
        assert (compiled == plain).double().mean() > 0.9995  # exp and sums may round the other way at a boundary


def test_a_fresh_network_uses_each_connections_best_initial_score():
    compact, plain = pair(slot_machine(8), torch.float32)
    images, _ = images_and_labels(torch.float32)
    assert torch.equal(compact(images), plain(images))


def test_options_do_not_depend_on_how_many_there_are():
    few, many = network(), network()
    attach(few, slot_machine(3), seed=5)
    attach(many, slot_machine(8), seed=5)
    for (_, a, b), (_, c, _) in zip(selected_weights(few), selected_weights(many), strict=True):
        ours, theirs = all_lines(a.options, b.shape), all_lines(c.options, b.shape)
        assert all(torch.equal(x, y[..., :3]) for x, y in zip(ours, theirs, strict=True))


def test_values_and_scores_fill_their_ranges_evenly():
    layer = nn.Linear(400, 300, bias=False)
    attach(layer, SlotMachine(2, "greedy", "none", "glorot_uniform", 1.0, 0.5, "argmax"), seed=0)
    ((_, slot, b),) = selected_weights(layer)
    values, scores = (tensor.flatten().numpy() for tensor in all_lines(slot.options, b.shape))
    bound = (6 / 700) ** 0.5
    assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
    assert stats.kstest(scores, stats.uniform(0, 0.5 * bound).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(values, scores)[0, 1]) < 0.01


def test_shared_values_are_k_numbers_a_layer_or_k_for_the_network():
    distinct = {}
    for sharing in ("none", "layer", "network"):
        net = network()
        attach(net, slot_machine(4, sharing=sharing), seed=5)
        distinct[sharing] = [
            (all_lines(s.options, b.shape)[0] / s.options.value_bound).view(-1, 4) for _, s, b in selected_weights(net)
        ]
    assert all(len(values.unique()) > 4 for values in distinct["none"])
    assert all(len(values.unique(dim=0)) == 1 for values in distinct["layer"] + distinct["network"])
    first, *others = [values[0] for values in distinct["network"]]
    assert all(torch.allclose(first, other, atol=1e-12) for other in others)  # one draw, scaled by each layer's bound
    first, *others = [values[0] for values in distinct["layer"]]
    assert not any(torch.allclose(first, other, atol=1e-3) for other in others)


def test_options_of_another_number_of_connections_are_refused():
    drawn = draw_options(
        nn.Linear(4, 3), "0", seed=0, count=2, sharing="none", value_bound="glorot_uniform", score_ranges=(1.0, 0.1)
    )
    with pytest.raises(ValueError, match="15 connections, and they are of 12"):
        attach_options(nn.Linear(5, 3, bias=False), drawn)


def test_the_state_of_a_layer_does_not_grow_with_k():
    sizes = []
    for options in (2, 64):
        net = network(torch.float32)
        attach(net, slot_machine(options), seed=0)
        tensors = [*net.parameters(), *net.buffers()]
        sizes.append(sum(t.numel() * t.element_size() for t in tensors))
        assert all("original" in name or "scale" in name for name in net.state_dict())
    assert sizes[0] == sizes[1]


def test_baking_leaves_the_selected_weights_as_ordinary_parameters():
    net = network(torch.float32)
    attach(net, slot_machine(8), seed=0)
    images, _ = images_and_labels(torch.float32)
    before = net(images)
    bake(net)
    assert torch.equal(net(images), before)
    assert all(type(p) is nn.Parameter and p.requires_grad for p in net.parameters())
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "2.weight", "4.weight", "6.weight"]


def test_a_copied_network_selects_on_its_own():
    net = network(torch.float32)
    attach(net, slot_machine(8), seed=0)
    images, _ = images_and_labels(torch.float32)
    net(images)
    twin = copy.deepcopy(net)
    before = net(images)
    with torch.no_grad():
        for _, _, b in selected_weights(twin):
            b.normal_()
    assert not torch.equal(twin(images), before)
    assert torch.equal(net(images), before)


@pytest.mark.parametrize("kind", ["glorot_uniform", "glorot_normal"])
def test_the_values_of_a_network_are_those_of_every_layer_by_its_bound(kind):
    for name, layer in (("first", nn.Linear(30, 20)), ("second", nn.Conv2d(3, 8, 3))):
        drawn = draw_options(layer, name, seed=7, count=5, sharing="network", value_bound=kind, score_ranges=(1.0, 0.1))
        expected = torch.from_numpy(values_of_the_network(7, 5)) * drawn.value_bound
        torch.testing.assert_close(drawn.shared_values().double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["centred", "antithetic", "stratified"])
@pytest.mark.parametrize("sharing", ["none", "layer", "network"])
def test_values_hang_together_as_their_layout_says_and_are_selected_from(sharing, layout, dtype):
    if (sharing, layout) == ("none", "centred"):
        pytest.skip("centred values are shared")
    layer = nn.Linear(30, 20, bias=False).to(dtype)
    given = {"seed": 7, "count": 5, "value_bound": "glorot_uniform", "score_ranges": (1.0, 0.1)}
    drawn = draw_options(layer, "0", sharing=sharing, layout=layout, **given)
    independent = draw_options(layer, "0", sharing=sharing, **given)
    lines = [drawn.line(option, torch.device("cpu")) for option in range(5)]
    values, scores = (torch.stack([part.expand(600) for part in parts], 1) for parts in zip(*lines, strict=True))
    own = [torch.from_numpy(part).expand(600, 5) for part in independent.lines(np.arange(600))]
    assert torch.equal(scores, own[1]) and not torch.equal(values, own[0])
    assert torch.equal(values, torch.from_numpy(drawn.lines(np.arange(600))[0]).expand(600, 5))
    bound = drawn.value_bound
    if layout == "centred":
        assert values.mean(1).abs().max() < 1e-6 * bound
        torch.testing.assert_close(values, own[0] - own[0].mean(1, keepdim=True))
    if layout == "antithetic":
        assert torch.equal(values[:, 1], -values[:, 0]) and torch.equal(values[:, 3], -values[:, 2])
        assert torch.equal(values[:, ::2], own[0][:, ::2])
    if layout == "stratified":
        parts = (values / bound + 1) * 5 / 2  # the k-th is between k and k + 1
        assert ((parts - torch.arange(5)) > -1e-5).all() and ((parts - torch.arange(5)) < 1 + 1e-5).all()
        torch.testing.assert_close(parts - torch.arange(5), (own[0] / bound + 1) / 2, rtol=0, atol=1e-5)
    slot = attach_options(layer, drawn)
    pull = torch.randn(20, 30, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 0.3
    best = (values.double() * pull.double().view(-1, 1) + scores.double()).argmax(1)
    assert torch.equal(slot.selected(pull).view(-1), values.gather(1, best[:, None])[:, 0])


def test_centred_values_of_ones_own_are_refused():
    given = {"network": "lenet", "dataset": "digits", "method": "slot_machine", "value_layout": "centred"}
    with pytest.raises(InvalidInput, match="value_layout: 'centred' is of two or more shared values"):
        Recipe.complete(given)
    assert Recipe.complete({**given, "sharing": "layer"}).value_layout == "centred"
