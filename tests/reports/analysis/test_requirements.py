"""The tree of requirements: every leaf can be tested, and its state follows from the numbers alone."""

import pytest

from reports.analysis.paper_claims import CLAIMS
from reports.analysis.requirements import State, requirements, ticked
from reports.sections.composition import arms_table
from reports.sections.coverage import coverage_line, coverage_sections
from reports.sections.evidence import judge_all
from reports.tracked.trials import trials_frame
from search_spaces.loading import bundled_specs
from search_spaces.published import published_for
from tests.reports.made_up import digits_sweep, trial
from trainers.networks.registry import NETWORKS

MNIST = {"dataset": "mnist", "preset": "icml", "method": "slot_machine", "slot_epochs": 200}
K8 = "Greedy selection has the published accuracy, K = 8"
PUBLISHED = 0.9821


def states(records):
    trials = trials_frame(records)
    arms = arms_table(trials, ("arm_hash",))
    return ticked(arms, judge_all(arms, trials))


def of_lenet(found, text):
    (leaf,) = [each for each in found if (each.requirement.text, each.requirement.network) == (text, "lenet")]
    return leaf


def machines(*accuracies, **given):
    return [trial({**MNIST, "options": 8, "seed": seed, **given}, test_accuracy=accuracy, validation_accuracy=accuracy)
            for seed, accuracy in enumerate(accuracies)]  # fmt: skip


def test_every_leaf_names_a_claim_or_published_values_and_a_sweep_that_is_bundled():
    claims = {claim.name for claim in CLAIMS}
    assert len(requirements()) > 100
    assert {leaf.claim for leaf in requirements()} - {""} == claims, "every claim has its place in the tree"
    for leaf in requirements():
        assert leaf.network in NETWORKS and leaf.sweep in bundled_specs()
        assert bool(leaf.claim) + bool(leaf.published) + bool(leaf.out_of_reach) == 1, leaf
        if leaf.published:
            assert leaf.tolerance > 0 and published_for(leaf.network, leaf.dataset, **dict(leaf.published)), leaf


@pytest.mark.parametrize(
    ("accuracies", "state"),
    [
        ((PUBLISHED + 0.0005, PUBLISHED - 0.0005, PUBLISHED), State.MET),
        ((PUBLISHED - 0.0205, PUBLISHED - 0.0195, PUBLISHED - 0.02), State.CONTRADICTED),
        ((PUBLISHED - 0.01, PUBLISHED + 0.01, PUBLISHED), State.OPEN),
        ((PUBLISHED,), State.OPEN),
    ],
)
def test_a_published_value_is_met_only_where_the_interval_lies_within_the_tolerance(accuracies, state):
    assert of_lenet(states(machines(*accuracies)), K8).state is state


def test_fewer_epochs_than_the_sweep_asks_for_contradict_nothing_and_may_meet():
    far, near = (
        (PUBLISHED - 0.0205, PUBLISHED - 0.0195, PUBLISHED - 0.02),
        (PUBLISHED + 0.0005, PUBLISHED - 0.0005, PUBLISHED),
    )
    leaf = of_lenet(states(machines(*far, slot_epochs=25)), K8)
    assert leaf.state is State.OPEN and "By 25 of 200 epochs, which contradict nothing." in leaf.why
    assert leaf.command == "sweeper launch weight_options --set network=lenet --set dataset=mnist"
    assert of_lenet(states(machines(*near, slot_epochs=25)), K8).state is State.MET


def test_what_is_open_says_the_command_with_the_recipe_of_these_runs_and_its_hours():
    leaf = of_lenet(states(machines(PUBLISHED - 0.01, PUBLISHED + 0.01, PUBLISHED)), K8)
    assert leaf.command.startswith("sweeper launch weight_options --set network=lenet --set dataset=mnist")
    assert "--set preset=icml --set budget_epochs=200 --set seeds=" in leaf.command
    assert leaf.hours > 0


def test_nothing_of_the_paper_is_said_of_trials_on_other_data():
    found = states(digits_sweep())
    assert {each.state for each in found} == {State.OPEN, State.OUT_OF_REACH}
    assert coverage_line(found) == "" and coverage_sections(found) == []


def test_the_section_counts_every_requirement_once():
    found = states(machines(PUBLISHED + 0.0005, PUBLISHED - 0.0005, PUBLISHED))
    (section,) = coverage_sections(found)
    figure = next(block for block in section.blocks if block.kind == "figure")
    assert int(figure.data.drop(columns="group").to_numpy().sum()) == len(found) == len(requirements())
    assert "1 are met, 0 contradicted" in coverage_line(found)
