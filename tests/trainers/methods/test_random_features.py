"""Random features against ridge regressions that are each solved for by themselves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tests.trainers.tiny import data_for, tiny_recipe
from trainers.errors import InvalidInput
from trainers.methods.random_features import weight as random_features
from trainers.methods.random_features.weight import RIDGES, best_ridge, solve_last_layer
from trainers.training import TrainingRun

CLASSES = 3


def examples(count: int, noise: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    labels = torch.arange(count) % CLASSES
    means = torch.linspace(-1, 1, 8 * CLASSES, dtype=torch.float64).view(CLASSES, 8).roll(3)
    return means[labels] + noise * torch.randn(count, 8, dtype=torch.float64, generator=generator), labels


@pytest.mark.parametrize("bias", [None, torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)])
def test_the_last_layer_is_the_ridge_regression_that_is_best_on_validation(bias):
    (features, labels), (held_out, answers) = examples(15, 2.0), examples(60, 2.0)
    targets = torch.eye(CLASSES, dtype=torch.float64)[labels] - 1 / CLASSES - (0 if bias is None else bias)
    gram = features.T @ features
    unit = float(torch.trace(gram)) / 8
    found: dict[float, tuple[float, Tensor]] = {}
    for ridge in RIDGES:
        weight = torch.linalg.solve(gram + ridge * unit * torch.eye(8, dtype=torch.float64), features.T @ targets).T
        outputs = held_out @ weight.T + (0 if bias is None else bias)
        found[ridge] = float((outputs.argmax(1) == answers).double().mean()), weight
    best = max(found, key=lambda ridge: (found[ridge][0], ridge))
    assert len({accuracy for accuracy, _ in found.values()}) > 1, "else any of them would do"
    batches = [(features[:7], labels[:7]), (features[7:], labels[7:])]
    solved = best_ridge(batches, [(held_out[:31], answers[:31]), (held_out[31:], answers[31:])], CLASSES, bias)
    torch.testing.assert_close(solved, found[best][1], rtol=1e-9, atol=1e-12)


def test_features_that_are_no_numbers_give_none():
    features, labels = examples(12, 1.0)
    features[3, 3] = math.inf
    assert best_ridge([(features, labels)], [examples(6, 1.0)], CLASSES).isnan().all()


@pytest.mark.parametrize("readout", [None, "all_hidden"])
def test_one_pass_sets_the_last_layer_alone_from_all_it_sees(readout, monkeypatch):
    recipe = tiny_recipe(method="random_features", readout=readout, slot_epochs=1, finetune_epochs=0)
    run = TrainingRun(recipe, data_for(recipe))
    seen: list[Tensor] = []

    def watched(training, *rest):
        batches = list(training)
        seen.append(torch.cat([features for features, _ in batches]))
        return best_ridge(batches, *rest)

    monkeypatch.setattr(random_features, "best_ridge", watched)
    network = run.network
    hidden = [network.fc1.weight.clone(), network.fc2.weight.clone()]
    (record,) = run.epochs()
    assert all(torch.equal(now.weight, then) for now, then in zip((network.fc1, network.fc2), hidden, strict=True))
    assert (
        seen[0].shape == (len(run.data.train), 40 if readout else 10) == (len(run.data.train), network.fc3.in_features)
    )
    first = (run.data.train.images.flatten(1) @ hidden[0].T).relu()
    last = (first @ hidden[1].T).relu()
    expected = torch.cat([first, last], 1) if readout else last
    torch.testing.assert_close(seen[0].sum(0), expected.double().sum(0), rtol=1e-4, atol=1e-3)
    outputs = expected @ network.fc3.weight.T
    assert record.train_accuracy == pytest.approx(float((outputs.argmax(1) == run.data.train.labels).double().mean()))
    assert record.validation_accuracy > 0.3 and run.costs()["peak_memory_bytes"] > 0


def test_a_network_that_ends_in_a_convolution_is_refused():
    network = nn.Sequential(nn.Linear(4, 4), nn.Conv1d(4, 2, 1))
    with pytest.raises(InvalidInput, match="solves for a fully connected last layer, and 1 is none"):
        solve_last_layer(network, network, [], [])
