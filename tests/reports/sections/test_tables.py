"""Tables: what is chosen by what, what was published, and what a mark means."""

import math

import pytest

from reports.analysis.arms import arms_of
from reports.analysis.published import with_published
from reports.sections.composition import arms_table, told_apart
from reports.sections.tables import arm_table, budget_table, choice_table, published_table, trial_table
from reports.tracked.links import Links
from reports.tracked.trials import trials_frame
from search_spaces.labels import arm_labels
from tests.reports.made_up import DIGITS, digits_sweep, trial
from trainers.recipe.recipe import Recipe

LINKS = Links("http://127.0.0.1:5000")
SLOT = {"method": "slot_machine", "slot_epochs": 40}


def arms(records, by=("sweep", "arm_hash")):
    return arms_table(trials_frame(records), by)


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def titles(table):
    return [column.title for column in table.columns]


def mnist(given, **stated):
    return trial({"dataset": "mnist", "preset": "icml", **given}, **stated)


def test_the_best_k_is_chosen_by_validation_with_the_best_by_test_labelled_beside_it():
    measured = {2: (0.90, 0.99), 4: (0.96, 0.97), 8: (0.95, 0.98)}  # validation, test
    table = choice_table(
        arms([
            trial({**SLOT, "options": k, "seed": s}, validation_accuracy=v, test_accuracy=t)
            for k, (v, t) in measured.items() for s in range(2)
        ]), "best",
    )  # fmt: skip
    (row,) = table.rows
    shown = dict(zip(titles(table), [cell.text for cell in row], strict=False))
    assert (shown["K by validation"], shown["K by test"]) == ("4", "2")
    assert [cell.text.split(" ")[0] for cell in row if "±" in cell.text] == ["97.00", "99.00"]
    assert [column.unit for column in table.columns if column.title == "Its test accuracy"] == [
        "%",
        "%, selected on test",
    ]


def test_lines_over_k_that_differ_in_something_else_are_told_apart():
    lines = [{**SLOT, "sharing": how, "options": k} for how in ("none", "layer", "network") for k in (2, 8)]
    labels = arm_labels([Recipe.complete({**DIGITS, **fields}) for fields in lines])
    records = [{**trial(fields), "arm": label} for fields, label in zip(lines, labels, strict=True)]
    table = choice_table(arms(records), "best")
    names = [row[0].text.partition(": ")[2] for row in table.rows]
    assert names == ["slot machine, GS", "slot machine, GS, layer-shared", "slot machine, GS, network-shared"]


def test_without_several_k_there_is_nothing_to_choose():
    assert choice_table(arms([trial({**SLOT, "options": 8})]), "best") is None


def test_every_cell_of_an_arm_has_its_unit_and_n_says_of_how_many():
    records = [*digits_sweep(), trial({**SLOT, "options": 2, "seed": 9}, status="FAILED", arm="K=2 GS")]
    table = arm_table(arms(records), "arms", "Arms", LINKS)
    first = dict(zip(titles(table), (cell.text for cell in table.rows[0]), strict=True))
    assert first["Arm"] == "K=2 GS"
    assert first["n"] == "3 of 4, 1 failed"
    assert first["FLOPs"] == "76.0 GFLOP"
    assert first["Time"].endswith(" s")
    assert first["Training state"] == "2.10 MB"
    assert "Published" not in titles(table)
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_members_of_the_front_are_marked_in_the_column_of_the_cost():
    table = arm_table(arms(digits_sweep()), "arms", "Arms")
    place = titles(table).index("Stored")
    data = table.data.set_index("arm")["front_stored_bits_per_weight"]
    assert {row[0].text: bool(row[place].mark) for row in table.rows} == data.to_dict()
    assert 0 < data.sum() < len(data)


def test_a_published_value_says_its_source_and_the_difference_is_ours_less_it():
    records = [mnist({**SLOT, "options": 2, "seed": s}, test_accuracy=0.98) for s in range(2)]
    records += [mnist({"method": "supermask", "seed": s}, test_accuracy=0.97) for s in range(2)]
    table = published_table(arms(records), "published")
    columns = {title: place for place, title in enumerate(titles(table))}
    shown = {row[columns["Method"]].text: row for row in table.rows}
    machine, mask = shown["slot machine, GS"], shown["supermask"]
    assert (machine[columns["Network"]].text, machine[columns["K"]].text) == ("Lenet on MNIST", "2")
    assert (machine[columns["Published"]].text, machine[columns["Published"]].mark) == ("97.14", "figure")
    assert machine[columns["Difference"]].text == "+0.86"
    assert (mask[columns["Published"]].text, mask[columns["Published"]].mark) == ("98.00", "quoted")
    assert mask[columns["Difference"]].text == "−1.00"
    assert any(note.startswith("[1] Aladago & Torresani 2021: figure") for note in table.notes)
    data = table.data.set_index("method")
    assert data.loc["slot_machine", "difference"] == pytest.approx(0.0086)
    assert data.loc["slot_machine", "published_kind"] == "figure-read"


def test_of_an_unpublished_method_the_best_by_validation_stands_beside_the_others():
    records = [mnist({**SLOT, "options": 2})]
    for keep, validation, test in [(0.3, 0.97, 0.95), (0.7, 0.96, 0.99)]:
        given = {"method": "edge_popup", "keep_fraction": keep}
        records.append(mnist(given, validation_accuracy=validation, test_accuracy=test))
    table = published_table(arms(records), "published")
    columns = {title: place for place, title in enumerate(titles(table))}
    (popup,) = [row for row in table.rows if "edge-popup" in row[columns["Method"]].text]
    assert popup[columns["Ours"]].text == "95.00"
    assert [popup[columns[title]].text for title in ("K", "Published", "Difference", "Source")] == ["–"] * 4


@pytest.mark.parametrize(
    "given",
    [
        {**SLOT, "options": 8, "finetune_epochs": 40},  # finetuned: not what was published
        {**SLOT, "options": 8, "width": 0.5},
        {**SLOT, "options": 8, "sharing": "layer"},
        {**SLOT, "options": 3},
        {"method": "learned", "start": "random_option"},
    ],
)
def test_nothing_is_compared_with_what_was_published_for_something_else(given):
    found = with_published(arms_of(trials_frame([mnist(given)])))
    assert math.isnan(found["published"].iloc[0])


def test_augmented_and_plain_training_are_not_mixed():
    given = {**SLOT, "options": 8, "network": "conv2", "dataset": "cifar10", "preset": "icml"}
    augmented, plain = (
        with_published(arms_of(trials_frame([trial(each)])))["published"].iloc[0]
        for each in (given, {**given, "augmentation": "none"})
    )
    assert augmented == pytest.approx(0.7808)
    assert math.isnan(plain)


def test_learned_weights_find_their_augmentations_baseline_or_that_nobody_says_it():
    given = {"network": "conv2", "dataset": "cifar10", "preset": "icml"}
    learned = {**given, "method": "learned"}
    augmented, plain, popup = (
        with_published(arms_of(trials_frame([trial(each)]))).iloc[0]
        for each in (learned, {**learned, "augmentation": "none"}, {**given, "method": "edge_popup"})
    )
    assert (augmented["published"], plain["published"]) == pytest.approx((0.7929, 0.71))
    assert "not stated" not in augmented["published_source"] + plain["published_source"]
    assert popup["published_source"].endswith("; augmentation not stated")


def test_arms_with_the_same_total_of_epochs_stand_side_by_side_chosen_by_validation():
    records = digits_sweep()
    table = budget_table(arms(records, ("arm_hash",)), "same-epochs")
    assert {row[2].text for row in table.rows} == {"40"}
    assert len({row[3].family for row in table.rows}) == len(table.rows) == 4
    assert budget_table(arms([r for r in records if r["method"] == "learned"]), "same-epochs") is None


def test_of_very_many_trials_those_not_completed_are_shown_and_the_csv_has_all(monkeypatch):
    monkeypatch.setattr("reports.sections.tables.MOST_TRIALS", 4)
    records = [trial({**SLOT, "seed": seed}, status="FAILED" if seed == 7 else "COMPLETED") for seed in range(9)]
    table = trial_table(trials_frame(records), "trials", LINKS)
    assert texts(table)[0][:2] == ["K=8 GS seed 7", "failed"]
    assert (len(table.rows), len(table.data)) == (4, 9)
    assert table.caption == "4 of 9 trials; the CSV has them all"


def test_arms_of_several_sweeps_with_one_label_are_told_apart():
    first = trial({**SLOT, "slot_epochs": 10}, sweep="short", arm="K=8 GS")
    second = trial({**SLOT, "slot_epochs": 20}, sweep="long", arm="K=8 GS")
    third = trial({**SLOT, "slot_epochs": 30}, sweep="long", arm="K=8 PS")
    found = set(told_apart(arms([first, second, third]))["arm"])
    assert found == {"K=8 GS, 10 epochs", "K=8 GS, 20 epochs", "K=8 PS"}
    other = trial({**SLOT, "slot_epochs": 10, "slot_learning_rate": 0.3}, sweep="other", arm="K=8 GS")
    assert set(told_apart(arms([first, other]))["arm"]) == {"K=8 GS (short)", "K=8 GS (other)"}
    fourth = trial({**SLOT, "slot_epochs": 40}, sweep="long", arm="K=8 GS")
    labels = told_apart(arms([first, second, fourth]))["arm"]
    assert labels.is_unique


def test_links_carry_no_password_and_quote_what_they_hold():
    assert Links.of("https://me:secret@host/mlflow/").base == "https://host/mlflow"
    assert Links.of("sqlite:///x.db").base == "http://127.0.0.1:5000"
    assert "'" not in LINKS.arm("1", "x' OR 1 = '1").partition("searchFilter=")[2]
