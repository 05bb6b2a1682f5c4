"""A report says which of its FLOPs are of an earlier count, and what renews them."""

from reports.sections.provenance import counted_before
from reports.tracked.trials import trials_frame
from tests.reports.made_up import digits_sweep


def test_trials_with_flops_of_an_earlier_count_are_told_with_what_renews_them():
    records = digits_sweep()
    for record in records:
        record["projected"] = "40:abc:final:3"
    assert counted_before(trials_frame(records)) == []
    for record in records[:2]:
        record["projected"] = "40:abc:final"
    (told,) = counted_before(trials_frame(records))
    assert told.text == (
        "FLOPs of 2 trials count the gradient of the images, too; sweeper track digits_sweep mends that."
    )
