"""Which epochs of what gets selected are kept, and that cutting a trial into stages does not matter."""

import pytest

from sweeper.records.stage_record import Damaged, StageRecord, selection_text, with_epoch
from tests.sweeper.small_sweeps import a_launch
from trainers.kept_epochs import is_kept


def layers(epoch):
    return [{"layer": "fc1", "changed": epoch, "sample": f"of {epoch}"}]


def test_epochs_1_2_5_and_their_tens_are_kept():
    assert [epoch for epoch in range(1, 2500) if is_kept(epoch)] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]


def test_a_stage_keeps_those_and_its_last_epoch_which_alone_has_samples():
    snapshots = []
    for epoch in range(3, 25):
        snapshots = with_epoch(snapshots, epoch, layers(epoch))
        assert snapshots[-1] == {"epoch": epoch, "layers": layers(epoch)}
    assert [snapshot["epoch"] for snapshot in snapshots] == [5, 10, 20, 24]
    assert [len(snapshot["layers"][0]) for snapshot in snapshots] == [2, 2, 2, 3]
    assert with_epoch(snapshots, 1, []) == snapshots  # finetuning selects nothing


@pytest.mark.parametrize("cuts", [(), (1,), (7,), (5, 6, 19)])
def test_a_trial_has_the_same_text_however_it_was_cut(cuts):
    stages, ends = [], [*cuts, 24]
    for start, end in zip((0, *cuts), ends, strict=True):
        snapshots = []
        for epoch in range(start + 1, end + 1):
            snapshots = with_epoch(snapshots, epoch, layers(epoch))
        stages += snapshots
    whole = []
    for epoch in range(1, 25):
        whole = with_epoch(whole, epoch, layers(epoch))
    assert selection_text(stages) == selection_text(whole)


def test_a_record_from_before_selections_were_kept_is_read_and_others_are_not(trained):
    records = a_launch(*trained, read_only=True).records.values()
    record = next(record for record in records if record.phase == "slot")
    assert record.selection and "layers" not in record.epochs[0]
    before = {name: value for name, value in record.as_dict().items() if name != "selection"}
    assert StageRecord.from_dict(before).selection == []
    with pytest.raises(Damaged, match="numerics_version"):
        StageRecord.from_dict({name: value for name, value in before.items() if name != "numerics_version"})
    with pytest.raises(Damaged, match="selections"):
        StageRecord.from_dict({**before, "selections": []})
