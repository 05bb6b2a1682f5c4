"""A report against another one: what moved beyond its interval, and what did not."""

import numpy as np
import pytest

from reports import build_report
from reports.analysis.arms import arms_of
from reports.analysis.moved import Move, moved, read_table
from reports.analysis.statistics import welch
from reports.request import Asked
from reports.tracked.trials import trials_frame
from tests.reports.made_up import digits_sweep, track
from trainers.errors import InvalidInput


def arms(records):
    return arms_of(trials_frame(records))


def changed(by, arm="K=8 GS", **stated):
    return [
        record | ({"test_accuracy": record["test_accuracy"] + by} if record["arm"] == arm else {}) | stated
        for record in digits_sweep()
    ]


def test_the_same_trials_are_the_same_and_what_differs_by_much_has_moved():
    assert set(moved(arms(digits_sweep()), arms(digits_sweep()))["move"]) == {Move.SAME}
    found = moved(arms(changed(-0.05)), arms(digits_sweep())).set_index("arm")
    assert found.loc["K=8 GS", "move"] == Move.MOVED
    assert found.loc["K=8 GS", "difference"] == pytest.approx(-0.05)
    assert found.index[0] == "K=8 GS", "what moved most comes first"
    assert set(found["move"].drop("K=8 GS")) == {Move.SAME}


def test_the_interval_from_two_summaries_is_that_of_welch():
    ours, theirs = changed(0.001), digits_sweep()
    (row,) = [row for row in moved(arms(ours), arms(theirs)).to_dict("records") if row["arm"] == "K=8 GS"]
    first, second = ([r["test_accuracy"] for r in records if r["arm"] == "K=8 GS"] for records in (ours, theirs))
    expected = welch(first, second)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["move"] == Move.WITHIN


def test_one_trial_is_held_against_what_one_more_would_spread():
    one = [record for record in changed(0.002) if record["seed"] == 0]
    (row,) = [row for row in moved(arms(one), arms(digits_sweep())).to_dict("records") if row["arm"] == "K=8 GS"]
    spread = np.std([r["test_accuracy"] for r in digits_sweep() if r["arm"] == "K=8 GS"], ddof=1)
    assert row["high"] - row["low"] == pytest.approx(2 * 4.302653 * spread * np.sqrt(4 / 3), rel=1e-5)
    single = [record for record in digits_sweep() if record["seed"] == 1]
    assert set(moved(arms(one), arms(single))["move"]) == {Move.OPEN}


def test_a_report_says_what_moved_since_another_one_by_its_folder_or_its_sweep(tracking_uri, tmp_path):
    track(tracking_uri, "digits_sweep", digits_sweep())
    folder = build_report(["digits_sweep"], tracking_uri, tmp_path / "first").parent
    track(tracking_uri, "again", changed(-0.05, sweep="again"))
    for against in (str(folder), "digits_sweep"):
        text = build_report(["again"], tracking_uri, tmp_path / "out", Asked(against=against)).with_name("report.md")
        assert "11 arms in both, of which 1 moved beyond the interval of the difference." in text.read_text()
    with pytest.raises(InvalidInput, match=r"against: no report's table.csv can be read in"):
        read_table(tmp_path)
    (tmp_path / "table.csv").write_text("arm,n\nx,1\n")
    with pytest.raises(InvalidInput, match="lacks the columns network, dataset"):
        read_table(tmp_path)
