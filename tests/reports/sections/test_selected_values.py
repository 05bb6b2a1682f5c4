"""The section on what gets selected: on sweeps really trained, on files of any shape, and where there are none."""

import base64
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from reports import build_report
from reports.sections.composition import arms_table
from reports.sections.selected_values import selection_sections
from reports.tracked.runs import read_sweeps, read_texts
from reports.tracked.snapshots import agreement, extremes, layers_frame, own_extremes
from sweeper.launch.local import run_local
from tests.reports.made_up import digits_sweep, frame
from tests.sweeper.small_sweeps import a_launch
from tests.sweeper.tracking.projected import project

SPEC = """\
name: tiny
recipe: {network: lenet, dataset: digits, preset: icml, method: slot_machine, options: 4, width: 0.2}
budget_epochs: 3
axes: {selection: [greedy, probabilistic]}
arms: [{method: edge_popup, weight_init: signed_constant}, {method: supermask}, {slot_epochs: 2}, {method: learned}]
seeds: 3
"""


def layer(**stated):
    """One layer as the trainers write it."""
    fields = {
        "layer": "fc1", "connections": 40, "changed": 4, "counts": [20, 10, 10], "selected_magnitude": 0.6,
        "unselected_magnitude": 0.4, "moved": 10, "pull_quartiles": [0.1, 0.2, 0.3],
        "by_pull": [[5, 3, 2], [4, 3, 3], [3, 3, 4], [1, 2, 7]],
    }  # fmt: skip
    return {**fields, **stated}


def text(*layers, epoch=1):
    return json.dumps([{"epoch": epoch, "layers": list(layers)}])


@pytest.fixture(scope="module")
def trained(empty_database, tmp_path_factory):
    """The tracking URI of a sweep of every method that selects, really trained on digits."""
    folder = tmp_path_factory.mktemp("selecting")
    spec, storage = folder / "tiny.yaml", folder / "storage"
    spec.write_text(SPEC)
    launch = a_launch(spec, storage)
    run_local(launch)
    shutil.copy(empty_database, storage / "mlflow.db")
    address = f"sqlite:///{storage / 'mlflow.db'}"
    project(address, storage, a_launch(spec, storage))
    return address, launch


@pytest.fixture(scope="module")
def report(trained, tmp_path_factory):
    return build_report(["tiny"], trained[0], tmp_path_factory.mktemp("report")).parent


def test_tables_and_pictures_are_there_and_the_page_says_what_was_found(report):
    tables = {path.name for path in (report / "tables").iterdir()}
    assert {"selected-1-options.csv", "selected-1-masks.csv", "selected-1-agreement.csv"} <= tables
    pictures = {path.name for path in (report / "figures").iterdir() if path.suffix == ".svg"}
    assert {f"selected-1-{kind}.svg" for kind in ("changed", "extremes", "ranks-1", "pull-1", "pull-2")} <= pictures
    page = (report / "report.md").read_text()
    assert "What gets selected" in page
    assert "of the quarter of connections with the largest \\|B\\| use the value on B's end" in page
    assert "Edge-popup with signed constants chooses between 0 and one value" in page


def test_the_same_runs_give_the_same_bytes(report, trained, tmp_path):
    again = build_report(["tiny"], trained[0], tmp_path / "again").parent
    for path in report.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(report)).read_bytes()


def test_the_numbers_are_those_of_the_stored_records(report, trained):
    _, launch = trained
    table = pd.read_csv(report / "tables" / "selected-1-options.csv")
    results = [result for result in launch.results() if result.trial.recipe.method == "slot_machine"]
    for arm in set(table["arm"]):
        last = [result.snapshots[-1]["layers"] for result in results if result.label == arm]
        own = table[table["arm"] == arm].reset_index(drop=True)
        assert own["n"].tolist() == [3, 3, 3] and own["layer"].tolist() == ["fc1", "fc2", "fc3"]
        for place, row in own.iterrows():
            layers = [layers[place] for layers in last]
            shares = [sum(a + b for _, a, b in each["by_pull"]) / each["connections"] for each in layers]
            assert row["extremes_last"] == pytest.approx(np.mean(shares))
            ends = [each["by_pull"][3][2] / sum(each["by_pull"][3]) for each in layers]
            assert row["own_end_largest"] == pytest.approx(np.mean(ends))
            assert row["changed"] == pytest.approx(np.mean([each["changed"] / each["connections"] for each in layers]))
            assert row["selected_magnitude"] == pytest.approx(np.mean([each["selected_magnitude"] for each in layers]))


def test_every_slot_machine_has_its_extremes_in_a_table(report, trained):
    table = pd.read_csv(report / "tables" / "selected-1-machines.csv").set_index("arm")
    results = [result for result in trained[1].results() if result.trial.recipe.method == "slot_machine"]
    assert set(table.index) == {result.label for result in results}
    for label, row in table.iterrows():
        own = [
            [epoch["extreme_fraction"] for epoch in result.epochs if epoch["phase"] == "slot"][-1]
            for result in results
            if result.label == label
        ]
        assert (row["n"], row["extreme_fraction"]) == (3, pytest.approx(np.mean(own)))


def test_only_the_runs_of_arms_that_are_shown_are_asked_for_their_files(trained):
    address, _ = trained
    asked = []

    def texts(runs, path):
        asked.append(len(runs))
        return read_texts(runs, path, address)

    arms = arms_table(read_sweeps(["tiny"], address).trials, ("arm_hash",))
    (section,) = selection_sections(arms, lambda runs, metric: no_curves(), texts)
    assert asked == [4 * 3]  # the best GS, PS, edge-popup and supermask; learned weights select nothing
    assert [inner.title for inner in section.subsections] == ["Lenet on digits"]


def test_without_files_and_curves_there_is_no_section():
    arms = arms_table(frame(digits_sweep()), ("arm_hash",))
    assert selection_sections(arms, lambda runs, metric: no_curves(), lambda runs, path: {}) == []


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", "3", '[{"epoch": 1}]', text(layer(connections=-1)), text(layer(counts=[1])), text({}),
     text(layer(connections="40")), text(layer(by_pull=[[1, 2]])), text(layer(selected_magnitude="much")),
     json.dumps([{"epoch": 1, "layers": 7}]), '[{"epoch": 1e400, "layers": []}]'],
)  # fmt: skip
def test_a_file_of_another_shape_is_left_out(content):
    assert layers_frame({"hostile": content, "good": text(layer())})["run_id"].tolist() == ["good"]


def test_shares_are_counted_from_what_was_recorded():
    layers = layers_frame({"run": json.dumps([{"epoch": 1, "layers": [layer()]}, {"epoch": 9, "layers": [layer()]}])})
    assert layers["last"].tolist() == [False, True]
    assert extremes(layers).tolist() == [27 / 40] * 2
    assert own_extremes(layers).iloc[0].tolist() == [0.2, 0.3, 0.4, 0.7]
    mask = layers_frame({"run": text(layer(counts=[30, 10], by_pull=[], moved=None, unselected_magnitude=None))})
    assert extremes(mask).isna().all() and own_extremes(mask).isna().all(axis=None)
    assert mask[["moved", "unselected_magnitude"]].isna().all(axis=None)


def test_agreement_is_cohens_kappa_of_the_sampled_ranks():
    def trial(run, ranks, counts):
        sample = base64.b64encode(bytes(ranks)).decode()
        return {run: text(layer(sample=sample, counts=counts))}

    texts = {
        **trial("a", [0, 0, 1, 1, 2, 2, 0, 0], [20, 10, 10]),
        **trial("b", [0, 0, 1, 1, 2, 2, 1, 2], [10, 20, 10]),
    }
    (pair,) = agreement(layers_frame(texts)).to_dict("records")
    chance = (4 * 2 + 2 * 3 + 2 * 3) / 64
    assert pair["distribution"] == pytest.approx(0.75)
    assert (pair["same"], pair["chance"]) == pytest.approx((6 / 8, chance))
    assert pair["kappa"] == pytest.approx((0.75 - chance) / (1 - chance))


def test_independent_choices_agree_by_chance_only_and_equal_ones_wholly():
    generator = np.random.default_rng(0)
    drawn = {
        str(seed): generator.choice(8, 1024, p=np.arange(1, 9) / 36).astype(np.uint8).tobytes() for seed in range(8)
    }
    counts = [5] * 8
    texts = {run: text(layer(counts=counts, sample=base64.b64encode(sample).decode())) for run, sample in drawn.items()}
    pairs = agreement(layers_frame(texts))
    assert len(pairs) == 28
    assert abs(pairs["kappa"].mean()) < 0.01
    same = {"a": texts["0"], "b": texts["0"]}
    assert agreement(layers_frame(same))["kappa"].tolist() == pytest.approx([1.0])


def test_trials_with_other_samples_or_ranks_are_not_compared():
    one = text(layer(sample=base64.b64encode(b"\x00\x01").decode()))
    for other in (text(layer()), text(layer(counts=[20, 20], sample=base64.b64encode(b"\x00\x01").decode()))):
        (pair,) = agreement(layers_frame({"a": one, "b": other})).to_dict("records")
        assert np.isnan(pair["kappa"])


def no_curves():
    return pd.DataFrame({"run_id": [], "epoch": [], "value": []})
