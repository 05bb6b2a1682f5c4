"""Probabilistic selection is told both ways, by arg-max and sampled, whichever of them its recipe evaluates by."""

from __future__ import annotations

import pytest
import torch

from tests.trainers.tiny import copied, data_for, tiny_recipe
from trainers.errors import InvalidInput
from trainers.training import TrainingRun

PS = {"method": "slot_machine", "selection": "probabilistic", "slot_learning_rate": 5.0}


def run_of(**fields: object) -> TrainingRun:
    recipe = tiny_recipe(**{**PS, **fields})
    return TrainingRun(recipe, data_for(recipe))


def test_both_figures_are_the_same_whichever_of_them_the_recipe_evaluates_by():
    by_argmax, sampled = run_of(evaluation="argmax"), run_of(evaluation="sampled")
    for _ in range(2):
        one, other = by_argmax.train_epoch(), sampled.train_epoch()
        ways = one.argmax_validation_accuracy, one.sampled_validation_accuracy
        assert ways == (other.argmax_validation_accuracy, other.sampled_validation_accuracy)
        assert (one.validation_accuracy, other.validation_accuracy) == ways
        assert one.train_loss == other.train_loss
    tests = by_argmax.test(), sampled.test()
    assert [(test.argmax_accuracy, test.sampled_accuracy) for test in tests] == [
        (tests[0].accuracy, tests[1].accuracy)
    ] * 2
    assert tests[0].accuracy != tests[1].accuracy


def test_being_told_both_ways_changes_nothing_of_training():
    told, silent = run_of(), run_of()
    for _ in range(2):
        told.train_epoch()
        told.test()
    silent.evaluate = lambda split, name: silent._evaluated(split, name)  # type: ignore[method-assign]
    for _ in range(2):
        silent.train_epoch()
    for name, tensor in copied(told.state_dict()).items():
        assert name == "costs" or torch.equal(silent.state_dict()[name], tensor), name


@pytest.mark.parametrize("fields", [{"selection": "greedy"}, {"method": "learned"}, {"method": "supermask"}])
def test_what_does_not_sample_an_option_has_one_figure(fields):
    recipe = tiny_recipe(**{"method": "slot_machine", **fields})
    run = TrainingRun(recipe, data_for(recipe))
    record, test = run.train_epoch(), run.test()
    assert (record.argmax_validation_accuracy, record.sampled_validation_accuracy) == (None, None)
    assert (test.argmax_accuracy, test.sampled_accuracy) == (None, None)


def test_finetuned_weights_have_one_figure():
    run = run_of(slot_epochs=1, finetune_epochs=1)
    slot, finetuned = run.epochs()
    assert None not in (slot.argmax_validation_accuracy, slot.sampled_validation_accuracy)
    assert (finetuned.argmax_validation_accuracy, finetuned.sampled_validation_accuracy) == (None, None)


def test_a_sampled_evaluation_is_the_mean_of_as_many_passes_as_the_recipe_says():
    one, five = (run_of(evaluation="sampled", evaluation_samples=samples) for samples in (None, 5))
    one.train_epoch(), five.train_epoch()
    split = five.data.validation
    one._seed("evaluation", "validation", "slot", 1)
    one.network.eval()
    with torch.inference_mode():
        passes = [(one.network(split.images[:500]).argmax(1) == split.labels[:500]).sum().item() for _ in range(5)]
    assert len(split) <= 500, "one batch a pass, so that the passes above draw what evaluation draws"
    assert len(set(passes)) > 1
    assert five.evaluate(split, "validation").accuracy == pytest.approx(sum(passes) / (5 * len(split)), abs=1e-12)
    assert five.evaluate(split, "validation").argmax_accuracy == one.evaluate(split, "validation").argmax_accuracy


def test_samples_belong_to_a_sampled_evaluation_and_are_at_least_two():
    silent = tiny_recipe(**PS, evaluation="sampled")
    assert silent.evaluation_samples is None
    assert silent.content_hash() != tiny_recipe(**PS, evaluation="sampled", evaluation_samples=2).content_hash()
    reason = (
        "evaluation_samples: only probabilistic selection that is evaluated by sampling has samples, so leave it out"
    )
    for fields in ({"evaluation": "argmax"}, {"selection": "greedy"}):
        with pytest.raises(InvalidInput, match=reason):
            tiny_recipe(**{**PS, "evaluation_samples": 3, **fields})
    with pytest.raises(InvalidInput, match="evaluation_samples: should be greater than or equal to 2, not 1"):
        tiny_recipe(**PS, evaluation="sampled", evaluation_samples=1)
