"""Trials of one recipe that other code or other data gave: apart in every table, and the reader is told."""

import pytest

from reports.analysis.arms import apart_by_numerics, arms_of, once_each
from reports.request import Asked
from reports.sections.composition import compose
from reports.tracked.links import Links
from reports.tracked.runs import Sweep, Tracked
from tests.reports.made_up import frame, trial

LINKS = Links("http://127.0.0.1:5000")
RECIPE = {"method": "slot_machine", "options": 8, "slot_epochs": 40}


def seeds(versions, digests=("d" * 64,) * 9, **stated):
    return [
        trial({**RECIPE, "seed": seed}, numerics_version=version, data_digest=digest, **stated)
        for seed, (version, digest) in enumerate(zip(versions, digests, strict=False))
    ]


def averaged(records):
    """n and label of every arm."""
    return sorted((int(arm.n), arm.arm) for arm in arms_of(apart_by_numerics(frame(records))).itertuples())


@pytest.mark.parametrize("versions", [("1", "1", "1"), ("", "", ""), ("", "1", "1")])
def test_one_version_is_averaged_also_with_trials_that_do_not_say_theirs(versions):
    assert averaged(seeds(versions)) == [(3, "K=8 GS")]


def test_two_versions_stand_apart_and_unknown_ones_too():
    records = seeds(("1", "1", "2", ""))
    assert averaged(records) == [(1, "K=8 GS, numerics 2"), (1, "K=8 GS, numerics unknown"), (2, "K=8 GS, numerics 1")]


def test_two_versions_of_the_data_stand_apart():
    records = seeds(("1", "1"), ("a" * 64, "b" * 64))
    labels = [label for _, label in averaged(records)]
    assert labels == ["K=8 GS, numerics 1, data aaaaaaaa", "K=8 GS, numerics 1, data bbbbbbbb"]


def test_a_recipe_measured_under_two_versions_in_two_sweeps_is_two_measurements():
    records = [*seeds(("1",), sweep="old"), *seeds(("2",), sweep="new", run_id="other")]
    assert len(once_each(apart_by_numerics(frame(records)))) == 2
    assert len(once_each(apart_by_numerics(frame([*seeds(("1",), sweep="old"), *seeds(("1",), sweep="new")])))) == 1


def test_the_reader_is_told_and_links_find_the_runs():
    sweep = Sweep("digits_sweep", "1", "p", "", "", "", {"sweeper.limits_reached": "device_hours: 0.1"}, {"trials": 4})
    nothing = frame([])[["run_id"]].assign(epoch=[], value=[])
    tracked = Tracked((sweep,), frame(seeds(("1", "1", "2"))))
    document, _ = compose(tracked, LINKS, lambda runs, metric: nothing, lambda runs, path: {})
    notices = {block.title: block.lines for block in document.blocks() if block.kind == "notice"}
    assert "version of the numbers (1 and 2)" in notices["Trials that cannot be averaged together"][0]
    assert "The sweep came to its limits (device_hours: 0.1)" in notices["Incomplete: 3 of 4 trials completed"]
    arms = arms_of(apart_by_numerics(tracked.trials))
    assert {LINKS.arm("1", arm_hash) for arm_hash in arms["arm_hash"]} == {
        LINKS.arm("1", tracked.trials["arm_hash"].iloc[0])
    }


def test_the_command_that_makes_the_report_again_is_in_it_as_it_was_given():
    sweep = Sweep("digits_sweep", "1", "p", "", "", "", {}, {})
    nothing = frame([])[["run_id"]].assign(epoch=[], value=[])
    again = ["sweeper", "report", "reproduce_mnist", "--storage", "my results", "-o", "DIR"]
    asked = Asked("reproduce_mnist", "What a chain says of itself.", ["selection"], again)
    tracked = Tracked((sweep,), frame(seeds(("1",))))
    document, _ = compose(tracked, LINKS, lambda runs, metric: nothing, lambda runs, path: {}, asked)
    assert (document.title, document.subtitle) == ("reproduce_mnist", "What a chain says of itself.")
    codes = [block.text for block in document.blocks() if block.kind == "code"]
    assert codes[0] == "sweeper report reproduce_mnist --storage 'my results' -o DIR"
    (notice,) = [block for block in document.blocks() if block.kind == "notice"]
    assert notice.title.startswith("Partial")
    assert notice.lines == ["1 sweep not launched: selection."]
