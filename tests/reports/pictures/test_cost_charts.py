"""Accuracy against a cost: what is drawn, named, grey, hollow, a line across, or at the lower edge."""

import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from reports.analysis.arms import FAMILIES
from reports.analysis.costs import costs_to_show, with_tickets
from reports.document.svg import COLOURS
from reports.pictures.canvas import FAINT, Words
from reports.pictures.cost_charts import PUBLISHED_NOTE, cost_figures
from reports.pictures.drawing import CROWD
from reports.pictures.fronts import accuracy_against_cost
from reports.sections.composition import arms_table
from reports.tracked.trials import trials_frame
from tests.reports.made_up import digits_sweep, trial
from trainers.costs.registry import COSTS

WORDS = Words("name", "A title", "What it shows")
LEVELS = pd.DataFrame({"label": [], "family": [], "accuracy": [], "below": []})
SLOT = {"method": "slot_machine", "slot_epochs": 40}
SVG = "{http://www.w3.org/2000/svg}"


def arms(records):
    return with_tickets(arms_table(trials_frame(records), ("arm_hash",)))


def against(records):
    own = arms(records)
    return {figure.name: figure for cost in costs_to_show(own) for figure in cost_figures(own, cost, "s")}


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def marks(figure):
    """Every mark of the drawing with the style of what it is drawn by."""
    groups = [group for group in ElementTree.fromstring(figure.svg).iter(f"{SVG}g") if group.get("class") == "mark"]
    return {group.get("data-arm"): next(group.iter(f"{SVG}use")).get("style") for group in groups}


def test_the_file_of_the_network_comes_first_bits_per_weight_where_it_is_unknown():
    own = arms(digits_sweep())
    assert costs_to_show(own)[0] == "ticket_bytes"
    assert "stored_bits_per_weight" not in costs_to_show(own)
    learned = own[own["method"] == "learned"].iloc[0]
    assert learned["ticket_bytes"] == pytest.approx(4 * 50_200), "Lenet-300-100 of 8 x 8 pixels, 32 bits a weight"
    elsewhere = [record | {"dataset": "image_folder"} for record in digits_sweep()]
    assert costs_to_show(arms(elsewhere)).count("stored_bits_per_weight") == 1


def test_every_cost_has_a_picture_on_a_logarithmic_axis_that_says_its_unit():
    found = against(digits_sweep())
    assert set(found) == {"s-ticket-bytes", "s-train-seconds", "s-peak-memory-bytes"}
    written = texts(found["s-train-seconds"].svg)
    assert {"Test accuracy, %", "Training time of one trial, s", "slot machine, GS"} <= set(written)
    assert "Size of the network's file, kB" in texts(found["s-ticket-bytes"].svg)


def test_what_another_arm_beats_is_grey_and_the_front_has_its_colour():
    found, own = marks(against(digits_sweep())["s-ticket-bytes"]), arms(digits_sweep()).set_index("arm")
    for arm, style in found.items():
        front = own.loc[arm, "front_ticket_bytes"] or own.loc[arm, "family"] == "learned"
        colour = COLOURS[own.loc[arm, "family"]][0] if front else FAINT
        assert colour in style, arm


def test_what_lies_far_below_stands_at_the_lower_edge():
    figure = against([*digits_sweep(), *(trial({**SLOT, "options": 1, "seed": seed}) for seed in range(3))])
    svg = ElementTree.fromstring(figure["s-ticket-bytes"].svg)
    ticks = [group for group in svg.iter(f"{SVG}g") if "-ytick_" in group.get("id", "")]
    accuracies = [float(text.text) for tick in ticks for text in tick.iter(f"{SVG}text")]
    assert 90 < min(accuracies) < max(accuracies) <= 100
    assert any(text and text.startswith("▾ nothing learned (K = 1), 1") for text in texts(figure["s-ticket-bytes"].svg))


def test_published_values_are_hollow_beside_the_arms_of_the_front():
    records = [trial({**SLOT, "options": k, "dataset": "mnist", "seed": s}) for k in (2, 8) for s in range(2)]
    figure = against(records)["s-ticket-bytes"]
    assert "published" in texts(figure.svg) and PUBLISHED_NOTE in figure.caption
    without = against(digits_sweep())["s-ticket-bytes"]
    assert "published" not in texts(without.svg) and "published" not in without.caption


def test_a_mark_says_its_arm_its_accuracy_n_and_cost():
    svg = ElementTree.fromstring(against(digits_sweep())["s-ticket-bytes"].svg)
    said = [
        title.text
        for group in svg.iter(f"{SVG}g")
        if group.get("class") == "mark"
        for title in group.iter(f"{SVG}title")
    ]
    assert len(said) == 11
    assert all(" ± " in text and ", n = 3, " in text and text.endswith("B") for text in said)
    assert svg.get("role") == "group", "what can be reached by key stands in no image"


def test_costs_of_this_page_are_those_of_the_registry():
    assert all(kind.unit.print(1234.0) for kind in COSTS.values())


def test_a_cost_that_is_the_same_for_all_arms_is_no_picture():
    assert "s-flops" not in against(digits_sweep())
    different = [record | {"flops": 1e12 * (1 + place)} for place, record in enumerate(digits_sweep())]
    assert "s-flops" in against(different)


def test_times_on_different_devices_are_different_pictures():
    there = [
        record | {"device": "cuda: fast", "train_seconds": record["train_seconds"] / 9} for record in digits_sweep()
    ]
    there = [
        record | {"recipe_hash": "f" + record["recipe_hash"], "arm_hash": "f" + record["arm_hash"]} for record in there
    ]
    titles = [figure.title for name, figure in against([*digits_sweep(), *there]).items() if "train-seconds" in name]
    assert sorted(title.rpartition(" trial on ")[2] for title in titles) == ["cpu", "cuda: fast"]


def test_a_crowd_of_arms_is_drawn_with_its_front_told_apart():
    count = CROWD + 20
    cost, names = np.linspace(1, 9, count), [f"arm {i}" for i in range(count)]
    points = pd.DataFrame({
        "label": names, "name": names, "family": "gs", "accuracy": 0.9, "half_width": 0.01, "n": 3,
        "cost": cost, "cost_half_width": np.nan, "front": cost == 1, "shown": cost == 1, "named": cost == 1,
        "below": False, "cost_text": "1 s", "published": np.nan,
    })  # fmt: skip
    written = texts(accuracy_against_cost(points, LEVELS, "Cost", WORDS).svg)
    assert "arm 0" in written
    assert "arm 5" not in written


def test_a_long_legend_has_room_above_the_picture():
    families = list(FAMILIES)[:11]
    points = pd.DataFrame({
        "label": families, "name": families, "family": families, "accuracy": np.linspace(0.9, 0.95, 11), "n": 3,
        "half_width": 0.01, "cost": np.linspace(1, 9, 11), "cost_half_width": np.nan, "front": True, "shown": False,
        "named": False, "below": False, "cost_text": "1 s", "published": np.nan,
    })  # fmt: skip
    svg = accuracy_against_cost(points, LEVELS, "Cost", WORDS).svg
    root = ElementTree.fromstring(svg)
    keys = [group for group in root.iter(f"{SVG}g") if "-key-of-" in group.get("id", "")]
    places = [float(re.search(r"[\d.]+ (-?[\d.]+)\)", text.get("transform"))[1]) for key in keys for text in key]
    assert len(places) == 11 and len(set(map(round, places))) == 3
    assert min(places) > 7, "the height of its letters below the upper edge"


def test_a_name_stands_where_no_line_goes_through_it_if_there_is_such_a_place():
    points = pd.DataFrame({
        "label": ["a", "b"], "name": ["the first of two", "b"], "family": "gs", "accuracy": [0.9, 0.95], "n": 3,
        "half_width": np.nan, "cost": [1.0, 9.0], "cost_half_width": np.nan, "front": [False, True], "shown": True,
        "named": [True, False], "below": False, "cost_text": "1 s", "published": np.nan,
    })  # fmt: skip
    through = pd.DataFrame({"label": ["all"], "family": ["learned"], "accuracy": [0.902], "below": [False]})

    def place(levels):
        svg = ElementTree.fromstring(accuracy_against_cost(points, levels, "Cost", WORDS).svg)
        (name,) = [text for text in svg.iter(f"{SVG}text") if text.text == "the first of two"]
        return [float(number) for number in re.search(r"([\d.]+) (-?[\d.]+)\)", name.get("transform")).groups()]

    (_, above), (left, below) = place(LEVELS.assign(below=False)), place(through)
    assert below > above + 5
    assert left >= 0.07 * 7.2 * 72, "not among the numbers of the scale"


def test_of_arms_that_are_equal_in_accuracy_and_cost_one_is_named_in_a_crowd():
    records = [
        trial({**SLOT, "slot_weight_decay": decay * 1e-4}, test_accuracy=0.9, train_seconds=9.0 - 3 * (decay == 5))
        for decay in range(CROWD + 20)
    ] + [trial({**SLOT, "slot_weight_decay": 0.5}, test_accuracy=0.9, train_seconds=6.0)]  # fmt: skip
    figure = against(records)["s-train-seconds"]
    assert figure.data["front"].sum() == 2
    (label,) = figure.data.loc[figure.data["front"], "label"].unique()  # made up: all are called alike
    assert texts(figure.svg).count(label) == 1
