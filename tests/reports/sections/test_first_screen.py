"""What stands before the first fold: decided claims open, the others folded; failures by their reason."""

from reports.analysis.arms import arms_of
from reports.analysis.published import with_published
from reports.document.blocks import Table
from reports.sections.evidence import claims_tables, judge_all
from reports.sections.provenance import missing
from reports.tracked.runs import Sweep
from tests.reports.made_up import digits_sweep, frame


def tables_of(records: list[dict]) -> list[Table]:
    trials = frame(records)
    return claims_tables(judge_all(with_published(arms_of(trials, ("arm_hash",))), trials))


def test_decided_claims_stand_open_and_the_others_are_folded():
    decided, left = tables_of(digits_sweep())
    assert not decided.folded and {row[0].text for row in decided.rows} <= {"supported", "contradicted"}
    assert left.folded and {row[0].text for row in left.rows} == {"not enough data"}
    assert decided.data is not None and left.data is None
    assert len(decided.data) > len(decided.rows) + len(left.rows)  # of all claims, also of those nothing was run for


def test_where_nothing_is_decided_the_one_table_is_folded_and_has_the_numbers():
    (left,) = tables_of([each for each in digits_sweep() if each["seed"] == 0])
    assert left.folded and left.name == "claims" and left.data is not None and left.notes


def test_failures_are_told_by_their_reason_the_commonest_first():
    records = digits_sweep()[:8]
    for place, record in enumerate(records):
        record |= {"status": "FAILED", "failure": "no room" if place == 3 else "the loss is not a number"}
    notice = missing(Sweep("digits_sweep", "1", "p", "", "", "", {}, {"trials": 8}), frame(records))
    assert notice is not None
    assert [line.partition(" (")[0] for line in notice.lines[:3]] == [
        "8 trials failed", "7 trials: the loss is not a number", "1 trial: no room",
    ]  # fmt: skip
    assert notice.lines[1].endswith("and 3 more)") and records[0]["name"] in notice.lines[1]
