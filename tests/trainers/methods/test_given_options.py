"""Options that the caller brings are the layer's own from then on, whatever the caller does with the tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainers.methods.slot_machine.weight import attach_given

SHAPE, COUNT = (5, 7), 4


def brought(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values, scores = (torch.rand(*SHAPE, COUNT, generator=generator) for _ in range(2))
    return values, scores


def selected(values: Tensor, scores: Tensor) -> Tensor:
    """What the scores select, by the definition."""
    return values.gather(-1, scores.argmax(-1, keepdim=True)).squeeze(-1)


@pytest.mark.parametrize("transposed", [False, True], ids=["contiguous", "transposed"])
def test_a_layer_keeps_the_options_it_was_given_while_the_callers_go_on(transposed):
    values, scores = brought(seed=1)
    if transposed:
        values, scores = (tensor.transpose(0, 1).contiguous().transpose(0, 1) for tensor in (values, scores))
    layer = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    attach_given(layer, values, scores)
    expected = selected(values, scores)
    values.mul_(-3), scores.neg_()
    assert torch.equal(layer.weight, expected)
    chain = layer.parametrizations.weight
    values.zero_(), scores.zero_()
    assert torch.equal(chain[0].selected(chain.original), expected)
    assert chain[0].options.value_bound <= 1


def test_a_network_whose_scores_are_trained_on_elsewhere_lends_nothing():
    """As with a K-score layer that its optimizer updates in place: the copy stays where it was taken."""
    values, scores = brought(seed=2)
    scores.requires_grad_()
    layer = nn.Linear(SHAPE[1], SHAPE[0], bias=False)
    attach_given(layer, values, scores)
    expected = selected(values, scores.detach())
    optimizer = torch.optim.SGD([scores], lr=10.0)
    for _ in range(3):
        optimizer.zero_grad()
        (scores * torch.arange(COUNT)).sum().backward()
        optimizer.step()
    assert not torch.equal(selected(values, scores.detach()), expected)
    assert torch.equal(layer.weight, expected)
