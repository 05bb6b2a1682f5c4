"""What is asked of networks, against NumPy and scikit-learn."""

import numpy as np
import torch
from sklearn.metrics import r2_score

from trainers.data.splits import _as_asked
from trainers.tasks import ASKED

CHANCE = np.random.default_rng(0)


def test_a_regression_scores_r_squared_and_its_loss_is_the_mean_of_squared_errors():
    trained = CHANCE.normal(size=(50, 3)).astype(np.float32) * [1, 1e3, 1e-3] + [5, -1e4, 0]
    answers = trained + CHANCE.normal(size=(50, 3)) * [0.5, 2e3, 1e-4]
    as_asked = _as_asked("regression", trained)
    labels, outputs = torch.from_numpy(as_asked(trained)), torch.from_numpy(as_asked(answers))
    assert labels.dtype == torch.float32
    asked = ASKED["regression"]
    assert np.isclose(float(asked.right(outputs, labels)) / 50, r2_score(trained, answers), atol=1e-5)
    squares = ((outputs - labels).numpy() ** 2).mean()
    assert np.isclose(float(asked.loss(outputs, labels)), squares)
    assert np.isclose(float(asked.summed_loss(outputs, labels)), 50 * squares)


def test_elsewhere_the_score_is_against_the_mean_that_was_trained_on_or_negative():
    trained, elsewhere = CHANCE.normal(size=(40, 2)), CHANCE.normal(size=(9, 2)) + 3
    answers, as_asked, right = (
        CHANCE.normal(size=(9, 2)) - 3,
        _as_asked("regression", trained),
        ASKED["regression"].right,
    )
    against = ((elsewhere - answers) ** 2).mean(0) / trained.var(0)
    score = right(torch.from_numpy(as_asked(answers)), torch.from_numpy(as_asked(elsewhere)))
    assert np.isclose(float(score) / 9, 1 - against.mean(), rtol=1e-5) and score < 0
    mean = np.broadcast_to(trained.mean(0), trained.shape)
    assert abs(right(torch.from_numpy(as_asked(mean)), torch.from_numpy(as_asked(trained)))) < 1e-4


def test_an_output_that_never_varies_is_no_division_by_zero():
    trained = np.stack([np.full(8, 4.0), np.arange(8.0)], axis=1)
    found = _as_asked("regression", trained)(trained)
    assert np.array_equal(found[:, 0], np.zeros(8)) and np.isclose(found[:, 1].std(), 1)
