"""Options as ranks by initial score, and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainers.methods.k_scores import all_lines
from trainers.kernels import native
from trainers.kernels import ranks as module
from trainers.kernels.options import LayerOptions
from trainers.kernels.ranks import option_ranks, ranked_values


def layer(options: int, connections: int, key: int, shared: bool, score_range: float = 0.1) -> LayerOptions:
    values_key = key + 1 if shared else key
    return LayerOptions(options, connections, 0.2, score_range, key, values_key, shared)


@pytest.fixture(params=["C", "torch"], autouse=True)
def arithmetic(request, monkeypatch):
    """Both ways to compute ranks, compiled and not."""
    if request.param == "torch":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("no C compiler")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 70),
    st.integers(1, 300),
    st.integers(-(2**63), 2**63 - 2),
    st.booleans(),
    st.sampled_from([0.1, 0.0]),
)
def test_ranks_give_back_the_values_and_count_the_higher_initial_scores(options, connections, key, shared, score_range):
    drawn = layer(options, connections, key, shared, score_range)
    values, scores = all_lines(drawn, torch.Size([connections]))
    chosen = torch.randint(options, (connections, 1), generator=torch.Generator().manual_seed(key & 0xFFFF))
    weight = values.gather(1, chosen)[:, 0]
    ranks = option_ranks(drawn, weight)
    assert torch.equal(ranked_values(drawn, ranks), weight)
    order = scores.argsort(dim=1, descending=True, stable=True)
    assert torch.equal(values.gather(1, order).gather(1, ranks[:, None].long())[:, 0], weight)


def test_untrained_connections_have_rank_0():
    drawn = layer(8, 1000, 5, shared=False)
    values, scores = all_lines(drawn, torch.Size([1000]))
    first = values.gather(1, scores.argmax(1, keepdim=True))[:, 0]
    assert not option_ranks(drawn, first).any()


def test_it_does_not_matter_how_many_connections_are_looked_at_at_once(monkeypatch):
    drawn = layer(8, 1000, 5, shared=False)
    weight = all_lines(drawn, torch.Size([1000]))[0][:, 3]
    whole = option_ranks(drawn, weight)
    monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(module, "AT_ONCE_IN_CACHE", 8 * 7)
    assert torch.equal(option_ranks(drawn, weight), whole)
    assert torch.equal(ranked_values(drawn, whole), weight)


def test_a_weight_that_is_none_of_its_options_is_refused():
    drawn = layer(8, 10, 5, shared=False)
    weight = all_lines(drawn, torch.Size([10]))[0][:, 0].clone()
    weight[3] += 1
    with pytest.raises(ValueError, match="none of the values of its options"):
        option_ranks(drawn, weight)
