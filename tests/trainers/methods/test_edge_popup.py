"""Edge-popup against the paper's equations, and its fast selection against sorting everything."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from trainers.errors import InvalidInput
from trainers.kernels import native
from trainers.methods.base import attach, bake, selected_weights
from trainers.methods.edge_popup.card import EdgePopup
from trainers.methods.edge_popup.weight import PopupWeight, kept_connections, top_fraction
from trainers.recipe.recipe import Recipe

STEPS = 150
compiled = pytest.mark.skipif(native.library() is None, reason="no C compiler, so there is one implementation only")


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, stride=2, bias=False),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 12, bias=False),
        nn.ReLU(),
        nn.Linear(12, 4, bias=False),
    ).to(dtype)


def images_and_labels(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(7)
    labels = torch.arange(16) % 4
    return torch.randn(16, 2, 8, 8, dtype=dtype) + labels[:, None, None, None] * 0.3, labels


def optimizer(parameters: list[Tensor], momentum: float = 0.9, nesterov: bool = False) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=0.1, momentum=momentum, weight_decay=1e-3, nesterov=nesterov)


def sorted_mask(scores: Tensor, keep_fraction: float) -> Tensor:
    """The paper's subnetwork by sorting everything; of equal scores the first connections are kept."""
    magnitude = scores.detach().abs().flatten().tolist()
    order = sorted(range(len(magnitude)), key=lambda i: (-magnitude[i], i))
    mask = torch.zeros(len(magnitude), dtype=torch.bool)
    mask[order[: math.ceil(Fraction(str(keep_fraction)) * len(magnitude))]] = True
    return mask.view(scores.shape)


class PaperLayer(nn.Module):
    """Eq. 1-3 written out: the weight is w·h(s), and the gradient of h is that of the identity on |s|."""

    def __init__(self, layer: nn.Module, fixed: Tensor, scores: Tensor, keep_fraction: float):
        super().__init__()
        self.layer, self.fixed, self.keep_fraction = layer, fixed.clone(), keep_fraction
        self.scores = nn.Parameter(scores.detach().clone())
        self.mask = torch.empty(0)

    def forward(self, inputs: Tensor) -> Tensor:
        magnitude = self.scores.abs()
        self.mask = sorted_mask(self.scores, self.keep_fraction)
        weight = self.fixed * (magnitude + (self.mask.to(magnitude) - magnitude).detach())
        if isinstance(self.layer, nn.Linear):
            return functional.linear(inputs, weight)
        layer = self.layer
        return functional.conv2d(inputs, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)


def as_in_the_paper(popup: nn.Sequential, keep_fraction: float) -> nn.Sequential:
    attached = {name: (selection.fixed, scores) for name, selection, scores in selected_weights(popup)}
    plain = network()
    return nn.Sequential(
        *(
            PaperLayer(layer, *attached[str(place)], keep_fraction) if str(place) in attached else layer
            for place, layer in enumerate(plain)
        )
    )


@pytest.mark.parametrize(
    ("keep_fraction", "weight_init", "scaled", "momentum", "nesterov"),
    [
        (0.5, "signed_constant", False, 0.9, False),
        (0.3, "kaiming_normal", False, 0.9, True),
        (0.9, "kaiming_normal", True, 0.0, False),
        (0.05, "signed_constant", True, 0.9, False),
        (1.0, "kaiming_normal", False, 0.9, False),
    ],
)
def test_training_keeps_what_the_papers_equations_keep_at_every_step(
    keep_fraction, weight_init, scaled, momentum, nesterov
):
    ours = network()
    attach(ours, EdgePopup(keep_fraction, weight_init, scaled), seed=5)
    plain = as_in_the_paper(ours, keep_fraction)
    papers = [layer for layer in plain if isinstance(layer, PaperLayer)]
    steppers = [optimizer([p for _, _, p in selected_weights(ours)], momentum, nesterov)]
    steppers.append(optimizer([layer.scores for layer in papers], momentum, nesterov))
    images, labels = images_and_labels()
    begun = [selection.selected(scores) for _, selection, scores in selected_weights(ours)]
    for step in range(STEPS):
        for net, stepper in zip((ours, plain), steppers, strict=True):
            stepper.zero_grad()
            functional.cross_entropy(net(images), labels).backward()
        for (_, selection, scores), layer in zip(selected_weights(ours), papers, strict=True):
            assert torch.equal(selection.selected(scores), layer.fixed * layer.mask), f"step {step}"
        for stepper in steppers:
            stepper.step()
        for (_, _, scores), layer in zip(selected_weights(ours), papers, strict=True):
            torch.testing.assert_close(scores.detach(), layer.scores.detach(), rtol=0, atol=1e-10)
    ended = [selection.selected(scores) for _, selection, scores in selected_weights(ours)]
    changed = sum(int((a != b).sum()) for a, b in zip(begun, ended, strict=True))
    assert changed > 10 or keep_fraction == 1.0  # else the comparison would say little


@given(
    st.lists(st.integers(-6, 6), min_size=1, max_size=200),
    st.floats(0.001, 1.0).map(lambda share: round(share, 3)),
)
def test_the_top_fraction_is_that_of_a_full_sort_ties_included(numbers, keep_fraction):
    scores = torch.tensor(numbers, dtype=torch.float32) / 4
    assert torch.equal(top_fraction(scores, keep_fraction), sorted_mask(scores, keep_fraction))


@compiled
@given(data=st.data(), size=st.integers(1, 300), keep_fraction=st.sampled_from([0.001, 0.1, 0.5, 0.77, 1.0]))
def test_looking_near_the_last_threshold_gives_what_a_full_sort_gives(data, size, keep_fraction):
    """Scores that drift, jump, tie, and change all at once."""
    popup = PopupWeight(torch.arange(1, size + 1, dtype=torch.float32), keep_fraction)
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    scores = torch.from_numpy(generator.normal(size=size).astype(np.float32))
    for kind in data.draw(st.lists(st.sampled_from(["drift", "new", "round", "zero", "scale"]), max_size=12)):
        if kind == "drift":
            scores = scores + 0.01 * torch.from_numpy(generator.normal(size=size).astype(np.float32))
        elif kind == "new":
            scores = torch.from_numpy(generator.normal(size=size).astype(np.float32))
        elif kind == "round":
            scores = (4 * scores).round() / 4
        elif kind == "scale":
            scores = scores * 1e-3
        else:
            scores = torch.zeros_like(scores)
        assert torch.equal(popup.selected(scores), popup.fixed * sorted_mask(scores, keep_fraction))


@compiled
def test_a_drifting_threshold_is_found_near_the_last_one(monkeypatch):
    missed = []
    further = PopupWeight._look_further
    monkeypatch.setattr(PopupWeight, "_look_further", lambda self, scores: missed.append(1) or further(self, scores))
    torch.manual_seed(0)
    popup, scores = PopupWeight(torch.randn(50_000), 0.3), torch.randn(50_000)
    for _ in range(100):
        scores += 1e-3 * torch.randn(50_000)
        found = popup.selected(scores)
        assert torch.equal(found, torch.where(top_fraction(scores, 0.3), popup.fixed, 0.0))
    assert 1 <= len(missed) < 20


@compiled
@pytest.mark.parametrize("keep_fraction", [0.1, 0.5])
def test_compiled_and_plain_code_train_alike_bit_for_bit(monkeypatch, keep_fraction):
    images, labels = images_and_labels(torch.float32)
    ends = []
    for library in (native.library(), None):
        monkeypatch.setattr(native, "library", lambda library=library: library)
        net = network(torch.float32)
        attach(net, EdgePopup(keep_fraction, "kaiming_normal", False), seed=1)
        stepper = optimizer([scores for _, _, scores in selected_weights(net)])
        for _ in range(40):
            stepper.zero_grad()
            functional.cross_entropy(net(images.to(memory_format=torch.channels_last)), labels).backward()
            stepper.step()
        ends.append([scores.detach().clone() for _, _, scores in selected_weights(net)])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize(
    ("connections", "keep_fraction", "kept"),
    [
        (10, 0.5, 5),
        (10, 0.9, 9),
        (10, 0.3, 3),
        (7, 0.5, 4),
        (1000, 0.001, 1),
        (3, 0.001, 1),
        (10, 1.0, 10),
        (9, 0.7, 7),
    ],
)
def test_the_number_kept_is_exact_and_rounded_up(connections, keep_fraction, kept):
    assert kept_connections(connections, keep_fraction) == kept
    assert int(top_fraction(torch.randn(connections), keep_fraction).sum()) == kept


@given(st.integers(1, 10_000), st.integers(1, 1000))
def test_the_number_kept_is_that_of_the_authors_code_but_for_its_rounding_error(connections, thousandths):
    keep_fraction = thousandths / 1000
    theirs = connections - int((1 - keep_fraction) * connections)
    exact = connections * (1000 - thousandths)
    ours = kept_connections(connections, keep_fraction)
    assert ours == theirs if exact % 1000 else abs(ours - theirs) <= 1


@pytest.mark.parametrize("scaled", [False, True])
def test_fixed_weights_have_the_deviation_of_kaiming_normal(scaled):
    for weight_init in ("kaiming_normal", "signed_constant"):
        layer = nn.Conv2d(40, 60, 3, groups=2, bias=False)  # fan-in 20 · 9
        attach(layer, EdgePopup(0.25, weight_init, scaled), seed=0)
        ((_, selection, _),) = selected_weights(layer)
        sigma = math.sqrt(2 / 180) * (2 if scaled else 1)
        if weight_init == "signed_constant":
            torch.testing.assert_close(selection.fixed.abs(), torch.full_like(selection.fixed, sigma))
        assert selection.fixed.std().item() == pytest.approx(sigma, rel=0.03)
        assert abs(selection.fixed.mean().item()) < 4 * sigma / math.sqrt(selection.fixed.numel())


def test_initial_scores_are_kaiming_uniform():
    layer = nn.Linear(400, 50, bias=False)
    attach(layer, EdgePopup(0.5, "signed_constant", False), seed=0)
    ((_, _, scores),) = selected_weights(layer)
    reference = nn.init.kaiming_uniform_(torch.empty(50, 400), a=math.sqrt(5))
    assert scores.abs().max().item() == pytest.approx(1 / 20, rel=1e-3)
    assert scores.std().item() == pytest.approx(reference.std().item(), rel=0.02)
    assert scores.unique().numel() > 19_000


def test_seed_and_layer_key_what_is_drawn():
    def drawn(seed: int) -> list[Tensor]:
        net = nn.Sequential(nn.Linear(30, 20), nn.Linear(30, 20))
        attach(net, EdgePopup(0.5, "signed_constant", False), seed)
        return [
            tensor.detach() for _, selection, scores in selected_weights(net) for tensor in (selection.fixed, scores)
        ]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], first[2]) and not torch.equal(first[1], first[3])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 6, 3, groups=2, stride=2), (2, 4, 9)),
        (nn.Conv3d(2, 4, 2, dilation=2), (2, 2, 4, 4, 4)),
        (nn.Linear(5, 7), (2, 5)),
    ],
)
def test_it_attaches_to_any_layer_and_bakes_exactly_its_share(layer, shape):
    attach(layer, EdgePopup(0.3, "kaiming_normal", False), seed=0)
    inputs = torch.randn(shape)
    before = layer(inputs)
    bake(layer)
    assert torch.equal(layer(inputs), before)
    assert int((layer.weight != 0).sum()) == kept_connections(layer.weight.numel(), 0.3)


def test_a_score_of_zero_gets_no_gradient():
    for dtype in (torch.float32, torch.float64):
        popup = PopupWeight(torch.ones(3, dtype=dtype), 1.0)
        scores = torch.tensor([0.0, 2.0, -3.0], dtype=dtype, requires_grad=True)
        popup(scores).sum().backward()
        assert scores.grad.tolist() == [0, 1, -1]


@settings(max_examples=20)
@given(st.integers(1, 5))
def test_scores_that_are_no_numbers_do_not_crash(broken):
    """The epoch ends with a loss that is not a number, and that is what is reported."""
    popup, scores = PopupWeight(torch.ones(5), 0.5), torch.arange(5.0)
    popup.selected(scores)
    scores[:broken] = math.nan
    assert popup.selected(scores).shape == scores.shape


def test_off_the_cpu_nothing_waits_for_the_host():
    """The meta device refuses to copy a number to the host, which a captured CUDA graph could not do either."""
    popup = PopupWeight(torch.empty(6, 4, device="meta"), 0.3)
    scores = torch.empty(6, 4, device="meta", requires_grad=True)
    popup(scores).sum().backward()
    assert scores.grad.shape == (6, 4)


@pytest.mark.parametrize(("keep_fraction", "frozen_fraction"), [(0.5, 0.5), (0.3, 0.7), (0.02, 0.9), (1.0, 0.5)])
def test_frozen_connections_stay_and_a_layer_keeps_as_many_as_without(keep_fraction, frozen_fraction):
    ours = network()
    attach(ours, EdgePopup(keep_fraction, "kaiming_normal", False, None, frozen_fraction), seed=5)
    layers = list(selected_weights(ours))
    images, labels = images_and_labels()
    stepper = optimizer([scores for _, _, scores in layers])
    for _ in range(5):
        stepper.zero_grad()
        functional.cross_entropy(ours(images), labels).backward()
        for _, selection, scores in layers:
            size = selection.fixed.numel()
            kept = selection.selected(scores) != 0
            frozen = math.floor(Fraction(str(frozen_fraction)) * size)
            locked = math.floor(Fraction(str(keep_fraction)) * frozen)
            assert int((~selection.free).sum()) == frozen and int(selection.locked.sum()) == locked
            assert kept[selection.locked].all() and not kept[~selection.locked & ~selection.free].any()
            assert int(kept.sum()) == min(kept_connections(size, keep_fraction), size - frozen + locked)
            worst = scores.abs()[kept & selection.free].min() if (kept & selection.free).any() else torch.inf
            assert (scores.abs()[~kept & selection.free] <= worst).all()
            assert not scores.grad[~selection.free].any()
        stepper.step()


def test_frozen_connections_are_spread_over_a_layer_and_another_seed_has_others():
    layers = []
    for seed in (1, 2):
        layer = nn.Sequential(nn.Linear(100, 50, bias=False))
        attach(layer, EdgePopup(0.3, "signed_constant", False, None, 0.6), seed=seed)
        layers.append(next(selected_weights(layer))[1])
    shares = [layer.free.double().mean(dim) for layer in layers for dim in (0, 1)]
    assert all(share.min() > 0.1 and share.max() < 0.75 for share in shares)
    assert 0.4 < (layers[0].free == layers[1].free).double().mean() < 0.65


@pytest.mark.parametrize("frozen_fraction", [None, 0.5])
def test_the_gain_is_the_mean_size_of_the_kept_weights_on_their_signs(frozen_fraction):
    """As in Diffenderfer & Kailkhura's code, where the gradient of a score is G·w·sign(s), with the size of w."""
    ours = network()
    attach(ours, EdgePopup(0.3, "kaiming_normal", False, "mean_size", frozen_fraction), seed=5)
    images, labels = images_and_labels()
    for _, selection, scores in selected_weights(ours):
        weight = selection.selected(scores)
        kept = weight != 0
        mean_size = selection.fixed.abs()[kept].sum() / kept_connections(kept.numel(), 0.3)
        torch.testing.assert_close(weight[kept], selection.fixed.sign()[kept] * mean_size)
    layer = ours[-1]
    scores = layer.parametrizations.weight.original
    plain = [module if module is not layer else nn.Identity() for module in ours]
    weight = layer.weight.detach().clone().requires_grad_()
    functional.cross_entropy(nn.Sequential(*plain)(images).detach() @ weight.T, labels).backward()
    functional.cross_entropy(ours(images), labels).backward()
    selection = layer.parametrizations.weight[0]
    expected = weight.grad * selection.fixed * scores.sign()
    if frozen_fraction:
        expected = expected * selection.free
    torch.testing.assert_close(scores.grad, expected)


def test_a_gain_of_weights_of_one_size_is_refused():
    given = {"network": "lenet", "dataset": "digits", "method": "edge_popup", "gain": "mean_size"}
    with pytest.raises(InvalidInput, match="gain: signed constants have one size already, so leave it out"):
        Recipe.complete(given)
    assert Recipe.complete({**given, "weight_init": "kaiming_normal"}).gain == "mean_size"
