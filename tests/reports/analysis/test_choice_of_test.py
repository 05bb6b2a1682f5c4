"""Where pairing by seed and not pairing are both sensible, a verdict takes both tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.analysis.arms import arms_of, once_each
from reports.analysis.pairings import Arena
from reports.analysis.paper_claims import CLAIMS, Judgement, Verdict, judge
from reports.tracked.trials import trials_frame
from tests.reports.made_up import trial

(CLAIM,) = (claim for claim in CLAIMS if claim.name == "finetuned-beats-scratch")
SCRATCH = 0.97 + 1e-3 * np.sort([1, 2, 0, 3, -1, 2, 1, 0, 3, 2, -1, 1])  # of twelve seeds
WOBBLE = np.tile([1e-4, -1e-4], 6)
AGAINST, ALONG = SCRATCH[::-1], SCRATCH + WOBBLE  # seeds that are good for one are bad for the other, or good for both


def judged(finetuned: np.ndarray) -> Judgement:
    records = []
    for seed, (ours, theirs) in enumerate(zip(finetuned, SCRATCH, strict=True)):
        slot = {"method": "slot_machine", "options": 8, "slot_epochs": 20, "finetune_epochs": 20, "seed": seed}
        records.append(trial(slot, test_accuracy=float(ours)))
        records.append(trial({"method": "learned", "finetune_epochs": 40, "seed": seed}, test_accuracy=float(theirs)))
    trials = once_each(trials_frame(records))
    return judge(CLAIM, Arena(arms_of(trials, ("arm_hash",))), trials)


@pytest.mark.parametrize(
    ("finetuned", "welch_finds", "paired_finds"),
    [(AGAINST + 1.4e-3, True, False), (ALONG + 1.0e-3, False, True), (ALONG + 1.4e-3, True, True)],
    ids=["Welch alone", "paired alone", "both"],
)
def test_a_difference_counts_only_where_both_tests_find_it(finetuned, welch_finds, paired_finds):
    p_values = {
        "Welch": float(stats.ttest_ind(finetuned, SCRATCH, equal_var=False).pvalue),
        "paired": float(stats.ttest_rel(finetuned, SCRATCH).pvalue),
    }
    assert {name: p < 0.05 for name, p in p_values.items()} == {"Welch": welch_finds, "paired": paired_finds}
    judgement = judged(finetuned)
    assert judgement.verdict is (Verdict.SUPPORTED if welch_finds and paired_finds else Verdict.NOT_ENOUGH_DATA)
    (comparison,) = judgement.comparisons
    assert comparison.adjusted_p == pytest.approx(max(p_values.values()))
    assert comparison.difference.test == max(p_values, key=p_values.__getitem__)
