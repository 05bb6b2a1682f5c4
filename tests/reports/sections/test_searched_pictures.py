"""A search in a report: its fields as pictures, the best marked, what each field explains, and many rows folded."""

import numpy as np
import pandas as pd
import pytest

from reports import build_report
from reports.analysis.importance import importance
from tests.reports.made_up import track, trial

SPEC = """
name: found
recipe: {network: lenet, dataset: digits, preset: authors_code, method: slot_machine}
budget_epochs: 40
search:
  sampler: tpe
  trials: 40
  space:
    options: {integer: [2, 32], log: true}
    slot_learning_rate: {log_uniform: [0.01, 0.5]}
    sharing: {choice: [none, layer]}
"""


def points(count=40):
    """Accuracy rises with the options alone."""
    random = np.random.default_rng(7)
    for number in range(count):
        options = int(random.integers(2, 33))
        given = {
            "method": "slot_machine", "slot_epochs": 40, "options": options,
            "slot_learning_rate": float(random.uniform(0.01, 0.5)), "sharing": str(random.choice(["none", "layer"])),
        }  # fmt: skip
        accuracy = 0.8 + options / 400
        yield trial(given, sweep="found", arm=f"point {number}", search_trial=str(number),
                    validation_accuracy=accuracy, test_accuracy=accuracy)  # fmt: skip


@pytest.fixture(scope="module")
def report(empty_database, tmp_path_factory):
    folder = tmp_path_factory.mktemp("found")
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    track(uri, "found", points(), spec=SPEC)
    return build_report(["found"], uri, folder / "out").parent


def test_every_searched_field_has_a_picture_and_all_of_them_have_one_together(report):
    names = {path.stem for path in (report / "figures").glob("searched-found-*.svg")}
    assert names == {f"searched-found-{name}" for name in ("options", "slot-learning-rate", "sharing", "fields")}
    drawn = pd.read_csv(report / "figures" / "searched-found-options.csv")
    assert len(drawn) == 40
    assert drawn.loc[drawn["best"], "accuracy"].tolist() == [drawn["accuracy"].max()] * int(drawn["best"].sum())


def test_the_field_that_accuracy_hangs_on_explains_most_of_it(report):
    found = pd.read_csv(report / "tables" / "searched-found-importance.csv")
    assert found["field"].iloc[0] == "options"
    assert found["share"].iloc[0] > 0.8 > 0.3 > found["share"].iloc[1]


def test_of_many_arms_ten_are_shown_and_all_are_folded(report):
    text = (report / "report.md").read_text()
    assert "The best 10 of 40 arms by validation accuracy" in text
    assert "All 40 arms [Numbers as CSV](tables/arms-found.csv)" in text
    assert len(pd.read_csv(report / "tables" / "arms-found.csv")) == 40


def test_of_few_points_or_one_value_nothing_is_said():
    few = pd.DataFrame({"width": [0.1, 0.2, 0.3], "accuracy": [0.8, 0.9, 0.95]})
    assert np.isnan(importance(few, ["width"], "accuracy")["share"].iloc[0])
    alike = pd.DataFrame({"width": [0.1] * 20, "accuracy": np.linspace(0.8, 0.9, 20)})
    assert np.isnan(importance(alike, ["width"], "accuracy")["share"].iloc[0])
